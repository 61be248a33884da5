import type { Row } from 'postgres'
import { accountId, evmAccount } from '../chain/ids.ts'
import { concat, type Hex, toBigInt, toHex, u32be, u64be } from '../core/bytes.ts'
import type { Json, JsonObject } from '../core/json.ts'
import type { Reason } from '../core/reason.ts'
import { readingTable, readingTables, valueColumn } from '../graph/readings.ts'
import { parseTimestamp } from '../maml/time.ts'
import type { Verdict } from '../receipt/entry.ts'
import { type Bounds, readBounds, type State, stateOf } from './bounds.ts'
import { h3Text } from './catalog.ts'
import type { ServiceContext } from './context.ts'
import { ServiceError } from './error.ts'
import { type CellRanges, readCell, withinCell } from './h3.ts'
import {
  DEFAULT_LIMIT,
  decodeKey,
  encodeKey,
  MAX_LIMIT,
  notePlace,
  type Page,
  type PageQuery,
} from './page.ts'

/** One reading with the submission that it came in. Its `values` and its `sensor_id` were written by a stranger. */
export interface ReadingItem {
  /** Id of the submission. */
  submission: Hex
  /** Its place in the payload, from 0. */
  position: number
  dataset: string
  /** The registered sensor that the submission is of. */
  sensor: string
  /** What the reading itself says; another name only in a rejected payload. */
  sensor_id: string
  /** CAIP-10. */
  contributor: string
  /** H3 cell of the sensor, 15 hex digits. */
  h3: string
  /** When it was measured by the reading's own word: RFC 3339 in UTC, to the microsecond. */
  timestamp: string
  state: State
  /** Null while the submission is settled and not judged. */
  verdict: Verdict | null
  reason: Reason | null
  leaf_index: number | null
  /** The log's hash of its receipt's entry; null before it is logged. */
  receipt_id: Hex | null
  /** The transaction that settled the submission; null before. */
  tx: Hex | null
  values: JsonObject
  links: Record<'submission' | 'proof', string>
}

/** Fields by which readings are listed. Names, accounts and cells that do not exist give an empty list. */
export interface ReadingQuery extends PageQuery {
  dataset?: string | undefined
  sensor?: string | undefined
  /** CAIP-10 id or bare address. */
  contributor?: string | undefined
  /** H3 cell of any resolution: sensors in it or in a cell within it. */
  h3?: string | undefined
  /** Measured at this time or later, RFC 3339 in UTC. */
  from?: string | undefined
  /** Measured before this time. */
  to?: string | undefined
  state?: State | undefined
  /** `accepted` unless told. */
  verdict?: Verdict | 'any' | undefined
}

const LIST = 'readings'
/** Sensors that are asked one by one; of more, all readings are looked through. */
const MAX_STREAMS = 100
/** Readings that one page looks at, at most: a page may hold fewer items than asked for and still have a next one. */
const MAX_LOOKED_AT = 20_000

/** The place of a reading in the list: newest first by its own time, then by submission and position. */
interface Key {
  /** Microseconds since 1970. */
  micros: bigint
  submission: number
  position: number
}

/** More than any time that a reading can have, and so that none is negative. */
const OFFSET = 1n << 62n
const keyBytes = ({ micros, submission, position }: Key): Uint8Array =>
  concat(u64be(micros + OFFSET), u64be(submission), u32be(position))
const KEY_BYTES = 20

const readKey = (cursor: string): Key => {
  const bytes = decodeKey(LIST, cursor, KEY_BYTES)
  return {
    micros: toBigInt(bytes.subarray(0, 8)) - OFFSET,
    submission: Number(toBigInt(bytes.subarray(8, 16))),
    position: Number(toBigInt(bytes.subarray(16))),
  }
}

/** Positive where `a` comes before `b` in the list. */
const compare = (a: Key, b: Key): number =>
  a.micros !== b.micros
    ? a.micros > b.micros
      ? 1
      : -1
    : a.submission - b.submission || a.position - b.position

interface Candidate extends Key {
  dataset: string
  row: Row
}

/** One way through one dataset's readings: all of them, or one sensor's. */
interface Stream {
  dataset: string
  sensor: string | null
}

