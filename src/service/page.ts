import { concat, equalBytes, fromBase64, sha256, toBase64, toBigInt, u64be, utf8 } from '../core/bytes.ts'
import { ServiceError } from './error.ts'

/** Items of a page unless asked otherwise, and at most. */
export const DEFAULT_LIMIT = 50
export const MAX_LIMIT = 200

/** What every list takes: `limit` from 1 to {@link MAX_LIMIT}, and the cursor that the page before ended with. */
export interface PageQuery {
  limit?: number | undefined
  cursor?: string | undefined
}

/** One page, newest first. `next_cursor` is null at the end. */
export interface Page<T> {
  items: T[]
  next_cursor: string | null
}

const CHECK_BYTES = 8
/** Ties a cursor to its list and shows a mangled one; it keeps nobody from making one, and need not. */
const checkOf = (list: string, key: Uint8Array): Uint8Array =>
  sha256(utf8(`dunes.cursor/v1\0${list}\0`), key).subarray(0, CHECK_BYTES)

/** Opaque cursor: the items of `list` after it have keys below `key` (an integer from 0 to 2^53 - 1). */
export const encodeCursor = (list: string, key: number): string => encodeKey(list, u64be(key))

/** Opaque cursor of a list whose keys are the bytes `key`, always as many. */
export const encodeKey = (list: string, key: Uint8Array): string =>
  toBase64(concat(key, checkOf(list, key)))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replace(/=+$/, '')

/** The key in a cursor of `list`. Throws `BAD_CURSOR` on any text that {@link encodeCursor} did not give for it. */
export function decodeCursor(list: string, cursor: string): number {
  const value = Number(toBigInt(decodeKey(list, cursor, 8)))
  if (Number.isSafeInteger(value)) return value
  throw badCursor()
}

/** The key of `length` bytes in a cursor of `list`. Throws `BAD_CURSOR` on any text that {@link encodeKey} did not give for it. */
export function decodeKey(list: string, cursor: string, length: number): Uint8Array {
  const key = readKey(list, cursor, length)
  if (key !== null) return key
  throw badCursor()
}

const badCursor = (): ServiceError =>
  new ServiceError('BAD_CURSOR', 'the cursor is not one that this list gave', {
    hint: 'pass next_cursor of the page before, unchanged, or leave it out to begin at the newest',
  })

function readKey(list: string, cursor: string, length: number): Uint8Array | null {
  if (!/^[A-Za-z0-9_-]+$/.test(cursor)) return null
  let bytes: Uint8Array
  try {
    const padding = '='.repeat((4 - (cursor.length % 4)) % 4)
    bytes = fromBase64(`${cursor.replaceAll('-', '+').replaceAll('_', '/')}${padding}`)
  } catch {
    return null
  }
  if (bytes.length !== length + CHECK_BYTES) return null
  const key = bytes.subarray(0, length)
  return equalBytes(bytes.subarray(length), checkOf(list, key)) ? key : null
}

/** The bounds of one page's query: keys below `before`, and one row more than the page to see whether another follows. */
export function pageBounds(
  list: string,
  { limit = DEFAULT_LIMIT, cursor }: PageQuery,
): { before: number; rows: number } {
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_LIMIT)
    throw new RangeError(`limit ${limit} is not 1 to ${MAX_LIMIT}`)
  return {
    before: cursor === undefined ? Number.MAX_SAFE_INTEGER : decodeCursor(list, cursor),
    rows: limit + 1,
  }
}

const places = new WeakMap<object, () => string>()
/** Notes how a list goes on after an item of it. */
export const notePlace = (item: object, cursor: () => string): void => void places.set(item, cursor)
/** The cursor with which a list goes on after an item that it gave: an export that broke off goes on from any of its rows. */
export const cursorAfter = (item: object): string | null => places.get(item)?.() ?? null

/** Cuts the one row too many off and makes the page's cursor from the key of its last row. */
export function makePage<R, T>(
  list: string,
  rows: readonly R[],
  { limit = DEFAULT_LIMIT }: PageQuery,
  keyOf: (row: R) => number,
  present: (row: R) => T,
): Page<T> {
  const shown = rows.slice(0, limit)
  const last = shown.at(-1)
  return {
    items: shown.map((row) => {
      const item = present(row)
      if (typeof item === 'object' && item !== null) notePlace(item, () => encodeCursor(list, keyOf(row)))
      return item
    }),
    next_cursor: last !== undefined && rows.length > limit ? encodeCursor(list, keyOf(last)) : null,
  }
}
