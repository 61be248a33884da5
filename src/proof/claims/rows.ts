import { DunesError } from '../../core/error.ts'
import type { Context, Row } from '../context.ts'
import { BundleError, ClaimError, PolicyError } from '../error.ts'

/** Why a bundle without an entry does not make a claim about entries; null where it has one. */
export const withoutRows = (context: Context): string | null =>
  context.rowCount === 0 ? 'the bundle has no entry' : null

/** Checks each row. What is wrong with one of many is said with its index, the first one found. */
export function checkEach<R extends Row>(
  context: Context,
  rows: readonly R[],
  check: (row: R) => void,
): void {
  for (const row of rows) {
    try {
      check(row)
    } catch (error) {
      const refused = error instanceof BundleError || error instanceof PolicyError
      if (context.rowCount === null || refused || !(error instanceof DunesError)) throw error
      throw new ClaimError(`leaf ${row.entry.index}: ${error.message}`)
    }
  }
}

/** `3 of the 5 rows`, or `all 5 rows`. */
export const ofRows = (count: number, all: number): string =>
  count === all ? `all ${all} rows` : `${count} of the ${all} rows`
