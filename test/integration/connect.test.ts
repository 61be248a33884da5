import { type AddressInfo, createConnection, createServer, type Server } from 'node:net'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { freePort } from '../../anvil/anvil.ts'
import { connect, databaseError, openPool, parseDatabaseUrl } from '../../src/graph/connect.ts'
import { API_ROLE, ensureRoles } from '../../src/graph/roles.ts'
import { type TestDatabase, testDatabase } from '../support/postgres.ts'

const WAIT = { timeout: 30_000, interval: 20 }

let database: TestDatabase
beforeAll(async () => {
  database = await testDatabase({ migrated: false })
})
afterAll(() => database.stop())

describe('values', () => {
  test('bytea, bigint, numeric, timestamptz and arrays arrive and leave as documented', async () => {
    const { sql } = database
    const bytes = Uint8Array.of(0, 1, 255, 92)
    const [row] =
      await sql`select ${bytes}::bytea as b, ${sql.array([bytes, bytes])}::bytea[] as bs, ${2n ** 53n - 1n}::bigint as i,
      ${-5}::bigint as j, ${sql.array([1n, 2n])}::bigint[] as k, 1.10::numeric as n, '2025-10-01T23:30:00Z'::timestamptz as t`
    expect(row).toEqual({
      b: Buffer.from(bytes),
      bs: [Buffer.from(bytes), Buffer.from(bytes)],
      i: Number.MAX_SAFE_INTEGER,
      j: -5,
      k: [1, 2],
      n: '1.10',
      t: new Date('2025-10-01T23:30:00Z'),
    })
    expect(row?.['b']).toBeInstanceOf(Uint8Array)
  })

  test('arrays of anything, nested, empty, with nulls, quotes and braces', async () => {
    const { sql } = database
    const texts = ['', 'NULL', 'a,b', '{c}', '"', '\\', 'line\nbreak', '\u00e9']
    const [row] = await sql`
      select ${texts}::text[] as texts, ${[]}::text[] as none, ${[1, null, -3]}::int[] as ints, ${sql.array([true, false])}::boolean[] as bools,
        array[[1, 2], [3, 4]]::bigint[] as nested, array[null, 'x']::text[] as nulls, ${[1.5, 2]}::float8[] as floats,
        array['{"a": [1, "b"]}'::jsonb] as json, array['2025-10-01T23:30:00Z'::timestamptz] as times,
        ${sql.array(['{}', 'z'])}::text[] as wrapped`
    expect(row).toEqual({
      texts,
      none: [],
      ints: [1, null, -3],
      bools: [true, false],
      nested: [
        [1, 2],
        [3, 4],
      ],
      nulls: [null, 'x'],
      floats: [1.5, 2],
      json: [{ a: [1, 'b'] }],
      times: [new Date('2025-10-01T23:30:00Z')],
      wrapped: ['{}', 'z'],
    })
  })

  test('a bigint that no number holds fails its query, and nothing else', async () => {
    const { sql } = database
    for (const value of [2n ** 53n, -(2n ** 53n), 2n ** 63n - 1n]) {
      await expect(sql`select ${value}::bigint as i, 1 as one`).rejects.toMatchObject({
        code: 'INTEGER_TOO_LARGE',
      })
    }
    expect([...(await sql`select 1::bigint as i`)]).toEqual([{ i: 1 }])
  })

  test.each([
    ['bigint', 2n ** 63n - 1n],
    ['string', '9223372036854775807'],
  ] as const)('or arrives as a %s where asked', async (int8, expected) => {
    const sql = await connect(database.url, { max: 1, int8 })
    const [row] = await sql`select ${2n ** 63n - 1n}::bigint as i`
    await sql.end()
    expect(row?.['i']).toBe(expected)
  })
})

test('name and time limits reach the server', async () => {
  const sql = await connect(database.url, {
    max: 1,
    applicationName: 'dunes test',
    statementTimeout: 50,
    idleInTransactionTimeout: 60_000,
  })
  const [row] = await sql`select current_setting('application_name') as name,
    current_setting('idle_in_transaction_session_timeout') as idle`
  expect(row).toEqual({ name: 'dunes test', idle: '1min' })
  await expect(sql`select pg_sleep(60)`).rejects.toMatchObject({ code: '57014' })
  await sql.end()
})

