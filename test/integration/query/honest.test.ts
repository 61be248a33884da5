import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Json } from '../../../src/core/json.ts'
import { runQuery } from '../../../src/service/query.ts'
import { typeOf } from '../../../src/service/query-values.ts'
import { HONEST } from '../../support/honest-queries.ts'
import { type TestDatabase, testDatabase } from '../../support/postgres.ts'
import { type QueryWorld, startQueries } from '../../support/query.ts'

let database: TestDatabase
let world: QueryWorld
beforeAll(async () => {
  database = await testDatabase({ max: 1 })
  world = await startQueries(database)
  // What a query must see, as plain tables that the owner asks without any of our code in between.
  await database.sql.unsafe(`
    create schema oracle;
    create table oracle.helium_sensors as select * from api.helium_sensors where verdict = 'accepted';
    create table oracle.weather as select * from api.weather where verdict = 'accepted';
    set search_path = oracle, api, public; set timezone = 'UTC'; set intervalstyle = 'iso_8601'; set datestyle = 'ISO';`)
}, 60_000)
afterAll(async () => {
  await world.stop()
  await database.stop()
})

/** The rows that PostgreSQL itself gives, decoded as answers are. */
async function oracle(query: string): Promise<Json[][]> {
  // Both read "api." as the views of their own schema.
  const text = query.replace(/;+\s*$/, '').replaceAll('api.helium_sensors', 'oracle.helium_sensors')
  const raw = (await database.sql.unsafe(text, [], { simple: false } as object).raw()) as unknown as {
    columns: { type: number }[]
  } & (Uint8Array | null)[][]
  const types = raw.columns.map(({ type }) => typeOf(type))
  return raw.map((row) => row.map((value, i) => (value === null ? null : (types[i]?.decode(value) ?? null))))
}

/** The sides' rows in an order of their own: what a query leaves open is not compared. */
const sorted = (rows: readonly Json[][]): string[] => rows.map((row) => JSON.stringify(row)).sort()

describe('honest queries', () => {
  it.each(HONEST)('%s', async (query) => {
    const answer = await runQuery(world.ctx, {
      query,
      maml_schema:
        /helium|values|weather/i.test(query) && !/helium/.test(query) && /weather/.test(query)
          ? 'weather_data.maml'
          : 'iot_data.maml',
      signature_verification: 'CRYSTALS-Dilithium',
    })
    const expected = await oracle(query)
    const rows = answer.rows.map((row) => Object.values(row) as Json[])
    expect(sorted(rows)).toEqual(sorted(expected))
    expect(answer.provenance).toHaveLength(answer.rows.length)
    expect(JSON.stringify(answer)).not.toContain('"dunes:0":')
  })
})