/** A time of a query as microseconds since 1970. Throws `BAD_TIME`. */
function readMicros(text: string, name: string): bigint {
  const moment = parseTimestamp(text)
  if (moment === null) {
    throw new ServiceError('BAD_TIME', `${name} is not a time`, {
      hint: 'write it as 2025-10-01T23:30:00Z, in UTC, with a fraction if you like',
    })
  }
  const fraction = /\.([0-9]+)Z$/.exec(text)?.[1] ?? ''
  return BigInt(moment.seconds) * 1_000_000n + BigInt(fraction.slice(0, 6).padEnd(6, '0'))
}

/** Microseconds since 1970 as Postgres reads them, exactly: arithmetic with intervals would go through floating point. */
function microsText(micros: bigint): string {
  const fraction = ((micros % 1_000_000n) + 1_000_000n) % 1_000_000n
  const seconds = new Date(Number((micros - fraction) / 1000n)).toISOString().slice(0, 19)
  return `${seconds}.${String(fraction).padStart(6, '0')}Z`
}

/** Everything that a row is held against besides the order. */
interface Filter {
  sensor: string | undefined
  account: Hex | undefined
  cell: CellRanges | undefined
  state: State | undefined
  verdict: Verdict | 'any'
  /** Microseconds; null is open. `to` is not included. */
  from: bigint | null
  to: bigint | null
}

/**
 * One page of readings, the latest measured first. Throws `BAD_CURSOR`, `BAD_CELL`, `BAD_TIME`, and `BAD_CHAIN_ID` for a malformed
 * contributor. One page looks at a bounded number of readings whatever it asks for, so a page may be short, even empty, while
 * `next_cursor` leads on.
 */
export async function listReadings(ctx: ServiceContext, query: ReadingQuery): Promise<Page<ReadingItem>> {
  const { limit = DEFAULT_LIMIT, cursor } = query
  const filter: Filter = {
    sensor: query.sensor,
    account:
      query.contributor === undefined ? undefined : evmAccount(query.contributor, ctx.deployment.chain),
    cell: query.h3 === undefined ? undefined : readCell(query.h3),
    state: query.state,
    verdict: query.verdict ?? 'accepted',
    from: query.from === undefined ? null : readMicros(query.from, 'from'),
    to: query.to === undefined ? null : readMicros(query.to, 'to'),
  }
  const before = cursor === undefined ? null : readKey(cursor)
  const [bounds, streams] = await Promise.all([readBounds(ctx.sql), openStreams(ctx, query.dataset, filter)])
  const { found, next } = await search(ctx, streams, filter, bounds, before, Math.min(limit, MAX_LIMIT))
  return {
    items: await present(ctx, found, bounds),
    next_cursor: next && encodeKey(LIST, keyBytes(next)),
  }
}

/** The ways on which every reading that the filter lets through is met. */
async function openStreams(
  ctx: ServiceContext,
  dataset: string | undefined,
  { sensor, account, cell }: Filter,
): Promise<Stream[]> {
  const { sql } = ctx
  const tables = new Set(await readingTables(sql))
  const has = (name: string) => tables.has(readingTable(name))
  if (sensor === undefined && account === undefined && cell === undefined) {
    const names = await sql`
      select name from dataset ${dataset === undefined ? sql`` : sql`where name = ${dataset}`} order by id`
    return names.flatMap(({ name }) => (has(name) ? [{ dataset: name as string, sensor: null }] : []))
  }
  const conditions = [
    ...(dataset === undefined ? [] : [sql`d.name = ${dataset}`]),
    ...(sensor === undefined ? [] : [sql`s.name = ${sensor}`]),
    ...(account === undefined ? [] : [sql`c.account = decode(${account.slice(2)}, 'hex')`]),
    ...(cell === undefined ? [] : [sql`(${cellCondition(ctx, cell)})`]),
  ]
  const rows = await sql`
    select s.name, d.name as dataset
    from sensor s join dataset d on d.id = s.dataset join contributor c on c.id = s.contributor
    where ${conditions.map((condition, i) => (i === 0 ? condition : sql` and ${condition}`))}
    order by s.id limit ${MAX_STREAMS + 1}`
  if (rows.length <= MAX_STREAMS) {
    return rows.flatMap((row) =>
      has(row['dataset']) ? [{ dataset: row['dataset'] as string, sensor: row['name'] as string }] : [],
    )
  }
  const datasets = await sql`
    select name from dataset ${dataset === undefined ? sql`` : sql`where name = ${dataset}`} order by id`
  return datasets.flatMap(({ name }) => (has(name) ? [{ dataset: name as string, sensor: null }] : []))
}

