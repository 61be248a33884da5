import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { getBlock, getBlockLogs } from '../../../src/chain/blocks.ts'
import { receiptProof, receiptsRoot } from '../../../src/chain/receipts.ts'
import { createRpc, type RpcReport } from '../../../src/chain/rpc.ts'
import type { SourceStatus } from '../../../src/chain/source.ts'
import { fromHex, type Hex } from '../../../src/core/bytes.ts'
import { encodeRlp, minimalBytes } from '../../../src/proof/rlp.ts'
import { verifyTrieProof } from '../../../src/proof/trie.ts'
import { atHead, follow, followLive, Replay, sourceOf, truth } from '../../support/follow.ts'
import { type RpcProxy, startRpcProxy } from '../../support/rpc-proxy.ts'
import { startTraffic, type TrafficChain } from '../../support/traffic.ts'
import { until } from '../../support/world.ts'

let chain: TrafficChain
let first: RpcProxy
let second: RpcProxy

beforeAll(async () => {
  chain = await startTraffic()
  for (let i = 0; i < 10; i++) {
    await chain.submitBlock(3)
    await chain.emptyBlocks(5)
  }
})
afterAll(() => chain.stop())
beforeEach(async () => {
  first = await startRpcProxy(chain.anvil.url)
  second = await startRpcProxy(chain.anvil.url)
})
afterEach(async () => {
  await first.stop()
  await second.stop()
})

const urls = () => [first.url, second.url]
const statusOf = (status: SourceStatus, proxy: RpcProxy) =>
  status.endpoints.find(
    ({ endpoint }) => endpoint === new URL(proxy.url).host,
  ) as SourceStatus['endpoints'][number]
const walkOnly = { finality: { confirmations: 10_000 } }
const asked = (proxy: RpcProxy, method: string) => proxy.calls.filter((call) => call === method).length

describe('an endpoint that', () => {
  it.each<[string, (proxy: RpcProxy) => void, Partial<SourceStatus['endpoints'][number]>]>([
    ['fails', (proxy) => (proxy.fault = () => ({ status: 503 })), { lies: 0 }],
    [
      'serves another chain',
      (proxy) => (proxy.fault = ({ method }) => (method === 'eth_chainId' ? { result: '0x1' } : undefined)),
      { state: 'open', lies: 1 },
    ],
    [
      'answers with headers that do not hash',
      (proxy) =>
        (proxy.fault = (request, { result }) =>
          request.method === 'eth_getBlockByNumber' && result
            ? { result: { ...result, timestamp: '0x1' } }
            : undefined),
      { state: 'open', lies: 1 },
    ],
    [
      'answers with logs of a block that is not theirs',
      (proxy) =>
        (proxy.fault = (request, { result }) =>
          request.method === 'eth_getLogs'
            ? { result: (result as object[]).map((log) => ({ ...log, blockHash: `0x${'ab'.repeat(32)}` })) }
            : undefined),
      { state: 'open' },
    ],
    [
      'has an empty answer where the bloom says maybe',
      (proxy) => (proxy.fault = ({ method }) => (method === 'eth_getLogs' ? { result: [] } : undefined)),
      { state: 'open' },
    ],
  ])('%s is left, and nothing is missed', async (_, misbehave, expected) => {
    for (const settings of [{}, walkOnly]) {
      first.calls.length = second.calls.length = 0
      misbehave(first)
      const { source } = sourceOf(chain, settings, { urls: urls() })
      const replay = new Replay()
      await follow(source, replay, () => atHead(chain, replay))
      expect(replay.events()).toEqual(await truth(chain))
      expect(statusOf(source.status(), first)).toMatchObject(expected)
      expect(statusOf(source.status(), second)).toMatchObject({ state: 'closed', errors: 0, lies: 0 })
      expect(second.calls.length).toBeGreaterThan(0)
    }
  })

  it('hangs is left, and asked again once it answers', async () => {
    let hanging = true
    first.fault = () => (hanging ? { hang: true } : undefined)
    const { source } = sourceOf(chain, walkOnly, { urls: urls(), timeoutMs: 200 })
    const live = followLive(source)
    await live.caughtUp(chain)
    const status = statusOf(source.status(), first)
    expect(status.errors).toBeGreaterThan(0)
    expect(statusOf(source.status(), second).errors).toBe(0)
    hanging = false
    await until('the first to be well', async () =>
      statusOf(source.status(), first).state === 'closed' ? true : undefined,
    )
    // It is the first of the list, so it is used again.
    await until('the first to be used', async () =>
      first.calls.at(-1) === 'eth_getBlockByNumber' ? true : undefined,
    )
    await chain.submitBlock(2)
    await live.caughtUp(chain)
    await live.stop()
    expect(live.replay.events()).toEqual(await truth(chain))
  })

  it('lies is asked again once it tells the truth', async () => {
    let lying = true
    first.fault = ({ method }) => (lying && method === 'eth_getLogs' ? { result: [] } : undefined)
    const { source } = sourceOf(chain, walkOnly, { urls: urls() })
    const live = followLive(source)
    await live.caughtUp(chain)
    expect(statusOf(source.status(), first)).toMatchObject({ state: 'open' })
    expect(statusOf(source.status(), first).why).toMatch(/has other logs of block \d+ than its header/)
    lying = false
    await until('the first to be well', async () =>
      statusOf(source.status(), first).state === 'closed' ? true : undefined,
    )
    const before = asked(first, 'eth_getLogs')
    await chain.submitBlock(2)
    await live.caughtUp(chain)
    await live.stop()
    expect(asked(first, 'eth_getLogs')).toBeGreaterThan(before)
    expect(live.replay.events()).toEqual(await truth(chain))
  })

  it('invents a log is found out by the receipts', async () => {
    // The address and topics of a log that the block has, so that no bloom rules it out.
    first.fault = (request, { result }) => {
      const logs = result as { address: Hex; logIndex: Hex }[]
      if (request.method !== 'eth_getLogs' || logs.length < 2) return undefined
      const registry = logs.filter(({ address }) => address === chain.registry)
      return registry.length > 0
        ? { result: [{ ...logs[0], address: chain.anchor, topics: [], data: '0x' }] }
        : undefined
    }
    const { source } = sourceOf(chain, walkOnly, { urls: urls() })
    const replay = new Replay()
    await follow(source, replay, () => atHead(chain, replay))
    expect(replay.events()).toEqual(await truth(chain))
    expect(statusOf(source.status(), first)).toMatchObject({ state: 'open' })
  })
})

