import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { concat, decodeUtf8, equalBytes, sha256, toHex, utf8 } from '../../src/core/bytes.ts'
import { REASONS } from '../../src/core/reason.ts'
import { buildMaml } from '../../src/maml/build.ts'
import { checkMu } from '../../src/receipt/check.ts'
import { encodeEntry, parseEntry } from '../../src/receipt/entry.ts'
import { MuError } from '../../src/receipt/error.ts'
import type { JudgeFacts } from '../../src/receipt/judge.ts'
import { makeReceiptEntry } from '../../src/receipt/make.ts'
import { mirror, mirrorBytes } from '../../src/receipt/mirror.ts'
import { buildMu, parseMu, splitMu } from '../../src/receipt/mu.ts'
import { repairMu, repairPayload } from '../../src/receipt/repair.ts'
import { entryFor, judged, keyOf, SIGNED, settledFacts, UNSIGNED } from '../unit/receipt/fixture.ts'
import { mutated, pieces } from './arbitrary.ts'

const ENTRY = entryFor(SIGNED)
const UNREAD = entryFor(SIGNED, { bytes: null })
const MU = buildMu(ENTRY, SIGNED, new Uint8Array(3309))
const BARE = buildMu(ENTRY, SIGNED, null)
const text = fc.string({ unit: 'binary' })

describe('mirror', () => {
  it('is its own inverse, keeps the length in bytes, and is the same on text and bytes', () => {
    fc.assert(
      fc.property(text, (given) => {
        expect(mirror(mirror(given))).toBe(given)
        const bytes = utf8(given)
        expect(mirrorBytes(bytes)).toEqual(utf8(mirror(given)))
        expect(mirrorBytes(mirrorBytes(bytes))).toEqual(bytes)
      }),
    )
  })

  it('is a permutation of any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        expect([...mirrorBytes(bytes)].sort()).toEqual([...bytes].sort())
      }),
    )
  })
})

const PIECES = [
  '---\n',
  decodeUtf8(ENTRY).split('\n')[1] as string,
  '{}',
  '\n',
  '## Receipt\n',
  'Data: atad\n',
  'Original: data\n',
  'Timestamp: 2025-10-01T23:30:04Z\n',
  '## Mirror\n',
  '## Signature\n',
  '🐪',
  '\0',
  '\ufeff',
]
const hostile = fc.oneof(
  fc.uint8Array({ maxLength: 300 }),
  pieces(PIECES),
  mutated([ENTRY, UNREAD]),
  mutated([MU, BARE, buildMu(UNREAD, null, null)]),
  fc
    .tuple(pieces(PIECES), fc.uint8Array({ maxLength: 50 }))
    .map(([tail, noise]) => concat(ENTRY, tail, noise)),
)
function read<T>(reader: (bytes: Uint8Array) => T, bytes: Uint8Array): T | null {
  try {
    return reader(bytes)
  } catch (error) {
    if (error instanceof MuError && error.line >= 1 && error.column >= 1) return null
    throw error
  }
}

describe('readers of receipts', () => {
  it('throw nothing but their own error, and accept only what they would write', () => {
    fc.assert(
      fc.property(hostile, (bytes) => {
        const parsed = read(parseEntry, bytes)
        if (parsed) expect(equalBytes(encodeEntry(parsed.entry, parsed), bytes)).toBe(true)
        const mu = read(parseMu, bytes)
        if (mu) {
          const payload = mu.entry.mirrorSha256 === null ? null : mirrorBytes(mu.mirror)
          expect(equalBytes(buildMu(mu.entryBytes, payload, mu.signature), bytes)).toBe(true)
        }
        read(splitMu, bytes)
      }),
      { numRuns: 3000 },
    )
  })
})

