import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Problem } from '../../../src/api/problem.ts'
import { createRpc } from '../../../src/chain/rpc.ts'
import type { Hex } from '../../../src/core/bytes.ts'
import { systemClock } from '../../../src/core/clock.ts'
import { mlDsa } from '../../../src/core/ml-dsa-native.ts'
import { readLogHead, tileReader } from '../../../src/graph/log-store.ts'
import { rootAt } from '../../../src/log/proof.ts'
import { formatVkey } from '../../../src/log/vkey.ts'
import { decodeBundle, encodeBundle } from '../../../src/proof/bundle.ts'
import { parseTrustPolicy, type TrustPolicy } from '../../../src/proof/trust-policy.ts'
import { objections, verifyBundle } from '../../../src/proof/verify.ts'
import { checkpointSigner } from '../../../src/service/checkpoint.ts'
import type { ServiceSettings } from '../../../src/service/context.ts'
import type { SubmissionItem } from '../../../src/service/submissions.ts'
import { RECEIPT_KEY, startApi, type TestApi } from '../../support/api.ts'
import { type TestDatabase, testDatabase } from '../../support/postgres.ts'
import { ORIGIN, reading, SIGNERS, startIndexer, startWorld, until, type World } from '../../support/world.ts'

/** Bundles as the API serves them, from a real chain, checked as a stranger checks them. */

let world: World
let database: TestDatabase
let api: TestApi
let policy: TrustPolicy
let settings: Pick<ServiceSettings, 'sql' | 'deployment'> & Partial<ServiceSettings>
const ids: Record<string, Hex> = {}

beforeAll(async () => {
  ;[world, database] = await Promise.all([startWorld(2), testDatabase({ max: 8 })])
  const { sql } = database
  const [first, second] = world.stations as [World['stations'][0], World['stations'][0]]
  const send = async (
    name: string,
    station: World['stations'][0],
    bytes: Uint8Array,
    uri?: string,
    valid = true,
  ) => {
    ids[name] = await world.submit(station, bytes, uri)
    await world.attest(ids[name] as Hex, valid)
  }
  const good = world.payload(first, [reading('helium_001', 85)])
  await send('good', first, good)
  await send('repeated', first, good)
  await send('disputed', second, world.payload(second, [reading('helium_002', 1)]), undefined, false)
  await send(
    'missing',
    second,
    world.payload(second, [reading('helium_002', 2)]),
    `${world.host.url}/nowhere`,
  )
  await send('broken', second, new TextEncoder().encode('no MAML\n'))
  await send('forged', second, world.payload({ ...second, seed: first.seed }, [reading('helium_002', 3)]))
  await send('schema', second, world.payload(second, [reading('helium_002', 9_999)]))
  settings = {
    sql,
    deployment: world.deployment,
    rpc: createRpc({ urls: [world.rpcUrl], chainId: 31337 }),
    checkpointVkeys: SIGNERS.map((signer) => formatVkey(signer.vkey)),
    receiptKeys: [{ publicKey: RECEIPT_KEY.publicKey, fromIndex: 0, toIndex: null }],
    signCheckpoint: checkpointSigner(sql, ORIGIN, () => SIGNERS, systemClock),
  }
  api = await startApi(settings)
  const indexer = startIndexer(world, sql)
  await until(
    'all receipts to be anchored',
    async () => {
      const { items } = await api.json<{ items: SubmissionItem[] }>('/v1/submissions?state=anchored')
      if (items.length === Object.keys(ids).length) return true
      await world.mine(1)
      return undefined
    },
    indexer,
  )
  ids['waiting'] = await world.submit(first, world.payload(first, [reading('helium_001', 86)]))
  await until(
    'the last submission',
    async () => (await api.get(`/v1/submissions/${ids['waiting']}`)).ok || undefined,
    indexer,
  )
  await indexer.stop()
  policy = parseTrustPolicy(new Uint8Array(await (await api.get('/trust-policy.json')).arrayBuffer()))
}, 120_000)

afterAll(async () => {
  await api?.close()
  await database?.stop()
  await world?.stop()
})

const path = (name: string, query = '') => `/v1/submissions/${ids[name]}/proof${query}`

/** Checks a bundle under the hash that the chain itself gives for the block of its evidence. */
async function check(bundle: Uint8Array, block: number) {
  const { hash } = await world.rpc<{ hash: Hex }>('eth_getBlockByNumber', [`0x${block.toString(16)}`, false])
  const { claims } = verifyBundle({ bundle, policy, trustedBlockHash: hash, mlDsa })
  return { claims, status: Object.fromEntries(claims.map((claim) => [claim.name, claim.status])) }
}

