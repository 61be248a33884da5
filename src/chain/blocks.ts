import { type Hex, isHex } from '../core/bytes.ts'
import { bloomOf } from './bloom.ts'
import type { RawLog } from './decode.ts'
import { blockHeaderRlp, type RawHeader } from './header.ts'
import { areKnownReceipts, receiptProof, receiptsRoot } from './receipts.ts'
import type { CallOptions, Rpc, RpcCall } from './rpc.ts'
import { type BlockRef, ChainError } from './source.ts'

/** A block as the EVM source works with it. */
export interface EvmBlock extends BlockRef {
  readonly parentHash: Hex
  readonly logsBloom: Hex
  readonly receiptsRoot: Hex
  /** Hashes of its transactions, in order. */
  readonly transactions: readonly Hex[]
}

/** A block by height, by tag, or by hash (32-byte 0x hex). */
export type BlockId = number | 'latest' | 'finalized' | Hex

/** JSON-RPC quantity of a safe non-negative integer. */
export const quantity = (value: number): Hex => `0x${value.toString(16)}`

/** An answer that contradicts another answer or itself: retryable, best elsewhere. */
export const inconsistent = (message: string, details: Readonly<Record<string, unknown>> = {}): ChainError =>
  new ChainError('RPC_INCONSISTENT', message, {
    hint: 'the endpoint is behind, in the middle of a reorganisation, or wrong; it is asked again',
    retryable: true,
    details,
  })

const malformed = (what: string): ChainError => inconsistent(`the endpoint answered with a malformed ${what}`)

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Integer of a JSON-RPC quantity, undefined when it is not one or beyond 2^53 - 1. */
function integer(value: unknown): number | undefined {
  if (typeof value !== 'string' || !/^0x[0-9a-f]{1,14}$/.test(value)) return undefined
  const number = Number.parseInt(value, 16)
  return Number.isSafeInteger(number) ? number : undefined
}

const blockCall = (id: BlockId): RpcCall =>
  typeof id === 'string' && id.startsWith('0x')
    ? { method: 'eth_getBlockByHash', params: [id, false] }
    : { method: 'eth_getBlockByNumber', params: [typeof id === 'number' ? quantity(id) : id, false] }

function readBlock(raw: unknown, id: BlockId, checkHash: boolean): EvmBlock | null {
  if (raw === null) return null
  if (!isRecord(raw)) throw malformed('block')
  const { hash, parentHash, logsBloom, receiptsRoot, transactions } = raw
  const number = integer(raw['number'])
  const time = integer(raw['timestamp'])
  if (!isHex(hash, 32) || !isHex(parentHash, 32) || !isHex(logsBloom, 256) || !isHex(receiptsRoot, 32))
    throw malformed('block')
  if (number === undefined || time === undefined || !Array.isArray(transactions)) throw malformed('block')
  if (typeof id === 'number' ? number !== id : id.startsWith('0x') && hash !== id)
    throw inconsistent(`the endpoint answered with block ${number} where ${id} was asked for`)
  if (checkHash) blockHeaderRlp(raw as unknown as RawHeader)
  return { number, hash, time, parentHash, logsBloom, receiptsRoot, transactions: transactions as Hex[] }
}

export interface BlockOptions extends CallOptions {
  /** Recompute the hash from the header's fields, so that parent hash, time and bloom are those that the hash stands for. */
  readonly checkHash?: boolean
}

/** The block, or null when the endpoint has none. Throws as {@link Rpc} does, `RPC_INCONSISTENT` or `HEADER_MISMATCH`. */
export async function getBlock(rpc: Rpc, id: BlockId, options: BlockOptions = {}): Promise<EvmBlock | null> {
  const { method, params } = blockCall(id)
  return readBlock(await rpc.call(method, params, options), id, options.checkHash ?? true)
}

/** Several blocks by height, in order, null where there is none. Throws as {@link getBlock}. */
export async function getBlocks(
  rpc: Rpc,
  numbers: readonly number[],
  options: BlockOptions = {},
): Promise<(EvmBlock | null)[]> {
  const raw = await rpc.callMany(numbers.map(blockCall), options)
  return numbers.map((number, i) => readBlock(raw[i], number, options.checkHash ?? true))
}

/** The header fields as the endpoint answers them, checked to hash to their hash: what {@link blockHeaderRlp} takes. */
export async function getHeader(rpc: Rpc, id: BlockId, options: CallOptions = {}): Promise<RawHeader | null> {
  const { method, params } = blockCall(id)
  const raw = await rpc.call(method, params, options)
  return readBlock(raw, id, true) && (raw as RawHeader)
}

/** The last final block by the chain's own finality, null while there is none. */
export async function getFinalized(rpc: Rpc, options: BlockOptions = {}): Promise<EvmBlock | null> {
  try {
    return await getBlock(rpc, 'finalized', options)
  } catch (error) {
    // geth answers with an error, not null, before the first finality.
    if (
      error instanceof ChainError &&
      error.code === 'RPC_REFUSED' &&
      /not found|unknown block/i.test(error.message)
    )
      return null
    throw error
  }
}

