import { keccak_256 } from '@noble/hashes/sha3.js'
import { concat, fromHex, type Hex, toBigInt, toHex, u256be } from '../core/bytes.ts'
import type { Uint } from './record.ts'

/** Version of the storage layout in docs/contracts.md that this file follows. */
export const LAYOUT_VERSION = 1

/** Slots of SensorRegistry's state variables that verifiers read. */
const RECORD = 0
const CONTRIBUTORS = 1
const ACC_AT = 2
const TOTALS = 3
const EPOCH_TOTALS = 4

const slot = (number: Uint): Hex => toHex(u256be(number))
const addressWord = (account: Hex): Uint8Array =>
  concat(new Uint8Array(12), fromHex(account.toLowerCase(), 20))

/** Slot of `mapping[key]` for a value-type key: `keccak256(key word || slot word)`. */
const mapped = (key: Uint8Array, mapping: Uint8Array): Uint8Array => keccak_256(concat(key, mapping))

/**
 * SensorRegistry's slots, each a 32-byte lower-case 0x hex storage key as `eth_getProof` takes it. They throw `BAD_HEX` on
 * malformed ids and accounts.
 */
export const registrySlots = {
  /** `record[id]`: zero until the submission is settled. */
  record: (id: Hex): Hex => toHex(mapped(fromHex(id, 32), u256be(RECORD))),
  /** The contributor's `acc`. */
  acc: (contributor: Hex): Hex => toHex(mapped(addressWord(contributor), u256be(CONTRIBUTORS))),
  /** The contributor's `seq` and `submitted`; see `decodeHeadCounts`. */
  headCounts: (contributor: Hex): Hex =>
    slot(toBigInt(mapped(addressWord(contributor), u256be(CONTRIBUTORS))) + 1n),
  /** The contributor's `acc` when its `seq` became 256 * k. */
  accAt: (contributor: Hex, k: Uint): Hex =>
    toHex(mapped(u256be(k), mapped(addressWord(contributor), u256be(ACC_AT)))),
  /** `settledCount` and what shares its slot; see `decodeTotals`. */
  settledCount: (): Hex => slot(TOTALS),
  /** Cumulative counts of an epoch; see `decodeTotals`. */
  epochTotals: (epoch: Uint): Hex => toHex(mapped(u256be(epoch), u256be(EPOCH_TOTALS))),
} as const

/** ReceiptAnchor's slots, each a 32-byte lower-case 0x hex storage key. */
export const anchorSlots = {
  /** Root of the anchored tree; the empty tree's before the first anchor. */
  root: (): Hex => slot(0),
  /** Size, seq, block and time of the latest anchor; see `decodeAnchorCounts`. */
  counts: (): Hex => slot(1),
  /** Hash chain over all anchors; zero before the first. */
  chain: (): Hex => slot(2),
} as const

/**
 * A slot's value: at most 32 bytes big-endian, as 0x hex (`eth_getStorageAt`, `eth_getProof`) or as the bytes of a storage
 * trie's leaf, where leading zeros are dropped.
 */
export type SlotValue = Hex | Uint8Array

const value = (word: SlotValue): bigint => {
  if (typeof word === 'string') {
    if (!/^0x[0-9a-fA-F]{0,64}$/.test(word)) throw new RangeError('a slot holds at most 32 bytes')
    return word === '0x' ? 0n : BigInt(word)
  }
  if (word.length > 32) throw new RangeError('a slot holds at most 32 bytes')
  return toBigInt(word)
}

/** `width` bits from bit `shift` on. On-chain counters are far below 2^53; one that is not is refused. */
const field = (word: bigint, shift: number, width: number): number => {
  const part = (word >> BigInt(shift)) & ((1n << BigInt(width)) - 1n)
  if (part > BigInt(Number.MAX_SAFE_INTEGER)) throw new RangeError(`a counter of ${part} is not plausible`)
  return Number(part)
}

/** A `bytes32` slot as 32-byte lower-case 0x hex. Throws `RangeError` on more than 32 bytes. */
export const decodeWord = (word: SlotValue): Hex => toHex(u256be(value(word)))

/** Counts in `registrySlots.headCounts`: settled and submitted. Throws `RangeError`. */
export function decodeHeadCounts(word: SlotValue): { seq: number; submitted: number } {
  const bits = value(word)
  return { seq: field(bits, 0, 64), submitted: field(bits, 64, 64) }
}

/** Counts in `registrySlots.settledCount` and `registrySlots.epochTotals`. Throws `RangeError`. */
export function decodeTotals(word: SlotValue): { settled: number; validated: number; rejected: number } {
  const bits = value(word)
  return { settled: field(bits, 0, 64), validated: field(bits, 64, 64), rejected: field(bits, 128, 64) }
}

/** What `anchorSlots.counts` holds; `time` in seconds. Throws `RangeError`. */
export function decodeAnchorCounts(word: SlotValue): {
  size: number
  seq: number
  blockNumber: number
  time: number
} {
  const bits = value(word)
  return {
    size: field(bits, 0, 64),
    seq: field(bits, 64, 64),
    blockNumber: field(bits, 128, 48),
    time: field(bits, 176, 48),
  }
}

/** Whether `anchorSlots.counts` says that the log is closed for good. Throws `RangeError`. */
export const decodeAnchorClosed = (word: SlotValue): boolean => field(value(word), 224, 8) === 2
