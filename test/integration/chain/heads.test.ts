import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { inconsistent } from '../../../src/chain/blocks.ts'
import type { EndpointStatus } from '../../../src/chain/endpoint.ts'
import { createRpc } from '../../../src/chain/rpc.ts'
import type { ChainSource } from '../../../src/chain/source.ts'
import type { Hex } from '../../../src/core/bytes.ts'
import { type Clock, systemClock } from '../../../src/core/clock.ts'
import { followLive, sourceOf, truth } from '../../support/follow.ts'
import { forgedHeader } from '../../support/forged-header.ts'
import { type Fault, type RpcProxy, type RpcRequest, startRpcProxy } from '../../support/rpc-proxy.ts'
import { startTraffic, type TrafficChain } from '../../support/traffic.ts'

let chain: TrafficChain
let proxies: RpcProxy[]
let honest: RpcProxy
let liar: RpcProxy
let other: RpcProxy

beforeAll(async () => {
  chain = await startTraffic()
  await chain.submitBlock(3)
  await chain.emptyBlocks(5)
})
afterAll(() => chain.stop())
beforeEach(async () => {
  proxies = await Promise.all([1, 2, 3].map(() => startRpcProxy(chain.anvil.url)))
  ;[honest, liar, other] = proxies as [RpcProxy, RpcProxy, RpcProxy]
})
afterEach(() => Promise.all(proxies.map((proxy) => proxy.stop())))

const walkOnly = { finality: { confirmations: 10_000 } }
/** Fifty times as fast: heads are compared ten times a second. */
const fast: Clock = {
  now: () => Date.now() * 50,
  sleep: (ms, signal) => systemClock.sleep(ms / 50, signal),
}
const urlsOf = (list: readonly RpcProxy[]) => list.map(({ url }) => url)
const statusIn = (endpoints: readonly EndpointStatus[], proxy: RpcProxy) =>
  endpoints.find(({ endpoint }) => endpoint === new URL(proxy.url).host) as EndpointStatus
const statusOf = (source: ChainSource, proxy: RpcProxy) => statusIn(source.status().endpoints, proxy)
const asked = (proxy: RpcProxy, method: string) => proxy.calls.filter((call) => call === method).length
const hex = (number: number): Hex => `0x${number.toString(16)}`
const isLatest = ({ method, params }: RpcRequest) =>
  method === 'eth_getBlockByNumber' && params[0] === 'latest'

const FAR: Hex = '0xffffff'
type Lie = RpcProxy['fault']
const aNumber: Lie = ({ method }) => (method === 'eth_blockNumber' ? { result: FAR } : undefined)
const aHeader: Lie = (request, answer) =>
  isLatest(request) ? { result: { ...(answer.result as object), number: FAR } } : aNumber(request, answer)
const aForgedHeader: Lie = (request, answer) =>
  isLatest(request)
    ? { result: forgedHeader(answer.result as Record<string, unknown>, { number: FAR }) }
    : aNumber(request, answer)
/** Knows of nothing above `number`. */
const stuckAt = async (number: number): Promise<Lie> => {
  const newest = await chain.rpc('eth_getBlockByNumber', [hex(number), false])
  return (request): Fault | undefined => {
    if (request.method === 'eth_blockNumber') return { result: hex(number) }
    if (isLatest(request)) return { result: newest }
    return request.method === 'eth_getBlockByNumber' && Number(request.params[0]) > number
      ? { result: null }
      : undefined
  }
}

