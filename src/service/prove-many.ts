import type { Row } from 'postgres'
import { registrySlots } from '../chain/slots.ts'
import { fromHex, type Hex, toHex } from '../core/bytes.ts'
import { getPayload } from '../graph/payloads.ts'
import { accountEvidence, assembleBundle, shareNodes } from '../proof/build.ts'
import type { RowKey, Rows } from '../proof/rows.ts'
import type { ServiceContext } from './context.ts'
import { notFound, ServiceError } from './error.ts'
import { readGround, registryProof, sharedEvidence } from './ground.ts'
import { type Include, isSigned, readKey } from './prove.ts'
import { RETRY_SECONDS, receiptSignature, requirePayload } from './receipt.ts'
import { noGround, rowsPart } from './rows.ts'
import { readSubmissionId } from './submissions.ts'

/** Rows of one bundle: each brings the proof of its record, some kilobytes. */
export const MAX_MANY = 1_000
/** Bytes of payloads in one bundle. */
const MAX_PAYLOADS_BYTES = 16 * 1024 * 1024

/** What a bundle of many rows can carry besides what `included, onChain, anchored` and `appendOnly` need. */
export const MANY_INCLUDES = ['payload', 'key', 'receipt'] as const satisfies readonly Include[]
export type ManyInclude = (typeof MANY_INCLUDES)[number]

/** A bundle of many rows and the block under which its evidence stands. */
export interface ManyProof {
  /** Leaf indices, ascending, as in the bundle. */
  indices: number[]
  bytes: Uint8Array
  block: { number: number; hash: Hex }
}

interface StoredRow {
  index: number
  id: Hex
  account: Hex
  keyId: Hex
  payload: { sha256: Hex; bytes: number }
  entry: Uint8Array
}

/**
 * One bundle for many anchored submissions, named by id or by leaf index (1 to {@link MAX_MANY}; one named twice counts once), over
 * the newest final anchor (docs/proofs.md, "Many rows"). `include` names further parts, which every row must then have; `all` takes
 * for each row those that are there and that support their claim.
 *
 * Throws `BAD_ID`, `NOT_FOUND`, `NOT_ANCHORED`, `PROOF_TOO_LARGE`, `PAYLOAD_NOT_HELD`, `NO_SIGNER`, `CHAIN_UNAVAILABLE`, `BUSY` or
 * `ChainError`.
 */
export async function proveMany(
  ctx: ServiceContext,
  wanted: { ids: readonly string[] } | { indices: readonly number[] },
  include: readonly ManyInclude[] | 'all' = [],
): Promise<ManyProof> {
  const ground = await readGround(ctx)
  if (!ground || ground.anchor.size > ground.logged) throw noGround()
  const { block, anchor } = ground
  const stored = await readRows(ctx, wanted, anchor.size)
  const [shared, registry, part, extras] = await Promise.all([
    sharedEvidence(ctx, block),
    registryProof(
      ctx,
      stored.map(({ id }) => registrySlots.record(id)),
      block,
    ),
    rowsPart(ctx, stored, anchor),
    extrasOf(ctx, stored, include),
  ])
  const accounts = [accountEvidence(registry), shared.anchor].map(shareNodes)
  const bytes = assembleBundle({
    ...part,
    rows: { ...part.rows, ...extras },
    evidence: { header: shared.header, accounts },
  })
  return { indices: part.rows.indices, bytes, block }
}

async function readRows(
  { sql }: ServiceContext,
  wanted: { ids: readonly string[] } | { indices: readonly number[] },
  anchored: number,
): Promise<StoredRow[]> {
  const names =
    'ids' in wanted ? [...new Set(wanted.ids.map(readSubmissionId))] : [...new Set(wanted.indices)]
  if (names.length > MAX_MANY) throw tooLarge(`at most ${MAX_MANY} rows, not ${names.length}`)
  const which =
    'ids' in wanted
      ? sql`s.submission_id in (select decode(i, 'hex') from unnest(${names.map((name) => String(name).slice(2))}::text[]) i)`
      : sql`s.index in (select * from unnest(${names as number[]}::bigint[]))`
  const rows = await sql`
    select s.submission_id, s.index, s.key_id, s.payload_sha256, s.payload_bytes, c.account, l.entry
    from submission s join contributor c on c.id = s.contributor left join leaf l on l.submission = s.id
    where ${which} order by s.index`
  const found = new Set(rows.map((row) => ('ids' in wanted ? toHex(row['submission_id']) : row['index'])))
  const missing = names.find((name) => !found.has(name))
  if (missing !== undefined) throw notFound('submission', String(missing))
  const late = rows.find((row) => row['index'] === null || row['index'] >= anchored || row['entry'] === null)
  if (late) {
    throw new ServiceError('NOT_ANCHORED', `no final anchor covers ${toHex(late['submission_id'])} yet`, {
      hint: `ask again in a while; /v1/submissions/${toHex(late['submission_id'])}/lineage says what it waits for`,
      retryAfter: RETRY_SECONDS,
    })
  }
  return rows.map(rowOf)
}

