import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { z } from 'zod'
import type { Problem } from '../../../src/api/problem.ts'
import {
  Anchor,
  Contributor,
  ContributorDetail as ContributorDetailSchema,
  Dataset,
  DatasetDetail,
  Lineage,
  pageOf,
  Sensor,
  Status as StatusSchema,
  Submission,
} from '../../../src/api/schemas.ts'
import type { ServiceContext } from '../../../src/service/context.ts'
import type { ContributorDetail, ContributorItem } from '../../../src/service/contributors.ts'
import type { Coverage } from '../../../src/service/coverage.ts'
import type { Page } from '../../../src/service/page.ts'
import type { Status } from '../../../src/service/status.ts'
import { findSubmission, type SubmissionItem } from '../../../src/service/submissions.ts'
import { startApi, type TestApi } from '../../support/api.ts'
import { ALICE, BOB, CHAIN, deployment, fillGraph, STRANGER, submissionId } from '../../support/graph.ts'
import { type TestDatabase, testDatabase } from '../../support/postgres.ts'

// Of 12 submissions 9 are settled, 7 final, 5 logged and 3 anchored.
const progress = { submitted: 12, settled: 9, final: 7, logged: 5, anchored: 3 }
const inState = { pending: [11, 10, 9], settled: [8, 7], final: [6, 5], logged: [4, 3], anchored: [2, 1, 0] }

let database: TestDatabase
let api: TestApi

beforeAll(async () => {
  database = await testDatabase()
  await fillGraph(database.sql, progress)
  await database.sql`update submission set verdict = 'rejected', reason = 'QUORUM_REJECTED' where outcome = 2`
  await database.sql`update submission set verdict = 'accepted' where outcome = 1 and index < 7`
  api = await startApi({ sql: database.sql, deployment })
})
afterAll(async () => {
  await api?.close()
  await database?.stop()
})

const list = (query: string) => api.json<Page<SubmissionItem> & Coverage>(`/v1/submissions${query}`)
const ids = async (query: string) => (await list(query)).items.map((item) => item.id)
const problem = async (path: string, init: RequestInit = {}): Promise<Problem & { response: Response }> => {
  const response = await fetch(api.url + path, init)
  expect(response.headers.get('content-type')).toBe('application/problem+json')
  const body = (await response.json()) as Problem
  expect(body.status).toBe(response.status)
  expect(body.type).toBe(`urn:dunes:problem:${body.code.toLowerCase().replaceAll('_', '-')}`)
  expect(JSON.stringify(body)).not.toMatch(/\.ts:|node_modules|\\n +at /)
  return { ...body, response }
}

