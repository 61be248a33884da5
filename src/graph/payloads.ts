import type { Db } from './cursor.ts'

/**
 * The content-addressed payload store. Rows never change: a row is found by the SHA-256 of its bytes, which was checked before it was
 * written. In Postgres with the rest, so that one backup and one transaction hold both a receipt and what it is about.
 */

/** Keeps `bytes` under their SHA-256 (32 bytes); keeping them again does nothing. `contributor` (20 bytes) is who sent them. */
export async function putPayload(
  sql: Db,
  sha256: Uint8Array,
  bytes: Uint8Array,
  contributor: Uint8Array | null = null,
): Promise<void> {
  await sql`insert into payload (sha256, bytes, contributor) values (${sha256}, ${bytes}, ${contributor}) on conflict do nothing`
}

/** The bytes with this SHA-256, or null. */
export async function getPayload(sql: Db, sha256: Uint8Array): Promise<Uint8Array | null> {
  const [row] = await sql`select bytes from payload where sha256 = ${sha256}`
  return row ? new Uint8Array(row['bytes']) : null
}

/** Bytes that a contributor (20-byte account) has sent here and that no settled submission speaks of yet. */
export async function unsettledPayloadBytes(sql: Db, contributor: Uint8Array): Promise<number> {
  const [row] = await sql`
    select coalesce(sum(length(p.bytes)), 0)::bigint as total from payload p
    where p.contributor = ${contributor}
      and not exists (select 1 from submission s where s.payload_sha256 = p.sha256 and s.index is not null)`
  return row?.['total'] as number
}
