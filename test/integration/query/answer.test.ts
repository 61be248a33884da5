import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runQuery } from '../../../src/service/query.ts'
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

const ask = (query: string, more: object = {}) =>
  runQuery(world.ctx, {
    query,
    maml_schema: 'iot_data.maml',
    signature_verification: 'CRYSTALS-Dilithium',
    ...more,
  })

describe('the first query', () => {
  it('answers', async () => {
    const answer = await ask(
      "SELECT air_quality FROM helium_sensors WHERE timestamp = '2025-10-01T00:01:00Z'",
    )
    console.log(JSON.stringify(answer, null, 1))
    expect(answer.rows).toEqual([{ air_quality: 0 }])
  })
})
