/**
 * IPFS content identifiers (https://github.com/multiformats/cid), as far as a payload can need them: version 0, and
 * version 1 in base32 or base58btc, of raw and dag-pb blocks hashed with SHA-256. Pure. Each accepted text has one meaning:
 * non-canonical spellings are refused.
 */

export interface Cid {
  codec: 'raw' | 'dag-pb'
  /** SHA-256 of the block; 32 bytes. */
  digest: Uint8Array
}

const BASE58 = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz'
const BASE32 = 'abcdefghijklmnopqrstuvwxyz234567'
/** Longest text that can be one: 36 bytes in base58 take 50 characters, in base32 58, and a prefix. */
const MAX_TEXT = 64

const RAW = 0x55
const DAG_PB = 0x70

/** The CID that `text` spells, or null. */
export function parseCid(text: string): Cid | null {
  if (text.length > MAX_TEXT) return null
  if (text.length === 46 && text.startsWith('Qm')) {
    const bytes = fromBase58(text)
    return bytes && cidFromBytes(bytes)
  }
  const body = text.slice(1)
  const bytes = text.startsWith('b') ? fromBase32(body) : text.startsWith('z') ? fromBase58(body) : null
  // Version 0 is never written with a multibase prefix.
  return bytes && bytes[0] === 1 ? cidFromBytes(bytes) : null
}

/** The CID that a link in a dag-pb block holds as bytes, or null. */
export function cidFromBytes(bytes: Uint8Array): Cid | null {
  if (bytes.length === 34 && bytes[0] === 0x12 && bytes[1] === 32)
    return { codec: 'dag-pb', digest: bytes.slice(2) }
  // Every varint of a CID that we take fits one byte, so no decoding is needed.
  if (bytes.length !== 36 || bytes[0] !== 1 || bytes[2] !== 0x12 || bytes[3] !== 32) return null
  const codec = bytes[1] === RAW ? 'raw' : bytes[1] === DAG_PB ? 'dag-pb' : null
  return codec && { codec, digest: bytes.slice(4) }
}

/** The CID as version 1 in base32. */
export function cidText({ codec, digest }: Cid): string {
  const bytes = Uint8Array.of(1, codec === 'raw' ? RAW : DAG_PB, 0x12, 32, ...digest)
  let out = 'b'
  let word = 0
  let bits = 0
  for (const byte of bytes) {
    word = ((word << 8) | byte) & 0xfff
    for (bits += 8; bits >= 5; bits -= 5) out += BASE32[(word >> (bits - 5)) & 31]
  }
  return bits === 0 ? out : out + BASE32[(word << (5 - bits)) & 31]
}

/** RFC 4648 base32 in lower case without padding; unused bits must be zero. */
function fromBase32(text: string): Uint8Array | null {
  const out: number[] = []
  let word = 0
  let bits = 0
  for (const character of text) {
    const value = BASE32.indexOf(character)
    if (value < 0) return null
    word = ((word << 5) | value) & 0xfff
    bits += 5
    if (bits >= 8) {
      bits -= 8
      out.push((word >> bits) & 0xff)
    }
  }
  return bits < 5 && (word & ((1 << bits) - 1)) === 0 ? Uint8Array.from(out) : null
}

function fromBase58(text: string): Uint8Array | null {
  let value = 0n
  for (const character of text) {
    const digit = BASE58.indexOf(character)
    if (digit < 0) return null
    value = value * 58n + BigInt(digit)
  }
  const out: number[] = []
  for (; value > 0n; value >>= 8n) out.unshift(Number(value & 0xffn))
  // Each leading 1 stands for a zero byte.
  for (let i = 0; text[i] === '1'; i++) out.unshift(0)
  return Uint8Array.from(out)
}
