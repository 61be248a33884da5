import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { EvmSourceSettings, SourceReport } from '../../../src/chain/evm.ts'
import { createRpc, type RpcReport, type RpcSettings } from '../../../src/chain/rpc.ts'
import type { Hex } from '../../../src/core/bytes.ts'
import { systemClock } from '../../../src/core/clock.ts'
import { atHead, follow, followLive, Replay, sourceOf, truth } from '../../support/follow.ts'
import { type Fault, type RpcProxy, type RpcRequest, startRpcProxy } from '../../support/rpc-proxy.ts'
import { startTraffic, type TrafficChain } from '../../support/traffic.ts'

let chain: TrafficChain
let proxy: RpcProxy

beforeAll(async () => {
  chain = await startTraffic()
  for (let i = 0; i < 12; i++) {
    await chain.submitBlock(4)
    await chain.emptyBlocks(5)
  }
})
afterAll(() => chain.stop())
beforeEach(async () => {
  proxy = await startRpcProxy(chain.anvil.url)
  return () => proxy.stop()
})

const walkOnly: Partial<EvmSourceSettings> = { finality: { confirmations: 10_000 } }
const toHead = async (settings: Partial<EvmSourceSettings> = {}, rpc: Partial<RpcSettings> = {}) => {
  const { source, reports } = sourceOf(chain, settings, { urls: [proxy.url], ...rpc })
  const replay = new Replay()
  await follow(source, replay, () => atHead(chain, replay))
  expect(replay.events()).toEqual(await truth(chain))
  return { replay, reports }
}
const kinds = (reports: readonly SourceReport[]) => reports.map(({ kind }) => kind)
const codes = (reports: readonly SourceReport[]) =>
  reports.flatMap((report) => ('error' in report ? [report.error.code] : []))
/** Blocks that a call asks logs of by range, 0 for other calls. */
const rangeOf = (request: RpcRequest): number => {
  const [filter] = request.params as [{ fromBlock?: Hex; toBlock?: Hex }]
  if (request.method !== 'eth_getLogs' || !filter.fromBlock || !filter.toBlock) return 0
  return Number(filter.toBlock) - Number(filter.fromBlock) + 1
}
/** The first `count` calls that `matches` accepts meet `fault`. */
const firstFew = (count: number, matches: (request: RpcRequest) => boolean, fault: Fault) => {
  let left = count
  return (request: RpcRequest): Fault | undefined => (matches(request) && left-- > 0 ? fault : undefined)
}

describe('a range that an endpoint does not like is split', () => {
  it.each<[string, Fault]>([
    ['too many results', { error: { code: -32005, message: 'query returned more than 10000 results' } }],
    ['a limit on blocks', { error: { code: -32600, message: 'eth_getLogs is limited to a 10 block range' } }],
    [
      'an HTTP error with a reason',
      { status: 400, body: '{"error":{"code":-32000,"message":"block range is too wide"}}' },
    ],
    ['HTTP 413', { status: 413 }],
    ['a body over 10 MiB', { pad: 11 * 1024 * 1024 }],
    ['a node’s own time-out', { error: { code: -32000, message: 'query timeout exceeded' } }],
  ])('%s', async (_, fault) => {
    proxy.fault = (request) => (rangeOf(request) > 10 ? fault : undefined)
    const { reports } = await toHead()
    expect(kinds(reports)).toContain('split')
    expect(codes(reports).every((code) => code === 'RPC_RANGE')).toBe(true)
    expect(kinds(reports)).not.toContain('retry')
  })

  it('and its rest comes before what is read ahead', async () => {
    proxy.fault = (request) => (rangeOf(request) > 4 ? { status: 413 } : undefined)
    const ranges = { firstBlocks: 20, mostBlocks: 20, wantedLogs: 1_000 }
    const { reports } = await toHead({ ranges, readAhead: 3 })
    expect(kinds(reports)).toContain('split')
    expect(kinds(reports)).not.toContain('retry')
  })

  it('no answer in time', async () => {
    proxy.fault = (request) => (rangeOf(request) > 30 ? { hang: true } : undefined)
    const { reports } = await toHead({}, { timeoutMs: 300 })
    expect(kinds(reports)).toContain('split')
  })

  it('and one block whose logs are over 10 MiB is still read', async () => {
    const heavy = (await chain.height()) - 60
    proxy.fault = (request) => {
      const [filter] = request.params as [{ fromBlock?: Hex; toBlock?: Hex }]
      const covers =
        rangeOf(request) > 0 && Number(filter.fromBlock) <= heavy && Number(filter.toBlock) >= heavy
      return covers ? { pad: 11 * 1024 * 1024 } : undefined
    }
    await toHead()
  })

  it('but a used-up request budget is waited for', async () => {
    // The words of a range that is too long, for another reason.
    const message = 'exceeded its compute units per second capacity, reduce the size of requests'
    proxy.fault = firstFew(1, (request) => rangeOf(request) > 0, { error: { code: -32005, message } })
    const { reports } = await toHead()
    expect(kinds(reports)).not.toContain('split')
    expect(codes(reports)).toEqual(['RPC_REFUSED'])
  })
})

