import {
  ProtocolError,
  ProtocolErrorCode,
  type ReadResourceResult,
  ResourceNotFoundError,
  ResourceTemplate,
} from '@modelcontextprotocol/server'
import { decodeUtf8 } from '../core/bytes.ts'
import { DunesError } from '../core/error.ts'
import { findDataset, listDatasets } from '../service/catalog.ts'
import type { ServiceContext } from '../service/context.ts'
import { datasetColumns } from '../service/dataset-columns.ts'
import { typedError } from '../service/error.ts'
import { prove } from '../service/prove.ts'
import { receiptFile } from '../service/receipt.ts'
import { readStatus } from '../service/status.ts'
import { findSubmission } from '../service/submissions.ts'
import { type Completer, completeDataset, completeSubmission } from './complete.ts'
import { GUIDE } from './guide.ts'
import { MAX_ANSWER_BYTES } from './result.ts'

/** A resource with an address of its own. */
export interface FixedResource {
  name: string
  uri: string
  title: string
  description: string
  mimeType: string
  /** Milliseconds for which what was read may be kept. */
  ttlMs: number
  read(ctx: ServiceContext): Promise<string>
}

/** One resource for each value of a variable. */
export interface TemplateResource {
  name: string
  template: ResourceTemplate
  title: string
  description: string
  mimeType: string
  ttlMs: number
  variable: string
  complete: Completer
  read(value: string, ctx: ServiceContext): Promise<string>
}

const json = (value: unknown): string => JSON.stringify(value)

export const FIXED: readonly FixedResource[] = [
  {
    name: 'guide',
    uri: 'dunes://guide',
    title: 'What Dunes is and how to use it from here',
    description: 'Words, states and verdicts, how to query, how to prove, and what a proof does not show',
    mimeType: 'text/markdown',
    ttlMs: 3_600_000,
    read: async () => GUIDE,
  },
  {
    name: 'status',
    uri: 'dunes://status',
    title: 'Status',
    description: 'How far chain, index, log and anchors are, and the counts',
    mimeType: 'application/json',
    ttlMs: 1_000,
    read: async (ctx) => json(await readStatus(ctx)),
  },
]

/** All templates of this server; `ctx` is what listing them asks. */
export function templates(ctx: ServiceContext): readonly TemplateResource[] {
  return [
    {
      name: 'dataset',
      // The only one that is listed: there are few datasets, and submissions without end.
      template: new ResourceTemplate('dunes://datasets/{name}', {
        list: async () => ({
          resources: (await listDatasets(ctx, { limit: 100 })).items.map(({ name, current }) => ({
            uri: `dunes://datasets/${name}`,
            name,
            title: `Dataset ${name}`,
            description: `Schema ${current.schema_name ?? 'unusable'}, version ${current.version}`,
            mimeType: 'application/json',
          })),
        }),
      }),
      title: 'A dataset',
      description: 'Its columns, every version of its schema, and the text of the one in force',
      mimeType: 'application/json',
      ttlMs: 60_000,
      variable: 'name',
      complete: completeDataset,
      read: async (name) => {
        const [dataset, columns] = await Promise.all([findDataset(ctx, name), datasetColumns(ctx, name)])
        return json({ ...dataset, columns })
      },
    },
    {
      name: 'submission',
      template: new ResourceTemplate('dunes://submissions/{id}', { list: undefined }),
      title: 'A submission',
      description: 'What was submitted, how far it has come, the verdict and the reason',
      mimeType: 'application/json',
      ttlMs: 1_000,
      variable: 'id',
      complete: completeSubmission,
      read: async (id) => json((await findSubmission(ctx, id)).item),
    },
    {
      name: 'receipt',
      template: new ResourceTemplate('dunes://receipts/{id}', { list: undefined }),
      title: 'A receipt',
      description: 'The .mu file about a submission: its entry is the leaf of the log',
      mimeType: 'text/plain',
      ttlMs: 1_000,
      variable: 'id',
      complete: completeSubmission,
      read: async (id) => {
        const { id: hex, bytes } = await receiptFile(ctx, id)
        return withinLimit(decodeUtf8(bytes), `/v1/submissions/${hex}/receipt`)
      },
    },
    {
      name: 'bundle',
      template: new ResourceTemplate('dunes://bundles/{id}', { list: undefined }),
      title: 'A proof bundle',
      description: 'What `dunes verify` and verify_record check; with payload and keys where they fit',
      mimeType: 'application/json',
      ttlMs: 1_000,
      variable: 'id',
      complete: completeSubmission,
      read: async (id) => {
        const whole = await prove(ctx, id, ['all'])
        if (whole.bytes.length <= MAX_ANSWER_BYTES) return decodeUtf8(whole.bytes)
        return withinLimit(
          decodeUtf8((await prove(ctx, id)).bytes),
          `/v1/submissions/${whole.id}/proof?include=all`,
        )
      },
    },
  ]
}

/** A text that is a file cannot be cut: what is too long is refused with where to find it. */
function withinLimit(text: string, address: string): string {
  if (text.length <= MAX_ANSWER_BYTES) return text
  throw new ProtocolError(
    ProtocolErrorCode.InvalidParams,
    `the resource has ${text.length} characters, more than the ${MAX_ANSWER_BYTES} that are sent here; fetch it over HTTP at ${address}`,
    { address },
  )
}

/** Reads one resource; what there is not, or not yet, is an error of the protocol. */
export async function readResource(
  uri: string,
  mimeType: string,
  read: () => Promise<string>,
): Promise<ReadResourceResult> {
  try {
    return { contents: [{ uri, mimeType, text: await read() }] }
  } catch (error) {
    const known = typedError(error)
    if (!(known instanceof DunesError)) throw error
    if (known.code === 'NOT_FOUND' || known.code === 'BAD_ID')
      throw new ResourceNotFoundError(uri, known.message)
    throw new ProtocolError(
      known.retryable ? ProtocolErrorCode.InternalError : ProtocolErrorCode.InvalidParams,
      `${known.code}: ${known.message}${known.hint ? `. Hint: ${known.hint}` : ''}`,
      { uri, code: known.code },
    )
  }
}
