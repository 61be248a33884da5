import { afterEach, beforeEach, expect, test } from 'vitest'
import { sha256, toHex, utf8 } from '../../src/core/bytes.ts'
import { CopyRows, copyIn, copyOut } from '../../src/graph/copy.ts'
import { type Cell, type Columns, insertRows } from '../../src/graph/insert.ts'
import { putPayloads, readPayloadsOf } from '../../src/graph/payloads.ts'
import { ensureReadingTable } from '../../src/graph/readings.ts'
import { parseSchemaFile } from '../../src/maml/schema.ts'
import { fillGraph } from '../support/graph.ts'
import { type TestDatabase, testDatabase } from '../support/postgres.ts'
import { addReadings } from '../support/readings.ts'

// Many rows go to PostgreSQL in another form than few. What is stored must not depend on how many there are.

let database: TestDatabase
beforeEach(async () => {
  database = await testDatabase()
})
afterEach(() => database.stop())

const COLUMNS: Columns = {
  a: 'int8',
  b: 'int4',
  c: 'int2',
  d: 'bool',
  e: 'bytes',
  f: 'hex',
  g: 'text',
}
const TABLE =
  '(n int generated always as identity, a bigint, b int, c smallint, d boolean, e bytea, f bytea, g text)'
const ROWS: Cell[][] = [
  [0, 0, 0, false, new Uint8Array(), '0x', ''],
  [Number.MAX_SAFE_INTEGER, 2 ** 31 - 1, 2 ** 15 - 1, true, Uint8Array.of(0, 255), '0x00ff', 'é€😀\n\t\\'],
  [
    Number.MIN_SAFE_INTEGER,
    -(2 ** 31),
    -(2 ** 15),
    false,
    utf8('x'.repeat(70_000)),
    toHex(sha256()),
    'y'.repeat(70_000),
  ],
  [-1, -1, -1, true, Uint8Array.of(1), '0x01', '{"a":[1,2]}'],
  [2 ** 32, 1, 1, true, Uint8Array.of(1), '0x01', "'"],
  [-(2 ** 32) - 1, 1, 1, true, Uint8Array.of(1), '0x01', 'z'],
  [null, null, null, null, null, null, null],
]

test('stores the same, whether rows are few or many', async () => {
  const { sql } = database
  await sql.unsafe(`create table few ${TABLE}; create table many ${TABLE}`)
  const names = Object.keys(COLUMNS).join(', ')
  for (let round = 0; round < 8; round++) await sql.begin((tx) => insertRows(tx, 'few', COLUMNS, ROWS))
  await sql.begin((tx) => insertRows(tx, 'many', COLUMNS, Array.from({ length: 8 }, () => ROWS).flat()))
  const few = await sql.unsafe(`select ${names} from few order by n`)
  expect(few).toHaveLength(56)
  expect(await sql.unsafe(`select ${names} from many order by n`)).toEqual(few)
  expect(few[1]).toEqual({
    a: Number.MAX_SAFE_INTEGER,
    b: 2 ** 31 - 1,
    c: 2 ** 15 - 1,
    d: true,
    e: Buffer.from([0, 255]),
    f: Buffer.from([0, 255]),
    g: 'é€😀\n\t\\',
  })
})

test('rejects with what the server says of a row, and leaves nothing behind', async () => {
  const { sql } = database
  await sql`create table one (a bigint primary key)`
  const rows = Array.from({ length: 100 }, (_, i) => [i === 99 ? 5 : i])
  const copying = sql.begin((tx) => insertRows(tx, 'one', { a: 'int8' }, rows))
  await expect(copying).rejects.toMatchObject({ code: '23505' })
  expect(await sql`select 1 from one`).toHaveLength(0)
  // The connection is as good as before.
  await sql.begin((tx) => insertRows(tx, 'one', { a: 'int8' }, rows.slice(0, 99)))
  expect(await sql`select 1 from one`).toHaveLength(99)
})

test('rejects when its connection is lost', async () => {
  const { sql } = database
  await sql`create table one (a bigint)`
  const copying = sql.begin(async (tx) => {
    const [row] = await tx`select pg_backend_pid() as pid`
    await sql`select pg_terminate_backend(${row?.['pid']})`
    await copyIn(tx, 'one (a)', new CopyRows().row(1).int8(1))
  })
  await expect(copying).rejects.toThrow()
  expect(await sql`select 1 from one`).toHaveLength(0)
})

