import type { TransactionSql } from 'postgres'
import type { ChainBlock, ChainEventOf, ChainEventType } from '../chain/source.ts'
import { type Hex, toHex } from '../core/bytes.ts'
import { DunesError } from '../core/error.ts'
import type { Cell, Columns } from './insert.ts'
import { EDGE, OUTCOMES } from './schema.ts'

/** An event with the block that it stands in. */
export type Placed<T extends ChainEventType> = ChainEventOf<T> & { block: ChainBlock }

/** A chain source that contradicts what is applied. Nothing was written. */
export const inconsistent = (what: string): DunesError =>
  new DunesError('GRAPH_INCONSISTENT', what, {
    hint: 'the chain source skipped or repeated events; check the RPC endpoint and run `dunes doctor`',
    // Another endpoint may tell the truth, and another indexer may have moved the cursor.
    retryable: true,
    exitCode: 3,
  })

/** Sensor and dataset of the submissions that were settled, by their index. */
export type SettledNames = ReadonlyMap<number, { sensor: string; dataset: string }>

export const SUBMISSION: Columns = {
  id: 'int8',
  submission_id: 'hex',
  contributor: 'int8',
  sensor: 'int8',
  dataset: 'int8',
  schema_sha256: 'hex',
  payload_sha256: 'hex',
  payload_bytes: 'int4',
  uri: 'bytes',
  key_id: 'hex',
  nonce: 'int8',
  quorum: 'int4',
  submitted_block: 'int8',
  submitted_log: 'int4',
  submitted_tx: 'hex',
  submitted_time: 'int8',
  index: 'int8',
  seq: 'int8',
  outcome: 'int2',
  record: 'hex',
  acc: 'hex',
  settled_block: 'int8',
  settled_hash: 'hex',
  settled_log: 'int4',
  settled_tx: 'hex',
  settled_time: 'int8',
}
export const ATTESTATION: Columns = {
  submission: 'int8',
  validator: 'int8',
  valid: 'bool',
  block: 'int8',
  log_index: 'int4',
  tx: 'hex',
}
export const EDGE_COLUMNS: Columns = { src: 'int8', kind: 'int2', dst: 'int8', block: 'int8' }

/** The values of a settlement, in the order of the last columns of `SUBMISSION`. */
const settlementOf = (e: Placed<'settled'>): Cell[] => [
  e.index,
  e.seq,
  OUTCOMES.indexOf(e.outcome) + 1,
  e.record,
  e.acc,
  e.block.number,
  e.block.hash,
  e.logIndex,
  e.tx,
  e.block.time,
]
const PENDING: Cell[] = Array.from({ length: 10 }, () => null)

/** What a run of blocks says of submissions. */
export interface SubmissionEvents {
  readonly submitted: readonly Placed<'submitted'>[]
  readonly attested: readonly Placed<'attested'>[]
  readonly settled: readonly Placed<'settled'>[]
}

/** What is there already of what a run refers to. */
interface Known {
  readonly contributors: ReadonlyMap<Hex, number>
  readonly sensors: ReadonlyMap<string, { id: number; dataset: number }>
  /** Internal ids for the run's own submissions. */
  readonly fresh: readonly number[]
  /** Submissions of earlier runs. */
  readonly submissions: ReadonlyMap<Hex, { id: number; sensor: string; dataset: string }>
  /** The index that is due. */
  readonly next: number
}

/** Reads what {@link submissionRows} needs, in one round trip. */
export async function readKnown(
  tx: TransactionSql,
  { submitted, attested, settled }: SubmissionEvents,
): Promise<Known> {
  const here = new Set(submitted.map(({ id }) => id))
  const earlier = new Set([...attested, ...settled].flatMap(({ id }) => (here.has(id) ? [] : [id])))
  const accounts = new Set([...submitted.map((e) => e.contributor), ...attested.map((e) => e.validator)])
  const sensorNames = new Set(submitted.map((e) => e.sensor))
  const [contributors, sensors, fresh, submissions, next] = await Promise.all([
    readContributors(tx, [...accounts]),
    readSensors(tx, [...sensorNames]),
    drawIds(tx, submitted.length),
    readSubmissions(tx, [...earlier]),
    settled.length > 0 ? readNextIndex(tx) : 0,
  ])
  return { contributors, sensors, fresh, submissions, next }
}

/** The rows that a run of blocks adds, in the order of their tables' columns. */
interface SubmissionRows {
  readonly submissions: Cell[][]
  readonly attestations: Cell[][]
  readonly edges: Cell[][]
  /** Settlements of submissions that are there already. */
  readonly earlier: Placed<'settled'>[]
  readonly names: SettledNames
}

/**
 * The rows that submissions, attestations and settlements of a run become. A submission that is settled in the same run is written once, as
 * most are while history is read. Throws `GRAPH_INCONSISTENT` where an event refers to what is not there, or where the registry's running
 * index has a hole.
 */