describe('submissions', () => {
  test('one asked for alone is what the list shows, in every state', async () => {
    const { items } = await list('')
    expect(new Set(items.map(({ state }) => state)).size).toBe(5)
    for (const item of items) expect(await api.json(`/v1/submissions/${item.id}`)).toEqual(item)
  })

  test('those asked for at once share statements, and everybody gets the own one', async () => {
    let statements = 0
    const { sql } = api.ctx
    const counted = new Proxy(sql, {
      get(target, name) {
        if (name === 'unsafe') statements++
        return Reflect.get(target, name)
      },
    })
    const ctx: ServiceContext = Object.create(api.ctx, { sql: { value: counted } })
    const { items } = await list('')
    const unknown = `0x${'ab'.repeat(32)}`
    const asked = [...items, ...items].map(({ id }) => findSubmission(ctx, id))
    const refused = findSubmission(ctx, unknown)
    await expect(refused).rejects.toMatchObject({ code: 'NOT_FOUND' })
    expect((await Promise.all(asked)).map(({ item }) => item)).toEqual([...items, ...items])
    // Sixteen, and the nine that are left.
    expect(statements).toBe(2)
  })

  test('come newest first, with every field', async () => {
    const { items, next_cursor } = await list('')
    expect(items.map((item) => item.id)).toEqual(Array.from({ length: 12 }, (_, i) => submissionId(11 - i)))
    expect(next_cursor).toBeNull()
    const item = items.at(-1) as SubmissionItem
    expect(item).toMatchObject({
      id: submissionId(0),
      state: 'anchored',
      chain: CHAIN,
      contributor: `${CHAIN}:${ALICE.account}`,
      sensor: 'alpha',
      dataset: 'helium_sensors',
      uri: 'h\ufffd',
      index: 0,
      seq: 0,
      outcome: 'validated',
      verdict: 'accepted',
      reason: null,
      reason_detail: null,
      observed: false,
      submitted: { block: 10, time: '2023-11-14T22:13:30Z' },
      settled: { block: 1000 },
    })
    expect(await api.json(item.links.self)).toEqual(item)
    const rejected = items.find((i) => i.id === submissionId(2)) as SubmissionItem
    expect(rejected).toMatchObject({
      outcome: 'rejected',
      reason: 'QUORUM_REJECTED',
      reason_detail: { fault: 'validators' },
    })
    expect(items[0]).toMatchObject({
      state: 'pending',
      settled: null,
      index: null,
      seq: null,
      outcome: null,
      verdict: null,
    })
  })

  test.each(Object.entries(inState))('are filtered by the state %s', async (state, expected) => {
    const { items } = await list(`?state=${state}`)
    expect(items.map((item) => item.id)).toEqual(expected.map(submissionId))
    expect(new Set(items.map((item) => item.state))).toEqual(new Set([state]))
  })

  test.each([
    '',
    '?state=anchored',
    '?state=logged',
    '?state=pending',
    `?contributor=${BOB.account}`,
  ])('are paged without gaps or repetitions: %s', async (query) => {
    const all = await ids(query)
    const paged: string[] = []
    let cursor: string | null = ''
    while (cursor !== null) {
      const page: Page<SubmissionItem> = await list(
        `${query}${query ? '&' : '?'}limit=2${cursor && `&cursor=${cursor}`}`,
      )
      expect(page.items.length).toBeLessThanOrEqual(2)
      paged.push(...page.items.map((item) => item.id))
      cursor = page.next_cursor
    }
    expect(paged).toEqual(all)
    expect(all.length).toBeGreaterThan(1)
  })

  test('are anchored only as far as the log here goes, as after a restore', async () => {
    await database.sql`update anchor set size = 8`
    try {
      expect(await ids('?state=anchored')).toEqual([4, 3, 2, 1, 0].map(submissionId))
      expect(await ids('?state=logged')).toEqual([])
      expect(await ids('?state=final')).toEqual([6, 5].map(submissionId))
    } finally {
      await database.sql`update anchor set size = 3`
    }
  })

  test('are filtered by their fields, alone and together', async () => {
    const even = [10, 8, 6, 4, 2, 0].map(submissionId)
    expect(await ids(`?contributor=${ALICE.account}`)).toEqual(even)
    expect(await ids(`?contributor=${CHAIN}:${ALICE.account}`)).toEqual(even)
    expect(await ids('?sensor=alpha')).toEqual(even)
    expect(await ids('?dataset=helium_sensors&limit=200')).toHaveLength(12)
    expect(await ids('?outcome=rejected')).toEqual([8, 5, 2].map(submissionId))
    expect(await ids('?reason=QUORUM_REJECTED&state=anchored')).toEqual([submissionId(2)])
    expect(await ids('?verdict=accepted&sensor=beta')).toEqual([3, 1].map(submissionId))
    expect(await ids('?state=anchored&verdict=accepted&limit=1')).toEqual([submissionId(1)])
    expect(await ids('?chain=eip155')).toHaveLength(12)
    expect(await ids(`?chain=${CHAIN}`)).toHaveLength(12)
    for (const none of [
      '?chain=solana',
      '?chain=eip155:1',
      '?sensor=nobody',
      '?dataset=nothing',
      `?contributor=${STRANGER.account}`,
      '?reason=STALE',
    ])
      expect(await list(none)).toMatchObject({ items: [], next_cursor: null, complete: false })
  })

  test('say how whole they are: a stretch that is proved, or what holds it, and what is outside every proof', async () => {
    const alice = `${CHAIN}:${ALICE.account}`
    const of = (from: number, to: number) => ({
      of: 'contributor',
      contributor: alice,
      from_seq: from,
      to_seq: to,
      url: `/v1/contributors/${alice}/completeness?from=${from}&to=${to}`,
    })
    const log = (from: number, to: number) => ({
      of: 'log',
      from_index: from,
      to_index: to,
      url: '/checkpoint',
    })
    const coverage = async (query: string) => {
      const { complete, superset, pending } = await list(query)
      return { complete, superset, pending }
    }
    // Alice's fifth settled submission is not final: no bundle can cover it yet.
    expect(await coverage(`?contributor=${ALICE.account}`)).toEqual({
      complete: false,
      superset: of(0, 4),
      pending: 1,
    })
    const first = await list(`?contributor=${ALICE.account}&limit=2`)
    expect(first).toMatchObject({ complete: false, superset: of(4, 4), pending: 1 })
    const second = await list(`?contributor=${ALICE.account}&limit=2&cursor=${first.next_cursor}`)
    expect(second.items.map(({ seq }) => seq)).toEqual([3, 2])
    expect(second).toMatchObject({ complete: true, superset: of(2, 3), pending: 1 })
    // Filtered by anything else it is no whole stretch, even where nothing happens to be missing.
    for (const filter of ['verdict=accepted', 'state=anchored', 'sensor=alpha', 'outcome=validated'])
      expect(await coverage(`?contributor=${ALICE.account}&${filter}`), filter).toEqual({
        complete: false,
        superset: of(0, 4),
        pending: 1,
      })
    expect(await coverage('?sensor=alpha')).toEqual({ complete: false, superset: of(0, 4), pending: 1 })
    // Of all submissions it is the log that holds them.
    expect(await coverage('?state=anchored')).toEqual({ complete: true, superset: log(0, 2), pending: 3 })
    expect(await coverage('')).toEqual({ complete: false, superset: log(0, 4), pending: 3 })
    expect(await coverage('?state=anchored&verdict=rejected')).toEqual({
      complete: false,
      superset: log(0, 4),
      pending: 3,
    })
    for (const nobody of [
      `?contributor=${STRANGER.account}`,
      '?sensor=nobody',
      '?chain=solana',
      `?sensor=beta&contributor=${ALICE.account}`,
    ])
      expect(await coverage(nobody), nobody).toEqual({ complete: false, superset: null, pending: 0 })
  })

  test.each([
    '?limit=0',
    '?limit=201',
    '?limit=1e1',
    '?limit=',
    '?limit=5&limit=6',
    '?colour=red',
    '?state=lost',
    '?verdict=maybe',
    '?reason=BAD',
    '?outcome=1',
    '?sensor=Alpha',
    '?chain=%20',
    '?cursor=abc',
    '?cursor=AAAAAAAAAAAAAAAAAAAAAA',
    '?contributor=alice',
    '?contributor=eip155:1:0x0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a',
  ])('refuse the query %s', async (query) => {
    expect((await problem(`/v1/submissions${query}`)).status).toBe(400)
  })

  test('no query ends in an error of ours', async () => {
    const names = [
      'state',
      'verdict',
      'reason',
      'outcome',
      'contributor',
      'sensor',
      'dataset',
      'chain',
      'limit',
      'cursor',
      'x',
    ]
    const values = [
      '',
      '0',
      '7',
      'anchored',
      'logged',
      'accepted',
      'STALE',
      'expired',
      'alpha',
      CHAIN,
      ALICE.account,
      '%00',
      '%ff',
      "'",
      '[]',
    ]
    const paths = [
      '/v1/submissions',
      '/v1/sensors',
      '/v1/contributors',
      '/v1/datasets',
      '/v1/anchors',
      '/checkpoint',
      '/v1/status',
    ]
    const parameter = fc.tuple(
      fc.constantFrom(...names),
      fc.oneof(fc.constantFrom(...values), fc.string().map(encodeURIComponent)),
    )
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...paths),
        fc.array(parameter, { maxLength: 4 }),
        async (path, parameters) => {
          const response = await api.get(`${path}?${parameters.map(([k, v]) => `${k}=${v}`).join('&')}`)
          await response.arrayBuffer()
          expect([200, 400]).toContain(response.status)
        },
      ),
      { numRuns: 300 },
    )
  })

  test('no path ends in an error of ours', async () => {
    const segment = fc.oneof(
      fc.constantFrom(
        'v1',
        'submissions',
        'payloads',
        'tile',
        'entries',
        'proof',
        'receipt',
        submissionId(0),
        ALICE.account,
        '%00',
        '%2e%2e',
        '%ff',
        '0',
        '000.p',
      ),
      fc
        .string({ unit: 'binary' })
        .filter((text) => text.isWellFormed())
        .map(encodeURIComponent),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(segment, { maxLength: 6 }), async (segments) => {
        const response = await api.get(`/${segments.join('/')}`)
        await response.arrayBuffer()
        expect(response.status).toBeLessThan(500)
      }),
      { numRuns: 300 },
    )
  })

  test('refuse the cursor of another list', async () => {
    const { next_cursor } = await api.json<Page<unknown>>('/v1/contributors?limit=1')
    expect((await problem(`/v1/submissions?cursor=${next_cursor}`)).code).toBe('BAD_CURSOR')
  })

  test('name what is unknown or no id', async () => {
    expect((await problem(`/v1/submissions/0x${'12'.repeat(32)}`)).code).toBe('NOT_FOUND')
    expect((await problem('/v1/submissions/12')).code).toBe('BAD_ID')
    expect((await problem(`/v1/submissions/${submissionId(0)}?x=1`)).code).toBe('REQUEST_INVALID')
    expect((await problem(`/v1/submissions/${submissionId(0)}/payload`)).code).toBe('PAYLOAD_NOT_HELD')
    const early = await problem(`/v1/submissions/${submissionId(6)}/receipt`)
    expect(early).toMatchObject({ status: 409, code: 'NOT_LOGGED' })
    expect(Number(early.response.headers.get('retry-after'))).toBeGreaterThan(0)
  })
})

