import type { Hex } from '../../src/core/bytes.ts'
import { fromHex, toHex } from '../../src/core/bytes.ts'
import type { BareLog } from './codec.ts'
import { keccak } from './keccak.ts'

/** Headers, receipts and their tries as Ethereum has them, just enough for a chain of legacy-free blocks with few transactions. */

const EMPTY = Buffer.alloc(0)
const prefix = (length: number, base: number): Buffer => {
  if (length < 56) return Buffer.from([base + length])
  const digits: number[] = []
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) digits.unshift(rest % 256)
  return Buffer.from([base + 55 + digits.length, ...digits])
}
const str = (bytes: Uint8Array): Buffer =>
  bytes.length === 1 && bytes[0]! < 0x80
    ? Buffer.from(bytes)
    : Buffer.concat([prefix(bytes.length, 0x80), bytes])
const list = (items: readonly Uint8Array[]): Buffer => {
  const body = Buffer.concat(items)
  return Buffer.concat([prefix(body.length, 0xc0), body])
}
const int = (value: number): Buffer => {
  const digits = value === 0 ? '' : value.toString(16)
  return str(Buffer.from(digits.length % 2 === 1 ? `0${digits}` : digits, 'hex'))
}

const ZERO_32 = Buffer.alloc(32)
const EMPTY_TRIE = keccak(str(EMPTY))
const EMPTY_UNCLES = keccak(list([]))
const NO_BLOOM = Buffer.alloc(256)
export const GAS_LIMIT = 30_000_000
const BASE_FEE = 7

const bits = new Map<Hex, readonly number[]>()
const MANY = 4_096
/** Sets the three bits of an address or topic (Yellow Paper section 4.4.1). */
function addToBloom(bloom: Buffer, item: Hex): void {
  let its = bits.get(item)
  if (!its) {
    const digest = keccak(fromHex(item))
    its = [0, 2, 4].map((i) => ((digest[i]! << 8) | digest[i + 1]!) & 2047)
    if (bits.size >= MANY) bits.clear()
    bits.set(item, its)
  }
  for (const bit of its) bloom[255 - (bit >> 3)]! |= 1 << (bit & 7)
}

export function bloomOf(logs: readonly BareLog[]): Buffer {
  const bloom = Buffer.alloc(256)
  for (const { address, topics } of logs) {
    addToBloom(bloom, address)
    for (const topic of topics) addToBloom(bloom, topic)
  }
  return bloom
}

/** A transaction's receipt as a trie holds it: type 2, status 1. */
const receiptRlp = (logs: readonly BareLog[], gas: number): Buffer =>
  Buffer.concat([
    Buffer.from([2]),
    list([
      int(1),
      int(gas),
      str(bloomOf(logs)),
      list(
        logs.map(({ address, topics, data }) =>
          list([str(fromHex(address)), list(topics.map((t) => str(fromHex(t)))), str(fromHex(data))]),
        ),
      ),
    ]),
  ])

/** Root of a trie of one or two items, keyed by RLP(0) = 0x80 and RLP(1) = 0x01, as blocks with so many transactions have it. */
function smallTrieRoot(items: readonly Buffer[]): Uint8Array {
  const [first, second] = items
  if (!first) return EMPTY_TRIE
  if (!second) return keccak(list([str(Buffer.from([0x20, 0x80])), str(first)]))
  // The keys differ in their first nibble: a branch with two leaves, each of which has one nibble of path left.
  const leaf = (nibble: number, value: Buffer) =>
    str(keccak(list([str(Buffer.from([0x30 | nibble])), str(value)])))
  const branch = Array.from({ length: 17 }, () => str(EMPTY))
  branch[8] = leaf(0, first)
  branch[0] = leaf(1, second)
  return keccak(list(branch))
}

export interface Sealed {
  hash: Buffer
  bloom: Buffer
  receiptsRoot: Uint8Array
}

/** Gas that the transactions up to number `i` of a block have used. */
export const gasUsed = (transactions: number): number => transactions * 1_000_000

