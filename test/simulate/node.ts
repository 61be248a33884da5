import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import {
  decodeFunctionData,
  encodeErrorResult,
  encodeFunctionResult,
  keccak256,
  parseTransaction,
} from 'viem'
import { receiptAnchorAbi } from '../../src/chain/abi.ts'
import type { RawLog } from '../../src/chain/decode.ts'
import type { Hex } from '../../src/core/bytes.ts'
import { logsOf, type SimBlock, SimChain } from './chain.ts'
import { ANCHOR, anchorObstacle, CHAIN_ID, named, type Tx } from './contracts.ts'
import type { FaultKind, Faults } from './faults.ts'

/** Longest body that the engine is told to accept; an answer that is too long is longer. */
export const MAX_BODY_BYTES = 512 * 1024
/** Milliseconds after which the engine gives a request up. */
export const RPC_TIMEOUT_MS = 1_000

interface Call {
  id: number
  method: string
  params: readonly unknown[]
}
interface Answer {
  result?: unknown
  error?: { code: number; message: string; data?: Hex }
}
/** What replaces a whole HTTP answer. */
type Whole = { status: number; headers?: Record<string, string>; body?: string } | 'hang'

const quantity = (value: number): Hex => `0x${value.toString(16)}`
const numberOf = (value: unknown): number => Number.parseInt(String(value), 16)

/** What endpoints say to a range that is too long for them. */
const REFUSALS = [
  'query returned more than 10000 results',
  'block range is too wide',
  'query timeout exceeded',
] as const

/** Transactions that wait, as all endpoints see them: one for each nonce. */
export class Mempool {
  readonly waiting = new Map<number, Tx & { fee: bigint }>()

  /** Takes out the anchors that the chain can execute next. */
  take(state: { anchorNonce: number }): Tx[] {
    const out: Tx[] = []
    for (let nonce = state.anchorNonce; this.waiting.has(nonce); nonce++) {
      out.push(this.waiting.get(nonce) as Tx)
      this.waiting.delete(nonce)
    }
    return out
  }
}

/** JSON-RPC endpoints over one chain, each with a view of its own, that misbehave as they are told. */
export class SimNodes {
  readonly #chain: SimChain
  readonly #faults: Faults
  readonly mempool = new Mempool()
  /** A stale endpoint's head, and for how many calls it stays so. */
  readonly #views = new Map<number, { head: SimBlock; final: SimBlock; calls: number }>()
  readonly #servers: Server[] = []
  readonly #hanging = new Set<ServerResponse>()
  /** Whether blocks that fell off the chain are still found by hash. */
  readonly #keepsOrphans: boolean
  /** Moves the chain on, past its newest block; null where that is final. */
  readonly #moveOn: () => (() => void) | null
  urls: string[] = []
  /** Calls by method, to look at. */
  readonly calls = new Map<string, number>()

  constructor(chain: SimChain, faults: Faults, keepsOrphans: boolean, moveOn: () => (() => void) | null) {
    this.#chain = chain
    this.#faults = faults
    this.#keepsOrphans = keepsOrphans
    this.#moveOn = moveOn
  }