describe('an endpoint that invents a height', () => {
  const cases: [string, Lie, { checkHashes?: boolean }][] = [
    ['as a number', aNumber, {}],
    ['in a header that does not hash', aHeader, {}],
    ['in a header, where hashes are not checked', aHeader, { checkHashes: false }],
    ['in a header that hashes, and has no block before it', aForgedHeader, {}],
  ]
  const orders: [string, () => RpcProxy[]][] = [
    ['after the honest one', () => [honest, liar]],
    ['before the honest one', () => [liar, honest]],
  ]
  const all = cases.flatMap(([how, lie, settings]) =>
    orders.map(([where, order]) => [how, where, lie, settings, order] as const),
  )
  it.each(all)('%s, %s, is the one that is left', async (_, __, lie, settings, order) => {
    liar.fault = lie
    const { source } = sourceOf(chain, { ...walkOnly, ...settings }, { urls: urlsOf(order()) }, fast)
    const live = followLive(source)
    for (let looks = 1; looks <= 3; looks++) {
      await live.until(() => asked(liar, 'eth_blockNumber') > looks)
      await chain.submitBlock(1)
      await live.caughtUp(chain)
    }
    // It may have been followed for one look, and no longer.
    await live.until(() => statusOf(source, liar).state !== 'closed' && !statusOf(source, honest).lagging)
    expect(statusOf(source, liar).lies).toBeGreaterThan(1)
    expect(statusOf(source, honest)).toMatchObject({ state: 'closed', lies: 0, errors: 0 })
    await live.stop()
    expect(live.replay.of('rollback')).toEqual([])
    expect(live.replay.events()).toEqual(await truth(chain))
  })

  it.each(orders)('as a number alone, %s, is taken for as high as it shows', async (_, order) => {
    // So does a balanced address, whose nodes are not equally far.
    liar.fault = ({ method }, { result }) =>
      method === 'eth_blockNumber' ? { result: hex(Number(result) + 9) } : undefined
    const rpc = createRpc({ urls: urlsOf(order()), chainId: 31337 })
    for (let i = 0; i < 3; i++) await rpc.compareHeads()
    const well = { state: 'closed', lies: 0, errors: 0, lagging: false }
    expect(rpc.endpoints()).toMatchObject([well, well])
  })

  it.each<[string, () => RpcProxy[], number]>([
    ['one among several', () => [honest, liar, other], 1],
    ['two among three', () => [honest, liar, other], 2],
    ['two among three, before the honest one', () => [liar, other, honest], 2],
  ])('%s', async (_, order, liars) => {
    const lying = [liar, other].slice(0, liars)
    for (const proxy of lying) proxy.fault = aForgedHeader
    const { source } = sourceOf(chain, walkOnly, { urls: urlsOf(order()) }, fast)
    const live = followLive(source)
    for (let looks = 1; looks <= 3; looks++) {
      await live.until(() => lying.every((proxy) => asked(proxy, 'eth_blockNumber') > looks))
      await chain.submitBlock(1)
      await live.caughtUp(chain)
    }
    await live.until(() => !statusOf(source, honest).lagging)
    expect(statusOf(source, honest)).toMatchObject({ state: 'closed', lies: 0, errors: 0 })
    await live.stop()
    expect(live.replay.events()).toEqual(await truth(chain))
  })
})

