import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { equalBytes, utf8 } from '../../src/core/bytes.ts'
import { nativeMlDsa } from '../../src/core/ml-dsa-native.ts'
import { buildMaml } from '../../src/maml/build.ts'
import { MamlError } from '../../src/maml/error.ts'
import { parseMaml } from '../../src/maml/parse.ts'
import { parseSchemaFile, validateReading } from '../../src/maml/schema.ts'
import { signMaml, verifyMaml } from '../../src/maml/sign.ts'
import { IOT_SCHEMA, READING, SIGNATURE, vector } from '../unit/maml/fixture.ts'
import { keyOf, SIGNED, seedOf } from '../unit/receipt/fixture.ts'
import { mutated, pieces } from './arbitrary.ts'

/** Runs a reader and gives what it reads, or null for its own error; any other error fails the property. */
function read<T>(reader: (bytes: Uint8Array) => T, bytes: Uint8Array): T | null {
  try {
    return reader(bytes)
  } catch (error) {
    if (!(error instanceof MamlError)) throw error
    expect(error.code).toBe('MAML_MALFORMED')
    expect(error.line).toBeGreaterThanOrEqual(1)
    expect(error.column).toBeGreaterThanOrEqual(1)
    return null
  }
}

const PIECES = [
  '---\n',
  'maml: 1.0\n',
  'sensor: a\n',
  'created: 2025-10-01T23:30:00Z\n',
  '\n',
  ' ',
  '\r',
  '\0',
  '\ufeff',
  '🐪',
  'text\n',
  '## Data_Block\n',
  '## Schema\n',
  '## Signature\n',
  '```json\n',
  '```\n',
  READING,
  `${READING}\n`,
  '[',
  ']',
  ',',
  '{',
  '}',
  '"',
  '\\u0000',
  `${SIGNATURE}\n`,
  'CRYSTALS-Dilithium: 0x12\n',
]
const files = [SIGNED, vector('maml/seed.maml.md'), IOT_SCHEMA]
const hostile = fc.oneof(
  fc.uint8Array({ maxLength: 400 }),
  fc.string({ unit: 'binary', maxLength: 400 }).map(utf8),
  pieces(PIECES),
  mutated(files),
)

describe('readers of MAML', () => {
  it('throw nothing but their own error, on any bytes', () => {
    fc.assert(
      fc.property(hostile, (bytes) => {
        read(parseMaml, bytes)
        read(parseSchemaFile, bytes)
      }),
      { numRuns: 4000 },
    )
  })

  it('change no input byte, and cover what they accept with what they give', () => {
    fc.assert(
      fc.property(hostile, (bytes) => {
        const copy = bytes.slice()
        const payload = read(parseMaml, bytes)
        expect(equalBytes(bytes, copy)).toBe(true)
        if (!payload) return
        const { signedBytes, signature, readings, names } = payload
        expect(equalBytes(signedBytes, bytes.subarray(0, signedBytes.length))).toBe(true)
        const tail = new TextDecoder().decode(bytes.subarray(signedBytes.length))
        if (signature.kind === 'missing') expect(tail).toBe('')
        else expect(tail).toMatch(/^## Signature\n+CRYSTALS-Dilithium: [^\n]*\n$/)
        // What was cut off before the signature parses to the same readings.
        expect(parseMaml(signedBytes)).toMatchObject({ readings, names, signature: { kind: 'missing' } })
      }),
      { numRuns: 2000 },
    )
  })
})

const name = fc.stringMatching(/^[a-z][a-z0-9_]{0,31}$/)
const value = fc.oneof(
  fc.integer(),
  fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e9, max: 1e9 }),
  fc.string({ unit: 'binary' }),
  fc.boolean(),
  fc.constant(null),
  fc.array(fc.integer(), { maxLength: 3 }),
)
const seconds = fc.integer({ min: -62_135_596_800, max: 253_402_300_799 })
const timestamp = seconds.map((at) => `${new Date(at * 1000).toISOString().slice(0, 19)}Z`)
const readings = fc
  .tuple(fc.uniqueArray(name, { maxLength: 30 }), fc.integer({ min: 1, max: 5 }))
  .chain(([names, count]) =>
    fc.array(
      fc
        .tuple(fc.array(value, { minLength: names.length, maxLength: names.length }), fc.string(), timestamp)
        .map(([values, sensor_id, time]) => ({
          ...Object.fromEntries(names.map((key, i) => [key, values[i] ?? null])),
          sensor_id,
          timestamp: time,
        })),
      { minLength: count, maxLength: count },
    ),
  )

