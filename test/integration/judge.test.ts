import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { sha256, toHex, utf8 } from '../../src/core/bytes.ts'
import { silentLogger } from '../../src/core/logger.ts'
import { createMetrics } from '../../src/core/metrics.ts'
import { mlDsa } from '../../src/core/ml-dsa-native.ts'
import { Wake } from '../../src/core/wake.ts'
import { readPublicKeys, readUnjudged } from '../../src/graph/judgements.ts'
import { putPayload } from '../../src/graph/payloads.ts'
import { rollback } from '../../src/graph/rollback.ts'
import { FetchAhead } from '../../src/ingest/ahead.ts'
import { JudgeStage } from '../../src/ingest/judge.ts'
import type { PayloadFetcher } from '../../src/payload/fetch.ts'
import { type FetchOutcome, unavailable } from '../../src/payload/outcome.ts'
import { DEVNET_POLICY, policyHash } from '../../src/receipt/policy.ts'
import { CHAIN, fillGraph, hashOf, submissionId } from '../support/graph.ts'
import { type TestDatabase, testDatabase } from '../support/postgres.ts'

// The second stage against hosts that hang, flood and lie, and chains that change under it. Two of three submissions of
// the made-up graph are validated; submission i is at https://host.example/i.

let database: TestDatabase
let now = 0
let metrics = createMetrics()
const applied = new Wake()
beforeEach(async () => {
  database = await testDatabase()
  now = 1_000_000
  metrics = createMetrics()
})
afterEach(() => database.stop())

async function fill(settled: number, final = settled): Promise<void> {
  await fillGraph(database.sql, { submitted: settled, settled, final, logged: 0, anchored: 0 })
  await database.sql`insert into leaf_policy values (0, ${policyHash(DEVNET_POLICY)}, 1)`
}

type Answer = (uri: string, bytes: number) => Promise<FetchOutcome>
const hang: Answer = () => new Promise(() => {})

function judging(answer: Answer) {
  const asked: string[] = []
  const fetcher: PayloadFetcher = {
    fetch: ({ uri, bytes }) => {
      asked.push(uri)
      return answer(uri, bytes)
    },
  }
  const clock = { now: () => now, sleep: async () => {} }
  const ahead = new FetchAhead({ sql: database.sql, fetcher, clock })
  const stage = new JudgeStage({
    chain: CHAIN,
    sql: database.sql,
    fetcher: ahead,
    mlDsa,
    clock,
    logger: silentLogger,
    metrics,
    applied,
    judged: new Wake(),
  })
  /** Turns that do not wait. */
  const turns = async (count: number) => {
    for (let i = 0; i < count; i++) await stage.turn(AbortSignal.abort())
  }
  return { stage, asked, turns, ahead }
}

const verdicts = async () =>
  Object.fromEntries(
    (
      await database.sql`
        select coalesce(reason, verdict, 'none') as what, count(*)::int as n from submission group by 1 order by 1`
    ).map((row) => [row['what'], row['n']]),
  )

test('asks for every payload at once, however many others hang, and waits one grace for all of them', async () => {
  await fill(900)
  const { asked, turns, stage } = judging((uri) =>
    uri.endsWith('/898') ? Promise.resolve(unavailable('status', '404', true)) : hang(uri, 0),
  )
  await turns(30)
  // Submission 0 has a URI that is refused, as it is not UTF-8.
  expect(asked).toHaveLength(599)
  expect(asked).toContain('https://host.example/898')
  expect((await verdicts())['PAYLOAD_UNAVAILABLE'] ?? 0).toBeLessThanOrEqual(1)
  now += 4_900
  await turns(3)
  expect((await verdicts())['PAYLOAD_UNAVAILABLE'] ?? 0).toBeLessThanOrEqual(1)
  now += 200
  await turns(20)
  expect(await verdicts()).toMatchObject({ PAYLOAD_UNAVAILABLE: 599, URI_REFUSED: 1, QUORUM_REJECTED: 300 })
  expect(stage.depth).toBe(0)
}, 120_000)

test('says nothing of a host before its settling block is final and the grace has passed in chain time', async () => {
  await fill(6, 3)
  const { turns } = judging(async () => unavailable('status', '404', false))
  await turns(3)
  now += 600_000
  await turns(3)
  // Submissions 1, 3 and 4 are validated and readable by URI; only 1 is final long enough, as 2 is the last final one.
  expect((await verdicts())['PAYLOAD_UNAVAILABLE']).toBe(1)
})

test('holds no more bytes than its bound, and calls nobody unavailable for that', async () => {
  await fill(150)
  await database.sql`update submission set payload_bytes = ${1 << 20}`
  let most = 0
  const { turns, stage } = judging(async (_, bytes) => ({ kind: 'bytes', bytes: new Uint8Array(bytes) }))
  const watch = setInterval(() => {
    most = Math.max(most, stage.held)
  }, 1)
  for (let i = 0; i < 60 && (await verdicts())['none']; i++) {
    await turns(1)
    most = Math.max(most, stage.held)
    now += 600
  }
  clearInterval(watch)
  expect(most).toBeGreaterThan(32 << 20)
  expect(most).toBeLessThanOrEqual(65 << 20)
  expect(stage.held).toBe(0)
  const [row] = await database.sql`select count(*)::int as n from retrieval where what is not null`
  expect(row?.['n']).toBe(0)
}, 120_000)

