import { z } from '@hono/zod-openapi'
import { DEFAULT_NODES, MAX_HOPS, MAX_NODES } from '../service/graph.ts'
import { DEFAULT_LIMIT, MAX_LIMIT } from '../service/page.ts'
import { FILTER_VALUES } from '../service/submissions.ts'
import { DEFAULT_ROWS, MAX_ROWS } from '../service/table.ts'
import { FORMATS } from './export.ts'
import { name } from './schemas.ts'

/** The parameters of requests. They are checked: what is not described here is refused. */

/** No query parameter at all: an unknown one is refused, as it would be ignored otherwise. */
export const noQuery = z.strictObject({})

/** A whole number of a query, from 1 to `max`; `fallback` is null where the description says what holds without it. */
export const count = (max: number, fallback: number | null, description: string) =>
  z
    .string()
    .regex(/^[1-9][0-9]{0,5}$/, `must be an integer from 1 to ${max}`)
    .transform(Number)
    .refine((value) => value <= max, `must be an integer from 1 to ${max}`)
    .optional()
    .openapi({
      type: 'integer',
      minimum: 1,
      maximum: max,
      ...(fallback !== null && { default: fallback }),
      description,
    })

const cursor = z
  .string()
  .max(64)
  .optional()
  .openapi({ description: '`next_cursor` of the page before; newest first without it' })
const paging = { limit: count(MAX_LIMIT, DEFAULT_LIMIT, 'Items of the page'), cursor }
/** Of a list that is also given out as a table: a page, or many rows at once. */
const exporting = {
  limit: count(
    MAX_ROWS,
    null,
    `Items: of a page 1 to ${MAX_LIMIT}, ${DEFAULT_LIMIT} unless told; rows of an export 1 to ${MAX_ROWS}, ${DEFAULT_ROWS} unless told`,
  ),
  cursor,
  format: z.enum(FORMATS).optional().openapi({
    description: '`json` is a page; `csv` and `jsonl` are exports. Without it the Accept header decides.',
  }),
}

export const pageQuery = z.strictObject(paging)
export const sensorQuery = z.strictObject({ dataset: name.optional(), ...paging })
export const submissionQuery = z.strictObject({
  state: z.enum(FILTER_VALUES.state).optional(),
  verdict: z.enum(FILTER_VALUES.verdict).optional(),
  reason: z.enum(FILTER_VALUES.reason).optional(),
  outcome: z.enum(FILTER_VALUES.outcome).optional(),
  contributor: z.string().max(200).optional().openapi({ description: 'CAIP-10 account id or bare address' }),
  sensor: name.optional(),
  dataset: name.optional(),
  chain: z
    .string()
    .regex(/^[-a-z0-9]{3,8}(:[-_a-zA-Z0-9]{1,32})?$/, 'must be a CAIP-2 chain id or a namespace')
    .optional()
    .openapi({ description: 'CAIP-2 chain id or a namespace such as `eip155`' }),
  ...exporting,
})

export const readingQuery = z.strictObject({
  dataset: name.optional(),
  sensor: name.optional(),
  contributor: z.string().max(200).optional().openapi({ description: 'CAIP-10 account id or bare address' }),
  h3: z
    .string()
    .max(20)
    .optional()
    .openapi({ description: 'H3 cell in hex, of any resolution: sensors in it or in a cell within it' }),
  from: z
    .string()
    .max(40)
    .optional()
    .openapi({ format: 'date-time', description: 'Measured at this time or later, RFC 3339 in UTC' }),
  to: z
    .string()
    .max(40)
    .optional()
    .openapi({ format: 'date-time', description: 'Measured before this time' }),
  state: z.enum(FILTER_VALUES.state).optional(),
  verdict: z
    .enum([...FILTER_VALUES.verdict, 'any'])
    .optional()
    .openapi({
      default: 'accepted',
      description: 'Readings of rejected payloads are kept as well, and left out unless asked for',
    }),
  ...exporting,
})

export const graphQuery = z.strictObject({
  submission: z.string().max(200).optional().openapi({ description: 'Submission id' }),
  contributor: z.string().max(200).optional().openapi({ description: 'CAIP-10 account id or bare address' }),
  sensor: name.optional(),
  dataset: name.optional(),
  mode: z.enum(['lineage', 'neighbourhood']).optional().openapi({
    default: 'neighbourhood',
    description: '`lineage`: only what the node comes from; `neighbourhood`: everything within `hops`',
  }),
  hops: count(MAX_HOPS, 1, 'Hops from the node'),
  from: z.string().max(40).optional().openapi({
    format: 'date-time',
    description: 'Only submissions made at this time or later, RFC 3339 in UTC',
  }),
  to: z.string().max(40).optional().openapi({
    format: 'date-time',
    description: 'Only submissions made before this time',
  }),
  limit: count(MAX_NODES, DEFAULT_NODES, 'Nodes of the answer'),
})
