import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type QueryOptions, runQuery } from '../../../src/service/query.ts'
import { isRestrained, QUERIES_AT_ONCE, QUERIES_WAITING } from '../../../src/service/query-sessions.ts'
import { type TestDatabase, testDatabase } from '../../support/postgres.ts'
import { type QueryWorld, startQueries } from '../../support/query.ts'
import { until } from '../../support/world.ts'

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

const ask = (query: string, options: QueryOptions = {}) =>
  runQuery(world.ctx, { query, maml_schema: 'iot_data.maml', signature_verification: 'ML-DSA-65' }, options)
/** Never done within anybody's patience. */
const RUNAWAY = `select count(*) from ${Array.from({ length: 6 }, (_, i) => `helium_sensors h${i}`).join(', ')} where h0.air_quality + h1.air_quality + h2.air_quality + h3.air_quality + h4.air_quality = -1`
const sessions = async () =>
  database.sql<{ pid: number; state: string }[]>`
    select pid, state from pg_stat_activity where usename = 'dunes_query' and datname = current_database()`

describe('limits', () => {
  it('ends a query after five seconds', async () => {
    const began = performance.now()
    await expect(ask(RUNAWAY)).rejects.toMatchObject({
      code: 'QUERY_LIMIT',
      message: expect.stringContaining('5 s'),
    })
    expect(performance.now() - began).toBeGreaterThan(4_500)
  }, 20_000)

  it.each([
    ['QUERY_FAILED', 'select 1 / (air_quality - air_quality) from helium_sensors'],
    ['QUERY_FAILED', 'select sensor_id::int from helium_sensors'],
    ['QUERY_FAILED', "select ('x' || sensor_id)::timestamptz from helium_sensors"],
    ['QUERY_FAILED', 'select (select air_quality from helium_sensors)'],
    ['QUERY_FAILED', "select sensor_id ~ '(' from helium_sensors"],
    ['QUERY_FAILED', 'select sensor_id, air_quality from helium_sensors group by sensor_id'],
    ['QUERY_FAILED', 'select sum(sensor_id) from helium_sensors'],
    ['QUERY_FAILED', 'select 10::numeric ^ 200000'],
    ['QUERY_FAILED', "select '{'::jsonb"],
    ['QUERY_FAILED', 'select air_quality from helium_sensors where air_quality'],
    ['QUERY_FAILED', 'select 1 limit -1'],
    ['QUERY_FAILED', 'select to_json(1) union select to_json(2)'],
    ['QUERY_FAILED', "select json_value('{}'::jsonb, '$.a' error on empty)"],
    ['QUERY_FAILED', 'select t.a from jsonb_to_recordset(\'[{"a": "x"}]\') as t(a int)'],
    ['QUERY_FAILED', 'select int4range(5, 1)'],
    ['QUERY_FAILED', "select timestamp '294276-12-31' + interval '1 year'"],
    ['QUERY_LIMIT', 'select repeat(sensor_id, 5000) from helium_sensors'],
    ['QUERY_LIMIT', "select lpad('x', (air_quality + 100000)::int) from helium_sensors"],
    ['QUERY_LIMIT', 'select array_fill(0, array[1000, (air_quality + 1000)::int]) from helium_sensors'],
    ['QUERY_LIMIT', "select length(string_agg(repeat('x', 10000), '')) from generate_series(1, 900000)"],
    ['QUERY_LIMIT', 'select count(*) from generate_series(1, (select 2000000000))'],
    ['QUERY_LIMIT', "select string_agg(repeat('x', 10000), '') from generate_series(1, 200)"],
    ['QUERY_LIMIT', 'select cardinality(array(select i from generate_series(1, 900000) i))'],
    ['QUERY_LIMIT', "select array_fill(repeat('x', 10000), array[200])"],
    ['QUERY_LIMIT', 'select array_agg(i) over () from generate_series(1, 900000) i'],
    ['QUERY_LIMIT', "select length(json_agg(repeat('x', 1000))::text) from generate_series(1, 90000)"],
  ])(
    'says %s of: %s',
    async (code, query) => {
      await expect(ask(query)).rejects.toMatchObject({ code })
    },
    20_000,
  )

  it('closes a session after an error', async () => {
    await ask('select 1')
    const before = (await sessions()).map(({ pid }) => pid)
    expect(before.length).toBeGreaterThan(0)
    await expect(ask('select 1 / 0')).rejects.toMatchObject({ code: 'QUERY_FAILED' })
    await until('the session to end', async () =>
      (await sessions()).some(({ pid }) => pid === before[0]) ? undefined : true,
    )
    expect((await ask('select 1 as one')).rows).toEqual([{ one: 1 }])
  })

  it('ends a query when its asker goes', async () => {
    const gone = new AbortController()
    const answer = ask(RUNAWAY, { signal: gone.signal })
    answer.catch(() => {})
    await until('the query to run', async () =>
      (await sessions()).some(({ state }) => state === 'active') ? true : undefined,
    )
    gone.abort()
    await expect(answer).rejects.toMatchObject({ code: 'QUERY_ABANDONED' })
    const began = performance.now()
    await until('the server to notice', async () =>
      (await sessions()).some(({ state }) => state === 'active') ? undefined : true,
    )
    expect(performance.now() - began).toBeLessThan(3_000)
    await expect(ask('select 1', { signal: gone.signal })).rejects.toMatchObject({ code: 'QUERY_ABANDONED' })
  }, 20_000)

  it('bounds the memory of a session where the server is on this machine', async () => {
    await ask('select 1')
    const [session] = await sessions()
    if (process.platform === 'linux') expect(isRestrained(session?.pid ?? 0)).toBe(true)
  })

  it('leaves nothing behind', async () => {
    await ask('select 1')
    const states = (await sessions()).map(({ state }) => state)
    expect(states.length).toBeGreaterThan(0)
    expect(new Set(states)).toEqual(new Set(['idle']))
  })
})

