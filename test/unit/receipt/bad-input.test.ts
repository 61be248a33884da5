import { describe, expect, it } from 'vitest'
import { concat, decodeUtf8, utf8 } from '../../../src/core/bytes.ts'
import { nativeMlDsa } from '../../../src/core/ml-dsa-native.ts'
import type { Reason } from '../../../src/core/reason.ts'
import { MAML_CONTEXT, signatureSection, signMaml } from '../../../src/maml/sign.ts'
import { checkMu } from '../../../src/receipt/check.ts'
import { parseEntry } from '../../../src/receipt/entry.ts'
import type { JudgeFacts } from '../../../src/receipt/judge.ts'
import { makeReceiptEntry } from '../../../src/receipt/make.ts'
import { buildMu } from '../../../src/receipt/mu.ts'
import { judged, judgeFacts, keyOf, SIGNED, seedOf, settledFacts, UNSIGNED } from './fixture.ts'

const text = decodeUtf8(UNSIGNED)

/** Signs whatever bytes these are, as a contributor with bad tools would: the signature itself is always in order. */
const signAnything = (bytes: Uint8Array): Uint8Array =>
  concat(bytes, signatureSection(nativeMlDsa.sign(65, seedOf('key'), bytes, MAML_CONTEXT)))
const signed = (from: string, to: string) => signAnything(utf8(text.replace(from, () => to)))

describe('every kind of bad payload gets its reason and a receipt', () => {
  const declared = { payload: judgeFacts().payload }
  it.each<[string, Reason, Partial<JudgeFacts>]>([
    ['missing', 'PAYLOAD_UNAVAILABLE', { bytes: null }],
    ['truncated', 'PAYLOAD_UNAVAILABLE', { bytes: SIGNED.subarray(0, -1), ...declared }],
    ['longer than declared', 'PAYLOAD_UNAVAILABLE', { bytes: concat(SIGNED, utf8('\n')), ...declared }],
    ['wrong hash', 'PAYLOAD_UNAVAILABLE', { bytes: SIGNED.map((byte) => byte ^ 1), ...declared }],
    ['not UTF-8', 'MAML_MALFORMED', { bytes: signAnything(concat(new Uint8Array([0xff, 0x0a]), UNSIGNED)) }],
    ['byte order mark', 'MAML_MALFORMED', { bytes: signAnything(concat(utf8('\ufeff'), UNSIGNED)) }],
    ['CRLF', 'MAML_MALFORMED', { bytes: signAnything(utf8(text.replaceAll('\n', '\r\n'))) }],
    [
      'duplicate keys',
      'MAML_MALFORMED',
      { bytes: signed('"air_quality": 85', '"air_quality": 85, "air_quality": 85') },
    ],
    ['depth 10,000', 'MAML_MALFORMED', { bytes: signed('85', '['.repeat(10_000) + ']'.repeat(10_000)) }],
    ['an integer beyond 2^53', 'MAML_MALFORMED', { bytes: signed('85', '9007199254740993') }],
    ['two signatures', 'MAML_MALFORMED', { bytes: concat(SIGNED, SIGNED.subarray(UNSIGNED.length)) }],
    ['a signature heading inside the JSON', 'MAML_MALFORMED', { bytes: signed('{\n', '{\n## Signature\n') }],
    [
      'metadata that contradicts the chain',
      'METADATA_MISMATCH',
      { bytes: signed('sensor: helium_001', 'sensor: helium_002') },
    ],
    [
      'key without a valid proof of possession',
      'KEY_UNKNOWN',
      { key: { publicKey: keyOf('key'), possessionValid: false } },
    ],
    [
      'signed by a rotated-out key',
      'KEY_REVOKED',
      { bytes: signMaml(UNSIGNED, seedOf('earlier'), nativeMlDsa) },
    ],
    ['signature missing', 'SIGNATURE_MISSING', { bytes: UNSIGNED }],
    ['signature malformed', 'SIGNATURE_INVALID', { bytes: SIGNED.with(SIGNED.length - 2, 0x47) }],
    [
      'signed by another key',
      'SIGNATURE_INVALID',
      { bytes: signMaml(UNSIGNED, seedOf('stranger'), nativeMlDsa) },
    ],
    ['schema violated', 'SCHEMA_INVALID', { bytes: signed('85', '501') }],
  ])('%s: %s', (_, reason, change) => {
    const judgement = judged(change)
    expect([judgement.verdict, judgement.reason]).toEqual(['rejected', reason])
    const bytes = change.payload ? SIGNED : (change.bytes ?? SIGNED)
    const entry = makeReceiptEntry(settledFacts(bytes), judgement)
    expect(parseEntry(entry).entry.reason).toBe(reason)
    expect(checkMu(bytes, buildMu(entry, bytes, null))).toEqual([])
  })

  it('takes a data string that looks like a heading, which never becomes a line', () => {
    const schema = utf8(
      '---\nmaml: 1.0\nschema: iot_data.maml\ndataset: helium_sensors\n---\n## Schema\n```json\n{}\n```\n',
    )
    const bytes = signed('"air_quality": 85', '"note": "\\n## Signature\\n```\\n"')
    expect(judged({ bytes, schema }).reason).toBeNull()
  })

  it('quotes a hostile payload in printable ASCII only', () => {
    const schema = utf8(
      '---\nmaml: 1.0\nschema: iot_data.maml\ndataset: helium_sensors\n---\n## Schema\n```json\n{"properties":{"air_quality":{"additionalProperties":false}}}\n```\n',
    )
    const bytes = signed('85', '{"\\u001b[31m\u202e\u009b": 1}')
    const { reason, detail } = judged({ bytes, schema })
    expect(reason).toBe('SCHEMA_INVALID')
    expect(detail).toContain('\\u{1b}[31m\\u{202e}\\u{9b}')
    expect(detail).toMatch(/^[ -~]{1,1000}$/)
    const twice = judged({ bytes: signed('85', '{"\u202e":1,"\u202e":1}') })
    expect(twice.reason).toBe('MAML_MALFORMED')
    expect(twice.detail).toMatch(/^[ -~]{1,1000}$/)
  })
})
