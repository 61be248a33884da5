import { encodeAbiParameters, keccak256, parseAbiParameters, stringToBytes } from 'viem'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Problem } from '../../../src/api/problem.ts'
import { BLOCK_HISTORY } from '../../../src/chain/block-history.ts'
import { createRpc } from '../../../src/chain/rpc.ts'
import type { Hex } from '../../../src/core/bytes.ts'
import { systemClock } from '../../../src/core/clock.ts'
import { mlDsa } from '../../../src/core/ml-dsa-native.ts'
import { formatVkey } from '../../../src/log/vkey.ts'
import { decodeBundle } from '../../../src/proof/bundle.ts'
import { parseTrustPolicy } from '../../../src/proof/trust-policy.ts'
import { objections, verifyBundle } from '../../../src/proof/verify.ts'
import type { AnchorItem } from '../../../src/service/anchors.ts'
import { checkpointSigner } from '../../../src/service/checkpoint.ts'
import type { ServiceSettings } from '../../../src/service/context.ts'
import type { Coverage, Superset } from '../../../src/service/coverage.ts'
import type { SubmissionItem } from '../../../src/service/submissions.ts'
import { RECEIPT_KEY, startApi, type TestApi } from '../../support/api.ts'
import { type TestDatabase, testDatabase } from '../../support/postgres.ts'
import { startRpcProxy } from '../../support/rpc-proxy.ts'
import { ORIGIN, reading, SIGNERS, startIndexer, startWorld, until, type World } from '../../support/world.ts'

/** Bundles with the event of the anchor, from real chains: one that keeps its blocks' hashes in its state, and one that does not yet. */

