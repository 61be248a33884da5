import { type Hex, toHex } from '../core/bytes.ts'
import type { ServiceContext } from './context.ts'
import { cursorAfter, MAX_LIMIT } from './page.ts'
import { listReadings, type ReadingQuery, receiptId } from './readings.ts'
import { listSubmissions, type SubmissionQuery } from './submissions.ts'

/** One row of an export: flat, with integers as they are. What there is not, or not yet, is null. */
export type TableRow = Record<string, string | number | boolean | null>

/** An export: its columns, and its rows a page at a time, newest first. */
export interface Table {
  columns: readonly string[]
  pages: AsyncGenerator<TableRow[]>
}

/** Rows of one export unless told, and at most. */
export const DEFAULT_ROWS = 10_000
export const MAX_ROWS = 100_000
/** Pages without a single row that an export walks through before it ends: the last row's cursor leads on. */
const MAX_EMPTY = 500

const SUBMISSION_COLUMNS = [
  'submission',
  'state',
  'chain',
  'contributor',
  'sensor',
  'dataset',
  'payload_sha256',
  'payload_bytes',
  'uri',
  'key_id',
  'submitted_tx',
  'submitted_block',
  'submitted_time',
  'tx',
  'block',
  'time',
  'leaf_index',
  'receipt_id',
  'seq',
  'outcome',
  'verdict',
  'reason',
  'observed',
  'readings',
  'cursor',
] as const

/** Submissions as a table. `tx`, `block` and `time` are those of the settling. Throws as `listSubmissions` does, before the first page. */
export async function submissionTable(ctx: ServiceContext, query: SubmissionQuery): Promise<Table> {
  const pages = walk(query, (page) => listSubmissions(ctx, page))
  return {
    columns: SUBMISSION_COLUMNS,
    pages: mapPages(await begun(pages), async (items) => {
      const receipts = await readReceiptIds(
        ctx,
        items.flatMap(({ index }) => (index === null ? [] : [index])),
      )
      return items.map((item): TableRow => {
        const logged = item.state === 'logged' || item.state === 'anchored'
        return {
          submission: item.id,
          state: item.state,
          chain: item.chain,
          contributor: item.contributor,
          sensor: item.sensor,
          dataset: item.dataset,
          payload_sha256: item.payload.sha256,
          payload_bytes: item.payload.bytes,
          uri: item.uri,
          key_id: item.key_id,
          submitted_tx: item.submitted.tx,
          submitted_block: item.submitted.block,
          submitted_time: item.submitted.time,
          tx: item.settled?.tx ?? null,
          block: item.settled?.block ?? null,
          time: item.settled?.time ?? null,
          leaf_index: logged ? item.index : null,
          receipt_id: item.index === null ? null : (receipts.get(item.index) ?? null),
          seq: item.seq,
          outcome: item.outcome,
          verdict: item.verdict,
          reason: item.reason,
          observed: item.observed,
          readings: item.readings,
          cursor: cursorAfter(item),
        }
      })
    }),
  }
}

async function readReceiptIds(ctx: ServiceContext, indices: readonly number[]): Promise<Map<number, Hex>> {
  if (indices.length === 0) return new Map()
  const rows = await ctx.sql`
    select l.index, ${receiptId(ctx)} as receipt_id from leaf l where l.index = any(${indices as number[]}::bigint[])`
  return new Map(rows.map((row) => [row['index'] as number, toHex(row['receipt_id'])]))
}

const READING_COLUMNS = [
  'timestamp',
  'dataset',
  'sensor',
  'sensor_id',
  'contributor',
  'h3',
  'submission',
  'position',
  'state',
  'verdict',
  'reason',
  'tx',
  'leaf_index',
  'receipt_id',
  'values',
  'cursor',
] as const

/** Readings as a table; `values` is the reading's values as JSON. Throws as `listReadings` does, before the first page. */
export async function readingTableOf(ctx: ServiceContext, query: ReadingQuery): Promise<Table> {
  const pages = walk(query, (page) => listReadings(ctx, page))
  return {
    columns: READING_COLUMNS,
    pages: mapPages(await begun(pages), async (items) =>
      items.map(
        (item): TableRow => ({
          timestamp: item.timestamp,
          dataset: item.dataset,
          sensor: item.sensor,
          sensor_id: item.sensor_id,
          contributor: item.contributor,
          h3: item.h3,
          submission: item.submission,
          position: item.position,
          state: item.state,
          verdict: item.verdict,
          reason: item.reason,
          tx: item.tx,
          leaf_index: item.leaf_index,
          receipt_id: item.receipt_id,
          values: JSON.stringify(item.values),
          cursor: cursorAfter(item),
        }),
      ),
    ),
  }
}

/** Pages of a list up to `query.limit` items. Each is a query of its own, so no slow reader holds a connection. */
async function* walk<Q extends { limit?: number | undefined; cursor?: string | undefined }, T>(
  query: Q,
  list: (page: Q) => Promise<{ items: T[]; next_cursor: string | null }>,
): AsyncGenerator<T[]> {
  let left = query.limit ?? DEFAULT_ROWS
  let cursor = query.cursor
  for (let empty = 0; left > 0 && empty < MAX_EMPTY; ) {
    const page = await list({ ...query, limit: Math.min(left, MAX_LIMIT), cursor })
    left -= page.items.length
    empty = page.items.length === 0 ? empty + 1 : 0
    yield page.items
    if (page.next_cursor === null) return
    cursor = page.next_cursor
  }
}

/** `pages` with the first one fetched already: what is wrong with the query shows before anything is sent. */
async function begun<T>(pages: AsyncGenerator<T[]>): Promise<AsyncGenerator<T[]>> {
  const first = await pages.next()
  return (async function* () {
    if (!first.done) yield first.value
    yield* pages
  })()
}

async function* mapPages<T>(
  pages: AsyncGenerator<T[]>,
  map: (items: T[]) => Promise<TableRow[]>,
): AsyncGenerator<TableRow[]> {
  for await (const items of pages) yield await map(items)
}
