import type { Context } from 'hono'
import { HTTPException } from 'hono/http-exception'
import { DunesError } from '../core/error.ts'
import type { Logger } from '../core/logger.ts'
import { ServiceError, typedError } from '../service/error.ts'
import { requestId } from './request.ts'

/** A refusal that comes from HTTP itself: route, method, host, query or body. */
export class ApiError extends DunesError {
  override readonly name = 'ApiError'
  readonly headers: Readonly<Record<string, string>>
  constructor(
    code: 'REQUEST_INVALID' | 'ROUTE_NOT_FOUND' | 'METHOD_NOT_ALLOWED' | 'HOST_REFUSED' | 'ORIGIN_REFUSED',
    message: string,
    options: {
      hint?: string
      details?: Readonly<Record<string, unknown>>
      headers?: Readonly<Record<string, string>>
    } = {},
  ) {
    const { headers = {}, ...rest } = options
    super(code, message, rest)
    this.headers = headers
  }
}

/** The body of every answer from 400 up (RFC 9457). */
export interface Problem {
  /** `urn:dunes:problem:` and the code in lower case with hyphens. */
  type: string
  title: string
  status: number
  detail: string
  code: string
  hint?: string
  request_id?: string
  /** Facts for machines. */
  details?: Readonly<Record<string, unknown>>
}

export const PROBLEM_TYPE = 'application/problem+json'

/** Status and title by code; what is not here is a fault of ours and says no more than that. */
const PROBLEMS: Readonly<Record<string, readonly [status: number, title: string]>> = {
  REQUEST_INVALID: [400, 'The request is malformed'],
  BAD_ID: [400, 'Not an id'],
  BAD_RANGE: [400, 'Not a range of its submissions'],
  BAD_CELL: [400, 'Not an H3 cell'],
  BAD_TIME: [400, 'Not a time'],
  BAD_BUNDLE: [400, 'Not a proof bundle'],
  BAD_CURSOR: [400, 'Not a cursor of this list'],
  BAD_CHAIN_ID: [400, 'Not an account or chain id'],
  CONTRIBUTOR_NOT_REGISTERED: [403, 'Contributor not registered'],
  CONTRIBUTOR_KEY_REFUSED: [403, 'Key not accepted'],
  ORIGIN_REFUSED: [403, 'Origin not served here'],
  NOT_FOUND: [404, 'Not found'],
  ROUTE_NOT_FOUND: [404, 'No such address'],
  PAYLOAD_NOT_HELD: [404, 'Payload not held'],
  METHOD_NOT_ALLOWED: [405, 'Method not allowed'],
  NOT_LOGGED: [409, 'Not logged yet'],
  NOT_ANCHORED: [409, 'Not anchored yet'],
  CHANGES_GONE: [410, 'The feed cannot go on from there'],
  PAYLOAD_TOO_LARGE: [413, 'Payload too large'],
  PROOF_TOO_LARGE: [413, 'More than one bundle holds'],
  HOST_REFUSED: [421, 'Host not served here'],
  PAYLOAD_HASH_MISMATCH: [422, 'The body does not have this SHA-256'],
  PAYLOAD_REFUSED: [422, 'Payload not accepted'],
  EVENT_UNPROVABLE: [422, 'The event cannot be proved'],
  QUERY_EMPTY: [422, 'No query'],
  QUERY_TOO_LONG: [422, 'Query too long'],
  QUERY_SYNTAX: [422, 'Not SQL'],
  QUERY_REFUSED: [422, 'Query not allowed'],
  QUERY_UNKNOWN_NAME: [422, 'No such dataset or column'],
  QUERY_LIMIT: [422, 'Query beyond a limit'],
  QUERY_FAILED: [422, 'Query failed'],
  SCHEMA_MISMATCH: [422, 'Not the schema of a dataset that is read'],
  SIGNATURE_SCHEME: [422, 'Signature scheme not verified here'],
  QUOTA_EXCEEDED: [429, 'Storage quota exceeded'],
  BUSY: [503, 'Busy'],
  NO_SIGNER: [503, 'No signing key here'],
  QUERIES_OFF: [503, 'No queries here'],
  QUERY_ABANDONED: [503, 'Nobody waited for the answer'],
  CHAIN_UNAVAILABLE: [503, 'Chain unavailable'],
  RPC_UNREACHABLE: [503, 'Chain unavailable'],
  RPC_REFUSED: [503, 'Chain unavailable'],
  RPC_INCONSISTENT: [503, 'Chain unavailable'],
  RPC_RANGE: [503, 'Chain unavailable'],
  HEADER_MISMATCH: [503, 'Chain unavailable'],
  CHAIN_MISMATCH: [503, 'Chain unavailable'],
  DATABASE_UNREACHABLE: [503, 'Database unavailable'],
  DATABASE_BUSY: [503, 'Database busy'],
}
const INTERNAL = [500, 'Internal error'] as const

/** Seconds after which to try again where the error itself does not say. */
const RETRY_SECONDS = 2

/** The answer to a thrown `error`: a problem document, never a stack trace. What is not ours is logged in full. */
export function problemResponse(error: unknown, c: Context, logger: Logger): Response {
  const id = requestId(c)
  const known = error instanceof HTTPException ? fromHttp(error) : typedError(error)
  const entry = known instanceof DunesError ? PROBLEMS[known.code] : undefined
  if (!entry || !(known instanceof DunesError)) {
    logger.error({ err: error, requestId: id }, 'failed to answer a request')
    return send(
      {
        ...problem('INTERNAL', INTERNAL, 'something went wrong here'),
        hint: 'try again; if it stays, tell the operator the request id',
        request_id: id,
      },
      {},
    )
  }
  const headers: Record<string, string> = { ...(known instanceof ApiError ? known.headers : {}) }
  const retryAfter = known instanceof ServiceError ? known.retryAfter : undefined
  if (retryAfter !== undefined) headers['Retry-After'] = String(retryAfter)
  else if (entry[0] === 503) headers['Retry-After'] = String(RETRY_SECONDS)
  if (entry[0] === 503)
    logger.warn({ code: known.code, error: known.message, requestId: id }, 'refused a request for now')
  const body: Problem = {
    ...problem(known.code, entry, known.message),
    ...(known.hint === undefined ? {} : { hint: known.hint }),
    request_id: id,
    ...(Object.keys(known.details).length === 0 ? {} : { details: known.details }),
  }
  return send(body, headers)
}

const fromHttp = (error: HTTPException): unknown =>
  error.status < 500
    ? new ApiError('REQUEST_INVALID', error.message || 'the request is malformed', {
        hint: 'docs/api.md and /openapi.json describe each request',
      })
    : error

/** A problem of this code. */
export const problem = (
  code: string,
  [status, title]: readonly [number, string],
  detail: string,
): Problem => ({
  type: `urn:dunes:problem:${code.toLowerCase().replaceAll('_', '-')}`,
  title,
  status,
  detail,
  code,
})

const send = (body: Problem, headers: Readonly<Record<string, string>>): Response =>
  new Response(JSON.stringify(body), {
    status: body.status,
    headers: { 'Content-Type': PROBLEM_TYPE, 'Cache-Control': 'no-store', ...headers },
  })

/** The problem of a request that never became one: it could not be parsed, came too slowly, or asks for what HTTP cannot give. */
export const rawProblem = (status: 400 | 408 | 417 | 431, detail: string, hint: string): Problem => ({
  ...problem('REQUEST_INVALID', [status, 'The request is malformed'], detail),
  hint,
})