test('finds bytes that were put into the store while their host hangs', async () => {
  await fill(2)
  const bytes = utf8('not MAML')
  await database.sql`update submission set payload_sha256 = ${sha256(bytes)}, payload_bytes = ${bytes.length}`
  const { turns, stage } = judging(hang)
  await turns(2)
  expect(await verdicts()).toEqual({ URI_REFUSED: 1, none: 1 })
  await putPayload(database.sql, sha256(bytes), bytes)
  stage.payloadStored()
  await turns(2)
  expect(await verdicts()).toEqual({ MAML_MALFORMED: 1, URI_REFUSED: 1 })
})

test('looks into the store before it calls a host silent', async () => {
  await fill(3)
  const bytes = utf8('not MAML')
  await database.sql`update submission set payload_sha256 = ${sha256(bytes)}, payload_bytes = ${bytes.length} where index = 1`
  const { turns } = judging(async () => {
    await putPayload(database.sql, sha256(bytes), bytes)
    return unavailable('status', '404', false)
  })
  await turns(2)
  await new Promise((done) => setTimeout(done, 100))
  now += 400
  await turns(1)
  now += 5_000
  await turns(1)
  expect(await verdicts()).toEqual({ MAML_MALFORMED: 1, QUORUM_REJECTED: 1, URI_REFUSED: 1 })
})

test('asks again for a whole grace when it starts late, as one failure on a bad day would change the log', async () => {
  await fill(3)
  const bytes = utf8('not MAML')
  await database.sql`update submission set payload_sha256 = ${sha256(bytes)}, payload_bytes = ${bytes.length} where index = 1`
  const answers: FetchOutcome[] = [unavailable('timeout', 'busy machine', true), { kind: 'bytes', bytes }]
  const { turns, asked } = judging(async () => answers.shift() ?? unavailable('status', 'gone', true))
  await turns(3)
  expect((await verdicts())['none']).toBe(1)
  now += 1_000
  await turns(3)
  expect(asked).toHaveLength(2)
  expect((await verdicts())['MAML_MALFORMED']).toBe(1)
})

test('writes nothing of a submission that a reorganisation unsettled while its payload came', async () => {
  await fill(2, 0)
  const bytes = utf8('not MAML')
  await database.sql`update submission set payload_sha256 = ${sha256(bytes)}, payload_bytes = ${bytes.length} where index = 1`
  let give: (outcome: FetchOutcome) => void = () => {}
  const { turns, stage } = judging(() => new Promise((done) => (give = done)))
  await turns(1)
  await rollback(database.sql, { number: 1009, hash: hashOf('block 1009'), time: 1_700_001_009 })
  give({ kind: 'bytes', bytes })
  await new Promise((done) => setImmediate(done))
  await turns(2)
  expect(await verdicts()).toEqual({ URI_REFUSED: 1, none: 1 })
  expect(await database.sql`select 1 from retrieval`).toHaveLength(0)
  expect(stage.depth).toBe(0)
})

test('judges a submission that settled anew in another block by that one', async () => {
  await fill(2, 0)
  const bytes = utf8('not MAML')
  await database.sql`update submission set payload_sha256 = ${sha256(bytes)}, payload_bytes = ${bytes.length} where index = 1`
  const gives: ((outcome: FetchOutcome) => void)[] = []
  const { turns, asked } = judging(() => new Promise((done) => gives.push(done)))
  await turns(1)
  await database.sql`update submission set settled_hash = ${sha256(utf8('another'))}, outcome = 2 where index = 1`
  gives[0]?.({ kind: 'bytes', bytes })
  await new Promise((done) => setImmediate(done))
  await turns(3)
  expect(asked).toHaveLength(1)
  expect(await verdicts()).toEqual({ QUORUM_REJECTED: 1, URI_REFUSED: 1 })
})

test('goes on after a write that failed', async () => {
  await fill(3)
  const { stage } = judging(() => Promise.resolve(unavailable('status', '404', true)))
  await database.sql`alter table retrieval rename to retrieval_away`
  let failures = 0
  const turn = () => {
    now += 60_000
    return stage.turn(AbortSignal.abort()).catch(() => void failures++)
  }
  while (failures === 0) await turn()
  await database.sql`alter table retrieval_away rename to retrieval`
  for (let i = 0; i < 30; i++) await turn()
  expect(failures).toBe(1)
  expect(await verdicts()).toEqual({ PAYLOAD_UNAVAILABLE: 1, QUORUM_REJECTED: 1, URI_REFUSED: 1 })
})

