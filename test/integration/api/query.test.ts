import { request } from 'node:http'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startApi, type TestApi } from '../../support/api.ts'
import { deployment } from '../../support/graph.ts'
import { HOSTILE } from '../../support/hostile-queries.ts'
import { type TestDatabase, testDatabase } from '../../support/postgres.ts'
import { type QueryWorld, startQueries } from '../../support/query.ts'
import { until } from '../../support/world.ts'

let database: TestDatabase
let world: QueryWorld
let api: TestApi
beforeAll(async () => {
  database = await testDatabase()
  world = await startQueries(database)
  api = await startApi({ sql: database.sql, deployment, queries: world.sessions })
}, 60_000)
afterAll(async () => {
  await api.close()
  await world.stop()
  await database.stop()
})

const SEED = {
  query: "SELECT air_quality FROM helium_sensors WHERE timestamp = '2025-10-01T00:31:00Z'",
  maml_schema: 'iot_data.maml',
  signature_verification: 'CRYSTALS-Dilithium',
}
const post = (body: unknown, headers: Record<string, string> = { 'Content-Type': 'application/json' }) =>
  fetch(`${api.url}/v1/query`, {
    method: 'POST',
    headers,
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })

describe('POST /v1/query', () => {
  it("answers the seed's request", async () => {
    const response = await post(SEED)
    expect(response.status).toBe(200)
    expect(response.headers.get('Cache-Control')).toBe('no-store')
    expect(await response.json()).toMatchObject({
      columns: [{ name: 'air_quality', type: 'bigint' }],
      rows: [{ air_quality: 6 }],
      provenance: [
        { kind: 'row', sources: [{ leaf_index: 6, signature: { algorithm: 'ML-DSA-65', status: 'valid' } }] },
      ],
    })
  })

  it.each([
    ['a field that there is not', { ...SEED, limit: 5 }, 400],
    ['no schema', { query: SEED.query, signature_verification: 'ML-DSA-65' }, 400],
    ['no scheme', { query: SEED.query, maml_schema: 'iot_data.maml' }, 400],
    ['no query', { maml_schema: 'iot_data.maml', signature_verification: 'ML-DSA-65' }, 400],
    ['a verdict that there is not', { ...SEED, verdict: 'maybe' }, 400],
    ['a query that is no text', { ...SEED, query: 7 }, 400],
    ['no JSON', '{', 400],
    ['a list', [], 400],
    ['a cursor of nothing', { ...SEED, cursor: 'AAAA' }, 400],
    ['nothing', { ...SEED, query: '' }, 422],
    ['a comment', { ...SEED, query: '-- hello' }, 422],
    ['another schema', { ...SEED, maml_schema: 'other.maml' }, 422],
    ['another scheme', { ...SEED, signature_verification: 'RSA' }, 422],
    ['a division by zero', { ...SEED, query: 'select 1/0' }, 422],
    ['no SQL', { ...SEED, query: 'hello' }, 422],
  ])('refuses %s', async (_, body, status) => {
    const response = await post(body)
    expect(response.status).toBe(status)
    expect(response.headers.get('Content-Type')).toBe('application/problem+json')
    expect(await response.json()).toMatchObject({ status, hint: expect.any(String) })
  })

  it('refuses bytes that are no UTF-8, instead of running what they might mean', async () => {
    const body = Buffer.concat([
      Buffer.from('{"query":"select \''),
      Buffer.from([0xff]),
      Buffer.from('\'","maml_schema":"iot_data.maml","signature_verification":"ML-DSA-65"}'),
    ])
    const response = await fetch(`${api.url}/v1/query`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body,
    })
    expect(response.status).toBe(400)
    expect(await response.json()).toMatchObject({ code: 'REQUEST_INVALID', detail: 'the body is not UTF-8' })
  })

  it('says where a refusal lies', async () => {
    const response = await post({ ...SEED, query: 'select 1,\n  pg_sleep(1)' })
    expect(await response.json()).toMatchObject({
      type: 'urn:dunes:problem:query-refused',
      code: 'QUERY_REFUSED',
      details: { line: 2, column: 3 },
    })
  })

  it('answers no hostile query with anything but 4xx', async () => {
    for (const query of HOSTILE) {
      const response = await post({ ...SEED, query })
      expect(response.status, query.slice(0, 200)).toBeGreaterThanOrEqual(400)
      expect(response.status, query.slice(0, 200)).toBeLessThan(500)
      await response.arrayBuffer()
    }
  }, 60_000)

  it('ends a query when its asker hangs up', async () => {
    const active = async () =>
      (
        await database.sql`
          select 1 from pg_stat_activity
          where usename = 'dunes_query' and datname = current_database() and state = 'active'`
      ).length
    const runaway = `select count(*) from ${Array.from({ length: 6 }, (_, i) => `helium_sensors h${i}`).join(', ')} where h0.air_quality + h1.air_quality + h2.air_quality = -1`
    const asked = request(`${api.url}/v1/query`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
    })
    asked.on('error', () => {})
    asked.end(JSON.stringify({ ...SEED, query: runaway }))
    await until('it to run', async () => ((await active()) > 0 ? true : undefined))
    asked.destroy()
    const began = performance.now()
    await until('it to end', async () => ((await active()) === 0 ? true : undefined))
    expect(performance.now() - began).toBeLessThan(3_000)
  }, 20_000)

  it('says that queries are off where there is no connection for them', async () => {
    const off = await startApi({ sql: database.sql, deployment })
    try {
      const response = await fetch(`${off.url}/v1/query`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify(SEED),
      })
      expect(response.status).toBe(503)
      expect(await response.json()).toMatchObject({ code: 'QUERIES_OFF' })
    } finally {
      await off.close()
    }
  })
})

describe('GET /v1/proofs', () => {
  it.each([
    ['', 400],
    ['?indices=', 400],
    ['?indices=a', 400],
    ['?indices=5-3', 413],
    ['?indices=0-5000', 413],
    ['?indices=1,2&x=1', 400],
    ['?indices=999999', 404],
  ])('refuses %s', async (search, status) => {
    const response = await api.get(`/v1/proofs${search}`)
    expect(response.status).toBe(status)
  })
})