export function submissionRows(
  known: Known,
  { submitted, attested, settled }: SubmissionEvents,
): SubmissionRows {
  const here = new Map(submitted.map((event) => [event.id, event]))
  const { contributors, sensors, fresh, next } = known
  settled.forEach((event, i) => {
    if (event.index !== next + i)
      throw inconsistent(`settled index ${event.index} came where ${next + i} was due`)
  })
  const settlements = new Map(settled.map((event) => [event.id, event]))
  const ids = new Map([...known.submissions].map(([submission, { id }]) => [submission, id]))
  const edges: Cell[][] = []
  const submissions = submitted.map((e, i): Cell[] => {
    const id = fresh[i] as number
    const contributor = contributors.get(e.contributor)
    const sensor = sensors.get(e.sensor)
    if (contributor === undefined || sensor === undefined)
      throw inconsistent('a submission refers to an unknown contributor or sensor')
    ids.set(e.id, id)
    edges.push([id, EDGE.measuredBy, sensor.id, e.block.number])
    edges.push([id, EDGE.submittedBy, contributor, e.block.number])
    const settlement = settlements.get(e.id)
    return [
      id,
      e.id,
      contributor,
      sensor.id,
      sensor.dataset,
      e.schemaSha256,
      e.payloadHash,
      e.payloadBytes,
      e.uriBytes,
      e.keyId,
      e.nonce,
      e.quorum,
      e.block.number,
      e.logIndex,
      e.tx,
      e.block.time,
      ...(settlement ? settlementOf(settlement) : PENDING),
    ]
  })
  if (here.size !== submitted.length) throw inconsistent('a submission came twice')
  if (settlements.size !== settled.length) throw inconsistent('a submission was settled twice')
  const attestations = attested.map((e): Cell[] => {
    const submission = ids.get(e.id)
    const validator = contributors.get(e.validator)
    if (submission === undefined || validator === undefined)
      throw inconsistent('an attestation refers to an unknown submission or validator')
    edges.push([validator, e.valid ? EDGE.confirmed : EDGE.disputed, submission, e.block.number])
    return [submission, validator, e.valid, e.block.number, e.logIndex, e.tx]
  })
  const names = new Map<number, { sensor: string; dataset: string }>()
  for (const { id, index } of settled) {
    const of = here.get(id) ?? known.submissions.get(id)
    if (!of) throw inconsistent(UNKNOWN_SETTLED)
    names.set(index, { sensor: of.sensor, dataset: of.dataset })
  }
  return { submissions, attestations, edges, earlier: settled.filter(({ id }) => !here.has(id)), names }
}

const UNKNOWN_SETTLED = 'a settlement refers to an unknown or already settled submission'

const bare = (hex: Hex): string => hex.slice(2)

async function readContributors(tx: TransactionSql, accounts: readonly Hex[]): Promise<Map<Hex, number>> {
  if (accounts.length === 0) return new Map()
  const rows = await tx`
    select c.id, c.account from unnest(${accounts.map(bare)}::text[]) as a(account)
    join contributor c on c.account = decode(a.account, 'hex')`
  return new Map(rows.map((row) => [toHex(row['account']), row['id']]))
}

async function readSensors(
  tx: TransactionSql,
  names: readonly string[],
): Promise<Map<string, { id: number; dataset: number }>> {
  if (names.length === 0) return new Map()
  const rows = await tx`select id, name, dataset from sensor where name = any(${names as string[]}::text[])`
  return new Map(rows.map((row) => [row['name'], { id: row['id'], dataset: row['dataset'] }]))
}

/** Internal ids that nobody else gets, ascending. */
async function drawIds(tx: TransactionSql, count: number): Promise<number[]> {
  if (count === 0) return []
  const rows = await tx`select nextval('entity_id') as id from generate_series(1, ${count}::int)`
  return rows.map((row) => row['id'] as number)
}

async function readSubmissions(
  tx: TransactionSql,
  ids: readonly Hex[],
): Promise<Map<Hex, { id: number; sensor: string; dataset: string }>> {
  if (ids.length === 0) return new Map()
  const rows = await tx`
    select u.id, u.submission_id, s.name as sensor, d.name as dataset
    from unnest(${ids.map(bare)}::text[]) as e(id) join submission u on u.submission_id = decode(e.id, 'hex')
    join sensor s on s.id = u.sensor join dataset d on d.id = u.dataset`
  return new Map(
    rows.map(({ id, submission_id, sensor, dataset }) => [toHex(submission_id), { id, sensor, dataset }]),
  )
}

async function readNextIndex(tx: TransactionSql): Promise<number> {
  const [row] = await tx`select coalesce(max(index) + 1, 0)::bigint as next from submission`
  return row?.['next'] as number
}

/** Settles submissions of earlier runs. Throws `GRAPH_INCONSISTENT` where one is settled already. */
export async function settleEarlier(tx: TransactionSql, events: readonly Placed<'settled'>[]): Promise<void> {
  if (events.length === 0) return
  const { count } = await tx`
    update submission set index = e.index, seq = e.seq, outcome = e.outcome, record = decode(e.record, 'hex'),
      acc = decode(e.acc, 'hex'), settled_block = e.block, settled_hash = decode(e.hash, 'hex'), settled_log = e.log,
      settled_tx = decode(e.tx, 'hex'), settled_time = e.time
    from unnest(
      ${events.map((e) => bare(e.id))}::text[], ${events.map((e) => e.index)}::bigint[], ${events.map((e) => e.seq)}::bigint[],
      ${events.map((e) => OUTCOMES.indexOf(e.outcome) + 1)}::smallint[], ${events.map((e) => bare(e.record))}::text[],
      ${events.map((e) => bare(e.acc))}::text[], ${events.map((e) => e.block.number)}::bigint[],
      ${events.map((e) => bare(e.block.hash))}::text[], ${events.map((e) => e.logIndex)}::int[],
      ${events.map((e) => bare(e.tx))}::text[], ${events.map((e) => e.block.time)}::bigint[]
    ) as e(id, index, seq, outcome, record, acc, block, hash, log, tx, time)
    where submission_id = decode(e.id, 'hex') and submission.index is null`
  if (count !== events.length) throw inconsistent(UNKNOWN_SETTLED)
}
