import { afterAll, beforeAll, expect, it } from 'vitest'
import { connect, type Sql } from '../../src/graph/connect.ts'
import { type TestDatabase, testDatabase } from '../support/postgres.ts'
import { expectStraightLoad } from '../support/straight-load.ts'
import { type Indexer, type Station, startIndexer, startWorld, until, type World } from '../support/world.ts'

let world: World
let database: TestDatabase
/** One session beside the indexer's: it takes the others' away and looks at what becomes of them. */
let aside: Sql

beforeAll(async () => {
  ;[world, database] = await Promise.all([startWorld(1), testDatabase({ max: 8 })])
  aside = await connect(database.url, { max: 1 })
}, 60_000)
afterAll(async () => {
  await aside?.end({ timeout: 5 })
  await database?.stop()
  await world?.stop()
})

const send = async (air: number) => {
  const [station] = world.stations as [Station]
  await world.attest(await world.submitReading(station, air))
}
const logged = (size: number, indexer: Indexer, sql = aside) =>
  until(
    `${size} leaves`,
    async () => {
      await world.mine(1)
      const [row] = await sql`select size from log_head`
      return row?.['size'] === size ? true : undefined
    },
    indexer,
  )
/** Every write of these tables fails so until it is taken back. */
const spoil = async (code: string, ...tables: string[]) => {
  await aside.unsafe(
    `create or replace function spoil() returns trigger language plpgsql as $$ begin raise exception 'spoilt' using errcode = '${code}'; end $$`,
  )
  for (const table of tables)
    await aside.unsafe(
      `create trigger spoil before insert or update on ${table} for each statement execute function spoil()`,
    )
  return async () => {
    for (const table of tables) await aside.unsafe(`drop trigger spoil on ${table}`)
  }
}

it('a full disk, deadlocks, serialization failures and lost sessions hold every stage up, and nothing is lost', async () => {
  const indexer = startIndexer(world, database.sql)
  await send(1)
  await logged(1, indexer)
  let size = 1
  for (const [code, table, stage] of [
    ['53100', 'block', 'chain'],
    ['53100', 'change', 'chain'],
    ['40001', 'submission', 'chain'],
    ['40P01', 'leaf', 'log'],
    ['53100', 'tile', 'log'],
    ['57P01', 'checkpoint', 'log'],
  ] as const) {
    const mend = await spoil(code, table)
    await send(10 + size)
    await until(
      `the ${stage} stage to say so of ${table}`,
      async () => {
        await world.mine(1)
        return indexer.pipeline.readiness().some((reason) => reason.startsWith(`${stage}: `))
          ? true
          : undefined
      },
      indexer,
    )
    await mend()
    await logged(++size, indexer)
    await until(
      'it to be ready',
      async () => (indexer.pipeline.readiness().length === 0 ? true : undefined),
      indexer,
    )
  }
  for (let i = 0; i < 3; i++) {
    await send(50 + i)
    const ended = await aside`
      select pg_terminate_backend(pid) as ended from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`
    expect(ended.length).toBeGreaterThan(0)
    expect(ended.every((row) => row['ended'])).toBe(true)
    await logged(++size, indexer)
  }
  await indexer.stop()
  await expectStraightLoad(world, aside, size)
})

it('what no retry helps ends the indexer with what was refused and the way out', async () => {
  const mend = await spoil('23514', 'leaf')
  const indexer = startIndexer(world, database.sql)
  await send(99)
  let failure: unknown
  indexer.running.catch((error) => {
    failure = error
  })
  await until('the end', async () => {
    await world.mine(1)
    return failure
  })
  expect(failure).toMatchObject({
    code: 'DATABASE_UNEXPECTED',
    message: expect.stringContaining('the log stage wrote: spoilt (SQLSTATE 23514)'),
  })
  await mend()
})
