import { keccak_256 } from '@noble/hashes/sha3.js'
import { fromHex, type Hex } from '../core/bytes.ts'

/** The three bits, 0 to 2047, that an address or topic sets in a logs bloom (Yellow Paper section 4.4.1, M3:2048). */
export function bloomBits(item: Hex): readonly [number, number, number] {
  const hash = keccak_256(fromHex(item))
  const bit = (i: number) => (((hash[i] as number) << 8) | (hash[i + 1] as number)) & 2047
  return [bit(0), bit(2), bit(4)]
}

/** Whether all `bits` are set in `bloom` (256 bytes of 0x hex): false is certain, true is only "maybe". */
export function bloomHas(bloom: Hex, bits: readonly number[]): boolean {
  for (const bit of bits) {
    // Bit 0 is the lowest bit of the last hex digit.
    const digit = Number.parseInt(bloom[513 - (bit >> 2)] ?? '0', 16)
    if (((digit >> (bit & 3)) & 1) === 0) return false
  }
  return true
}

/** Share of the bits of `bloom` (256 bytes of 0x hex) that are set, 0 to 1: its third power is how often it says "maybe" of what is not in it. */
export function bloomFill(bloom: Hex): number {
  let set = 0
  for (const digit of bloom.slice(2))
    for (let bits = Number.parseInt(digit, 16); bits > 0; bits &= bits - 1) set++
  return set / 2048
}

/** The bloom (256 bytes of 0x hex) of logs: what a header's `logsBloom` must be when these are all of its block's. */
export function bloomOf(logs: Iterable<{ readonly address: Hex; readonly topics: readonly Hex[] }>): Hex {
  const digits = new Uint8Array(512)
  const add = (item: Hex) => {
    for (const bit of bloomBits(item)) {
      const at = 511 - (bit >> 2)
      digits[at] = (digits[at] as number) | (1 << (bit & 3))
    }
  }
  for (const log of logs) {
    add(log.address)
    for (const topic of log.topics) add(topic)
  }
  return `0x${Array.from(digits, (digit) => digit.toString(16)).join('')}`
}
