import { describe, expect, it } from 'vitest'
import { concat, decodeUtf8, utf8 } from '../../../src/core/bytes.ts'
import { type JsonObject, jcs } from '../../../src/core/json.ts'
import { buildMaml } from '../../../src/maml/build.ts'
import { type Entry, encodeEntry, parseEntry, readLines } from '../../../src/receipt/entry.ts'
import { makeReceiptEntry } from '../../../src/receipt/make.ts'
import { entryFor, judged, muRefusal, named, READING, SIGNED, settledFacts, UNSIGNED } from './fixture.ts'

const BYTES = entryFor(SIGNED)
const TEXT = decodeUtf8(BYTES)
const PARSED = parseEntry(BYTES)
const UNREAD = entryFor(SIGNED, { bytes: null })

/** The accepted entry's text with its object changed and written canonically. */
const withObject = (change: (object: JsonObject) => void): string => {
  const object = structuredClone(PARSED.entry) as unknown as JsonObject
  change(object)
  return TEXT.replace(/^\{.*\}$/m, () => jcs(object))
}
const set = (path: string, value: unknown) => (object: JsonObject) => {
  const keys = path.split('.')
  const last = keys.pop() as string
  let at = object
  for (const key of keys) at = at[key] as JsonObject
  if (value === undefined) delete at[last]
  else at[last] = value as JsonObject
}

describe('the entry of an accepted submission', () => {
  it('is these bytes', () => {
    const lines = TEXT.split('\n')
    expect(lines.filter((_, i) => i !== 1)).toEqual([
      '---',
      '---',
      '## Receipt',
      'Data: atad_ytilauq_ria',
      'Original: air_quality_data',
      'Timestamp: 2025-10-01T23:30:00Z',
      '',
    ])
    const facts = settledFacts(SIGNED)
    expect(JSON.parse(lines[1] as string)).toEqual({
      v: 1,
      origin: 'dunes.example/logs/devnet',
      chain: 'eip155:31337',
      registry: facts.registry,
      index: 7,
      submission: facts.submission,
      contributor: facts.contributor,
      seq: 3,
      acc: facts.acc,
      sensor: 'helium_001',
      dataset: 'helium_sensors',
      schemaSha256: facts.schemaSha256,
      uriSha256: facts.uriSha256,
      payload: { sha256: facts.payload.sha256, bytes: SIGNED.length },
      payloadSig: { alg: 'ML-DSA-65', keyId: facts.keyId, sha256: judged().read?.signatureSha256 },
      readings: 1,
      submitted: { block: 11, logIndex: 2 },
      settled: {
        tx: facts.settled.tx,
        block: 13,
        blockHash: facts.settled.blockHash,
        logIndex: 5,
        time: '2025-10-01T23:30:04Z',
      },
      outcome: 'validated',
      verdict: 'accepted',
      reason: null,
      observed: false,
      mirrorSha256: judged().read?.mirrorSha256,
    })
    expect(lines[1]).toBe(jcs(JSON.parse(lines[1] as string)))
  })

  it('reads back, and writes again', () => {
    expect(PARSED).toMatchObject({
      data: 'atad_ytilauq_ria',
      original: 'air_quality_data',
      timestamp: '2025-10-01T23:30:00Z',
    })
    expect(encodeEntry(PARSED.entry, PARSED)).toEqual(BYTES)
  })

  it('holds the longest names, and stays below its limit', () => {
    const names = Array.from({ length: 30 }, (_, i) => `${'n'.repeat(30)}${String(i).padStart(2, '0')}`)
    const reading = { ...Object.fromEntries(names.map((name) => [name, 0])), ...READING }
    const { air_quality: _, ...rest } = reading
    const bytes = buildMaml({ readings: [{ ...rest, timestamp: '2025-10-01T23:30:00.123456789Z' }] })
    const facts = {
      ...settledFacts(bytes),
      origin: '"'.repeat(128),
      sensor: 's'.repeat(32),
      dataset: 'd'.repeat(32),
    }
    const entry = makeReceiptEntry(facts, judged({ bytes }))
    expect(parseEntry(entry).original).toBe(`${names.join('_')}_data`)
    expect(entry.length).toBeLessThan(8192)
  })

  it('names the values in byte order, without sensor_id and timestamp', () => {
    expect(readLines(['timestamp', 'b', 'a_', 'a0', 'sensor_id', 'a'], 't').original).toBe('a_a0_a__b_data')
    expect(readLines(['timestamp', 'sensor_id'], 't').original).toBe('_data')
    const bytes = buildMaml({ readings: [{ sensor_id: 'helium_001', timestamp: '2025-10-01T23:30:00Z' }] })
    expect(parseEntry(entryFor(bytes)).data).toBe('atad_')
  })
})

