import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { databaseError } from '../../src/graph/connect.ts'
import { type TestDatabase, testDatabase } from '../support/postgres.ts'

// A server that restarts, or an administrator who ends a session, in the middle of a transaction.

let database: TestDatabase
let other: TestDatabase
beforeAll(async () => {
  // A pool of one, so that whatever comes next takes the same connection again.
  ;[database, other] = await Promise.all([testDatabase({ max: 1 }), testDatabase()])
  await database.sql`create table kept (what text primary key)`
})
beforeEach(() => database.sql`truncate kept`)
afterAll(async () => {
  await other?.stop()
  await database?.stop()
})

const pause = (ms: number) => new Promise((done) => setTimeout(done, ms))
const end = (pid: number) => other.sql`select pg_terminate_backend(${pid})`
/** What is in the table. The first query after a lost session may still be told of the loss. */
const kept = async (): Promise<string[]> => {
  const look = () => database.sql`select what from kept order by what`
  const rows = await look().catch((error: unknown) => {
    expect(databaseError(error)).toMatchObject({ retryable: true })
    return look()
  })
  return rows.map((row) => row['what'])
}

test('fails with a retryable error when it is ended during a query', async () => {
  const failed = database.sql.begin(async (tx) => {
    await tx`insert into kept values ('first')`
    const [row] = await tx`select pg_backend_pid() as pid`
    end(row?.['pid']).catch(() => {})
    await tx`select pg_sleep(20)`
  })
  const error = await failed.then(
    () => null,
    (thrown: unknown) => databaseError(thrown),
  )
  expect(error).toMatchObject({ code: 'DATABASE_UNREACHABLE', retryable: true })
  expect(await kept()).toEqual([])
})

test('says nothing more on its connection when it is ended between queries, though that was opened anew', async () => {
  let went = ''
  const failed = database.sql.begin(async (tx) => {
    await tx`insert into kept values ('first')`
    const [row] = await tx`select pg_backend_pid() as pid`
    await end(row?.['pid'])
    await pause(100)
    // The pool uses the connection again for somebody else.
    await database.sql`select 1`
    went = 'on'
    await tx`insert into kept values ('second')`
    went = 'to its end'
  })
  await expect(failed).rejects.toMatchObject({ code: 'CONNECTION_CLOSED' })
  await pause(400)
  expect(went).toBe('on')
  expect(await kept()).toEqual([])
})

test('commits, rolls back and keeps its result as ever', async () => {
  expect(
    await database.sql.begin(async (tx) => {
      await tx`insert into kept values ('a')`
      await tx.savepoint((inner) => inner`insert into kept values ('b')`)
      return 7
    }),
  ).toBe(7)
  await expect(
    database.sql.begin('read only', async (tx) => {
      await tx`insert into kept values ('c')`
    }),
  ).rejects.toMatchObject({ code: '25006' })
  await expect(
    database.sql.begin(async (tx) => {
      await tx`insert into kept values ('d')`
      throw new Error('no')
    }),
  ).rejects.toThrow('no')
  expect(await kept()).toEqual(['a', 'b'])
})
