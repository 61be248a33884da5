import { decodeFunctionData, encodeErrorResult, encodeFunctionResult } from 'viem'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { evmAnchorPort } from '../../src/anchor/evm.ts'
import type { AnchorState } from '../../src/anchor/port.ts'
import { AnchorWriter } from '../../src/anchor/writer.ts'
import { receiptAnchorAbi } from '../../src/chain/abi.ts'
import { devPrivateKey } from '../../src/chain/dev-accounts.ts'
import { createRpc, type RpcPool } from '../../src/chain/rpc.ts'
import { type Hex, toHex } from '../../src/core/bytes.ts'
import { systemClock } from '../../src/core/clock.ts'
import { silentLogger } from '../../src/core/logger.ts'
import { createMetrics } from '../../src/core/metrics.ts'
import { Wake } from '../../src/core/wake.ts'
import { readLatestCheckpoint, readLogHead } from '../../src/graph/log-store.ts'
import { testAnvil } from '../support/anvil.ts'
import { type TestDatabase, testDatabase } from '../support/postgres.ts'
import {
  type Fault,
  type RpcAnswer,
  type RpcProxy,
  type RpcRequest,
  startRpcProxy,
} from '../support/rpc-proxy.ts'
import {
  EAGER,
  type Indexer,
  type Station,
  startIndexer,
  startWorld,
  until,
  type World,
} from '../support/world.ts'

// Anchoring over two endpoints, of which the first is the one that is not to be relied on.

let world: World
let database: TestDatabase
let indexer: Indexer
let first: RpcProxy
let second: RpcProxy

beforeAll(async () => {
  ;[world, database] = await Promise.all([startWorld(1), testDatabase({ max: 8 })])
  indexer = startIndexer(world, database.sql, { anchor: null })
})
afterAll(async () => {
  await indexer?.stop()
  await database?.stop()
  await world?.stop()
})
beforeEach(async () => {
  first = await startRpcProxy(world.rpcUrl)
  second = await startRpcProxy(world.rpcUrl)
})
afterEach(async () => {
  await first.stop()
  await second.stop()
})

const poolOf = (...urls: string[]): RpcPool => createRpc({ urls, chainId: 31337, timeoutMs: 2_000 })
const portOf = (rpc: RpcPool) =>
  evmAnchorPort({ rpc, anchor: world.deployment.anchor, privateKey: devPrivateKey(1), confirmations: null })
const truth = (): Promise<AnchorState> => portOf(poolOf(world.rpcUrl)).state()
const firstOf = (rpc: RpcPool) => rpc.endpoints()[0]

/** Logs one more leaf and answers the log's size, which has a checkpoint then. */
async function grow(): Promise<number> {
  const [station] = world.stations as [Station]
  const size = (await readLogHead(database.sql)).size + 1
  await world.attest(await world.submitReading(station, size))
  await until(
    'a checkpoint of the next leaf',
    async () => {
      if ((await readLatestCheckpoint(database.sql))?.size === size) return true
      await world.mine(1)
      return undefined
    },
    indexer,
  )
  return size
}

/** Answers of one view of the contract, instead of the newest block's. */
const views =
  (values: { head?: readonly unknown[]; closure?: readonly unknown[] }) =>
  ({ method, params }: RpcRequest): Fault | undefined => {
    if (method !== 'eth_call') return undefined
    const { data } = params[0] as { data: Hex }
    const { functionName } = decodeFunctionData({ abi: receiptAnchorAbi, data })
    const result = values[functionName as 'head' | 'closure']
    return (
      result && {
        result: encodeFunctionResult({ abi: receiptAnchorAbi, functionName, result } as never),
      }
    )
  }
const headOf = (size: number, root = toHex(new Uint8Array(32).fill(7))) => [
  root,
  BigInt(size),
  1n,
  1n,
  1n,
  root,
]
const CLOSED = [true, '0x00000000000000000000000000000000000000aa', 1n, toHex(new Uint8Array(32))]
const error = (code: number, message: string, data?: Hex) => ({
  error: { code, message, ...(data && { data }) },
})

