import { keccak_256 } from '@noble/hashes/sha3.js'
import { equalBytes } from '../core/bytes.ts'
import { HeaderError } from './error.ts'
import { decodeRlp, rlpBytes, rlpList, rlpUint } from './rlp.ts'

/** The fields of a block header that proofs need (yellow paper, section 4.4). Hashes have 32 bytes. */
export interface BlockHeader {
  hash: Uint8Array
  parentHash: Uint8Array
  stateRoot: Uint8Array
  receiptsRoot: Uint8Array
  /** Block height, at most 2^53 - 1. */
  number: number
  /** Seconds since 1970-01-01T00:00:00Z, before the year 10000. */
  timestamp: number
}

/** Every fork so far kept the first 15 fields and appended its own. */
const MIN_FIELDS = 15
/** Far above any known chain's, whose headers have some 600 bytes: to be decoded at all, before anybody has vouched for them. */
const MAX_BYTES = 64 * 1024
/** Far above any known chain's; the field list cannot grow without end. */
const MAX_FIELDS = 64
/** 9999-12-31T23:59:59Z: the last time that RFC 3339 can write. */
const MAX_TIMESTAMP = 253_402_300_799

/**
 * The header in `rlp`, with its Keccak-256 as `hash`. That says nothing about any chain: to trust what it says, use
 * {@link readTrustedHeader}. Throws {@link HeaderError} `HEADER_MALFORMED` or `RlpError`.
 */
export function decodeHeader(rlp: Uint8Array): BlockHeader {
  if (rlp.length > MAX_BYTES)
    throw new HeaderError('HEADER_MALFORMED', `a block header has more than ${MAX_BYTES} bytes`)
  const fields = rlpList(decodeRlp(rlp), 'a block header')
  if (fields.length < MIN_FIELDS || fields.length > MAX_FIELDS) {
    throw new HeaderError('HEADER_MALFORMED', `a block header has ${fields.length} fields`)
  }
  const integer = (at: number, what: string, max: number): number => {
    const value = rlpUint(fields[at], what, 8)
    if (value > BigInt(max)) throw new HeaderError('HEADER_MALFORMED', `${what} is beyond ${max}`)
    return Number(value)
  }
  return {
    hash: keccak_256(rlp),
    parentHash: rlpBytes(fields[0], "a header's parent hash", 32),
    stateRoot: rlpBytes(fields[3], "a header's state root", 32),
    receiptsRoot: rlpBytes(fields[5], "a header's receipts root", 32),
    number: integer(8, "a header's number", Number.MAX_SAFE_INTEGER),
    timestamp: integer(11, "a header's time", MAX_TIMESTAMP),
  }
}

/**
 * The header in `rlp`, after its Keccak-256 was found equal to `trustedHash` (32 bytes): bytes first, meaning second.
 * Throws {@link HeaderError} `HEADER_NOT_TRUSTED` for another block's header, `HEADER_MALFORMED` for a trusted hash of
 * something that is no header, or `RlpError`.
 */
export function readTrustedHeader(rlp: Uint8Array, trustedHash: Uint8Array): BlockHeader {
  if (!equalBytes(keccak_256(rlp), trustedHash)) {
    throw new HeaderError('HEADER_NOT_TRUSTED', "the bundle's header is not the header of the trusted block")
  }
  return decodeHeader(rlp)
}
