import type { Duplex } from 'node:stream'
import { finished } from 'node:stream/promises'
import type { Row } from 'postgres'
import { utf8 } from '../src/core/bytes.ts'
import { mlDsa } from '../src/core/ml-dsa-native.ts'
import { connect, type Sql } from '../src/graph/connect.ts'
import { CopyRows, copyIn } from '../src/graph/copy.ts'
import { ensureReadingTable } from '../src/graph/readings.ts'
import { EDGE } from '../src/graph/schema.ts'
import { appendLeaves, type ChangedTile, emptyState, loadState, rootOf } from '../src/log/append.ts'
import { splitHashes } from '../src/log/merkle.ts'
import { FULL_TILE_BYTES, TILE_WIDTH } from '../src/log/tile.ts'
import { parseSchemaFile } from '../src/maml/schema.ts'
import { judge } from '../src/receipt/judge.ts'
import { makeReceiptEntry } from '../src/receipt/make.ts'
import { judgeFacts, SCHEMA, settledFacts, signedPayload } from './fixture.ts'
import { must } from './measure.ts'
import type { Database } from './parts.ts'
import type { Bench } from './scratch.ts'

/**
 * Settings of a server that is only filled. It stays durable: what a transaction writes into a table that it has emptied is on the disk
 * before its commit, and therefore needs no log. Sorts of indexes get memory; two of them run at once, each by itself.
 */
export const FILL_SETTINGS: Readonly<Record<string, string>> = {
  wal_level: 'minimal',
  max_wal_senders: '0',
  autovacuum: 'off',
  maintenance_work_mem: '1GB',
  max_parallel_maintenance_workers: '0',
  checkpoint_timeout: '1h',
  io_method: 'sync',
}

const DATASET = 'helium_sensors'
const CONTRIBUTORS = 1_000
const VALIDATORS = 16
/** Submissions that a block submits and settles. */
const PER_BLOCK = 32
/** Leaves between two signed checkpoints, and bytes of one. */
const PER_CHECKPOINT = 512
const CHECKPOINT_BYTES = 3_900
/** Changes are kept of so many submissions, five of each: `changesKept` as it is unless set. */
const CHANGES_OF = 2_000_000
/** Submissions whose changes one row holds here, and bytes that those take. */
const PER_CHANGE = 128
const CHANGE_BYTES = 57_800
/** Bytes of a leaf's entry: a tenth less than it has, so that six fit on a page and ten million submissions on a small disk. */
const ENTRY_BYTES = 1_300
/** Tables that are filled at once: their rows are made on one core while another takes them in. */
const LANES = 2
/** Bytes that go to the server at once; more than any row has. */
const PIECE = 1 << 16
/** What stands before rows in a message of the protocol: its type and its length. */
const MESSAGE = 5
/** Different tiles of leaves, and how many are written at once. */
const PATTERNS = 64
const TILES = 256

/** Which of a submission's hashes: each has bits of its own. */
const HASH = {
  submission: 1,
  payload: 2,
  record: 3,
  acc: 4,
  transaction: 5,
  block: 6,
  signed: 7,
  leaf: 8,
  key: 9,
} as const

/** Bits of a number that look like nothing. */
function mixed(n: number): number {
  let h = Math.imul(n ^ (n >>> 16), 0x21f0aaad)
  h = Math.imul(h ^ (h >>> 15), 0x735a2d97)
  return (h ^ (h >>> 15)) >>> 0
}

/** 32 bytes for number `n`, as if they were a hash: a hundred times as fast as one. */
function putHash(view: DataView, at: number, n: number, kind: number): void {
  let state = mixed(n) ^ Math.imul(kind, 0x9e3779b1)
  for (let i = 0; i < 32; i += 4) {
    state = (state + 0x6d2b79f5) | 0
    let word = Math.imul(state ^ (state >>> 15), state | 1)
    word ^= word + Math.imul(word ^ (word >>> 7), word | 61)
    view.setInt32(at + i, word ^ (word >>> 14))
  }
}

