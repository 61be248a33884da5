import { keccak_256 } from '@noble/hashes/sha3.js'
import { concat, fromHex, type Hex, sha256, toHex, u64be, u256be, utf8 } from '../core/bytes.ts'
import type { Outcome } from './source.ts'

/** A non-negative integer; a `number` is at most 2^53 - 1. */
export type Uint = number | bigint

/** 32 zero bytes: a contributor's `acc`, and the anchors' chain, before the first step. */
export const ZERO_WORD: Hex = `0x${'00'.repeat(32)}`

/** Numbers of the outcomes on-chain. */
export const OUTCOME_NUMBERS: Readonly<Record<Outcome, number>> = { validated: 1, rejected: 2, expired: 3 }

/** Settled submissions between two values that `accAt` keeps. */
export const ACC_STRIDE = 256

const tag = (name: string): Uint8Array => keccak_256(utf8(`dunes.${name}/v1`))
const TAG_SUBMISSION = tag('submission')
const TAG_RECORD = tag('record')
const TAG_ACC = tag('acc')
const TAG_ANCHORS = tag('anchors')
const KEY_PREFIX = utf8('dunes.key/v1\0')

/** A value for `abi.encode`: one static word, or a string's UTF-8 bytes. */
type AbiValue = { word: Uint8Array } | { text: Uint8Array }

const bytes32 = (hex: string): AbiValue => ({ word: fromHex(hex, 32) })
const uint = (value: Uint): AbiValue => ({ word: u256be(value) })
const text = (value: string): AbiValue => ({ text: utf8(value) })
// Checksummed spellings are in use for accounts, so case says nothing here.
const address = (value: string): AbiValue => ({
  word: concat(new Uint8Array(12), fromHex(value.toLowerCase(), 20)),
})

/** `keccak256(abi.encode(tag, ...values))` by the Solidity ABI: a head of one word each, then the strings' tails. */
function hashAbi(tagWord: Uint8Array, values: readonly AbiValue[]): Hex {
  const all: readonly AbiValue[] = [{ word: tagWord }, ...values]
  const head: Uint8Array[] = []
  const tails: Uint8Array[] = []
  let offset = 32 * all.length
  for (const value of all) {
    if ('word' in value) {
      head.push(value.word)
      continue
    }
    head.push(u256be(offset))
    const length = value.text.length
    const tail = concat(u256be(length), value.text, new Uint8Array((32 - (length % 32)) % 32))
    tails.push(tail)
    offset += tail.length
  }
  return toHex(keccak_256(concat(...head, ...tails)))
}

/** What a submission's id commits to. */
export interface SubmissionIdFields {
  readonly chainId: Uint
  readonly registry: Hex
  readonly contributor: Hex
  /** The contributor's number of submissions before this one. */
  readonly nonce: Uint
  readonly sensor: string
  /** SHA-256 of the payload. */
  readonly payloadHash: Hex
  readonly payloadBytes: Uint
  /** SHA-256 of the URI's bytes as on-chain. */
  readonly uriSha256: Hex
}

/**
 * Id of a submission as SensorRegistry computes it (docs/contracts.md). 32-byte lower-case 0x hex.
 * Throws `BAD_HEX` on malformed hashes and addresses, `RangeError` on a negative integer.
 */
export const submissionId = (fields: SubmissionIdFields): Hex =>
  hashAbi(TAG_SUBMISSION, [
    uint(fields.chainId),
    address(fields.registry),
    address(fields.contributor),
    uint(fields.nonce),
    text(fields.sensor),
    bytes32(fields.payloadHash),
    uint(fields.payloadBytes),
    bytes32(fields.uriSha256),
  ])

/** Every field of a settled submission. */
export interface RecordFields {
  readonly chainId: Uint
  readonly registry: Hex
  readonly id: Hex
  readonly contributor: Hex
  readonly sensor: string
  readonly dataset: string
  /** SHA-256 of the dataset's schema file in force at the submission. */
  readonly schemaSha256: Hex
  readonly payloadHash: Hex
  readonly payloadBytes: Uint
  readonly uriSha256: Hex
  /** SHA-256 of the contributor's public key in force at the submission. */
  readonly keyId: Hex
  readonly submittedBlock: Uint
  /** The contributor's number of settled submissions before this one. */
  readonly seq: Uint
  /** The registry's number of settled submissions before this one: the leaf index. */
  readonly index: Uint
  readonly outcome: Outcome
}

/**
 * The record that SensorRegistry stores for a settled submission (docs/contracts.md). 32-byte lower-case 0x hex.
 * Throws `BAD_HEX` on malformed hashes and addresses, `RangeError` on a negative integer.
 */
export const recordHash = (fields: RecordFields): Hex =>
  hashAbi(TAG_RECORD, [
    uint(fields.chainId),
    address(fields.registry),
    bytes32(fields.id),
    address(fields.contributor),
    text(fields.sensor),
    text(fields.dataset),
    bytes32(fields.schemaSha256),
    bytes32(fields.payloadHash),
    uint(fields.payloadBytes),
    bytes32(fields.uriSha256),
    bytes32(fields.keyId),
    uint(fields.submittedBlock),
    uint(fields.seq),
    uint(fields.index),
    uint(OUTCOME_NUMBERS[fields.outcome]),
  ])

/** A contributor's `acc` after `record`; before its first record it is `ZERO_WORD`. Throws `BAD_HEX`. */
export const nextAcc = (acc: Hex, record: Hex): Hex => hashAbi(TAG_ACC, [bytes32(acc), bytes32(record)])

/** One step of ReceiptAnchor's hash chain over all its anchors. */
export interface AnchorFields {
  readonly chainId: Uint
  /** Address of the ReceiptAnchor. */
  readonly anchor: Hex
  /** Number of this anchor, from 1. */
  readonly seq: Uint
  readonly size: Uint
  readonly root: Hex
  readonly blockNumber: Uint
  /** The block's time in seconds. */
  readonly time: Uint
}

/** ReceiptAnchor's `chain` after an anchor; before the first it is `ZERO_WORD`. Throws as `submissionId`. */
export const nextAnchorChain = (chain: Hex, fields: AnchorFields): Hex =>
  hashAbi(TAG_ANCHORS, [
    uint(fields.chainId),
    address(fields.anchor),
    bytes32(chain),
    uint(fields.seq),
    uint(fields.size),
    bytes32(fields.root),
    uint(fields.blockNumber),
    uint(fields.time),
  ])

/**
 * The 32 bytes that a proof of possession signs: `SHA-256("dunes.key/v1\0" || chainid u256 || registry || account ||
 * keyIndex u64)`, integers big-endian. `keyIndex` is 0 for `registerKey` and one more for each `rotateKey`.
 * Throws `BAD_HEX` on malformed addresses, `RangeError` on an integer that does not fit.
 */
export const keyPossessionDigest = (fields: {
  readonly chainId: Uint
  readonly registry: Hex
  readonly account: Hex
  readonly keyIndex: Uint
}): Uint8Array =>
  sha256(
    KEY_PREFIX,
    u256be(fields.chainId),
    fromHex(fields.registry.toLowerCase(), 20),
    fromHex(fields.account.toLowerCase(), 20),
    u64be(fields.keyIndex),
  )
