import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseArray } from '../../../src/graph/array-types.ts'

const text = (value: string): string => value

describe('the text of an array', () => {
  test.each([
    ['{}', []],
    ['{1,2,NULL}', ['1', '2', null]],
    ['{"NULL","",null}', ['NULL', '', 'null']],
    ['{{a,b},{c,NULL}}', [['a', 'b'], ['c', null]]], // biome-ignore format: as it is written
    ['[0:1]={1,2}', ['1', '2']],
    ['[1:1][-2:-1]={{1,2}}', [['1', '2']]],
    ['{"a\\"b\\\\c","{,}"," x "}', ['a"b\\c', '{,}', ' x ']],
    ['{(1),"(1,2)"}', ['(1)', '(1,2)']],
  ])('%s', (written, elements) => {
    expect(parseArray(written, text)).toEqual(elements)
  })

  test('gives every element but NULL to the parser', () => {
    expect(parseArray('{1,"2",{3},NULL}', Number)).toEqual([1, 2, [3], null])
  })

  test.each([
    '',
    'x',
    '1,2',
    '{',
    '{1',
    '{1,',
    '{1,}',
    '{,1}',
    '{"a',
    '{"a\\',
    '{"a"b}',
    '{{1}',
    '{1}}',
    '{1}x',
    '[0:1]',
    '[0:1',
  ])('that is damaged is refused: %s', (damaged) => {
    expect(() => parseArray(damaged, text)).toThrow(RangeError)
  })

  test('comes back as it was written, and no part of it is taken for the whole', () => {
    const values = fc.array(fc.oneof(fc.string({ unit: 'binary' }), fc.constant(null)))
    const quoted = (value: string | null) =>
      value === null ? 'NULL' : `"${value.replace(/["\\]/g, '\\$&')}"`
    fc.assert(
      fc.property(values, (items) => {
        const written = `{${items.map(quoted).join(',')}}`
        expect(parseArray(written, text)).toEqual(items)
        for (let end = 0; end < written.length; end++)
          expect(() => parseArray(written.slice(0, end), text)).toThrow(RangeError)
      }),
    )
  })
})