export interface LogFilter {
  /** Contracts, 20-byte lower-case 0x hex. */
  readonly addresses: readonly Hex[]
  /** Blocks by height, both ends inclusive, or one by its hash. */
  readonly blocks: { readonly from: number; readonly to: number } | { readonly hash: Hex }
}

/**
 * All logs of the contracts in the blocks, in chain order. Checks what an answer by itself can show: shapes, addresses, range,
 * no log twice and none marked as removed. Throws as {@link Rpc} does, or `RPC_INCONSISTENT`.
 */
export async function getLogs(rpc: Rpc, filter: LogFilter, options: CallOptions = {}): Promise<RawLog[]> {
  const [raw] = await getLogsMany(rpc, [filter], options)
  return raw as RawLog[]
}

/** {@link getLogs} for several filters, in as few requests as the batch size allows. */
export async function getLogsMany(
  rpc: Rpc,
  filters: readonly LogFilter[],
  options: CallOptions = {},
): Promise<RawLog[][]> {
  const calls = filters.map(({ addresses, blocks }): RpcCall => {
    const where =
      'hash' in blocks
        ? { blockHash: blocks.hash }
        : { fromBlock: quantity(blocks.from), toBlock: quantity(blocks.to) }
    return { method: 'eth_getLogs', params: [{ address: addresses, ...where }] }
  })
  const [first] = calls
  const answers =
    calls.length === 1 && first
      ? [await rpc.call(first.method, first.params, options)]
      : await rpc.callMany(calls, options)
  return filters.map((filter, i) => readLogs(answers[i], filter))
}

function readLogs(raw: unknown, filter: LogFilter): RawLog[] {
  if (!Array.isArray(raw)) throw malformed('list of logs')
  const { addresses, blocks } = filter
  const keyed = raw.map((log: unknown) => {
    const { number, index } = requireLog(log)
    const { address, blockHash } = log as RawLog
    const asked = 'hash' in blocks ? blockHash === blocks.hash : number >= blocks.from && number <= blocks.to
    if (!asked || !addresses.includes(address))
      throw inconsistent('the endpoint answered with a log that was not asked for')
    return { number, index, log: log as RawLog }
  })
  keyed.sort((a, b) => a.number - b.number || a.index - b.index)
  for (let i = 1; i < keyed.length; i++) {
    const [a, b] = [keyed[i - 1], keyed[i]]
    if (a?.number === b?.number && a?.index === b?.index)
      throw inconsistent('the endpoint answered with one log twice')
  }
  return keyed.map(({ log }) => log)
}

const HEX_32 = /^0x[0-9a-f]{64}$/

/** Throws unless `log` has the shape of a mined log. */
function requireLog(log: unknown): { number: number; index: number } {
  if (!isRecord(log)) throw malformed('log')
  const number = integer(log['blockNumber'])
  const index = integer(log['logIndex'])
  const { topics, data, blockHash, transactionHash, address, removed } = log
  if (
    number === undefined ||
    index === undefined ||
    removed === true ||
    !isHex(address, 20) ||
    typeof data !== 'string' ||
    !/^0x[0-9a-f]*$/.test(data) ||
    typeof blockHash !== 'string' ||
    !HEX_32.test(blockHash) ||
    typeof transactionHash !== 'string' ||
    !HEX_32.test(transactionHash) ||
    !Array.isArray(topics) ||
    !topics.every((topic) => typeof topic === 'string' && HEX_32.test(topic))
  )
    throw malformed('log')
  return { number, index }
}

/** A block's receipts, one for each transaction, with their logs. They may still be of other kinds than {@link areKnownReceipts} knows. */
async function getReceipts(
  rpc: Rpc,
  block: EvmBlock,
  options: CallOptions,
): Promise<readonly { readonly logs: readonly RawLog[] }[]> {
  let receipts: unknown
  try {
    receipts = await rpc.call('eth_getBlockReceipts', [block.hash], options)
  } catch (error) {
    if (!(error instanceof ChainError) || error.code !== 'RPC_REFUSED' || error.retryable) throw error
    const calls = block.transactions.map((hash) => ({ method: 'eth_getTransactionReceipt', params: [hash] }))
    receipts = await rpc.callMany(calls, options)
  }
  if (!Array.isArray(receipts) || receipts.length !== block.transactions.length)
    throw inconsistent(`the endpoint does not have all receipts of block ${block.number}`)
  for (const receipt of receipts as unknown[]) {
    if (!isRecord(receipt) || !Array.isArray(receipt['logs'])) throw malformed('receipt')
    for (const log of receipt['logs'] as unknown[]) {
      requireLog(log)
      if ((log as RawLog).blockHash !== block.hash)
        throw inconsistent(`the endpoint's receipts of block ${block.number} are of another block`)
    }
  }
  return receipts as { logs: RawLog[] }[]
}

