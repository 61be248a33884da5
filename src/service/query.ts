import type { ServiceContext } from './context.ts'
import { ServiceError } from './error.ts'
import type { QueryAnswer, QueryRequest } from './query-shape.ts'

export interface QueryOptions {
  /** Ends the query when its asker is gone. */
  signal?: AbortSignal
  /** Told of rows read so far while a long query runs. */
  progress?: (rows: number) => void
  /** Rows and bytes of rows with their provenance as JSON that one answer may hold, at most 10,000 and 5 MB. */
  limits?: { rows?: number; bytes?: number }
  /** Who asks, so that nobody takes all turns: an address, later an account. */
  caller?: string
}

/**
 * Answers one query over datasets (docs/query.md). Throws `QueryError` for a query that its author must change,
 * `BAD_CURSOR`, `BUSY` (retryable), `QUERIES_OFF` where this process has no connection for queries, `DATABASE_UNREACHABLE`.
 */
export async function runQuery(
  _ctx: ServiceContext,
  _request: QueryRequest,
  _options: QueryOptions = {},
): Promise<QueryAnswer> {
  throw new ServiceError('QUERIES_OFF', 'this process has no connection for queries', {
    hint: 'the operator sets DUNES_QUERY_DATABASE_URL',
  })
}
