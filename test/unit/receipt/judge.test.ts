import { describe, expect, it } from 'vitest'
import { concat, decodeUtf8, fromHex, sha256, toHex, utf8 } from '../../../src/core/bytes.ts'
import { nobleMlDsa } from '../../../src/core/ml-dsa.ts'
import { nativeMlDsa } from '../../../src/core/ml-dsa-native.ts'
import { REASONS, type Reason } from '../../../src/core/reason.ts'
import { type BuildMaml, buildMaml } from '../../../src/maml/build.ts'
import { parseMaml } from '../../../src/maml/parse.ts'
import { signMaml } from '../../../src/maml/sign.ts'
import { type JudgeFacts, judge, judgeDuplicate } from '../../../src/receipt/judge.ts'
import { mirror } from '../../../src/receipt/mirror.ts'
import { DEVNET_POLICY } from '../../../src/receipt/policy.ts'
import { IOT_SCHEMA } from '../maml/fixture.ts'
import {
  FRONT_MATTER,
  judged,
  judgeFacts,
  keyOf,
  named,
  READING,
  type SEEDS,
  SIGNED,
  seedOf,
  UNSIGNED,
} from './fixture.ts'

const sign = (change: Partial<BuildMaml>, who: keyof typeof SEEDS = 'key') =>
  signMaml(buildMaml({ frontMatter: FRONT_MATTER, readings: [READING], ...change }), seedOf(who), nativeMlDsa)
const reasonOf = (change: Partial<JudgeFacts>) => judged(change).reason
const withAges = (maxAgeSeconds: number, maxAheadSeconds: number) => ({
  ...DEVNET_POLICY,
  ages: { helium_sensors: { maxAgeSeconds, maxAheadSeconds } },
})
/** The signature's bytes, taken from the file's last line by hand. */
const signatureOf = (file: Uint8Array) => fromHex(decodeUtf8(file).slice(-1 - 6618 - 2, -1))
const NO_SCHEMA = utf8('no schema file\n')

describe('acceptance', () => {
  it('reads the payload and says what the receipt needs', () => {
    expect(judged()).toEqual({
      verdict: 'accepted',
      reason: null,
      observed: false,
      detail: null,
      read: {
        readings: 1,
        names: ['air_quality', 'sensor_id', 'timestamp'],
        firstTimestamp: '2025-10-01T23:30:00Z',
        signatureSha256: toHex(sha256(signatureOf(SIGNED))),
        signedBytesSha256: toHex(sha256(UNSIGNED)),
        mirrorSha256: toHex(sha256(utf8(mirror(decodeUtf8(SIGNED))))),
        payload: parseMaml(SIGNED),
      },
    })
  })

  it('takes the chain for what front matter leaves out', () => {
    const { frontMatter: _, ...none } = { frontMatter: FRONT_MATTER, readings: [READING] }
    const bytes = signMaml(buildMaml(none), seedOf('key'), nativeMlDsa)
    expect(reasonOf({ bytes })).toBeNull()
  })

  it('compares `created` with nothing', () => {
    const bytes = sign({ frontMatter: { ...FRONT_MATTER, created: '1999-01-01T00:00:00Z' } })
    expect(reasonOf({ bytes })).toBeNull()
  })

  it('is the same by either ML-DSA', () => {
    for (const change of [{}, { key: { publicKey: keyOf('stranger'), possessionValid: true } }]) {
      const facts = judgeFacts(change)
      const one = judge(facts, { mlDsa: nativeMlDsa })
      const other = judge(facts, { mlDsa: nobleMlDsa })
      expect(other).toEqual(one)
    }
  })
})

