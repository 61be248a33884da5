import type { Db } from './cursor.ts'

/** An accepted submission by what it would share with one that it repeats. */
export interface Signed {
  /** Internal id. */
  readonly id: number
  /** Internal id of its sensor, which is one contributor's. */
  readonly sensor: number
  /** As the payload writes it. */
  readonly firstTimestamp: string
  /** 32 bytes as 64 hex digits. */
  readonly signedSha256: string
}

/**
 * The earliest accepted submission below index `before` that has the same signed bytes, for those that have one, both by internal id.
 * Whoever signs the same bytes signs the same sensor and the same first timestamp, so that each look, like each new entry of the index
 * behind it, is where the sensor's time stands, and not anywhere among the hashes of all submissions that ever were.
 */
export async function readRepeated(
  db: Db,
  signed: readonly Signed[],
  before: number,
): Promise<Map<number, number>> {
  if (signed.length === 0) return new Map()
  // A look into an index for each row, whatever the planner knows: `offset 0` keeps it from walking all of a sensor's submissions in order.
  const rows = await db`
    select e.id, u.id as earlier
    from unnest(${signed.map((one) => one.id)}::bigint[], ${signed.map((one) => one.sensor)}::bigint[],
                ${signed.map((one) => one.firstTimestamp)}::text[], ${signed.map((one) => one.signedSha256)}::text[])
      as e(id, sensor, first_timestamp, signed)
    cross join lateral (
      select same.id from (
        select s.id, s.index from submission s
        where s.sensor = e.sensor and (s.judgement -> 'read' ->> 'firstTimestamp') collate "C" = e.first_timestamp
          and s.signed_sha256 = decode(e.signed, 'hex') and s.index < ${before} and s.verdict = 'accepted'
        offset 0) as same
      order by same.index limit 1) as u`
  return new Map(rows.map((row) => [row['id'], row['earlier']]))
}
