import { DunesError } from '../core/error.ts'

/**
 * Why a query is not answered, by whose fault:
 * - `QUERY_EMPTY`: nothing but spaces and comments.
 * - `QUERY_TOO_LONG`: more text, nesting or relations than is read at all.
 * - `QUERY_SYNTAX`: PostgreSQL's grammar does not take it.
 * - `QUERY_REFUSED`: a construct, function, type or relation that is not on the list (docs/query.md).
 * - `QUERY_UNKNOWN_NAME`: a dataset or column that there is not.
 * - `QUERY_LIMIT`: it ran into a limit of time, memory, temporary files or locks.
 * - `QUERY_FAILED`: PostgreSQL could not carry it out, such as a division by zero.
 * - `SCHEMA_MISMATCH`: `maml_schema` is not the schema of a dataset that the query reads.
 * - `SIGNATURE_SCHEME`: `signature_verification` names no scheme that is verified here.
 */
export type QueryErrorCode =
  | 'QUERY_EMPTY'
  | 'QUERY_TOO_LONG'
  | 'QUERY_SYNTAX'
  | 'QUERY_REFUSED'
  | 'QUERY_UNKNOWN_NAME'
  | 'QUERY_LIMIT'
  | 'QUERY_FAILED'
  | 'SCHEMA_MISMATCH'
  | 'SIGNATURE_SCHEME'

/** A place in a query's text, both from 1; columns count Unicode code points. */
export interface QueryPosition {
  line: number
  column: number
}

export interface QueryErrorOptions {
  hint?: string
  position?: QueryPosition | null
  cause?: unknown
  details?: Readonly<Record<string, unknown>>
}

/** A query that its author must change: always answered as such, never as a fault of the server. */
export class QueryError extends DunesError {
  override readonly name = 'QueryError'
  declare readonly code: QueryErrorCode
  /** Where in the text, if it is known. */
  readonly position: QueryPosition | null
  constructor(code: QueryErrorCode, message: string, options: QueryErrorOptions = {}) {
    const { position = null, details = {}, ...rest } = options
    const where = position ? `line ${position.line}, column ${position.column}: ` : ''
    super(code, `${where}${message}`, {
      ...rest,
      details: position ? { ...details, line: position.line, column: position.column } : details,
    })
    this.position = position
  }
}