/** Postgres keeps cells as signed integers; no valid cell has the highest bit. */
const cellCondition = ({ sql }: ServiceContext, { ranges }: CellRanges) =>
  ranges.map(([first, last], i) => {
    const within = sql`s.h3 between ${String(first)}::bigint and ${String(last)}::bigint`
    return i === 0 ? within : sql` or ${within}`
  })

/** Looks along all streams, further each time, until the page is full, they end, or enough was looked at. */
async function search(
  ctx: ServiceContext,
  streams: readonly Stream[],
  filter: Filter,
  bounds: Bounds,
  before: Key | null,
  limit: number,
): Promise<{ found: Candidate[]; next: Key | null }> {
  const found: Candidate[] = []
  let from = before
  let depth = limit + 1
  for (let looked = 0; streams.length > 0 && looked < MAX_LOOKED_AT; ) {
    const { rows, end } = await look(ctx, streams, filter, from, depth)
    looked += Math.max(rows.length, 1)
    for (const row of rows) {
      if (!passes(row.row, filter, bounds)) continue
      found.push(row)
      // One more than the page shows that there is a next one.
      if (found.length > limit) return { found: found.slice(0, limit), next: found[limit - 1] as Key }
    }
    if (end === null) return { found, next: null }
    from = end
    depth = Math.max(limit + 1, Math.min(depth * 4, Math.floor((MAX_LOOKED_AT - looked) / streams.length)))
  }
  return { found, next: streams.length > 0 ? from : null }
}

/**
 * At least the next `depth` readings of all streams together, in order. `end` is the last place up to which they are complete, null
 * where nothing follows.
 */
async function look(
  ctx: ServiceContext,
  streams: readonly Stream[],
  filter: Filter,
  before: Key | null,
  depth: number,
): Promise<{ rows: Candidate[]; end: Key | null }> {
  const parts = await Promise.all(
    [...Map.groupBy(streams, ({ dataset }) => dataset)].map(async ([dataset, own]) => {
      const names = own.map(({ sensor }) => sensor)
      const rows = await readKeys(ctx, dataset, names, filter, before, depth)
      return rows.map(
        (row): Candidate => ({
          dataset,
          row,
          micros: BigInt(row['micros']),
          submission: row['submission'],
          position: row['position'],
        }),
      )
    }),
  )
  // What one stream has after its last row that was read, another one's rows must wait for.
  const ends = parts.flatMap((rows) =>
    [...Map.groupBy(rows, ({ row }) => row['stream'] as number).values()].flatMap((own) =>
      own.length === depth ? [own.at(-1) as Candidate] : [],
    ),
  )
  const end = ends.length === 0 ? null : ends.reduce((a, b) => (compare(a, b) >= 0 ? a : b))
  const rows = parts.flat().sort((a, b) => compare(b, a))
  return { rows: end === null ? rows : rows.filter((row) => compare(row, end) >= 0), end }
}

/** Up to `depth` places of each stream of one dataset after `before`, with what the filter needs. */
async function readKeys(
  { sql }: ServiceContext,
  dataset: string,
  sensors: readonly (string | null)[],
  { from, to }: Filter,
  before: Key | null,
  depth: number,
): Promise<Row[]> {
  const time = (micros: bigint) => sql`${microsText(micros)}::timestamptz`
  const conditions = [
    ...(sensors[0] === null ? [] : [sql`r.sensor_id = n.name`]),
    ...(from === null ? [] : [sql`r.timestamp >= ${time(from)}`]),
    ...(to === null ? [] : [sql`r.timestamp < ${time(to)}`]),
    ...(before === null
      ? []
      : [
          sql`r.timestamp <= ${time(before.micros)}`,
          sql`(r.timestamp, r.submission, r.position) < (${time(before.micros)}, ${before.submission}, ${before.position})`,
        ]),
  ]
  return sql`
    select n.stream::int as stream, k.submission, k.position, k.micros::text as micros, s.index, s.verdict,
           se.name as sensor, se.h3::text as h3, c.account
    from unnest(${sensors.map((name) => name ?? '')}::text[]) with ordinality as n(name, stream)
    cross join lateral (
      select r.submission, r.position, (extract(epoch from r.timestamp) * 1000000)::bigint as micros
      from ${sql(readingTable(dataset))} r
      ${conditions.length === 0 ? sql`` : sql`where ${conditions.map((condition, i) => (i === 0 ? condition : sql` and ${condition}`))}`}
      order by r.timestamp desc, r.submission desc, r.position desc limit ${depth}
    ) k
    join submission s on s.id = k.submission
    join sensor se on se.id = s.sensor
    join contributor c on c.id = s.contributor
    order by n.stream, k.micros desc, k.submission desc, k.position desc`
}

