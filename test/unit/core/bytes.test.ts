import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  compareBytes,
  concat,
  decodeUtf8,
  equalBytes,
  fromBase64,
  fromHex,
  isHex,
  portable,
  sha256,
  toBase64,
  toBigInt,
  toHex,
  u16be,
  u32be,
  u64be,
  u256be,
  utf8,
} from '../../../src/core/bytes.ts'

const bytes = fc.uint8Array({ maxLength: 100 })
const code = (value: string) => expect.objectContaining({ code: value })

describe('hex', () => {
  it('agrees with Buffer both ways', () => {
    fc.assert(
      fc.property(bytes, (value) => {
        const text = toHex(value)
        expect(text).toBe(`0x${Buffer.from(value).toString('hex')}`)
        expect(fromHex(text)).toEqual(value)
        expect(fromHex(text, value.length)).toEqual(value)
        expect(isHex(text, value.length)).toBe(true)
        expect(isHex(text, value.length + 1)).toBe(false)
      }),
    )
  })

  it.each([
    '',
    '0',
    '0x0',
    'ab',
    '0xAB',
    '0XAB'.toLowerCase().replace('x', 'X'),
    '0xg0',
    '0xab\n',
    ' 0xab',
    '0x0x',
  ])('takes no %j', (text) => {
    expect(isHex(text)).toBe(false)
    expect(() => fromHex(text)).toThrow(code('BAD_HEX'))
  })
  it('takes nothing of another size', () => {
    expect(() => fromHex('0xabcd', 1)).toThrow(code('BAD_HEX'))
    expect(() => fromHex('0x', 1)).toThrow(code('BAD_HEX'))
    expect(fromHex('0x')).toEqual(new Uint8Array())
  })
  it.each([undefined, null, 1, [], {}, new Uint8Array(1)])('is no %j', (value) => {
    expect(isHex(value)).toBe(false)
  })
})

describe('base64 (RFC 4648)', () => {
  it.each([
    ['', ''],
    ['f', 'Zg=='],
    ['fo', 'Zm8='],
    ['foo', 'Zm9v'],
    ['foob', 'Zm9vYg=='],
    ['fooba', 'Zm9vYmE='],
    ['foobar', 'Zm9vYmFy'],
  ])('has the vector %j of section 10', (text, encoded) => {
    expect(toBase64(utf8(text))).toBe(encoded)
    expect(decodeUtf8(fromBase64(encoded))).toBe(text)
  })

  it('agrees with Buffer both ways', () => {
    fc.assert(
      fc.property(bytes, (value) => {
        const text = toBase64(value)
        expect(text).toBe(Buffer.from(value).toString('base64'))
        expect(fromBase64(text)).toEqual(value)
      }),
    )
  })

  it.each([
    ['no padding', 'Zg'],
    ['half of the padding', 'Zg='],
    ['too much padding', 'Zm9v===='],
    ['three of padding', 'Z==='],
    ['padding alone', '===='],
    ['padding within', 'Zg==Zg=='],
    ['padding before a digit', 'Z=g='],
    ['bits left over after one byte', 'Zh=='],
    ['bits left over after two bytes', 'Zm9='],
    ['white space', 'Zm9v\n'],
    ['white space within', 'Zm 9v'],
    ['the URL alphabet', '-_-_'],
    ['what is not ASCII', 'Zm9é'],
  ])('refuses %s', (_, text) => {
    expect(() => fromBase64(text)).toThrow(code('BAD_BASE64'))
  })

  it('has exactly one spelling for each byte string', () => {
    const alphabet = fc.constantFrom(...'ABCgwZ019+/=')
    fc.assert(
      fc.property(fc.array(alphabet, { maxLength: 8 }), (letters) => {
        const text = letters.join('')
        let read: Uint8Array
        try {
          read = fromBase64(text)
        } catch (error) {
          expect(error).toEqual(code('BAD_BASE64'))
          expect(Buffer.from(text, 'base64').toString('base64')).not.toBe(text)
          return
        }
        expect(toBase64(read)).toBe(text)
      }),
      { numRuns: 2_000 },
    )
  })
})

