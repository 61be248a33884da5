import { toFunctionSelector } from 'viem'
import { type Hex, toHex, utf8 } from '../../src/core/bytes.ts'
import { keccak } from './keccak.ts'

/** A log before it is mined. */
export interface BareLog {
  address: Hex
  topics: Hex[]
  data: Hex
}

/** Topic 0 of an event, by its canonical signature. */
export const eventTopic = (signature: string): Hex => toHex(keccak(utf8(signature)))
/** First four bytes of a call's data. */
export const selector = (signature: string): Hex => toFunctionSelector(signature)

/** A number or 0x hex of at most 32 bytes as a word: numbers and addresses on the right, as `abi.encode` has them. */
export const word = (value: Hex | number): string =>
  (typeof value === 'number' ? value.toString(16) : value.slice(2)).padStart(64, '0')

/** A value of an event's data: one static word, or bytes and strings. */
export type AbiValue = string | { bytes: Uint8Array }
export const text = (value: string): AbiValue => ({ bytes: utf8(value) })

/** Solidity's `abi.encode` of values that are words, bytes or strings: heads, then tails in order. */
export function abiEncode(values: readonly AbiValue[]): Hex {
  let head = ''
  let tail = ''
  for (const value of values) {
    if (typeof value === 'string') head += value
    else {
      head += word(values.length * 32 + tail.length / 2)
      const digits = Buffer.from(value.bytes).toString('hex')
      tail += word(value.bytes.length) + digits.padEnd(Math.ceil(digits.length / 64) * 64, '0')
    }
  }
  return `0x${head}${tail}`
}
