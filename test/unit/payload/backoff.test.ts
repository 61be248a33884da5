import fc from 'fast-check'
import { expect, test } from 'vitest'
import { backoffMs, DEFAULT_BACKOFF } from '../../../src/payload/backoff.ts'

test('every wait is a whole number within the bounds of its attempt, and repeats with its seed', () => {
  fc.assert(
    fc.property(fc.nat(2000), fc.integer(), (attempt, seed) => {
      const wait = backoffMs(attempt, seed)
      expect(Number.isInteger(wait)).toBe(true)
      expect(wait).toBeGreaterThanOrEqual(0)
      expect(wait).toBeLessThanOrEqual(Math.min(DEFAULT_BACKOFF.maxMs, DEFAULT_BACKOFF.baseMs * 2 ** attempt))
      expect(backoffMs(attempt, seed)).toBe(wait)
    }),
  )
})

test('jitter is full: seeds spread over the whole range', () => {
  for (const attempt of [0, 3, 9]) {
    const cap = Math.min(8_000, 250 * 2 ** attempt)
    const waits = Array.from({ length: 2000 }, (_, seed) => backoffMs(attempt, seed))
    const mean = waits.reduce((sum, wait) => sum + wait, 0) / waits.length
    expect(Math.abs(mean / cap - 0.5)).toBeLessThan(0.05)
    for (let tenth = 0; tenth < 10; tenth++) {
      const share = waits.filter((wait) => Math.min(9, Math.floor((wait / cap) * 10)) === tenth).length
      expect(share).toBeGreaterThan(100)
    }
  }
})

test('one seed does not wait the same share of every bound', () => {
  const shares = new Set(
    Array.from({ length: 5 }, (_, attempt) => backoffMs(attempt, 7) / (250 * 2 ** attempt)),
  )
  expect(shares.size).toBe(5)
})
