import { cellToParent } from 'h3-js'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { toHex } from '../../../src/core/bytes.ts'
import type { JsonObject } from '../../../src/core/json.ts'
import { leafHash } from '../../../src/log/merkle.ts'
import type { Page } from '../../../src/service/page.ts'
import type { ReadingItem } from '../../../src/service/readings.ts'
import { startApi, type TestApi } from '../../support/api.ts'
import {
  ALICE,
  BOB,
  CHAIN,
  deployment,
  entryOf,
  fillGraph,
  STRANGER,
  submissionId,
} from '../../support/graph.ts'
import { type TestDatabase, testDatabase } from '../../support/postgres.ts'
import { fillReadings } from '../../support/readings.ts'

// Submission i has two readings, a minute apart, and submissions follow each other by ten minutes; every third is rejected.
const at = (index: number, position: number): string =>
  new Date(Date.UTC(2025, 9, 1, 0, 10 * index + position)).toISOString().replace('.000', '')
const reading = (index: number, position: number): JsonObject => ({
  sensor_id: index % 2 === 0 ? ALICE.sensor : BOB.sensor,
  timestamp: at(index, position),
  air_quality: index * 10 + position,
  humidity: index + 0.25,
})

let database: TestDatabase
let api: TestApi

beforeAll(async () => {
  database = await testDatabase()
  const { sql } = database
  await fillGraph(sql, { submitted: 12, settled: 9, final: 7, logged: 5, anchored: 3 })
  await sql`update submission set verdict = 'rejected', reason = 'SCHEMA_INVALID' where outcome = 2`
  await sql`update submission set verdict = 'accepted' where outcome = 1`
  await sql`update sensor set h3 = ${BigInt('0x881f25a933fffff')} where name = 'beta'`
  await fillReadings(sql, new Map(Array.from({ length: 9 }, (_, i) => [i, [reading(i, 0), reading(i, 1)]])))
  api = await startApi({ sql, deployment })
})
afterAll(async () => {
  await api?.close()
  await database?.stop()
})

const list = (query: string) => api.json<Page<ReadingItem>>(`/v1/readings${query}`)
const times = async (query: string) => (await list(query)).items.map((item) => item.timestamp)
/** Timestamps of the readings of these submissions, newest first. */
const of = (...indices: number[]) => indices.flatMap((i) => [at(i, 1), at(i, 0)])
const ACCEPTED = [7, 6, 4, 3, 1, 0]

test('come latest measured first, with the submission that each came in', async () => {
  const { items, next_cursor } = await list('')
  expect(next_cursor).toBeNull()
  expect(items.map((item) => item.timestamp)).toEqual(of(...ACCEPTED))
  expect(items.at(-1)).toEqual({
    submission: submissionId(0),
    position: 0,
    dataset: 'helium_sensors',
    sensor: 'alpha',
    sensor_id: 'alpha',
    contributor: `${CHAIN}:${ALICE.account}`,
    h3: '8928308280fffff',
    timestamp: '2025-10-01T00:00:00Z',
    state: 'anchored',
    verdict: 'accepted',
    reason: null,
    leaf_index: 0,
    receipt_id: toHex(leafHash(entryOf(0))),
    tx: expect.stringMatching(/^0x[0-9a-f]{64}$/),
    values: { air_quality: 0, humidity: 0.25 },
    links: {
      submission: `/v1/submissions/${submissionId(0)}`,
      proof: `/v1/submissions/${submissionId(0)}/proof`,
    },
  })
  expect(items[0]).toMatchObject({ state: 'settled', leaf_index: null, receipt_id: null })
})

test('are filtered by sensor, account, dataset, time, state and verdict, alone and together', async () => {
  expect(await times('?sensor=alpha')).toEqual(of(6, 4, 0))
  expect(await times(`?contributor=${BOB.account}`)).toEqual(of(7, 3, 1))
  expect(await times('?dataset=helium_sensors&limit=1')).toEqual([at(7, 1)])
  expect(await times('?verdict=rejected')).toEqual(of(8, 5, 2))
  expect(await times('?verdict=any')).toEqual(of(8, 7, 6, 5, 4, 3, 2, 1, 0))
  expect(await times('?state=anchored')).toEqual(of(1, 0))
  expect(await times('?state=anchored&verdict=rejected')).toEqual(of(2))
  expect(await times(`?from=${at(4, 0)}`)).toEqual(of(7, 6, 4))
  expect(await times(`?from=${at(3, 1)}&to=${at(4, 1)}`)).toEqual([at(4, 0), at(3, 1)])
  expect(await times(`?to=${at(0, 0)}`)).toEqual([])
  expect(await times(`?sensor=beta&verdict=any&from=${at(5, 0)}&to=${at(7, 0)}`)).toEqual(of(5))
  for (const none of [
    '?sensor=nobody',
    '?dataset=nothing',
    `?contributor=${STRANGER.account}`,
    '?sensor=alpha&dataset=nothing',
  ])
    expect(await list(none)).toMatchObject({ items: [], next_cursor: null, complete: false })
})