describe('final history is complete before it is passed on', () => {
  it.each<[string, (logs: readonly unknown[]) => readonly unknown[]]>([
    ['nothing where there are logs', () => []],
    ['the first half of the logs', (logs) => logs.slice(0, Math.floor(logs.length / 2))],
    ['all but the last log', (logs) => logs.slice(0, -1)],
  ])('%s', async (_, cut) => {
    let cuts = 0
    proxy.fault = (request, answer) => {
      const logs = answer.result
      if (rangeOf(request) === 0 || !Array.isArray(logs) || logs.length < 2) return undefined
      cuts++
      return { result: cut(logs) }
    }
    const { reports } = await toHead({ ranges: { firstBlocks: 20, mostBlocks: 20, wantedLogs: 1_000 } })
    expect(cuts).toBeGreaterThan(1)
    expect(kinds(reports)).not.toContain('reorg')
  })
})

describe('failures are retried for ever, and told', () => {
  it.each<[string, Fault, string]>([
    ['HTTP 503', { status: 503 }, 'RPC_UNREACHABLE'],
    ['no JSON', { status: 200, body: '<html>' }, 'RPC_UNREACHABLE'],
    ['an internal error', { error: { code: -32603, message: 'internal error' } }, 'RPC_REFUSED'],
    ['a malformed block', { result: { number: '0x1' } }, 'RPC_INCONSISTENT'],
    ['no block at all', { result: null }, 'RPC_INCONSISTENT'],
  ])('%s', async (_, fault, code) => {
    proxy.fault = firstFew(3, ({ method }) => method === 'eth_getBlockByNumber', fault)
    const { reports } = await toHead()
    expect(new Set(codes(reports))).toEqual(new Set([code]))
    expect(kinds(reports).at(-1)).toBe('recovered')
  })

  it('and status names the last error until the next success', async () => {
    proxy.fault = () => ({ status: 500 })
    const { source } = sourceOf(chain, {}, { urls: [proxy.url] })
    const live = followLive(source)
    await live.until(() => source.status().failures >= 2)
    expect(source.status()).toMatchObject({ lastSuccess: null, lastError: { code: 'RPC_UNREACHABLE' } })
    expect(source.status().lastError?.message).toContain('500')
    proxy.fault = () => undefined
    await live.caughtUp(chain)
    await live.until(() => source.status().lastSuccess !== null)
    expect(source.status()).toMatchObject({ failures: 0, lastError: null })
    await live.stop()
  })

  it('with the wait that the endpoint asked for', async () => {
    proxy.fault = firstFew(1, ({ method }) => method === 'eth_getBlockByNumber', {
      status: 429,
      headers: { 'retry-after': '2' },
    })
    const waits: number[] = []
    const clock = { ...systemClock, sleep: async (ms: number) => void waits.push(ms) }
    const { source } = sourceOf(chain, {}, { urls: [proxy.url] }, clock)
    const replay = new Replay()
    await follow(source, replay, () => atHead(chain, replay))
    expect(waits[0]).toBe(2_000)
  })

  it('at another endpoint where there is one', async () => {
    proxy.fault = (request) => (request.method === 'eth_chainId' ? undefined : { status: 502 })
    const { reports } = await toHead({}, { urls: [proxy.url, chain.anvil.url] })
    expect(codes(reports)).toEqual(['RPC_UNREACHABLE'])
  })

  it('also where the first one answers, but with nonsense', async () => {
    proxy.fault = ({ method }) => (method === 'eth_getBlockByNumber' ? { result: {} } : undefined)
    const { reports } = await toHead({}, { urls: [proxy.url, chain.anvil.url] })
    expect(codes(reports)).toEqual(['RPC_INCONSISTENT'])
  })
})

