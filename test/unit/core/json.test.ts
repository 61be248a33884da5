import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { JsonError, jcs, parseJson } from '../../../src/core/json.ts'

const parse = (text: string, maxDepth = 16) => parseJson(text, { maxDepth })
/** Where parsing stops; fails when it does not, or with another error. */
function stopsAt(text: string, maxDepth = 16): number {
  try {
    parse(text, maxDepth)
  } catch (error) {
    if (error instanceof JsonError) return error.offset
    throw error
  }
  throw new Error(`${text} was accepted`)
}

describe('strict JSON', () => {
  it('reads what JSON.parse reads', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 6 }), fc.constantFrom(0, 1, 2), (text, indent) => {
        const value = JSON.parse(text)
        const spaced = JSON.stringify(value, null, indent)
        let ours: unknown
        try {
          ours = parse(spaced)
        } catch (error) {
          // The only things that it may refuse beyond RFC 8259 in a text without duplicate keys.
          expect((error as Error).message).toMatch(/beyond|surrogate/)
          return
        }
        expect(JSON.stringify(ours)).toBe(JSON.stringify(value))
      }),
    )
  })

  it('refuses whatever JSON.parse refuses, with nothing but JsonError', () => {
    const pieces = fc.constantFrom(
      ...'{}[]:,"\\ \n\t',
      '1',
      '-',
      '.',
      'e',
      '0',
      'true',
      'nul',
      '"a"',
      '\\u',
      '\0',
    )
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 12 }), (parts) => {
        const text = parts.join('')
        let theirs = true
        try {
          JSON.parse(text)
        } catch {
          theirs = false
        }
        let ours = true
        try {
          parse(text)
        } catch (error) {
          expect(error).toBeInstanceOf(JsonError)
          ours = false
        }
        if (!theirs) expect(ours).toBe(false)
      }),
      { numRuns: 2_000 },
    )
  })

  it.each<[string, string, number]>([
    ['nothing', '', 0],
    ['two values', '1 2', 2],
    ['a trailing comma in an array', '[1,]', 3],
    ['a trailing comma in an object', '{"a":1,}', 7],
    ['a bare key', '{a:1}', 1],
    ['single quotes', "['a']", 1],
    ['a comment', '[1/**/]', 2],
    ['a leading zero', '[01]', 2],
    ['a leading plus', '[+1]', 1],
    ['a bare fraction', '[.5]', 1],
    ['a fraction without digits', '[1.]', 2],
    ['NaN', '[NaN]', 1],
    ['Infinity', '[-Infinity]', 1],
    ['hexadecimal', '[0x10]', 2],
    ['a literal in upper case', '[True]', 1],
    ['a literal with more behind it', '[truex]', 5],
    ['a byte order mark', '\ufeff1', 0],
    ['a no-break space', '[\u00a01]', 1],
    ['a line feed in a string', '["a\nb"]', 3],
    ['an unknown escape', '["\\x41"]', 2],
    ['an escape of a prototype member', '["\\constructor"]', 2],
    ['a short \\u', '["\\u12"]', 2],
    ['a string without an end', '["abc', 1],
    ['an array without an end', '[1', 2],
  ])('refuses %s at its place', (_, text, offset) => {
    expect(stopsAt(text)).toBe(offset)
  })

  it.each([
    ['{"a":1,"a":1}', 7],
    ['{"a":1,"\\u0061":1}', 7],
    ['{"x":{"a":1,"b":2,"a":3}}', 18],
    ['{"__proto__":1,"__proto__":2}', 15],
    ['{"":1,"":2}', 6],
  ])('refuses the duplicate key of %s', (text, offset) => {
    expect(stopsAt(text)).toBe(offset)
  })

  it('takes the same key in different objects', () => {
    expect(parse('[{"a":1},{"a":{"a":2}}]')).toEqual([{ a: 1 }, { a: { a: 2 } }])
  })

  it('makes data of names that JavaScript knows', () => {
    const value = parse('{"__proto__":{"polluted":1},"constructor":2,"toString":3,"hasOwnProperty":4}')
    expect(Object.keys(value as object)).toEqual(['__proto__', 'constructor', 'toString', 'hasOwnProperty'])
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype)
    expect((value as { polluted?: number }).polluted).toBeUndefined()
    expect({}).not.toHaveProperty('polluted')
  })

  it.each([
    '"\\ud800"',
    '"\\udc00"',
    '"\\ud800x"',
    '"\\udc00\\ud800"',
    '"\ud800"',
    '{"\\ud800":1}',
  ])('refuses the lone surrogate of %j', (text) => {
    expect(stopsAt(`[${text}]`)).toBeGreaterThan(0)
  })
  it('takes a pair of surrogates, also one that is half escaped', () => {
    expect(parse('"\\ud83d\\ude00"')).toBe('😀')
    expect(parse('"\\ud83d\ude00"')).toBe('😀')
  })

  it('takes integers up to 2^53 - 1 and refuses all beyond, however they are spelled', () => {
    for (const text of ['9007199254740991', '-9007199254740991', '9007199254740991.0', '90071992547409.91e2'])
      expect(Math.abs(parse(text) as number)).toBe(Number.MAX_SAFE_INTEGER)
    for (const text of [
      '9007199254740992',
      '-9007199254740992',
      '9007199254740993.0',
      '1e16',
      '1e300',
      '1E400',
    ])
      expect(stopsAt(`[${text}]`)).toBe(1)
    // Rules are about the nearest double, so a fraction that is lost to rounding does not save a number.
    expect(stopsAt('[9007199254740992.4]')).toBe(1)
    expect(parse('9007199254740991.4')).toBe(Number.MAX_SAFE_INTEGER)
    expect(parse('0.1e-400')).toBe(0)
    expect(parse('[4503599627370495.5]')).toEqual([4503599627370495.5])
    expect(Object.is(parse('-0'), -0)).toBe(true)
  })

  it('counts depth from the outermost array or object, and stops before it is a danger', () => {
    expect(parse('[[{"a":1}]]', 3)).toEqual([[{ a: 1 }]])
    expect(stopsAt('[[{"a":1}]]', 2)).toBe(2)
    expect(parse('1', 1)).toBe(1)
    expect(stopsAt('['.repeat(100_000))).toBe(16)
    expect(stopsAt('{"a":'.repeat(100_000))).toBe(80)
    // Siblings are no depth.
    expect(parse(`[${'[],'.repeat(10_000)}[]]`, 2)).toHaveLength(10_001)
  })

  it('reads a megabyte in good time, whatever it is made of', () => {
    const started = performance.now()
    for (const text of [
      `"${'\\u0041'.repeat(170_000)}"`,
      `[${'1,'.repeat(500_000)}1]`,
      `"${'a'.repeat(1_000_000)}"`,
      `{${Array.from({ length: 80_000 }, (_, i) => `"k${i}":0`).join(',')}}`,
      ' '.repeat(1_000_000),
    ]) {
      try {
        parse(text)
      } catch (error) {
        expect(error).toBeInstanceOf(JsonError)
      }
    }
    expect(performance.now() - started).toBeLessThan(10_000)
  })

  it('gives again what canonical JSON was made of', () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.string({ unit: 'binary' }), fc.oneof(fc.integer(), fc.boolean()), { maxKeys: 6 }),
        (value) => {
          const text = jcs({ ...value })
          expect(jcs(parse(text))).toBe(text)
        },
      ),
    )
  })
})