describe('entries of payloads that were not read', () => {
  it.each([
    ['PAYLOAD_UNAVAILABLE', { bytes: null }, true],
    ['URI_REFUSED', { uriRefused: true }, false],
    ['QUORUM_REJECTED', { outcome: 'rejected' as const }, false],
    ['EXPIRED', { outcome: 'expired' as const }, false],
  ])('%s: null where there is nothing, never where the record says it', (reason, change, observed) => {
    const { entry, original, data, timestamp } = parseEntry(entryFor(SIGNED, change))
    expect(entry).toMatchObject({
      outcome: 'outcome' in change ? change.outcome : 'validated',
      verdict: 'rejected',
      reason,
      observed,
      readings: null,
      mirrorSha256: null,
      payload: PARSED.entry.payload,
      payloadSig: { alg: null, keyId: PARSED.entry.payloadSig.keyId, sha256: null },
      sensor: 'helium_001',
      dataset: 'helium_sensors',
    })
    expect([original, data, timestamp]).toEqual(['data', 'atad', '2025-10-01T23:30:04Z'])
  })

  it('MAML_MALFORMED, though the bytes are there', () => {
    expect(parseEntry(entryFor(utf8('x\n'))).entry).toMatchObject({
      reason: 'MAML_MALFORMED',
      readings: null,
      mirrorSha256: null,
      payload: { bytes: 2 },
    })
  })

  it('but SIGNATURE_MISSING and METADATA_MISMATCH were read', () => {
    expect(parseEntry(entryFor(UNSIGNED))).toMatchObject({
      entry: { reason: 'SIGNATURE_MISSING', readings: 1, payloadSig: { alg: null, sha256: null } },
      original: 'air_quality_data',
      timestamp: '2025-10-01T23:30:00Z',
    })
    expect(parseEntry(entryFor(SIGNED, { sensor: 'other' })).entry).toMatchObject({
      reason: 'METADATA_MISMATCH',
      readings: 1,
      payloadSig: { alg: 'ML-DSA-65' },
    })
  })
})

