import { beforeAll, describe, expect, it } from 'vitest'
import { concat, decodeUtf8, utf8 } from '../../../src/core/bytes.ts'
import { type JsonObject, jcsBytes } from '../../../src/core/json.ts'
import { accountEvidence, assembleBundle } from '../../../src/proof/build.ts'
import { BUNDLE_MAX_BYTES, type Bundle, decodeBundle, encodeBundle } from '../../../src/proof/bundle.ts'
import { BundleError } from '../../../src/proof/error.ts'
import { proofWorld } from '../../support/proof-world.ts'

let bundle: Bundle
let bytes: Uint8Array
beforeAll(async () => {
  const world = await proofWorld()
  bundle = await world.bundle(await world.block({ anchoredSize: 8 }), {
    index: 3,
    checkpointSize: 6,
    full: true,
  })
  bytes = encodeBundle(bundle)
})

const codeOf = (attempt: () => unknown): string => {
  try {
    attempt()
  } catch (error) {
    expect(error).toBeInstanceOf(BundleError)
    expect((error as BundleError).exitCode).toBe(1)
    return (error as BundleError).code
  }
  return 'read'
}
const json = () => JSON.parse(decodeUtf8(bytes)) as JsonObject
const decodeJson = (value: unknown) => () => decodeBundle(jcsBytes(value))

