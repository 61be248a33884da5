import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Problem } from '../../../src/api/problem.ts'
import { createRpc } from '../../../src/chain/rpc.ts'
import { type Hex, utf8 } from '../../../src/core/bytes.ts'
import { systemClock } from '../../../src/core/clock.ts'
import { mlDsa } from '../../../src/core/ml-dsa-native.ts'
import { formatVkey } from '../../../src/log/vkey.ts'
import { decodeAnyBundle, encodeBundle, type RowsBundle } from '../../../src/proof/bundle.ts'
import { parseTrustPolicy, type TrustPolicy } from '../../../src/proof/trust-policy.ts'
import { DEFAULT_REQUIRED, objections, verifyBundle } from '../../../src/proof/verify.ts'
import { checkpointSigner } from '../../../src/service/checkpoint.ts'
import type { ContributorDetail } from '../../../src/service/contributors.ts'
import type { SubmissionItem } from '../../../src/service/submissions.ts'
import { RECEIPT_KEY, startApi, type TestApi } from '../../support/api.ts'
import { type TestDatabase, testDatabase } from '../../support/postgres.ts'
import { ORIGIN, reading, SIGNERS, startIndexer, startWorld, until, type World } from '../../support/world.ts'

/** Bundles of many rows and of a contributor's whole history, from a real chain, checked as a stranger checks them. */

let world: World
let database: TestDatabase
let api: TestApi
let policy: TrustPolicy
/** Submissions of the first station (a batch of 260 and five more) and of the second, in the order in which they settled. */
let first: SubmissionItem[]
let second: SubmissionItem[]
const BATCH = 260

beforeAll(async () => {
  ;[world, database] = await Promise.all([startWorld(2), testDatabase({ max: 8 })])
  const { sql } = database
  const [one, two] = world.stations as [World['stations'][0], World['stations'][0]]
  // What nobody vouches for settles all the same: 260 of them cross the point where the registry keeps an accumulator.
  const ids: Hex[] = []
  const claims = Array.from({ length: BATCH }, (_, i) => ({
    sensor: one.sensor,
    payloadHash: `0x${i.toString(16).padStart(64, '0')}` as Hex,
    payloadBytes: 1,
    uri: `${world.host.url}/nowhere/${i}`,
  }))
  for (let at = 0; at < BATCH; at += 65) {
    const { events } = await (await one.client.submitBatch(claims.slice(at, at + 65))).send()
    ids.push(...events.flatMap((event) => (event.type === 'submitted' ? [event.id] : [])))
  }
  for (const validator of world.validators)
    for (let at = 0; at < BATCH; at += 65)
      await (await validator.attestBatch(ids.slice(at, at + 65).map((id) => ({ id, valid: false })))).send()
  const good = world.payload(one, [reading('helium_001', 85)])
  for (const bytes of [good, utf8('no MAML\n'), world.payload(one, [reading('helium_001', 86)])])
    await world.attest(await world.submit(one, bytes))
  for (const air of [1, 2])
    await world.attest(await world.submit(two, world.payload(two, [reading('helium_002', air)])))
  await world.submit(two, world.payload(two, [reading('helium_002', 3)]))
  api = await startApi({
    sql,
    deployment: world.deployment,
    rpc: createRpc({ urls: [world.rpcUrl], chainId: 31337 }),
    checkpointVkeys: SIGNERS.map((signer) => formatVkey(signer.vkey)),
    receiptKeys: [{ publicKey: RECEIPT_KEY.publicKey, fromIndex: 0, toIndex: null }],
    signCheckpoint: checkpointSigner(sql, ORIGIN, () => SIGNERS, systemClock),
  })
  const indexer = startIndexer(world, sql)
  await until(
    'all receipts to be anchored',
    async () => {
      const status = await api.json<{ anchored: number; pending: number }>('/v1/status')
      if (status.anchored === BATCH + 5 && status.pending === 1) return true
      await world.mine(1)
      return undefined
    },
    indexer,
    120_000,
  )
  await indexer.stop()
  policy = parseTrustPolicy(new Uint8Array(await (await api.get('/trust-policy.json')).arrayBuffer()))
  const all = async (account: string) => {
    const out: SubmissionItem[] = []
    let cursor = ''
    for (;;) {
      const page = await api.json<{ items: SubmissionItem[]; next_cursor: string | null }>(
        `/v1/submissions?contributor=${account}&limit=200${cursor}`,
      )
      out.push(...page.items.filter(({ index }) => index !== null))
      if (page.next_cursor === null) return out.sort((a, b) => (a.seq as number) - (b.seq as number))
      cursor = `&cursor=${page.next_cursor}`
    }
  }
  first = await all(one.client.account)
  second = await all(two.client.account)
}, 240_000)

