import { expect, it } from 'vitest'
import { decodeUtf8, utf8 } from '../../../src/core/bytes.ts'
import { placeOfIssue } from '../../../src/maml/place.ts'
import { around, READING, refusal } from './fixture.ts'

it.each([
  ['', 0, '{ "s'],
  ['/air_quality', 0, '{"a/b'],
  ['/air_quality/a~1b', 0, '[5'],
  ['/air_quality/a~1b/1', 0, '{"~'],
  ['/air_quality/a~1b/1/~0', 0, '6}'],
  ['/none', 0, '{ "s'],
])('the place of %j', (path, reading, start) => {
  const one = READING.replace('85', '{"a/b": [5, {"~": 6}]}')
  for (const text of [around(one), around(`[${one}]`)]) {
    const place = placeOfIssue(utf8(text), { reading, path })
    const line = text.split('\n')[place.line - 1] as string
    expect(line.slice(place.column - 1).startsWith(start)).toBe(true)
  }
})

it('goes by the reading, and refuses what is no payload', () => {
  const text = around(`[${READING},\n${READING}]`)
  expect(placeOfIssue(utf8(text), { reading: 1, path: '/air_quality' })).toEqual({
    line: 4,
    column: READING.indexOf('85') + 1,
  })
  refusal(() => placeOfIssue(utf8(decodeUtf8(utf8(text)).slice(1)), { reading: 0, path: '' }))
})
