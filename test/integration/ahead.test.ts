import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { ChainBlock, ChainEvent } from '../../src/chain/source.ts'
import { fromHex, sha256, utf8 } from '../../src/core/bytes.ts'
import { putPayload } from '../../src/graph/payloads.ts'
import { FetchAhead } from '../../src/ingest/ahead.ts'
import type { FetchRequest, PayloadFetcher } from '../../src/payload/fetch.ts'
import type { FetchOutcome } from '../../src/payload/outcome.ts'
import { fillGraph, hashOf, submissionId } from '../support/graph.ts'
import { type TestDatabase, testDatabase } from '../support/postgres.ts'

let database: TestDatabase
let now: number
let asked: { uri: string; signal: AbortSignal | undefined }[]
let ahead: FetchAhead
beforeEach(async () => {
  database = await testDatabase()
  now = 1_000_000
  asked = []
  const fetcher: PayloadFetcher = {
    fetch: ({ uri, signal }) => {
      asked.push({ uri, signal })
      return Promise.resolve<FetchOutcome>({ kind: 'bytes', bytes: utf8(uri) })
    },
  }
  ahead = new FetchAhead({ sql: database.sql, fetcher, clock: { now: () => now, sleep: async () => {} } })
  await fillGraph(database.sql, { submitted: 40, settled: 0, final: 0, logged: 0, anchored: 0 })
})
afterEach(() => database.stop())

const settled = (i: number, outcome: 'validated' | 'rejected' = 'validated'): ChainEvent => ({
  tx: hashOf('tx'),
  logIndex: i,
  type: 'settled',
  id: submissionId(i),
  contributor: `0x${'0a'.repeat(20)}`,
  index: i,
  seq: i,
  outcome,
  record: hashOf('record'),
  acc: hashOf('acc'),
})
const blockOf = (...events: ChainEvent[]): ChainBlock => ({
  number: 2_000,
  hash: hashOf('block'),
  parentHash: hashOf('parent'),
  time: 1,
  events,
})
const uriOf = (i: number) => `https://host.example/${i}`
/** What the judge stage asks for, of submission `i` unless told otherwise. */
const ask = (i: number, other: Partial<FetchRequest> = {}) =>
  ahead.fetch({ uri: uriOf(i), sha256: fromHex(hashOf(`payload ${i}`)), bytes: 100 + i, ...other })

test('asks for what a block settles before it is applied, and hands it over once', async () => {
  ahead.expect([blockOf(settled(1), settled(3), settled(2, 'rejected'))])
  await vi.waitFor(() => expect(asked.length).toBe(2))
  expect(asked.map(({ uri }) => uri)).toEqual([uriOf(1), uriOf(3)])
  ahead.expect([blockOf(settled(1))])
  expect(await ask(1)).toEqual({ kind: 'bytes', bytes: utf8(uriOf(1)) })
  expect(asked).toHaveLength(2)
  expect(await ask(1)).toEqual({ kind: 'bytes', bytes: utf8(uriOf(1)) })
  expect(asked).toHaveLength(3)
})

test('leaves it to whoever asks before it has begun', async () => {
  ahead.expect([blockOf(settled(1), settled(3))])
  await ask(1)
  await vi.waitFor(() => expect(asked.length).toBe(2))
  expect(asked.map(({ uri }) => uri)).toEqual([uriOf(1), uriOf(3)])
})

test('hands over nothing else than what is asked for: after a reorganisation that may be another payload', async () => {
  ahead.expect([blockOf(settled(1), settled(3), settled(4))])
  await vi.waitFor(() => expect(asked.length).toBe(3))
  await ask(1, { sha256: fromHex(hashOf('another')) })
  await ask(3, { uri: uriOf(2) })
  await ask(4, { bytes: 1 })
  expect(asked).toHaveLength(6)
})

test('is given up by whoever took it over', async () => {
  ahead.expect([blockOf(settled(1))])
  await vi.waitFor(() => expect(asked.length).toBe(1))
  const giving = new AbortController()
  await ask(1, { signal: giving.signal })
  expect(asked[0]?.signal?.aborted).toBe(false)
  giving.abort()
  expect(asked[0]?.signal?.aborted).toBe(true)
})

test('asks for nothing that is stored, refused by its URI or too large, nor for many at once', async () => {
  const bytes = utf8('stored')
  const { sql } = database
  await sql`update submission set payload_sha256 = ${sha256(bytes)} where submission_id = decode(${submissionId(1).slice(2)}, 'hex')`
  await sql`update submission set payload_bytes = ${1 << 20} where submission_id = decode(${submissionId(3).slice(2)}, 'hex')`
  await putPayload(sql, sha256(bytes), bytes)
  ahead.expect([blockOf(...Array.from({ length: 17 }, (_, i) => settled(i)))])
  // The URI of 0 is not UTF-8.
  ahead.expect([blockOf(settled(0), settled(1), settled(3), settled(4))])
  await vi.waitFor(() => expect(asked.length).toBeGreaterThan(0))
  expect(asked.map(({ uri }) => uri)).toEqual([uriOf(4)])
})

test('forgets after a while what nobody took, and everything when it stops', async () => {
  ahead.expect([blockOf(settled(1))])
  await vi.waitFor(() => expect(asked.length).toBe(1))
  now += 10_001
  ahead.expect([blockOf(settled(3))])
  await vi.waitFor(() => expect(asked.length).toBe(2))
  expect(asked.map(({ signal }) => signal?.aborted)).toEqual([true, false])
  ahead.stop()
  expect(asked[1]?.signal?.aborted).toBe(true)
  ahead.expect([blockOf(settled(4))])
  await ask(4)
  await ask(3)
  expect(asked.map(({ uri }) => uri)).toEqual([uriOf(1), uriOf(3), uriOf(4), uriOf(3)])
})

test('leaves all to the fetcher below where the database is away', async () => {
  await database.sql`alter table submission rename to submission_away`
  ahead.expect([blockOf(settled(1))])
  expect(await ask(1)).toMatchObject({ kind: 'bytes' })
  expect(asked).toHaveLength(1)
})
