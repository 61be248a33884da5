import { describe, expect, it } from 'vitest'
import { concat, decodeUtf8, sha256, toHex, utf8 } from '../../../src/core/bytes.ts'
import { nativeMlDsa } from '../../../src/core/ml-dsa-native.ts'
import { buildMaml } from '../../../src/maml/build.ts'
import { signMaml } from '../../../src/maml/sign.ts'
import { checkMu, type Difference, MAX_DIFFERENCES } from '../../../src/receipt/check.ts'
import { encodeEntry, parseEntry } from '../../../src/receipt/entry.ts'
import { buildMu } from '../../../src/receipt/mu.ts'
import { entryFor, FRONT_MATTER, READING, SIGNED, seedOf, UNSIGNED } from './fixture.ts'

const ENTRY = entryFor(SIGNED)
const MU = buildMu(ENTRY, SIGNED, new Uint8Array(3309))
const TEXT = decodeUtf8(SIGNED)

/** Line and column, from 1, of `part` in `text`. */
const placeOf = (text: string, part: string) => {
  const before = text.slice(0, text.indexOf(part)).split('\n')
  return { line: before.length, column: [...(before.at(-1) as string)].length + 1 }
}
const fields = (differences: Difference[]) => differences.map(({ field }) => field)
const HASH = 'payload.sha256'
const LENGTH = 'payload.bytes'