describe('a runaway query', () => {
  it('slows neither writing nor reading of others', async () => {
    const { sql } = database
    const [{ id }] = await sql<[{ id: number }]>`select id from submission where index = 0`
    let position = 1_000
    // What ingesting does, and what a request for one submission does.
    const work = async () => {
      await sql.begin(async (tx) => {
        await tx`select head_number from cursor for update`
        await tx`
          insert into reading_helium_sensors (submission, position, sensor_id, timestamp, v_air_quality)
          values (${id}, ${position++}, 'alpha', now(), 1)`
      })
      await sql`select * from api.helium_sensors where timestamp = '2025-10-01T00:31:00Z'`
    }
    const median = async (times: number) => {
      const took: number[] = []
      for (let i = 0; i < times; i++) {
        const began = performance.now()
        await work()
        took.push(performance.now() - began)
      }
      return took.sort((a, b) => a - b)[Math.floor(times / 2)] as number
    }
    await median(20)
    const alone = await median(100)
    const stop = new AbortController()
    const runaways = Array.from({ length: QUERIES_AT_ONCE }, () =>
      ask(RUNAWAY, { signal: stop.signal }).catch((error) => error),
    )
    await until('all of them to run', async () =>
      (await sessions()).filter(({ state }) => state === 'active').length === QUERIES_AT_ONCE
        ? true
        : undefined,
    )
    const beside = await median(100)
    stop.abort()
    await Promise.all(runaways)
    await sql`delete from reading_helium_sensors where position >= 1000`
    // Four of them, on however few processors there are.
    expect(beside).toBeLessThan(5 * alone + 50)
  }, 30_000)

  it('lets others wait for a bounded time, and no more of them than can', async () => {
    const stop = new AbortController()
    const asked = Array.from({ length: QUERIES_AT_ONCE + QUERIES_WAITING + 3 }, () =>
      ask(RUNAWAY, { signal: stop.signal }).catch((error: { code: string }) => error.code),
    )
    const refused = await Promise.all(asked.slice(-3))
    expect(refused).toEqual(['BUSY', 'BUSY', 'BUSY'])
    stop.abort()
    expect(new Set(await Promise.all(asked))).toEqual(new Set(['BUSY', 'QUERY_ABANDONED']))
    expect((await ask('select 1 as one')).rows).toEqual([{ one: 1 }])
  }, 20_000)

  it('of one caller leaves turns to others', async () => {
    const stop = new AbortController()
    const greedy = Array.from({ length: 6 }, () =>
      ask(RUNAWAY, { signal: stop.signal, caller: 'greedy' }).catch((error: { code: string }) => error.code),
    )
    await until('some of them to run', async () =>
      (await sessions()).some(({ state }) => state === 'active') ? true : undefined,
    )
    const began = performance.now()
    await ask('select 1', { caller: 'modest' })
    expect(performance.now() - began).toBeLessThan(2_000)
    stop.abort()
    await Promise.all(greedy)
  }, 20_000)
})

// The last: the server goes on for a while with one that it cannot interrupt.
describe('rows that are small where they are kept and large where they are written out', () => {
  it('end a query within its time, and what they would fill is never read', async () => {
    const began = performance.now()
    await expect(
      ask('select array(select 10::numeric ^ 131000 from generate_series(1, 600)) from helium_sensors'),
    ).rejects.toMatchObject({ code: 'QUERY_LIMIT' })
    expect(performance.now() - began).toBeLessThan(10_000)
    expect((await ask('select 1 as one', { caller: 'another' })).rows).toEqual([{ one: 1 }])
  }, 30_000)
})