describe('budgets', () => {
  it('of each endpoint are its own, and history is read from whoever has some left', async () => {
    const { source } = sourceOf(
      chain,
      { ranges: { firstBlocks: 4, mostBlocks: 4, wantedLogs: 1_000 } },
      { urls: [`${first.url}#per-second=20&in-flight=2`, `${second.url}#per-second=1000`], batchSize: 10 },
    )
    const replay = new Replay()
    await follow(source, replay, () => atHead(chain, replay))
    expect(replay.events()).toEqual(await truth(chain))
    const { endpoints } = source.status()
    expect(endpoints).toMatchObject([
      { perSecond: 20, mostInFlight: 2, errors: 0 },
      { perSecond: 1000, mostInFlight: 16, errors: 0 },
    ])
    expect(first.calls.length).toBeGreaterThan(0)
    expect(second.calls.length).toBeGreaterThan(first.calls.length)
  })

  it('are kept to: so many requests at once, so many calls a second', async () => {
    let flying = 0
    let most = 0
    const reports: RpcReport[] = []
    const rpc = createRpc(
      { urls: [first.url], chainId: 31337, inFlight: 3, perSecond: 40 },
      { report: (report) => reports.push(report) },
    )
    first.fault = () => {
      most = Math.max(most, ++flying)
      setImmediate(() => flying--)
      return undefined
    }
    const start = Date.now()
    await Promise.all(Array.from({ length: 100 }, () => rpc.call('eth_blockNumber', [])))
    expect(Date.now() - start).toBeGreaterThan(1_300)
    expect(most).toBeLessThanOrEqual(3)
    expect(Math.max(...reports.map(({ status }) => status.inFlight))).toBeLessThanOrEqual(3)
    expect(() => createRpc({ urls: ['http://h/#per-second=x'], chainId: 1 })).toThrow('per-second of h')
  })

  it('that are used up are waited for only where there is nobody else', async () => {
    first.fault = ({ method }) =>
      method === 'eth_blockNumber' ? { status: 429, headers: { 'retry-after': '30' } } : undefined
    const rpc = createRpc({ urls: urls(), chainId: 31337 })
    const start = Date.now()
    for (let i = 0; i < 5; i++) await rpc.call('eth_blockNumber', [])
    expect(Date.now() - start).toBeLessThan(2_000)
    expect(asked(first, 'eth_blockNumber')).toBe(1)
    expect(asked(second, 'eth_blockNumber')).toBe(5)
  })
})

