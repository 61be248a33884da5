import type { Row } from 'postgres'
import { sha256, toHex } from '../core/bytes.ts'
import type { Outcome } from '../receipt/entry.ts'
import type { SettledFacts } from '../receipt/make.ts'
import { OUTCOMES } from './schema.ts'

/** What the chain says of a settled submission, besides where that chain and its log are. */
export type SubmissionFacts = Omit<SettledFacts, 'origin' | 'chain' | 'registry'>

/**
 * The facts in a row of `submission` that is settled, joined with `account` of its contributor and `sensor_name` and
 * `dataset_name`.
 */
export const factsOf = (row: Row): SubmissionFacts => ({
  index: row['index'],
  submission: toHex(row['submission_id']),
  contributor: toHex(row['account']),
  seq: row['seq'],
  acc: toHex(row['acc']),
  sensor: row['sensor_name'],
  dataset: row['dataset_name'],
  schemaSha256: toHex(row['schema_sha256']),
  uriSha256: toHex(sha256(row['uri'])),
  payload: { sha256: toHex(row['payload_sha256']), bytes: row['payload_bytes'] },
  keyId: toHex(row['key_id']),
  submitted: { block: row['submitted_block'], logIndex: row['submitted_log'] },
  settled: {
    tx: toHex(row['settled_tx']),
    block: row['settled_block'],
    blockHash: toHex(row['settled_hash']),
    logIndex: row['settled_log'],
    time: row['settled_time'],
  },
  outcome: OUTCOMES[row['outcome'] - 1] as Outcome,
})
