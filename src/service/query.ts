import { concat, equalBytes, fromBase64, sha256, toBase64, toBigInt, u64be, utf8 } from '../core/bytes.ts'
import type { Json } from '../core/json.ts'
import { databaseError } from '../graph/connect.ts'
import { QueryError } from '../query/error.ts'
import { type GuardedQuery, guardQuery } from '../query/guard.ts'
import { nearest } from '../query/names.ts'
import { loadParser } from '../query/parse.ts'
import type { ServiceContext } from './context.ts'
import { ServiceError } from './error.ts'
import { proveMany } from './prove-many.ts'
import { type Dataset, knownDatasets } from './query-catalog.ts'
import { type FetchedRows, fetchRows, type PageLimits } from './query-rows.ts'
import type { QueryTransaction } from './query-sessions.ts'
import { type QueryAnswer, type QueryRequest, SIGNATURE_NAMES } from './query-shape.ts'
import { proofLinks, readSubmissions, rowProvenance } from './query-sources.ts'

/** Rows, and bytes of rows with their provenance as JSON, that one answer holds at most. */
export const MAX_QUERY_ROWS = 10_000
export const MAX_ANSWER_BYTES = 5_000_000
/** Anchored submissions whose proof comes with an answer, at most: some kilobytes each. */
export const MAX_INLINE_LEAVES = 100

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

/** What an answer is true at: one row of `api."dunes:state"`; null before the first block. */
interface State {
  log_size: number
  anchored_size: number
  settled: number
  block_number: number
  block_hash: string
  block_time: number
  final_number: number
}

/**
 * Answers one query over datasets (docs/query.md). Throws `QueryError` for a query that its author must change,
 * `BAD_CURSOR`, `BUSY` (retryable), `QUERIES_OFF` where this process has no connection for queries, `QUERY_ABANDONED` after
 * `signal`, `DATABASE_UNREACHABLE`, and with inline proofs what `proveMany` throws.
 */
export async function runQuery(
  ctx: ServiceContext,
  request: QueryRequest,
  options: QueryOptions = {},
): Promise<QueryAnswer> {
  const { queries } = ctx
  if (!queries)
    throw new ServiceError('QUERIES_OFF', 'this process has no connection for queries', {
      hint: 'the operator sets DUNES_QUERY_DATABASE_URL; `dunes doctor` says more',
      exitCode: 3,
    })
  requireScheme(request.signature_verification)
  await loadParser()
  const verdict = request.verdict ?? 'accepted'
  const start = request.cursor === undefined ? { offset: 0, below: null } : decodeCursor(request)
  const catalog = await knownDatasets(ctx)
  const limits: PageLimits = {
    rows: Math.max(1, Math.min(options.limits?.rows ?? MAX_QUERY_ROWS, MAX_QUERY_ROWS)),
    bytes: Math.min(options.limits?.bytes ?? MAX_ANSWER_BYTES, MAX_ANSWER_BYTES),
    leaves: request.proofs === 'inline' ? MAX_INLINE_LEAVES : null,
    progress: options.progress,
  }
  const columns = new Map([...catalog].map(([name, dataset]) => [name, dataset.columns]))
  const guard = (below: number | null, plain = false): GuardedQuery =>
    guardQuery(
      request.query,
      columns,
      { verdict, below },
      { offset: start.offset, rows: limits.rows + 1 },
      plain,
    )
  const first = guard(start.below)
  requireSchema(request.maml_schema, first, catalog)

  const attempt = (plain: boolean) =>
    queries.run(
      (tx) =>
        answerIn(tx, start.below, limits, (below) =>
          below === start.below && !plain ? first : guard(below, plain),
        ),
      {
        ...(options.signal && { signal: options.signal }),
        ...(options.caller !== undefined && { caller: options.caller }),
      },
    )
  let found: Found
  try {
    found = await attempt(false).catch((error: unknown) => {
      // What was added may be what PostgreSQL objects to: a column that cannot be ordered by, or one that is not grouped by.
      if (OURS.has(sqlState(error))) return attempt(true)
      throw error
    })
  } catch (error) {
    throw queryFailure(error)
  }
  return present(ctx, request, catalog, verdict, start.offset, found)
}

/** What one run of a query gave. */
interface Found {
  query: GuardedQuery
  below: number | null
  state: State | null
  rows: FetchedRows
  submissions: Awaited<ReturnType<typeof readSubmissions>>
}