const rowOf = (row: Row): StoredRow => ({
  index: row['index'],
  id: toHex(row['submission_id']),
  account: toHex(row['account']),
  keyId: toHex(row['key_id']),
  payload: { sha256: toHex(row['payload_sha256']), bytes: row['payload_bytes'] },
  entry: new Uint8Array(row['entry']),
})

async function extrasOf(
  ctx: ServiceContext,
  rows: readonly StoredRow[],
  include: readonly ManyInclude[] | 'all',
): Promise<Pick<Rows, 'payloads' | 'keys' | 'receiptSigs'>> {
  const all = include === 'all'
  const signed = all || include.includes('payload') || include.includes('key')
  const receipts = all || include.includes('receipt')
  return {
    ...(signed && (await signedPart(ctx, rows, all))),
    ...(receipts && (await receiptPart(ctx, rows, all))),
  }
}

/** The rows' payloads and the keys that signed them; with `lenient` those that a verifier would find signed. */
async function signedPart(
  ctx: ServiceContext,
  rows: readonly StoredRow[],
  lenient: boolean,
): Promise<Pick<Rows, 'payloads' | 'keys'>> {
  const total = rows.reduce((sum, { payload }) => sum + payload.bytes, 0)
  if (total > MAX_PAYLOADS_BYTES)
    throw tooLarge(`payloads of at most ${MAX_PAYLOADS_BYTES} bytes together, not ${total}`)
  const known = new Map<string, Promise<Row>>()
  const used = new Map<string, RowKey>()
  const payloads: (Uint8Array | null)[] = []
  for (const { account, keyId, payload: declared } of rows) {
    const name = `${account} ${keyId}`
    const key = await (known.get(name) ??
      (known.set(name, readKey(ctx, keyId, account)).get(name) as Promise<Row>))
    const publicKey = new Uint8Array(key['public_key'])
    const payload = lenient
      ? await getPayload(ctx.sql, fromHex(declared.sha256))
      : await requirePayload(ctx, declared.sha256)
    const fits =
      payload && (!lenient || (key['possession_valid'] && isSigned(ctx, declared, { payload, publicKey })))
    payloads.push(fits ? payload : null)
    if (fits) {
      const possession = {
        keyIndex: key['key_index'] as number,
        signature: new Uint8Array(key['possession']),
      }
      used.set(name, { publicKey, possession })
    }
  }
  return used.size === 0 ? {} : { payloads, keys: [...used.values()] }
}

/** The rows' receipt signatures, made one after another where they are not yet. */
async function receiptPart(
  ctx: ServiceContext,
  rows: readonly StoredRow[],
  lenient: boolean,
): Promise<Pick<Rows, 'receiptSigs'>> {
  const receiptSigs: (Uint8Array | null)[] = []
  for (const { index, entry } of rows) {
    const made = await receiptSignature(ctx, index, entry)
    if (!made && !lenient) {
      throw new ServiceError('NO_SIGNER', 'a receipt is not signed, and this process has no receipt key', {
        hint: 'ask the indexer itself, or leave `receipt` out',
        exitCode: 3,
      })
    }
    receiptSigs.push(made?.signature ?? null)
  }
  return receiptSigs.some((each) => each !== null) ? { receiptSigs } : {}
}

const tooLarge = (what: string): ServiceError =>
  new ServiceError('PROOF_TOO_LARGE', `a bundle holds ${what}`, {
    hint: 'ask for fewer rows, or without payloads',
  })
