import { sql } from 'drizzle-orm'
import {
  bigint,
  boolean,
  check,
  customType,
  index,
  integer,
  jsonb,
  pgSequence,
  pgTable,
  primaryKey,
  smallint,
  text,
  timestamp,
  uniqueIndex,
} from 'drizzle-orm/pg-core'
import type { Hex } from '../core/bytes.ts'

/**
 * The graph as tables. Everything above the line "what the indexer found out" comes from the chain alone and is undone
 * by a rollback; everything below it is derived. Internal ids are drawn from one sequence, so that an edge can join any
 * two entities; what leaves the database is always the chain's own id.
 */

/** What a payload that was read adds to its receipt, and what was found wrong with it, kept so that no check runs twice. */
export interface StoredJudgement {
  read: {
    readings: number
    names: readonly string[]
    firstTimestamp: string
    signatureSha256: Hex | null
    signedBytesSha256: Hex
    mirrorSha256: Hex
  } | null
  /** For people; no part of the leaf. */
  detail: string | null
  /** Taken from a restored entry, as the payload was gone: the leaf is that entry. */
  restored?: true
}

const bytea = customType<{ data: Uint8Array; driverData: Uint8Array }>({ dataType: () => 'bytea' })
const int8 = (name: string) => bigint(name, { mode: 'number' })

export const entityId = pgSequence('entity_id')
const id = () => int8('id').primaryKey().default(sql`nextval('entity_id')`)

/** What this database is an index of: exactly one row, written once. */
export const deployment = pgTable(
  'deployment',
  {
    singleton: boolean('singleton').primaryKey().default(true),
    chain: text('chain').notNull(),
    registry: bytea('registry').notNull(),
    anchor: bytea('anchor').notNull(),
    origin: text('origin').notNull(),
    startBlock: int8('start_block').notNull(),
    /** Hash of the start block: tells a devnet that was begun again from the one that was indexed. */
    startHash: bytea('start_hash').notNull(),
  },
  (t) => [check('deployment_singleton', sql`${t.singleton}`)],
)

/** How far the chain is applied and final. Moves in the same transaction as the rows that it speaks of. */
export const cursor = pgTable(
  'cursor',
  {
    singleton: boolean('singleton').primaryKey().default(true),
    headNumber: int8('head_number').notNull(),
    headHash: bytea('head_hash').notNull(),
    headTime: int8('head_time').notNull(),
    finalNumber: int8('final_number').notNull(),
    finalHash: bytea('final_hash').notNull(),
    finalTime: int8('final_time').notNull(),
  },
  (t) => [check('cursor_singleton', sql`${t.singleton}`)],
)

/** The applied blocks from the last final one on: what a reorg is recognised by. */
export const block = pgTable('block', {
  number: int8('number').primaryKey(),
  hash: bytea('hash').notNull(),
  parentHash: bytea('parent_hash').notNull(),
  time: int8('time').notNull(),
})

export const contributor = pgTable('contributor', {
  id: id(),
  account: bytea('account').notNull().unique(),
  block: int8('block').notNull(),
})

export const contributorKey = pgTable(
  'contributor_key',
  {
    contributor: int8('contributor')
      .notNull()
      .references(() => contributor.id, { onDelete: 'cascade' }),
    keyIndex: int8('key_index').notNull(),
    keyId: bytea('key_id').notNull(),
    publicKey: bytea('public_key').notNull(),
    possession: bytea('possession').notNull(),
    possessionValid: boolean('possession_valid').notNull(),
    block: int8('block').notNull(),
    logIndex: integer('log_index').notNull(),
    revokedBlock: int8('revoked_block'),
  },
  (t) => [primaryKey({ columns: [t.contributor, t.keyIndex] }), index('contributor_key_id').on(t.keyId)],
)

/** Who may attest, by block: `until_block` is null while the role is held. */
export const validator = pgTable(
  'validator',
  {
    contributor: int8('contributor')
      .notNull()
      .references(() => contributor.id, { onDelete: 'cascade' }),
    sinceBlock: int8('since_block').notNull(),
    sinceLog: integer('since_log').notNull(),
    untilBlock: int8('until_block'),
  },
  (t) => [primaryKey({ columns: [t.contributor, t.sinceBlock, t.sinceLog] })],
)

