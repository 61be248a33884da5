import type { Json } from '../core/json.ts'
import { type GuardedQuery, isHidden } from '../query/guard.ts'
import type { QueryTransaction } from './query-sessions.ts'
import { typeOf } from './query-values.ts'

export interface PageLimits {
  rows: number
  /** Bytes of JSON of the rows and what is said of where they come from. */
  bytes: number
  /** Different submissions behind the rows; null for any number. */
  leaves: number | null
  progress: ((rows: number) => void) | undefined
}

/** What hidden columns said of one row: their values in the order of the query's sources; null is no part in it. */
export type RowMarks = readonly (number | null)[]

export interface FetchedRows {
  columns: { name: string; type: string }[]
  rows: Record<string, Json>[]
  marks: RowMarks[]
  /** Different leaves that rows come from, ascending. */
  leaves: number[]
  truncated: boolean
}

/** Rows asked for at first, and at most at a time; the number grows while they turn out to be small. */
const FIRST_ROWS = 64
const MOST_ROWS = 2_048
/** Values of datasets in the rows of one batch, at most: no row is seen before it is here, however large it turns out to be. */
const BATCH_WEIGHT = 4_096
const BATCH_BYTES = 1_000_000
/** Bytes of JSON that each source of a row adds to an answer. */
const SOURCE_BYTES = 420

/** What this needs of the driver besides its types. */
interface Pending extends Promise<unknown> {
  statement: { columns: { name: string; type: number }[] }
  cursorRows: number
  raw(): Pending
  cursor(rows: number, each: (rows: (Uint8Array | null)[][]) => unknown): Pending
}

/** Runs a query and reads as many rows as a page holds. */
export async function fetchRows(
  { tx, close }: QueryTransaction,
  query: GuardedQuery,
  limits: PageLimits,
): Promise<FetchedRows> {
  const found: FetchedRows = { columns: [], rows: [], marks: [], leaves: [], truncated: false }
  const leaves = new Set<number>()
  let reader: RowReader | null = null
  let bytes = 0
  let failure: { error: unknown } | null = null
  const most = Math.max(1, Math.min(MOST_ROWS, Math.floor(BATCH_WEIGHT / query.weight)))
  const pending = tx.unsafe(query.sql, [], { prepare: false }) as unknown as Pending
  const take = (raw: (Uint8Array | null)[]): boolean => {
    reader ??= rowReader(query, pending.statement.columns)
    const { row, marks } = reader.read(raw)
    const fresh =
      query.kind === 'row' ? marks.filter((leaf): leaf is number => leaf !== null && !leaves.has(leaf)) : []
    bytes += JSON.stringify(row).length + 1 + SOURCE_BYTES * query.sources.length
    if (
      found.rows.length >= limits.rows ||
      bytes > limits.bytes ||
      (limits.leaves !== null && found.rows.length > 0 && leaves.size + fresh.length > limits.leaves)
    ) {
      found.truncated = true
      return false
    }
    for (const leaf of fresh) leaves.add(leaf)
    found.rows.push(row)
    found.marks.push(marks)
    return true
  }
  await pending.raw().cursor(Math.min(FIRST_ROWS, most), (batch) => {
    if (failure || found.truncated) return close
    try {
      const before = bytes
      for (const raw of batch) if (!take(raw)) return close
      limits.progress?.(found.rows.length)
      const each = Math.max(1, (bytes - before) / Math.max(1, batch.length))
      pending.cursorRows = Math.max(1, Math.min(most, pending.cursorRows * 4, Math.floor(BATCH_BYTES / each)))
    } catch (error) {
      failure = { error }
      return close
    }
    return undefined
  })
  if (failure) throw (failure as { error: unknown }).error
  found.columns = (reader ?? rowReader(query, pending.statement.columns)).columns
  found.leaves = [...leaves].sort((a, b) => a - b)
  return found
}

interface RowReader {
  columns: { name: string; type: string }[]
  read(raw: (Uint8Array | null)[]): { row: Record<string, Json>; marks: (number | null)[] }
}

function rowReader(query: GuardedQuery, given: readonly { name: string; type: number }[]): RowReader {
  const taken = new Set<string>()
  const visible = given.flatMap(({ name, type }, at) => {
    if (isHidden(name)) return []
    let unique = name
    for (let n = 2; taken.has(unique); n++) unique = `${name}_${n}`
    taken.add(unique)
    return [{ name: unique, at, type: typeOf(type) }]
  })
  const places = query.sources
    .flatMap((source) => (source.kind === 'row' ? [source.leaf] : [source.count, source.first, source.last]))
    .map((name) => given.findIndex((column) => column.name === name))
  const decoder = new TextDecoder()
  return {
    columns: visible.map(({ name, type }) => ({ name, type: type.name })),
    read(raw) {
      // Without a prototype, so that a column called __proto__ is one like any other.
      const row: Record<string, Json> = Object.create(null)
      for (const { name, at, type } of visible) {
        const value = raw[at]
        row[name] = value == null ? null : type.decode(value)
      }
      const marks = places.map((at) => {
        const value = raw[at]
        return value == null ? null : Number(decoder.decode(value))
      })
      return { row, marks }
    },
  }
}
