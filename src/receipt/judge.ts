import { type Hex, sha256, toHex } from '../core/bytes.ts'
import type { MlDsa } from '../core/ml-dsa.ts'
import type { Reason } from '../core/reason.ts'
import { MamlError } from '../maml/error.ts'
import { type MamlPayload, parseMaml } from '../maml/parse.ts'
import { parseSchemaFile, type SchemaFile, validateReading } from '../maml/schema.ts'
import { verifyMaml } from '../maml/sign.ts'
import { type Moment, parseTimestamp } from '../maml/time.ts'
import type { Outcome, Verdict } from './entry.ts'
import { mirrorBytes } from './mirror.ts'
import type { AgeLimit, LeafPolicy } from './policy.ts'

/** All that the verdict on one settled submission depends on, but for earlier leaves. */
export interface JudgeFacts {
  outcome: Outcome
  /** CAIP-2 id. */
  chain: string
  contributor: Hex
  sensor: string
  dataset: string
  /** As declared on-chain. */
  payload: { sha256: Hex; bytes: number }
  /** Whether syntax and leaf policy alone refuse the submission's URI. */
  uriRefused: boolean
  /** The payload's bytes, or null when none with that hash and length could be obtained before the grace ended. */
  bytes: Uint8Array | null
  /** The contributor's key in force at the submission, and whether its proof of possession verifies; null if none. */
  key: { publicKey: Uint8Array; possessionValid: boolean } | null
  /** Public keys that the contributor had registered before that one, proved or not. */
  earlierKeys: readonly Uint8Array[]
  /** Bytes of the dataset's schema file in force at the submission. */
  schema: Uint8Array
  /** The submission block's time, in seconds since 1970. */
  submittedTime: number
  /** The leaf policy in force at the submission's index. */
  policy: LeafPolicy
}

/** What a payload that was read adds to its receipt and to the graph. */
export interface ReadPayload {
  /** How many readings. */
  readings: number
  /** Value names in byte order. */
  names: readonly string[]
  /** The first reading's timestamp, verbatim. */
  firstTimestamp: string
  /** SHA-256 of the signature's bytes; null where the signature is missing or malformed, as there are no bytes then. */
  signatureSha256: Hex | null
  /** With the contributor, what makes two submissions duplicates. */
  signedBytesSha256: Hex
  mirrorSha256: Hex
  payload: MamlPayload
}

export interface Judgement {
  verdict: Verdict
  /** The first reason that applies, in the order of `REASONS`; null when accepted. */
  reason: Reason | null
  /** Whether the verdict is the operator's statement about the payload's host rather than a computed fact. */
  observed: boolean
  /** Null unless the outcome is validated, the URI is not refused, the bytes are there and they parse. */
  read: ReadPayload | null
  /**
   * What exactly was found, for people; no part of the leaf. Printable ASCII, as it may quote the payload. Null when
   * accepted, or when the reason says it all.
   */
  detail: string | null
}

export interface JudgeTools {
  mlDsa: MlDsa
  /** A cache over {@link parseSchemaFile}: gives the file, or null where the bytes are none. */
  schemaFile?: (bytes: Uint8Array) => SchemaFile | null
}

/** A question that judging asks on its way: whether `payload` is signed by `publicKey`. */
export interface SignatureCheck {
  readonly payload: MamlPayload
  readonly publicKey: Uint8Array
}

/**
 * The verdict on one settled submission, but for `DUPLICATE` (see {@link judgeDuplicate}): a pure function of its
 * facts. Reasons are looked for in the order of `REASONS`, so that the first found is the one to report.
 */
export function judge(facts: JudgeFacts, tools: JudgeTools): Judgement {
  const steps = judging(facts, tools)
  for (let step = steps.next(); ; ) {
    if (step.done) return step.value
    step = steps.next(verifyMaml(step.value.payload, step.value.publicKey, tools.mlDsa))
  }
}

/**
 * {@link judge} for whoever checks signatures elsewhere, such as on other threads: yields each signature to be checked, is told whether it
 * is valid, and returns the verdict. What is refused without looking at the signature yields nothing.
 */
export function* judging(
  facts: JudgeFacts,
  tools: Omit<JudgeTools, 'mlDsa'>,
): Generator<SignatureCheck, Judgement, boolean> {
  const unread = (reason: Reason, detail: string | null = null): Judgement => ({
    verdict: 'rejected',
    reason,
    observed: reason === 'PAYLOAD_UNAVAILABLE',
    read: null,
    detail: detail && printable(detail),
  })
  if (facts.outcome === 'rejected') return unread('QUORUM_REJECTED')
  if (facts.outcome === 'expired') return unread('EXPIRED')
  if (facts.uriRefused) return unread('URI_REFUSED')
  const { bytes } = facts
  if (bytes === null) return unread('PAYLOAD_UNAVAILABLE')
  if (bytes.length !== facts.payload.bytes)
    return unread('PAYLOAD_UNAVAILABLE', `${bytes.length} bytes instead of ${facts.payload.bytes}`)
  if (toHex(sha256(bytes)) !== facts.payload.sha256)
    return unread('PAYLOAD_UNAVAILABLE', 'the bytes have another SHA-256 than the submission')

  let payload: MamlPayload
  try {
    payload = parseMaml(bytes, facts.policy.limits)
  } catch (error) {
    if (error instanceof MamlError) return unread('MAML_MALFORMED', error.message)
    throw error
  }
  const { signature } = payload
  const read: ReadPayload = {
    readings: payload.readings.length,
    names: payload.names,
    firstTimestamp: firstTimestamp(payload),
    signatureSha256: signature.kind === 'present' ? toHex(sha256(signature.bytes)) : null,
    signedBytesSha256: toHex(sha256(payload.signedBytes)),
    mirrorSha256: toHex(sha256(mirrorBytes(bytes))),
    payload,
  }
  const found = yield* findReason(facts, payload, tools)
  return {
    verdict: found ? 'rejected' : 'accepted',
    reason: found?.[0] ?? null,
    observed: false,
    read,
    detail: found?.[1] ? printable(found[1]) : null,
  }
}

