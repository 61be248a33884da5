const FORM = /^([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?Z$/
const DAYS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] as const

/** A moment in UTC: whole seconds since 1970 (negative before it), and nanoseconds 0 to 999,999,999 after them. */
export interface Moment {
  seconds: number
  nanoseconds: number
}

/**
 * Reads the one form of RFC 3339 that Dunes takes, `YYYY-MM-DDTHH:MM:SS[.fraction]Z`, or answers null. The date must
 * exist in the Gregorian calendar from year 0001 on; a fraction has 1 to 9 digits; second 60 is refused, as no clock
 * arithmetic downstream (block times, PostgreSQL) can hold a leap second apart from its neighbour.
 */
export function parseTimestamp(text: string): Moment | null {
  const match = FORM.exec(text)
  if (!match) return null
  const [year, month, day, hour, minute, second] = match.slice(1, 7).map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ]
  const leap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0)
  const days = month === 2 && leap ? 29 : (DAYS[month - 1] ?? 0)
  if (year < 1 || day < 1 || day > days || hour > 23 || minute > 59 || second > 59) return null
  const date = new Date(0)
  // setUTCFullYear, as Date.UTC takes years 0 to 99 for 1900 to 1999.
  date.setUTCFullYear(year, month - 1, day)
  date.setUTCHours(hour, minute, second)
  return { seconds: date.getTime() / 1000, nanoseconds: Number((match[7] ?? '').padEnd(9, '0')) }
}

/**
 * `YYYY-MM-DDTHH:MM:SSZ` of whole `seconds` since 1970, as block times are written. Throws `RangeError` outside the
 * years 1970 to 9999.
 */
export function formatSeconds(seconds: number | bigint): string {
  const whole = Number(seconds)
  if (!Number.isSafeInteger(whole) || whole < 0 || whole > 253_402_300_799)
    throw new RangeError(`${seconds} is not a block time`)
  return `${new Date(whole * 1000).toISOString().slice(0, 19)}Z`
}