describe('each reason', () => {
  it('QUORUM_REJECTED and EXPIRED, even if the payload is fine', () => {
    expect(judged({ outcome: 'rejected' })).toEqual({
      verdict: 'rejected',
      reason: 'QUORUM_REJECTED',
      observed: false,
      read: null,
      detail: null,
    })
    expect(judged({ outcome: 'expired' })).toMatchObject({ reason: 'EXPIRED', observed: false, read: null })
  })

  it('URI_REFUSED, even if the indexer holds the bytes', () => {
    expect(judged({ uriRefused: true })).toMatchObject({ reason: 'URI_REFUSED', observed: false, read: null })
  })

  it.each<[string, Partial<JudgeFacts>]>([
    ['no bytes', { bytes: null }],
    ['truncated bytes', { bytes: SIGNED.subarray(1), payload: judgeFacts().payload }],
    ['longer bytes', { bytes: concat(SIGNED, utf8('\n')), payload: judgeFacts().payload }],
    [
      'another length, with the right hash',
      { payload: { ...judgeFacts().payload, bytes: SIGNED.length + 1 } },
    ],
    ['another hash', { payload: { sha256: named('other'), bytes: SIGNED.length } }],
  ])('PAYLOAD_UNAVAILABLE: %s', (_, change) => {
    expect(judged(change)).toMatchObject({ reason: 'PAYLOAD_UNAVAILABLE', observed: true, read: null })
  })

  it('MAML_MALFORMED, with the place', () => {
    const found = judged({ bytes: concat(utf8('\ufeff'), SIGNED) })
    expect(found).toMatchObject({ reason: 'MAML_MALFORMED', observed: false, read: null })
    expect(found.detail).toContain('line 1, column 1')
    expect(reasonOf({ bytes: new Uint8Array([0xff]) })).toBe('MAML_MALFORMED')
    expect(reasonOf({ bytes: new Uint8Array() })).toBe('MAML_MALFORMED')
  })

  it.each<[string, Partial<BuildMaml>]>([
    ['sensor', { frontMatter: { ...FRONT_MATTER, sensor: 'helium_002' } }],
    ['dataset', { frontMatter: { ...FRONT_MATTER, dataset: 'other' } }],
    ['schema', { frontMatter: { ...FRONT_MATTER, schema: 'other.maml' } }],
    ['contributor', { frontMatter: { ...FRONT_MATTER, contributor: `eip155:1:0x${'c0'.repeat(20)}` } }],
    ['contributor', { frontMatter: { ...FRONT_MATTER, contributor: `eip155:31337:0x${'C0'.repeat(20)}` } }],
    ['sensor_id of reading 0', { readings: [{ ...READING, sensor_id: 'helium_002' }] }],
    ['sensor_id of reading 1', { readings: [READING, { ...READING, sensor_id: 'helium_002' }] }],
  ])('METADATA_MISMATCH in %s', (what, change) => {
    const found = judged({ bytes: sign(change) })
    expect(found).toMatchObject({ verdict: 'rejected', reason: 'METADATA_MISMATCH', observed: false })
    expect(found.detail).toContain(what)
    // It was read all the same.
    expect(found.read?.mirrorSha256).toBeTruthy()
    expect(found.read?.signatureSha256).toBeTruthy()
  })

  it('KEY_UNKNOWN without a key or a valid proof of possession', () => {
    expect(reasonOf({ key: null })).toBe('KEY_UNKNOWN')
    expect(reasonOf({ key: { publicKey: keyOf('key'), possessionValid: false } })).toBe('KEY_UNKNOWN')
  })

  it('KEY_REVOKED where an earlier key signed, SIGNATURE_INVALID where a stranger did', () => {
    expect(reasonOf({ bytes: sign({}, 'earlier') })).toBe('KEY_REVOKED')
    expect(reasonOf({ bytes: sign({}, 'earlier'), earlierKeys: [] })).toBe('SIGNATURE_INVALID')
    expect(reasonOf({ bytes: sign({}, 'earlier'), earlierKeys: [keyOf('stranger'), keyOf('earlier')] })).toBe(
      'KEY_REVOKED',
    )
    expect(reasonOf({ bytes: sign({}, 'stranger') })).toBe('SIGNATURE_INVALID')
    // A key that was registered again is in force, whatever it was before.
    expect(reasonOf({ earlierKeys: [keyOf('key')] })).toBeNull()
  })

  it('SIGNATURE_MISSING and a malformed signature are read, without a signature hash', () => {
    const missing = judged({ bytes: UNSIGNED })
    expect(missing.reason).toBe('SIGNATURE_MISSING')
    expect(missing.read).toMatchObject({ readings: 1, signatureSha256: null })
    const malformed = judged({ bytes: utf8(decodeUtf8(SIGNED).replace('Dilithium: 0x', 'Dilithium: 0X')) })
    expect(malformed.reason).toBe('SIGNATURE_INVALID')
    expect(malformed.read).toMatchObject({ readings: 1, signatureSha256: null })
  })

  it('SIGNATURE_INVALID on a change of any signed byte', () => {
    const bytes = utf8(decodeUtf8(SIGNED).replace('85', '84'))
    expect(reasonOf({ bytes })).toBe('SIGNATURE_INVALID')
  })

  it('SCHEMA_UNKNOWN where the registered bytes are no schema file, whatever schema is named', () => {
    expect(reasonOf({ schema: NO_SCHEMA })).toBe('SCHEMA_UNKNOWN')
    expect(reasonOf({ schema: SIGNED })).toBe('SCHEMA_UNKNOWN')
  })

  it('SCHEMA_INVALID names reading, path and fault', () => {
    const found = judged({ bytes: sign({ readings: [READING, { ...READING, air_quality: 501 }] }) })
    expect(found.reason).toBe('SCHEMA_INVALID')
    expect(found.detail).toBe('reading 1, /air_quality: 501 is more than the maximum 500')
  })

  it('STALE by the first reading and the submission block, only where the policy has an age', () => {
    // The reading is two seconds older than the submission block.
    expect(reasonOf({ policy: withAges(2, 0) })).toBeNull()
    expect(reasonOf({ policy: withAges(1, 0) })).toBe('STALE')
    expect(
      reasonOf({ policy: { ...DEVNET_POLICY, ages: { other: { maxAgeSeconds: 0, maxAheadSeconds: 0 } } } }),
    ).toBeNull()
    const submittedTime = 1_759_361_390
    expect(reasonOf({ policy: withAges(0, 10), submittedTime })).toBeNull()
    expect(reasonOf({ policy: withAges(0, 9), submittedTime })).toBe('STALE')
    const fraction = sign({ readings: [{ ...READING, timestamp: '2025-10-01T23:30:00.000000001Z' }] })
    expect(reasonOf({ bytes: fraction, policy: withAges(0, 10), submittedTime })).toBe('STALE')
    expect(reasonOf({ bytes: fraction, policy: withAges(2, 0) })).toBeNull()
    expect(reasonOf({ bytes: fraction, policy: withAges(1, 0) })).toBe('STALE')
    const second = sign({ readings: [READING, { ...READING, timestamp: '1999-10-01T23:30:00Z' }] })
    expect(reasonOf({ bytes: second, policy: withAges(2, 0) })).toBeNull()
  })

  it('DUPLICATE only where nothing else applies', () => {
    expect(judgeDuplicate(judged(), false)).toEqual(judged())
    const found = judgeDuplicate(judged(), true)
    expect(found).toEqual({ ...judged(), verdict: 'rejected', reason: 'DUPLICATE' })
    expect(judgeDuplicate(judged({ key: null }), true).reason).toBe('KEY_UNKNOWN')
  })
})