/**
 * The last check: `duplicate` says whether the same contributor has an accepted submission with a smaller index and
 * the same `signedBytesSha256`. What is rejected already keeps its reason, as `DUPLICATE` is the last in order.
 */
export const judgeDuplicate = (judgement: Judgement, duplicate: boolean): Judgement =>
  duplicate && judgement.verdict === 'accepted'
    ? { ...judgement, verdict: 'rejected', reason: 'DUPLICATE' }
    : judgement

/** Escapes what could steer a terminal or hide in a page, and bounds the length. */
const printable = (text: string): string =>
  [...text.slice(0, 1000)]
    .map((c) => (c >= ' ' && c <= '~' ? c : `\\u{${c.codePointAt(0)?.toString(16)}}`))
    .join('')
    .slice(0, 1000)

type Found = readonly [reason: Reason, detail: string | null]

function* findReason(
  facts: JudgeFacts,
  payload: MamlPayload,
  tools: Omit<JudgeTools, 'mlDsa'>,
): Generator<SignatureCheck, Found | null, boolean> {
  const { key, policy } = facts
  const schema = (tools.schemaFile ?? ((bytes) => readSchemaFile(bytes, policy)))(facts.schema)
  const mismatch = metadataMismatch(facts, payload, schema)
  if (mismatch) return ['METADATA_MISMATCH', mismatch]
  if (!key?.possessionValid) return ['KEY_UNKNOWN', null]
  // Without a signature in form there is nothing that any key could have made.
  const present = payload.signature.kind === 'present'
  const valid = present && (yield { payload, publicKey: key.publicKey })
  if (present && !valid)
    for (const publicKey of facts.earlierKeys) if (yield { payload, publicKey }) return ['KEY_REVOKED', null]
  if (payload.signature.kind === 'missing') return ['SIGNATURE_MISSING', null]
  if (payload.signature.kind === 'malformed')
    return ['SIGNATURE_INVALID', 'the signature value is not 0x and 6,618 lower-case hex digits']
  if (!valid) return ['SIGNATURE_INVALID', 'no registered key of the contributor made this signature']
  if (!schema) return ['SCHEMA_UNKNOWN', null]
  for (const [index, reading] of payload.readings.entries()) {
    const issue = validateReading(schema, reading, index)[0]
    if (issue) return ['SCHEMA_INVALID', `reading ${index}, ${issue.path || 'itself'}: ${issue.sentence}`]
  }
  const age = Object.hasOwn(policy.ages, facts.dataset) ? policy.ages[facts.dataset] : undefined
  const moment = parseTimestamp(firstTimestamp(payload))
  if (age && moment && isStale(moment, facts.submittedTime, age))
    return ['STALE', `${firstTimestamp(payload)} is too far from the submission block's time`]
  return null
}

const firstTimestamp = (payload: MamlPayload): string => payload.readings[0]?.['timestamp'] as string

/** The schema file that `bytes` are, or null where they are none (`SCHEMA_UNKNOWN`). */
export function readSchemaFile(bytes: Uint8Array, policy: LeafPolicy): SchemaFile | null {
  try {
    return parseSchemaFile(bytes, policy.limits)
  } catch (error) {
    if (error instanceof MamlError) return null
    throw error
  }
}

/** What the payload says and the chain contradicts, or null. What front matter leaves out is not compared. */
function metadataMismatch(
  facts: JudgeFacts,
  { frontMatter, readings }: MamlPayload,
  schema: SchemaFile | null,
): string | null {
  const expected = {
    contributor: `${facts.chain}:${facts.contributor}`,
    sensor: facts.sensor,
    dataset: facts.dataset,
    // Without a valid schema file there is no name to contradict; SCHEMA_UNKNOWN comes in its turn.
    ...(schema && { schema: schema.name }),
  }
  for (const [key, value] of Object.entries(expected)) {
    const said = frontMatter[key as keyof typeof expected]
    if (said !== undefined && said !== value) return `${key} is ${said}, on-chain it is ${value}`
  }
  const index = readings.findIndex((reading) => reading['sensor_id'] !== facts.sensor)
  return index < 0 ? null : `sensor_id of reading ${index} is not ${facts.sensor}`
}

function isStale({ seconds, nanoseconds }: Moment, submitted: number, age: AgeLimit): boolean {
  // Whole seconds first: a fraction only matters on the second of the later limit itself.
  const ahead = seconds - submitted
  if (-ahead > age.maxAgeSeconds) return true
  return ahead > age.maxAheadSeconds || (ahead === age.maxAheadSeconds && nanoseconds > 0)
}
