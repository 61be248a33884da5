import { type Hex, sha256, toHex, utf8 } from '../../../src/core/bytes.ts'
import type { JsonObject } from '../../../src/core/json.ts'
import { nativeMlDsa } from '../../../src/core/ml-dsa-native.ts'
import { buildMaml } from '../../../src/maml/build.ts'
import { signMaml } from '../../../src/maml/sign.ts'
import type { Outcome } from '../../../src/receipt/entry.ts'
import { MuError } from '../../../src/receipt/error.ts'
import { type JudgeFacts, type Judgement, judge } from '../../../src/receipt/judge.ts'
import { makeReceiptEntry, type SettledFacts } from '../../../src/receipt/make.ts'
import { DEVNET_POLICY } from '../../../src/receipt/policy.ts'
import { IOT_SCHEMA } from '../maml/fixture.ts'

/** Fixed ML-DSA-65 seeds: the contributor's key in force, an earlier one, somebody else's, and the indexer's. */
export const SEEDS = { key: 1, earlier: 2, stranger: 3, indexer: 4 } as const
export const seedOf = (who: keyof typeof SEEDS): Uint8Array => new Uint8Array(32).fill(SEEDS[who])
export const keyOf = (who: keyof typeof SEEDS): Uint8Array => nativeMlDsa.publicKey(65, seedOf(who))

/** A stand-in hash for what these tests do not compute: SHA-256 of a name. */
export const named = (name: string): Hex => toHex(sha256(utf8(name)))

export const CHAIN = 'eip155:31337'
export const CONTRIBUTOR: Hex = `0x${'c0'.repeat(20)}`
export const READING: JsonObject = {
  sensor_id: 'helium_001',
  air_quality: 85,
  timestamp: '2025-10-01T23:30:00Z',
}
export const FRONT_MATTER = {
  maml: '1.0',
  schema: 'iot_data.maml',
  dataset: 'helium_sensors',
  sensor: 'helium_001',
  contributor: `${CHAIN}:${CONTRIBUTOR}`,
  created: '2025-10-01T23:30:00Z',
}
export const UNSIGNED = buildMaml({ frontMatter: FRONT_MATTER, readings: [READING] })
export const SIGNED = signMaml(UNSIGNED, seedOf('key'), nativeMlDsa)

/** Facts of a submission that is accepted; the declared hash and length follow `bytes` unless given. */
export function judgeFacts(change: Partial<JudgeFacts> = {}): JudgeFacts {
  const bytes = change.bytes === undefined ? SIGNED : change.bytes
  return {
    outcome: 'validated',
    chain: CHAIN,
    contributor: CONTRIBUTOR,
    sensor: 'helium_001',
    dataset: 'helium_sensors',
    payload: { sha256: toHex(sha256(bytes ?? SIGNED)), bytes: (bytes ?? SIGNED).length },
    uriRefused: false,
    bytes,
    key: { publicKey: keyOf('key'), possessionValid: true },
    earlierKeys: [keyOf('earlier')],
    schema: IOT_SCHEMA,
    submittedTime: 1_759_361_402,
    policy: DEVNET_POLICY,
    ...change,
  }
}

export const judged = (change: Partial<JudgeFacts> = {}): Judgement =>
  judge(judgeFacts(change), { mlDsa: nativeMlDsa })

export function settledFacts(payload: Uint8Array, outcome: Outcome = 'validated'): SettledFacts {
  return {
    origin: 'dunes.example/logs/devnet',
    chain: CHAIN,
    registry: `0x${'5e'.repeat(20)}`,
    index: 7n,
    submission: named('submission'),
    contributor: CONTRIBUTOR,
    seq: 3n,
    acc: named('acc'),
    sensor: 'helium_001',
    dataset: 'helium_sensors',
    schemaSha256: toHex(sha256(IOT_SCHEMA)),
    uriSha256: named('uri'),
    payload: { sha256: toHex(sha256(payload)), bytes: payload.length },
    keyId: toHex(sha256(keyOf('key'))),
    submitted: { block: 11n, logIndex: 2 },
    settled: { tx: named('tx'), block: 13n, blockHash: named('block'), logIndex: 5, time: 1_759_361_404n },
    outcome,
  }
}

/** The entry about a payload, judged as it is. */
export const entryFor = (bytes: Uint8Array, change: Partial<JudgeFacts> = {}): Uint8Array =>
  makeReceiptEntry(settledFacts(bytes, change.outcome), judged({ bytes, ...change }))

/** Runs `call` and gives the MuError that it throws; any other outcome fails the test. */
export function muRefusal(call: () => unknown): MuError {
  try {
    call()
  } catch (error) {
    if (error instanceof MuError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}
