import { describe, expect, it } from 'vitest'
import { concat, decodeUtf8, utf8 } from '../../../src/core/bytes.ts'
import { type MlDsa, nobleMlDsa } from '../../../src/core/ml-dsa.ts'
import { nativeMlDsa } from '../../../src/core/ml-dsa-native.ts'
import { buildMaml } from '../../../src/maml/build.ts'
import { parseMaml } from '../../../src/maml/parse.ts'
import { KEY_CONTEXT, provePossession, verifyPossession } from '../../../src/maml/possession.ts'
import { MAML_CONTEXT, signMaml, verifyMaml } from '../../../src/maml/sign.ts'
import { refusal } from './fixture.ts'

const SEED = new Uint8Array(32).fill(9)
const KEY = nobleMlDsa.publicKey(65, SEED)
const OTHER = nobleMlDsa.publicKey(65, new Uint8Array(32).fill(10))
const READING = { sensor_id: 'helium_001', air_quality: 85, timestamp: '2025-10-01T23:30:00Z' }
const UNSIGNED = buildMaml({ readings: [READING] })
const both: [MlDsa, MlDsa][] = [
  [nativeMlDsa, nobleMlDsa],
  [nobleMlDsa, nativeMlDsa],
  [nativeMlDsa, nativeMlDsa],
]
const named = both.map(([a, b]) => [a.name, b.name, a, b] as const)

describe('payload signatures', () => {
  it.each(named)('%s signs and %s verifies', (_a, _b, signer, verifier) => {
    expect(signer.publicKey(65, SEED)).toEqual(KEY)
    const file = signMaml(UNSIGNED, SEED, signer)
    const payload = parseMaml(file)
    expect(payload.signedBytes).toEqual(UNSIGNED)
    expect(verifyMaml(payload, KEY, verifier)).toBe(true)
    expect(verifyMaml(payload, OTHER, verifier)).toBe(false)
    expect(verifyMaml(payload, KEY.subarray(1), verifier)).toBe(false)
    const text = decodeUtf8(file).replace('"air_quality": 85', '"air_quality": 86')
    expect(verifyMaml(parseMaml(utf8(text)), KEY, verifier)).toBe(false)
  })

  it('holds for one context only', () => {
    expect(decodeUtf8(MAML_CONTEXT)).toBe('dunes.maml/v1')
    for (const context of [utf8('dunes.mu/v1'), utf8('')]) {
      const bytes = nativeMlDsa.sign(65, SEED, UNSIGNED, context)
      const payload = { signedBytes: UNSIGNED, signature: { kind: 'present', bytes } } as const
      expect(verifyMaml(payload, KEY, nativeMlDsa)).toBe(false)
    }
  })

  it('covers blank lines before the signature heading', () => {
    const file = signMaml(concat(UNSIGNED, utf8('\n')), SEED, nativeMlDsa)
    expect(verifyMaml(parseMaml(file), KEY, nativeMlDsa)).toBe(true)
    const without = utf8(decodeUtf8(file).replace('\n\n## Signature', '\n## Signature'))
    expect(verifyMaml(parseMaml(without), KEY, nativeMlDsa)).toBe(false)
  })

  it('is not verified where it is missing or malformed', () => {
    for (const kind of ['missing', 'malformed'] as const)
      expect(verifyMaml({ signedBytes: UNSIGNED, signature: { kind } }, KEY, nativeMlDsa)).toBe(false)
  })

  it('signs no signed file, no other file, and none that the signature makes too long', () => {
    const file = signMaml(UNSIGNED, SEED, nativeMlDsa)
    expect(() => signMaml(file, SEED, nativeMlDsa)).toThrow(
      expect.objectContaining({ code: 'MAML_ALREADY_SIGNED' }),
    )
    refusal(() => signMaml(utf8('x\n'), SEED, nativeMlDsa))
    refusal(() => signMaml(concat(utf8(`${'x'.repeat(1_048_000)}\n`), UNSIGNED), SEED, nativeMlDsa))
  })
})

describe('proofs of possession', () => {
  const digest = new Uint8Array(32).fill(3)
  it.each(named)('%s proves and %s verifies', (_a, _b, prover, verifier) => {
    const proof = provePossession(SEED, digest, prover)
    expect(verifyPossession(KEY, digest, proof, verifier)).toBe(true)
    expect(verifyPossession(OTHER, digest, proof, verifier)).toBe(false)
    expect(verifyPossession(KEY, new Uint8Array(32).fill(4), proof, verifier)).toBe(false)
    expect(verifyPossession(KEY, digest, new Uint8Array(0), verifier)).toBe(false)
    expect(verifyPossession(KEY, digest, prover.sign(65, SEED, digest, MAML_CONTEXT), verifier)).toBe(false)
    const long = new Uint8Array(33)
    expect(verifyPossession(KEY, long, prover.sign(65, SEED, long, KEY_CONTEXT), verifier)).toBe(false)
  })
})

describe('buildMaml', () => {
  it('writes what parseMaml reads', () => {
    const frontMatter = { created: '2025-10-01T23:30:00Z', maml: '1.0', sensor: 'helium_001' }
    const readings = [READING, { ...READING, air_quality: null }]
    const payload = parseMaml(buildMaml({ frontMatter, readings }))
    expect(payload.frontMatter).toEqual(frontMatter)
    expect(payload.readings).toEqual(readings)
    expect(payload.signature.kind).toBe('missing')
  })

  it('refuses what is no payload', () => {
    refusal(() => buildMaml({ readings: [] }))
    refusal(() => buildMaml({ readings: [{ ...READING, Bad: 1 }] }))
    refusal(() => buildMaml({ frontMatter: { maml: '2.0' }, readings: [READING] }))
    const injected = refusal(() =>
      buildMaml({ frontMatter: { maml: '1.0', sensor: 'a\ndataset: b' }, readings: [READING] }),
    )
    expect([injected.line, injected.column]).toEqual([3, 9])
  })
})
