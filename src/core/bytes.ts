import { sha256 as nobleSha256 } from '@noble/hashes/sha2.js'
import { DunesError } from './error.ts'
import { nodeCrypto } from './runtime.ts'

/** Lower-case 0x hex of any even length. */
export type Hex = `0x${string}`

const encoder = new TextEncoder()
// `ignoreBOM: true` keeps a byte order mark as U+FEFF instead of dropping it: bytes in, the same bytes out.
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** UTF-8 bytes of `text`. Lone surrogates become U+FFFD, as `TextEncoder` does. */
export const utf8 = (text: string): Uint8Array => encoder.encode(text)

/** Text of UTF-8 `bytes`, keeping a BOM. Throws `TypeError` on bytes that are not well-formed UTF-8. */
export const decodeUtf8 = (bytes: Uint8Array): string => decoder.decode(bytes)

const nodeHash = nodeCrypto?.hash

/** Plain SHA-256 (FIPS 180-4) of the concatenation of `parts`; 32 bytes. */
export function sha256(...parts: Uint8Array[]): Uint8Array {
  if (!nodeHash) return portable.sha256(...parts)
  const whole = parts.length === 1 ? (parts[0] as Uint8Array) : concat(...parts)
  // As text, a character a byte: a buffer costs the runtime more to make than a short hash does.
  const digest = nodeHash('sha256', whole, 'binary')
  const out = new Uint8Array(32)
  for (let i = 0; i < 32; i++) out[i] = digest.charCodeAt(i)
  return out
}

function portableSha256(...parts: Uint8Array[]): Uint8Array {
  if (parts.length === 1) return nobleSha256(parts[0] as Uint8Array)
  const hash = nobleSha256.create()
  for (const part of parts) hash.update(part)
  return hash.digest()
}

export function concat(...parts: Uint8Array[]): Uint8Array {
  let length = 0
  for (const part of parts) length += part.length
  const out = new Uint8Array(length)
  let offset = 0
  for (const part of parts) {
    out.set(part, offset)
    offset += part.length
  }
  return out
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}

/** Byte-wise order, shorter first on a common prefix: negative, zero or positive. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const n = Math.min(a.length, b.length)
  for (let i = 0; i < n; i++) {
    const d = (a[i] as number) - (b[i] as number)
    if (d !== 0) return d
  }
  return a.length - b.length
}

const HEX: readonly string[] = Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, '0'))

/** Lower-case 0x hex of `bytes`. */
export const toHex: (bytes: Uint8Array) => Hex =
  'toHex' in Uint8Array.prototype ? (bytes) => `0x${bytes.toHex()}` : portableToHex

function portableToHex(bytes: Uint8Array): Hex {
  let out = '0x'
  for (let i = 0; i < bytes.length; i++) out += HEX[bytes[i] as number]
  return out as Hex
}

/** Whether `text` is 0x and lower-case hex; with `size`, of exactly that many bytes. */
export function isHex(text: unknown, size?: number): text is Hex {
  if (typeof text !== 'string' || text.length % 2 === 1 || !/^0x[0-9a-f]*$/.test(text)) return false
  return size === undefined || text.length === 2 + 2 * size
}

/** Bytes of lower-case 0x hex. Throws `BAD_HEX` on anything else (upper case, odd length, no prefix, wrong `size`). */
export function fromHex(text: string, size?: number): Uint8Array {
  const bytes = readHex(text, size)
  if (bytes) return bytes
  throw new DunesError('BAD_HEX', `expected ${size ?? 'some'} bytes of lower-case 0x hex`, {
    hint: 'write it as 0x followed by two lower-case hex digits a byte',
  })
}

/** {@link fromHex} for text that may be anything: null where it throws. Looks at each digit once. */
export function readHex(text: string, size?: number): Uint8Array | null {
  if (!text.startsWith('0x') || text.length % 2 === 1) return null
  if (size !== undefined && text.length !== 2 + 2 * size) return null
  return hexBytes(text.slice(2))
}

/** Values of the digits 0 to 9 and a to f by their ASCII codes, -1 for every other code. */
const NIBBLES = new Int8Array(128).fill(-1)
for (let value = 0; value < 16; value++) NIBBLES[value.toString(16).charCodeAt(0)] = value