test('reads rows as they are, and rejects what the server refuses', async () => {
  const { sql } = database
  const bytes = (text: string) => new Uint8Array(Buffer.from(text, 'hex'))
  const rows = await copyOut(
    sql,
    "select n::bigint, case when n = 2 then null else decode(repeat('ab', n * 40000), 'hex') end from generate_series(0, 3) n",
  )
  expect(rows.map(([n, b]) => [n, b?.length ?? null])).toEqual([
    [bytes('0000000000000000'), 0],
    [bytes('0000000000000001'), 40_000],
    [bytes('0000000000000002'), null],
    [bytes('0000000000000003'), 120_000],
  ])
  expect(rows[3]?.[1]?.every((byte) => byte === 0xab)).toBe(true)
  expect(await copyOut(sql, 'select 1 where false')).toEqual([])
  await expect(copyOut(sql, 'select 1 / 0')).rejects.toMatchObject({ code: '22012' })
  await expect(copyOut(sql, 'select 1 / (3 - n) from generate_series(1, 3) n')).rejects.toMatchObject({
    code: '22012',
  })
})

test('finds stored payloads of few and of many submissions, none of another length', async () => {
  const { sql } = database
  await fillGraph(sql, { submitted: 20, settled: 20, final: 20, logged: 0, anchored: 0 })
  const payload = (n: number) => utf8(`payload ${n} ${'x'.repeat(n * 1000)}`)
  await putPayloads(
    sql,
    Array.from({ length: 20 }, (_, n) => ({ sha256: toHex(sha256(payload(n))), bytes: payload(n) })),
  )
  const rows = await sql`select id from submission order by index`
  const ids = rows.map((row) => row['id'] as number)
  for (const [n, id] of ids.entries())
    await sql`
      update submission set payload_sha256 = ${sha256(payload(n))}, payload_bytes = ${payload(n).length + (n === 3 ? 1 : 0)}
      where id = ${id}`
  const some = [0, 3, 5]
  const few = await readPayloadsOf(
    sql,
    some.map((n) => ids[n] as number),
  )
  expect([...few.keys()].sort((a, b) => a - b)).toEqual([ids[0], ids[5]])
  const all = await readPayloadsOf(sql, ids)
  expect(all.size).toBe(19)
  for (const [n, id] of ids.entries()) expect(all.get(id)).toEqual(n === 3 ? undefined : payload(n))
  expect(few.get(ids[5] as number)).toEqual(payload(5))
})

test('stores the same readings, whether they are few or many', async () => {
  const { sql } = database
  await fillGraph(sql, { submitted: 1, settled: 1, final: 0, logged: 0, anchored: 0 })
  const schema = utf8(`---
maml: 1.0
schema: wide.maml
dataset: wide
---
## Schema
\`\`\`json
{ "type": "object", "properties": { "i": { "type": "integer" }, "n": { "type": "number" }, "s": { "type": "string" },
  "b": { "type": "boolean" }, "any": {}, "mixed": { "type": ["integer", "string"] } } }
\`\`\`
`)
  const file = parseSchemaFile(schema)
  const values = [
    { i: 5, n: 1.5, s: 'text', b: true, any: { a: [1, null, 'x\u0000y'] }, mixed: 1 },
    { i: -0, n: -0, s: 'a\u0000b', b: false, any: null, mixed: 'two' },
    { i: 1.5, n: 'no', s: 3, b: 'no', any: 'plain', mixed: true },
    { i: Number.MAX_SAFE_INTEGER, n: 1e-300, s: '', b: null, any: -0, mixed: null },
    { i: Number.MIN_SAFE_INTEGER, n: 5e300, s: '€😀', b: true, any: [], mixed: 2.5 },
  ]
  const times = [
    '2025-10-01T23:30:00Z',
    '0001-01-01T00:00:00.123456789Z',
    '9999-12-31T23:59:59.999999999Z',
    '1969-12-31T23:59:59.5Z',
  ]
  const readings = Array.from({ length: 100 }, (_, i) => ({
    sensor_id: `sensor ${'é'.repeat(i * 5)}`,
    timestamp: times[i % times.length] as string,
    ...(values[i % values.length] as object),
  }))
  await sql.begin(async (tx) => {
    await ensureReadingTable(tx, 'wide', file)
    await addReadings(tx, 'wide', [{ submission: 1, file, readings }])
    for (let at = 0; at < readings.length; at += 10)
      await addReadings(tx, 'wide', [{ submission: 100 + at, file, readings: readings.slice(at, at + 10) }])
  })
  const many = await sql`
    select position, sensor_id, timestamp::text, v_i, v_n, v_s, v_b, v_any, v_mixed from reading_wide where submission = 1 order by position`
  const few = await sql`
    select (submission - 100 + position)::int as position, sensor_id, timestamp::text, v_i, v_n, v_s, v_b, v_any, v_mixed
    from reading_wide where submission >= 100 order by 1`
  expect(many).toHaveLength(100)
  expect([...few]).toEqual([...many])
  expect(many[1]).toMatchObject({
    timestamp: '0001-01-01 00:00:00.123456+00',
    v_i: 0,
    v_s: 'a\ufffdb',
    v_any: null,
  })
})