describe('an honest endpoint that lags', () => {
  it.each<[string, () => RpcProxy[]]>([
    ['one other', () => [honest, other]],
    ['two others', () => [honest, other, liar]],
  ])('is left for %s', async (_, order) => {
    const { source } = sourceOf(chain, walkOnly, { urls: urlsOf(order()) }, fast)
    const live = followLive(source)
    await live.caughtUp(chain)
    honest.fault = await stuckAt(await chain.height())
    await chain.emptyBlocks(10)
    await live.caughtUp(chain)
    expect(statusOf(source, honest)).toMatchObject({ state: 'closed', lagging: true, lies: 0 })
    expect(statusOf(source, other)).toMatchObject({ state: 'closed', lies: 0 })
    await chain.submitBlock(1)
    await live.caughtUp(chain)
    await live.stop()
    expect(live.replay.of('rollback')).toEqual([])
    expect(live.replay.events()).toEqual(await truth(chain))
  })

  it('is left for the one that has the blocks, also beside one that invents a height', async () => {
    liar.fault = aForgedHeader
    const { source } = sourceOf(chain, walkOnly, { urls: urlsOf([honest, liar, other]) }, fast)
    const live = followLive(source)
    await live.caughtUp(chain)
    honest.fault = await stuckAt(await chain.height())
    await chain.emptyBlocks(10)
    await live.caughtUp(chain)
    await live.stop()
    expect(statusOf(source, other)).toMatchObject({ state: 'closed', lagging: false, lies: 0 })
  })

  it('is judged by answers alone: who is too busy to show its block says nothing', async () => {
    honest.fault = await stuckAt(await chain.height())
    await chain.emptyBlocks(10)
    let busy = true
    let time = 0
    other.fault = (request) => (busy && isLatest(request) ? { status: 429 } : undefined)
    const clock = { ...systemClock, now: () => time }
    const rpc = createRpc({ urls: urlsOf([honest, other]), chainId: 31337 }, { clock })
    const compare = async (times: number) => {
      for (let i = 0; i < times; i++) {
        // A failure is over.
        time += 5_000
        await rpc.compareHeads()
      }
      return rpc.endpoints()[0]?.lagging
    }
    expect(await compare(2)).toBe(false)
    expect(rpc.endpoints()).toMatchObject([{ lies: 0 }, { lies: 0, state: 'closed' }])
    busy = false
    expect(await compare(1)).toBe(false)
    busy = true
    expect(await compare(1)).toBe(false)
    busy = false
    expect(await compare(1)).toBe(true)
    busy = true
    expect(await compare(1)).toBe(true)
  })

  it('is pardoned as soon as the one ahead of it has lied', async () => {
    liar.fault = aForgedHeader
    const rpc = createRpc({ urls: urlsOf([honest, liar]), chainId: 31337 })
    await rpc.compareHeads()
    await rpc.compareHeads()
    expect(rpc.endpoints()).toMatchObject([{ lagging: true }, { state: 'closed', lies: 0 }])
    rpc.all()[1]?.blame(inconsistent('it has none of the blocks before'))
    expect(rpc.endpoints()).toMatchObject([
      { lagging: false, why: null },
      { state: 'open', lies: 1 },
    ])
    expect(rpc.endpoint()).toBe(new URL(honest.url).host)
  })
})