/** Everything that is said of the newest block stays as it is now. */
async function frozen(): Promise<(request: RpcRequest, answer: RpcAnswer) => Fault | undefined> {
  const kept = new Map<string, unknown>()
  const key = ({ method, params }: RpcRequest) => JSON.stringify([method, params])
  const proxy = await startRpcProxy(world.rpcUrl)
  proxy.fault = (request, { result }) => void kept.set(key(request), result)
  const rpc = poolOf(proxy.url)
  await portOf(rpc).state()
  await rpc.call('eth_blockNumber', [])
  await rpc.call('eth_getBlockByNumber', ['latest', false])
  await proxy.stop()
  return (request) => (kept.has(key(request)) ? { result: kept.get(key(request)) } : undefined)
}

describe('the log is anchored through the second endpoint when the first', () => {
  test.each<[string, () => RpcProxy['fault'] | Promise<RpcProxy['fault']>]>([
    ['hangs', () => () => ({ hang: true })],
    ['answers with HTTP 500', () => () => ({ status: 500 })],
    [
      'serves another chain',
      () =>
        ({ method }) =>
          method === 'eth_chainId' ? { result: '0x1' } : undefined,
    ],
    ['lags', frozen],
    ['says that the anchored log is longer', () => views({ head: headOf(1_000) })],
    ['says that the anchored log is empty', () => views({ head: headOf(0) })],
    ['says that another log is anchored', () => views({ head: headOf(1) })],
    ['says that the log is closed', () => views({ closure: CLOSED })],
    [
      'answers with what is no state at all',
      () =>
        ({ method }) =>
          method === 'eth_call' ? { result: '0x12' } : undefined,
    ],
    [
      'says that the account has sent more',
      () =>
        ({ method }) =>
          method === 'eth_getTransactionCount' ? { result: '0xff' } : undefined,
    ],
    [
      'says that the call reverts',
      () =>
        ({ method }) =>
          method === 'eth_estimateGas'
            ? error(
                3,
                'execution reverted',
                encodeErrorResult({ abi: receiptAnchorAbi, errorName: 'LogPaused' }),
              )
            : undefined,
    ],
    [
      'says that the call costs next to nothing',
      () =>
        ({ method }) =>
          method === 'eth_estimateGas' ? { result: '0x5208' } : undefined,
    ],
    [
      'takes transactions and loses them',
      () => {
        first.withheld.add('eth_sendRawTransaction')
        return ({ method }) => {
          if (method === 'eth_sendRawTransaction') return { result: `0x${'00'.repeat(32)}` }
          return undefined
        }
      },
    ],
    [
      'refuses transactions',
      () => {
        first.withheld.add('eth_sendRawTransaction')
        return ({ method }) =>
          method === 'eth_sendRawTransaction' ? error(-32000, 'transaction type not supported') : undefined
      },
    ],
  ])('%s', async (_, misbehave) => {
    const rpc = poolOf(first.url, second.url)
    const writer = new AnchorWriter({
      port: portOf(rpc),
      sql: database.sql,
      settings: { everyLeaves: 1, everySeconds: 60, stuckSeconds: 30 },
      clock: systemClock,
      logger: silentLogger,
      metrics: createMetrics(),
      logged: new Wake(),
    })
    const size = await grow()
    const { nonce } = await truth()
    first.fault = await misbehave()
    await until('the anchor', async () => {
      await writer
        .turn(AbortSignal.abort())
        .catch((error) => expect(error).toMatchObject({ retryable: true }))
      return (await truth()).size === size ? true : undefined
    })
    // It took one transaction, and does not take another.
    for (let i = 0; i < 3; i++)
      await writer
        .turn(AbortSignal.abort())
        .catch((error) => expect(error).toMatchObject({ retryable: true }))
    expect((await truth()).nonce).toBe(nonce + 1)
  })
})