describe('ranges', () => {
  it('are learned for each endpoint', async () => {
    const rangeOf = (params: readonly unknown[]) => {
      const [{ fromBlock, toBlock }] = params as [{ fromBlock?: Hex; toBlock?: Hex }]
      return fromBlock && toBlock ? Number(toBlock) - Number(fromBlock) + 1 : 0
    }
    const error = { code: -32005, message: 'query returned more than 10000 results' }
    first.fault = ({ method, params }) =>
      method === 'eth_getLogs' && rangeOf(params) > 3 ? { error } : undefined
    const { source, reports } = sourceOf(
      chain,
      { ranges: { firstBlocks: 16, mostBlocks: 16, wantedLogs: 1_000 } },
      { urls: [`${first.url}#per-second=200`, `${second.url}#per-second=200`] },
    )
    const replay = new Replay()
    await follow(source, replay, () => atHead(chain, replay))
    expect(replay.events()).toEqual(await truth(chain))
    expect(reports.some(({ kind }) => kind === 'split')).toBe(true)
    const status = source.status()
    expect(statusOf(status, first).rangeBlocks).toBeLessThanOrEqual(8)
    expect(statusOf(status, second).rangeBlocks ?? 16).toBe(16)
    // A limit of its own is no fault.
    expect(statusOf(status, first)).toMatchObject({ state: 'closed', errors: 0, score: 100 })
  })
})

describe('an endpoint that lags', () => {
  it('behind the others is used after them, and again when it has caught up', async () => {
    const stuck = await chain.rpc('eth_blockNumber')
    let lagging = true
    first.fault = ({ method }) => (lagging && method === 'eth_blockNumber' ? { result: stuck } : undefined)
    await chain.emptyBlocks(10)
    const rpc = createRpc({ urls: urls(), chainId: 31337 })
    await rpc.compareHeads()
    expect(rpc.endpoint()).toBe(new URL(first.url).host)
    await rpc.compareHeads()
    expect(rpc.endpoint()).toBe(new URL(second.url).host)
    expect(rpc.endpoints()[0]).toMatchObject({ lagging: true, head: Number(stuck) })
    lagging = false
    await rpc.compareHeads()
    expect(rpc.endpoint()).toBe(new URL(first.url).host)
  })

  it('cannot be made of two by a third that invents a height', async () => {
    const third = await startRpcProxy(chain.anvil.url)
    third.fault = ({ method }) => (method === 'eth_blockNumber' ? { result: '0xffffff' } : undefined)
    const rpc = createRpc({ urls: [...urls(), third.url], chainId: 31337 })
    for (let i = 0; i < 3; i++) await rpc.compareHeads()
    expect(rpc.endpoints().map(({ lagging }) => lagging)).toEqual([false, false, false])
    await third.stop()
  })
})

/** The receipt at a place of a block, as its proof shows it. */
const provedReceipt = (root: Hex, receipts: never[], place: number): Uint8Array | null =>
  verifyTrieProof(fromHex(root), encodeRlp(minimalBytes(BigInt(place))), receiptProof(receipts, place))

describe('receipts', () => {
  it('give the root in the header, of blocks of no, one and many transactions', async () => {
    const rpc = createRpc({ urls: [chain.anvil.url], chainId: 31337 })
    let most = 0
    for (let number = 0; number <= (await chain.height()); number++) {
      const block = await getBlock(rpc, number)
      if (!block) throw new Error('no block')
      const receipts = (await rpc.call('eth_getBlockReceipts', [block.hash])) as never[]
      expect(receiptsRoot(receipts), `block ${number}`).toBe(block.receiptsRoot)
      for (let place = 0; place < receipts.length; place++)
        expect(provedReceipt(block.receiptsRoot, receipts, place)).not.toBeNull()
      most = Math.max(most, receipts.length)
    }
    expect(most).toBeGreaterThan(1)
    // More than 128, where the index takes a second byte: the trie then has branches over branches.
    await chain.rpc('evm_setAutomine', [false])
    const accounts = (await chain.rpc('eth_accounts')) as Hex[]
    for (let i = 0; i < 300; i++)
      await chain.rpc('eth_sendTransaction', [
        { from: accounts[i % 2], to: accounts[2], value: '0x1', gas: '0x5208' },
      ])
    await chain.rpc('evm_mine')
    await chain.rpc('evm_setAutomine', [true])
    const block = await getBlock(rpc, 'latest')
    expect(block?.transactions.length).toBeGreaterThan(256)
    expect(await getBlockLogs(rpc, block as never)).toEqual([])
    const receipts = (await rpc.call('eth_getBlockReceipts', [block?.hash])) as never[]
    for (const place of [0, 1, 127, 128, 255, 256, receipts.length - 1])
      expect(provedReceipt(block?.receiptsRoot as Hex, receipts, place), `place ${place}`).not.toBeNull()
  })
})
