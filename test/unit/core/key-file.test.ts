import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { toHex } from '../../../src/core/bytes.ts'
import { createKey, readKey, readOrCreateKey } from '../../../src/core/key-file.ts'

const folder = mkdtempSync(join(tmpdir(), 'dunes-key-'))
afterAll(() => rmSync(folder, { recursive: true }))
let files = 0
const path = () => join(folder, `key-${files++}`)
const fileOf = (text: string, mode = 0o600): string => {
  const file = path()
  writeFileSync(file, text)
  chmodSync(file, mode)
  return file
}
const code = (value: string) => expect.objectContaining({ code: value })

const KEY = new Uint8Array(32).fill(0xab)
const HEX = toHex(KEY)
const OTHER = `0x${'cd'.repeat(32)}`

describe('reading a key', () => {
  const variable = 'DUNES_TEST_KEY'

  it('takes hex with and without prefix, and space around it', () => {
    for (const text of [HEX, HEX.slice(2), `${HEX}\n`, `  ${HEX}\r\n`]) {
      expect(readKey({ variable, file: fileOf(text) }, {})).toEqual(KEY)
      expect(readKey({ variable }, { [variable]: text })).toEqual(KEY)
    }
  })

  it('prefers the variable, then the file that a variable names, then the usual file', () => {
    const [named, usual] = [fileOf(OTHER), fileOf(`0x${'ef'.repeat(32)}`)]
    const read = (env: Record<string, string>) => toHex(readKey({ variable, file: usual }, env) as Uint8Array)
    expect(read({ [variable]: HEX, [`${variable}_FILE`]: named })).toBe(HEX)
    expect(read({ [`${variable}_FILE`]: named })).toBe(OTHER)
    expect(read({})).toBe(`0x${'ef'.repeat(32)}`)
    // An empty variable is an unset one.
    expect(read({ [variable]: '' })).toBe(`0x${'ef'.repeat(32)}`)
  })

  it('answers null where nothing names a key, or the usual file is not there yet', () => {
    expect(readKey({ variable }, {})).toBeNull()
    expect(readKey({ variable, file: path() }, {})).toBeNull()
  })

  it('refuses a file that a variable names and that is not there', () => {
    const missing = path()
    expect(() => readKey({ variable, file: missing }, { [`${variable}_FILE`]: missing })).toThrow(
      code('KEY_UNREADABLE'),
    )
    expect(() => readKey({ variable, file: folder }, {})).toThrow(code('KEY_UNREADABLE'))
  })

  it.each([0o640, 0o604, 0o660, 0o644, 0o601])('refuses a file of mode %o', (mode) => {
    expect(() => readKey({ variable, file: fileOf(HEX, mode) }, {})).toThrow(code('KEY_EXPOSED'))
  })
  it('looks at the file behind a link', () => {
    const link = path()
    symlinkSync(fileOf(HEX, 0o644), link)
    expect(() => readKey({ variable, file: link }, {})).toThrow(code('KEY_EXPOSED'))
  })

  it.each([
    ['nothing', ''],
    ['a short key', HEX.slice(0, -2)],
    ['a long key', `${HEX}00`],
    ['upper case', HEX.toUpperCase().replace('0X', '0x')],
    ['two keys', `${HEX}\n${HEX}`],
    ['words', 'test test test'],
  ])('refuses %s, and does not repeat it', (_, text) => {
    const file = fileOf(text)
    try {
      readKey({ variable, file }, {})
    } catch (error) {
      expect(error).toEqual(code('KEY_INVALID'))
      expect(String(error)).toContain(file)
      if (text) expect(`${error}${JSON.stringify(error)}`).not.toContain(text.slice(2, 40))
      return
    }
    throw new Error('it was accepted')
  })
})

describe('making a key', () => {
  it('writes a file of its own that nobody else can read, and never over another', () => {
    const file = join(folder, 'new', 'folder', 'key')
    const key = createKey(file)
    expect(key).toHaveLength(32)
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(statSync(join(folder, 'new')).mode & 0o777).toBe(0o700)
    expect(readFileSync(file, 'utf8')).toBe(`${toHex(key)}\n`)
    expect(() => createKey(file)).toThrow(code('KEY_EXISTS'))
    expect(readKey({ variable: 'X', file }, {})).toEqual(key)
  })

  it('makes another each time, or the one that it is given', () => {
    expect(createKey(path())).not.toEqual(createKey(path()))
    expect(createKey(path(), KEY)).toEqual(KEY)
  })

  it('does not follow a link to a file', () => {
    const target = fileOf('precious')
    const link = path()
    symlinkSync(target, link)
    expect(() => createKey(link)).toThrow(code('KEY_EXISTS'))
    expect(readFileSync(target, 'utf8')).toBe('precious')
  })

  it('makes one only where there is none', () => {
    const source = { variable: 'X', file: path() }
    const key = readOrCreateKey(source, {})
    expect(readOrCreateKey(source, {})).toEqual(key)
    expect(readOrCreateKey(source, { X: HEX })).toEqual(KEY)
    expect(() => readOrCreateKey({ variable: 'X', file: fileOf('no key') }, {})).toThrow(code('KEY_INVALID'))
  })
})
