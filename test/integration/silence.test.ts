import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { connect, databaseError, type Sql } from '../../src/graph/connect.ts'
import { type DatabaseTcp, startDatabaseTcp } from '../support/database-tcp.ts'
import { type TestDatabase, testDatabase } from '../support/postgres.ts'
import { until } from '../support/world.ts'

// Connections whose other end is gone without a word, over TCP and over TLS.

let database: TestDatabase
beforeAll(async () => {
  database = await testDatabase()
})
afterAll(() => database?.stop())

describe.each([['TCP'], ['TLS']])('over %s', (kind) => {
  let proxy: DatabaseTcp
  let sql: Sql
  beforeAll(async () => {
    proxy = await startDatabaseTcp(database.url, { tls: kind === 'TLS' })
    sql = await connect(proxy.url, { max: 2, silenceMs: 600 })
  })
  afterAll(async () => {
    await sql?.end({ timeout: 1 })
    await proxy?.stop()
  })
  const works = (pool = sql) =>
    until('an answer', async () => ((await pool`select 1`.catch(() => [])).length === 1 ? true : undefined))

  test('a query that nobody answers any more fails in a bounded time, and the pool works when it is mended', async () => {
    await works()
    proxy.freeze()
    const from = Date.now()
    const asked = await Promise.all([1, 2, 3].map(() => sql`select 1`.catch(databaseError)))
    for (const answer of asked)
      expect(answer).toMatchObject({ code: 'DATABASE_UNREACHABLE', retryable: true })
    expect(Date.now() - from).toBeLessThan(20_000)
    proxy.thaw()
    await works()
  })

  test('a transaction between two queries fails too, and takes no effect', async () => {
    await works()
    await database.sql`create table if not exists kept (what text)`
    const failed = sql
      .begin(async (tx) => {
        await tx`insert into kept values ('first')`
        proxy.freeze()
        await tx`insert into kept values ('second')`
      })
      .catch(databaseError)
    expect(await failed).toMatchObject({ code: 'DATABASE_UNREACHABLE', retryable: true })
    proxy.thaw()
    await works()
    expect(await database.sql`select * from kept`).toHaveLength(0)
  })

  test('a statement that takes long is left alone, however silent it is', async () => {
    expect(await sql`select 1 as one from pg_sleep(4)`).toEqual([{ one: 1 }])
  })

  test('a reset leaves no query without an answer', async () => {
    // One connection, so that everything is asked of the one that is reset.
    const one = await connect(proxy.url, { max: 1 })
    for (let round = 0; round < 10; round++) {
      await works(one)
      const slow = `select pg_sleep(10) /* ${kind} ${round} */`
      const asked = [1, 2, 3, 4].map(() => one.unsafe(slow).catch(databaseError))
      await until('one to run', async () => {
        const [row] = await database.sql`select 1 from pg_stat_activity where query = ${slow}`
        return row && true
      })
      proxy.reset()
      // Asked between the error and the close, or just after: it may be answered on a new connection.
      const late = new Promise((done) => setImmediate(() => done(one`select 1`.catch(databaseError))))
      for (const answer of await Promise.all(asked))
        expect(answer).toMatchObject({ code: 'DATABASE_UNREACHABLE', retryable: true })
      await late
    }
    await one.end({ timeout: 1 })
  })
})

test('TLS is asked for as the URL says', async () => {
  const plain = await startDatabaseTcp(database.url)
  const tls = await startDatabaseTcp(database.url, { tls: true })
  const at = (url: string, mode: string) => connect(url.replace(/\?.*|$/, `?sslmode=${mode}`), { max: 1 })
  try {
    // The server itself has none.
    await expect(at(plain.url, 'require')).rejects.toMatchObject({
      code: 'DATABASE_UNREACHABLE',
      message: expect.stringContaining('does not speak TLS'),
    })
    for (const sql of [
      await at(plain.url, 'prefer'),
      await at(tls.url, 'require'),
      await at(tls.url, 'prefer'),
    ]) {
      expect(await sql`select 1 as one`).toEqual([{ one: 1 }])
      await sql.end()
    }
    // It signed its certificate itself.
    await expect(at(tls.url, 'verify-full')).rejects.toMatchObject({
      code: 'DATABASE_UNREACHABLE',
      message: expect.stringMatching(/self.signed/),
    })
    await expect(at(tls.url, 'disable')).rejects.toMatchObject({ code: 'DATABASE_UNREACHABLE' })
  } finally {
    await plain.stop()
    await tls.stop()
  }
})