async function fetchProof(name: string, query = '', from = api) {
  const response = await from.get(path(name, query))
  if (!response.ok) throw new Error(`${name}: ${response.status} ${await response.text()}`)
  const bytes = new Uint8Array(await response.arrayBuffer())
  const block = Number.parseInt(response.headers.get('dunes-proof-block') as string, 10)
  return { response, bytes, block, ...(await check(bytes, block)) }
}

const refused = async (name: string, query = '', from = api): Promise<Problem> => {
  const response = await from.get(path(name, query))
  expect(response.headers.get('content-type')).toBe('application/problem+json')
  return (await response.json()) as Problem
}

const basic = {
  included: 'proved',
  onChain: 'proved',
  anchored: 'proved',
  appendOnly: 'proved',
  complete: 'not claimed',
}
const settledNames = ['good', 'repeated', 'disputed', 'missing', 'broken', 'forged', 'schema']

describe('a bundle', () => {
  test('supports the four default claims, and no more than it was asked for', async () => {
    const { status, bytes, response } = await fetchProof('good')
    expect(status).toEqual({ ...basic, contributorSigned: 'not claimed', receiptSigned: 'not claimed' })
    expect(bytes.length).toBeLessThan(25_000)
    expect(response.headers.get('content-type')).toBe('application/json')
    const etag = response.headers.get('etag') as string
    expect((await api.get(path('good'), { 'If-None-Match': etag })).status).toBe(304)
  })

  test('supports all claims when asked for everything', async () => {
    const { status, bytes, claims } = await fetchProof('good', '?include=all')
    expect(status).toEqual({ ...basic, contributorSigned: 'proved', receiptSigned: 'proved' })
    expect(objections(claims)).toEqual([])
    expect(bytes.length).toBeLessThan(48_000)
    expect(decodeBundle(bytes).uri).toContain(world.host.url)
  })

  test.each(settledNames)('of what is %s verifies with everything that there is', async (name) => {
    const { status, claims } = await fetchProof(name, '?include=all')
    expect(objections(claims)).toEqual([])
    expect(status['receiptSigned']).toBe('proved')
    // Whether the contributor signed is a matter of signature and key alone, not of the verdict.
    const signed = ['good', 'repeated', 'schema', 'disputed'].includes(name)
    const held = name !== 'disputed'
    expect(status['contributorSigned']).toBe(signed && held ? 'proved' : 'not claimed')
  })

  test.each([
    ['?include=payload', { contributorSigned: 'proved', receiptSigned: 'not claimed' }],
    ['?include=key', { contributorSigned: 'proved', receiptSigned: 'not claimed' }],
    ['?include=receipt', { contributorSigned: 'not claimed', receiptSigned: 'proved' }],
    ['?include=uri', { contributorSigned: 'not claimed', receiptSigned: 'not claimed' }],
    ['?include=all,key', { contributorSigned: 'proved', receiptSigned: 'proved' }],
    ['?include=key,payload,receipt,uri', { contributorSigned: 'proved', receiptSigned: 'proved' }],
  ])('takes in what %s names', async (query, more) => {
    expect((await fetchProof('good', query)).status).toEqual({ ...basic, ...more })
  })

  test('shows a forged signature for what it is when asked for exactly that', async () => {
    expect((await fetchProof('forged', '?include=payload,key')).status['contributorSigned']).toBe('failed')
  })

  test('has a tlog-proof as its part, which is also served alone', async () => {
    const response = await api.get(`/v1/submissions/${ids['good']}/proof.tlog`)
    expect(response.headers.get('content-type')).toBe('text/plain; charset=utf-8')
    expect(response.headers.get('content-disposition')).toContain(`${ids['good']}.tlog-proof`)
    const text = await response.text()
    expect(text).toBe(decodeBundle((await fetchProof('good')).bytes).tlogProof)
    expect(text.startsWith('c2sp.org/tlog-proof@v1\nindex 0\n')).toBe(true)
    expect((await api.get(`/v1/submissions/${ids['waiting']}/proof.tlog`)).status).toBe(409)
  })

  test('no longer holds with another entry in it', async () => {
    const { bytes, block } = await fetchProof('good')
    const bundle = decodeBundle(bytes)
    const entry = new TextEncoder().encode(
      new TextDecoder().decode(bundle.entry).replace('"accepted"', '"rejected"'),
    )
    const { status } = await check(encodeBundle({ ...bundle, entry }), block)
    expect(Object.values(status)).not.toContain('proved')
  })
})

