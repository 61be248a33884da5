import { DEFAULT_LIMIT, MAX_LIMIT } from '../service/page.ts'
import { ApiError } from './problem.ts'

/** The `limit` of a page, where the address also takes that of an export. Throws `REQUEST_INVALID`. */
export function pageLimit(limit: number | undefined): number {
  if (limit === undefined) return DEFAULT_LIMIT
  if (limit <= MAX_LIMIT) return limit
  throw new ApiError('REQUEST_INVALID', `query: limit: a page has at most ${MAX_LIMIT} items`, {
    hint: 'ask for format=csv or format=jsonl to get more at once',
  })
}
