import type { TransactionSql } from 'postgres'
import { toHex } from '../core/bytes.ts'
import { DunesError } from '../core/error.ts'
import { appendLeaves, type ChangedTile, type LogState, loadState } from '../log/append.ts'
import { emptyRoot, leafHash } from '../log/merkle.ts'
import { rootAt } from '../log/proof.ts'
import type { ReadTile } from '../log/read.ts'
import type { Sql } from './connect.ts'
import type { Db } from './cursor.ts'
import { type Columns, insertRows } from './insert.ts'

/** Size and root (32 bytes) of the log that is committed here. */
export interface LogHead {
  size: number
  root: Uint8Array
}

/** The committed head; an empty log before the first leaf. */
export async function readLogHead(sql: Db): Promise<LogHead> {
  const [row] = await sql`select size, root from log_head`
  return row ? { size: row['size'], root: new Uint8Array(row['root']) } : { size: 0, root: emptyRoot() }
}

/** Reads stored tiles for the pure log functions. Reads of one tick go to Postgres together. */
export function tileReader(sql: Db): ReadTile {
  let waiting: {
    level: number
    index: number
    give: (bytes: Uint8Array | undefined) => void
    fail: (e: unknown) => void
  }[] = []
  const flush = async () => {
    const batch = waiting
    waiting = []
    try {
      const [first] = batch as [(typeof batch)[number]]
      // A statement of its own for one tile, the usual number: with arrays the server makes a new plan each time, which takes longer.
      const rows =
        batch.length === 1
          ? await sql`select level, index, hashes from tile where level = ${first.level} and index = ${first.index}`
          : await sql`
              select level, index, hashes from tile
              where (level, index) in (select * from unnest(${batch.map((t) => t.level)}::smallint[], ${batch.map((t) => t.index)}::bigint[]))`
      const found = new Map(
        rows.map((row) => [`${row['level']}/${row['index']}`, new Uint8Array(row['hashes'])]),
      )
      for (const t of batch) t.give(found.get(`${t.level}/${t.index}`))
    } catch (error) {
      for (const t of batch) t.fail(error)
    }
  }
  return ({ level, index }) =>
    new Promise((give, fail) => {
      if (waiting.length === 0) queueMicrotask(flush)
      waiting.push({ level, index, give, fail })
    })
}

/** The appendable state of the committed log. */
export const loadLogState = async (sql: Db): Promise<LogState> =>
  loadState((await readLogHead(sql)).size, tileReader(sql))

const LEAF: Columns = { index: 'int8', submission: 'int8', entry: 'bytes' }

/** One leaf to add: its submission's internal id and its entry bytes. */
export interface NewLeaf {
  submission: number
  entry: Uint8Array
}

/**
 * Adds leaves, their tiles and the new head within `tx`. The head moves by compare-and-swap from `state`: when somebody
 * else appended meanwhile it throws `LOG_MOVED` and the transaction must not commit. Answers the state to go on from.
 */
export async function writeLeaves(
  tx: TransactionSql,
  state: LogState,
  leaves: readonly NewLeaf[],
): Promise<{ state: LogState; head: LogHead }> {
  const grown = appendLeaves(
    state,
    leaves.map((leaf) => leafHash(leaf.entry)),
  )
  const size = grown.state.size
  // The head first: of two that append at once the second waits here, and finds that it came too late.
  if (state.size === 0)
    await tx`insert into log_head (size, root) values (0, ${emptyRoot()}) on conflict do nothing`
  const moved = await tx`update log_head set size = ${size}, root = ${grown.root} where size = ${state.size}`
  if (moved.count !== 1) {
    throw new DunesError(
      'LOG_MOVED',
      `the log is no longer at size ${state.size}: another indexer appends to it`,
      {
        hint: 'run one indexer per chain',
        retryable: true,
        exitCode: 3,
      },
    )
  }
  await insertRows(
    tx,
    'leaf',
    LEAF,
    leaves.map((leaf, i) => [state.size + i, leaf.submission, leaf.entry]),
  )
  await writeTiles(tx, grown.tiles)
  return { state: grown.state, head: { size, root: grown.root } }
}

async function writeTiles(tx: TransactionSql, tiles: readonly ChangedTile[]): Promise<void> {
  await tx`
    insert into tile (level, index, hashes)
    select l, i, decode(h, 'hex') from unnest(
      ${tiles.map((t) => t.level)}::smallint[], ${tiles.map((t) => t.index)}::bigint[],
      ${tiles.map((t) => Buffer.from(t.hashes).toString('hex'))}::text[]) as t(l, i, h)
    on conflict (level, index) do update set hashes = excluded.hashes`
}

/** Entries `from` up to but without `to`, in order. */
export async function readEntries(sql: Db, from: number, to: number): Promise<Uint8Array[]> {
  const rows = await sql`select entry from leaf where index >= ${from} and index < ${to} order by index`
  return rows.map((row) => new Uint8Array(row['entry']))
}

/** The signed checkpoint of exactly this size, or null. */
export async function readCheckpoint(sql: Db, size: number): Promise<string | null> {
  const [row] = await sql`select note from checkpoint where size = ${size}`
  return row ? row['note'] : null
}

/** The newest signed checkpoint, or null before the first. */
export async function readLatestCheckpoint(sql: Db): Promise<(LogHead & { note: string }) | null> {
  const [row] = await sql`select size, root, note from checkpoint order by size desc limit 1`
  return row ? { size: row['size'], root: new Uint8Array(row['root']), note: row['note'] } : null
}

/** Publishes a signed checkpoint. The first one for a size stays. */
export async function writeCheckpoint(sql: Sql, size: number, root: Uint8Array, note: string): Promise<void> {
  await sql`insert into checkpoint (size, root, note) values (${size}, ${root}, ${note}) on conflict do nothing`
}

/** Replaces the signatures of a published checkpoint by those of other keys. */
export async function renewCheckpoint(sql: Sql, size: number, root: Uint8Array, note: string): Promise<void> {
  await sql`update checkpoint set note = ${note} where size = ${size} and root = ${root}`
}

/**
 * Makes sure that `anchored`, a head that the chain holds, is a prefix of the log that is committed here up to `head`. Throws
 * `LOG_BEHIND` (retryable: the log may still be catching up) or `LOG_DIVERGED`: signing on would show two histories.
 */
export async function requirePrefix(sql: Db, head: LogHead, anchored: LogHead): Promise<void> {
  if (anchored.size === 0) return
  if (anchored.size > head.size) {
    throw new DunesError(
      'LOG_BEHIND',
      `the chain has anchored ${anchored.size} leaves, this log has ${head.size}`,
      {
        hint: 'wait until the log has caught up; if it never does, the database is an old copy: see `dunes doctor`',
        retryable: true,
        exitCode: 3,
      },
    )
  }
  const root = toHex(anchored.size === head.size ? head.root : await rootAt(anchored.size, tileReader(sql)))
  if (root === toHex(anchored.root)) return
  throw new DunesError(
    'LOG_DIVERGED',
    `the root of the first ${anchored.size} leaves is ${root}, on-chain it is ${toHex(anchored.root)}`,
    {
      hint: 'do not sign or anchor from this database; run `dunes doctor`, which names the ways out',
      exitCode: 3,
    },
  )
}