test('the server ends a transaction that nobody goes on with, and the pool goes on', async () => {
  const sql = await connect(database.url, { max: 1, idleInTransactionTimeout: 100 })
  const forgotten = sql.begin(async (tx) => {
    await tx`select 1`
    await new Promise(() => {})
  })
  await expect(forgotten).rejects.toThrow(/idle-in-transaction timeout|CONNECTION_CLOSED/)
  expect(await sql`select 1 as one`).toEqual([{ one: 1 }])
  await sql.end()
})

describe('refusals', () => {
  test('nobody listens: typed, retryable, and never with the password', async () => {
    const port = await freePort()
    const failure = await connect(`postgres://dunes:sesame@127.0.0.1:${port}/dunes`).catch((error) => error)
    expect(failure).toMatchObject({ code: 'DATABASE_UNREACHABLE', retryable: true, exitCode: 3 })
    expect(failure.message).toContain(`127.0.0.1:${port}`)
    expect(failure.message).not.toContain('sesame')
  })

  test('no such socket', async () => {
    const url = 'postgres://dunes:x@localhost/dunes?host=/no/such/directory'
    await expect(connect(url)).rejects.toMatchObject({
      code: 'DATABASE_UNREACHABLE',
      message: expect.stringContaining('/no/such/directory/.s.PGSQL.5432'),
    })
  })

  test('no such database', async () => {
    const url = database.url.replace(/\/[^/?]*\?/, '/absent?')
    await expect(connect(url)).rejects.toMatchObject({
      code: 'DATABASE_REFUSED',
      retryable: false,
      exitCode: 3,
    })
  })

  test('a server that hangs up', async () => {
    const server: Server = createServer((socket) => socket.destroy())
    const port = await freePort()
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
    await expect(connect(`postgres://a:b@127.0.0.1:${port}/c`)).rejects.toMatchObject({
      code: 'DATABASE_UNREACHABLE',
    })
    await new Promise((resolve) => server.close(resolve))
  })

  test('a pool of one survives refusals, and works once the server is there', async () => {
    const target = new URL(database.url)
    const path = `${target.searchParams.get('host')}/.s.PGSQL.5432`
    const port = await freePort()
    const url = `postgres://${target.username}:${target.password}@127.0.0.1:${port}${target.pathname}`
    const sql = openPool(url, { max: 1 })
    for (let attempt = 0; attempt < 3; attempt++) {
      await expect(sql`select 1`).rejects.toMatchObject({ code: 'DATABASE_UNREACHABLE' })
    }
    // TCP in front of the unix socket, as the private server itself listens on none.
    const proxy = createServer((client) => {
      const upstream = createConnection(path)
      client.on('error', () => upstream.destroy())
      upstream.on('error', () => client.destroy())
      client.pipe(upstream).pipe(client)
    })
    await new Promise<void>((resolve) => proxy.listen(port, '127.0.0.1', resolve))
    expect([...(await sql`select 1 as one`)]).toEqual([{ one: 1 }])
    await sql.end()
    await new Promise((resolve) => proxy.close(resolve))
  })

  test('a connection that is lost as soon as it is there fails what was asked, and nothing else', async () => {
    const unhandled = vi.fn()
    process.on('unhandledRejection', unhandled)
    // Answers like a server that is ready, and hangs up at the first query.
    const ready = Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 0, 0x5a, 0, 0, 0, 5, 0x49])
    const server = createServer((socket) => {
      socket.on('error', () => {})
      socket.once('data', () => {
        socket.write(ready)
        socket.once('data', () => socket.destroy())
      })
    })
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
    const { port } = server.address() as AddressInfo
    const sql = openPool(`postgres://a@127.0.0.1:${port}/x`, { max: 1 })
    await expect(sql`select 1`).rejects.toThrow()
    await new Promise((done) => setImmediate(done))
    await sql.end({ timeout: 0 })
    server.close()
    process.off('unhandledRejection', unhandled)
    expect(unhandled).not.toHaveBeenCalled()
  })

  test('a session that the server ends is a retryable error, and never leaves a query unanswered', async () => {
    // Whether the end arrives as a close or as a reset, before or after the next query is sent, is chance.
    for (let round = 0; round < 40; round++) {
      const sql = await connect(database.url, { max: 1 })
      const [row] = await sql`select pg_backend_pid() as pid`
      const asleep = sql`select pg_sleep(60)`.catch(databaseError)
      await database.sql`select pg_terminate_backend(${row?.['pid']})`
      expect(await asleep).toMatchObject({ code: 'DATABASE_UNREACHABLE', retryable: true })
      await vi.waitFor(async () => expect([...(await sql`select 1 as one`)]).toEqual([{ one: 1 }]), WAIT)
      await sql.end()
    }
  })

  test('errors of data stay what they are', async () => {
    const failure = await database.sql`select 1 / 0`.catch((error) => error)
    expect(databaseError(failure)).toBe(failure)
  })
})

