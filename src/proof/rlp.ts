import { concat, toBigInt } from '../core/bytes.ts'
import { RlpError } from './error.ts'

/** What RLP can say (Ethereum yellow paper, appendix B): a byte string, or a list of items. */
export type RlpItem = Uint8Array | RlpItem[]

/** How many lists may be open at once. A header needs 1, a trie node with nodes embedded in it a handful. */
const MAX_DEPTH = 16

/**
 * The one item that `bytes` encode, in the canonical form alone (yellow paper, appendix B): the shortest length
 * prefix, a single byte below 0x80 as itself, no byte after the item. So each item has exactly one accepted encoding.
 * Byte strings in the answer are views into `bytes`. Throws {@link RlpError}.
 */
export function decodeRlp(bytes: Uint8Array): RlpItem {
  const { item, end } = decodeAt(bytes, 0, bytes.length, 0)
  if (end !== bytes.length) throw new RlpError('bytes stand after the RLP item', { offset: end })
  return item
}

function decodeAt(
  bytes: Uint8Array,
  at: number,
  limit: number,
  depth: number,
): { item: RlpItem; end: number } {
  const first = at < limit ? bytes[at] : undefined
  if (first === undefined) throw new RlpError('an RLP item is cut short', { offset: at })
  if (first < 0x80) return { item: bytes.subarray(at, at + 1), end: at + 1 }

  const isList = first >= 0xc0
  const shortBase = isList ? 0xc0 : 0x80
  let start = at + 1
  let length = first - shortBase
  if (length > 55) {
    const lengthBytes = length - 55
    length = longLength(bytes, start, lengthBytes, limit)
    start += lengthBytes
  }
  const end = start + length
  if (end > limit) throw new RlpError('an RLP item is cut short', { offset: at })

  if (!isList) {
    if (length === 1 && (bytes[start] as number) < 0x80) {
      throw new RlpError('a single byte below 0x80 must stand for itself in RLP', { offset: at })
    }
    return { item: bytes.subarray(start, end), end }
  }
  if (depth >= MAX_DEPTH) throw new RlpError(`RLP lists nested deeper than ${MAX_DEPTH}`, { offset: at })
  const items: RlpItem[] = []
  for (let next = start; next < end; ) {
    const inner = decodeAt(bytes, next, end, depth + 1)
    items.push(inner.item)
    next = inner.end
  }
  return { item: items, end }
}

function longLength(bytes: Uint8Array, at: number, width: number, limit: number): number {
  if (at + width > limit) throw new RlpError('an RLP length is cut short', { offset: at })
  if (bytes[at] === 0) throw new RlpError('an RLP length has a leading zero', { offset: at })
  let length = 0
  for (let i = 0; i < width; i++) {
    length = length * 256 + (bytes[at + i] as number)
    // Longer than any input: stop before the sum leaves the exact integers.
    if (length > limit) throw new RlpError('an RLP item is cut short', { offset: at })
  }
  if (length <= 55) throw new RlpError('an RLP length is not in its shortest form', { offset: at })
  return length
}

/** The canonical encoding of `item`: the one that {@link decodeRlp} accepts. */
export function encodeRlp(item: RlpItem): Uint8Array {
  if (item instanceof Uint8Array) {
    if (item.length === 1 && (item[0] as number) < 0x80) return item
    return concat(prefix(0x80, item.length), item)
  }
  const body = concat(...item.map(encodeRlp))
  return concat(prefix(0xc0, body.length), body)
}

function prefix(base: number, length: number): Uint8Array {
  if (length <= 55) return Uint8Array.of(base + length)
  const digits = minimalBytes(BigInt(length))
  return concat(Uint8Array.of(base + 55 + digits.length), digits)
}

/** Big-endian bytes of `value` without leading zeros, none for zero: an RLP integer. `value` is not negative. */
export function minimalBytes(value: bigint): Uint8Array {
  const out: number[] = []
  for (let rest = value; rest > 0n; rest >>= 8n) out.unshift(Number(rest & 0xffn))
  return Uint8Array.from(out)
}

/** `item` as a list, of exactly `length` items if given. Throws {@link RlpError} naming `what`. */
export function rlpList(item: RlpItem, what: string, length?: number): RlpItem[] {
  if (item instanceof Uint8Array) throw new RlpError(`${what} is not an RLP list`)
  if (length !== undefined && item.length !== length) {
    throw new RlpError(`${what} has ${item.length} items instead of ${length}`)
  }
  return item
}

/** `item` as a byte string, of exactly `length` bytes if given. Throws {@link RlpError} naming `what`. */
export function rlpBytes(item: RlpItem | undefined, what: string, length?: number): Uint8Array {
  if (!(item instanceof Uint8Array)) throw new RlpError(`${what} is not an RLP byte string`)
  if (length !== undefined && item.length !== length) {
    throw new RlpError(`${what} has ${item.length} bytes instead of ${length}`)
  }
  return item
}

/**
 * `item` as an unsigned integer of at most `width` bytes. RLP integers have no leading zero, and zero is the empty
 * string (yellow paper, equation 199). Throws {@link RlpError} naming `what`.
 */
export function rlpUint(item: RlpItem | undefined, what: string, width: number): bigint {
  const bytes = rlpBytes(item, what)
  if (bytes.length > width) throw new RlpError(`${what} is wider than ${8 * width} bits`)
  if (bytes[0] === 0) throw new RlpError(`${what} has a leading zero`)
  return toBigInt(bytes)
}