export const dataset = pgTable('dataset', {
  id: id(),
  name: text('name').notNull().unique(),
  block: int8('block').notNull(),
})

export const datasetVersion = pgTable(
  'dataset_version',
  {
    dataset: int8('dataset')
      .notNull()
      .references(() => dataset.id, { onDelete: 'cascade' }),
    version: int8('version').notNull(),
    schemaSha256: bytea('schema_sha256').notNull(),
    schema: bytea('schema').notNull(),
    /** The `schema:` name inside the file, null where the bytes are not a valid schema file. */
    schemaName: text('schema_name'),
    problem: text('problem'),
    block: int8('block').notNull(),
    logIndex: integer('log_index').notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.dataset, t.version] }),
    index('dataset_version_schema').on(t.schemaSha256),
  ],
)

export const sensor = pgTable(
  'sensor',
  {
    id: id(),
    name: text('name').notNull().unique(),
    dataset: int8('dataset')
      .notNull()
      .references(() => dataset.id, { onDelete: 'cascade' }),
    contributor: int8('contributor')
      .notNull()
      .references(() => contributor.id, { onDelete: 'cascade' }),
    h3: bigint('h3', { mode: 'bigint' }).notNull(),
    block: int8('block').notNull(),
  },
  (t) => [index('sensor_contributor').on(t.contributor)],
)

/** Integers of `submission.outcome` and `.verdict`: the contract's own for outcomes. */
export const OUTCOMES = ['validated', 'rejected', 'expired'] as const

/**
 * Neither submissions nor attestations nor readings have foreign keys: checking each row's took as long as all the rest of writing it.
 * Whoever writes them looks the others up in the same transaction, and a rollback takes them away before what they refer to.
 */
export const submission = pgTable(
  'submission',
  {
    id: id(),
    submissionId: bytea('submission_id').notNull().unique(),
    contributor: int8('contributor').notNull(),
    sensor: int8('sensor').notNull(),
    dataset: int8('dataset').notNull(),
    schemaSha256: bytea('schema_sha256').notNull(),
    payloadSha256: bytea('payload_sha256').notNull(),
    payloadBytes: integer('payload_bytes').notNull(),
    /** Raw bytes as they stand on-chain: not every URI is text. */
    uri: bytea('uri').notNull(),
    keyId: bytea('key_id').notNull(),
    nonce: int8('nonce').notNull(),
    quorum: integer('quorum').notNull(),
    submittedBlock: int8('submitted_block').notNull(),
    submittedLog: integer('submitted_log').notNull(),
    submittedTx: bytea('submitted_tx').notNull(),
    submittedTime: int8('submitted_time').notNull(),

    /** The registry's running number of settled submissions, and the leaf index; null while pending. */
    index: int8('index').unique(),
    seq: int8('seq'),
    outcome: smallint('outcome'),
    record: bytea('record'),
    acc: bytea('acc'),
    settledBlock: int8('settled_block'),
    settledHash: bytea('settled_hash'),
    settledLog: integer('settled_log'),
    settledTx: bytea('settled_tx'),
    settledTime: int8('settled_time'),

    // What the indexer found out.
    /** `accepted`, `rejected`, or null while the payload is awaited. Provisional until the submission is logged. */
    verdict: text('verdict', { enum: ['accepted', 'rejected'] }),
    reason: text('reason'),
    observed: boolean('observed').notNull().default(false),
    /** All that the receipt says besides the chain's fields, so that no check runs twice. */
    judgement: jsonb('judgement').$type<StoredJudgement>(),
    /** SHA-256 of the payload's signed bytes: two accepted submissions of one contributor never share it. */
    signedSha256: bytea('signed_sha256'),
  },
  (t) => [
    // Newest first, pending ones included: every list's order.
    index('submission_contributor').on(t.contributor, t.id),
    index('submission_sensor').on(t.sensor, t.id),
    index('submission_verdict').on(t.verdict, t.id),
    index('submission_reason').on(t.reason, t.id).where(sql`${t.reason} is not null`),
    index('submission_submitted_block').on(t.submittedBlock),
    index('submission_settled_block').on(t.settledBlock),
    // Whose payload was not read, or not yet: of what a contributor sends, whether a submission speaks of it.
    index('submission_payload').on(t.payloadSha256).where(sql`${t.signedSha256} is null`),
    index('submission_unjudged').on(t.index).where(sql`${t.verdict} is null and ${t.index} is not null`),
    index('submission_pending').on(t.id).where(sql`${t.index} is null`),
    uniqueIndex('submission_contributor_seq').on(t.contributor, t.seq),
    // Sensor and time first, so that new entries come together where time stands (src/graph/repeats.ts).
    index('submission_signed')
      .on(t.sensor, sql`((${t.judgement} -> 'read' ->> 'firstTimestamp') collate "C")`, t.signedSha256)
      .where(sql`${t.signedSha256} is not null`),
  ],
)

