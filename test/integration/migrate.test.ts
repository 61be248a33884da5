import { expect, test } from 'vitest'
import { migrate } from '../../src/graph/migrate.ts'
import { testDatabase } from '../support/postgres.ts'

test('two migrations at once run each file once', async () => {
  const database = await testDatabase({ migrated: false })
  const results = await Promise.all([migrate(database.url), migrate(database.url), migrate(database.url)])
  const ran = results.flatMap((result) => result.ran)
  expect(ran.length).toBeGreaterThan(0)
  expect(new Set(ran).size).toBe(ran.length)
  expect(results.map((result) => result.total)).toEqual([ran.length, ran.length, ran.length])
  await database.stop()
})
