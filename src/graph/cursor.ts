import type { Sql, TransactionSql } from 'postgres'
import type { BlockRef, Cursor } from '../chain/source.ts'
import { fromHex, type Hex, toHex } from '../core/bytes.ts'
import { DunesError } from '../core/error.ts'

/** Either a connection pool or one transaction on it. */
export type Db = Sql | TransactionSql

/** What a database is an index of. `registry` and `anchor` are 20-byte lower-case 0x hex, `startHash` 32-byte. */
export interface Deployment {
  /** CAIP-2 id. */
  chain: string
  registry: Hex
  anchor: Hex
  origin: string
  startBlock: number
  startHash: Hex
}

/**
 * Writes down what this database indexes, or makes sure that it is the same as before. Throws `DATABASE_MISMATCH` where
 * the database belongs to another deployment or to an earlier run of a devnet.
 */
export async function claimDatabase(sql: Sql, wanted: Deployment): Promise<void> {
  await sql`
    insert into deployment (chain, registry, anchor, origin, start_block, start_hash)
    values (${wanted.chain}, ${fromHex(wanted.registry)}, ${fromHex(wanted.anchor)}, ${wanted.origin},
            ${wanted.startBlock}, ${fromHex(wanted.startHash)})
    on conflict do nothing`
  await sql`insert into feed default values on conflict do nothing`
  const found = (await readDeployment(sql)) as Deployment
  for (const field of ['chain', 'registry', 'anchor', 'origin', 'startBlock', 'startHash'] as const) {
    if (found[field] === wanted[field]) continue
    throw new DunesError(
      'DATABASE_MISMATCH',
      `this database is an index of ${found.chain}, registry ${found.registry}: its ${field} is ${found[field]}, the chain's is ${wanted[field]}`,
      { hint: 'use the database of this deployment, or begin the devnet again with --fresh' },
    )
  }
}

/** What this database is an index of, null while it is empty. */
export async function readDeployment(sql: Db): Promise<Deployment | null> {
  const [row] = await sql`select * from deployment`
  if (!row) return null
  return {
    chain: row['chain'],
    registry: toHex(row['registry']),
    anchor: toHex(row['anchor']),
    origin: row['origin'],
    startBlock: row['start_block'],
    startHash: toHex(row['start_hash']),
  }
}

export interface Position {
  /** The last block applied. */
  head: BlockRef
  /** The last block known to be final. */
  final: BlockRef
}

/** How far the chain is applied, null before the first block. */
export async function readPosition(sql: Db): Promise<Position | null> {
  const [row] = await sql`select * from cursor`
  if (!row) return null
  return {
    head: { number: row['head_number'], hash: toHex(row['head_hash']), time: row['head_time'] },
    final: { number: row['final_number'], hash: toHex(row['final_hash']), time: row['final_time'] },
  }
}

/** The blocks that a source goes on from: newest first, the last one final. Null before the first block. */
export async function readCursor(sql: Db): Promise<Cursor | null> {
  const position = await readPosition(sql)
  if (!position) return null
  const rows =
    await sql`select number, hash, time from block where number > ${position.final.number} order by number desc`
  const recent = rows.map(
    (row): BlockRef => ({ number: row['number'], hash: toHex(row['hash']), time: row['time'] }),
  )
  return [...recent, position.final] as unknown as Cursor
}
