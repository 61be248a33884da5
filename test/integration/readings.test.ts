import { afterEach, beforeEach, expect, test } from 'vitest'
import type { BlockRef, ChainBlock, ChainEvent } from '../../src/chain/source.ts'
import { sha256, toHex, utf8 } from '../../src/core/bytes.ts'
import { mlDsa } from '../../src/core/ml-dsa-native.ts'
import { applyBlocks, applyFinal } from '../../src/graph/apply.ts'
import { behindDatasetView } from '../../src/graph/dataset-view.ts'
import { readingColumns } from '../../src/graph/readings.ts'
import { rollback } from '../../src/graph/rollback.ts'
import { parseMaml } from '../../src/maml/parse.ts'
import { parseSchemaFile } from '../../src/maml/schema.ts'
import { dumpGraph } from '../support/dump.ts'
import { ALICE, deployment, fillGraph, hashOf } from '../support/graph.ts'
import { type TestDatabase, testDatabase } from '../support/postgres.ts'
import { addReadings } from '../support/readings.ts'

// What anybody may register or submit, against the tables of readings.

let database: TestDatabase
beforeEach(async () => {
  database = await testDatabase()
})
afterEach(() => database.stop())

const context = { chainId: 31337n, registry: deployment.registry, mlDsa }
const at = (number: number): BlockRef => ({
  number,
  hash: hashOf(`block ${number}`),
  time: 1_700_000_000 + number,
})
const blockOf = (number: number, events: ChainEvent[]): ChainBlock => ({
  ...at(number),
  parentHash: at(number - 1).hash,
  events,
})
let logIndex = 0
const place = () => ({ tx: hashOf(`tx ${logIndex}`), logIndex: logIndex++ })

const schemaBytes = (dataset: string, properties: Record<string, unknown>): Uint8Array =>
  utf8(
    `---\nmaml: 1.0\nschema: s.maml\ndataset: ${dataset}\n---\n## Schema\n\`\`\`json\n${JSON.stringify({ type: 'object', properties })}\n\`\`\`\n`,
  )
const dataset = (name: string, schema: Uint8Array, version = 0): ChainEvent => ({
  ...place(),
  type: 'datasetUpdated',
  name,
  version,
  schemaSha256: toHex(sha256(schema)),
  schema,
})

/** Alice and Bob with `count` submissions, all of them settled and none final. */
const filled = (count = 2) =>
  fillGraph(database.sql, { submitted: count, settled: count, final: 0, logged: 0, anchored: 0 })

const submissions = async (): Promise<number[]> =>
  (await database.sql`select id from submission order by index`).map((row) => row['id'])

const head = async (): Promise<number> =>
  (await database.sql`select head_number from cursor`)[0]?.['head_number']

/** Applies events in the block after the head. */
async function next(...events: ChainEvent[]): Promise<number> {
  const number = (await head()) + 1
  await database.sql`update cursor set head_hash = ${Buffer.from(at(number - 1).hash.slice(2), 'hex')}`
  await applyBlocks(database.sql, [blockOf(number, events)], context)
  return number
}

const insert = (name: string, submission: number, schema: Uint8Array, readings: readonly object[]) =>
  database.sql.begin((tx) =>
    addReadings(tx, name, [{ submission, file: parseSchemaFile(schema), readings: readings as never }]),
  )

const TIME = '2025-10-01T23:30:00.123456789Z'

test('takes any place that a contract takes for an H3 cell', async () => {
  await filled()
  await next({
    ...place(),
    type: 'sensorRegistered',
    contributor: ALICE.account,
    name: 'far',
    dataset: 'helium_sensors',
    h3Cell: 2n ** 64n - 1n,
  })
  const [row] = await database.sql`select h3::text as h3 from sensor where name = 'far'`
  expect(row?.['h3']).toBe('-1')
})

test('takes datasets that are called like the indices of other ones', async () => {
  await filled()
  const events = ['a', 'a_time', 'a_sensor', 'a_pkey', 'b_time', 'b'].map((name) =>
    dataset(name, schemaBytes(name, { v: { type: 'integer' } })),
  )
  await next(...events)
  for (const name of ['a', 'a_time', 'a_sensor', 'a_pkey', 'b_time', 'b'])
    expect([...(await readingColumns(database.sql, name))]).toEqual([['v_v', 'bigint']])
})