/** Rows of binary COPY, all alike but for what is written over the values of the first one. */
class Rows {
  readonly #one: Uint8Array
  /** Where each value begins in a row. */
  readonly #places: readonly number[]
  readonly #buffer = new Uint8Array(PIECE)
  readonly #view = new DataView(this.#buffer.buffer)
  #at = MESSAGE

  constructor(values: readonly (Uint8Array | null)[]) {
    const places: number[] = []
    let length = 2
    for (const value of values) {
      places.push(length + 4)
      length += 4 + (value?.length ?? 0)
    }
    this.#places = places
    this.#one = new Uint8Array(length)
    this.#buffer[0] = 'd'.charCodeAt(0)
    const view = new DataView(this.#one.buffer)
    view.setInt16(0, values.length)
    values.forEach((value, i) => {
      view.setInt32((places[i] as number) - 4, value?.length ?? -1)
      if (value) this.#one.set(value, places[i])
    })
  }

  /** Whether so many more rows may go beyond a piece. */
  isFull(rows: number): boolean {
    return this.#at + rows * this.#one.length > this.#buffer.length
  }

  /** All rows since the last call as a message of the server's protocol, which stays as it is until a row is added. */
  take(): Uint8Array {
    const taken = this.#buffer.subarray(0, this.#at)
    this.#view.setInt32(1, this.#at - 1)
    this.#at = MESSAGE
    return taken
  }

  add(): void {
    this.#buffer.set(this.#one, this.#at)
    this.#at += this.#one.length
  }

  #place(column: number): number {
    return this.#at - this.#one.length + (this.#places[column] as number)
  }

  int8(column: number, value: number): void {
    const at = this.#place(column)
    this.#view.setInt32(at, Math.floor(value / 0x1_0000_0000))
    this.#view.setUint32(at + 4, value >>> 0)
  }

  int2(column: number, value: number): void {
    this.#view.setInt16(this.#place(column), value)
  }

  int4(column: number, value: number): void {
    this.#view.setInt32(this.#place(column), value)
  }

  float8(column: number, value: number): void {
    this.#view.setFloat64(this.#place(column), value)
  }