/** A header's fields in order, each as RLP. */
const headerParts = (
  number: number,
  time: number,
  parent: Uint8Array,
  { bloom, receiptsRoot }: Omit<Sealed, 'hash'>,
  transactions: number,
): Buffer[] => [
  str(parent),
  str(EMPTY_UNCLES),
  str(Buffer.alloc(20)),
  str(ZERO_32),
  str(EMPTY_TRIE),
  str(receiptsRoot),
  str(bloom),
  int(0),
  int(number),
  int(GAS_LIMIT),
  int(gasUsed(transactions)),
  int(time),
  str(EMPTY),
  str(ZERO_32),
  str(Buffer.alloc(8)),
  int(BASE_FEE),
  str(EMPTY_TRIE),
]
const NUMBER_PART = 8
const TIME_PART = 11

/** Hash of a block at `number` with these logs by transaction (at most two, none empty), after the block `parent`. */
export function seal(
  number: number,
  time: number,
  parent: Uint8Array,
  transactions: readonly (readonly BareLog[])[],
): Sealed {
  const bloom = transactions.length === 0 ? NO_BLOOM : bloomOf(transactions.flat())
  const receiptsRoot = smallTrieRoot(transactions.map((logs, i) => receiptRlp(logs, gasUsed(i + 1))))
  const parts = headerParts(number, time, parent, { bloom, receiptsRoot }, transactions.length)
  return { hash: Buffer.from(keccak(list(parts))), bloom, receiptsRoot }
}

export const EMPTY_BLOCK: Omit<Sealed, 'hash'> = { bloom: NO_BLOOM, receiptsRoot: EMPTY_TRIE }

/**
 * Writes the hashes of `count` blocks without transactions from `first` on to `hashes`, 32 bytes a block by number, of which the
 * block before is there already. Between headers of one length only parent, number and time differ.
 */
export function sealEmpty(first: number, count: number, timeOf: (n: number) => number, hashes: Buffer): void {
  let template: Buffer = EMPTY
  let numberAt = 0
  let numberBytes = 0
  let timeAt = 0
  for (let number = first; number < first + count; number++) {
    const parent = hashes.subarray(32 * number - 32, 32 * number)
    const bytes = number < 128 ? 0 : Math.ceil(number.toString(16).length / 2)
    if (template.length === 0 || bytes !== numberBytes || bytes === 0) {
      const parts = headerParts(number, timeOf(number), parent, EMPTY_BLOCK, 0)
      template = list(parts)
      const offset = (part: number) =>
        template.length - parts.slice(part).reduce((sum, { length }) => sum + length, 0)
      numberAt = offset(NUMBER_PART) + 1
      timeAt = offset(TIME_PART) + 1
      numberBytes = bytes
    } else {
      parent.copy(template, 4)
      template.writeUIntBE(number, numberAt, numberBytes)
      template.writeUInt32BE(timeOf(number), timeAt)
    }
    hashes.set(keccak(template), 32 * number)
  }
}

export const quantity = (value: number): Hex => `0x${value.toString(16)}`

/** The header as JSON-RPC has it, without the brace that ends it, for the transactions to follow. */
export const headerJson = (
  number: number,
  time: number,
  parent: Uint8Array,
  sealed: Sealed,
  transactions: number,
): string =>
  `{"hash":"${toHex(sealed.hash)}","parentHash":"${toHex(parent)}","sha3Uncles":"${toHex(EMPTY_UNCLES)}","miner":"0x${'00'.repeat(20)}",` +
  `"stateRoot":"${toHex(ZERO_32)}","transactionsRoot":"${toHex(EMPTY_TRIE)}","receiptsRoot":"${toHex(sealed.receiptsRoot)}",` +
  `"logsBloom":"${toHex(sealed.bloom)}","difficulty":"0x0","totalDifficulty":"0x0","number":"${quantity(number)}","gasLimit":"${quantity(GAS_LIMIT)}",` +
  `"gasUsed":"${quantity(gasUsed(transactions))}","timestamp":"${quantity(time)}","extraData":"0x","mixHash":"${toHex(ZERO_32)}",` +
  `"nonce":"0x0000000000000000","baseFeePerGas":"${quantity(BASE_FEE)}","withdrawalsRoot":"${toHex(EMPTY_TRIE)}","withdrawals":[],"uncles":[],"size":"0x400"`