async function answerIn(
  transaction: QueryTransaction,
  pinned: number | null,
  limits: PageLimits,
  guard: (below: number | null) => GuardedQuery,
): Promise<Found> {
  const [state = null] = (await transaction.tx`
    select * from api."dunes:state"`) as unknown as [State?]
  let below = pinned
  let query = guard(below)
  let rows = await fetchRows(transaction, query, limits)
  if (rows.truncated && below === null && query.pageable && query.kind !== 'none' && state) {
    // Pages that follow each other must look at the same rows, so all of them look at the log as it is now. Usually this one has.
    below = state.log_size
    query = guard(below)
    if (state.settled > state.log_size) rows = await fetchRows(transaction, query, limits)
  }
  return { query, below, state, rows, submissions: await readSubmissions(transaction, rows.leaves) }
}

async function present(
  ctx: ServiceContext,
  request: QueryRequest,
  catalog: ReadonlyMap<string, Dataset>,
  verdict: QueryAnswer['verdict'],
  offset: number,
  { query, below, state, rows, submissions }: Found,
): Promise<QueryAnswer> {
  const provenance = rows.marks.map((marks) => rowProvenance(query, marks, submissions, state))
  const pageable = query.pageable && rows.rows.length > 0
  const anchored = rows.leaves.filter((leaf) => leaf < (state?.anchored_size ?? 0))
  const proofs: QueryAnswer['proofs'] = proofLinks(anchored)
  if (request.proofs === 'inline' && anchored.length > 0) {
    const { bytes } = await proveMany(ctx, { indices: anchored })
    const [first] = proofs
    if (first) first.bundle = JSON.parse(new TextDecoder().decode(bytes)) as Record<string, unknown>
  }
  const settled = state?.settled ?? 0
  return {
    columns: rows.columns,
    rows: rows.rows,
    row_count: rows.rows.length,
    truncated: rows.truncated,
    next_cursor:
      rows.truncated && pageable ? encodeCursor(request, offset + rows.rows.length, below ?? settled) : null,
    provenance,
    covers: query.datasets.map((dataset) => ({
      dataset,
      schema: catalog.get(dataset)?.schema ?? '',
      verdict,
      leaves_below: below ?? settled,
    })),
    signature: { requested: request.signature_verification, algorithm: 'ML-DSA-65', standard: 'FIPS 204' },
    proofs,
    unproven: rows.leaves.length - anchored.length,
    as_of: {
      log_size: state?.log_size ?? 0,
      anchored_size: state?.anchored_size ?? 0,
      settled,
      block: state && {
        number: state.block_number,
        hash: `0x${state.block_hash}`,
        time: state.block_time,
      },
      final_block: state && state.final_number >= 0 ? state.final_number : null,
    },
    ran: query.sql,
    verdict,
    notes: notesOf(query, rows, below),
  }
}

function notesOf(query: GuardedQuery, { truncated, rows }: FetchedRows, below: number | null): string[] {
  const notes: string[] = []
  if (query.kind === 'set')
    notes.push(
      'These rows sum up others; provenance says which readings went into each. No row proof speaks of them.',
    )
  if (query.kind === 'row' && query.derived)
    notes.push(
      'Columns that come from window functions or subqueries speak of more readings than those that provenance names.',
    )
  if (truncated && !query.pageable)
    notes.push(
      'There are more rows, in no order that the next page could go on in: add ORDER BY, or narrow the query.',
    )
  if (truncated && rows.length === 0)
    notes.push('One row alone is larger than an answer may be: select fewer or shorter columns.')
  if (truncated && query.pageable && below !== null)
    notes.push(`All pages of this answer look at the first ${below} leaves of the log.`)
  return notes
}

function requireScheme(asked: string): void {
  if (SIGNATURE_NAMES.includes(asked.trim().toLowerCase())) return
  throw new QueryError('SIGNATURE_SCHEME', `signatures are not verified as ${JSON.stringify(asked)} here`, {
    hint: 'use CRYSTALS-Dilithium or its standard name ML-DSA-65',
  })
}

