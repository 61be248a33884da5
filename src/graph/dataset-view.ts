import type { TransactionSql } from 'postgres'
import type { Sql } from './connect.ts'
import type { Db } from './cursor.ts'
import { readingColumns, readingTable, readingTables } from './readings.ts'

/**
 * What a query sees of a dataset: the view `api.<dataset>` over its table of readings, with each value under its own name and
 * what chain, checks and log say of the submission that it came in. Schema `api` is made by a migration.
 */
export const API_SCHEMA = 'api'

/** Columns of each view besides its values. A value of the same name is shown with `value_` before it. */
export const COMMON_COLUMNS: readonly string[] = [
  'sensor_id',
  'timestamp',
  'contributor',
  'h3',
  'submission_id',
  'state',
  'verdict',
  'leaf_index',
]

/** Kept as each view's comment: a view that an older version made is made again at the next start. */
const VIEW_VERSION = 'dunes view 1'

/** Under which name each value is shown, in the order of the table's columns. `columns` are the table's, `v_` and the value's name. */
export function valueNames(columns: readonly string[]): Map<string, string> {
  const values = columns.map((column) => column.slice(2))
  const taken = new Set([...COMMON_COLUMNS, ...values])
  return new Map(
    columns.map((column, i) => {
      let name = values[i] as string
      if (COMMON_COLUMNS.includes(name)) {
        while (taken.has(name)) name = `value_${name}`
        taken.add(name)
      }
      return [column, name]
    }),
  )
}

const viewOf = (dataset: string): string => `"${API_SCHEMA}"."${dataset}"`

/** Takes a dataset's view away, so that its table's columns can change. */
export async function dropDatasetView(tx: TransactionSql, dataset: string): Promise<void> {
  readingTable(dataset)
  await tx.unsafe(`drop view if exists ${viewOf(dataset)}`)
}

/** Makes a dataset's view over its table as it is now; there must be none. Nothing is made where there is no table. */
export async function createDatasetView(tx: TransactionSql, dataset: string): Promise<void> {
  const table = readingTable(dataset)
  const [found] = await tx`select to_regclass(${`"${table}"`}) is not null as exists`
  if (found?.['exists'] !== true) return
  const values = [...valueNames([...(await readingColumns(tx, dataset)).keys()])]
  // Joined to the left where the planner may leave the join out when nothing of it is asked for.
  await tx.unsafe(`
    create view ${viewOf(dataset)} as
    select r.sensor_id, r."timestamp",${values.map(([column, name]) => ` r."${column}" as "${name}",`).join('')}
      (select chain from deployment) || ':0x' || encode(c.account, 'hex') as contributor,
      to_hex(se.h3) as h3,
      '0x' || encode(s.submission_id, 'hex') as submission_id,
      case when s.index is null then 'pending'
           when s.index < (select anchored_size from "${API_SCHEMA}"."dunes:state") then 'anchored'
           when s.index < (select size from log_head) then 'logged'
           when s.settled_block <= (select final_number from cursor) then 'final'
           else 'settled' end as state,
      s.verdict, s.index as leaf_index
    from "${table}" r
    join submission s on s.id = r.submission
    left join contributor c on c.id = s.contributor
    left join sensor se on se.id = s.sensor`)
  await tx.unsafe(`comment on view ${viewOf(dataset)} is '${VIEW_VERSION}'`)
}

/** Runs `change`, which alters a dataset's table, with its view out of the way. */
export async function behindDatasetView(
  tx: TransactionSql,
  dataset: string,
  change: () => Promise<void>,
): Promise<void> {
  await dropDatasetView(tx, dataset)
  await change()
  await createDatasetView(tx, dataset)
}

/** Makes the views that are missing or of another version, as after an update of the program. */
export async function ensureDatasetViews(sql: Sql): Promise<void> {
  const present = await sql`
    select c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = ${API_SCHEMA} and c.relkind = 'v' and obj_description(c.oid, 'pg_class') = ${VIEW_VERSION}`
  const names = new Set(present.map((row) => row['name'] as string))
  for (const table of await readingTables(sql)) {
    const dataset = table.slice('reading_'.length)
    if (names.has(dataset)) continue
    await sql.begin((tx) => behindDatasetView(tx, dataset, async () => {}))
  }
}

/** Datasets that can be queried: the names of each view's columns in order, by the dataset's name. */
export async function readCatalog(sql: Db): Promise<Map<string, string[]>> {
  const rows = await sql`
    select c.relname as name, array_agg(a.attname::text order by a.attnum) as columns
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    where n.nspname = ${API_SCHEMA} and c.relkind = 'v' and c.relname not like '%:%'
    group by c.relname order by c.relname`
  return new Map(rows.map((row) => [row['name'] as string, row['columns'] as string[]]))
}