describe('decodeBundle', () => {
  it('reads what encodeBundle writes, with or without one final LF', () => {
    expect(decodeBundle(bytes)).toEqual(bundle)
    expect(decodeBundle(concat(bytes, utf8('\n')))).toEqual(bundle)
    expect(assembleBundle(bundle)).toEqual(bytes)
  })

  it('refuses any other spelling of the same JSON', () => {
    const text = decodeUtf8(bytes)
    const spellings = [
      `${text}\n\n`,
      `${text} `,
      ` ${text}`,
      `${text}\r\n`,
      JSON.stringify(json(), null, 2),
      JSON.stringify(Object.fromEntries(Object.entries(json()).reverse())),
      text.replace('"keyIndex":3', '"keyIndex":3.0'),
      text.replace('"keyIndex":3', '"keyIndex":3e0'),
      text.replace('"entry"', '"\\u0065ntry"'),
    ]
    for (const spelling of spellings) {
      expect(spelling).not.toBe(text)
      expect(codeOf(() => decodeBundle(utf8(spelling)))).toBe('BUNDLE_NOT_CANONICAL')
    }
  })

  it('refuses what is not strict JSON', () => {
    const text = decodeUtf8(bytes)
    const nested = `${'['.repeat(10_000)}${']'.repeat(10_000)}`
    for (const bad of [
      '',
      '{',
      `\ufeff${text}`,
      text.replace('{', '{"entry":"",'),
      nested,
      text.slice(0, -1),
    ]) {
      expect(codeOf(() => decodeBundle(utf8(bad)))).toBe('BUNDLE_MALFORMED')
    }
    expect(codeOf(() => decodeBundle(Uint8Array.of(0xff, 0xfe)))).toBe('BUNDLE_MALFORMED')
  })

  it('refuses a bundle beyond its bound before reading it', () => {
    expect(codeOf(() => decodeBundle(new Uint8Array(BUNDLE_MAX_BYTES + 1)))).toBe('BUNDLE_TOO_LARGE')
    expect(codeOf(() => decodeBundle(new Uint8Array(BUNDLE_MAX_BYTES)))).toBe('BUNDLE_MALFORMED')
  })

  it('refuses fields that it does not know, and those of claims that it does not check', () => {
    expect(codeOf(decodeJson({ ...json(), remark: 'hello' }))).toBe('BUNDLE_FIELD_UNKNOWN')
    expect(codeOf(decodeJson({ ...json(), policy: {} }))).toBe('BUNDLE_FIELD_UNKNOWN')
    expect(codeOf(decodeJson({ ...json(), epoch: {} }))).toBe('BUNDLE_FIELD_UNSUPPORTED')
    // Fields of another kind of bundle than one of an entry.
    for (const field of ['completeness', 'rows'])
      expect(codeOf(decodeJson({ ...json(), [field]: {} }))).toBe('BUNDLE_MALFORMED')
    const inside = json()
    ;((inside['evidence'] as JsonObject)['accounts'] as JsonObject[])[0]!['value'] = '0x01'
    expect(codeOf(decodeJson(inside))).toBe('BUNDLE_MALFORMED')
    const slot = json()
    ;(((slot['evidence'] as JsonObject)['accounts'] as JsonObject[])[0]!['slots'] as JsonObject[])[0]![
      'value'
    ] = '0x01'
    expect(codeOf(decodeJson(slot))).toBe('BUNDLE_MALFORMED')
  })

  it.each(['entry', 'tlogProof', 'evidence'])('refuses a bundle without %s', (field) => {
    const { [field]: _, ...rest } = json()
    expect(codeOf(decodeJson(rest))).toBe('BUNDLE_MALFORMED')
  })

  it.each([
    ['unpadded base64', 'entry', 'YQ'],
    ['base64 with unused bits', 'entry', 'YR=='],
    ['base64 with a line end', 'payload', 'YWJj\nYWJj'],
    ['URL-safe base64', 'publicKey', '-_-_'],
    ['hex for base64', 'receiptSig', '0x'],
    ['null for absent', 'payload', null],
    ['a list for a text', 'uri', []],
    ['a number for a text', 'tlogProof', 1],
    ['a text for hashes', 'consistency', 'a'],
    ['a short hash', 'consistency', [`0x${'00'.repeat(31)}`]],
    ['an upper-case hash', 'consistency', [`0x${'AA'.repeat(32)}`]],
    ['a hash without 0x', 'consistency', ['00'.repeat(32)]],
    ['a negative key index', 'possession', { keyIndex: -1, signature: '' }],
    ['a fractional key index', 'possession', { keyIndex: 0.5, signature: '' }],
    ['a text for a key index', 'possession', { keyIndex: '0', signature: '' }],
    ['a possession without signature', 'possession', { keyIndex: 0 }],
    ['evidence as a list', 'evidence', []],
    ['evidence without accounts', 'evidence', { header: '0x' }],
    ['a header in base64', 'evidence', { header: 'YQ==', accounts: [] }],
    [
      'a short address',
      'evidence',
      { header: '0x', accounts: [{ address: '0x00', accountProof: [], slots: [] }] },
    ],
    [
      'a short slot',
      'evidence',
      {
        header: '0x',
        accounts: [
          { address: `0x${'00'.repeat(20)}`, accountProof: [], slots: [{ slot: '0x01', proof: [] }] },
        ],
      },
    ],
  ])('refuses %s', (_, field, value) => {
    expect(codeOf(decodeJson({ ...json(), [field]: value }))).toBe('BUNDLE_MALFORMED')
  })

  it('refuses JSON that is no object', () => {
    for (const value of [null, 1, 'a', [], [json()]])
      expect(codeOf(decodeJson(value))).toBe('BUNDLE_MALFORMED')
  })
})

describe('accountEvidence', () => {
  it('takes an eth_getProof answer, pads keys, lowers case and drops the node of an empty trie', () => {
    const evidence = accountEvidence({
      address: `0x${'Ab'.repeat(20)}`,
      accountProof: ['0xC0'],
      storageProof: [
        { key: '0x1', proof: ['0x80'] },
        { key: `0x${'0F'.repeat(32)}`, proof: ['0xc0', '0x80'] },
      ],
    })
    expect(evidence).toEqual({
      address: `0x${'ab'.repeat(20)}`,
      accountProof: [Uint8Array.of(0xc0)],
      slots: [
        { slot: `0x${'00'.repeat(31)}01`, proof: [] },
        { slot: `0x${'0f'.repeat(32)}`, proof: [Uint8Array.of(0xc0), Uint8Array.of(0x80)] },
      ],
    })
  })
})