test('takes more properties than a table has columns', async () => {
  await filled()
  const names = (from: string) =>
    Object.fromEntries(Array.from({ length: 1_200 }, (_, i) => [`${from}${i}`, true]))
  await next(dataset('wide', schemaBytes('wide', names('a'))))
  await next(dataset('wide', schemaBytes('wide', names('b')), 1))
  expect((await readingColumns(database.sql, 'wide')).size).toBe(512)
})

test('keeps whatever strings, names and numbers a payload holds', async () => {
  await filled()
  const schema = schemaBytes('odd', {
    text: { type: 'string' },
    any: true,
    whole: { type: 'integer' },
    real: { type: 'number' },
    yes: { type: 'boolean' },
  })
  await next(dataset('odd', schema))
  const [id] = await submissions()
  const texts = [
    '',
    'NULL',
    'null',
    '{}',
    '{"a"}',
    '\\',
    '"',
    'a,b',
    '\u0000x',
    '\u{1f600}',
    '\n',
    "'; drop table x",
  ]
  const json = `[${texts
    .map((text) =>
      JSON.stringify({
        sensor_id: 'x',
        timestamp: TIME,
        text,
        any: { [`${text}\u0000`]: [text, { '\u0000': text }] },
        whole: -0,
        real: 5e-324,
        yes: false,
      }),
    )
    .join(',')}]`
  const payload = parseMaml(utf8(`## Data_Block\n\`\`\`json\n${json}\n\`\`\`\n`))
  await insert('odd', id as number, schema, payload.readings)
  const rows = await database.sql`select * from reading_odd order by position`
  expect(rows.map((row) => row['v_text'])).toEqual(texts.map((text) => text.replaceAll('\u0000', '\ufffd')))
  expect(rows[1]).toMatchObject({
    v_any: { 'NULL\ufffd': ['NULL', { '\ufffd': 'NULL' }] },
    v_whole: 0,
    v_real: 5e-324,
    v_yes: false,
    timestamp: new Date('2025-10-01T23:30:00.123Z'),
  })
})

test('keeps null where a value does not fit its schema, and first of all', async () => {
  await filled()
  const schema = schemaBytes('fit', {
    whole: { type: 'integer' },
    yes: { type: 'boolean' },
    text: { type: 'string' },
  })
  await next(dataset('fit', schema))
  const [id] = await submissions()
  await insert('fit', id as number, schema, [
    { sensor_id: 'x', timestamp: TIME, whole: 1.5, yes: 'no', text: 3 },
    { sensor_id: 'x', timestamp: TIME, whole: 2 ** 53, yes: null, text: null },
    { sensor_id: 'x', timestamp: TIME, whole: 3, yes: true, text: 'ok' },
  ])
  const rows = await database.sql`select v_whole, v_yes, v_text from reading_fit order by position`
  expect(rows.map((row) => Object.values(row))).toEqual([
    [null, null, null],
    [null, null, null],
    [3, true, 'ok'],
  ])
})

test('takes a megabyte for the name of a sensor, and ten thousand readings', async () => {
  await filled()
  const schema = schemaBytes('big', { v: { type: 'integer' } })
  await next(dataset('big', schema))
  const [first, second] = await submissions()
  // Random, as Postgres would compress a repeated letter below the limit of an index.
  let noise = ''
  for (let i = 0; noise.length < 1_000_000; i++) noise += hashOf(`noise ${i}`)
  await insert('big', first as number, schema, [{ sensor_id: noise, timestamp: TIME, v: 1 }])
  await insert(
    'big',
    second as number,
    schema,
    Array.from({ length: 10_000 }, (_, v) => ({ sensor_id: 'x', timestamp: TIME, v })),
  )
  const [row] = await database.sql`
    select count(*)::int as n, sum(v_v)::int as sum, max(length(sensor_id)) as name from reading_big`
  expect(row).toEqual({ n: 10_001, sum: 49_995_001, name: 256 })
})