test('judges by the keys that were registered before the submission, whatever came later', async () => {
  await fill(2, 0)
  // The same key once more, after another one: as a contributor may do at any time after its submission.
  await database.sql`
    insert into contributor_key (contributor, key_index, key_id, public_key, possession, possession_valid, block, log_index)
    select contributor, 1, ${sha256(utf8('x'))}, public_key, possession, true, 5000, 1 from contributor_key
    union all select contributor, 2, key_id, public_key, possession, false, 5000, 2 from contributor_key`
  const due = await readUnjudged(database.sql, 10, [])
  expect(due.map(({ keys }) => keys.map((key) => [key.keyIndex, key.possessionValid]))).toEqual([
    [[0, true]],
    [[0, true]],
  ])
  const ids = due.map(({ keyId }) => keyId)
  const bytes = await readPublicKeys(database.sql, ids)
  expect(ids.map((id) => toHex(sha256(bytes.get(id) as Uint8Array)))).toEqual(ids)
  await expect(readPublicKeys(database.sql, [toHex(sha256(utf8('none')))])).rejects.toThrow(
    'no registered key',
  )
})

test('asks the database no more than its poll says while it is idle or waits for hosts', async () => {
  await fill(75)
  now = Date.now()
  const { stage, turns, asked } = judging(hang)
  const real = setInterval(() => {
    now = Date.now()
  }, 10)
  await turns(4)
  expect(asked.length).toBe(49)
  let count = 0
  const end = new AbortController()
  const timer = setTimeout(() => end.abort(), 2_000)
  while (!end.signal.aborted) {
    await stage.turn(end.signal)
    count++
  }
  clearTimeout(timer)
  clearInterval(real)
  expect(count).toBeGreaterThanOrEqual(3)
  expect(count).toBeLessThanOrEqual(6)
})

test('judges anew what could not be written, once the database takes it', async () => {
  await fill(3)
  const { sql } = database
  let failures = 2
  // What a database says that is being shut down.
  const failing = new Proxy(sql, {
    get: (target, name) =>
      name === 'begin' && failures-- > 0
        ? () => Promise.reject(Object.assign(new Error('shutting down'), { code: '57P01' }))
        : Reflect.get(target, name),
  })
  const stage = new JudgeStage({
    chain: CHAIN,
    sql: failing,
    fetcher: { fetch: hang as never },
    mlDsa,
    clock: { now: () => now, sleep: async () => {} },
    logger: silentLogger,
    metrics,
    applied,
    judged: new Wake(),
  })
  const turn = () => stage.turn(AbortSignal.abort())
  const outcomes: string[] = []
  for (let i = 0; i < 6; i++)
    await turn().then(
      () => outcomes.push('went well'),
      (error: Error) => outcomes.push(error.message),
    )
  expect(outcomes.filter((outcome) => outcome === 'shutting down')).toHaveLength(2)
  expect(outcomes.at(-1)).toBe('went well')
  expect(await verdicts()).toEqual({ QUORUM_REJECTED: 1, URI_REFUSED: 1, none: 1 })
  await stage.stop()
})

test('counts what fetches gave, those that only made room among them', async () => {
  await fill(2)
  const { turns } = judging(async () => unavailable('busy', 'made room', true))
  await turns(1)
  await new Promise((done) => setImmediate(done))
  expect((await metrics.fetches.get()).values).toMatchObject([{ labels: { outcome: 'busy' }, value: 1 }])
})

test('takes over what was fetched before its settlement was written, and asks nobody again', async () => {
  await fill(2, 0)
  const bytes = utf8('not MAML')
  await database.sql`update submission set payload_sha256 = ${sha256(bytes)}, payload_bytes = ${bytes.length} where index = 1`
  const { turns, asked, ahead } = judging(async () => ({ kind: 'bytes', bytes }))
  const event = { type: 'settled', id: submissionId(1), outcome: 'validated' }
  ahead.expect([{ events: [event] }] as never)
  await vi.waitFor(() => expect(asked).toHaveLength(1))
  await turns(1)
  expect(asked).toHaveLength(1)
  await turns(1)
  expect(await verdicts()).toEqual({ MAML_MALFORMED: 1, URI_REFUSED: 1 })
  const [row] = await database.sql`select attempts from retrieval`
  expect(row?.['attempts']).toBe(1)
})

test('forgets a submission whose payload is here when a reorganisation took it away with its schema', async () => {
  await fill(2, 0)
  const bytes = utf8('---\nmaml: 1.0\n---\n')
  await database.sql`update submission set payload_sha256 = ${sha256(bytes)}, payload_bytes = ${bytes.length} where index = 1`
  let give: (outcome: FetchOutcome) => void = () => {}
  const { stage, turns } = judging(() => new Promise((done) => (give = done)))
  await turns(2)
  await rollback(database.sql, { number: 1009, hash: hashOf('block 1009'), time: 1_700_001_009 })
  await database.sql`delete from dataset_version`
  give({ kind: 'bytes', bytes })
  await new Promise((done) => setImmediate(done))
  await expect(turns(1)).rejects.toMatchObject({ code: 'GRAPH_INCONSISTENT', retryable: true })
  await turns(1)
  expect(stage.depth).toBe(0)
  expect(stage.held).toBe(0)
})
