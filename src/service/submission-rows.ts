import type { Row } from 'postgres'
import { fromHex, type Hex } from '../core/bytes.ts'
import type { Sql } from '../graph/connect.ts'
import type { ServiceContext } from './context.ts'

// Hashes as text: as bytes they would be made into hex only to be written out.
export const SUBMISSION_COLUMNS = `
  s.id, s.submission_id::text, c.account::text, se.name as sensor, d.name as dataset, s.payload_sha256::text, s.payload_bytes,
  s.uri, s.key_id::text, s.submitted_block, s.submitted_tx::text, s.submitted_log, s.submitted_time, s.settled_block,
  s.settled_tx::text, s.settled_log, s.settled_time, s.index, s.seq, s.outcome, s.verdict, s.reason, s.observed,
  s.judgement ->> 'detail' as found, (s.judgement #>> '{read,readings}')::int as readings, r.detail as last_failure`
export const SUBMISSION_TABLES = `
  submission s
  left join retrieval r on r.submission = s.id
  join contributor c on c.id = s.contributor
  join sensor se on se.id = s.sensor
  join dataset d on d.id = s.dataset`

/** Submissions of one statement. More that are asked for at once are spread over several. */
const MOST = 16

/**
 * The statement for `count` submissions by their ids, with all that their states hang on: one moment, so that a verdict is never older
 * than the state that it stands beside.
 */
export const findStatement = (count: number): string => `
  select ${SUBMISSION_COLUMNS}, k.final_number, h.size as logged,
         (select size from anchor where block <= k.final_number order by seq desc limit 1) as anchored
  from ${SUBMISSION_TABLES} left join cursor k on true left join log_head h on true
  where s.submission_id in (${Array.from({ length: count }, (_, i) => `$${i + 1}`).join(', ')})`

// A text for each power of two, so that the server plans each once. An array would do in one text, and be planned anew each time.
const STATEMENTS: ReadonlyMap<number, string> = new Map(
  [1, 2, 4, 8, MOST].map((count) => [count, findStatement(count)]),
)

interface Asked {
  id: Hex
  give: (row: Row | undefined) => void
  fail: (error: unknown) => void
}

const readers = new WeakMap<ServiceContext, (id: Hex) => Promise<Row | undefined>>()

/**
 * The row of one submission, undefined where there is none. Those that several requests ask for in one turn of the event loop are read
 * together: on a busy server that is fewer statements than requests.
 */
export function submissionRow(ctx: ServiceContext, id: Hex): Promise<Row | undefined> {
  let read = readers.get(ctx)
  if (!read) {
    read = rowReader(ctx.sql)
    readers.set(ctx, read)
  }
  return read(id)
}

function rowReader(sql: Sql): (id: Hex) => Promise<Row | undefined> {
  let waiting: Asked[] = []
  const flush = () => {
    const all = waiting
    waiting = []
    for (let at = 0; at < all.length; at += MOST) void readTogether(sql, all.slice(at, at + MOST))
  }
  return (id) =>
    new Promise((give, fail) => {
      // After the requests that have arrived by now, each of which is a task of its own.
      if (waiting.length === 0) setImmediate(flush)
      waiting.push({ id, give, fail })
    })
}

async function readTogether(sql: Sql, batch: readonly Asked[]): Promise<void> {
  try {
    let count = 1
    while (count < batch.length) count *= 2
    // The last one stands in the places that are left.
    const ids = Array.from({ length: count }, (_, i) => (batch[i] ?? (batch.at(-1) as Asked)).id)
    const rows = await sql.unsafe(
      STATEMENTS.get(count) as string,
      ids.map((id) => fromHex(id)),
      {
        prepare: true,
      },
    )
    const found = new Map(rows.map((row) => [row['submission_id'] as string, row]))
    for (const { id, give } of batch) give(found.get(`\\x${id.slice(2)}`))
  } catch (error) {
    for (const { fail } of batch) fail(error)
  }
}
