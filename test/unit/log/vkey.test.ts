import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { nobleMlDsa } from '../../../src/core/ml-dsa.ts'
import { LogError } from '../../../src/log/error.ts'
import { formatVkey, makeVkey, parseVkey, SIGNATURE_TYPE } from '../../../src/log/vkey.ts'
import { flip } from './reference.ts'

const published = 'example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k'
const edKey = parseVkey(published).publicKey
const mlKey = nobleMlDsa.publicKey(44, new Uint8Array(32).fill(3))

test('key ids are the first four bytes of SHA-256(name || LF || type || public key)', () => {
  for (const [type, key] of [
    [SIGNATURE_TYPE.ed25519, edKey],
    [SIGNATURE_TYPE.mlDsa44, mlKey],
  ] as const) {
    const vkey = makeVkey('example.com/\u00e9', type, key)
    const hash = createHash('sha256')
      .update('example.com/\u00e9\n')
      .update(Uint8Array.of(type))
      .update(key)
      .digest()
    expect(vkey.keyId).toBe(hash.readUInt32BE(0))
    expect(parseVkey(formatVkey(vkey))).toEqual(vkey)
  }
  expect(makeVkey('example.com/foo', SIGNATURE_TYPE.ed25519, edKey).keyId).toBe(0x530d903a)
})

test('a key id is written with all its eight digits', () => {
  let tries = 0
  let vkey = makeVkey('0', SIGNATURE_TYPE.ed25519, edKey)
  while (vkey.keyId >= 0x01000000) vkey = makeVkey(String(++tries), SIGNATURE_TYPE.ed25519, edKey)
  expect(formatVkey(vkey)).toMatch(/^[0-9]+\+00[0-9a-f]{6}\+/)
  expect(parseVkey(formatVkey(vkey))).toEqual(vkey)
})

describe('parseVkey refuses', () => {
  const [name, id, key] = ['example.com/foo', '530d903a', 'AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k']
  const typed = (type: number, bytes: Uint8Array) => Buffer.from([type, ...bytes]).toString('base64')
  test.each([
    ['nothing', ''],
    ['two parts', `${name}+${id}`],
    ['four parts of which the last is not base64', `${published}+!`],
    ['a key id of another name', `example.com/bar+${id}+${key}`],
    ['a key id that is off by one', `${name}+530d903b+${key}`],
    ['a key id of zero', `${name}+00000000+${key}`],
    ['an upper-case key id', `${name}+530D903A+${key}`],
    ['a short key id', `${name}+530d903+${key}`],
    ['a long key id', `${name}+0530d903a+${key}`],
    ['no name', `+${id}+${key}`],
    ['a space in the name', `example.com foo+${id}+${key}`],
    ['a line end after it', `${published}\n`],
    ['a space before it', ` ${published}`],
    ['no key', `${name}+${id}+`],
    ['a type byte alone', `${name}+${id}+AQ==`],
    ['another key of the same type', `${name}+${id}+${typed(1, flip(edKey))}`],
    ['the ML-DSA type with an Ed25519 key', `${name}+${id}+${typed(6, edKey)}`],
    ['the Ed25519 type with an ML-DSA key', `${name}+${id}+${typed(1, mlKey)}`],
    ['a key that is a byte short', `${name}+${id}+${typed(1, edKey.subarray(1))}`],
    ['a key that is a byte long', `${name}+${id}+${typed(1, new Uint8Array([...edKey, 0]))}`],
    ['the ECDSA type', `${name}+${id}+${typed(2, edKey)}`],
    ['the Ed25519 cosignature type', `${name}+${id}+${typed(4, edKey)}`],
    [
      'base64 without its padding',
      formatVkey(makeVkey(name, SIGNATURE_TYPE.mlDsa44, mlKey)).replace(/=+$/, ''),
    ],
    ['base64 too long to be a key', `${name}+${id}+${'A'.repeat(5000)}`],
  ])('%s', (_, text) => {
    expect(() => parseVkey(text)).toThrow(LogError)
    expect(() => parseVkey(text)).toThrow(expect.objectContaining({ code: 'VKEY_MALFORMED' }))
  })

  test('the padding case is about padding: with it the key reads', () => {
    const text = formatVkey(makeVkey(name, SIGNATURE_TYPE.mlDsa44, mlKey))
    expect(text.endsWith('=')).toBe(true)
    expect(parseVkey(text).publicKey).toEqual(mlKey)
  })
})

test('makeVkey refuses names and keys that signature lines cannot carry', () => {
  for (const name of ['', 'a b', 'a+b', 'x'.repeat(256), '\u00e9'.repeat(128)])
    expect(() => makeVkey(name, SIGNATURE_TYPE.ed25519, edKey)).toThrow(LogError)
  expect(makeVkey('x'.repeat(255), SIGNATURE_TYPE.mlDsa44, mlKey).name).toHaveLength(255)
  expect(() => makeVkey('a', 2 as never, edKey)).toThrow(LogError)
  expect(() => makeVkey('a', SIGNATURE_TYPE.mlDsa44, edKey)).toThrow(LogError)
})