  async start(endpoints: number): Promise<void> {
    for (let i = 0; i < endpoints; i++) {
      const server = createServer((request, response) => {
        const chunks: Buffer[] = []
        request.on('data', (chunk: Buffer) => chunks.push(chunk))
        request.on('end', () => this.#serve(i, Buffer.concat(chunks).toString(), response))
        request.on('error', () => {})
      })
      server.keepAliveTimeout = 60_000
      await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
      this.#servers.push(server)
      this.urls.push(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    }
  }

  stop(): void {
    for (const response of this.#hanging) response.destroy()
    for (const server of this.#servers) {
      server.close()
      server.closeAllConnections()
    }
  }

  #serve(endpoint: number, body: string, response: ServerResponse): void {
    const parsed = JSON.parse(body) as Call | Call[]
    const calls = Array.isArray(parsed) ? parsed : [parsed]
    const whole = this.#wholeFault()
    if (whole === 'hang') return void this.#hanging.add(response)
    if (whole) {
      response.writeHead(whole.status, whole.headers)
      response.end(whole.body ?? 'no')
      return
    }
    let padding = 0
    const answers = calls.map((call) => {
      this.calls.set(call.method, (this.calls.get(call.method) ?? 0) + 1)
      const answer = this.#answer(endpoint, call)
      if (isRange(call) && this.#faults.strikes('rpc answer too long')) padding = MAX_BODY_BYTES
      return { jsonrpc: '2.0', id: call.id, ...answer }
    })
    const text = JSON.stringify(Array.isArray(parsed) ? answers : answers[0]) + ' '.repeat(padding)
    const send = () => {
      response.writeHead(200, { 'content-type': 'application/json' })
      response.end(text)
    }
    if (this.#faults.strikes('rpc slow')) setTimeout(send, 40)
    else send()
  }

  #wholeFault(): Whole | null {
    const strikes = (kind: FaultKind) => this.#faults.strikes(kind)
    if (strikes('rpc 429 with Retry-After')) return { status: 429, headers: { 'retry-after': '1' } }
    if (strikes('rpc 500')) return { status: 500 }
    if (strikes('rpc no JSON'))
      return { status: 200, headers: { 'content-type': 'text/html' }, body: '<html>busy</html>' }
    if (strikes('rpc hang')) return 'hang'
    return null
  }

  #answer(endpoint: number, call: Call): Answer {
    const strikes = (kind: FaultKind) => this.#faults.strikes(kind)
    if (strikes('rpc budget error'))
      return { error: { code: -32005, message: 'daily request count exceeded, request rate limited' } }
    if (strikes('rpc internal error')) return { error: { code: -32603, message: 'internal error' } }
    if (isRange(call) && strikes('rpc range refused')) {
      const nth = this.#faults.coverage.of('rpc range refused')
      return { error: { code: -32005, message: REFUSALS[nth % REFUSALS.length] as string } }
    }
    if (strikes('rpc stale node')) this.#fallBehind(endpoint)
    if (asksFinality(call)) {
      const move = this.#moveOn()
      if (move && strikes('reorg between head and finality')) move()
    }
    const view = this.#view(endpoint)
    const answer = this.#truth(call, view.head, view.final)
    return this.#distort(call, answer)
  }

  /** The endpoint goes on seeing an older chain: a few blocks back, or a branch that is gone. */
  #fallBehind(endpoint: number): void {
    const { history, finalized, head } = this.#chain
    const at = Math.max(0, history.length - 1 - (1 + (this.#faults.coverage.of('rpc stale node') % 5)))
    const old = history[at] as SimBlock
    const common = SimChain.at(old, Math.min(finalized.number, old.number)) as SimBlock
    // What is final here is an older part of the same chain.
    const final = SimChain.at(head, common.number)?.hash === common.hash ? common : finalized
    this.#views.set(endpoint, { head: old, final, calls: 6 })
  }

  #view(endpoint: number): { head: SimBlock; final: SimBlock } {
    const view = this.#views.get(endpoint)
    if (view && !this.#faults.over && view.calls-- > 0) return view
    this.#views.delete(endpoint)
    return { head: this.#chain.head, final: this.#chain.finalized }
  }

  #distort(call: Call, answer: Answer): Answer {
    const { result } = answer
    const strikes = (kind: FaultKind) => this.#faults.strikes(kind)
    if (call.method === 'eth_getBlockByNumber' && result && strikes('rpc null block')) return { result: null }
    if (call.method === 'eth_getBlockByNumber' && result && strikes('rpc wrong header'))
      return { result: { ...(result as object), parentHash: named('a lie') } }
    if (call.method === 'eth_getBlockReceipts' && Array.isArray(result) && strikes('rpc wrong receipts'))
      return { result: result.map((receipt) => ({ ...receipt, logs: [] })) }
    if (call.method !== 'eth_getLogs' || !Array.isArray(result) || result.length === 0) return answer
    const logs = result as RawLog[]
    if (isRange(call)) {
      if (strikes('rpc empty range')) return { result: [] }
      if (logs.length > 1 && strikes('rpc short range'))
        return { result: logs.slice(0, Math.ceil(logs.length / 2)) }
    } else if (strikes('rpc empty logs')) return { result: [] }
    if (strikes('rpc log of another block'))
      return { result: logs.map((log, i) => (i === 0 ? { ...log, blockHash: named('another block') } : log)) }
    if (strikes('rpc log twice')) return { result: [...logs, logs[0]] }
    return answer
  }

  #truth(call: Call, head: SimBlock, final: SimBlock): Answer {
    const { method, params } = call
    const byHash = (hash: Hex): SimBlock | undefined => {
      const block = this.#chain.blocks.get(hash)
      if (!block || block.born > head.born) return undefined
      return this.#keepsOrphans || SimChain.at(head, block.number) === block ? block : undefined
    }
    const byId = (id: unknown): SimBlock | undefined => {
      if (id === 'latest' || id === 'pending') return head
      if (id === 'finalized' || id === 'safe') return final
      return SimChain.at(head, numberOf(id))
    }
    switch (method) {
      case 'eth_chainId':
        return { result: quantity(CHAIN_ID) }
      case 'eth_blockNumber':
        return { result: quantity(head.number) }
      case 'eth_getBlockByNumber':
        return { result: blockOf(byId(params[0])) }
      case 'eth_getBlockByHash':
        return { result: blockOf(byHash(params[0] as Hex)) }
      case 'eth_getLogs':
        return this.#logs(params[0] as LogQuery, head, byHash)
      case 'eth_getBlockReceipts': {
        const [id] = params
        const block = typeof id === 'string' && id.length === 66 ? byHash(id as Hex) : byId(id)
        if (!block) return { result: null }
        return {
          result: block.txs.map((tx, i) => ({
            transactionHash: tx.hash,
            blockHash: block.hash,
            blockNumber: block.header.number,
            transactionIndex: quantity(i),
            logs: block.logs[i],
          })),
        }
      }
      case 'eth_call': {
        const [{ data }, id] = params as [{ data: Hex }, unknown]
        const state = (byId(id ?? 'latest') ?? head).state
        const { anchor } = state
        const values: Record<string, readonly unknown[]> = {
          head: [
            anchor.root,
            BigInt(anchor.size),
            BigInt(anchor.seq),
            BigInt(anchor.block),
            BigInt(anchor.time),
            anchor.chain,
          ],
          closure: [false, `0x${'00'.repeat(20)}`, 0n, `0x${'00'.repeat(32)}`],
        }
        const { functionName } = decodeFunctionData({ abi: receiptAnchorAbi, data })
        const value = values[functionName]
        if (!value) return { error: { code: -32601, message: `no such call here: ${functionName}` } }
        const result = encodeFunctionResult({ abi: receiptAnchorAbi, functionName, result: value } as never)
        return { result }
      }
      case 'eth_getTransactionCount':
        return { result: quantity((byId(params[1]) ?? head).state.anchorNonce) }
      case 'eth_maxPriorityFeePerGas':
        return { result: quantity(1) }
      case 'eth_gasPrice':
        return { result: quantity(10) }
      case 'eth_getTransactionByHash':
        return { result: this.#transaction(params[0] as Hex, head) }
      case 'eth_estimateGas': {
        const [{ data, to }] = params as [{ data: Hex; to: Hex }]
        if (to !== ANCHOR) return { error: { code: -32000, message: 'execution reverted' } }
        const obstacle = anchorObstacle(head.state, anchorCall(data))
        if (obstacle === null) return { result: quantity(80_000) }
        const args = { SizeShrinks: [0n, 0n], RootConflict: [0n], SizeAboveSettled: [0n, 0n] }[obstacle]
        const revert = encodeErrorResult({
          abi: receiptAnchorAbi,
          errorName: obstacle,
          ...(args && { args }),
        } as never)
        return { error: { code: 3, message: 'execution reverted', data: revert } }
      }
      case 'eth_sendRawTransaction': {
        const raw = params[0] as Hex
        const { data = '0x', nonce = 0, maxFeePerGas = 0n } = parseTransaction(raw as `0x02${string}`)
        const known = this.mempool.waiting.get(nonce)
        const hash = keccak256(raw)
        if (nonce < head.state.anchorNonce) return { error: { code: -32000, message: 'nonce too low' } }
        if (known && known.hash !== hash && maxFeePerGas <= known.fee)
          return { error: { code: -32000, message: 'replacement transaction underpriced' } }
        this.mempool.waiting.set(nonce, {
          hash,
          fee: maxFeePerGas,
          action: { kind: 'anchor', nonce, ...anchorCall(data) },
        })
        return { result: hash }
      }
      default:
        return { error: { code: -32601, message: `the method ${method} does not exist` } }
    }
  }

  #logs(query: LogQuery, head: SimBlock, byHash: (hash: Hex) => SimBlock | undefined): Answer {
    const wanted = new Set(Array.isArray(query.address) ? query.address : [query.address])
    const ours = (block: SimBlock) => logsOf(block).filter((log) => wanted.has(log.address))
    if (query.blockHash !== undefined) {
      const block = byHash(query.blockHash)
      return block ? { result: ours(block) } : { error: { code: -32000, message: 'unknown block' } }
    }
    const [from, to] = [numberOf(query.fromBlock), numberOf(query.toBlock)]
    const last = SimChain.at(head, Math.min(to, head.number))
    const out: RawLog[] = []
    for (let block = last ?? null; block && block.number >= from; block = block.parent)
      out.unshift(...ours(block))
    return { result: out }
  }

  #transaction(hash: Hex, head: SimBlock): unknown {
    const waiting = [...this.mempool.waiting.values()].find((tx) => tx.hash === hash)
    const shape = {
      hash,
      from: `0x${'00'.repeat(20)}`,
      to: ANCHOR,
      input: '0x',
      nonce: '0x0',
      value: '0x0',
      gas: '0x5208',
      gasPrice: '0x1',
      type: '0x0',
      transactionIndex: null,
    }
    if (waiting) return { ...shape, blockHash: null, blockNumber: null }
    for (let block: SimBlock | null = head; block; block = block.parent) {
      const i = block.txs.findIndex((tx) => tx.hash === hash)
      if (i >= 0)
        return {
          ...shape,
          blockHash: block.hash,
          blockNumber: block.header.number,
          transactionIndex: quantity(i),
        }
    }
    return null
  }
}

interface LogQuery {
  address: Hex | readonly Hex[]
  blockHash?: Hex
  fromBlock?: Hex
  toBlock?: Hex
}

const isRange = ({ method, params }: Call): boolean =>
  method === 'eth_getLogs' && (params[0] as LogQuery).blockHash === undefined

const asksFinality = ({ method, params }: Call): boolean =>
  method === 'eth_getBlockByNumber' && params[0] === 'finalized'

const blockOf = (block: SimBlock | undefined): unknown =>
  block ? { ...block.header, transactions: block.txs.map((tx) => tx.hash), uncles: [] } : null

function anchorCall(data: Hex): { size: number; root: Hex; proof: readonly Hex[] } {
  const { args } = decodeFunctionData({ abi: receiptAnchorAbi, data })
  const [size, root, proof] = args as unknown as [bigint, Hex, readonly Hex[]]
  return { size: Number(size), root, proof }
}