describe('writers of MAML', () => {
  it('write what readers read back', () => {
    fc.assert(
      fc.property(readings, (given) => {
        const payload = parseMaml(buildMaml({ readings: given }))
        // Through JSON, which has no minus zero.
        expect(payload.readings).toEqual(JSON.parse(JSON.stringify(given)))
        expect(payload.names).toEqual(Object.keys(given[0] as object).sort())
      }),
      { numRuns: 300 },
    )
  })

  it('sign so that a change of any byte shows', () => {
    const key = keyOf('key')
    const file = signMaml(buildMaml({ readings: [JSON.parse(READING)] }), seedOf('key'), nativeMlDsa)
    expect(verifyMaml(parseMaml(file), key, nativeMlDsa)).toBe(true)
    fc.assert(
      fc.property(fc.nat(file.length - 1), fc.integer({ min: 1, max: 255 }), (at, mask) => {
        const bytes = file.slice()
        bytes[at] = (bytes[at] as number) ^ mask
        const payload = read(parseMaml, bytes)
        expect(payload !== null && verifyMaml(payload, key, nativeMlDsa)).toBe(false)
      }),
      { numRuns: 500 },
    )
  })
})

describe('validation', () => {
  const json = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 3 },
      fc.constant(null),
      fc.boolean(),
      fc.integer({ min: -3, max: 3 }),
      fc.constantFrom('', 'a', 'toString'),
      fc.array(tie('value'), { maxLength: 3 }),
      fc.dictionary(fc.constantFrom('a', 'b', '__proto__', 'constructor'), tie('value'), { maxKeys: 3 }),
    ),
    schema: fc.oneof(
      { maxDepth: 3 },
      fc.boolean(),
      fc.record(
        {
          type: fc.constantFrom('null', 'boolean', 'object', 'array', 'number', 'string', 'integer'),
          properties: fc.dictionary(fc.constantFrom('a', 'b', '__proto__', 'constructor'), tie('schema')),
          required: fc.uniqueArray(fc.constantFrom('a', 'b', 'constructor')),
          additionalProperties: tie('schema'),
          items: tie('schema'),
          enum: fc.array(tie('value'), { maxLength: 3 }),
          const: tie('value'),
          minimum: fc.integer({ min: -3, max: 3 }),
          maxLength: fc.integer({ min: 0, max: 2 }),
        },
        { requiredKeys: [] },
      ),
    ),
  }))

  it('never throws, and a value is always one of those that list it', () => {
    fc.assert(
      fc.property(json.schema, json.value, (schema, a) => {
        const file = (part: unknown) =>
          parseSchemaFile(
            utf8(
              `---\nmaml: 1.0\nschema: s\ndataset: d\n---\n## Schema\n\`\`\`json\n${JSON.stringify({ properties: { a: part } })}\n\`\`\`\n`,
            ),
          )
        const reading = JSON.parse(JSON.stringify({ a }))
        expect(Array.isArray(validateReading(file(schema), reading))).toBe(true)
        expect(validateReading(file({ enum: [0.5, a] }), reading)).toEqual([])
        expect(validateReading(file({ const: a }), reading)).toEqual([])
        expect(validateReading(file({ const: [a] }), reading)).toHaveLength(1)
      }),
      { numRuns: 1000 },
    )
  })
})