/** The schema that a request names must be that of a dataset that it reads; of one that there is, where it reads none. */
function requireSchema(wanted: string, query: GuardedQuery, catalog: ReadonlyMap<string, Dataset>): void {
  const read = query.datasets.length > 0 ? query.datasets : [...catalog.keys()]
  if (read.some((name) => catalog.get(name)?.schemas.includes(wanted))) return
  const known = [...new Set(read.flatMap((name) => catalog.get(name)?.schemas ?? []))]
  const like = nearest(wanted, known)
  const shown = read.map((name) => `${name} has ${catalog.get(name)?.schema ?? 'none'}`).slice(0, 8)
  throw new QueryError(
    'SCHEMA_MISMATCH',
    query.datasets.length > 0
      ? `maml_schema ${JSON.stringify(wanted)} is not the schema of a dataset that the query reads`
      : `no dataset has the schema ${JSON.stringify(wanted)}`,
    {
      hint: like
        ? `did you mean ${like}?`
        : shown.length > 0
          ? shown.join(', ')
          : 'no dataset is registered yet',
    },
  )
}

const sqlState = (error: unknown): string => String((error as { code?: unknown } | null)?.code ?? '')

/** Grouping, column reference and undefined function: errors that hidden columns and added order may bring about. */
const OURS: ReadonlySet<string> = new Set(['42803', '42P10', '42883', '42702'])

/** Errors of PostgreSQL that are limits (its Appendix A), with what to do about them. */
const LIMITS: Readonly<Record<string, string>> = {
  '57014': 'narrow it: a range of time, fewer columns, a LIMIT; a query may take 5 s',
  '55P03': 'the dataset is being changed; ask again',
  '53200': 'it needs more memory than a query may have: aggregate less at once',
  '53100': 'it needs more space than there is: narrow it',
  '53400': 'it needs more temporary files than a query may have: sort or join less at once',
  '54000': 'ask for less at once',
  '54001': 'write it flatter',
  '54011': 'select fewer columns',
  '54023': 'pass fewer arguments',
}

/** What went wrong while a query ran, as its author must know it; what is no fault of the query stays as it is. */
function queryFailure(error: unknown): unknown {
  const known = databaseError(error)
  const code = sqlState(error)
  if (known !== error || !(error instanceof Error) || error.name !== 'PostgresError') return known
  const limit = LIMITS[code]
  const message = error.message.replaceAll(/"?dunes:\w+"?/g, 'a column of ours')
  if (limit !== undefined) {
    const what = code === '57014' ? 'the query took longer than 5 s' : message
    return new QueryError('QUERY_LIMIT', what, { hint: limit, cause: error, details: { sqlstate: code } })
  }
  const hint = (error as { hint?: string }).hint
  return new QueryError('QUERY_FAILED', message, {
    hint: hint ?? 'docs/query.md describes datasets and their columns',
    cause: error,
    details: { sqlstate: code },
  })
}

const CHECK_BYTES = 8
const CURSOR_BYTES = 16

/** Ties a cursor to its query. */
const checkOf = ({ query, maml_schema, verdict = 'accepted' }: QueryRequest, bytes: Uint8Array): Uint8Array =>
  sha256(utf8(`dunes.query.cursor/v1\0${JSON.stringify([query, maml_schema, verdict])}\0`), bytes).subarray(
    0,
    CHECK_BYTES,
  )

/** Opaque: the rows that come after the first `offset`, over leaves below `below`. */
function encodeCursor(request: QueryRequest, offset: number, below: number): string {
  const bytes = concat(u64be(offset), u64be(below))
  return toBase64(concat(bytes, checkOf(request, bytes)))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
}

function decodeCursor(request: QueryRequest): { offset: number; below: number } {
  const cursor = request.cursor ?? ''
  if (/^[A-Za-z0-9_-]{32}$/.test(cursor)) {
    const bytes = fromBase64(cursor.replaceAll('-', '+').replaceAll('_', '/'))
    const key = bytes.subarray(0, CURSOR_BYTES)
    const [offset, below] = [Number(toBigInt(key.subarray(0, 8))), Number(toBigInt(key.subarray(8)))]
    if (
      equalBytes(bytes.subarray(CURSOR_BYTES), checkOf(request, key)) &&
      Number.isSafeInteger(offset) &&
      Number.isSafeInteger(below)
    )
      return { offset, below }
  }
  throw new ServiceError('BAD_CURSOR', 'the cursor is not one that this query gave', {
    hint: 'pass next_cursor with query, maml_schema and verdict unchanged, or leave it out to begin anew',
  })
}

/** Rows as JSON objects. */
export type QueryRow = Record<string, Json>