afterAll(async () => {
  await api?.close()
  await database?.stop()
  await world?.stop()
})

/** Checks a bundle under the hash that the chain itself gives for the block of its evidence. */
async function check(response: Response) {
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}`)
  const bytes = new Uint8Array(await response.arrayBuffer())
  const block = Number.parseInt(response.headers.get('dunes-proof-block') as string, 10)
  const { hash } = await world.rpc<{ hash: Hex }>('eth_getBlockByNumber', [`0x${block.toString(16)}`, false])
  const verify = (bundle: Uint8Array) => verifyBundle({ bundle, policy, trustedBlockHash: hash, mlDsa })
  const { claims, facts } = verify(bytes)
  const bundle = decodeAnyBundle(bytes) as RowsBundle
  return { bytes, bundle, claims, facts, verify, summary: response.headers.get('dunes-completeness') }
}
const completeness = (who: number, query = '') =>
  api.get(`/v1/contributors/${world.stations[who]!.client.account}/completeness${query}`)
const post = (body: unknown) =>
  fetch(`${api.url}/v1/proofs`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })
const problem = async (response: Response): Promise<Problem> => {
  expect(response.headers.get('content-type')).toBe('application/problem+json')
  return (await response.json()) as Problem
}
const strict = [...DEFAULT_REQUIRED, 'complete'] as const

describe('completeness', () => {
  test('of everything proves every claim about the log and that nothing was left out', async () => {
    const { claims, facts, summary, bundle } = await check(await completeness(0))
    expect(objections(claims, strict)).toEqual([])
    expect(facts.completeness).toMatchObject({
      fromSeq: 0,
      endSeq: BATCH + 3,
      settled: BATCH + 3,
      pending: 0,
    })
    expect(facts.completeness?.submissions).toEqual(first.map(({ id }) => id))
    expect(summary).toBe(
      `seq=0-${BATCH + 2}; anchored=${BATCH + 3}; settled=${BATCH + 3}; submitted=${BATCH + 3}; pending=0`,
    )
    expect(bundle.rows?.indices).toEqual(first.map(({ index }) => index))
  })

  test('says what is pending', async () => {
    const { claims, facts, summary } = await check(await completeness(1))
    expect(objections(claims, strict)).toEqual([])
    expect(facts.completeness).toMatchObject({ settled: 2, submitted: 3, pending: 1 })
    expect(summary).toBe('seq=0-1; anchored=2; settled=2; submitted=3; pending=1')
  })

  test.each([
    ['?from=0&to=10', 0, 256],
    ['?to=255', 0, 256],
    ['?from=257&to=258', 256, BATCH + 3],
    ['?from=256', 256, BATCH + 3],
    ['?from=10&to=256', 0, BATCH + 3],
    ['?from=260&to=9999', 256, BATCH + 3],
  ])('of %s costs the stretch around it', async (query, from, end) => {
    const { claims, facts, bundle } = await check(await completeness(0, query))
    expect(objections(claims, strict)).toEqual([])
    expect(facts.completeness).toMatchObject({ fromSeq: from, endSeq: end })
    expect(bundle.completeness?.items).toHaveLength(end - from)
  })

  test('no longer holds with an item dropped, and names the claim', async () => {
    const { bundle, verify } = await check(await completeness(0, '?from=256'))
    const items = bundle.completeness!.items.slice(0, -1)
    const { claims } = verify(encodeBundle({ ...bundle, completeness: { ...bundle.completeness!, items } }))
    expect(claims.find(({ name }) => name === 'complete')).toMatchObject({ status: 'failed' })
    expect(objections(claims, strict).map(({ name }) => name)).toContain('complete')
  })

  test('is refused for ranges that are none, and for accounts that nobody knows', async () => {
    for (const query of ['?from=-1', '?from=a', '?from=01', '?seq=1', '?from=1.5', '?to=99999999999999999'])
      expect((await problem(await completeness(0, query))).code).toBe('REQUEST_INVALID')
    for (const query of ['?from=5&to=4', `?from=${BATCH + 3}`, '?from=9999'])
      expect(await problem(await completeness(0, query))).toMatchObject({ status: 400, code: 'BAD_RANGE' })
    const unknown = await api.get(`/v1/contributors/0x${'ab'.repeat(20)}/completeness`)
    expect((await problem(unknown)).code).toBe('NOT_FOUND')
    const other = await api.get(`/v1/contributors/eip155:1:${world.stations[0]!.client.account}/completeness`)
    expect((await problem(other)).status).toBeGreaterThanOrEqual(400)
  })

  test('of an account that has settled nothing is empty, and proved', async () => {
    // A validator is an account that the index knows and that has submitted nothing.
    const { claims, facts, summary } = await check(
      await api.get(`/v1/contributors/${world.validators[0]!.account}/completeness`),
    )
    expect(objections(claims, ['complete'])).toEqual([])
    expect(facts.completeness).toMatchObject({ settled: 0, submitted: 0, submissions: [] })
    expect(summary).toBe('seq=none; anchored=0; settled=0; submitted=0; pending=0')
  })

  test('is not answered at all where the rows here are not those of the chain', async () => {
    const { id } = second[0]!
    await database.sql`update submission set payload_bytes = payload_bytes + 1 where submission_id = decode(${id.slice(2)}, 'hex')`
    try {
      expect((await completeness(1)).status).toBe(500)
    } finally {
      await database.sql`update submission set payload_bytes = payload_bytes - 1 where submission_id = decode(${id.slice(2)}, 'hex')`
    }
    expect((await completeness(1)).status).toBe(200)
  })

  test('is linked from the contributor', async () => {
    const detail = await api.json<ContributorDetail>(`/v1/contributors/${world.stations[0]!.client.account}`)
    expect((await api.get(detail.links.completeness)).status).toBe(200)
  })
})

describe('many rows', () => {
  test('are proved by one bundle, asked for by id in any order or by index', async () => {
    const picked = [first[262]!, second[0]!, first[3]!, first[200]!]
    const byId = await check(await post({ ids: picked.map(({ id }) => id) }))
    expect(objections(byId.claims)).toEqual([])
    const indices = picked.map(({ index }) => index as number).sort((a, b) => a - b)
    expect(byId.facts.rows?.map(({ index }) => index)).toEqual(indices)
    const byIndex = await check(await post({ indices: [...indices, ...indices] }))
    expect(byIndex.bundle.rows).toEqual(byId.bundle.rows)
  })

  test('share their nodes', async () => {
    const { claims, bundle } = await check(await post({ indices: Array.from({ length: 200 }, (_, i) => i) }))
    expect(objections(claims)).toEqual([])
    expect(bundle.rows!.nodes.length).toBeLessThan(10)
  })

  test('carry payloads, keys and receipt signatures where there are some', async () => {
    const ids = [...first.slice(-3), ...second].map(({ id }) => id)
    const { claims } = await check(await post({ ids, include: 'all' }))
    expect(objections(claims)).toEqual([])
    const reason = (name: string) => claims.find((each) => each.name === name)!.reason
    // One of them is no MAML at all.
    expect(reason('contributorSigned')).toContain('4 of the 5 rows')
    expect(reason('receiptSigned')).toContain('all 5 rows')
    const receipts = await check(await post({ ids, include: ['receipt'] }))
    expect(receipts.claims.map(({ status }) => status)).toEqual([
      ...Array(4).fill('proved'),
      'not claimed',
      'proved',
      'not claimed',
    ])
  })

  test.each<[string, unknown, number, string]>([
    ['nothing', {}, 400, 'REQUEST_INVALID'],
    ['no id', { ids: [] }, 400, 'REQUEST_INVALID'],
    ['both kinds', { ids: [`0x${'00'.repeat(32)}`], indices: [0] }, 400, 'REQUEST_INVALID'],
    ['too many', { indices: Array.from({ length: 1_001 }, (_, i) => i) }, 400, 'REQUEST_INVALID'],
    ['a negative index', { indices: [-1] }, 400, 'REQUEST_INVALID'],
    ['an unknown field', { indices: [0], uri: true }, 400, 'REQUEST_INVALID'],
    ['an unknown part', { indices: [0], include: ['uri'] }, 400, 'REQUEST_INVALID'],
    ['no JSON', '{', 400, 'REQUEST_INVALID'],
    ['what is no id', { ids: ['0x00'] }, 400, 'BAD_ID'],
    ['an id that nobody knows', { ids: [`0x${'00'.repeat(32)}`] }, 404, 'NOT_FOUND'],
    ['an index beyond the log', { indices: [0, 999_999] }, 404, 'NOT_FOUND'],
    ['payloads that are not held', { indices: [0], include: ['payload'] }, 404, 'PAYLOAD_NOT_HELD'],
    ['a very long request', { ids: Array(999).fill('0x'.padEnd(199, '0')) }, 413, 'PROOF_TOO_LARGE'],
  ])('are refused for %s', async (_, body, status, code) => {
    expect(await problem(await post(body))).toMatchObject({ status, code })
  })

  test('are refused while one of them is not anchored', async () => {
    const { items } = await api.json<{ items: SubmissionItem[] }>('/v1/submissions?state=pending')
    expect(await problem(await post({ ids: [first[0]!.id, items[0]!.id] }))).toMatchObject({
      status: 409,
      code: 'NOT_ANCHORED',
    })
  })
})
