import { describe, expect, it } from 'vitest'
import { formatSeconds, parseTimestamp } from '../../../src/maml/time.ts'

describe('parseTimestamp', () => {
  it.each([
    ['1970-01-01T00:00:00Z', 0, 0],
    ['2025-10-01T23:30:00Z', 1_759_361_400, 0],
    ['2025-10-01T23:30:00.5Z', 1_759_361_400, 500_000_000],
    ['2025-10-01T23:30:00.000000001Z', 1_759_361_400, 1],
    ['2024-02-29T12:00:00Z', 1_709_208_000, 0],
    ['2000-02-29T00:00:00Z', 951_782_400, 0],
    ['1969-12-31T23:59:59.25Z', -1, 250_000_000],
    ['0001-01-01T00:00:00Z', -62_135_596_800, 0],
    ['9999-12-31T23:59:59Z', 253_402_300_799, 0],
  ])('%s', (text, seconds, nanoseconds) => {
    expect(parseTimestamp(text)).toEqual({ seconds, nanoseconds })
  })

  it.each([
    '0000-01-01T00:00:00Z',
    '2025-00-01T00:00:00Z',
    '2025-13-01T00:00:00Z',
    '2025-01-00T00:00:00Z',
    '2025-01-32T00:00:00Z',
    '2025-04-31T00:00:00Z',
    '2025-02-29T00:00:00Z',
    '1900-02-29T00:00:00Z',
    '2025-01-01T24:00:00Z',
    '2025-01-01T00:60:00Z',
    '2016-12-31T23:59:60Z',
    '2025-01-01T00:00:00',
    '2025-01-01T00:00:00z',
    '2025-01-01t00:00:00Z',
    '2025-01-01 00:00:00Z',
    '2025-01-01T00:00:00+00:00',
    '2025-01-01T00:00:00.Z',
    '2025-01-01T00:00:00,5Z',
    '2025-01-01T00:00:00.1234567890Z',
    '2025-01-01T00:00Z',
    '2025-1-1T00:00:00Z',
    '12025-01-01T00:00:00Z',
    '+2025-01-01T00:00:00Z',
    '2025-01-01T00:00:00Z\n',
    ' 2025-01-01T00:00:00Z',
    '٢٠٢٥-01-01T00:00:00Z',
    '',
  ])('refuses <%s>', (text) => {
    expect(parseTimestamp(text)).toBeNull()
  })
})

describe('formatSeconds', () => {
  it('writes block times', () => {
    expect(formatSeconds(0)).toBe('1970-01-01T00:00:00Z')
    expect(formatSeconds(1_759_361_400n)).toBe('2025-10-01T23:30:00Z')
    expect(formatSeconds(253_402_300_799)).toBe('9999-12-31T23:59:59Z')
  })
  it.each([-1, 253_402_300_800, 1.5, Number.NaN])('refuses %s', (seconds) => {
    expect(() => formatSeconds(seconds)).toThrow(RangeError)
  })
})

it('agrees with the platform on every day of four centuries and on the ends of the calendar', () => {
  const day = 86_400_000
  const check = (ms: number) => {
    const text = `${new Date(ms).toISOString().slice(0, 19)}Z`
    if (parseTimestamp(text)?.seconds !== ms / 1000) expect(text).toBe(ms / 1000)
  }
  for (let ms = Date.UTC(1800, 0, 1, 7, 8, 9); ms < Date.UTC(2201, 0, 1); ms += day) check(ms)
  for (let n = 0; n < 800; n++) {
    check(253_402_300_799_000 - n * day)
    check(-62_135_596_800_000 + n * day)
  }
})