describe('what is registered', () => {
  test('contributors', async () => {
    const { items } = await api.json<Page<ContributorItem>>('/v1/contributors')
    expect(items.map((item) => item.account)).toEqual([BOB.account, ALICE.account])
    expect(items[0]).toMatchObject({ validator: true, submitted: 6, settled: 4 })
    const alice = await api.json<ContributorDetail>(`/v1/contributors/${ALICE.account}`)
    expect(alice).toEqual(await api.json(items[1]?.links.self as string))
    expect(alice.keys).toMatchObject([
      { key_index: 0, current: true, possession_valid: true, revoked_block: null },
    ])
    expect(alice.sensors).toEqual(['alpha'])
    expect(alice.counts).toEqual({
      submitted: 6,
      pending: 1,
      outcomes: { validated: 3, rejected: 2, expired: 0 },
      unjudged: 0,
      accepted: 3,
      rejected: { QUORUM_REJECTED: 2 },
    })
    expect(alice.head).toMatchObject({ seq: 5, submitted: 6 })
    expect((await problem(`/v1/contributors/${STRANGER.account}`)).code).toBe('NOT_FOUND')
    expect((await problem('/v1/contributors/alice')).code).toBe('BAD_CHAIN_ID')
  })

  test('sensors and datasets', async () => {
    const sensors = await api.json<Page<{ name: string; h3: string }>>('/v1/sensors?dataset=helium_sensors')
    expect(sensors.items.map((item) => item.name)).toEqual(['beta', 'alpha'])
    expect(sensors.items[0]?.h3).toBe('8928308280fffff')
    expect(await api.json('/v1/sensors/beta')).toEqual(sensors.items[0])
    expect((await problem('/v1/sensors/nobody')).status).toBe(404)
    expect((await problem('/v1/sensors/NO')).status).toBe(400)
    const datasets = await api.json<Page<unknown>>('/v1/datasets')
    expect(datasets.items).toMatchObject([
      { name: 'helium_sensors', current: { version: 0, schema_name: 'iot_data.maml' } },
    ])
    const dataset = await api.json<{ schema: string; sensors: number }>('/v1/datasets/helium_sensors')
    expect(dataset.sensors).toBe(2)
    expect(dataset.schema).toContain('## Schema')
  })

  test('what is registered says that no proof holds it, and how many submissions wait', async () => {
    for (const [path, pending] of [
      ['/v1/sensors', 0],
      ['/v1/sensors?dataset=nothing', 0],
      ['/v1/datasets', 0],
      ['/v1/contributors', 3],
      ['/v1/contributors?limit=1', 3],
    ] as const)
      expect(await api.json(path), path).toMatchObject({ complete: false, superset: null, pending })
  })

  test('anchors say which stretch of theirs folds to the contract, and how many submissions no anchor covers', async () => {
    // The only one is final; three submissions are not settled, and six are beyond it.
    const whole = {
      complete: true,
      superset: {
        of: 'anchors',
        from_seq: 1,
        to_seq: 1,
        contract: deployment.anchor,
        slot: `0x${'0'.repeat(63)}2`,
      },
      pending: 9,
    }
    expect(await api.json('/v1/anchors')).toMatchObject(whole)
    await database.sql`insert into anchor select 2, 4, root, 3, chain_hash, 1000000, block_hash, time, tx, log_index from anchor`
    try {
      const all = await api.json<Page<unknown>>('/v1/anchors?limit=1')
      // The newest is not final: nobody should call it whole yet.
      const superset = { ...whole.superset, from_seq: 2, to_seq: 2 }
      expect(all).toMatchObject({ complete: false, superset, pending: 8 })
      const rest = await api.json(`/v1/anchors?cursor=${all.next_cursor}`)
      expect(rest).toMatchObject({
        items: [{ seq: 1 }],
        complete: false,
        superset: { from_seq: 1, to_seq: 2 },
      })
      await database.sql`update anchor set block = 900`
      expect(await api.json('/v1/anchors?limit=1')).toMatchObject({ complete: true, superset })
      await database.sql`delete from anchor where seq = 1`
      const past = await api.json(`/v1/anchors?cursor=${all.next_cursor}`)
      expect(past).toMatchObject({ items: [], complete: false, superset: null, pending: 8 })
    } finally {
      await database.sql`update anchor set seq = 1, size = 3, previous_size = 0`
    }
  })

  test('anchors', async () => {
    const { items } = await api.json<Page<unknown>>('/v1/anchors')
    expect(items).toMatchObject([{ seq: 1, size: 3, previous_size: 0, final: true }])
  })
})