describe('refusals', () => {
  it.each<[string, string, string, number]>([
    ['an empty file', '', 'file', 1],
    ['no final LF', TEXT.slice(0, -1), 'Timestamp', 7],
    ['a further LF', `${TEXT}\n`, 'file', 8],
    ['the mirror heading', `${TEXT}## Mirror\n`, 'file', 8],
    ['CRLF', TEXT.replaceAll('\n', '\r\n'), 'file', 1],
    ['a byte order mark', `\ufeff${TEXT}`, 'file', 1],
    ['another heading', TEXT.replace('## Receipt', '## receipt'), 'file', 4],
    ['no object', TEXT.replace(/^\{.*\}$/m, 'null'), 'object', 2],
    ['an array', TEXT.replace(/^\{.*\}$/m, '[]'), 'object', 2],
    ['broken JSON', TEXT.replace('{"acc"', '{"acc'), 'object', 2],
    ['a space in the object', TEXT.replace('{"acc":', '{"acc": '), 'object', 2],
    ['a number spelled otherwise', TEXT.replace('"index":7', '"index":7.0'), 'object', 2],
    ['minus zero', TEXT.replace('"index":7', '"index":-0'), 'index', 2],
    ['a string spelled by an escape', TEXT.replace('"helium_001"', '"\\u0068elium_001"'), 'object', 2],
    [
      'keys in another order',
      TEXT.replace('"v":1,"verdict":"accepted"', '"verdict":"accepted","v":1'),
      'object',
      2,
    ],
    ['a key twice', TEXT.replace('"v":1', '"v":1,"v":1'), 'object', 2],
    ['deep nesting', TEXT.replace('"v":1', `"v":${'['.repeat(4000)}`), 'object', 2],
    ['another Data', TEXT.replace('Data: atad_y', 'Data: atad_Y'), 'Data', 5],
    ['a longer Data', TEXT.replace('_ria', '_riaa'), 'Data', 5],
    [
      'an Original of another form',
      TEXT.replace('air_quality_data', 'Air_quality_data').replace('ria\n', 'riA\n'),
      'Original',
      6,
    ],
    ['a Timestamp that is no date', TEXT.replace('Timestamp: 2025-10', 'Timestamp: 2025-13'), 'Timestamp', 7],
    ['an extra space', TEXT.replace('Timestamp: ', 'Timestamp:  '), 'Timestamp', 7],
    [
      'unread lines of another time',
      decodeUtf8(UNREAD).replace('Timestamp: 2025', 'Timestamp: 2024'),
      'Timestamp',
      7,
    ],
    [
      'unread lines with names',
      decodeUtf8(UNREAD).replace('Data: atad', 'Data: atad_a').replace('l: data', 'l: a_data'),
      'Original',
      6,
    ],
    ['more than 8 KiB', `${TEXT.slice(0, 4)}${' '.repeat(8192)}${TEXT.slice(4)}`, 'file', 1],
  ])('%s', (_, text, field, line) => {
    const error = muRefusal(() => parseEntry(utf8(text)))
    expect([error.code, error.field, error.line]).toEqual(['MU_MALFORMED', field, line])
  })

  it('says which code point of Data is wrong', () => {
    expect(muRefusal(() => parseEntry(utf8(TEXT.replace('Data: atad_y', 'Data: atad_Y')))).column).toBe(12)
  })

  it('bytes that are not UTF-8', () => {
    expect(muRefusal(() => parseEntry(concat(BYTES, new Uint8Array([0xff])))).line).toBe(8)
  })

  it.each<[string, unknown]>([
    ['v', 2],
    ['v', '1'],
    ['origin', 'a b'],
    ['origin', 'a+b'],
    ['origin', ''],
    ['origin', 'é'],
    ['origin', 'x'.repeat(129)],
    ['chain', 'eip155'],
    ['registry', `0x${'5E'.repeat(20)}`],
    ['registry', `0x${'5e'.repeat(32)}`],
    ['contributor', null],
    ['index', -1],
    ['index', 1.5],
    ['index', '7'],
    ['index', null],
    ['submission', `0x${'5e'.repeat(20)}`],
    ['acc', undefined],
    ['sensor', 'Helium'],
    ['sensor', null],
    ['dataset', ''],
    ['payload', null],
    ['payload.bytes', null],
    ['payload.extra', 1],
    ['payloadSig.keyId', null],
    ['payloadSig.alg', null],
    ['payloadSig.alg', 'ML-DSA-44'],
    ['payloadSig.sha256', '0x'],
    ['readings', 0],
    ['readings', null],
    ['submitted.block', undefined],
    ['settled', []],
    ['settled.time', '2025-10-01T23:30:04.0Z'],
    ['settled.time', '2025-02-30T00:00:00Z'],
    ['outcome', 1],
    ['outcome', 'expired'],
    ['verdict', 'rejected'],
    ['reason', 'NONE'],
    ['observed', true],
    ['observed', null],
    ['mirrorSha256', null],
    ['extra', 1],
  ])('%s of %j', (path, value) => {
    const error = muRefusal(() => parseEntry(utf8(withObject(set(path, value)))))
    expect(error.line).toBe(2)
    expect(error.field).toBe(path)
  })

  it('reasons that contradict the rest', () => {
    // An accepted entry's fields with each of these reasons and the verdict that goes with it.
    for (const reason of [
      'QUORUM_REJECTED',
      'EXPIRED',
      'URI_REFUSED',
      'PAYLOAD_UNAVAILABLE',
      'MAML_MALFORMED',
      'SIGNATURE_MISSING',
    ])
      muRefusal(() =>
        parseEntry(
          utf8(
            withObject((object) => {
              object['reason'] = reason
              object['verdict'] = 'rejected'
            }),
          ),
        ),
      )
    for (const reason of ['DUPLICATE', 'KEY_UNKNOWN', 'METADATA_MISMATCH', 'STALE'])
      parseEntry(
        utf8(
          withObject((object) => {
            object['reason'] = reason
            object['verdict'] = 'rejected'
          }),
        ),
      )
  })

  it('encodes nothing that it would not read', () => {
    const refused = expect.objectContaining({ code: 'ENTRY_INVALID' })
    const entry = PARSED.entry
    expect(() => encodeEntry({ ...entry, index: -1 }, PARSED)).toThrow(refused)
    expect(() => encodeEntry({ ...entry, observed: true }, PARSED)).toThrow(refused)
    expect(() => encodeEntry({ ...entry, extra: 1 } as Entry, PARSED)).toThrow(refused)
    expect(() => encodeEntry(entry, { ...PARSED, original: 'x' })).toThrow(refused)
    const facts = settledFacts(SIGNED)
    expect(() => makeReceiptEntry({ ...facts, index: 2n ** 53n }, judged())).toThrow(refused)
    expect(() => makeReceiptEntry({ ...facts, outcome: 'expired' }, judged())).toThrow(refused)
    expect(() =>
      makeReceiptEntry({ ...facts, keyId: named('x').toUpperCase() as `0x${string}` }, judged()),
    ).toThrow(refused)
  })
})