test('are filtered by an H3 cell of any resolution', async () => {
  for (let resolution = 0; resolution <= 9; resolution++)
    expect(await times(`?h3=${cellToParent('8928308280fffff', resolution)}`)).toEqual(of(6, 4, 0))
  for (let resolution = 0; resolution <= 8; resolution++)
    expect(await times(`?h3=0${cellToParent('881f25a933fffff', resolution)}`)).toEqual(of(7, 3, 1))
  expect(await times('?h3=8f28308280f18f2')).toEqual([])
})

test('are paged without gaps or repetitions, whatever comes meanwhile', async () => {
  const seen: string[] = []
  let cursor: string | null = ''
  for (let page = 0; cursor !== null; page++) {
    const { items, next_cursor }: Page<ReadingItem> = await list(`?limit=5${cursor && `&cursor=${cursor}`}`)
    seen.push(...items.map((item) => item.timestamp))
    cursor = next_cursor
    // Newer than everything: no page that follows may shift.
    if (page === 0) {
      await database.sql`
        insert into reading_helium_sensors (submission, position, sensor_id, timestamp)
        select submission, 7, sensor_id, timestamp + interval '1 year' from reading_helium_sensors where position = 0`
    }
  }
  await database.sql`delete from reading_helium_sensors where position = 7`
  expect(seen).toEqual(of(...ACCEPTED))
})

test.each([
  '?h3=zz',
  '?h3=8928308280ffffe',
  '?from=yesterday',
  '?to=2025-02-30T00:00:00Z',
  '?limit=201',
  '?limit=0',
  '?verdict=maybe',
  '?cursor=AAAA',
  '?contributor=alice',
  '?colour=red',
  '?format=xml',
])('refuse the query %s', async (query) => {
  expect((await api.get(`/v1/readings${query}`)).status).toBe(400)
})

describe('exports', () => {
  const text = async (path: string, headers: Record<string, string> = {}) => {
    const response = await api.get(path, headers)
    expect(response.status).toBe(200)
    return { response, text: await response.text() }
  }

  test('CSV has a header, a line each, raw integers, transaction, leaf index and receipt id', async () => {
    const { response, text: csv } = await text('/v1/readings?format=csv&verdict=any')
    expect(response.headers.get('content-type')).toMatch(/^text\/csv/)
    expect(response.headers.get('content-disposition')).toBe('attachment; filename="readings.csv"')
    const lines = csv.split('\r\n')
    expect(lines.pop()).toBe('')
    expect(lines).toHaveLength(1 + 18)
    const columns = (lines[0] as string).split(',')
    const last = (lines.at(-1) as string).split(',')
    const field = (name: string) => last[columns.indexOf(name)]
    expect(field('leaf_index')).toBe('0')
    expect(field('receipt_id')).toBe(toHex(leafHash(entryOf(0))))
    expect(field('tx')).toMatch(/^0x[0-9a-f]{64}$/)
    expect(csv).toContain('"{""humidity"":7.25,""air_quality"":71}"')
  })

  test('the Accept header asks as well, and a row’s cursor goes on after it', async () => {
    const { response, text: lines } = await text('/v1/readings?limit=4', { Accept: 'application/jsonl' })
    expect(response.headers.get('content-type')).toBe('application/jsonl')
    expect(response.headers.get('vary')).toContain('Accept')
    const rows = lines
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
    expect(rows.map((row) => row['timestamp'])).toEqual(of(...ACCEPTED).slice(0, 4))
    expect(rows[0]).toMatchObject({ values: { air_quality: 71, humidity: 7.25 }, leaf_index: null })
    expect(await times(`?cursor=${rows[3]?.['cursor']}`)).toEqual(of(...ACCEPTED).slice(4))
  })

  test('submissions come as tables too', async () => {
    const { text: lines } = await text('/v1/submissions?format=jsonl')
    const rows = lines
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
    expect(rows).toHaveLength(12)
    expect(rows.at(-1)).toMatchObject({
      submission: submissionId(0),
      leaf_index: 0,
      receipt_id: toHex(leafHash(entryOf(0))),
      payload_bytes: 100,
      block: 1000,
    })
    expect(rows[0]).toMatchObject({ tx: null, leaf_index: null, verdict: null })
    const { text: csv } = await text('/v1/submissions?format=csv&state=anchored')
    expect(csv.split('\r\n')).toHaveLength(1 + 3 + 1)
    expect((await api.get('/v1/submissions?format=csv&limit=100001')).status).toBe(400)
    expect((await api.get('/v1/submissions?format=csv&cursor=x')).status).toBe(400)
  })
})
