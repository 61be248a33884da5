import { createPublicKey, verify } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { LogError } from '../../../src/log/error.ts'
import {
  formatNote,
  isKeyName,
  MAX_NOTE_BYTES,
  type NoteSignature,
  parseNote,
} from '../../../src/log/note.ts'
import { formatVkey, parseVkey } from '../../../src/log/vkey.ts'

const vectors = JSON.parse(
  readFileSync(new URL('../../vectors/log/signed-notes.json', import.meta.url), 'utf8'),
) as {
  verifiable: { vkey: string; text: string; note: string }[]
  readable: { name: string; text: string; note: string }[]
}

/** Ed25519 by Node's own crypto. */
function verifies(publicKey: Uint8Array, text: string, signature: Uint8Array): boolean {
  const x = Buffer.from(publicKey).toString('base64url')
  const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' })
  return verify(null, new TextEncoder().encode(text), key, signature)
}

describe('published notes', () => {
  test.each(vectors.verifiable)('$vkey verifies its example', ({ vkey, text, note }) => {
    const key = parseVkey(vkey)
    const read = parseNote(note)
    expect(read.text).toBe(text)
    expect(read.signatures).toHaveLength(1)
    const [line] = read.signatures as [NoteSignature]
    expect([line.name, line.keyId]).toEqual([key.name, key.keyId])
    expect(verifies(key.publicKey, text, line.signature)).toBe(true)
    expect(verifies(key.publicKey, `${text}\n`, line.signature)).toBe(false)
    expect(formatNote(read)).toBe(note)
    expect(formatVkey(key)).toBe(vkey)
  })

  test.each(vectors.readable)('$name reads, with empty lines in its text', ({ name, text, note }) => {
    const read = parseNote(new TextEncoder().encode(note))
    expect(read.text).toBe(text)
    expect(read.signatures.map((line) => line.name)).toEqual([name])
    expect(formatNote(read)).toBe(note)
  })
})

const line = '\u2014 a.example/log AAAAAQI=\n'

describe('parseNote', () => {
  test('splits at the last empty line', () => {
    expect(parseNote(`one\n\n\u2014 not a signature\n\n\n${line}`).text).toBe(
      'one\n\n\u2014 not a signature\n\n',
    )
    expect(parseNote(`\n\n${line}`).text).toBe('\n')
  })

  test('reads name, key id and signature', () => {
    expect(parseNote(`text\n\n${line}\u2014 b.example/\u00e9 /////wA=\n`).signatures).toEqual([
      { name: 'a.example/log', keyId: 1, signature: Uint8Array.of(2) },
      { name: 'b.example/\u00e9', keyId: 0xffffffff, signature: Uint8Array.of(0) },
    ])
  })

  test.each([
    ['nothing', ''],
    ['only a line end', '\n'],
    ['only empty lines', '\n\n\n'],
    ['no empty line', `text\n${line}`],
    ['no text', `\n${line}`],
    ['no signature', 'text\n\n'],
    ['no final line end', `text\n\n${line.slice(0, -1)}`],
    ['an empty line at the end', `text\n\n${line}\n`],
    ['a hyphen for the em dash', 'text\n\n- a.example/log AAAAAQI=\n'],
    ['an en dash for the em dash', 'text\n\n\u2013 a.example/log AAAAAQI=\n'],
    ['no space after the dash', 'text\n\n\u2014a.example/log AAAAAQI=\n'],
    ['two spaces after the dash', 'text\n\n\u2014  a.example/log AAAAAQI=\n'],
    ['two spaces before the signature', 'text\n\n\u2014 a.example/log  AAAAAQI=\n'],
    ['a space after the signature', 'text\n\n\u2014 a.example/log AAAAAQI= \n'],
    ['no name', 'text\n\n\u2014  AAAAAQI=\n'],
    ['no signature bytes', 'text\n\n\u2014 a.example/log\n'],
    ['an empty signature', 'text\n\n\u2014 a.example/log \n'],
    ['a key id without a signature', 'text\n\n\u2014 a.example/log AAAAAQ==\n'],
    ['three bytes', 'text\n\n\u2014 a.example/log AAAA\n'],
    ['base64 without padding', 'text\n\n\u2014 a.example/log AAAAAQI\n'],
    ['base64 with loose bits', 'text\n\n\u2014 a.example/log AAAAAQJ=\n'],
    ['base64url', 'text\n\n\u2014 a.example/log AAAAAQ_-\n'],
    ['a plus in a name', 'text\n\n\u2014 a+b AAAAAQI=\n'],
    ['a no-break space in a name', 'text\n\n\u2014 a\u00a0b AAAAAQI=\n'],
    ['an ideographic space in a name', 'text\n\n\u2014 a\u3000b AAAAAQI=\n'],
    ['a line separator in a name', 'text\n\n\u2014 a\u2028b AAAAAQI=\n'],
    ['a next-line character in a name', 'text\n\n\u2014 a\u0085b AAAAAQI=\n'],
    ['a carriage return', `text\r\n\r\n${line}`],
    ['a tab in the text', `te\txt\n\n${line}`],
    ['a NUL in the text', `te\u0000xt\n\n${line}`],
    ['an escape in the text', `te\u001bxt\n\n${line}`],
    ['a control character in a name', 'text\n\n\u2014 a\u0001b AAAAAQI=\n'],
    ['a lone surrogate', `te\ud800xt\n\n${line}`],
    ['one bad line among good ones', `text\n\n${line}junk\n${line}`],
    ['65 signatures', `text\n\n${line.repeat(65)}`],
    ['too many bytes', `${'x'.repeat(MAX_NOTE_BYTES)}\n\n${line}`],
  ])('refuses a note with %s', (_, note) => {
    expect(() => parseNote(note)).toThrow(expect.objectContaining({ code: 'NOTE_MALFORMED' }))
    expect(() => parseNote(note)).toThrow(LogError)
  })

  test('accepts 64 signatures, sixteen of the largest kind, and up to the byte limit', () => {
    expect(parseNote(`text\n\n${line.repeat(64)}`).signatures).toHaveLength(64)
    const signature = { name: 'a.example/log', keyId: 1, signature: new Uint8Array(5000) }
    const note = formatNote({ text: 'text\n', signatures: Array(16).fill(signature) })
    expect(parseNote(note).signatures).toHaveLength(16)
    const full = `${'x'.repeat(MAX_NOTE_BYTES - 2 - new TextEncoder().encode(line).length)}\n\n${line}`
    expect(parseNote(full).signatures).toHaveLength(1)
    expect(() => parseNote(`x${full}`)).toThrow(LogError)
  })

  test('refuses bytes that are not UTF-8, and keeps a byte order mark as text', () => {
    const bytes = new TextEncoder().encode(`text\n\n${line}`)
    for (const bad of [0xff, 0xc0, 0x80]) {
      const copy = bytes.slice()
      copy[0] = bad
      expect(() => parseNote(copy)).toThrow(LogError)
    }
    expect(parseNote(new TextEncoder().encode(`\ufefftext\n\n${line}`)).text).toBe('\ufefftext\n')
  })
})