export const attestation = pgTable(
  'attestation',
  {
    submission: int8('submission').notNull(),
    validator: int8('validator').notNull(),
    valid: boolean('valid').notNull(),
    block: int8('block').notNull(),
    logIndex: integer('log_index').notNull(),
    tx: bytea('tx').notNull(),
  },
  (t) => [primaryKey({ columns: [t.submission, t.validator] }), index('attestation_block').on(t.block)],
)

/** Integers of `edge.kind`. */
export const EDGE = {
  /** contributor -> sensor */
  owns: 1,
  /** sensor -> dataset */
  feeds: 2,
  /** submission -> sensor */
  measuredBy: 3,
  /** submission -> contributor */
  submittedBy: 4,
  /** validator (a contributor) -> submission */
  confirmed: 5,
  /** validator (a contributor) -> submission */
  disputed: 6,
  /** submission -> the earlier submission that it repeats */
  duplicates: 7,
} as const

export const edge = pgTable(
  'edge',
  {
    src: int8('src').notNull(),
    kind: smallint('kind').notNull(),
    dst: int8('dst').notNull(),
    /** The block whose event drew the edge: what a rollback goes by. */
    block: int8('block').notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.src, t.kind, t.dst] }),
    index('edge_reverse').on(t.dst, t.kind, t.src),
    index('edge_block').on(t.block),
  ],
)

/** Content-addressed payload bytes. Never rolled back: a hash stays true. */
export const payload = pgTable(
  'payload',
  {
    sha256: bytea('sha256').primaryKey(),
    bytes: bytea('bytes').notNull(),
    /** Who put it here over HTTP, for the quota, until there is a verdict on it; null for what the indexer fetched. */
    contributor: bytea('contributor'),
    storedAt: timestamp('stored_at', { withTimezone: true }).notNull().defaultNow(),
  },
  (t) => [index('payload_waiting').on(t.contributor).where(sql`${t.contributor} is not null`)],
)

/** What happened while the bytes of a submission were sought: local observations, kept beside the leaf and not in it. */
export const retrieval = pgTable('retrieval', {
  submission: int8('submission')
    .primaryKey()
    .references(() => submission.id, { onDelete: 'cascade' }),
  attempts: integer('attempts').notNull(),
  /** Short code of the last failure (`timeout`, `hash`, `refused-address`, ...), null after success. */
  what: text('what'),
  detail: text('detail'),
  updatedAt: timestamp('updated_at', { withTimezone: true }).notNull().defaultNow(),
})

/** The log's head, moved by compare-and-swap in the transaction that adds leaves and tiles. */
export const logHead = pgTable(
  'log_head',
  {
    singleton: boolean('singleton').primaryKey().default(true),
    size: int8('size').notNull(),
    root: bytea('root').notNull(),
  },
  (t) => [check('log_head_singleton', sql`${t.singleton}`)],
)

export const leaf = pgTable('leaf', {
  index: int8('index').primaryKey(),
  submission: int8('submission')
    .notNull()
    .unique()
    .references(() => submission.id),
  entry: bytea('entry').notNull(),
})