describe('what runtimes without methods of their own use', () => {
  it('gives what the runtime gives', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { minLength: 1, maxLength: 3 }), (parts) => {
        const [value] = parts as [Uint8Array]
        expect(portable.toHex(value)).toBe(toHex(value))
        expect(portable.toBase64(value)).toBe(toBase64(value))
        expect(portable.base64Bytes(toBase64(value))).toEqual(value)
        expect(portable.sha256(...parts)).toEqual(sha256(...parts))
      }),
    )
  })

  it('takes and refuses the same base64', () => {
    const alphabet = fc.constantFrom(...'ABCgwZ019+/=- \né')
    const letters = fc.array(alphabet, { maxLength: 8 }).map((chars) => chars.join(''))
    const text = letters.filter((chars) => chars.length % 4 === 0)
    fc.assert(
      fc.property(text, (encoded) => {
        let read: Uint8Array | null = null
        try {
          read = fromBase64(encoded)
        } catch {}
        expect(portable.base64Bytes(encoded)).toEqual(read)
      }),
      { numRuns: 3_000 },
    )
  })
})

describe('integers', () => {
  it.each([
    ['u16be', u16be, 2],
    ['u32be', u32be, 4],
    ['u64be', u64be, 8],
    ['u256be', u256be, 32],
  ] as const)('%s is big-endian, whole and bounded', (_, encode, width) => {
    const limit = 1n << BigInt(8 * width)
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: limit - 1n }), (value) => {
        expect(toHex(encode(value))).toBe(`0x${value.toString(16).padStart(2 * width, '0')}`)
        expect(toBigInt(encode(value))).toBe(value)
      }),
    )
    expect(encode(258).slice(-2)).toEqual(new Uint8Array([1, 2]))
    for (const wrong of [limit, -1n, -1, 0.5, Number.NaN]) expect(() => encode(wrong)).toThrow(RangeError)
  })
  it('reads no bytes as zero', () => expect(toBigInt(new Uint8Array())).toBe(0n))
})

describe('byte strings', () => {
  it('compare as Buffers do', () => {
    const few = fc.uint8Array({ maxLength: 4, max: 2 })
    fc.assert(
      fc.property(few, few, (a, b) => {
        expect(Math.sign(compareBytes(a, b))).toBe(Buffer.compare(a, b))
        expect(equalBytes(a, b)).toBe(Buffer.compare(a, b) === 0)
      }),
    )
  })
  it('join, and hash as joined (FIPS 180-4)', () => {
    fc.assert(
      fc.property(fc.array(bytes, { maxLength: 4 }), (parts) => {
        expect(Buffer.from(concat(...parts))).toEqual(Buffer.concat(parts))
        expect(Buffer.from(sha256(...parts))).toEqual(
          createHash('sha256').update(Buffer.concat(parts)).digest(),
        )
      }),
    )
    expect(toHex(sha256(utf8('abc')))).toBe(
      '0xba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad',
    )
  })
})

describe('text', () => {
  it('keeps a byte order mark', () => {
    expect(decodeUtf8(new Uint8Array([0xef, 0xbb, 0xbf, 0x61]))).toBe('\ufeffa')
  })
  it.each([
    [[0xff]],
    [[0xc0, 0xaf]],
    [[0xed, 0xa0, 0x80]],
    [[0xf4, 0x90, 0x80, 0x80]],
    [[0xe2, 0x82]],
  ])('refuses the bytes %j', (values) => expect(() => decodeUtf8(new Uint8Array(values))).toThrow(TypeError))
  it('comes back from its bytes', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(decodeUtf8(utf8(text))).toBe(text.toWellFormed())
      }),
    )
  })
})