describe('a bundle is refused', () => {
  test('before its submission is anchored, with when to ask again', async () => {
    const response = await api.get(path('waiting'))
    expect(response.status).toBe(409)
    expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(0)
    expect((await refused('waiting')).code).toBe('NOT_ANCHORED')
  })

  test.each([
    ['missing', '?include=payload', 'PAYLOAD_NOT_HELD'],
    ['good', '?include=colour', 'REQUEST_INVALID'],
    ['good', '?include=', 'REQUEST_INVALID'],
    ['good', '?include=all,colour', 'REQUEST_INVALID'],
    ['good', '?payload=1', 'REQUEST_INVALID'],
  ])('%s%s', async (name, query, code) => {
    expect((await refused(name, query)).code).toBe(code)
  })

  test('by a process without a chain, and one without keys says what it cannot sign', async () => {
    const alone = await startApi({ ...settings, rpc: null })
    const keyless = await startApi({ ...settings, receiptKey: null, checkpointVkeys: [] })
    await database.sql`delete from receipt_signature`
    try {
      expect(await refused('good', '', alone)).toMatchObject({ status: 503, code: 'CHAIN_UNAVAILABLE' })
      expect((await alone.get('/trust-policy.json')).status).toBe(503)
      expect((await keyless.get('/trust-policy.json')).status).toBe(503)
      expect(await refused('good', '?include=receipt', keyless)).toMatchObject({
        status: 503,
        code: 'NO_SIGNER',
      })
      expect((await fetchProof('good', '?include=all', keyless)).status['receiptSigned']).toBe('not claimed')
    } finally {
      await alone.close()
      await keyless.close()
    }
  })

  test('while the log here is behind its anchor, as after a restore', async () => {
    await database.sql`update log_head set size = size - 1`
    try {
      expect((await refused('good')).code).toBe('NOT_ANCHORED')
    } finally {
      await database.sql`update log_head set size = size + 1`
    }
  })

  test('when the endpoint is on another branch than the index', async () => {
    const [kept] = await database.sql`select final_hash from cursor`
    await database.sql`update cursor set final_hash = ${new Uint8Array(32)}`
    try {
      expect(await refused('good')).toMatchObject({ status: 503, code: 'RPC_INCONSISTENT' })
    } finally {
      await database.sql`update cursor set final_hash = ${kept?.['final_hash']}`
    }
    expect((await fetchProof('good')).status).toMatchObject(basic)
  })

  test('when the chain does not answer, for now', async () => {
    const dead = createRpc(
      { urls: ['http://127.0.0.1:1'], chainId: 31337 },
      { clock: { ...systemClock, sleep: async () => {} } },
    )
    const lost = await startApi({ ...settings, rpc: dead })
    try {
      expect(await refused('good', '', lost)).toMatchObject({ status: 503, code: 'RPC_UNREACHABLE' })
    } finally {
      await lost.close()
    }
  })
})

describe('the checkpoint of a bundle', () => {
  const withoutCheckpoints = async (run: () => Promise<void>) => {
    const kept = await database.sql`delete from checkpoint returning size, root, note`
    try {
      await run()
    } finally {
      await database.sql`delete from checkpoint`
      for (const row of kept)
        await database.sql`insert into checkpoint (size, root, note) values (${row['size']}, ${row['root']}, ${row['note']})`
    }
  }

  test('is signed on demand where the anchored size has none', () =>
    withoutCheckpoints(async () => {
      expect((await fetchProof('good')).status).toMatchObject(basic)
      const sizes = (await database.sql`select size from checkpoint`).map((row) => row['size'])
      expect(sizes).toEqual([settledNames.length])
    }))

  test('is a smaller one, joined by a consistency proof, where nobody here can sign', () =>
    withoutCheckpoints(async () => {
      const sign = settings.signCheckpoint as NonNullable<typeof settings.signCheckpoint>
      await sign(5, await rootAt(5, tileReader(database.sql)))
      const keyless = await startApi({ ...settings, signCheckpoint: null })
      try {
        const { status, bytes } = await fetchProof('missing', '', keyless)
        expect(status).toMatchObject(basic)
        expect(decodeBundle(bytes).consistency?.length).toBeGreaterThan(0)
        expect(await refused('schema', '', keyless)).toMatchObject({ status: 503, code: 'NO_SIGNER' })
      } finally {
        await keyless.close()
      }
    }))

  test('is never signed over a root that the stored log does not have', async () => {
    const sign = settings.signCheckpoint as NonNullable<typeof settings.signCheckpoint>
    const { size } = await readLogHead(database.sql)
    await expect(sign(size, new Uint8Array(32))).rejects.toMatchObject({ code: 'LOG_DIVERGED' })
  })

  test('of another root than the anchored one ends in an error, not in a bundle', async () => {
    const [kept] = await database.sql`select root from checkpoint where size = ${settledNames.length}`
    await database.sql`update checkpoint set root = ${new Uint8Array(32)} where size = ${settledNames.length}`
    try {
      expect((await refused('good')).status).toBe(500)
    } finally {
      await database.sql`update checkpoint set root = ${kept?.['root']} where size = ${settledNames.length}`
    }
  })
})
