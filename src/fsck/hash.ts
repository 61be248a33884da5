import { createHash } from 'node:crypto'
import { keccak_256 } from '@noble/hashes/sha3.js'
import { concat, fromHex, type Hex, toHex, u64be, u256be, utf8 } from '../core/bytes.ts'

/** Plain SHA-256 of the concatenation of `parts`; 32 bytes. */
export function sha256(...parts: Uint8Array[]): Uint8Array {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return new Uint8Array(hash.digest())
}

export const sha256Hex = (...parts: Uint8Array[]): Hex => toHex(sha256(...parts))

/** Keccak-256 of a text's UTF-8 bytes, as Solidity's tags and event signatures are made. */
export const keccakText = (text: string): Hex => toHex(keccak_256(utf8(text)))

/** 32 zero bytes: what every chain of hashes begins with. */
export const ZERO: Hex = `0x${'00'.repeat(32)}`

/** One value of a contract's hash: an integer, an address or bytes32 in hex, or a name. */
export type AbiValue = number | bigint | Hex | { readonly name: string }

/**
 * `keccak256(abi.encode(TAG, ...values))` as docs/contracts.md has it for `submission`, `record`, `acc` and `anchors`.
 * Throws on integers that are negative or no integers, and on hex of more than 32 bytes.
 */
export function contractHash(tag: string, values: readonly AbiValue[]): Hex {
  const words: Uint8Array[] = [keccak_256(utf8(`dunes.${tag}/v1`))]
  const tails: Uint8Array[] = []
  let tailAt = 32 * (values.length + 1)
  for (const value of values) {
    if (typeof value === 'object') {
      const text = utf8(value.name)
      const padded = new Uint8Array(32 * Math.ceil(text.length / 32))
      padded.set(text)
      words.push(u256be(tailAt))
      tails.push(u256be(text.length), padded)
      tailAt += 32 + padded.length
    } else words.push(typeof value === 'string' ? leftPadded(value) : u256be(value))
  }
  return toHex(keccak_256(concat(...words, ...tails)))
}

function leftPadded(hex: Hex): Uint8Array {
  const bytes = fromHex(hex)
  const out = new Uint8Array(32)
  out.set(bytes, 32 - bytes.length)
  return out
}

/** What a proof of possession signs (docs/formats.md, "Proof of possession"); 32 bytes. */
export const possessionDigest = (
  chainId: number,
  registry: Hex,
  account: Hex,
  keyIndex: number,
): Uint8Array =>
  sha256(
    utf8('dunes.key/v1\0'),
    u256be(chainId),
    fromHex(registry, 20),
    fromHex(account, 20),
    u64be(keyIndex),
  )