const notTheBlocks = (block: EvmBlock): ChainError =>
  inconsistent(`the receipts of block ${block.number} do not belong to its header`)

/**
 * All logs of a block, of any contract, from its receipts: the slow way, to settle what a bloom leaves open or endpoints disagree about. They
 * must give the header's `receiptsRoot`; where there are receipts of another kind than Ethereum's, its bloom. Throws `RPC_INCONSISTENT`.
 */
export async function getBlockLogs(rpc: Rpc, block: EvmBlock, options: CallOptions = {}): Promise<RawLog[]> {
  const receipts = await getReceipts(rpc, block, options)
  const logs = receipts.flatMap((receipt) => receipt.logs)
  const whole = areKnownReceipts(receipts)
    ? receiptsRoot(receipts) === block.receiptsRoot
    : bloomOf(logs) === block.logsBloom
  if (!whole) throw notTheBlocks(block)
  return logs
}

/** Where a log stands in its block, and the proof of its transaction's receipt under the header's `receiptsRoot`. */
export interface LogProof {
  /** Place of the transaction in the block. */
  readonly transaction: number
  /** Place of the log in the transaction's receipt. */
  readonly log: number
  /** RLP nodes of the receipts trie from the root down. */
  readonly proof: readonly Uint8Array[]
}

/**
 * The proof of the log that is the `logIndex`th of `block`; null where the block has receipts of another kind than Ethereum's. Throws as
 * {@link Rpc} does, and `RPC_INCONSISTENT` where the endpoint's receipts are not the block's or have no such log.
 */
export async function getLogProof(
  rpc: Rpc,
  block: EvmBlock,
  logIndex: number,
  options: CallOptions = {},
): Promise<LogProof | null> {
  const receipts = await getReceipts(rpc, block, options)
  if (!areKnownReceipts(receipts)) return null
  if (receiptsRoot(receipts) !== block.receiptsRoot) throw notTheBlocks(block)
  let log = logIndex
  for (const [transaction, receipt] of receipts.entries()) {
    if (log < receipt.logs.length) return { transaction, log, proof: receiptProof(receipts, transaction) }
    log -= receipt.logs.length
  }
  throw inconsistent(`the endpoint's block ${block.number} has no log ${logIndex}`)
}

/** An account's part of an EIP-1186 proof. */
export interface AccountProof {
  readonly address: Hex
  /** RLP nodes of the state trie from the root down. */
  readonly accountProof: readonly Hex[]
  readonly balance: Hex
  readonly codeHash: Hex
  readonly nonce: Hex
  readonly storageHash: Hex
  /** In the order of the slots asked for. */
  readonly storageProof: readonly { readonly key: Hex; readonly value: Hex; readonly proof: readonly Hex[] }[]
}

const isNodes = (value: unknown): value is Hex[] => Array.isArray(value) && value.every((node) => isHex(node))

/**
 * `eth_getProof` (EIP-1186) of `slots` (32-byte padded keys) in `address` as of block `blockNumber`. Checks shapes and order
 * only: whether the nodes prove anything is for the verifier to say. Throws as {@link Rpc} does, or `RPC_INCONSISTENT`.
 */
export async function getProof(
  rpc: Rpc,
  address: Hex,
  slots: readonly Hex[],
  blockNumber: number,
  options: CallOptions = {},
): Promise<AccountProof> {
  const raw = await rpc.call('eth_getProof', [address, slots, quantity(blockNumber)], options)
  if (!isRecord(raw)) throw malformed('proof')
  const { accountProof, balance, codeHash, nonce, storageHash, storageProof } = raw
  const scalars = [balance, nonce].every((value) => typeof value === 'string' && /^0x[0-9a-f]+$/.test(value))
  if (!isNodes(accountProof) || !isHex(codeHash, 32) || !isHex(storageHash, 32) || !scalars)
    throw malformed('proof')
  if (!Array.isArray(storageProof) || storageProof.length !== slots.length) throw malformed('proof')
  const slotProofs = storageProof.map((entry: unknown, i) => {
    if (!isRecord(entry) || !isNodes(entry['proof'])) throw malformed('proof')
    const { key, value } = entry
    if (typeof key !== 'string' || typeof value !== 'string' || !/^0x[0-9a-f]+$/.test(value))
      throw malformed('proof')
    // Some endpoints drop the key's leading zeros.
    if (!/^0x[0-9a-f]{1,64}$/.test(key) || BigInt(key) !== BigInt(slots[i] as Hex))
      throw inconsistent('the endpoint proves another slot than the one asked for')
    return { key: slots[i] as Hex, value: value as Hex, proof: entry['proof'] }
  })
  return {
    address,
    accountProof,
    balance: balance as Hex,
    codeHash,
    nonce: nonce as Hex,
    storageHash,
    storageProof: slotProofs,
  }
}