describe('parseDatabaseUrl', () => {
  test.each([
    ['postgres://u:p@db.example/x', [{ host: 'db.example', port: 5432 }]],
    ['postgresql://u@db.example:6000/x?sslmode=require', [{ host: 'db.example', port: 6000 }]],
    ['postgres://u:p@[::1]:6000/x', [{ host: '::1', port: 6000 }]],
    ['postgres:///x', [{ host: 'localhost', port: 5432 }]],
    [
      'postgres://a:1,b:2/x',
      [
        { host: 'a', port: 1 },
        { host: 'b', port: 2 },
      ],
    ],
    [
      'postgres://u@/x?host=/run/pg&port=6000',
      [{ host: '/run/pg', port: 6000, path: '/run/pg/.s.PGSQL.6000' }],
    ],
    [
      'postgres://u@localhost:6000/x?host=%2Frun%2Fpg',
      [{ host: '/run/pg', port: 6000, path: '/run/pg/.s.PGSQL.6000' }],
    ],
    ['postgres://u@%2Frun%2Fpg/x', [{ host: '/run/pg', port: 5432, path: '/run/pg/.s.PGSQL.5432' }]],
  ])('%s', (url, hosts) => {
    expect(parseDatabaseUrl(url).hosts).toEqual(hosts)
  })

  test.each([
    '',
    'dunes',
    'mysql://a/b',
    'http://u:p@h/x',
    'postgres://h:0/x',
    'postgres://h:99999/x',
    'postgres://%zz/x',
  ])('refuses %j without repeating it', (url) => {
    expect(() => parseDatabaseUrl(url)).toThrow(
      expect.objectContaining({ code: 'DATABASE_URL_INVALID', exitCode: 2 }),
    )
  })
})

describe('ensureRoles', () => {
  test('the role reads all tables, inserts where told, and does nothing else', async () => {
    const { sql, url } = database
    await sql`create table early (id bigint generated always as identity primary key, n int)`
    await sql`create table inbox (id bigint generated always as identity primary key, n int)`
    await sql`create schema readings`
    await sql`create table readings.air (n int)`
    const options = {
      password: `it's a "secret" \\ $1`,
      schemas: ['public', 'readings'],
      insertInto: ['inbox'],
    }
    await Promise.all([ensureRoles(sql, options), ensureRoles(sql, options)])
    await sql`create table late (n int)`

    const target = new URL(url)
    target.username = API_ROLE
    target.password = encodeURIComponent(options.password)
    const api = await connect(target.href, { max: 1 })
    for (const table of ['early', 'late', 'inbox', 'readings.air']) {
      await expect(api.unsafe(`select * from ${table}`), table).resolves.toHaveLength(0)
    }
    await api`insert into inbox (n) values (1)`
    const denied = { code: '42501' }
    await expect(api`insert into early (n) values (1)`).rejects.toMatchObject(denied)
    await expect(api`update inbox set n = 2`).rejects.toMatchObject(denied)
    await expect(api`delete from inbox`).rejects.toMatchObject(denied)
    await expect(api`truncate inbox`).rejects.toMatchObject(denied)
    await expect(api`create table public.own (n int)`).rejects.toMatchObject(denied)
    await expect(api`create temporary table own (n int)`).rejects.toMatchObject(denied)
    await expect(api`create role other`).rejects.toMatchObject(denied)
    await expect(api`select pg_read_file('/etc/passwd')`).rejects.toMatchObject(denied)
    await expect(api`copy inbox to program 'true'`).rejects.toMatchObject(denied)
    const [limit] = await api`select current_setting('statement_timeout') as limit`
    expect(limit?.['limit']).toBe('10s')
    await api.end()

    // Told less, it keeps no right of before.
    await ensureRoles(sql, { ...options, insertInto: [] })
    const again = await connect(target.href, { max: 1 })
    await expect(again`insert into inbox (n) values (1)`).rejects.toMatchObject(denied)
    await again.end()
    await sql.unsafe(`drop owned by ${API_ROLE}`)
  })
})