describe('the log', () => {
  const bytesAt = async (path: string) => {
    const response = await api.get(path)
    return { response, bytes: new Uint8Array(await response.arrayBuffer()) }
  }

  test('serves the checkpoint and the tiles that it covers, and nothing beyond', async () => {
    const checkpoint = await api.get('/checkpoint')
    expect(checkpoint.headers.get('content-type')).toBe('text/plain; charset=utf-8')
    expect((await checkpoint.text()).split('\n')[1]).toBe('5')
    const tile = await bytesAt('/tile/0/000.p/5')
    expect(tile.response.headers.get('content-type')).toBe('application/octet-stream')
    expect(tile.response.headers.get('cache-control')).toContain('immutable')
    expect(tile.bytes.length).toBe(160)
    expect((await bytesAt('/tile/0/000.p/2')).bytes).toEqual(tile.bytes.subarray(0, 64))
    const entries = await bytesAt('/tile/entries/000.p/5')
    expect(new TextDecoder().decode(entries.bytes.subarray(2, 10))).toBe('entry 0\n')
    for (const path of [
      '/tile/0/000',
      '/tile/0/000.p/6',
      '/tile/1/000.p/1',
      '/tile/entries/000',
      '/tile/0/001.p/1',
      '/tile/00/000.p/1',
      '/tile/0/000.p/05',
      '/tile/x',
    ])
      expect((await problem(path)).status, path).toBe(404)
  })

  test('keeps entries back that no published checkpoint covers', async () => {
    await database.sql`update checkpoint set size = 4`
    // A process of its own: one that has seen a size published remembers it.
    const fresh = await startApi({ sql: database.sql, deployment })
    try {
      for (const path of ['/tile/entries/000.p/5', '/tile/0/000.p/5', '/tile/0/001', '/tile/1/000'])
        expect((await fresh.get(path)).status).toBe(404)
      expect((await fresh.get('/tile/entries/000.p/4')).status).toBe(200)
      expect((await fresh.get('/tile/0/000.p/4')).status).toBe(200)
    } finally {
      await fresh.close()
      await database.sql`update checkpoint set size = 5`
    }
    // What was published meanwhile is found without a restart.
    expect((await api.get('/tile/0/000.p/5')).status).toBe(200)
  })

  test('answers 304 to whoever has it', async () => {
    const first = await api.get('/tile/0/000.p/5')
    const etag = first.headers.get('etag') as string
    expect(etag).toMatch(/^"[0-9a-f]+"$/)
    const again = await api.get('/tile/0/000.p/5', { 'If-None-Match': etag })
    expect(again.status).toBe(304)
    expect(await again.text()).toBe('')
    expect((await api.get('/tile/0/000.p/5', { 'If-None-Match': '"other"' })).status).toBe(200)
  })
})

