import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { getProof } from '../../../src/chain/blocks.ts'
import { createRpc, type RpcPool } from '../../../src/chain/rpc.ts'
import { ChainError } from '../../../src/chain/source.ts'
import type { Hex } from '../../../src/core/bytes.ts'
import { type Fault, type RpcProxy, startRpcProxy } from '../../support/rpc-proxy.ts'
import { startTraffic, type TrafficChain } from '../../support/traffic.ts'

/** What endpoints say of a state that they do not have, as their clients word it. */
const SAID: [client: string, code: number, message: string][] = [
  ['geth by hashes', -32000, `missing trie node ${'ab'.repeat(32)} (path )`],
  [
    'geth and bor',
    -32000,
    `missing trie node ${'ab'.repeat(32)} (path ) state 0x${'ab'.repeat(32)} is not available, not found`,
  ],
  ['geth by paths', -32000, `historical state ${'ab'.repeat(32)} is not available`],
  ['geth by paths, indexing', -32000, "state histories haven't been fully indexed yet"],
  ['reth', -32603, 'state at block #4201 is pruned'],
  ['reth, of proofs', -32602, 'distance to target block exceeds maximum proof window'],
  ['Nethermind', -32002, `No state available for block 4201 (0xabcdef...abcdef)`],
  ['Besu', -32000, 'World state unavailable'],
  ['Erigon', -32000, 'old data not available due to pruning'],
  [
    'Erigon, of proofs',
    -32000,
    'requested block is too old, block must be within 1000 blocks of the head block number (currently 9000)',
  ],
  ['anvil', -32602, 'BlockOutOfRangeError: block height is 9 but requested was 3'],
  ['a provider', -32002, 'project ID does not have access to archive state'],
]

let chain: TrafficChain
let pruned: RpcProxy
let archive: RpcProxy
let block: Hex

beforeAll(async () => {
  chain = await startTraffic()
  block = (await chain.rpc('eth_blockNumber')) as Hex
})
afterAll(() => chain.stop())
beforeEach(async () => {
  pruned = await startRpcProxy(chain.anvil.url)
  archive = await startRpcProxy(chain.anvil.url)
})
afterEach(async () => {
  await pruned.stop()
  await archive.stop()
})

const STATE = new Set(['eth_getProof', 'eth_call', 'eth_getCode'])
const lacks =
  (code: number, message: string): RpcProxy['fault'] =>
  ({ method }): Fault | undefined =>
    STATE.has(method) ? { error: { code, message } } : undefined
const poolOf = (...list: RpcProxy[]): RpcPool =>
  createRpc({ urls: list.map(({ url }) => url), chainId: 31337, timeoutMs: 2_000 })
const asked = (proxy: RpcProxy, method: string) => proxy.calls.filter((call) => call === method).length
const proofFrom = (rpc: RpcPool) => getProof(rpc, chain.anchor, [], Number(block))
const WELL = { state: 'closed', errors: 0, lies: 0, score: 100, retryMs: 0 }
const caught = (promise: Promise<unknown>) => promise.catch((error: unknown) => error) as Promise<ChainError>

