import { describe, expect, it } from 'vitest'
import { decodeUtf8, utf8 } from '../../../src/core/bytes.ts'
import { malformedUtf8At, placeOf, sequenceLength } from '../../../src/core/utf8.ts'

describe('sequenceLength', () => {
  it('agrees with the platform on every two-byte start and on edges', () => {
    const edges = [0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xff]
    for (let first = 0; first < 256; first++)
      for (const second of edges)
        for (const third of [0x41, 0x80, 0xbf])
          for (const fourth of [0x41, 0x80]) {
            const bytes = new Uint8Array([first, second, third, fourth])
            const length = sequenceLength(bytes, 0)
            const valid = [1, 2, 3, 4].filter((n) => {
              try {
                return [...decodeUtf8(bytes.subarray(0, n))].length === 1
              } catch {
                return false
              }
            })
            expect([first, second, third, fourth, length]).toEqual([
              first,
              second,
              third,
              fourth,
              valid[0] ?? 0,
            ])
          }
  })

  it('is 0 where a sequence is cut, and past the end', () => {
    const camel = utf8('🐪')
    expect([camel, camel.subarray(0, 3), camel.subarray(0, 0)].map((b) => sequenceLength(b, 0))).toEqual([
      4, 0, 0,
    ])
  })
})

it('finds the first malformed byte', () => {
  expect(malformedUtf8At(utf8('aé€🐪'))).toBe(-1)
  expect(malformedUtf8At(new Uint8Array([0x61, 0xc3, 0xa9, 0xc3]))).toBe(3)
})

it('places bytes in lines and code points', () => {
  const bytes = utf8('é🐪\nx')
  expect([0, 2, 6, 7, 8, 99].map((at) => placeOf(bytes, at))).toEqual([
    { line: 1, column: 1 },
    { line: 1, column: 2 },
    { line: 1, column: 3 },
    { line: 2, column: 1 },
    { line: 2, column: 2 },
    { line: 2, column: 2 },
  ])
})