/** Hash tiles, 256 wide; `hashes` holds 32 bytes a node and grows until the tile is full. */
export const tile = pgTable(
  'tile',
  {
    level: smallint('level').notNull(),
    index: int8('index').notNull(),
    hashes: bytea('hashes').notNull(),
  },
  (t) => [primaryKey({ columns: [t.level, t.index] })],
)

/** Signed checkpoints, one for each size that was signed. */
export const checkpoint = pgTable('checkpoint', {
  size: int8('size').primaryKey(),
  root: bytea('root').notNull(),
  note: text('note').notNull(),
})

/**
 * Entries and checkpoints of this log that `dunes restore` took from a copy, verified, and that the log has not come to yet. The
 * observed statements among them nobody could make again; all others are held against what is rebuilt. Each goes when its leaf is logged.
 */
export const restoredLeaf = pgTable('restored_leaf', {
  index: int8('index').primaryKey(),
  entry: bytea('entry').notNull(),
})

export const restoredCheckpoint = pgTable('restored_checkpoint', {
  size: int8('size').primaryKey(),
  root: bytea('root').notNull(),
  note: text('note').notNull(),
})

/** ML-DSA-65 signatures over entries, made once when first asked for. */
export const receiptSignature = pgTable('receipt_signature', {
  index: int8('index').primaryKey(),
  keyId: bytea('key_id').notNull(),
  signature: bytea('signature').notNull(),
})

/** Anchors as the chain tells them. */
export const anchor = pgTable(
  'anchor',
  {
    seq: int8('seq').primaryKey(),
    size: int8('size').notNull(),
    root: bytea('root').notNull(),
    previousSize: int8('previous_size').notNull(),
    chainHash: bytea('chain_hash').notNull(),
    block: int8('block').notNull(),
    blockHash: bytea('block_hash').notNull(),
    time: int8('time').notNull(),
    tx: bytea('tx').notNull(),
    logIndex: integer('log_index').notNull(),
  },
  (t) => [index('anchor_size').on(t.size), index('anchor_block').on(t.block)],
)

/** Leaf policies in force from an index on, as the chain tells them. */
export const leafPolicy = pgTable('leaf_policy', {
  firstIndex: int8('first_index').primaryKey(),
  hash: bytea('hash').notNull(),
  block: int8('block').notNull(),
})

/** Anchor transactions sent and not yet final: what a restart goes on from. */
export const anchorTx = pgTable('anchor_tx', {
  hash: bytea('hash').primaryKey(),
  nonce: int8('nonce').notNull(),
  size: int8('size').notNull(),
  root: bytea('root').notNull(),
  maxFeePerGas: text('max_fee_per_gas').notNull(),
  maxPriorityFeePerGas: text('max_priority_fee_per_gas').notNull(),
  sentAt: timestamp('sent_at', { withTimezone: true }).notNull(),
})

/**
 * The feed of changes: one row, which also is the lock under which changes are told. Whoever tells holds it until its commit, so that
 * ids come in the order of the commits and without holes.
 */
export const feed = pgTable(
  'feed',
  {
    singleton: boolean('singleton').primaryKey().default(true),
    /** Tells ids of this feed from those of another database's, or of one that was begun anew. */
    name: text('name').notNull().default(sql`left(gen_random_uuid()::text, 8)`),
    /** Id of the newest change; the first one is 1. */
    last: int8('last').notNull().default(0),
    /** Settled submissions that were told to be final, logged and anchored: each the first index that was not. */
    final: int8('final').notNull().default(0),
    logged: int8('logged').notNull().default(0),
    anchored: int8('anchored').notNull().default(0),
  },
  (t) => [check('feed_singleton', sql`${t.singleton}`)],
)

/** What was told, many changes a row: those with the ids from `last - count + 1` to `last` (src/graph/changes.ts). */
export const change = pgTable('change', {
  last: int8('last').primaryKey(),
  count: int8('count').notNull(),
  items: text('items').notNull(),
  toldAt: timestamp('told_at', { withTimezone: true }).notNull().defaultNow(),
})