describe('formatNote', () => {
  const good = { name: 'a.example/log', keyId: 1, signature: Uint8Array.of(2) }
  test('writes the lines in order', () => {
    expect(formatNote({ text: 'text\n', signatures: [good, { ...good, name: 'b' }] })).toBe(
      `text\n\n${line}\u2014 b AAAAAQI=\n`,
    )
  })

  test.each([
    ['text without a final line end', { text: 'text', signatures: [good] }],
    ['empty text', { text: '', signatures: [good] }],
    ['a control character', { text: 'a\rb\n', signatures: [good] }],
    ['a lone surrogate', { text: '\udc00\n', signatures: [good] }],
    ['no signature', { text: 'text\n', signatures: [] }],
    ['65 signatures', { text: 'text\n', signatures: Array(65).fill(good) as NoteSignature[] }],
    ['a bad name', { text: 'text\n', signatures: [{ ...good, name: 'a b' }] }],
    ['an empty name', { text: 'text\n', signatures: [{ ...good, name: '' }] }],
    ['a negative key id', { text: 'text\n', signatures: [{ ...good, keyId: -1 }] }],
    ['a key id beyond 32 bits', { text: 'text\n', signatures: [{ ...good, keyId: 2 ** 32 }] }],
    ['a broken key id', { text: 'text\n', signatures: [{ ...good, keyId: 1.5 }] }],
    ['an empty signature', { text: 'text\n', signatures: [{ ...good, signature: new Uint8Array(0) }] }],
    ['too many bytes', { text: `${'x'.repeat(MAX_NOTE_BYTES)}\n`, signatures: [good] }],
  ])('refuses %s', (_, note) => {
    expect(() => formatNote(note)).toThrow(LogError)
  })
})

test('key names are not empty and hold neither spaces nor plus', () => {
  for (const name of ['a', 'example.com/log42', '\u00e9', 'a\u200bb', 'oid/1.2.3'])
    expect(isKeyName(name)).toBe(true)
  for (const name of ['', ' ', 'a b', 'a+b', 'a\nb', 'a\tb', 'a\u2009b', 'a\u202fb', '\ud800', 'a\u0000'])
    expect(isKeyName(name), JSON.stringify(name)).toBe(false)
})