describe('the order of reasons', () => {
  // Faults that apply together, built up from the last reason to the first: each new one must win.
  const later: [Reason, Partial<JudgeFacts>][] = [
    ['STALE', { policy: withAges(0, 0) }],
    ['SCHEMA_INVALID', { bytes: sign({ readings: [{ ...READING, air_quality: 501 }] }) }],
    ['SCHEMA_UNKNOWN', { schema: NO_SCHEMA }],
    ['SIGNATURE_INVALID', { bytes: sign({ readings: [{ ...READING, air_quality: 501 }] }, 'stranger') }],
    ['SIGNATURE_MISSING', { bytes: buildMaml({ frontMatter: FRONT_MATTER, readings: [READING] }) }],
    ['KEY_REVOKED', { bytes: sign({ readings: [{ ...READING, air_quality: 501 }] }, 'earlier') }],
    ['KEY_UNKNOWN', { key: { publicKey: keyOf('key'), possessionValid: false } }],
    ['METADATA_MISMATCH', { sensor: 'helium_009' }],
    ['MAML_MALFORMED', { bytes: utf8('x') }],
    ['PAYLOAD_UNAVAILABLE', { bytes: null }],
    ['URI_REFUSED', { uriRefused: true }],
    ['EXPIRED', { outcome: 'expired' }],
  ]
  it('follows REASONS', () => {
    let all: Partial<JudgeFacts> = {}
    for (const [reason, change] of later) {
      all = { ...all, ...change }
      expect(reasonOf(all)).toBe(reason)
    }
    expect(later.map(([reason]) => reason).reverse()).toEqual(REASONS.slice(1, -1))
    expect(reasonOf({ ...all, outcome: 'rejected' })).toBe('QUORUM_REJECTED')
  })

  it('parses each schema once where the caller caches it', () => {
    const asked: Uint8Array[] = []
    const schemaFile = (bytes: Uint8Array) => {
      asked.push(bytes)
      return null
    }
    expect(judge(judgeFacts(), { mlDsa: nativeMlDsa, schemaFile }).reason).toBe('SCHEMA_UNKNOWN')
    expect(asked).toEqual([IOT_SCHEMA])
  })
})