describe('a state that an endpoint does not have', () => {
  it.each(SAID)('is asked of another one: %s', async (_, code, message) => {
    pruned.fault = lacks(code, message)
    const rpc = poolOf(pruned, archive)
    for (let times = 1; times <= 4; times++) {
      expect(await proofFrom(rpc)).toEqual(await proofFrom(poolOf(archive)))
      expect(asked(pruned, 'eth_getProof')).toBe(times)
      // It is the one to ask for everything else.
      expect(rpc.endpoints()).toMatchObject([WELL, WELL])
      expect(rpc.endpoint()).toBe(new URL(pruned.url).host)
    }
  })

  it.each(SAID)('is a final error where nobody has it: %s', async (_, code, message) => {
    pruned.fault = archive.fault = lacks(code, message)
    const rpc = poolOf(pruned, archive)
    for (let times = 1; times <= 4; times++) {
      const error = await caught(proofFrom(rpc))
      expect(error).toMatchObject({ code: 'RPC_REFUSED', retryable: false, details: { code, noState: true } })
      expect(error.hint).toMatch(/newer block.*archive node/)
      expect([asked(pruned, 'eth_getProof'), asked(archive, 'eth_getProof')]).toEqual([times, times])
    }
    expect(rpc.endpoints()).toMatchObject([WELL, WELL])
  })

  const [, code, message] = SAID[0] as (typeof SAID)[number]

  it('is asked of another one with all of a batch', async () => {
    pruned.fault = ({ method, params }) =>
      method === 'eth_getCode' && params[0] === chain.anchor ? { error: { code, message } } : undefined
    const rpc = poolOf(pruned, archive)
    const calls = [chain.registry, chain.anchor].map((address) => ({
      method: 'eth_getCode',
      params: [address, block],
    }))
    expect(await rpc.callMany(calls)).toEqual(await poolOf(archive).callMany(calls))
    expect(rpc.endpoints()).toMatchObject([WELL, WELL])
  })

  it('may be had from one that does not answer now, so that is the error', async () => {
    pruned.fault = lacks(code, message)
    archive.fault = ({ method }) => (method === 'eth_getProof' ? { status: 503 } : undefined)
    const rpc = poolOf(pruned, archive)
    expect(await caught(proofFrom(rpc))).toMatchObject({ code: 'RPC_UNREACHABLE', retryable: true })
    expect(asked(pruned, 'eth_getProof')).toBe(1)
    expect(asked(archive, 'eth_getProof')).toBe(3)
    expect(rpc.endpoints()[0]).toMatchObject(WELL)
  })

  it('is asked of a single endpoint again, within the usual tries', async () => {
    const rpc = poolOf(pruned)
    const fault = lacks(code, message)
    let lacking = 2
    pruned.fault = (request, answer) =>
      STATE.has(request.method) && lacking-- > 0 ? fault(request, answer) : undefined
    expect(await proofFrom(rpc)).toEqual(await proofFrom(poolOf(archive)))
    lacking = 9
    const error = await caught(proofFrom(rpc))
    expect(error).toMatchObject({ retryable: false, details: { noState: true } })
    expect(error.hint).toMatch(/archive node/)
    expect(asked(pruned, 'eth_getProof')).toBe(6)
    expect(rpc.endpoints()).toMatchObject([WELL])
  })

  it('is not had from one that serves another chain', async () => {
    pruned.fault = lacks(code, message)
    archive.fault = ({ method }) => (method === 'eth_chainId' ? { result: '0x1' } : undefined)
    const rpc = poolOf(pruned, archive)
    for (let i = 0; i < 2; i++)
      expect(await caught(proofFrom(rpc))).toMatchObject({ retryable: false, details: { noState: true } })
    expect(asked(archive, 'eth_getProof')).toBe(0)
  })

  it('is never held against the endpoint, whoever asked it', async () => {
    pruned.fault = lacks(code, message)
    const rpc = poolOf(pruned, archive)
    const pin = rpc.pin()
    for (let i = 0; i < 4; i++) {
      const error = await caught(pin.call('eth_call', [{ to: chain.anchor }, block]))
      expect(error).toBeInstanceOf(ChainError)
      expect(error.details).toMatchObject({ noState: true })
      pin.blame(error)
    }
    expect(asked(archive, 'eth_call')).toBe(0)
    expect(rpc.endpoints()[0]).toMatchObject(WELL)
  })

  it.each<[string, string, Fault, boolean]>([
    [
      'a call that reverts',
      'eth_call',
      { error: { code: 3, message: 'execution reverted: archive' } },
      false,
    ],
    [
      'a budget that is used up',
      'eth_call',
      { error: { code: -32005, message: 'archive requests per second exceeded' } },
      true,
    ],
    ['other methods', 'eth_getLogs', { error: { code, message } }, true],
    ['a transaction', 'eth_sendRawTransaction', { error: { code, message } }, false],
  ])('is not what is said of %s', async (_, method, fault, retryable) => {
    pruned.withheld.add(method)
    pruned.fault = (request) => (request.method === method ? fault : undefined)
    const error = await caught(poolOf(pruned).call(method, [], { tries: 1 }))
    expect(error).toMatchObject({ code: 'RPC_REFUSED', retryable })
    expect(error.details['noState']).toBeUndefined()
  })
})
