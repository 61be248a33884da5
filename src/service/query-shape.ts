import { z } from 'zod'

/** What a query asks and what it is answered, as schemas: REST and MCP describe themselves by the same ones. */

/** Names under which `signature_verification` asks for the one scheme that there is, in lower case. */
export const SIGNATURE_NAMES: readonly string[] = [
  'crystals-dilithium',
  'crystals-dilithium3',
  'dilithium',
  'dilithium3',
  'ml-dsa',
  'ml-dsa-65',
]

export const QueryRequestShape = z.strictObject({
  query: z
    .string()
    .max(65_536)
    .describe('One SELECT over datasets, in the SQL of PostgreSQL (docs/query.md)'),
  maml_schema: z
    .string()
    .max(200)
    .describe('Name of the MAML schema of a dataset that the query reads, such as iot_data.maml'),
  signature_verification: z
    .string()
    .max(64)
    .describe(
      'Signature scheme that contributors signed with: CRYSTALS-Dilithium, or its standard name ML-DSA-65',
    ),
  cursor: z
    .string()
    .max(512)
    .optional()
    .describe('next_cursor of the page before, with everything else unchanged'),
  proofs: z
    .enum(['link', 'inline'])
    .optional()
    .describe('Whether multi-proofs of the rows are links (the default) or come with the answer'),
  verdict: z
    .enum(['accepted', 'rejected', 'any'])
    .optional()
    .describe('Rows of accepted submissions (the default), of rejected ones, or of both'),
})
export type QueryRequest = z.infer<typeof QueryRequestShape>

const integer = z.int().min(0)
const hex = z.string().regex(/^0x[0-9a-f]{64}$/)

export const QueryColumnShape = z.object({
  name: z.string(),
  type: z
    .string()
    .describe('PostgreSQL type, such as bigint, double precision, timestamp with time zone, text[]'),
})

export const QuerySourceShape = z.object({
  dataset: z.string(),
  submission: hex,
  leaf_index: integer,
  state: z.enum(['settled', 'final', 'logged', 'anchored']),
  verdict: z.enum(['accepted', 'rejected']),
  reason: z.string().nullable(),
  signature: z.object({
    algorithm: z.literal('ML-DSA-65'),
    status: z
      .enum(['valid', 'invalid', 'missing', 'not_checked'])
      .describe('What verifying it showed; not_checked where the submission was rejected before'),
  }),
  links: z.object({
    submission: z.string(),
    proof: z.string().nullable().describe('Proof bundle of this submission; null until it is anchored'),
  }),
})
export type QuerySource = z.infer<typeof QuerySourceShape>

export const QueryCoverShape = z.object({
  dataset: z.string(),
  readings: integer.describe(
    'How many readings went into this row, one that a join repeats as often as it does',
  ),
  first_leaf: integer.nullable(),
  last_leaf: integer.nullable(),
})

export const RowProvenanceShape = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('row'),
    sources: z
      .array(QuerySourceShape)
      .describe('The submission of each relation that the row was joined from'),
  }),
  z.object({
    kind: z.literal('set'),
    sources: z.array(QueryCoverShape).describe('The readings that this row sums up; it has no row proof'),
  }),
  z.object({ kind: z.literal('none') }),
])
export type RowProvenance = z.infer<typeof RowProvenanceShape>

export const QueryAnswerShape = z.object({
  columns: z.array(QueryColumnShape),
  rows: z
    .array(z.record(z.string(), z.unknown()))
    .describe('Values by column name. numeric, and bigint beyond 2^53 - 1, are strings: no value is rounded'),
  row_count: integer,
  truncated: z.boolean().describe('Whether there are more rows than this answer holds'),
  next_cursor: z.string().nullable(),
  provenance: z.array(RowProvenanceShape).describe('Where each row comes from, in the order of rows'),
  covers: z
    .array(
      z.object({
        dataset: z.string(),
        schema: z.string(),
        verdict: z.enum(['accepted', 'rejected', 'any']),
        leaves_below: integer.describe(
          'Readings of the submissions with a leaf index below this were looked at',
        ),
      }),
    )
    .describe('Which rows the query ran over, dataset by dataset'),
  signature: z.object({
    requested: z.string(),
    algorithm: z.literal('ML-DSA-65'),
    standard: z.literal('FIPS 204'),
  }),
  proofs: z
    .array(
      z.object({
        leaves: z.int().min(1),
        href: z.string().describe('One multi-proof of these leaves, as `dunes verify` takes it'),
        bundle: z.record(z.string(), z.unknown()).optional(),
      }),
    )
    .describe('Multi-proofs of the anchored submissions behind the rows'),
  unproven: integer.describe('Submissions behind the rows that no anchor covers yet'),
  as_of: z
    .object({
      log_size: integer,
      anchored_size: integer,
      settled: integer,
      block: z
        .object({ number: integer, hash: hex, time: integer })
        .nullable()
        .describe('The last indexed block; null before the first'),
      final_block: integer.nullable(),
    })
    .describe('What the answer was true at: sizes of the log, and the last indexed block'),
  ran: z.string().describe('The query as it was run'),
  verdict: z.enum(['accepted', 'rejected', 'any']),
  notes: z.array(z.string()),
})
export type QueryAnswer = z.infer<typeof QueryAnswerShape>