describe('answers that cannot be true are not believed', () => {
  it('an empty list where the bloom says maybe, once', async () => {
    let emptied = 0
    proxy.fault = (request, answer) => {
      const [filter] = request.params as [{ blockHash?: Hex }]
      const logs = answer.result as unknown[]
      if (request.method !== 'eth_getLogs' || !filter.blockHash || logs.length === 0 || emptied++ > 3)
        return undefined
      return { result: [] }
    }
    await toHead(walkOnly)
    expect(emptied).toBeGreaterThan(3)
    expect(proxy.calls).not.toContain('eth_getBlockReceipts')
  })

  it('an empty list always: the receipts are read instead', async () => {
    proxy.fault = (request) => (request.method === 'eth_getLogs' ? { result: [] } : undefined)
    await toHead(walkOnly)
    expect(proxy.calls).toContain('eth_getBlockReceipts')
  })

  it('an empty list always, of history and of two endpoints: the receipts are read instead', async () => {
    const other = await startRpcProxy(chain.anvil.url)
    try {
      for (const one of [proxy, other])
        one.fault = (request) => (request.method === 'eth_getLogs' ? { result: [] } : undefined)
      await toHead({}, { urls: [proxy.url, other.url] })
      expect([...proxy.calls, ...other.calls]).toContain('eth_getBlockReceipts')
    } finally {
      await other.stop()
    }
  })

  it('the same where an endpoint has no receipts by block', async () => {
    proxy.fault = (request) => {
      if (request.method === 'eth_getLogs') return { result: [] }
      if (request.method === 'eth_getBlockReceipts')
        return { error: { code: -32601, message: 'method not found' } }
      return undefined
    }
    await toHead(walkOnly)
    expect(proxy.calls).toContain('eth_getTransactionReceipt')
  })

  it('empty receipts as well: nothing is given on, and it is told', async () => {
    let lying = true
    proxy.fault = (request, answer) => {
      if (!lying) return undefined
      if (request.method === 'eth_getLogs') return { result: [] }
      if (request.method !== 'eth_getBlockReceipts') return undefined
      return { result: (answer.result as object[]).map((receipt) => ({ ...receipt, logs: [] })) }
    }
    const { source, reports } = sourceOf(chain, walkOnly, { urls: [proxy.url] })
    const live = followLive(source)
    await live.until(() => source.status().failures >= 2)
    expect(live.replay.events()).toEqual([])
    expect(new Set(codes(reports))).toEqual(new Set(['RPC_INCONSISTENT']))
    lying = false
    await live.caughtUp(chain)
    await live.stop()
    expect(live.replay.events()).toEqual(await truth(chain))
  })

  /** Changes the first non-empty list of logs. */
  const changeOnce = (change: (logs: Record<string, unknown>[]) => unknown) => {
    let done = false
    proxy.fault = (request, answer) => {
      const logs = answer.result as Record<string, unknown>[]
      if (done || request.method !== 'eth_getLogs' || logs.length === 0) return undefined
      done = true
      return { result: change(structuredClone(logs)) }
    }
  }
  const patchFirst = (patch: Record<string, unknown>) => (logs: Record<string, unknown>[]) => {
    Object.assign(logs[0] as object, patch)
    return logs
  }
  const other: Hex = `0x${'ab'.repeat(32)}`
  it.each<[string, (logs: Record<string, unknown>[]) => unknown, string]>([
    ['a log of another block', patchFirst({ blockHash: other }), 'RPC_INCONSISTENT'],
    ['a log of another contract', patchFirst({ address: `0x${'ab'.repeat(20)}` }), 'RPC_INCONSISTENT'],
    ['a log outside the range', patchFirst({ blockNumber: '0xffff' }), 'RPC_INCONSISTENT'],
    ['a log marked as removed', patchFirst({ removed: true }), 'RPC_INCONSISTENT'],
    ['a log twice', (logs) => [...logs, logs[0]], 'RPC_INCONSISTENT'],
    ['a log without its data', patchFirst({ data: null }), 'RPC_INCONSISTENT'],
    ['no list', () => ({}), 'RPC_INCONSISTENT'],
    ['an event that does not decode', patchFirst({ data: '0x01' }), 'EVENT_MALFORMED'],
  ])('%s', async (_, change, code) => {
    for (const settings of [{}, walkOnly]) {
      changeOnce(change)
      const { reports } = await toHead(settings)
      expect(codes(reports)).toEqual([code])
    }
  })

  it('a log whose address the bloom rules out', async () => {
    // The bloom of a block without logs, for every block that is asked for, and hashes left unchecked.
    let lies = 4
    proxy.fault = (request, answer) =>
      request.method === 'eth_getBlockByNumber' && answer.result && lies-- > 0
        ? { result: { ...answer.result, logsBloom: `0x${'0'.repeat(512)}` } }
        : undefined
    const { reports } = await toHead({ ...walkOnly, checkHashes: false })
    expect(new Set(codes(reports))).toEqual(new Set(['RPC_INCONSISTENT']))
  })

  it('a header that does not hash to its hash', async () => {
    proxy.fault = (request, answer) =>
      request.method === 'eth_getBlockByNumber' && answer.result && proxy.calls.length < 6
        ? { result: { ...answer.result, timestamp: '0x1' } }
        : undefined
    const { reports } = await toHead(walkOnly)
    expect(new Set(codes(reports))).toEqual(new Set(['HEADER_MISMATCH']))
  })

  it('final blocks that do not connect', async () => {
    let lies = 2
    proxy.fault = (request, answer) =>
      request.method === 'eth_getBlockByNumber' && Number(request.params[0]) === chain.block && lies-- > 0
        ? { result: { ...(answer.result as object), parentHash: other } }
        : undefined
    const { reports } = await toHead({ checkHashes: false })
    expect(codes(reports)).toEqual(['RPC_INCONSISTENT', 'RPC_INCONSISTENT'])
  })

  it('a final block that is not on the branch that was followed', async () => {
    const first = followLive(sourceOf(chain).source)
    await first.caughtUp(chain)
    await first.until(() => first.replay.final !== null)
    await first.stop()
    const before = first.replay.final?.number ?? 0
    let lies = 0
    // The block that is final next, under another hash.
    proxy.fault = (request, answer) =>
      request.params[0] === 'finalized' &&
      Number((answer.result as { number: Hex }).number) > before &&
      lies++ < 2
        ? { result: { ...(answer.result as object), hash: other } }
        : undefined
    const { source, reports } = sourceOf(chain, { checkHashes: false }, { urls: [proxy.url] })
    const next = followLive(source, first.replay)
    await chain.submitBlock(1)
    await next.caughtUp(chain)
    await next.until(() => (next.replay.final?.number ?? 0) > before)
    await next.stop()
    expect(codes(reports)).toEqual(['RPC_INCONSISTENT', 'RPC_INCONSISTENT'])
    expect(next.replay.of('rollback')).toEqual([])
    expect(next.replay.events()).toEqual(await truth(chain))
  })

  it('finality above the tip says nothing of the tip', async () => {
    const first = followLive(sourceOf(chain).source)
    await first.caughtUp(chain)
    await first.until(() => first.replay.final !== null)
    await first.stop()
    const before = first.replay.final
    proxy.fault = (request, answer) =>
      request.params[0] === 'finalized'
        ? { result: { ...(answer.result as object), number: '0xffff' } }
        : undefined
    const { source } = sourceOf(chain, { checkHashes: false }, { urls: [proxy.url] })
    const next = followLive(source, first.replay)
    await chain.submitBlock(1)
    await next.caughtUp(chain)
    const height = await chain.height()
    await next.until(() => source.status().lastSuccess !== null && source.status().tip?.number === height)
    await next.stop()
    expect(next.replay.final).toEqual(before)
  })

  it('an endpoint that lags behind what was final', async () => {
    const { replay } = await toHead()
    const behind = await chain.rpc('eth_getBlockByNumber', ['0x3', false])
    let lagging = true
    proxy.fault = (request) => {
      if (lagging && request.method === 'eth_getBlockByHash') return { result: null }
      if (!lagging || request.method !== 'eth_getBlockByNumber') return undefined
      return { result: Number(request.params[0]) > 3 ? null : behind }
    }
    const { source, reports } = sourceOf(chain, { shorterMs: 0 }, { urls: [proxy.url] })
    const live = followLive(source, replay)
    await live.until(() => source.status().failures >= 2)
    lagging = false
    await live.until(() => source.status().failures === 0)
    await live.stop()
    expect(codes(reports)).toContain('RPC_INCONSISTENT')
    expect(live.replay.of('rollback')).toEqual([])
  })
})

