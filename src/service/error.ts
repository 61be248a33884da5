import { DunesError, type DunesErrorOptions } from '../core/error.ts'
import { databaseError } from '../graph/connect.ts'

/**
 * What a use case refuses:
 * - `NOT_FOUND`: there is no such thing here.
 * - `PAYLOAD_NOT_HELD`: the bytes are not stored here.
 * - `NOT_LOGGED`, `NOT_ANCHORED`: it will be there later. Retryable.
 * - `CHANGES_GONE`: the feed of changes cannot go on from an id.
 * - `BAD_CURSOR`, `BAD_ID`, `BAD_RANGE`, `BAD_CELL`, `BAD_TIME`, `BAD_BUNDLE`: an argument that cannot be what it should.
 * - `PROOF_TOO_LARGE`: more rows or bytes than one bundle holds.
 * - `EVENT_UNPROVABLE`: an anchor's event that no proof can be made of on this chain.
 * - `PAYLOAD_TOO_LARGE`, `PAYLOAD_HASH_MISMATCH`, `PAYLOAD_REFUSED`: an uploaded payload that is not kept.
 * - `CONTRIBUTOR_NOT_REGISTERED`, `CONTRIBUTOR_KEY_REFUSED`, `QUOTA_EXCEEDED`: who may not upload (now).
 * - `BUSY`: more asked at once than is done at once. Retryable.
 * - `NO_SIGNER`: this process has no receipt key, or none to sign checkpoints with.
 * - `QUERIES_OFF`: this process has no connection on which queries of strangers may run.
 * - `CHAIN_UNAVAILABLE`: the chain's endpoint does not answer, or not with what was asked for. Retryable.
 */
export type ServiceErrorCode =
  | 'NOT_FOUND'
  | 'PAYLOAD_NOT_HELD'
  | 'NOT_LOGGED'
  | 'NOT_ANCHORED'
  | 'BAD_CURSOR'
  | 'BAD_ID'
  | 'BAD_RANGE'
  | 'CHANGES_GONE'
  | 'BAD_CELL'
  | 'BAD_TIME'
  | 'BAD_BUNDLE'
  | 'PROOF_TOO_LARGE'
  | 'EVENT_UNPROVABLE'
  | 'PAYLOAD_TOO_LARGE'
  | 'PAYLOAD_HASH_MISMATCH'
  | 'PAYLOAD_REFUSED'
  | 'CONTRIBUTOR_NOT_REGISTERED'
  | 'CONTRIBUTOR_KEY_REFUSED'
  | 'QUOTA_EXCEEDED'
  | 'BUSY'
  | 'NO_SIGNER'
  | 'QUERIES_OFF'
  | 'CHAIN_UNAVAILABLE'

export interface ServiceErrorOptions extends DunesErrorOptions {
  /** Seconds after which the same call may succeed. */
  retryAfter?: number
}

/** The one error that use cases throw on their own account; those of the parts that they call pass through. */
export class ServiceError extends DunesError {
  override readonly name = 'ServiceError'
  declare readonly code: ServiceErrorCode
  readonly retryAfter: number | undefined
  constructor(code: ServiceErrorCode, message: string, options: ServiceErrorOptions = {}) {
    const { retryAfter, ...rest } = options
    super(code, message, { retryable: retryAfter !== undefined, ...rest })
    this.retryAfter = retryAfter
  }
}

/** `NOT_FOUND` of one thing, e.g. `notFound('sensor', 'helium_001')`. */
export const notFound = (what: string, which: string): ServiceError =>
  new ServiceError('NOT_FOUND', `there is no ${what} ${which} here`, {
    hint: 'check the spelling; what was submitted a moment ago appears once its block is indexed',
  })

/** SQLSTATE of a statement that was cancelled, by `statement_timeout` among others. */
const QUERY_CANCELED = '57014'

/** A query's error as a typed one where it says that the database is gone or took too long; any other error as it is. */
export function typedError(error: unknown): unknown {
  const known = databaseError(error)
  if (known instanceof Error && (known as { code?: unknown }).code === QUERY_CANCELED)
    return new DunesError('DATABASE_BUSY', 'the database took too long', {
      retryable: true,
      exitCode: 3,
      cause: known,
    })
  return known
}
