import { decodeUtf8, type Hex, utf8 } from '../core/bytes.ts'
import type { MlDsa } from '../core/ml-dsa.ts'
import type { Reason } from '../core/reason.ts'
import { MamlError } from '../maml/error.ts'
import { type MamlPayload, parseMaml } from '../maml/parse.ts'
import { parseSchemaFile, type SchemaFile, validateReading } from '../maml/schema.ts'
import { verifyMaml } from '../maml/sign.ts'
import { parseTimestamp } from '../maml/time.ts'
import { sha256Hex } from './hash.ts'
import type { AuditPolicy } from './policy.ts'
import { isUriRefused } from './uri.ts'

/** Outcomes by the contract's number less one. */
export const OUTCOMES = ['validated', 'rejected', 'expired'] as const
export type Outcome = (typeof OUTCOMES)[number]

/** A key of a contributor; `proved` is what its proof of possession verified as here. */
export interface AuditKey {
  readonly publicKey: Uint8Array
  readonly proved: boolean
}

/** What the verdict on one settled submission depends on, besides earlier leaves and the payload's bytes. */
export interface VerdictFacts {
  readonly outcome: Outcome
  /** CAIP-2. */
  readonly chain: string
  readonly contributor: Hex
  readonly sensor: string
  readonly dataset: string
  readonly payload: { readonly sha256: Hex; readonly bytes: number }
  readonly uri: Uint8Array
  /** Keys registered before the submission, oldest first; the last one is in force. */
  readonly keys: readonly AuditKey[]
  /** The registered bytes in force at the submission, read; null where they are no schema file. */
  readonly schema: SchemaFile | null
  /** Seconds since 1970. */
  readonly submittedTime: number
  readonly policy: AuditPolicy
}

/** What a payload that was read adds to the entry. */
export interface PayloadFacts {
  readonly readings: number
  readonly names: readonly string[]
  readonly firstTimestamp: string
  readonly signatureSha256: Hex | null
  readonly signedBytesSha256: Hex
  readonly mirrorSha256: Hex
}

export interface AuditVerdict {
  readonly reason: Reason | null
  readonly read: PayloadFacts | null
  /** The parsed payload, where it was read. */
  readonly payload: MamlPayload | null
}

/** The reason that chain and URI alone give, or null where the payload decides. */
export function reasonOnChain({ outcome, uri }: Pick<VerdictFacts, 'outcome' | 'uri'>): Reason | null {
  if (outcome !== 'validated') return outcome === 'rejected' ? 'QUORUM_REJECTED' : 'EXPIRED'
  return isUriRefused(uri) ? 'URI_REFUSED' : null
}

/** The schema file that bytes are, or null. */
export function schemaOf(bytes: Uint8Array, policy: AuditPolicy): SchemaFile | null {
  return orNull(() => parseSchemaFile(bytes, policy.limits))
}

function orNull<T>(read: () => T): T | null {
  try {
    return read()
  } catch (error) {
    if (error instanceof MamlError) return null
    throw error
  }
}

/** The mirror of a text (docs/formats.md): its code points in reverse. */
export const mirrored = (text: string): string => [...text].reverse().join('')

type Test = (facts: VerdictFacts, payload: MamlPayload, mlDsa: MlDsa) => boolean

/** The reasons that need a parsed payload, in the order of docs/formats.md; the first whose test holds is the reason. */
const TESTS: readonly (readonly [Reason, Test])[] = [
  ['METADATA_MISMATCH', contradictsChain],
  ['KEY_UNKNOWN', ({ keys }) => keys.at(-1)?.proved !== true],
  ['KEY_REVOKED', isByEarlierKey],
  ['SIGNATURE_MISSING', (_, { signature }) => signature.kind === 'missing'],
  ['SIGNATURE_INVALID', (facts, payload, mlDsa) => !isByKeyInForce(facts, payload, mlDsa)],
  ['SCHEMA_UNKNOWN', ({ schema }) => schema === null],
  [
    'SCHEMA_INVALID',
    ({ schema }, { readings }) => readings.some((r) => validateReading(schema as SchemaFile, r).length > 0),
  ],
  ['STALE', isStale],
]

/**
 * The verdict on a settled submission, but for `DUPLICATE`, which earlier leaves decide. `bytes` is null where the payload
 * could not be obtained.
 */
export function verdictOf(facts: VerdictFacts, bytes: Uint8Array | null, mlDsa: MlDsa): AuditVerdict {
  const unread = (reason: Reason): AuditVerdict => ({ reason, read: null, payload: null })
  const onChain = reasonOnChain(facts)
  if (onChain) return unread(onChain)
  if (bytes === null || bytes.length !== facts.payload.bytes || sha256Hex(bytes) !== facts.payload.sha256)
    return unread('PAYLOAD_UNAVAILABLE')
  const payload = orNull(() => parseMaml(bytes, facts.policy.limits))
  if (payload === null) return unread('MAML_MALFORMED')
  const { signature } = payload
  return {
    reason: TESTS.find(([, holds]) => holds(facts, payload, mlDsa))?.[0] ?? null,
    payload,
    read: {
      readings: payload.readings.length,
      names: payload.names,
      firstTimestamp: payload.readings[0]?.['timestamp'] as string,
      signatureSha256: signature.kind === 'present' ? sha256Hex(signature.bytes) : null,
      signedBytesSha256: sha256Hex(payload.signedBytes),
      mirrorSha256: sha256Hex(utf8(mirrored(decodeUtf8(bytes)))),
    },
  }
}

function contradictsChain(facts: VerdictFacts, { frontMatter, readings }: MamlPayload): boolean {
  const { contributor, sensor, dataset, schema } = frontMatter
  return (
    (contributor ?? `${facts.chain}:${facts.contributor}`) !== `${facts.chain}:${facts.contributor}` ||
    (sensor ?? facts.sensor) !== facts.sensor ||
    (dataset ?? facts.dataset) !== facts.dataset ||
    (facts.schema !== null && (schema ?? facts.schema.name) !== facts.schema.name) ||
    readings.some((reading) => reading['sensor_id'] !== facts.sensor)
  )
}

const isByKeyInForce: Test = ({ keys }, payload, mlDsa) => {
  const key = keys.at(-1)
  return key !== undefined && verifyMaml(payload, key.publicKey, mlDsa)
}

function isByEarlierKey(facts: VerdictFacts, payload: MamlPayload, mlDsa: MlDsa): boolean {
  if (isByKeyInForce(facts, payload, mlDsa)) return false
  return facts.keys.slice(0, -1).some(({ publicKey }) => verifyMaml(payload, publicKey, mlDsa))
}

function isStale({ policy, dataset, submittedTime }: VerdictFacts, { readings }: MamlPayload): boolean {
  const age = Object.hasOwn(policy.ages, dataset) ? policy.ages[dataset] : undefined
  const moment = parseTimestamp(String(readings[0]?.['timestamp']))
  if (!age || !moment) return false
  const nanoseconds = BigInt(moment.seconds - submittedTime) * 1_000_000_000n + BigInt(moment.nanoseconds)
  return (
    nanoseconds < -BigInt(age.maxAgeSeconds) * 1_000_000_000n ||
    nanoseconds > BigInt(age.maxAheadSeconds) * 1_000_000_000n
  )
}