describe('check and repair', () => {
  it('find any damage to payload or receipt, throw nothing, and say where', () => {
    fc.assert(
      fc.property(fc.oneof(mutated([SIGNED]), fc.uint8Array({ maxLength: 300 })), hostile, (payload, mu) => {
        const whole = equalBytes(payload, SIGNED)
        const found = checkMu(payload, MU)
        expect(found.length === 0).toBe(whole)
        for (const { line, column } of [...found, ...checkMu(SIGNED, mu), ...checkMu(payload, mu)]) {
          expect(line).toBeGreaterThanOrEqual(1)
          expect(column).toBeGreaterThanOrEqual(1)
        }
      }),
      { numRuns: 1000 },
    )
  })

  it('give back either file from the other, or nothing', () => {
    fc.assert(
      fc.property(mutated([MU, BARE]), (mu) => {
        const attempt = <T>(repair: () => T): T | null => {
          try {
            return repair()
          } catch (error) {
            expect(error).toMatchObject({
              code: expect.stringMatching(/^MU_(IRREPARABLE|MALFORMED|WRONG_PAYLOAD)$/),
            })
            return null
          }
        }
        const payload = attempt(() => repairPayload(mu))
        if (payload) expect(equalBytes(payload, SIGNED)).toBe(true)
        const repaired = attempt(() => repairMu(SIGNED, mu))
        if (repaired) expect(checkMu(SIGNED, repaired.bytes)).toEqual([])
      }),
      { numRuns: 500 },
    )
  })

  it('find a change of one code point of the payload on its line and column', () => {
    const points = [...decodeUtf8(UNSIGNED)]
    const mu = buildMu(entryFor(UNSIGNED), UNSIGNED, null)
    fc.assert(
      fc.property(fc.nat(points.length - 1), fc.constantFrom('x', 'é', '🐪'), (at, other) => {
        fc.pre(points[at] !== '\n' && points[at] !== other)
        const before = points.slice(0, at).join('').split('\n')
        const [first] = checkMu(utf8(points.with(at, other).join('')), mu)
        expect(first).toMatchObject({
          file: 'payload',
          line: before.length,
          column: [...(before.at(-1) as string)].length + 1,
        })
      }),
      { numRuns: 300 },
    )
  })
})

describe('judge', () => {
  const facts: fc.Arbitrary<Partial<JudgeFacts>> = fc.record({
    outcome: fc.constantFrom('validated', 'validated', 'validated', 'rejected', 'expired'),
    uriRefused: fc.boolean(),
    bytes: fc.oneof(fc.constant(SIGNED), fc.constant(UNSIGNED), fc.constant(null), mutated([SIGNED])),
    sensor: fc.constantFrom('helium_001', 'helium_002'),
    key: fc.constantFrom(
      null,
      { publicKey: keyOf('key'), possessionValid: true },
      { publicKey: keyOf('stranger'), possessionValid: true },
    ),
    earlierKeys: fc.constantFrom([], [keyOf('key')]),
  })

  it('is a pure function whose every answer makes an entry that reads back', () => {
    fc.assert(
      fc.property(facts, (change) => {
        const one = judged(change)
        expect(judged(change)).toEqual(one)
        const bytes = change.bytes ?? SIGNED
        const entry = makeReceiptEntry(settledFacts(bytes, change.outcome), one)
        const parsed = parseEntry(entry)
        expect(parsed.entry).toMatchObject({
          verdict: one.verdict,
          reason: one.reason,
          observed: one.observed,
        })
        expect(parsed.entry.mirrorSha256).toBe(
          one.read ? toHex(sha256(utf8(mirror(decodeUtf8(bytes))))) : null,
        )
        const mu = buildMu(entry, bytes, null)
        expect(checkMu(bytes, mu)).toEqual([])
        if (one.reason) expect(REASONS).toContain(one.reason)
        if (one.read) expect(one.read.readings).toBe(1)
      }),
      { numRuns: 400 },
    )
  })

  it('reads payloads in any script', () => {
    fc.assert(
      fc.property(text, (given) => {
        const reading = { sensor_id: 'helium_001', note: given, timestamp: '2025-10-01T23:30:00Z' }
        const bytes = buildMaml({ readings: [reading] })
        const mu = buildMu(entryFor(bytes), bytes, null)
        expect(repairPayload(mu)).toEqual(bytes)
        expect(checkMu(bytes, mu)).toEqual([])
      }),
      { numRuns: 100 },
    )
  })
})