describe('operation', () => {
  test('status counts what there is', async () => {
    const status = await api.json<Status>('/v1/status')
    expect(status).toMatchObject({
      chain: CHAIN,
      origin: deployment.origin,
      submitted: 12,
      pending: 3,
      settled: 9,
      logged: 5,
      anchored: 3,
      final: { number: 1060 },
      head: null,
      lag: null,
      verdicts: { unjudged: 1, accepted: 5, rejected: 3, reasons: { QUORUM_REJECTED: 3 } },
      ready: true,
      reasons: [],
    })
    expect(await api.json('/status')).toEqual(status)
  })

  test('says whether it is alive and ready, and why not', async () => {
    expect(await api.json('/health')).toEqual({ status: 'ok' })
    expect(await api.json('/ready')).toEqual({ ready: true, reasons: [] })
    const sick = await startApi({ sql: database.sql, deployment, readiness: () => ['behind: 99 blocks'] })
    try {
      const response = await sick.get('/ready')
      expect(response.status).toBe(503)
      expect(await response.json()).toEqual({ ready: false, reasons: ['behind: 99 blocks'] })
    } finally {
      await sick.close()
    }
  })

  test('exports metrics by route, not by path', async () => {
    await api.get(`/v1/submissions/${submissionId(1)}`)
    const response = await api.get('/metrics')
    expect(response.headers.get('content-type')).toContain('text/plain')
    const text = await response.text()
    expect(text).toContain('route="/v1/submissions/:id",method="GET",status="200"')
    expect(text).not.toContain(submissionId(1))
  })

  test('describes itself', async () => {
    const index = await api.json<{ links: Record<string, string> }>('/')
    for (const link of ['docs', 'openapi', 'status', 'submissions', 'checkpoint'])
      expect((await api.get(index.links[link] as string)).status, link).toBe(200)
    const document = await api.json<{ openapi: string; paths: Record<string, unknown> }>('/openapi.json')
    expect(document.openapi).toBe('3.1.0')
    expect(Object.keys(document.paths)).toContain('/v1/submissions/{id}/lineage')
    const docs = await api.get('/docs')
    expect(docs.headers.get('content-security-policy')).toContain("default-src 'none'")
    const html = await docs.text()
    for (const path of Object.keys(document.paths)) expect(html).toContain(path)
    expect(html).not.toMatch(/<script|https?:\/\//)
  })
})

test.each<[string, z.ZodType]>([
  ['/v1/submissions', pageOf(Submission.strict()).strict()],
  [`/v1/submissions/${submissionId(2)}`, Submission.strict()],
  [`/v1/submissions/${submissionId(2)}/lineage`, Lineage.strict()],
  [`/v1/submissions/${submissionId(11)}/lineage`, Lineage.strict()],
  ['/v1/contributors', pageOf(Contributor.strict()).strict()],
  [`/v1/contributors/${BOB.account}`, ContributorDetailSchema.strict()],
  ['/v1/sensors', pageOf(Sensor.strict()).strict()],
  ['/v1/datasets', pageOf(Dataset.strict()).strict()],
  ['/v1/datasets/helium_sensors', DatasetDetail.strict()],
  ['/v1/anchors', pageOf(Anchor.strict()).strict()],
  ['/v1/status', StatusSchema.strict()],
])('%s answers what the document says of it', async (path, schema) => {
  expect(schema.safeParse(await api.json(path)).error).toBeUndefined()
})

describe('HTTP', () => {
  test('404 and 405 are problems too', async () => {
    expect(await problem('/v1/nothing')).toMatchObject({ status: 404, code: 'ROUTE_NOT_FOUND' })
    const wrong = await problem('/v1/submissions', { method: 'DELETE' })
    expect(wrong).toMatchObject({ status: 405, code: 'METHOD_NOT_ALLOWED' })
    expect(wrong.response.headers.get('allow')).toBe('GET, HEAD')
    const put = await problem(`/v1/payloads/0x${'00'.repeat(32)}`, { method: 'POST', body: 'x' })
    expect(put.response.headers.get('allow')).toBe('GET, PUT, HEAD')
    expect((await fetch(`${api.url}/v1/status`, { method: 'HEAD' })).status).toBe(200)
  })

  test('every answer has a request id and says what it is', async () => {
    const given = await api.get('/v1/status', { 'X-Request-Id': 'abc-1' })
    expect(given.headers.get('x-request-id')).toBe('abc-1')
    expect(given.headers.get('x-content-type-options')).toBe('nosniff')
    expect(given.headers.get('access-control-allow-origin')).toBeNull()
    const bad = await problem('/v1/nothing', { headers: { 'X-Request-Id': 'x'.repeat(65) } })
    expect(bad.request_id).toMatch(/^[0-9a-f-]{36}$/)
    expect(bad.response.headers.get('x-request-id')).toBe(bad.request_id)
  })

  test('a database that is gone is 503, not 500', async () => {
    const own = await testDatabase()
    const lost = await startApi({ sql: own.sql, deployment })
    await own.stop()
    try {
      const response = await lost.get('/v1/submissions')
      expect(response.status).toBe(503)
      expect(response.headers.get('retry-after')).toBe('2')
      expect(((await response.json()) as Problem).code).toBe('DATABASE_UNREACHABLE')
      const ready = await lost.get('/ready')
      expect(ready.status).toBe(503)
      expect(await ready.json()).toEqual({ ready: false, reasons: ['the database does not answer'] })
      expect((await lost.get('/health')).status).toBe(200)
    } finally {
      await lost.close()
    }
  })
})
