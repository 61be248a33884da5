import type { Hex } from '../core/bytes.ts'

/** Why ABI data was refused. Not for callers to see: who reads an event turns it into an error that names the event. */
export class AbiRefusal extends Error {}

const refuse = (message: string): never => {
  throw new AbiRefusal(message)
}

const WORD = 64
const ZEROS = '0'.repeat(WORD)

/** Values of the characters 0-9 and a-f; callers have checked that there are no others. */
const NIBBLE = new Uint8Array(128)
for (let i = 0; i < 16; i++) NIBBLE[i.toString(16).charCodeAt(0)] = i

/** Bytes of `length` hex-digit pairs of `hex` from digit `start` on. */
function bytesOf(hex: string, start: number, length: number): Uint8Array {
  const out = new Uint8Array(length)
  for (let i = 0, at = start; i < length; i++, at += 2)
    out[i] = ((NIBBLE[hex.charCodeAt(at)] as number) << 4) | (NIBBLE[hex.charCodeAt(at + 1)] as number)
  return out
}

/** A 32-byte word, as 64 hex digits, read as one of the static types. Each throws {@link AbiRefusal} on any other bit set. */
export const word = {
  bytes32: (digits: string): Hex => `0x${digits}`,
  address(digits: string): Hex {
    if (!digits.startsWith(ZEROS.slice(0, 24))) refuse('an address has more than 20 bytes')
    return `0x${digits.slice(24)}`
  },
  bool(digits: string): boolean {
    if (digits.slice(0, 63) !== ZEROS.slice(0, 63)) refuse('a bool is neither 0 nor 1')
    const last = digits[63]
    if (last !== '0' && last !== '1') refuse('a bool is neither 0 nor 1')
    return last === '1'
  },
  /** An unsigned integer of at most `bits` (a multiple of 4, at most 64) that a double holds exactly. */
  safe(digits: string, bits = 64): number {
    if (!digits.startsWith(ZEROS.slice(0, WORD - bits / 4))) refuse(`an integer has more than ${bits} bits`)
    const value = Number.parseInt(digits.slice(48), 16)
    if (!Number.isSafeInteger(value)) refuse('an integer is beyond 2^53 - 1')
    return value
  },
  u64(digits: string): bigint {
    if (!digits.startsWith(ZEROS.slice(0, 48))) refuse('an integer has more than 64 bits')
    return BigInt(`0x${digits.slice(48)}`)
  },
}

/**
 * Reads the data of a log, value by value in the event's order, as canonical ABI encoding: what Solidity writes and nothing
 * else. Dynamic values must lie one behind the other in order, zero-padded to whole words, with nothing after the last.
 * It works on hex digits, without turning the whole log into bytes first: this is the hot path of a backfill.
 */
export class AbiReader {
  readonly #hex: string
  #at = 2
  #tail: number
  readonly #headEnd: number

  /** `hex` is lower-case 0x hex, `words` the number of values in the head. */
  constructor(hex: string, words: number) {
    this.#hex = hex
    this.#headEnd = 2 + words * WORD
    this.#tail = this.#headEnd
    if (hex.length < this.#headEnd) refuse('the data are too short')
  }

  #next(): string {
    const digits = this.#hex.slice(this.#at, this.#at + WORD)
    if (this.#at >= this.#headEnd) refuse('the event has fewer values')
    this.#at += WORD
    return digits
  }

  bytes32(): Hex {
    return word.bytes32(this.#next())
  }
  address(): Hex {
    return word.address(this.#next())
  }
  bool(): boolean {
    return word.bool(this.#next())
  }
  safe(bits = 64): number {
    return word.safe(this.#next(), bits)
  }
  u64(): bigint {
    return word.u64(this.#next())
  }

  /** A `bytes` or `string` value, at most `limit` bytes long. */
  bytes(limit: number): Uint8Array {
    const offset = word.safe(this.#next())
    if (2 + offset * 2 !== this.#tail) refuse('a dynamic value is not where it belongs')
    const start = this.#tail + WORD
    if (this.#hex.length < start) refuse('the data are too short')
    const length = word.safe(this.#hex.slice(this.#tail, start))
    if (length > limit) refuse(`a dynamic value has more than ${limit} bytes`)
    const end = start + Math.ceil(length / 32) * WORD
    if (this.#hex.length < end) refuse('the data are too short')
    for (let i = start + length * 2; i < end; i++)
      if (this.#hex.charCodeAt(i) !== 48) refuse('the padding of a dynamic value is not zero')
    this.#tail = end
    return bytesOf(this.#hex, start, length)
  }

  /** A `string` that both contracts restrict to `[a-z0-9_]{1,32}`. */
  name(): string {
    const bytes = this.bytes(32)
    const name = String.fromCharCode(...bytes)
    if (!/^[a-z0-9_]{1,32}$/.test(name)) refuse('a name is not 1 to 32 of a-z, 0-9 and _')
    return name
  }

  /** Call after the last value: refuses data that nothing reads. */
  end(): void {
    if (this.#at !== this.#headEnd || this.#tail !== this.#hex.length) refuse('there are data left over')
  }
}
