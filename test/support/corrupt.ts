import type { TransactionSql } from 'postgres'

/** Tables of which the database alone cannot say that a row is missing on which nothing else rests. */
const MAY_BE_FEWER = ['anchor', 'checkpoint', 'payload', 'contributor']

/** Numbers in [0, 1) from a seed (mulberry32), so that a failure can be had again. */
export function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

export interface Corruption {
  readonly table: string
  readonly column: string
  /** SQL that changes one row; it changes none where there is no such row. */
  readonly statement: string
}

/** What the log and its proofs are made of. */
export const LOG_TABLES = [
  'submission',
  'reading_helium_sensors',
  'edge',
  'leaf',
  'tile',
  'checkpoint',
  'anchor',
]
/** What else an audit looks at. */
export const OTHER_TABLES = [
  'attestation',
  'contributor',
  'contributor_key',
  'sensor',
  'dataset_version',
  'payload',
  'log_head',
  'leaf_policy',
]

/**
 * Columns that nothing else in a database determines, so that only the chain can show a change (docs/fsck.md lists them), and
 * those that are notes for people.
 */
export const CHAIN_ONLY = [
  'submission.submitted_tx',
  'submission.submitted_time',
  'submission.submitted_log',
  'submission.quorum',
  'attestation.tx',
  'attestation.log_index',
  'contributor.account',
  'contributor_key.block',
  'contributor_key.log_index',
  'contributor_key.revoked_block',
  'sensor.h3',
  'dataset_version.log_index',
  'anchor.block_hash',
  'anchor.tx',
  'anchor.log_index',
  'leaf_policy.block',
]
export const NOTES = ['payload.contributor', 'payload.stored_at']

/** Makes random single-row corruptions of a database's tables. */
export async function corruptor(
  tx: TransactionSql,
  random: () => number,
  tables: readonly string[],
  only?: readonly string[],
): Promise<() => Corruption> {
  const columns = await tx`
    select table_name as table, column_name as column, data_type as type from information_schema.columns
    where table_schema = current_schema() and table_name = any(${tables as string[]}::text[]) order by 1, 2`
  const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T
  const usable = columns.filter((c) => {
    const name = `${c['table']}.${c['column']}`
    if (only) return only.includes(name)
    return c['column'] !== 'singleton' && !NOTES.includes(name)
  })
  return () => {
    const table = only ? (pick(usable)['table'] as string) : pick(tables)
    const { column, type } = pick(usable.filter((c) => c['table'] === table)) as unknown as Record<
      string,
      string
    >
    const row = `(select ctid from "${table}" order by md5(ctid::text || '${random()}') limit 1)`
    if (!only && random() < 0.05 && !MAY_BE_FEWER.includes(table))
      return { table, column: '(row)', statement: `delete from "${table}" where ctid = ${row}` }
    const value = changed(`"${column}"`, type as string, random)
    return {
      table,
      column: column as string,
      statement: `update "${table}" set "${column}" = ${value} where ctid = ${row} and "${column}" is distinct from ${value}`,
    }
  }
}

/** SQL for another value than a column has. */
function changed(column: string, type: string, random: () => number): string {
  const which = random()
  switch (type) {
    case 'bytea': {
      if (which < 0.15) return `substring(${column} from 2)`
      if (which < 0.3) return `${column} || '\\x00'::bytea`
      const bit = Math.floor(random() * 2 ** 30)
      return `case when length(${column}) = 0 then '\\x01'::bytea else set_bit(${column}, ${bit} % (8 * length(${column})), 1 - get_bit(${column}, ${bit} % (8 * length(${column})))) end`
    }
    case 'boolean':
      return `not ${column}`
    case 'text':
      if (which < 0.3) return `${column} || 'x'`
      if (which < 0.5) return `coalesce(nullif(reverse(${column}), ${column}), 'x')`
      return `overlay(${column} placing 'q' from 1 + ${Math.floor(random() * 2 ** 20)} % greatest(1, length(${column})) for 1)`
    case 'jsonb':
      return `jsonb_set(${column}, array['read', ('{readings,names,firstTimestamp,signatureSha256,signedBytesSha256,mirrorSha256}'::text[])[${1 + Math.floor(random() * 6)}]], '"x"')`
    case 'timestamp with time zone':
      return `${column} + interval '1 microsecond' * ${1 + Math.floor(random() * 1e9)}`
    case 'double precision':
      return `coalesce(${column}, 0) + 1`
    default:
      if (which < 0.4) return `coalesce(${column}, 0) + 1`
      if (which < 0.7) return `coalesce(${column}, 0) - 1`
      return `coalesce(${column}, 0) + ${1 + Math.floor(random() * 1_000)}`
  }
}