function passes(row: Row, filter: Filter, bounds: Bounds): boolean {
  const { sensor, account, cell, state, verdict } = filter
  return (
    (verdict === 'any' || row['verdict'] === verdict) &&
    (state === undefined || stateOf(row['index'], bounds) === state) &&
    (sensor === undefined || row['sensor'] === sensor) &&
    (account === undefined || toHex(row['account']) === account) &&
    (cell === undefined || withinCell(cell, BigInt.asUintN(64, BigInt(row['h3']))))
  )
}

/** The log's hash of a leaf's entry, RFC 6962 section 2.1; null where `l` is no leaf. */
export const receiptId = ({ sql }: Pick<ServiceContext, 'sql'>) => sql`sha256('\\x00'::bytea || l.entry)`

/** Columns of a reading's row that are not values. */
const OWN = ['submission', 'position', 'sensor_id', 'timestamp'] as const

async function present(
  ctx: ServiceContext,
  found: readonly Candidate[],
  bounds: Bounds,
): Promise<ReadingItem[]> {
  if (found.length === 0) return []
  const { sql, deployment } = ctx
  const rows = new Map<string, Row>()
  const place = (submission: number, position: number) => `${submission}:${position}`
  const submissions = [...new Set(found.map(({ submission }) => submission))]
  const [facts] = await Promise.all([
    sql`
      select s.id, s.submission_id, s.reason, s.settled_tx,
             ${receiptId(ctx)} as receipt_id
      from submission s left join leaf l on l.submission = s.id where s.id = any(${submissions}::bigint[])`,
    ...[...Map.groupBy(found, ({ dataset }) => dataset)].map(async ([dataset, own]) => {
      const read = await sql`
        select r.submission, r.position, to_jsonb(r) - ${[...OWN]}::text[] as stored, r.sensor_id,
               to_char(r.timestamp at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US') as timestamp
        from ${sql(readingTable(dataset))} r
        join unnest(${own.map(({ submission }) => submission)}::bigint[], ${own.map(({ position }) => position)}::int[])
          as k(submission, position) on r.submission = k.submission and r.position = k.position`
      for (const row of read) rows.set(place(row['submission'], row['position']), row)
    }),
  ])
  const factsOf = new Map(facts.map((row) => [row['id'] as number, row]))
  return found.flatMap((candidate): ReadingItem[] => {
    const { dataset, submission, position, row } = candidate
    const reading = rows.get(place(submission, position))
    const fact = factsOf.get(submission)
    // A reorganisation may have taken it away between the two looks.
    if (!reading || !fact) return []
    const id = toHex(fact['submission_id'])
    const item: ReadingItem = {
      submission: id,
      position,
      dataset,
      sensor: row['sensor'],
      sensor_id: reading['sensor_id'],
      contributor: accountId(deployment.chain, toHex(row['account'])),
      h3: h3Text(row['h3']),
      timestamp: shortTime(reading['timestamp']),
      state: stateOf(row['index'], bounds),
      verdict: row['verdict'],
      reason: fact['reason'],
      leaf_index: row['index'] !== null && row['index'] < bounds.logged ? row['index'] : null,
      receipt_id: fact['receipt_id'] === null ? null : toHex(fact['receipt_id']),
      tx: fact['settled_tx'] === null ? null : toHex(fact['settled_tx']),
      values: valuesOf(reading['stored']),
      links: { submission: `/v1/submissions/${id}`, proof: `/v1/submissions/${id}/proof` },
    }
    notePlace(item, () => encodeKey(LIST, keyBytes(candidate)))
    return [item]
  })
}

/** `2025-10-01T23:30:00.500000` to `2025-10-01T23:30:00.5Z`. */
const shortTime = (text: string): string => `${text.replace(/\.?0{1,6}$/, '')}Z`

/** Values by their own names; what the reading did not have is left out. */
const valuesOf = (stored: Record<string, Json>): JsonObject =>
  Object.fromEntries(
    Object.entries(stored)
      .filter(([column, value]) => column.startsWith(valueColumn('')) && value !== null)
      .map(([column, value]) => [column.slice(valueColumn('').length), value]),
  )