describe('finality', () => {
  const isFinalized = ({ method, params }: RpcRequest) =>
    method === 'eth_getBlockByNumber' && params[0] === 'finalized'
  const final = async () => {
    const block = await chain.rpc('eth_getBlockByNumber', ['finalized', false])
    return Number((block as { number: Hex }).number)
  }

  beforeAll(() => chain.emptyBlocks(80))

  it.each<[string, () => RpcProxy[]]>([
    ['before', () => [liar, honest]],
    ['before two', () => [liar, honest, other]],
    ['after', () => [honest, liar]],
  ])('that one endpoint alone gives out, %s an honest one, makes nothing final', async (_, order) => {
    let latest: unknown
    liar.fault = (request) => (isFinalized(request) ? { result: latest } : undefined)
    latest = await chain.rpc('eth_getBlockByNumber', ['latest', false])
    const { source } = sourceOf(chain, {}, { urls: urlsOf(order()) })
    const live = followLive(source)
    await live.caughtUp(chain)
    let snapshot: Hex = '0x'
    for (let i = 0; i < 3; i++) {
      snapshot = await chain.snapshot()
      await chain.submitBlock(1)
      latest = await chain.rpc('eth_getBlockByNumber', ['latest', false])
      await live.caughtUp(chain)
    }
    const reached = await final()
    await live.until(() => live.replay.final?.number === reached)
    // What was not final yet may still go away.
    await chain.revertTo(snapshot)
    await chain.submitBlock(2)
    latest = await chain.rpc('eth_getBlockByNumber', ['latest', false])
    await chain.emptyBlocks(5)
    await live.caughtUp(chain)
    await live.stop()
    expect(live.replay.of('rollback').length).toBeGreaterThan(0)
    expect(live.replay.events()).toEqual(await truth(chain))
  })

  it('is not held up by one of three, nor by one that does not answer', async () => {
    const genesis = await chain.rpc('eth_getBlockByNumber', ['0x0', false])
    liar.fault = (request) => (isFinalized(request) ? { result: genesis } : undefined)
    const reachesFinal = async (order: RpcProxy[]) => {
      const { source } = sourceOf(chain, {}, { urls: urlsOf(order), timeoutMs: 400 })
      const live = followLive(source)
      await live.caughtUp(chain)
      await chain.submitBlock(1)
      await live.caughtUp(chain)
      const reached = await final()
      await live.until(() => live.replay.final?.number === reached)
      await live.stop()
    }
    await reachesFinal([honest, liar, other])
    liar.fault = (request) => (isFinalized(request) ? { hang: true } : undefined)
    await reachesFinal([honest, liar])
  })

  it('far beyond the chain is not held against those that do not have it', async () => {
    liar.fault = (request, answer) =>
      isLatest(request) || isFinalized(request)
        ? { result: forgedHeader(answer.result as Record<string, unknown>, { number: FAR }) }
        : undefined
    for (const settings of [{}, { finality: { confirmations: 3 } }]) {
      // Its budget is small, so that history is read from the others too.
      const urls = [`${liar.url}#per-second=20`, honest.url, other.url]
      const { source } = sourceOf(chain, settings, { urls })
      const live = followLive(source)
      await live.caughtUp(chain)
      await live.stop()
      expect(live.replay.events()).toEqual(await truth(chain))
      expect(statusOf(source, liar).lies).toBeGreaterThan(0)
      for (const proxy of [honest, other])
        expect(statusOf(source, proxy)).toMatchObject({ lies: 0, errors: 0 })
    }
  })

  /** Has `proxy` give out the chain's blocks above `above` under other hashes, which it gives. */
  const forge = async (proxy: RpcProxy, above: number): Promise<Set<unknown>> => {
    const forged = new Map<number, Record<string, unknown>>()
    let parent: Record<string, unknown> | undefined
    for (let number = above + 1; number <= (await chain.height()); number++) {
      const block = (await chain.rpc('eth_getBlockByNumber', [hex(number), false])) as Record<string, unknown>
      parent = forgedHeader(block, { extraData: '0x11', ...(parent && { parentHash: parent['hash'] }) })
      forged.set(number, parent)
    }
    proxy.fault = ({ method, params }, { result }) => {
      if (method === 'eth_getBlockByHash' && !result)
        return { result: [...forged.values()].find(({ hash }) => hash === params[0]) ?? null }
      if (method === 'eth_getLogs' && !result) return { result: [] }
      const found =
        method === 'eth_getBlockByNumber' && result && forged.get(Number((result as { number: Hex }).number))
      return found ? { result: found } : undefined
    }
    return new Set([...forged.values()].map(({ hash }) => hash))
  }

  it.each<[string, number, () => RpcProxy[]]>([
    ['block by block, before the honest one', 20, () => [liar, honest]],
    ['block by block, after the honest one', 20, () => [honest, liar]],
    ['by ranges, before the honest one', 120, () => [liar, honest]],
    ['by ranges, after the honest one', 120, () => [honest, liar]],
  ])('is not given to another branch of the same height, %s', async (_, blocks, order) => {
    const before = followLive(sourceOf(chain).source)
    await before.until(async () => before.replay.final?.number === (await final()))
    await before.stop()
    const above = before.replay.final?.number ?? 0
    await chain.emptyBlocks(blocks)
    const forged = await forge(liar, above)
    const { source } = sourceOf(chain, {}, { urls: urlsOf(order()) })
    const live = followLive(source, before.replay)
    // The first was left for the other one, alone meanwhile, and was used again.
    await live.until(() => statusOf(source, order()[0] as RpcProxy).lies > 1)
    expect(live.replay.of('final').filter(({ upTo }) => forged.has(upTo.hash))).toEqual([])
    liar.fault = () => undefined
    await live.until(async () => live.replay.final?.number === (await final()))
    await live.caughtUp(chain)
    await live.stop()
    expect(live.replay.events()).toEqual(await truth(chain))
  })

  it('is what two of three agree on', async () => {
    const above = await final()
    await chain.emptyBlocks(20)
    const forged = await forge(liar, above)
    const { source } = sourceOf(chain, {}, { urls: urlsOf([honest, liar, other]) })
    const live = followLive(source)
    await live.until(async () => live.replay.final?.number === (await final()))
    await live.stop()
    expect(forged.has(live.replay.final?.hash)).toBe(false)
    for (const proxy of [honest, other]) expect(statusOf(source, proxy)).toMatchObject({ lies: 0 })
  })

  it('is what two of three agree on, however far above them the third one says that it is', async () => {
    const tip = await chain.rpc('eth_getBlockByNumber', ['latest', false])
    const height = await chain.height()
    const invented: Record<string, unknown>[] = [tip as Record<string, unknown>]
    while (invented.length <= 1_100) {
      const { hash, timestamp } = invented.at(-1) as Record<string, unknown>
      invented.push(
        forgedHeader(tip as Record<string, unknown>, {
          number: hex(height + invented.length),
          timestamp: hex(Number(timestamp) + 1),
          parentHash: hash,
          logsBloom: `0x${'00'.repeat(256)}`,
        }),
      )
    }
    const inventions = new Set(invented.slice(1).map(({ hash }) => hash))
    liar.fault = (request) => {
      const { method, params } = request
      if (method === 'eth_blockNumber') return { result: invented.at(-1)?.['number'] }
      if (method === 'eth_getLogs' && Number((params[0] as { toBlock?: Hex }).toBlock) > height)
        return { result: [] }
      if (isLatest(request) || isFinalized(request)) return { result: invented.at(-1) }
      const at = method === 'eth_getBlockByNumber' ? Number(params[0]) - height : 0
      if (at > 0) return { result: invented[at] ?? null }
      const named = method === 'eth_getBlockByHash' && invented.find(({ hash }) => hash === params[0])
      return named ? { result: named } : undefined
    }
    const { source } = sourceOf(chain, {}, { urls: urlsOf([liar, honest, other]) }, fast)
    const live = followLive(source)
    await live.until(async () => live.replay.final?.number === (await final()))
    await chain.submitBlock(1)
    await live.caughtUp(chain)
    await live.until(async () => live.replay.final?.number === (await final()))
    await live.stop()
    expect(live.replay.of('final').filter(({ upTo }) => inventions.has(upTo.hash))).toEqual([])
    expect(live.replay.events()).toEqual(await truth(chain))
  })

  it('is not broken while another endpoint does not answer', async () => {
    const { source } = sourceOf(chain, {}, { urls: urlsOf([liar, honest]) })
    const live = followLive(source)
    await live.caughtUp(chain)
    await live.until(async () => live.replay.final?.number === (await final()))
    liar.fault = ({ method }, { result }) =>
      method === 'eth_getBlockByNumber' && result
        ? { result: forgedHeader(result as Record<string, unknown>, { extraData: '0x11' }) }
        : undefined
    honest.fault = () => ({ status: 503 })
    await live.until(() => /no other endpoint confirms/.test(source.status().lastError?.message ?? ''))
    honest.fault = liar.fault = () => undefined
    await live.caughtUp(chain)
    await live.stop()
    expect(live.replay.of('rollback')).toEqual([])
    expect(live.replay.events()).toEqual(await truth(chain))
  })

  it('of one that has none yet says nothing', async () => {
    liar.fault = (request) => (isFinalized(request) ? { result: null } : undefined)
    const { source } = sourceOf(chain, {}, { urls: urlsOf([honest, liar]) })
    const live = followLive(source)
    await live.until(async () => live.replay.final?.number === (await final()))
    await chain.emptyBlocks(5)
    await live.until(async () => live.replay.final?.number === (await final()))
    await live.stop()
  })

  it('is not broken by the word of one against another', async () => {
    const { source } = sourceOf(chain, {}, { urls: urlsOf([liar, honest]) })
    const live = followLive(source)
    await live.caughtUp(chain)
    await live.until(() => live.replay.final !== null)
    // A branch of its own, from far below what is final.
    liar.fault = ({ method }, { result }) =>
      method === 'eth_getBlockByNumber' && result
        ? { result: forgedHeader(result as Record<string, unknown>, { extraData: '0x11' }) }
        : undefined
    await live.until(() => statusOf(source, liar).lies > 0)
    await chain.submitBlock(1)
    await live.caughtUp(chain)
    await live.stop()
    expect(statusOf(source, honest)).toMatchObject({ state: 'closed', lies: 0 })
    expect(live.replay.of('rollback')).toEqual([])
    expect(live.replay.events()).toEqual(await truth(chain))
  })
})