describe('a node that lags for a moment', () => {
  it('is left for another, and nothing is rolled back', async () => {
    const lagging: Fault[] = []
    proxy.fault = ({ method, params }) =>
      method === 'eth_getBlockByNumber' && params[0] === 'latest' ? lagging[0] : undefined
    const { source } = sourceOf(chain, { shorterMs: 50 }, { urls: [proxy.url, chain.anvil.url] })
    const live = followLive(source)
    await live.caughtUp(chain)
    const height = await chain.height()
    lagging.push({
      result: await chain.rpc('eth_getBlockByNumber', [`0x${(height - 1).toString(16)}`, false]),
    })
    await live.until(() => source.status().head?.number === height - 1)
    await live.until(() => source.status().head?.number === height)
    const end = Date.now() + 100
    await live.until(() => (source.status().lastSuccess ?? 0) > end)
    await live.stop()
    expect(live.replay.of('rollback')).toEqual([])
  })
})

describe('another chain', () => {
  it('at the same address ends the walk, and is what identity says', async () => {
    proxy.fault = ({ method }) => (method === 'eth_chainId' ? { result: '0x1' } : undefined)
    const { source } = sourceOf(chain, {}, { urls: [proxy.url] })
    const mismatch = { code: 'CHAIN_MISMATCH', retryable: false, details: { expected: 31337 } }
    await expect(source.identity()).rejects.toMatchObject(mismatch)
    await expect(follow(source, new Replay(), () => false)).rejects.toMatchObject(mismatch)
  })

  it('is looked for again after a failure', async () => {
    const { source } = sourceOf(chain, {}, { urls: [proxy.url] })
    const live = followLive(source)
    await live.caughtUp(chain)
    proxy.fault = firstFew(1, () => true, { status: 500 })
    const before = proxy.calls.length
    await live.until(() => proxy.calls.slice(before).includes('eth_chainId'))
    await live.stop()
  })
})

