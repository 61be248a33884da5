import { describe, expect, it } from 'vitest'
import { decodeUtf8, toHex } from '../../../src/core/bytes.ts'
import { jcs, jcsBytes, parseJson } from '../../../src/core/json.ts'

/** RFC 8785 appendix B: a double by its IEEE 754 bits, and how ECMAScript writes it. */
const NUMBERS: readonly [bits: string, text: string][] = [
  ['0000000000000000', '0'],
  ['8000000000000000', '0'],
  ['0000000000000001', '5e-324'],
  ['8000000000000001', '-5e-324'],
  ['7fefffffffffffff', '1.7976931348623157e+308'],
  ['ffefffffffffffff', '-1.7976931348623157e+308'],
  ['4340000000000000', '9007199254740992'],
  ['c340000000000000', '-9007199254740992'],
  ['4430000000000000', '295147905179352830000'],
  ['44b52d02c7e14af5', '9.999999999999997e+22'],
  ['44b52d02c7e14af6', '1e+23'],
  ['44b52d02c7e14af7', '1.0000000000000001e+23'],
  ['444b1ae4d6e2ef4e', '999999999999999700000'],
  ['444b1ae4d6e2ef4f', '999999999999999900000'],
  ['444b1ae4d6e2ef50', '1e+21'],
  ['3eb0c6f7a0b5ed8c', '9.999999999999997e-7'],
  ['3eb0c6f7a0b5ed8d', '0.000001'],
  ['41b3de4355555553', '333333333.3333332'],
  ['41b3de4355555554', '333333333.33333325'],
  ['41b3de4355555555', '333333333.3333333'],
  ['41b3de4355555556', '333333333.3333334'],
  ['41b3de4355555557', '333333333.33333343'],
  ['becbf647612f3696', '-0.0000033333333333333333'],
  ['43143ff3c1cb0959', '1424953923781206.2'],
]
const double = (bits: string): number => Buffer.from(bits, 'hex').readDoubleBE()

describe('canonical JSON (RFC 8785)', () => {
  it.each(NUMBERS)('writes the double %s as %s (appendix B)', (bits, text) => {
    expect(jcs(double(bits))).toBe(text)
    expect(jcs([double(bits)])).toBe(`[${text}]`)
  })

  it.each([
    '7fffffffffffffff',
    '7ff0000000000000',
    'fff0000000000000',
  ])('refuses the double %s (appendix B)', (bits) => {
    expect(() => jcs(double(bits))).toThrow('no canonical JSON')
    expect(() => jcs({ a: [double(bits)] })).toThrow('no canonical JSON')
  })

  it('writes the sample of section 3.2.2 as the bytes of section 3.2.4', () => {
    // JSON.parse, as our own strict reader refuses the integer 1E30.
    const value = JSON.parse(String.raw`{
      "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
      "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
      "literals": [null, true, false]
    }`)
    expect(toHex(jcsBytes(value)).slice(2)).toBe(
      '7b226c69746572616c73223a5b6e756c6c2c747275652c66616c73655d2c226e756d62657273223a5b3333333333333333' +
        '332e333333333333332c31652b33302c342e352c302e3030322c31652d32375d2c22737472696e67223a22e282ac245c75' +
        '303030665c6e4127425c225c5c5c5c5c222f227d',
    )
  })

  it('sorts keys by UTF-16 code units (section 3.2.3)', () => {
    const value = parseJson(
      String.raw`{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One",
        "\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}`,
      { maxDepth: 1 },
    )
    expect(Object.values(JSON.parse(jcs(value)))).toContain('One')
    expect([...jcs(value).matchAll(/:"([^"]*)"/g)].map((match) => match[1])).toEqual([
      'Carriage Return',
      'One',
      'Control',
      'Latin Small Letter O With Diaeresis',
      'Euro Sign',
      'Emoji: Grinning Face',
      'Hebrew Letter Dalet With Dagesh',
    ])
  })

  it('escapes what section 3.2.2.2 names, in the shortest way, and nothing else', () => {
    const controls = Array.from({ length: 32 }, (_, i) => String.fromCharCode(i)).join('')
    expect(jcs(`${controls}"\\/\u007f\u2028\ufeff`)).toBe(
      `"${[
        ...Array.from({ length: 8 }, (_, i) => `\\u000${i}`),
        '\\b\\t\\n\\u000b\\f\\r\\u000e\\u000f',
        ...Array.from({ length: 16 }, (_, i) => `\\u001${i.toString(16)}`),
      ].join('')}\\"\\\\/\u007f\u2028\ufeff"`,
    )
  })

  it('keeps a key called __proto__', () => {
    expect(jcs(parseJson('{"b":1,"__proto__":{"a":2}}', { maxDepth: 2 }))).toBe('{"__proto__":{"a":2},"b":1}')
  })

  const cycle: unknown[] = []
  cycle.push(cycle)
  it.each<[string, unknown]>([
    ['undefined', undefined],
    ['an undefined member', { a: undefined }],
    ['an undefined item', [undefined]],
    ['a hole', new Array(1)],
    ['a bigint', { a: 1n }],
    ['a function', { a: () => 1 }],
    ['a symbol', Symbol('a')],
    ['a date', new Date(0)],
    ['bytes', new Uint8Array(2)],
    ['a map', new Map([[1, 2]])],
    ['a lone surrogate', '\ud800'],
    ['a key with a lone surrogate', { '\udc00': 1 }],
    ['a cycle', cycle],
  ])('refuses %s rather than write something else', (_, value) => {
    expect(() => jcs(value)).toThrow(expect.objectContaining({ code: 'JCS_UNREPRESENTABLE' }))
  })

  it('writes UTF-8', () => {
    expect(decodeUtf8(jcsBytes({ é: '🌫' }))).toBe('{"é":"🌫"}')
  })
})