describe('a payload and its receipt', () => {
  it('do not differ when whole', () => {
    expect(checkMu(SIGNED, MU)).toEqual([])
    expect(checkMu(SIGNED, buildMu(ENTRY, SIGNED, null))).toEqual([])
    const unread = entryFor(SIGNED, { bytes: null })
    expect(checkMu(SIGNED, buildMu(unread, null, null))).toEqual([])
    const bad = utf8('not MAML\n')
    expect(checkMu(bad, buildMu(entryFor(bad), null, null))).toEqual([])
  })

  it('names a damaged value with its line and column in the payload', () => {
    const [first, ...rest] = checkMu(utf8(TEXT.replace('": 85', '": 95')), MU)
    expect(first).toEqual({
      field: 'readings[0].air_quality',
      file: 'payload',
      ...placeOf(TEXT, '85,\n'),
      expected: '85',
      found: '95',
    })
    expect(rest).toHaveLength(1)
    expect(rest[0]).toMatchObject({ field: HASH, file: 'receipt', line: 2 })
    const object = decodeUtf8(ENTRY).split('\n')[1] as string
    expect(object.slice((rest[0] as Difference).column - 1).startsWith('"sha256"')).toBe(true)
  })

  it.each<[string, string, string, string]>([
    ['sensor: helium_001', 'sensor: helium_002', 'sensor', '1\ncontributor'],
    ['dataset:', 'datasex:', 'dataset', 't: helium_sensors'],
    ['## Data_Block', '## Data_Black', 'Data_Block', 'ock\n'],
    ['```json', '```jsoN', 'fence', 'n\n{'],
    ['CRYSTALS-Dilithium', 'CRYSTALS-dilithium', 'signature', 'Dilithium'],
    ['"timestamp": "2', '"timestamp": "3', 'readings[0].timestamp', '2025-10-01T23:30:00Z"\n}'],
    ['"sensor_id"', '"sensor_iD"', 'readings[0].sensor_id', 'd": "helium'],
  ])('names what %j is part of', (from, to, field, part) => {
    const [first] = checkMu(utf8(TEXT.replace(from, to)), MU)
    expect(first).toMatchObject({ field, file: 'payload', ...placeOf(TEXT, part) })
  })

  it('names each of several fields, in order, also on one line', () => {
    const readings = [READING, { ...READING, air_quality: 12, humidity: 40 }].map((reading) => ({
      humidity: 50,
      ...reading,
    }))
    const file = signMaml(buildMaml({ readings }), seedOf('key'), nativeMlDsa)
    const text = decodeUtf8(file)
    const damaged = text
      .replace(': 12,', ': 1234,')
      .replace('"humidity":40', '"humidity":41')
      .replace(':85', ':86')
    const found = checkMu(utf8(damaged), buildMu(entryFor(file), file, null))
    expect(fields(found)).toEqual([
      'readings[0].air_quality',
      'readings[1].humidity',
      ...(damaged.length === text.length ? [] : [LENGTH]),
      HASH,
    ])
  })

  it('finds damage that adds or removes bytes, lines and line feeds', () => {
    const longer = checkMu(utf8(TEXT.replace(': 85', ': 850')), MU)
    expect(fields(longer)).toEqual(['readings[0].air_quality', LENGTH, HASH])
    expect(longer[0]).toMatchObject({ expected: null, found: '0' })
    const without = checkMu(utf8(TEXT.replace('  "air_quality": 85,\n', '')), MU)
    expect(without[0]).toMatchObject({
      field: 'readings[0].air_quality',
      ...placeOf(TEXT, '  "air'),
      found: null,
    })
    expect(fields(without).slice(1)).toEqual([LENGTH, HASH, 'Original'])
    const joined = checkMu(utf8(TEXT.replace('85,\n', '85, ')), MU)
    expect(joined[0]).toMatchObject(placeOf(TEXT, '\n  "timestamp'))
    const cut = checkMu(SIGNED.subarray(0, 100), MU)
    expect(cut[0]).toMatchObject({ file: 'payload', field: 'contributor', line: 6 })
    expect(checkMu(new Uint8Array(), MU)[0]).toMatchObject({ line: 1, column: 1, found: null })
  })

  it('finds bytes that are not UTF-8', () => {
    const bytes = SIGNED.slice()
    const at = TEXT.indexOf('helium_001"')
    bytes[at] = 0xff
    expect(checkMu(bytes, MU)[0]).toMatchObject({
      field: 'readings[0].sensor_id',
      file: 'payload',
      ...placeOf(TEXT, 'helium_001"'),
      found: '\ufffdelium_001"',
    })
  })

  it('names a damaged mirror with its line and column in the receipt, and the field all the same', () => {
    const text = decodeUtf8(MU)
    const damaged = text.replace('58 :"ytilauq_ria"', '59 :"ytilauq_ria"')
    expect(checkMu(SIGNED, utf8(damaged))).toEqual([
      {
        field: 'readings[0].air_quality',
        file: 'receipt',
        ...placeOf(text, '8 :"ytilauq_ria"'),
        expected: '85',
        found: '95',
      },
    ])
    const bytes = MU.slice()
    bytes[ENTRY.length + '## Mirror\n'.length] = 0xff
    expect(checkMu(SIGNED, bytes)[0]).toMatchObject({
      file: 'receipt',
      line: 9,
      column: 1,
      field: 'signature',
    })
  })

  it('finds a cut receipt and damaged signature lines', () => {
    const cut = checkMu(SIGNED, MU.subarray(0, ENTRY.length + 100))
    expect(cut[0]).toMatchObject({ file: 'receipt' })
    expect(fields(cut)).toContain('mirror')
    expect(checkMu(SIGNED, MU.subarray(0, -1))).toEqual([
      expect.objectContaining({
        field: 'signature',
        file: 'receipt',
        line: decodeUtf8(MU).split('\n').length - 2,
      }),
    ])
  })

  it('finds a damaged entry and says where', () => {
    const text = decodeUtf8(MU)
    expect(checkMu(SIGNED, utf8(text.replace('Data: atad_y', 'Data: atad_Y')))).toEqual([
      { field: 'Data', file: 'receipt', line: 5, column: 12, expected: null, found: null },
    ])
    expect(checkMu(SIGNED, new Uint8Array([0xff]))[0]).toMatchObject({ line: 1, column: 1 })
    expect(checkMu(SIGNED, new Uint8Array())[0]).toMatchObject({ line: 1, column: 1 })
  })

  it('finds an entry that says something else of the payload, each field with its place', () => {
    const { entry } = parseEntry(ENTRY)
    const forged = encodeEntry(
      { ...entry, readings: 2, payloadSig: { ...entry.payloadSig, sha256: entry.acc } },
      { original: 'humidity_data', timestamp: '2024-10-01T23:30:00Z' },
    )
    const found = checkMu(SIGNED, buildMu(forged, SIGNED, null))
    expect(fields(found)).toEqual(['readings', 'payloadSig.sha256', 'Original', 'Timestamp'])
    expect(found[2]).toMatchObject({
      line: 6,
      column: 11,
      expected: 'air_quality_data',
      found: 'humidity_data',
    })
    expect(found[3]).toMatchObject({ line: 7, column: 12 })
    expect(found[0]).toMatchObject({ line: 2, expected: '1', found: '2' })
    const bad = utf8('not MAML\n')
    const lie = encodeEntry(
      {
        ...entry,
        payload: { sha256: toHex(sha256(bad)), bytes: bad.length },
        mirrorSha256: toHex(sha256(utf8('\nLMAM ton'))),
      },
      { original: 'a_data', timestamp: '2024-10-01T23:30:00Z' },
    )
    expect(fields(checkMu(bad, buildMu(lie, bad, null)))).toEqual(['readings'])
    const unread = parseEntry(entryFor(utf8('x\n')))
    const malformed = encodeEntry({ ...unread.entry, payload: entry.payload }, unread)
    expect(fields(checkMu(SIGNED, buildMu(malformed, null, null)))).toEqual(['reason'])
  })

  it('stays quick and bounded on two files that have nothing in common', () => {
    const many = Array.from({ length: 10_000 }, (_, i) => ({ ...READING, air_quality: i % 500 }))
    const file = signMaml(
      buildMaml({ frontMatter: FRONT_MATTER, readings: many }),
      seedOf('key'),
      nativeMlDsa,
    )
    const mu = buildMu(entryFor(file), file, null)
    for (const other of [
      utf8(decodeUtf8(file).replaceAll('85', '58').replaceAll('2025', '2024')),
      utf8('\n'.repeat(1_000_000)),
      utf8('"'.repeat(1_000_000)),
      utf8('\\"'.repeat(500_000)),
      new Uint8Array(1_000_000).fill(0x80),
      concat(UNSIGNED, file),
    ]) {
      const started = process.cpuUsage()
      expect(checkMu(other, mu).length).toBeLessThanOrEqual(MAX_DIFFERENCES + 6)
      expect(process.cpuUsage(started).user).toBeLessThan(10_000_000)
    }
  })
})