describe('createRpc', () => {
  it('never names credentials or paths of an address', async () => {
    const reports: RpcReport[] = []
    const { port } = new URL(proxy.url)
    await proxy.stop()
    const urls = [`http://user:secret@127.0.0.1:${port}/v3/key`]
    const rpc = createRpc({ urls, chainId: 31337 }, { report: (report) => reports.push(report) })
    expect(rpc.endpoint()).toBe(`127.0.0.1:${port}`)
    const error = await rpc.call('eth_blockNumber', [], { tries: 1 }).catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'RPC_UNREACHABLE', retryable: true })
    for (const text of [JSON.stringify(error), String(error), JSON.stringify(reports)])
      expect(text).not.toMatch(/secret|key/)
    expect((error as Error).cause).toBeUndefined()
    proxy = await startRpcProxy(chain.anvil.url)
  })

  it('cuts its address out of what the endpoint says', async () => {
    const url = `${proxy.url}/v3/key`
    proxy.fault = () => ({ error: { code: -32000, message: `no such project: ${url}` } })
    const rpc = createRpc({ urls: [url], chainId: 31337 })
    const error = await rpc.call('eth_blockNumber', [], { tries: 1 }).catch((thrown: unknown) => thrown)
    expect(String(error)).toContain('no such project')
    expect(String(error)).not.toContain('key')
  })

  it('tries three times unless told, and not at all what stays refused', async () => {
    const clock = { ...systemClock, sleep: async () => {} }
    const rpc = createRpc({ urls: [proxy.url], chainId: 31337 }, { clock })
    await rpc.call('eth_blockNumber', [])
    proxy.fault = ({ method }) => (method === 'eth_blockNumber' ? { status: 500 } : undefined)
    const count = () => proxy.calls.filter((method) => method === 'eth_blockNumber').length
    const before = count()
    await expect(rpc.call('eth_blockNumber', [])).rejects.toMatchObject({ code: 'RPC_UNREACHABLE' })
    expect(count() - before).toBe(3)
    await expect(rpc.call('eth_noSuchMethod', [])).rejects.toMatchObject({
      code: 'RPC_REFUSED',
      retryable: false,
    })
    expect(proxy.calls.filter((method) => method === 'eth_noSuchMethod')).toHaveLength(1)
  })

  it.each([1, 7, 50])('sends many calls in batches of %i, answers in order', async (batchSize) => {
    const rpc = createRpc({ urls: [chain.anvil.url], chainId: 31337, batchSize })
    const calls = Array.from({ length: 30 }, (_, i) => ({
      method: 'eth_getBlockByNumber',
      params: [`0x${i.toString(16)}`, false],
    }))
    const blocks = (await rpc.callMany(calls)) as { number: Hex }[]
    expect(blocks.map(({ number }) => Number(number))).toEqual(calls.map((_, i) => i))
    expect(await rpc.callMany([])).toEqual([])
  })

  it('ends with the signal’s reason', async () => {
    proxy.fault = () => ({ hang: true })
    const rpc = createRpc({ urls: [proxy.url], chainId: 31337 })
    const stop = new AbortController()
    const pending = rpc.call('eth_blockNumber', [], { signal: stop.signal })
    stop.abort(new Error('enough'))
    await expect(pending).rejects.toThrow('enough')
  })

  it('refuses to be made without an address', () => {
    for (const urls of [[], ['not a url']])
      expect(() => createRpc({ urls, chainId: 1 })).toThrow(
        expect.objectContaining({ code: 'RPC_UNREACHABLE' }),
      )
  })
})
