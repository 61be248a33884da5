import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ServiceError } from '../../../src/service/error.ts'
import { decodeCursor, encodeCursor, makePage, pageBounds } from '../../../src/service/page.ts'

const refusal = (run: () => unknown): unknown => {
  try {
    run()
  } catch (error) {
    return error instanceof ServiceError ? error.code : error
  }
  return 'nothing'
}

describe('cursors', () => {
  test('come back as the key that went in, for their list only', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (key) => {
        const cursor = encodeCursor('submissions', key)
        expect(cursor).toMatch(/^[A-Za-z0-9_-]+$/)
        expect(decodeCursor('submissions', cursor)).toBe(key)
        expect(refusal(() => decodeCursor('sensors', cursor))).toBe('BAD_CURSOR')
      }),
    )
  })

  test('are refused when mangled, whatever they are mangled to', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.nat(21), fc.constantFrom(...'AZaz09-_'), (key, at, letter) => {
        const cursor = encodeCursor('submissions', key)
        fc.pre(cursor[at] !== letter)
        const mangled = cursor.slice(0, at) + letter + cursor.slice(at + 1)
        expect(refusal(() => decodeCursor('submissions', mangled))).toBe('BAD_CURSOR')
      }),
    )
    fc.assert(
      fc.property(fc.string(), (text) => {
        expect(refusal(() => decodeCursor('x', text))).toBe('BAD_CURSOR')
      }),
    )
  })
})

describe('pages', () => {
  const rows = (count: number) => Array.from({ length: count }, (_, i) => ({ id: 100 - i }))
  const cut = (count: number, limit: number) =>
    makePage(
      'x',
      rows(count),
      { limit },
      (row) => row.id,
      (row) => row.id,
    )

  test('end with a cursor only where another page follows', () => {
    expect(cut(3, 2)).toEqual({ items: [100, 99], next_cursor: encodeCursor('x', 99) })
    expect(cut(2, 2)).toEqual({ items: [100, 99], next_cursor: null })
    expect(cut(0, 2)).toEqual({ items: [], next_cursor: null })
  })

  test('ask for one row more than they show, from the cursor on', () => {
    expect(pageBounds('x', {})).toEqual({ before: Number.MAX_SAFE_INTEGER, rows: 51 })
    expect(pageBounds('x', { limit: 200, cursor: encodeCursor('x', 7) })).toEqual({ before: 7, rows: 201 })
    for (const limit of [0, 201, 1.5]) expect(() => pageBounds('x', { limit })).toThrow(RangeError)
  })
})
