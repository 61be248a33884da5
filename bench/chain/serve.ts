import { closeSync, openSync, readSync } from 'node:fs'
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type Hex, toHex } from '../../src/core/bytes.ts'
import { bloomOf, GAS_LIMIT, quantity } from './block.ts'
import type { BareLog } from './codec.ts'
import {
  ANCHOR,
  CHAIN_ID,
  emptyBlockJson,
  type GeneratedChain,
  REGISTRY,
  transactionHash,
} from './generate.ts'

/** Logs in one answer, as public endpoints have it. */
const MOST_LOGS = 10_000

interface Call {
  id: number | string | null
  method: string
  params: unknown[]
}
interface Filter {
  address?: Hex | Hex[]
  topics?: (Hex | Hex[] | null)[]
  fromBlock?: string
  toBlock?: string
  blockHash?: Hex
}

class RpcFault extends Error {
  readonly code: number
  constructor(code: number, message: string) {
    super(message)
    this.code = code
  }
}

/** JSON-RPC and payloads of a generated chain over HTTP. Answers are cut out of files, so that serving costs next to nothing. */
export interface ChainServer {
  url: string
  /** The newest block that is shown. */
  head: number
  /** Requests and calls so far, by method. */
  calls: Map<string, number>
  close(): void
}

export async function serveChain(
  makeChain: (url: string) => Promise<GeneratedChain>,
): Promise<ChainServer & { chain: GeneratedChain }> {
  const calls = new Map<string, number>()
  let answer: ((request: { url: string; body: string }, response: ServerResponse) => void) | null = null
  const server: Server = createServer((request, response) => {
    const pieces: Buffer[] = []
    request.on('data', (piece: Buffer) => pieces.push(piece))
    request.on('end', () => {
      if (answer) answer({ url: request.url ?? '/', body: Buffer.concat(pieces).toString('utf8') }, response)
      else response.writeHead(503).end()
    })
  })
  server.keepAliveTimeout = 60_000
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const chain = await makeChain(url)
  const logs = openSync(chain.logs, 'r')
  const blocks = openSync(chain.blocks, 'r')
  const payloads = chain.payloads ? openSync(chain.payloads.file, 'r') : null
  const shown = { head: chain.head }

  const read = (file: number, from: number, to: number): Buffer => {
    const out = Buffer.allocUnsafe(to - from)
    for (let at = 0; at < out.length; ) at += readSync(file, out, at, out.length - at, from + at)
    return out
  }
  /** JSON of the logs of blocks `from` to `to`, without brackets. */
  const logsOf = (from: number, to: number): Buffer => {
    const [start, end] = [chain.logsAt[from]!, chain.logsAt[to + 1]!]
    return end > start ? read(logs, start, end - 1) : Buffer.alloc(0)
  }
  const numberOf = (id: unknown): number | null => {
    const number =
      id === 'latest' || id === 'pending' || id === 'finalized' || id === 'safe'
        ? shown.head
        : id === 'earliest'
          ? 0
          : Number(id)
    return Number.isInteger(number) && number >= 0 && number <= shown.head ? number : null
  }
  const numberOfHash = (hash: unknown): number | null => {
    const bytes = Buffer.from(String(hash).slice(2), 'hex')
    // Asked for near the head only.
    for (let number = shown.head; number >= 0; number--)
      if (bytes.equals(chain.hashes.subarray(32 * number, 32 * number + 32))) return number
    return null
  }
  const hashOf = (number: number) => toHex(chain.hashes.subarray(32 * number, 32 * number + 32))
  const transaction = (number: number, i: number) =>
    `{"hash":"${transactionHash(number, i)}","blockHash":"${hashOf(number)}","blockNumber":"${quantity(number)}","transactionIndex":"${quantity(i)}",` +
    `"from":"0x${'fe'.repeat(20)}","to":"${REGISTRY}","nonce":"0x1","value":"0x0","gas":"${quantity(GAS_LIMIT)}","gasPrice":"0x7","maxFeePerGas":"0x7",` +
    `"maxPriorityFeePerGas":"0x0","input":"0x","type":"0x2","accessList":[],"chainId":"${quantity(CHAIN_ID)}","v":"0x0","r":"0x1","s":"0x1","yParity":"0x0"}`
  const block = (number: number | null, full: boolean): string => {
    if (number === null) return 'null'
    const [from, to] = [chain.blocksAt[number]!, chain.blocksAt[number + 1]!]
    const header = to > from ? read(blocks, from, to).toString('latin1') : emptyBlockJson(chain, number)
    const transactions = Array.from({ length: chain.transactions[number]! }, (_, i) =>
      full ? transaction(number, i) : `"${transactionHash(number, i)}"`,
    )
    return `${header},"transactions":[${transactions.join(',')}]}`
  }
  const parseLogs = (from: number, to: number) =>
    JSON.parse(`[${logsOf(from, to).toString('latin1')}]`) as (BareLog & { transactionIndex: Hex })[]
  const receipts = (number: number): string => {
    const its = parseLogs(number, number)
    const all = Array.from({ length: chain.transactions[number]! }, (_, i) => {
      const logs = its.filter(({ transactionIndex }) => Number(transactionIndex) === i)
      return {
        ...JSON.parse(transaction(number, i)),
        transactionHash: transactionHash(number, i),
        status: '0x1',
        type: '0x2',
        gasUsed: '0xf4240',
        cumulativeGasUsed: quantity(1_000_000 * (i + 1)),
        effectiveGasPrice: '0x7',
        contractAddress: null,
        logsBloom: toHex(bloomOf(logs)),
        logs,
      }
    })
    return JSON.stringify(all)
  }
  const getLogs = (filter: Filter): Buffer => {
    const one = filter.blockHash === undefined ? null : numberOfHash(filter.blockHash)
    if (filter.blockHash !== undefined && one === null) throw new RpcFault(-32000, 'unknown block')
    const from = one ?? numberOf(filter.fromBlock ?? 'latest') ?? shown.head + 1
    const to = Math.min(
      shown.head,
      one ?? (filter.toBlock === undefined ? shown.head : Number(filter.toBlock)),
    )
    if (from > to) return Buffer.from('[]')
    if (chain.logsBefore[to + 1]! - chain.logsBefore[from]! > MOST_LOGS)
      throw new RpcFault(-32005, `query returned more than ${MOST_LOGS} results`)
    const addresses =
      filter.address === undefined ? null : [filter.address].flat().map((a) => a.toLowerCase())
    const every =
      from >= chain.firstSubmissions
        ? (addresses?.includes(REGISTRY) ?? true)
        : addresses === null || (addresses.includes(REGISTRY) && addresses.includes(ANCHOR))
    const [first, ...rest] = filter.topics ?? []
    const kinds = from >= chain.firstSubmissions ? 3 : Number.POSITIVE_INFINITY
    const allKinds = first === undefined || first === null || [first].flat().length >= kinds
    if (every && allKinds && rest.every((topic) => topic === null))
      return Buffer.concat([Buffer.from('['), logsOf(from, to), Buffer.from(']')])
    const wanted = parseLogs(from, to).filter(
      ({ address, topics }) =>
        (addresses?.includes(address) ?? true) &&
        (filter.topics ?? []).every((topic, i) => topic === null || [topic].flat().includes(topics[i]!)),
    )
    return Buffer.from(JSON.stringify(wanted))
  }
  const result = ({ method, params }: Call): Buffer | string => {
    calls.set(method, (calls.get(method) ?? 0) + 1)
    switch (method) {
      case 'eth_chainId':
        return `"${quantity(CHAIN_ID)}"`
      case 'net_version':
        return `"${CHAIN_ID}"`
      case 'eth_blockNumber':
        return `"${quantity(shown.head)}"`
      case 'eth_getBlockByNumber':
        return block(numberOf(params[0]), params[1] === true)
      case 'eth_getBlockByHash':
        return block(numberOfHash(params[0]), params[1] === true)
      case 'eth_getLogs':
        return getLogs(params[0] as Filter)
      case 'eth_getBlockReceipts': {
        const number = numberOf(params[0]) ?? numberOfHash(params[0])
        return number === null ? 'null' : receipts(number)
      }
      default:
        throw new RpcFault(-32601, `the method ${method} does not exist here`)
    }
  }
  const respond = (call: Call): Buffer => {
    const id = JSON.stringify(call.id ?? null)
    try {
      const value = result(call)
      return Buffer.concat([
        Buffer.from(`{"jsonrpc":"2.0","id":${id},"result":`),
        Buffer.from(value),
        Buffer.from('}'),
      ])
    } catch (error) {
      const code = error instanceof RpcFault ? error.code : -32603
      return Buffer.from(
        JSON.stringify({ jsonrpc: '2.0', id: call.id, error: { code, message: (error as Error).message } }),
      )
    }
  }
  answer = ({ url: path, body }, response) => {
    const payload = /^\/payload\/([0-9]+)$/.exec(path)
    if (payload && payloads !== null && chain.payloads) {
      const n = Number(payload[1])
      const [at, length] = [chain.payloads.at[n], chain.payloads.bytes[n]]
      if (at === undefined || length === undefined) return void response.writeHead(404).end()
      return void response.writeHead(200).end(read(payloads, at, at + length))
    }
    const calls = JSON.parse(body) as Call | Call[]
    const answers = Array.isArray(calls)
      ? Buffer.concat([
          Buffer.from('['),
          ...calls.flatMap((call, i) => (i === 0 ? [respond(call)] : [Buffer.from(','), respond(call)])),
          Buffer.from(']'),
        ])
      : respond(calls)
    response
      .writeHead(200, { 'content-type': 'application/json', 'content-length': answers.length })
      .end(answers)
  }
  return {
    url,
    chain,
    calls,
    get head() {
      return shown.head
    },
    set head(to) {
      shown.head = to
    },
    close() {
      server.closeAllConnections()
      server.close()
      for (const file of [logs, blocks, payloads]) if (file !== null) closeSync(file)
    },
  }
}