/** Bytes of an even number of digits; null where one is none, or in upper case. A third of what `Uint8Array.fromHex` takes. */
function hexBytes(digits: string): Uint8Array | null {
  const out = new Uint8Array(digits.length / 2)
  let codes = 0
  let nibbles = 0
  for (let i = 0, at = 0; i < out.length; i++) {
    const high = digits.charCodeAt(at++)
    const low = digits.charCodeAt(at++)
    codes |= high | low
    const a = NIBBLES[high & 0x7f] as number
    const b = NIBBLES[low & 0x7f] as number
    nibbles |= a | b
    out[i] = (a << 4) | b
  }
  return codes > 0x7f || nibbles < 0 ? null : out
}

const unsigned = (value: bigint | number, width: number): Uint8Array => {
  let rest = BigInt(value)
  if (rest < 0n || rest >= 1n << BigInt(8 * width))
    throw new RangeError(`${rest} does not fit ${8 * width} bits`)
  const out = new Uint8Array(width)
  for (let i = width - 1; i >= 0 && rest > 0n; i--) {
    out[i] = Number(rest & 0xffn)
    rest >>= 8n
  }
  return out
}

/** Big-endian unsigned integers. Throw `RangeError` where the value does not fit. */
export const u16be = (value: bigint | number): Uint8Array => unsigned(value, 2)
export const u32be = (value: bigint | number): Uint8Array => unsigned(value, 4)
export const u64be = (value: bigint | number): Uint8Array => unsigned(value, 8)
export const u256be = (value: bigint | number): Uint8Array => unsigned(value, 32)

/** Big-endian unsigned integer of all `bytes`. */
export function toBigInt(bytes: Uint8Array): bigint {
  let out = 0n
  for (const byte of bytes) out = (out << 8n) | BigInt(byte)
  return out
}

const B64 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'
const B64_VALUE = new Map([...B64].map((c, i) => [c.charCodeAt(0), i]))

/** Padded standard base64 (RFC 4648 section 4). */
export const toBase64: (bytes: Uint8Array) => string =
  'toBase64' in Uint8Array.prototype ? (bytes) => bytes.toBase64() : portableToBase64

function portableToBase64(bytes: Uint8Array): string {
  let out = ''
  for (let i = 0; i < bytes.length; i += 3) {
    const a = bytes[i] as number
    const b = bytes[i + 1]
    const c = bytes[i + 2]
    out += B64[a >> 2]
    out += B64[((a & 3) << 4) | ((b ?? 0) >> 4)]
    out += b === undefined ? '=' : B64[((b & 15) << 2) | ((c ?? 0) >> 6)]
    out += c === undefined ? '=' : B64[c & 63]
  }
  return out
}

/**
 * Bytes of canonical, padded base64 (RFC 4648 sections 3.5 and 4): no white space, no missing padding, unused bits
 * zero, so that each byte string has exactly one accepted spelling. Throws `BAD_BASE64`.
 */
export function fromBase64(text: string): Uint8Array {
  const bytes = text.length % 4 === 0 ? base64Bytes(text) : null
  if (bytes) return bytes
  throw new DunesError('BAD_BASE64', 'not canonical padded base64', {
    hint: 'encode it as RFC 4648 section 4, with padding',
  })
}

/** Bytes that canonical base64 of this length, a multiple of four, stands for. */
const bytesIn = (text: string): number =>
  (text.length / 4) * 3 - (text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0)

const base64Bytes: (text: string) => Uint8Array | null =
  'fromBase64' in Uint8Array
    ? (text) => {
        try {
          const bytes = Uint8Array.fromBase64(text, { lastChunkHandling: 'strict' })
          // It passes over white space, of which no canonical text has any: with some, there is less than there should be.
          return bytes.length === bytesIn(text) ? bytes : null
        } catch {
          return null
        }
      }
    : portableBase64Bytes

function portableBase64Bytes(text: string): Uint8Array | null {
  const out = new Uint8Array(bytesIn(text))
  const digits = text.length - ((text.length / 4) * 3 - out.length)
  let at = 0
  for (let i = 0; i < text.length; i += 4) {
    let word = 0
    for (let j = 0; j < 4; j++) {
      const value = i + j < digits ? B64_VALUE.get(text.charCodeAt(i + j)) : 0
      if (value === undefined) return null
      word = (word << 6) | value
    }
    for (let j = 0; j < 3; j++) {
      const byte = (word >> (16 - 8 * j)) & 0xff
      if (at < out.length) out[at++] = byte
      else if (byte !== 0) return null
    }
  }
  return out
}

/** What runtimes without methods of their own for it use: Node 24 for text, browsers for SHA-256. Here for tests. */
export const portable = {
  sha256: portableSha256,
  toHex: portableToHex,
  toBase64: portableToBase64,
  base64Bytes: portableBase64Bytes,
}
