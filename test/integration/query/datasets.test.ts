import { afterAll, beforeAll, expect, test } from 'vitest'
import type { BlockRef, ChainBlock, ChainEvent } from '../../../src/chain/source.ts'
import { sha256, toHex, utf8 } from '../../../src/core/bytes.ts'
import { mlDsa } from '../../../src/core/ml-dsa-native.ts'
import { applyBlocks } from '../../../src/graph/apply.ts'
import { ensureDatasetViews, readCatalog } from '../../../src/graph/dataset-view.ts'
import { rollback } from '../../../src/graph/rollback.ts'
import { runQuery } from '../../../src/service/query.ts'
import { deployment, hashOf } from '../../support/graph.ts'
import { type TestDatabase, testDatabase } from '../../support/postgres.ts'
import { type QueryWorld, startQueries } from '../../support/query.ts'

let database: TestDatabase
let world: QueryWorld
beforeAll(async () => {
  database = await testDatabase()
  world = await startQueries(database)
}, 60_000)
afterAll(async () => {
  await world.stop()
  await database.stop()
})

const at = (number: number): BlockRef => ({
  number,
  hash: hashOf(`block ${number}`),
  time: 1_700_000_000 + number,
})
let logIndex = 10_000
async function register(name: string, version: number, schema: Uint8Array): Promise<void> {
  const number = ((await database.sql`select head_number from cursor`)[0]?.['head_number'] as number) + 1
  const event: ChainEvent = {
    tx: hashOf(`tx ${logIndex}`),
    logIndex: logIndex++,
    type: 'datasetUpdated',
    name,
    version,
    schemaSha256: toHex(sha256(schema)),
    schema,
  }
  const block: ChainBlock = { ...at(number), parentHash: at(number - 1).hash, events: [event] }
  await applyBlocks(database.sql, [block], { chainId: 31337n, registry: deployment.registry, mlDsa })
}
const schemaOf = (name: string, dataset: string, properties: Record<string, unknown>): Uint8Array =>
  utf8(
    `---\nmaml: 1.0\nschema: ${name}\ndataset: ${dataset}\n---\n## Schema\n\`\`\`json\n${JSON.stringify({ type: 'object', properties })}\n\`\`\`\n`,
  )
// The service looks for new datasets once a second; a context of its own looks at once.
const ask = async (query: string, maml_schema = 'iot_data.maml') =>
  runQuery(
    { ...world.ctx, clock: { ...world.ctx.clock, now: () => Date.now() + 10_000 * ++later } },
    { query, maml_schema, signature_verification: 'ML-DSA-65' },
  )
let later = 0
const columns = async (dataset: string) =>
  (await ask(`select * from ${dataset} limit 0`, dataset === 'air' ? 'air.maml' : 'iot_data.maml')).columns

const COMMON = ['contributor', 'h3', 'submission_id', 'state', 'verdict', 'leaf_index']

test('a dataset can be queried from the block on in which it is registered, by the role that was there before', async () => {
  await register(
    'air',
    0,
    schemaOf('air.maml', 'air', {
      co2: { type: 'integer' },
      verdict: { type: 'string' },
      value_verdict: { type: 'boolean' },
      any: {},
    }),
  )
  expect(await columns('air')).toEqual([
    { name: 'sensor_id', type: 'text' },
    { name: 'timestamp', type: 'timestamp with time zone' },
    { name: 'any', type: 'jsonb' },
    { name: 'co2', type: 'bigint' },
    { name: 'value_verdict', type: 'boolean' },
    { name: 'value_value_verdict', type: 'text' },
    ...COMMON.slice(0, 5).map((name) => ({ name, type: 'text' })),
    { name: 'leaf_index', type: 'bigint' },
  ])
})

test('a newer schema widens it: new values are columns, an integer that became a number is double precision', async () => {
  const before = (await ask('select count(*) as n, sum(air_quality) as sum from helium_sensors')).rows
  await register(
    'helium_sensors',
    1,
    schemaOf('iot_data_2.maml', 'helium_sensors', {
      air_quality: { type: 'number' },
      co2: { type: 'integer' },
    }),
  )
  const types = new Map((await columns('helium_sensors')).map(({ name, type }) => [name, type]))
  expect(types.get('air_quality')).toBe('double precision')
  expect(types.get('co2')).toBe('bigint')
  expect(types.get('temperature')).toBe('double precision')
  const after = (
    await ask('select count(*) as n, sum(air_quality)::numeric as sum from helium_sensors', 'iot_data_2.maml')
  ).rows
  expect(after).toEqual(before)
})

test('a type that changed otherwise becomes jsonb, and loses nothing', async () => {
  await register(
    'helium_sensors',
    2,
    schemaOf('iot_data_2.maml', 'helium_sensors', { air_quality: { type: 'string' } }),
  )
  const { columns: shown, rows } = await ask(
    "select air_quality, (air_quality #>> '{}')::float as number from helium_sensors where leaf_index = 3 limit 1",
  )
  expect(shown[0]).toEqual({ name: 'air_quality', type: 'jsonb' })
  expect(rows).toEqual([{ air_quality: 3, number: 3 }])
})

test('a dataset that is retired keeps what it has', async () => {
  await register('helium_sensors', 3, utf8('This dataset is retired: it takes no further readings.\n'))
  expect((await ask('select count(*) > 0 as some from helium_sensors')).rows).toEqual([{ some: true }])
})

test('a reorganisation takes back what versions changed', async () => {
  const position = (
    await database.sql`select v.block from dataset_version v join dataset d on d.id = v.dataset where d.name = 'air' order by v.version limit 1`
  )[0]
  await rollback(database.sql, at((position?.['block'] as number) - 1))
  const catalog = await readCatalog(database.sql)
  expect([...catalog.keys()]).toEqual(['helium_sensors', 'weather'])
  const types = new Map((await columns('helium_sensors')).map(({ name, type }) => [name, type]))
  expect(types.get('air_quality')).toBe('bigint')
  expect(types.has('co2')).toBe(false)
  await expect(ask('select * from air', 'air.maml')).rejects.toMatchObject({ code: 'QUERY_UNKNOWN_NAME' })
})

test('views of an older version of the program are made again, and others left alone', async () => {
  const oids = async () =>
    new Map(
      (
        await database.sql`select relname, oid::text from pg_class where relname in ('helium_sensors', 'weather')`
      ).map((row) => [row['relname'], row['oid']]),
    )
  const before = await oids()
  await database.sql`comment on view api.weather is 'dunes view 0'`
  await ensureDatasetViews(database.sql)
  const after = await oids()
  expect(after.get('helium_sensors')).toBe(before.get('helium_sensors'))
  expect(after.get('weather')).not.toBe(before.get('weather'))
  expect((await ask('select count(*) > 0 as some from weather', 'weather_data.maml')).rows).toEqual([
    { some: true },
  ])
})