describe.each(['osaka', 'cancun'])('on a chain at %s', (hardfork) => {
  const keepsHashes = hardfork === 'osaka'
  let world: World
  let database: TestDatabase
  let settings: Pick<ServiceSettings, 'sql' | 'deployment'> & Partial<ServiceSettings>
  let api: TestApi
  let anchors: AnchorItem[]
  /** Covered by the first anchor, and by the last. */
  let early: Hex
  let late: Hex

  beforeAll(async () => {
    ;[world, database] = await Promise.all([
      startWorld(1, ['--hardfork', hardfork]),
      testDatabase({ max: 8 }),
    ])
    const { sql } = database
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
    const station = world.stations[0]!
    const send = async (value: number) => {
      const id = await world.submit(station, world.payload(station, [reading('helium_001', value)]))
      await world.attest(id)
      await until(
        `${id} to be anchored`,
        async () => {
          const response = await api.get(`/v1/submissions/${id}`)
          if (response.ok && ((await response.json()) as SubmissionItem).state === 'anchored') return true
          await world.mine(1)
          return undefined
        },
        indexer,
      )
      return id
    }
    early = await send(1)
    await send(2)
    late = await send(3)
    await world.mine(3)
    await until(
      'the final block to be past the last anchor',
      async () => {
        const { block } = (await api.json<{ items: AnchorItem[] }>('/v1/anchors')).items[0] as AnchorItem
        const [row] = await sql`select final_number from cursor`
        return row?.['final_number'] > block || undefined
      },
      indexer,
    )
    await indexer.stop()
    anchors = (await api.json<{ items: AnchorItem[] }>('/v1/anchors')).items.reverse()
    expect(anchors.length).toBeGreaterThanOrEqual(3)
  }, 120_000)

  afterAll(async () => {
    await api?.close()
    await database?.stop()
    await world?.stop()
  })

  async function fetchEvent(id: Hex, include = 'event', from = api) {
    const response = await from.get(`/v1/submissions/${id}/proof?include=${include}`)
    if (!response.ok) throw new Error(`${response.status} ${await response.text()}`)
    const bytes = new Uint8Array(await response.arrayBuffer())
    const block = Number.parseInt(response.headers.get('dunes-proof-block') as string, 10)
    const { hash } = await world.rpc<{ hash: Hex }>('eth_getBlockByNumber', [
      `0x${block.toString(16)}`,
      false,
    ])
    const policy = parseTrustPolicy(new Uint8Array(await (await api.get('/trust-policy.json')).arrayBuffer()))
    const { claims, facts } = verifyBundle({ bundle: bytes, policy, trustedBlockHash: hash, mlDsa })
    const reason = claims.find(({ name }) => name === 'anchored')!.reason
    return { bundle: decodeBundle(bytes), bytes, block, claims, facts, reason, hash, policy }
  }

  test('has anchors whose list folds to the hash chain in the contract', async () => {
    const { complete, superset } = await api.json<Coverage>('/v1/anchors')
    expect([complete, superset?.of]).toEqual([true, 'anchors'])
    const { contract, slot, from_seq, to_seq } = superset as Extract<Superset, { of: 'anchors' }>
    expect([from_seq, to_seq]).toEqual([1, anchors.length])
    const fields = parseAbiParameters(
      'bytes32, uint256, address, bytes32, uint256, uint256, bytes32, uint256, uint256',
    )
    let chain: Hex = `0x${'0'.repeat(64)}`
    for (const { seq, size, root, block, time, chain_hash } of anchors) {
      const seconds = BigInt(Date.parse(time) / 1000)
      chain = keccak256(
        encodeAbiParameters(fields, [
          keccak256(stringToBytes('dunes.anchors/v1')),
          31337n,
          contract,
          chain,
          BigInt(seq),
          BigInt(size),
          root,
          BigInt(block),
          seconds,
        ]),
      )
      expect(chain_hash).toBe(chain)
    }
    expect(await world.rpc('eth_getStorageAt', [contract, slot, 'latest'])).toBe(chain)
  })

  test('tells the time of the first anchor that covers an entry', async () => {
    const [first] = anchors as [AnchorItem]
    const { claims, facts, reason, block, bundle, bytes } = await fetchEvent(early)
    expect(objections(claims)).toEqual([])
    const { seq, size, block: number, time } = first
    expect(reason).toBe(
      `index 0 is below the size ${size} of anchor ${seq}, the first to cover that: no later than block ${number}, ${time}`,
    )
    expect(facts.anchoredEvent).toEqual({ seq, size, block: number, time: Date.parse(time) / 1000 })
    if (keepsHashes) {
      // Under the last final block, which the contract's head says less about.
      expect(block).toBeGreaterThan(number)
      expect(facts.anchor?.seq).toBe(anchors.at(-1)?.seq)
      expect(bundle.anchoredEvent?.header).toBeDefined()
    } else {
      expect(block).toBe(number)
      expect(bundle.anchoredEvent?.header).toBeUndefined()
    }
    expect(bytes.length).toBeLessThan(25_000)
    const plain = await api.get(`/v1/submissions/${early}/proof`)
    expect(await plain.text()).not.toContain('anchoredEvent')
  })

  test('comes with every other part when asked for', async () => {
    const last = anchors.at(-1) as AnchorItem
    const { claims, facts } = await fetchEvent(late, 'all,event')
    expect(claims.filter(({ status }) => status !== 'proved').map(({ name }) => name)).toEqual(['complete'])
    expect(facts.anchoredEvent).toMatchObject({ seq: last.seq, block: last.block })
  })

  if (keepsHashes) {
    test('is taken from its own block where the history has gone on', async () => {
      const proxy = await startRpcProxy(world.rpcUrl)
      const later = await startApi({ ...settings, rpc: createRpc({ urls: [proxy.url], chainId: 31337 }) })
      proxy.fault = ({ method, params }, { result }) => {
        if (method !== 'eth_getProof' || params[0] !== BLOCK_HISTORY.address) return undefined
        const proof = result as { storageProof: object[] }
        const storageProof = [{ ...proof.storageProof[0], value: `0x${'11'.repeat(32)}` }]
        return { result: { ...proof, storageProof } }
      }
      const { claims, block, bundle } = await fetchEvent(early, 'event', later)
      expect(objections(claims)).toEqual([])
      expect(block).toBe(anchors[0]?.block)
      expect(bundle.anchoredEvent?.header).toBeUndefined()
      await Promise.all([later.close(), proxy.stop()])
    })
  } else {
    test('is refused where the endpoint does not keep the state of that time', async () => {
      const proxy = await startRpcProxy(world.rpcUrl)
      const pruned = await startApi({ ...settings, rpc: createRpc({ urls: [proxy.url], chainId: 31337 }) })
      const kept = (anchors.at(-1) as AnchorItem).block
      proxy.fault = ({ method, params }) =>
        method === 'eth_getProof' && Number(params[2]) < kept
          ? { error: { code: -32_000, message: 'missing trie node' } }
          : undefined
      const response = await pruned.get(`/v1/submissions/${early}/proof?include=event`)
      const problem = (await response.json()) as Problem
      expect([problem.status, problem.code]).toEqual([422, 'EVENT_UNPROVABLE'])
      expect(problem.hint).toContain('archive node')
      expect((await fetchEvent(late, 'event', pruned)).block).toBe(kept)
      // One that keeps it is asked where there is one.
      const rpc = createRpc({ urls: [proxy.url, world.rpcUrl], chainId: 31337 })
      const both = await startApi({ ...settings, rpc })
      expect((await fetchEvent(early, 'event', both)).block).toBe(anchors[0]?.block)
      expect(rpc.endpoints()[0]).toMatchObject({ state: 'closed', errors: 0, lies: 0 })
      await Promise.all([pruned.close(), both.close(), proxy.stop()])
    })
  }

  test('is asked of the chain once for all entries of an anchor', async () => {
    const proxy = await startRpcProxy(world.rpcUrl)
    const fresh = await startApi({ ...settings, rpc: createRpc({ urls: [proxy.url], chainId: 31337 }) })
    for (let i = 0; i < 3; i++) await fetchEvent(early, 'event', fresh)
    expect(proxy.calls.filter((method) => method === 'eth_getBlockReceipts')).toHaveLength(1)
    await Promise.all([fresh.close(), proxy.stop()])
  })
})
