import type { TransactionSql } from 'postgres'
import type { Db } from './cursor.ts'
import { readingTable } from './readings.ts'

/**
 * What `dunes restore` brought back and the log has not come to yet: entries and checkpoints, verified against this log's root
 * before they were stored. The observed statements among the entries are taken as they are, as nobody can make them again; every other
 * entry is made anew, and must come out the same.
 */

/** The largest restored index, -1 where nothing waits. */
export async function lastRestored(sql: Db): Promise<number> {
  const [row] = await sql`select coalesce(max(index), -1)::bigint as last from restored_leaf`
  return row?.['last'] as number
}

/** Restored entries `from` up to but without `to`, by index. */
export async function readRestored(sql: Db, from: number, to: number): Promise<Map<number, Uint8Array>> {
  const rows = await sql`select index, entry from restored_leaf where index >= ${from} and index < ${to}`
  return new Map(rows.map((row) => [row['index'] as number, new Uint8Array(row['entry'])]))
}

/** Keeps entries from index `first` on. */
export async function writeRestored(
  tx: TransactionSql,
  first: number,
  entries: readonly Uint8Array[],
): Promise<void> {
  await tx`
    insert into restored_leaf (index, entry)
    select ${first}::bigint + (n - 1), decode(e, 'hex')
    from unnest(${entries.map((entry) => Buffer.from(entry).toString('hex'))}::text[]) with ordinality as l(e, n)
    on conflict (index) do update set entry = excluded.entry`
}

/** Keeps a verified checkpoint until the log has come to its size. */
export async function writeRestoredCheckpoint(
  tx: TransactionSql,
  size: number,
  root: Uint8Array,
  note: string,
): Promise<void> {
  await tx`
    insert into restored_checkpoint (size, root, note) values (${size}, ${root}, ${note})
    on conflict (size) do update set root = excluded.root, note = excluded.note`
}

/** Publishes the restored checkpoints that a log of `size` leaves covers, and forgets them and the entries below. */
export async function takeRestored(tx: TransactionSql, size: number): Promise<void> {
  await tx`delete from restored_leaf where index < ${size}`
  await tx`
    with taken as (delete from restored_checkpoint where size <= ${size} returning size, root, note)
    insert into checkpoint (size, root, note) select size, root, note from taken on conflict do nothing`
}

/** Takes back the verdicts that are not in the log: what they rest on may be what was restored. */
export async function forgetVerdicts(tx: TransactionSql, logged: number): Promise<void> {
  const rows = await tx`
    update submission set verdict = null, reason = null, observed = false, judgement = null, signed_sha256 = null
    where index >= ${logged} and verdict is not null returning id, dataset`
  const ids = rows.map((row) => row['id'] as number)
  const touched = await tx`
    select name from dataset d where id = any(${rows.map((row) => row['dataset'])}::bigint[])
      and to_regclass(quote_ident('reading_' || name)) is not null`
  for (const { name } of touched)
    await tx`delete from ${tx(readingTable(name))} where submission = any(${ids}::bigint[])`
  await tx`delete from retrieval where submission = any(${ids}::bigint[])`
}
