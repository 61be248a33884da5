import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { migrate } from '../../src/graph/migrate.ts'
import { type TestDatabase, testDatabase } from '../support/postgres.ts'

const ONE = 'create table one (n int);--> statement-breakpoint\ninsert into one values (1);'
const TWO = 'create table two (n int);'

let database: TestDatabase
let folder: string
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'dunes-migrate-'))
  database = await testDatabase({ migrated: false })
})
afterEach(async () => {
  await database.stop()
  rmSync(folder, { recursive: true, force: true })
})

/** Writes migrations as drizzle lays them out, and gives their folder. */
function migrations(files: Record<string, string>): string {
  const path = mkdtempSync(join(folder, 'migrations-'))
  mkdirSync(join(path, 'meta'))
  const entries = Object.entries(files).map(([tag, sql], idx) => {
    writeFileSync(join(path, `${tag}.sql`), sql)
    return { idx, version: '7', when: 1000 + idx, tag, breakpoints: true }
  })
  writeFileSync(
    join(path, 'meta', '_journal.json'),
    JSON.stringify({ version: '7', dialect: 'postgresql', entries }),
  )
  return path
}

const exists = async (table: string) => {
  const [row] = await database.sql`select to_regclass(${table}) is not null as found`
  return row?.['found']
}

test('the repository’s own migrations run once, also when several begin together', async () => {
  const results = await Promise.all([migrate(database.url), migrate(database.url), migrate(database.url)])
  const ran = results.flatMap((result) => result.ran)
  expect(ran.length).toBeGreaterThan(0)
  expect(new Set(ran).size).toBe(ran.length)
  expect(results.map((result) => result.total)).toEqual([ran.length, ran.length, ran.length])
})

test('only what is new runs, in order, and is named', async () => {
  expect(await migrate(database.url, migrations({ '0000_one': ONE }))).toEqual({
    ran: ['0000_one'],
    total: 1,
  })
  const both = migrations({ '0000_one': ONE, '0001_two': TWO })
  expect(await migrate(database.url, both)).toEqual({ ran: ['0001_two'], total: 2 })
  expect(await migrate(database.url, both)).toEqual({ ran: [], total: 2 })
  expect([...(await database.sql`select n from one`)]).toEqual([{ n: 1 }])
})

test('a migration that fails leaves nothing behind, nor do those before it', async () => {
  const broken = migrations({
    '0000_one': ONE,
    '0001_two': `${TWO}--> statement-breakpoint\nselect nonsense;`,
  })
  await expect(migrate(database.url, broken)).rejects.toThrow()
  expect([await exists('one'), await exists('two')]).toEqual([false, false])
  const mended = migrations({ '0000_one': ONE, '0001_two': TWO })
  expect((await migrate(database.url, mended)).ran).toEqual(['0000_one', '0001_two'])
})

test('a migration that was edited after it ran is refused', async () => {
  await migrate(database.url, migrations({ '0000_one': ONE }))
  const edited = migrations({ '0000_one': `${ONE} `, '0001_two': TWO })
  await expect(migrate(database.url, edited)).rejects.toMatchObject({
    code: 'MIGRATION_CHANGED',
    message: expect.stringContaining('0000_one'),
  })
  expect(await exists('two')).toBe(false)
})

test('a database from a newer version is refused', async () => {
  await migrate(database.url, migrations({ '0000_one': ONE, '0001_two': TWO }))
  await expect(migrate(database.url, migrations({ '0000_one': ONE }))).rejects.toMatchObject({
    code: 'MIGRATION_CHANGED',
    message: expect.stringContaining('does not know'),
  })
})

test('an unreachable database is a typed error', async () => {
  await expect(migrate('postgres://u@localhost/x?host=/no/such')).rejects.toMatchObject({
    code: 'DATABASE_UNREACHABLE',
    exitCode: 3,
  })
})