describe('an endpoint that', () => {
  test.each<[string, () => RpcProxy['fault']]>([
    ['says that the anchored log is longer', () => views({ head: headOf(1_000) })],
    ['says that the anchored log is empty', () => views({ head: headOf(0) })],
    ['says that the log is closed', () => views({ closure: CLOSED })],
  ])('%s is found out by proof and left', async (_, lie) => {
    first.fault = lie()
    const rpc = poolOf(first.url, second.url)
    expect(await portOf(rpc).state()).toEqual(await truth())
    expect(firstOf(rpc)).toMatchObject({ state: 'open', lies: 1 })
    expect(firstOf(rpc)?.why).toMatch(/says another state of the log than block \d+ has/)
    expect(rpc.endpoints()[1]).toMatchObject({ state: 'closed', lies: 0 })
  })

  test('proves another state than the block has is left too, and the other one proves it', async () => {
    const lie = views({ head: headOf(1_000) })
    first.fault = (request, answer) => {
      if (request.method !== 'eth_getProof') return lie(request)
      const { storageProof } = answer.result as { storageProof: object[] }
      return { result: { ...(answer.result as object), storageProof: storageProof.toReversed() } }
    }
    const rpc = poolOf(first.url, second.url)
    await until('the truth', async () => {
      const state = await portOf(rpc)
        .state()
        .catch(() => null)
      return state?.size === (await truth()).size ? true : undefined
    })
    expect(firstOf(rpc)).toMatchObject({ state: 'open' })
    expect(rpc.endpoints()[1]).toMatchObject({ state: 'closed', lies: 0 })
  })

  test('has another block than the other one is not believed against it', async () => {
    const newest = await world.rpc<Hex>('eth_blockNumber')
    const other = await testAnvil()
    try {
      const elsewhere = createRpc({ urls: [other.url], chainId: 31337 })
      await elsewhere.call('anvil_mine', [newest])
      const made = await elsewhere.call('eth_getBlockByNumber', [newest, false])
      expect(made).toMatchObject({ number: newest })
      const lie = views({ head: headOf(1_000) })
      first.fault = (request) => (request.method === 'eth_getBlockByNumber' ? { result: made } : lie(request))
      await expect(portOf(poolOf(first.url, second.url)).state()).rejects.toMatchObject({
        code: 'ANCHOR_RPC',
        message: expect.stringContaining('different blocks'),
        retryable: true,
      })
    } finally {
      await other.stop()
    }
  })

  test('is far behind cannot pass its old state off as the newest', async () => {
    const old = await frozen()
    await grow()
    await world.mine(6)
    first.fault = (request, answer) => views({ head: headOf(0) })(request) ?? old(request, answer)
    const rpc = poolOf(first.url, second.url)
    await expect(portOf(rpc).state()).rejects.toMatchObject({
      code: 'ANCHOR_RPC',
      message: expect.stringContaining('more than 5 blocks apart'),
    })
    await rpc.compareHeads()
    await rpc.compareHeads()
    expect(await portOf(rpc).state()).toEqual(await truth())
  })
})

test('one of two endpoints does not make a transaction dear', async () => {
  const fair = await portOf(poolOf(world.rpcUrl)).fees()
  first.fault = ({ method }) =>
    method === 'eth_maxPriorityFeePerGas' ? { result: '0xe8d4a51000' } : undefined
  expect(await portOf(poolOf(first.url, second.url)).fees()).toEqual(fair)
  expect((await portOf(poolOf(first.url)).fees()).maxFeePerGas).toBeGreaterThan(fair.maxFeePerGas * 100n)
})

test('an endpoint that says that the log is closed, or longer, does not end an indexer', async () => {
  const fresh = await testDatabase({ max: 8 })
  first.fault = (request) =>
    request.params[1] === 'latest' ? views({ closure: CLOSED, head: headOf(1_000) })(request) : undefined
  const lied = startIndexer(world, fresh.sql, { anchor: EAGER, rpcUrls: [first.url, second.url] })
  try {
    const { size } = await readLogHead(database.sql)
    await until(
      'a checkpoint',
      async () => ((await readLatestCheckpoint(fresh.sql))?.size === size ? true : undefined),
      lied,
    )
  } finally {
    await lied.stop()
    await fresh.stop()
  }
})

test('a log that contradicts the chain is not signed, though an endpoint says that nothing is anchored', async () => {
  expect((await truth()).size).toBeGreaterThan(0)
  first.fault = views({ head: headOf(0) })
  // Without its host the same chain gives another log.
  world.host.files.clear()
  const fresh = await testDatabase({ max: 8 })
  const diverged = startIndexer(world, fresh.sql, {
    anchor: EAGER,
    rpcUrls: [first.url, second.url],
    rangeBlocks: 3,
  })
  try {
    await expect(diverged.running).rejects.toMatchObject({ code: 'LOG_DIVERGED' })
    expect(await fresh.sql`select 1 from checkpoint`).toHaveLength(0)
    expect(await fresh.sql`select 1 from anchor_tx`).toHaveLength(0)
  } finally {
    await fresh.stop()
  }
})
