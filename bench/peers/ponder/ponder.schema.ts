import { onchainTable, primaryKey } from 'ponder'

export const submission = onchainTable('submission', (t) => ({
  id: t.hex().primaryKey(),
  contributor: t.hex().notNull(),
  sensor: t.text().notNull(),
  dataset: t.text().notNull(),
  schemaSha256: t.hex().notNull(),
  payloadHash: t.hex().notNull(),
  payloadBytes: t.bigint().notNull(),
  uri: t.text().notNull(),
  keyId: t.hex().notNull(),
  nonce: t.bigint().notNull(),
  quorum: t.integer().notNull(),
  submittedBlock: t.bigint().notNull(),
  submittedLog: t.integer().notNull(),
  submittedTx: t.hex().notNull(),
  submittedTime: t.bigint().notNull(),
  index: t.bigint(),
  seq: t.bigint(),
  outcome: t.integer(),
  record: t.hex(),
  acc: t.hex(),
  settledBlock: t.bigint(),
  settledHash: t.hex(),
  settledLog: t.integer(),
  settledTx: t.hex(),
  settledTime: t.bigint(),
}))

export const attestation = onchainTable(
  'attestation',
  (t) => ({
    submission: t.hex().notNull(),
    validator: t.hex().notNull(),
    valid: t.boolean().notNull(),
    block: t.bigint().notNull(),
    logIndex: t.integer().notNull(),
    tx: t.hex().notNull(),
  }),
  (t) => ({ pk: primaryKey({ columns: [t.submission, t.validator] }) }),
)