test('stores the same whether a reading came before or after a newer schema, and takes the newer one back', async () => {
  const OLD = schemaBytes('d', {
    a: { type: 'integer' },
    b: { type: 'integer' },
    c: { type: 'string' },
    e: { type: 'boolean' },
    f: { type: 'number' },
  })
  const NEW = schemaBytes('d', {
    a: { type: 'number' },
    b: { type: 'string' },
    c: true,
    e: { type: 'string' },
    f: { type: 'object' },
    g: { type: 'string' },
  })
  const reading = {
    sensor_id: 'x',
    timestamp: TIME,
    a: 2 ** 53 - 1,
    b: 7,
    c: 'é"\\',
    e: true,
    f: 1e21,
    g: 'new',
  }
  const misfit = { sensor_id: 'x', timestamp: TIME, a: 1.5, b: 'no', c: 5, e: 'x', f: 'y', g: 1 }
  const run = async (order: 'early' | 'late') => {
    await database.stop()
    database = await testDatabase()
    await filled()
    const before = await next(dataset('d', OLD))
    const [id] = await submissions()
    if (order === 'early') await insert('d', id as number, OLD, [reading, misfit])
    await next(dataset('d', NEW, 1))
    if (order === 'late') await insert('d', id as number, OLD, [reading, misfit])
    const wide = await dumpGraph(database.sql)
    await rollback(database.sql, at(before))
    const narrow = await dumpGraph(database.sql)
    const columns = [...(await readingColumns(database.sql, 'd'))]
    return { wide: wide['reading_d'], narrow: narrow['reading_d'], columns }
  }
  const early = await run('early')
  const late = await run('late')
  expect(late).toEqual(early)
  expect(early.columns).toEqual([
    ['v_a', 'bigint'],
    ['v_b', 'bigint'],
    ['v_c', 'text'],
    ['v_e', 'boolean'],
    ['v_f', 'double precision'],
  ])
  expect(early.narrow?.[0]).toMatchObject([
    expect.anything(),
    { v_a: 2 ** 53 - 1, v_b: 7, v_c: 'é"\\', v_e: true, v_f: 1e21 },
  ])
  expect(early.wide?.[1]).toMatchObject([
    expect.anything(),
    { v_a: null, v_b: null, v_c: null, v_e: null, v_f: null, v_g: null },
  ])
})

test('waits for a newer schema that is being applied, and stores by its columns', async () => {
  await filled()
  const schema = { sensor_id: { type: 'string' }, timestamp: { type: 'string' }, note: { type: 'string' } }
  const file = parseSchemaFile(schemaBytes('races', schema))
  await next(dataset('races', schemaBytes('races', schema)))
  const [submission] = await submissions()
  const { sql } = database
  let storing: Promise<unknown> | null = null
  await sql.begin(async (tx) => {
    await behindDatasetView(tx, 'races', async () => {
      await tx`alter table reading_races alter column v_note type jsonb using to_jsonb(v_note)`
    })
    storing = sql.begin((other) =>
      addReadings(other, 'races', [
        {
          submission: submission as number,
          file,
          readings: [{ sensor_id: 'a', timestamp: '2025-10-01T23:30:00Z', note: 'here' }],
        },
      ]),
    )
    // Until it waits for this transaction.
    for (;;) {
      const [waiting] = await sql`select count(*)::int as n from pg_locks where not granted`
      if (waiting?.['n'] > 0) break
    }
  })
  await storing
  expect(await sql`select v_note from reading_races`).toEqual([{ v_note: 'here' }])
})

test('forgets the table of a dataset that a reorganisation undid', async () => {
  await filled()
  const before = await head()
  await next(dataset('gone', schemaBytes('gone', { v: { type: 'integer' } })))
  await rollback(database.sql, at(before))
  expect((await readingColumns(database.sql, 'gone')).size).toBe(0)
  expect(await dumpGraph(database.sql)).not.toHaveProperty('reading_gone')
})

test('refuses finality of a block that is not applied, and keeps the cursor', async () => {
  await filled()
  const number = await head()
  await expect(applyFinal(database.sql, { ...at(number), hash: hashOf('other') })).rejects.toMatchObject({
    code: 'GRAPH_INCONSISTENT',
    retryable: true,
  })
  await expect(applyFinal(database.sql, at(number + 1))).rejects.toMatchObject({ code: 'GRAPH_INCONSISTENT' })
  const [row] = await database.sql`select final_number from cursor`
  expect(row?.['final_number']).toBe(-1)
})
