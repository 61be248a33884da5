import { describe, expect, it } from 'vitest'
import { concat, decodeUtf8, utf8 } from '../../../src/core/bytes.ts'
import { nobleMlDsa } from '../../../src/core/ml-dsa.ts'
import { nativeMlDsa } from '../../../src/core/ml-dsa-native.ts'
import { mirror } from '../../../src/receipt/mirror.ts'
import { buildMu, parseMu, splitMu } from '../../../src/receipt/mu.ts'
import { repairMu, repairPayload } from '../../../src/receipt/repair.ts'
import { signEntry, verifyEntry } from '../../../src/receipt/sign.ts'
import { entryFor, keyOf, muRefusal, SIGNED, seedOf, UNSIGNED } from './fixture.ts'

const ENTRY = entryFor(SIGNED)
const SIGNATURE = new Uint8Array(3309).fill(0xab)
const MU = buildMu(ENTRY, SIGNED, SIGNATURE)
const BARE = buildMu(ENTRY, SIGNED, null)
const UNREAD_ENTRY = entryFor(SIGNED, { bytes: null })

describe('whole receipts', () => {
  it('are entry, mirror and signature', () => {
    const text = `${decodeUtf8(ENTRY)}## Mirror\n${mirror(decodeUtf8(SIGNED))}\n`
    expect(decodeUtf8(BARE)).toBe(text)
    expect(decodeUtf8(MU)).toBe(`${text}## Signature\nCRYSTALS-Dilithium: 0x${'ab'.repeat(3309)}\n`)
  })

  it('read back', () => {
    const mu = parseMu(MU)
    expect(mu.entryBytes).toEqual(ENTRY)
    expect(mu.original).toBe('air_quality_data')
    expect(decodeUtf8(mu.mirror)).toBe(mirror(decodeUtf8(SIGNED)))
    expect(mu.signature).toEqual(SIGNATURE)
    expect(parseMu(BARE).signature).toBeNull()
  })

  it('have an empty mirror where the payload was not read, even if its bytes are there', () => {
    const bytes = buildMu(UNREAD_ENTRY, SIGNED, null)
    expect(decodeUtf8(bytes)).toBe(`${decodeUtf8(UNREAD_ENTRY)}## Mirror\n\n`)
    expect(buildMu(UNREAD_ENTRY, null, null)).toEqual(bytes)
    expect(parseMu(bytes).mirror.length).toBe(0)
    expect(parseMu(buildMu(UNREAD_ENTRY, null, SIGNATURE)).signature).toEqual(SIGNATURE)
  })

  it('are parsed by length: a mirror may hold what looks like the end of a receipt', () => {
    const section = `## Signature\nCRYSTALS-Dilithium: 0x${'00'.repeat(3309)}\n`
    const payload = concat(utf8(`${mirror(`\n${section}`)}\n`), UNSIGNED)
    const mu = buildMu(entryFor(payload), payload, null)
    expect(decodeUtf8(mu)).toContain(section)
    expect(parseMu(mu).mirror.length).toBe(payload.length)
    expect(parseMu(mu).signature).toBeNull()
  })

  it('are built from the right payload only', () => {
    const refused = expect.objectContaining({ code: 'MU_WRONG_PAYLOAD' })
    expect(() => buildMu(ENTRY, null, null)).toThrow(refused)
    expect(() => buildMu(ENTRY, UNSIGNED, null)).toThrow(refused)
    const flipped = SIGNED.slice()
    flipped[9] = 0
    expect(() => buildMu(ENTRY, flipped, null)).toThrow(refused)
    expect(() => buildMu(ENTRY, SIGNED, new Uint8Array(3308))).toThrow(RangeError)
    muRefusal(() => buildMu(ENTRY.subarray(1), SIGNED, null))
  })

  const bytes = (text: string) => utf8(text)
  const text = decodeUtf8(MU)
  it.each<[string, Uint8Array, string]>([
    ['nothing', new Uint8Array(), 'file'],
    ['an entry alone', ENTRY, 'mirror'],
    ['no LF after the mirror', BARE.subarray(0, -1), 'mirror'],
    ['a mirror that is a byte short', concat(BARE.subarray(0, -2), bytes('\n')), 'mirror'],
    ['a mirror that is a byte long', concat(BARE, bytes('\n')), 'signature'],
    ['a trailing byte', concat(MU, bytes('\n')), 'signature'],
    ['no final LF', MU.subarray(0, -1), 'signature'],
    ['upper-case digits', bytes(text.replace(/ab\n$/, 'AB\n')), 'signature'],
    [
      'another signature heading',
      bytes(text.replace(/## Signature(?=\n.*\n$)/, '## signature')),
      'signature',
    ],
    ['another name of the algorithm', bytes(text.replace(/CRYSTALS(?=.*\n$)/, 'crystals')), 'signature'],
    ['a short signature', bytes(text.replace(/ab\n$/, '\n')), 'signature'],
    ['a signature twice', concat(MU, MU.subarray(BARE.length)), 'signature'],
    [
      'a signature with another byte order',
      concat(MU.subarray(0, BARE.length), bytes('\ufeff'), MU.subarray(BARE.length)),
      'signature',
    ],
    ['a mirror of other bytes', bytes(text.replace('58 :"ytilauq_ria"', '68 :"ytilauq_ria"')), 'mirror'],
    ['another heading', bytes(text.replace('## Mirror', '## mirror')), 'mirror'],
  ])('are refused with %s', (_, mu, field) => {
    expect(muRefusal(() => parseMu(mu)).field).toBe(field)
  })

  it('can be split though the mirror is damaged', () => {
    const damaged = bytes(text.replace('58 :"ytilauq_ria"', '68 :"ytilauq_ria"'))
    expect(splitMu(damaged).mirror.length).toBe(SIGNED.length)
    expect(muRefusal(() => parseMu(damaged))).toMatchObject({ line: 9, column: 1 })
  })
})

describe('receipt signatures', () => {
  it.each([
    ['native', 'noble', nativeMlDsa, nobleMlDsa],
    ['noble', 'native', nobleMlDsa, nativeMlDsa],
  ])('%s signs and %s verifies', (_a, _b, signer, verifier) => {
    const signature = signEntry(ENTRY, seedOf('indexer'), signer)
    expect(verifyEntry(ENTRY, signature, keyOf('indexer'), verifier)).toBe(true)
    expect(verifyEntry(ENTRY, signature, keyOf('key'), verifier)).toBe(false)
    expect(verifyEntry(UNREAD_ENTRY, signature, keyOf('indexer'), verifier)).toBe(false)
    expect(verifyEntry(ENTRY, signature.subarray(1), keyOf('indexer'), verifier)).toBe(false)
    const other = signer.sign(65, seedOf('indexer'), ENTRY, utf8('dunes.maml/v1'))
    expect(verifyEntry(ENTRY, other, keyOf('indexer'), verifier)).toBe(false)
  })

  it('are made over entries only', () => {
    muRefusal(() => signEntry(MU, seedOf('indexer'), nativeMlDsa))
  })
})

describe('repair', () => {
  const irreparable = expect.objectContaining({ code: 'MU_IRREPARABLE' })
  const damageAt = (bytes: Uint8Array, at: number): Uint8Array => {
    const out = bytes.slice()
    out[at] = (out[at] as number) ^ 1
    return out
  }

  it('restores the payload from the mirror, whatever stands after it', () => {
    expect(repairPayload(MU)).toEqual(SIGNED)
    expect(repairPayload(BARE.subarray(0, -1))).toEqual(SIGNED)
    expect(repairPayload(damageAt(MU, MU.length - 1))).toEqual(SIGNED)
    expect(repairPayload(damageAt(MU, ENTRY.length + 3))).toEqual(SIGNED)
  })

  it('restores no payload from a damaged mirror, a damaged entry, or none', () => {
    expect(() => repairPayload(damageAt(MU, ENTRY.length + 100))).toThrow(irreparable)
    expect(() => repairPayload(BARE.subarray(0, -100))).toThrow(irreparable)
    expect(() => repairPayload(buildMu(UNREAD_ENTRY, null, null))).toThrow(irreparable)
    muRefusal(() => repairPayload(damageAt(MU, 0)))
  })

  it('restores the mirror from the payload and keeps the signature', () => {
    for (const damaged of [
      damageAt(MU, ENTRY.length + 100),
      damageAt(MU, ENTRY.length + 3),
      concat(MU.subarray(0, ENTRY.length + 500), MU.subarray(ENTRY.length + 600)),
      concat(MU.subarray(0, ENTRY.length + 500), utf8('🐪'), MU.subarray(ENTRY.length + 500)),
    ])
      expect(repairMu(SIGNED, damaged)).toEqual({ bytes: MU, signed: true })
  })

  it('says when the signature is lost', () => {
    expect(repairMu(SIGNED, MU.subarray(0, -1))).toEqual({ bytes: BARE, signed: false })
    expect(repairMu(SIGNED, BARE)).toEqual({ bytes: BARE, signed: false })
    expect(repairMu(SIGNED, BARE.subarray(0, ENTRY.length + 10))).toEqual({ bytes: BARE, signed: false })
  })

  it('restores no mirror from another payload, nor where the entry is damaged', () => {
    expect(() => repairMu(damageAt(SIGNED, 300), MU)).toThrow(irreparable)
    expect(() => repairMu(UNSIGNED, MU)).toThrow(irreparable)
    muRefusal(() => repairMu(SIGNED, damageAt(MU, 0)))
  })
})
