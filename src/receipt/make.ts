import type { Hex } from '../core/bytes.ts'
import { DunesError } from '../core/error.ts'
import { formatSeconds } from '../maml/time.ts'
import { type Entry, encodeEntry, type Outcome, readLines, unreadLines } from './entry.ts'
import type { Judgement, ReadPayload } from './judge.ts'

type Int = number | bigint

/** What the chain says of a settled submission. Hex is lower-case; integers are from 0 to 2^53 - 1. */
export interface SettledFacts {
  origin: string
  chain: string
  registry: Hex
  index: Int
  submission: Hex
  contributor: Hex
  /** The record's number among its contributor's, from 0. */
  seq: Int
  /** The contributor's accumulator after this record. */
  acc: Hex
  sensor: string
  dataset: string
  schemaSha256: Hex
  uriSha256: Hex
  payload: { sha256: Hex; bytes: Int }
  keyId: Hex
  submitted: { block: Int; logIndex: Int }
  /** `time` is the block's, in seconds since 1970. */
  settled: { tx: Hex; block: Int; blockHash: Hex; logIndex: Int; time: Int }
  outcome: Outcome
}

/** The part of a judgement that a receipt holds: what remains when the payload itself has been put away. */
export type ReceiptJudgement = Pick<Judgement, 'verdict' | 'reason' | 'observed'> & {
  read: Omit<ReadPayload, 'payload'> | null
}

/**
 * The entry of one settled submission, from what the chain says of it and the final judgement. Throws `ENTRY_INVALID`
 * when they do not fit each other or the format.
 */
export function makeReceiptEntry(facts: SettledFacts, judgement: ReceiptJudgement): Uint8Array {
  const { read } = judgement
  const time = formatSeconds(facts.settled.time)
  const entry: Entry = {
    v: 1,
    origin: facts.origin,
    chain: facts.chain,
    registry: facts.registry,
    index: integer(facts.index),
    submission: facts.submission,
    contributor: facts.contributor,
    seq: integer(facts.seq),
    acc: facts.acc,
    sensor: facts.sensor,
    dataset: facts.dataset,
    schemaSha256: facts.schemaSha256,
    uriSha256: facts.uriSha256,
    payload: { sha256: facts.payload.sha256, bytes: integer(facts.payload.bytes) },
    payloadSig: {
      alg: read?.signatureSha256 ? 'ML-DSA-65' : null,
      keyId: facts.keyId,
      sha256: read?.signatureSha256 ?? null,
    },
    readings: read?.readings ?? null,
    submitted: { block: integer(facts.submitted.block), logIndex: integer(facts.submitted.logIndex) },
    settled: {
      tx: facts.settled.tx,
      block: integer(facts.settled.block),
      blockHash: facts.settled.blockHash,
      logIndex: integer(facts.settled.logIndex),
      time,
    },
    outcome: facts.outcome,
    verdict: judgement.verdict,
    reason: judgement.reason,
    observed: judgement.observed,
    mirrorSha256: read?.mirrorSha256 ?? null,
  }
  return encodeEntry(entry, read ? readLines(read.names, read.firstTimestamp) : unreadLines(time))
}

function integer(value: Int): number {
  const number = Number(value)
  if (Number.isSafeInteger(number)) return number
  throw new DunesError('ENTRY_INVALID', `${value} is beyond what an entry's integers can hold`)
}
