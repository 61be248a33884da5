const FORM = /^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?Z$/
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
  if (!FORM.test(text)) return null
  const digits = (from: number, to: number): number => Number(text.slice(from, to))
  const year = digits(0, 4)
  const month = digits(5, 7)
  const day = digits(8, 10)
  const [hour, minute, second] = [digits(11, 13), digits(14, 16), digits(17, 19)]
  const leap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0)
  const days = month === 2 && leap ? 29 : (DAYS[month - 1] ?? 0)
  if (year < 1 || day < 1 || day > days || hour > 23 || minute > 59 || second > 59) return null
  return {
    seconds: daysSince1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second,
    nanoseconds: text.length === 20 ? 0 : Number(text.slice(20, -1).padEnd(9, '0')),
  }
}

/** Days of the Gregorian calendar from 1970-01-01 to a date, with years counted from March so that leap days come last. */
function daysSince1970(year: number, month: number, day: number): number {
  const y = month > 2 ? year : year - 1
  const leaps = Math.floor(y / 4) - Math.floor(y / 100) + Math.floor(y / 400)
  const monthDays = Math.floor((153 * ((month + 9) % 12) + 2) / 5)
  return 365 * y + leaps + monthDays + day - 719_469
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
