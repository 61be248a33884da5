import { type Hex, toBigInt, toHex } from '../core/bytes.ts'
import type { Sql } from './connect.ts'
import { copyOut } from './copy.ts'
import type { Db } from './cursor.ts'

/**
 * The content-addressed payload store. Bytes never change: a row is found by the SHA-256 of its bytes, which was checked before it was
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

/** {@link putPayload} of several; `sha256` is 0x hex. */
export async function putPayloads(
  sql: Db,
  payloads: readonly { sha256: Hex; bytes: Uint8Array }[],
): Promise<void> {
  if (payloads.length === 0) return
  await sql`
    insert into payload (sha256, bytes)
    select decode(h, 'hex'), decode(b, 'hex') from unnest(
      ${payloads.map(({ sha256 }) => sha256.slice(2))}::text[],
      ${payloads.map(({ bytes }) => toHex(bytes).slice(2))}::text[]) as p(h, b)
    on conflict do nothing`
}

const toSafeInteger = (bytes: Uint8Array): number => Number(toBigInt(bytes))

/** From so many payloads on COPY is worth more than a query: it spares both sides the hex. */
const COPY_PAYLOADS = 8

/** The stored payloads of submissions by their internal ids, where they have the length that was declared. */
export async function readPayloadsOf(
  sql: Sql,
  submissions: readonly number[],
): Promise<Map<number, Uint8Array>> {
  if (submissions.length === 0) return new Map()
  if (submissions.length >= COPY_PAYLOADS && submissions.every(Number.isSafeInteger)) {
    const rows = await copyOut(
      sql,
      `select u.id, p.bytes from unnest('{${submissions.join(',')}}'::bigint[]) as s(id)
       join submission u on u.id = s.id join payload p on p.sha256 = u.payload_sha256 where length(p.bytes) = u.payload_bytes`,
    )
    return new Map(rows.map(([id, bytes]) => [toSafeInteger(id as Uint8Array), bytes as Uint8Array]))
  }
  const rows = await sql`
    select u.id, p.bytes from unnest(${submissions as number[]}::bigint[]) as s(id)
    join submission u on u.id = s.id join payload p on p.sha256 = u.payload_sha256
    where length(p.bytes) = u.payload_bytes`
  return new Map(
    rows.map(({ id, bytes: { buffer, byteOffset, length } }) => [
      id,
      new Uint8Array(buffer, byteOffset, length),
    ]),
  )
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
    where p.contributor = ${contributor} and not exists (
      select 1 from submission s where s.payload_sha256 = p.sha256 and s.index is not null and s.signed_sha256 is null)`
  return row?.['total'] as number
}

/**
 * No longer counts payloads (0x hex) against the quota of who sent them: there is a verdict on what they were sent for. A reorganisation that takes
 * that away does not count them again.
 */
export async function releasePayloads(tx: Db, sha256: readonly Hex[]): Promise<void> {
  if (sha256.length === 0) return
  await tx`
    update payload set contributor = null from unnest(${sha256.map((hash) => hash.slice(2))}::text[]) as j(hash)
    where sha256 = decode(j.hash, 'hex') and contributor is not null`
}