  hash(column: number, n: number, kind: number): void {
    putHash(this.#view, this.#place(column), n, kind)
  }

  /** ASCII text, from `offset` bytes into the value. */
  text(column: number, offset: number, value: string): void {
    const at = this.#place(column) + offset
    for (let i = 0; i < value.length; i++) this.#buffer[at + i] = value.charCodeAt(i)
  }

  /** Four digits, from `offset` bytes into the value. */
  digits(column: number, offset: number, value: number): void {
    const at = this.#place(column) + offset
    this.#buffer[at] = 48 + Math.floor(value / 1000)
    this.#buffer[at + 1] = 48 + (Math.floor(value / 100) % 10)
    this.#buffer[at + 2] = 48 + (Math.floor(value / 10) % 10)
    this.#buffer[at + 3] = 48 + (value % 10)
  }
}

/** A table that grows with submissions. */
interface Table {
  name: string
  /** Its columns, with a first value each. */
  values: Readonly<Record<string, Uint8Array | null>>
  /** How often `write` is called, and how many rows it adds at most. */
  count: number
  rows: number
  write(rows: Rows, n: number): void
}

const wide = (bytes: number): Uint8Array => new Uint8Array(bytes)
const int2 = (value: number): Uint8Array => wide(2).fill(value, 1)
const int4 = (value: number): Uint8Array => wide(4).fill(value, 3)
const HASHED = wide(32)
const INT8 = wide(8)

/** As many bytes as a signed checkpoint has, which do not get less by compression either. */
function signedNote(): Uint8Array {
  const bytes = wide(CHECKPOINT_BYTES)
  const view = new DataView(bytes.buffer)
  for (let at = 0; at + 32 <= bytes.length; at += 32) putHash(view, at, at, HASH.leaf)
  return bytes.map((byte) => 33 + (byte & 63))
}

/** Who sent what: ids of rows that are there before any submission. */
interface Ids {
  contributors: readonly number[]
  sensors: readonly number[]
  validators: readonly number[]
  dataset: number
  /** Internal id of the first submission. */
  first: number
}

/** What RFC 3339 writes for whole seconds that are given as microseconds since 2000. */
const instantOf = (micros: number): string =>
  `${new Date(Date.UTC(2000, 0, 1) + micros / 1000).toISOString().slice(0, -'.000Z'.length)}Z`

/** What an indexer would have written for so many settled, judged and logged submissions of one reading, in the order of its writing. */
function tablesOf(count: number, ids: Ids): Table[] {
  const bytes = signedPayload(1)
  const judgement = judge(judgeFacts(bytes), { mlDsa })
  must(judgement.read !== null, 'the payload was not read')
  const { payload: _, ...read } = judgement.read
  const entry = makeReceiptEntry(settledFacts(bytes), judgement).slice(0, ENTRY_BYTES)
  const who = (n: number) => mixed(n) % CONTRIBUTORS
  const contributor = (n: number) => ids.contributors[who(n)] as number
  const sensor = (n: number) => ids.sensors[who(n)] as number
  const validator = (n: number, i: 0 | 1) => {
    const bits = mixed(~n)
    return ids.validators[(bits + i * (1 + ((bits >>> 8) % (VALIDATORS - 1)))) % VALIDATORS] as number
  }
  // Below zero, so that the chain that is indexed on top of these begins with block 1.
  const block = (n: number) => Math.floor((n - count) / PER_BLOCK)
  // Microseconds since 2000, a second each, up to the first reading of that chain.
  const timestamp = (n: number) => (Date.UTC(2025, 9, 1) - Date.UTC(2000, 0, 1) + (n - count) * 1000) * 1000
  // The one version of the format, then text.
  const judged = utf8(`\u0001${JSON.stringify({ read, detail: null })}`)
  const firstTimestampAt = Buffer.from(judged).indexOf(read.firstTimestamp)
  const seqs = new Uint32Array(CONTRIBUTORS)
  const told = Math.floor(Math.min(count, CHANGES_OF) / PER_CHANGE)
  return [
    {
      name: 'submission',
      values: {
        id: INT8,
        submission_id: HASHED,
        contributor: INT8,
        sensor: INT8,
        dataset: INT8,
        schema_sha256: HASHED,
        payload_sha256: HASHED,
        payload_bytes: int4(0),
        uri: utf8('https://payloads.example/00000000'),
        key_id: HASHED,
        nonce: INT8,
        quorum: int4(2),
        submitted_block: INT8,
        submitted_log: int4(0),
        submitted_tx: HASHED,
        submitted_time: INT8,
        index: INT8,
        seq: INT8,
        outcome: int2(1),
        record: HASHED,
        acc: HASHED,
        settled_block: INT8,
        settled_hash: HASHED,
        settled_log: int4(1),
        settled_tx: HASHED,
        settled_time: INT8,
        verdict: utf8('accepted'),
        observed: wide(1),
        judgement: judged,
        signed_sha256: HASHED,
      },
      count,
      rows: 1,
      write(rows, n) {
        const by = who(n)
        const seq = (seqs[by] as number)++
        rows.add()
        rows.int8(0, ids.first + n)
        rows.hash(1, n, HASH.submission)
        rows.int8(2, contributor(n))
        rows.int8(3, sensor(n))
        rows.int8(4, ids.dataset)
        rows.hash(6, n, HASH.payload)
        rows.int4(7, bytes.length)
        rows.hash(9, by, HASH.key)
        rows.int8(10, seq)
        rows.int8(12, block(n))
        rows.hash(14, n, HASH.transaction)
        rows.int8(15, 1_700_000_000 + block(n))
        rows.int8(16, n)
        rows.int8(17, seq)
        rows.hash(19, n, HASH.record)
        rows.hash(20, n, HASH.acc)
        rows.int8(21, block(n))
        rows.hash(22, block(n), HASH.block)
        rows.hash(24, n, HASH.transaction)
        rows.int8(25, 1_700_000_000 + block(n))
        rows.text(28, firstTimestampAt, instantOf(timestamp(n)))
        rows.hash(29, n, HASH.signed)
      },
    },
    {
      name: 'edge',
      values: { src: INT8, kind: int2(0), dst: INT8, block: INT8 },
      count,
      rows: 4,
      write(rows, n) {
        const id = ids.first + n
        const add = (src: number, kind: number, dst: number) => {
          rows.add()
          rows.int8(0, src)
          rows.int2(1, kind)
          rows.int8(2, dst)
          rows.int8(3, block(n))
        }
        add(id, EDGE.measuredBy, sensor(n))
        add(id, EDGE.submittedBy, contributor(n))
        add(validator(n, 0), EDGE.confirmed, id)
        add(validator(n, 1), EDGE.confirmed, id)
      },
    },
    {
      name: 'leaf',
      values: { index: INT8, submission: INT8, entry },
      count,
      rows: 1,
      write(rows, n) {
        rows.add()
        rows.int8(0, n)
        rows.int8(1, ids.first + n)
      },
    },
    {
      name: 'attestation',
      values: {
        submission: INT8,
        validator: INT8,
        valid: wide(1).fill(1),
        block: INT8,
        log_index: int4(0),
        tx: HASHED,
      },
      count,
      rows: 2,
      write(rows, n) {
        for (const i of [0, 1] as const) {
          rows.add()
          rows.int8(0, ids.first + n)
          rows.int8(1, validator(n, i))
          rows.int8(3, block(n))
          rows.hash(5, n, HASH.transaction)
        }
      },
    },
    {
      name: `reading_${DATASET}`,
      values: {
        submission: INT8,
        position: int4(0),
        sensor_id: utf8('filled_0000'),
        timestamp: INT8,
        v_air_quality: INT8,
        v_humidity: INT8,
        v_temperature: INT8,
      },
      count,
      rows: 1,
      write(rows, n) {
        rows.add()
        rows.int8(0, ids.first + n)
        rows.digits(2, 7, who(n))
        rows.int8(3, timestamp(n))
        rows.int8(4, n % 500)
        rows.float8(5, (n % 8_000) / 100)
        rows.float8(6, (n % 3_000) / 100)
      },
    },
    {
      name: 'payload',
      // As wide as what a row holds of a payload, whose bytes lie elsewhere. Those are left out: they would take twice what all the rest does.
      values: { sha256: HASHED, bytes: wide(17), stored_at: INT8 },
      count,
      rows: 1,
      write(rows, n) {
        rows.add()
        rows.hash(0, n, HASH.payload)
        rows.int8(2, timestamp(n))
      },
    },
    {
      name: 'retrieval',
      values: { submission: INT8, attempts: int4(1), updated_at: INT8 },
      count,
      rows: 1,
      write(rows, n) {
        rows.add()
        rows.int8(0, ids.first + n)
        rows.int8(2, timestamp(n))
      },
    },
    {
      name: 'change',
      values: { last: INT8, count: INT8, items: wide(CHANGE_BYTES).fill(48), told_at: INT8 },
      count: told,
      rows: 1,
      write(rows, n) {
        rows.add()
        rows.int8(0, 5 * (count - PER_CHANGE * (told - n - 1)))
        rows.int8(1, 5 * PER_CHANGE)
        rows.int8(3, timestamp(count - PER_CHANGE * (told - n - 1)))
      },
    },
    {
      name: 'checkpoint',
      values: { size: INT8, root: HASHED, note: signedNote() },
      count: Math.floor(count / PER_CHECKPOINT),
      rows: 1,
      write(rows, n) {
        rows.add()
        rows.int8(0, (n + 1) * PER_CHECKPOINT)
        rows.hash(1, n, HASH.leaf)
      },
    },
  ]
}

/** Before the rows of binary COPY, and after them. */
const EMPTY = new CopyRows().finish()
const BEFORE = EMPTY.slice(0, -2)
const AFTER = EMPTY.slice(-2)

function* pieces(bench: Bench, table: Table): Generator<Uint8Array> {
  const rows = new Rows(Object.values(table.values))
  for (let n = 0; n < table.count; n++) {
    if (rows.isFull(table.rows)) {
      bench.check()
      yield rows.take()
    }
    table.write(rows, n)
    if ((n + 1) % 2_000_000 === 0)
      bench.progress(`growth: ${table.name}: rows of ${n + 1} of ${table.count} are written`)
  }
  yield rows.take()
}

/** Empties a table and writes its rows, frozen and without a log, as nobody can have seen it as it was. */
async function load(bench: Bench, url: string, table: Table): Promise<void> {
  const sockets: Duplex[] = []
  const sql = await connect(url, { max: 1, onSocket: (socket) => sockets.push(socket) })
  try {
    await sql.begin(async (tx) => {
      await tx.unsafe(`truncate ${table.name}`)
      const columns = Object.keys(table.values).join(', ')
      const copy = tx.unsafe(`copy ${table.name} (${columns}) from stdin (format binary, freeze)`)
      const stream = await copy.writable()
      await new Promise((done) => stream.write(BEFORE, done))
      // Past the driver, which would copy every piece twice. It says nothing itself until the stream ends.
      const socket = sockets.at(-1) as Duplex
      for (const piece of pieces(bench, table)) await new Promise((done) => socket.write(piece, done))
      await finished(stream.end(AFTER))
    })
  } finally {
    await sql.end({ timeout: 5 })
  }
}

/** A whole tree and the log's head. Its leaves' hashes are made up: a few different tiles of them, which are stored in full every time. */
async function loadTree(bench: Bench, sql: Sql, count: number): Promise<void> {
  const patterns = Array.from({ length: PATTERNS }, (_, n) => {
    const hashes = new Uint8Array(FULL_TILE_BYTES)
    for (let i = 0; i < TILE_WIDTH; i++)
      putHash(new DataView(hashes.buffer), 32 * i, TILE_WIDTH * n + i, HASH.leaf)
    return { hashes, root: appendLeaves(emptyState(), splitHashes(hashes)).root }
  })
  const pattern = (n: number) => patterns[n % PATTERNS] as (typeof patterns)[number]
  const full = Math.floor(count / TILE_WIDTH)
  const leaves = function* (from: number, to: number): Generator<ChangedTile> {
    for (let index = from; index < to; index++) yield { level: 0, index, hashes: pattern(index).hashes }
    const width = count % TILE_WIDTH
    if (to === full && width > 0)
      yield { level: 0, index: full, hashes: pattern(full).hashes.slice(0, 32 * width) }
  }
  const roots = Array.from({ length: full }, (_, n) => pattern(n).root)
  const above = appendLeaves(emptyState(), roots).tiles.map((tile) => ({ ...tile, level: tile.level + 1 }))
  const edge = new Map([...above, ...leaves(full, full)].map((tile) => [`${tile.level}/${tile.index}`, tile]))
  const state = await loadState(count, async ({ level, index }) => edge.get(`${level}/${index}`)?.hashes)
  await sql.begin(async (tx) => {
    const write = (tiles: Iterable<ChangedTile>) => {
      const rows = new CopyRows()
      for (const { level, index, hashes } of tiles) rows.row(3).int2(level).int8(index).bytes(hashes)
      return copyIn(tx, 'tile (level, index, hashes)', rows)
    }
    await tx`truncate tile`
    for (let from = 0; from === 0 || from < full; from += TILES) {
      bench.check()
      await write(leaves(from, Math.min(full, from + TILES)))
    }
    await write(above)
    await tx`insert into log_head (size, root) values (${count}, ${rootOf(state)})`
  })
}

type Job = () => Promise<void>

/** Does jobs side by side, in order; they may put more of them into the queue. */
async function inLanes(queue: Job[]): Promise<void> {
  const running = new Set<Promise<void>>()
  while (queue.length > 0 || running.size > 0) {
    for (let job = queue[0]; job && running.size < LANES; job = queue[0]) {
      queue.shift()
      const one: Promise<void> = job().finally(() => running.delete(one))
      // Whoever waits hears of the first that fails.
      one.catch(() => {})
      running.add(one)
    }
    await Promise.race(running)
  }
}

interface Index {
  table: string
  name: string
  definition: string
  /** Of the constraint that it belongs to. */
  type: 'p' | 'u' | null
}

/** Indexes and constraints of the whole database, by which it must not differ from a migrated one. */
const shapeOf = async (sql: Sql): Promise<string> => {
  const rows = await sql`
    select indexrelid::regclass::text as name, pg_get_indexdef(indexrelid) || coalesce(array_to_string(c.reloptions, ','), '') as is
    from pg_index join pg_class c on c.oid = indexrelid where indrelid::regclass::text !~ '^pg_' and indisvalid
    union all select conrelid::regclass || '.' || conname, pg_get_constraintdef(oid) from pg_constraint where convalidated
    union all select attrelid::regclass || '.' || attname, attstorage::text from pg_attribute
      where attrelid in (select indrelid from pg_index) and attnum > 0
    order by 1, 2`
  return JSON.stringify(rows)
}

/**
 * Indexes of hashes take a new entry anywhere, so that pages split in half all the time and are full to ln 2 on average. All others grow
 * at a few ends, where pages are left as full as a new index has them.
 */
export const SPREAD: readonly string[] = ['submission_submission_id_unique', 'payload_pkey']
const SPREAD_FULL = 69
/**
 * Indexes of wide tables that grow at one end, or hold none of the rows that are filled in: writing them with the rows costs less than
 * reading all rows once more. All others are faster made from all rows at once.
 */
const WITH_ROWS = [
  'submission_pkey',
  'submission_index_unique',
  'submission_verdict',
  'submission_submitted_block',
  'submission_settled_block',
  'submission_unjudged',
  'submission_pending',
  'submission_payload',
  'submission_reason',
  'leaf_pkey',
  'leaf_submission_unique',
]

/**
 * Fills a migrated, empty database with made-up submissions that were settled, judged and logged, as an indexer leaves it after so many,
 * but for the bytes of payloads. Rows come by COPY and frozen, their indexes after them.
 */
export async function fillSubmissions(bench: Bench, { sql, url }: Database, count: number): Promise<void> {
  const begun = performance.now()
  const seconds = (since: number) => `${((performance.now() - since) / 1000).toFixed(1)} s`
  await sql.begin((tx) => ensureReadingTable(tx, DATASET, parseSchemaFile(SCHEMA)))
  const shape = await shapeOf(sql)
  const tables = tablesOf(count, await insertOthers(sql, count))
  const names = [...tables.map(({ name }) => name), 'tile']
  const references = await sql`
    select conrelid::regclass::text as table, conname as name, pg_get_constraintdef(oid) as definition
    from pg_constraint where contype = 'f' and conrelid::regclass::text in ${sql(names)}`
  for (const { table, name } of references) await sql.unsafe(`alter table ${table} drop constraint "${name}"`)
  const indexes = await sql<Index[]>`
    select t.relname as table, i.relname as name, pg_get_indexdef(i.oid) as definition, c.contype as type
    from pg_index x join pg_class t on t.oid = x.indrelid join pg_class i on i.oid = x.indexrelid
    left join pg_constraint c on c.conindid = i.oid and c.contype in ('p', 'u')
    where t.relname in ${sql(names)} and i.relname not in ${sql(WITH_ROWS)}`
  for (const { table, name, type } of indexes)
    await sql.unsafe(type ? `alter table "${table}" drop constraint "${name}"` : `drop index "${name}"`)

  const queue: Job[] = []
  const timed = (what: string, work: () => Promise<unknown>) => async () => {
    bench.check()
    const since = performance.now()
    await work()
    if (count >= 1_000_000) bench.progress(`growth: ${what} in ${seconds(since)}`)
  }
  const build = ({ table, name, definition, type }: Index) =>
    timed(`index ${name}`, async () => {
      const spread = SPREAD.includes(name)
      await sql.unsafe(
        spread ? definition.replace(/ WHERE |$/, ` WITH (fillfactor = ${SPREAD_FULL})$&`) : definition,
      )
      if (spread) await sql.unsafe(`alter index "${name}" reset (fillfactor)`)
      if (type)
        await sql.unsafe(
          `alter table "${table}" add constraint "${name}" ${type === 'p' ? 'primary key' : 'unique'} using index "${name}"`,
        )
    })
  // A table's indexes are made while its rows are still in memory.
  const thenIndexes = (table: string, work: () => Promise<void>) =>
    timed(`rows of ${table}`, async () => {
      await work()
      queue.unshift(...indexes.filter((index) => index.table === table).map(build))
    })
  queue.push(...tables.map((table) => thenIndexes(table.name, () => load(bench, url, table))))
  queue.push(thenIndexes('tile', () => loadTree(bench, sql, count)))
  await inLanes(queue)
  await inLanes(
    names.map((name) => timed(`statistics of ${name}`, () => sql.unsafe(`vacuum (analyze) ${name}`))),
  )
  // With statistics: the rows are looked up by merging indexes.
  await inLanes(
    references.map(({ table, name, definition }) =>
      timed(`reference ${name}`, () =>
        sql.unsafe(`alter table ${table} add constraint "${name}" ${definition}`),
      ),
    ),
  )
  await sql`
    insert into edge (src, kind, dst, block)
    select contributor, ${EDGE.owns}::smallint, id, block from sensor union all select id, ${EDGE.feeds}::smallint, dataset, block from sensor`
  await sql`insert into feed (last, final, logged) values (${5 * count}, ${count}, ${count})`
  await sql`vacuum (analyze)`
  must(
    (await shapeOf(sql)) === shape,
    'the filled database has other indexes or constraints than a migrated one',
  )
  await sql`checkpoint`
  bench.progress(`growth: ${count} submissions are filled in after ${seconds(begun)}`)
}

/** Who and what submissions refer to. */
async function insertOthers(sql: Sql, count: number): Promise<Ids> {
  const ids = (rows: Iterable<Row>) => Array.from(rows, (row) => row['id'] as number)
  const people = ids(
    await sql`
    insert into contributor (account, block)
    select substr(sha256(int8send(n)), 1, 20), -1000000000 from generate_series(1, ${CONTRIBUTORS + VALIDATORS}::bigint) n returning id`,
  )
  const [dataset = 0] = ids(
    await sql`insert into dataset (name, block) values ('filled', -1000000000) returning id`,
  )
  const contributors = people.slice(0, CONTRIBUTORS)
  const sensors = ids(
    await sql`
    insert into sensor (name, dataset, contributor, h3, block)
    select 'filled_' || lpad((n - 1)::text, 4, '0'), ${dataset}, c, 617700169958293503, -1000000000
    from unnest(${contributors}::bigint[]) with ordinality as c(c, n) order by n returning id`,
  )
  const [drawn] = await sql`select nextval('entity_id') as first`
  const first = drawn?.['first'] as number
  await sql`select setval('entity_id', ${first + count})`
  return { contributors, sensors, validators: people.slice(CONTRIBUTORS), dataset, first }
}
