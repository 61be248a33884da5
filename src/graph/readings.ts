import type { TransactionSql } from 'postgres'
import type { Json, JsonObject } from '../core/json.ts'
import { VALUE_NAME } from '../maml/limits.ts'
import type { Schema, SchemaFile } from '../maml/schema.ts'
import type { Db } from './cursor.ts'

/**
 * One table of readings for each dataset, made from its schema file: `reading_<dataset>` with the columns
 * `submission, position, sensor_id, timestamp` and `v_<name>` for every other property. The prefix keeps a value called
 * `xmin` or `ctid` from meeting a system column.
 */

type ColumnType = 'bigint' | 'double precision' | 'boolean' | 'text' | 'jsonb'

const PREFIX = 'reading_'
/** The table of a dataset. Dataset names match `[a-z0-9_]{1,32}`, enforced on-chain and checked here once more. */
export function readingTable(dataset: string): string {
  if (!/^[a-z0-9_]{1,32}$/.test(dataset)) throw new RangeError(`not a dataset name: ${dataset}`)
  return `${PREFIX}${dataset}`
}

export const valueColumn = (name: string): string => `v_${name}`

/** Names of all reading tables that exist. */
export async function readingTables(sql: Db): Promise<string[]> {
  const rows = await sql`
    select c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = current_schema() and c.relkind = 'r' and c.relname like 'reading\\_%' order by 1`
  return rows.map((row) => row['name'] as string)
}

/** `null` beside one other type leaves the column that type; several types, or none, make it `jsonb`. */
function columnType(schema: Schema | boolean): ColumnType {
  const types = typeof schema === 'boolean' ? [] : (schema.type ?? []).filter((type) => type !== 'null')
  if (types.length === 2 && types.includes('integer') && types.includes('number')) return 'double precision'
  switch (types.length === 1 ? types[0] : undefined) {
    case 'integer':
      return 'bigint'
    case 'number':
      return 'double precision'
    case 'boolean':
      return 'boolean'
    case 'string':
      return 'text'
    default:
      return 'jsonb'
  }
}

/** Property names and column types of a schema file, without `sensor_id` and `timestamp`, in byte order. */
function columnsOf(file: SchemaFile): [name: string, type: ColumnType][] {
  return [...(file.schema.properties ?? [])]
    .filter(([name]) => name !== 'sensor_id' && name !== 'timestamp' && VALUE_NAME.test(name))
    .map(([name, schema]): [string, ColumnType] => [name, columnType(schema)])
    .sort(([a], [b]) => (a < b ? -1 : 1))
}

/** Value columns of a dataset's table as they are now: column name to type. */
export async function readingColumns(sql: Db, dataset: string): Promise<Map<string, ColumnType>> {
  const rows = await sql`
    select column_name as name, data_type as type from information_schema.columns
    where table_schema = current_schema() and table_name = ${readingTable(dataset)} and column_name like 'v\\_%'
    order by ordinal_position`
  return new Map(rows.map((row) => [row['name'] as string, row['type'] as ColumnType]))
}

/**
 * Makes the dataset's table, or widens it for a newer schema: new properties become columns, an integer that became a
 * number becomes `double precision`, any other change of type becomes `jsonb`. No value is lost and nothing is dropped.
 */
export async function ensureReadingTable(
  tx: TransactionSql,
  dataset: string,
  file: SchemaFile,
): Promise<void> {
  const table = readingTable(dataset)
  await tx.unsafe(`
    create table if not exists "${table}" (
      submission bigint not null references submission (id) on delete cascade,
      position integer not null,
      sensor_id text not null,
      timestamp timestamptz not null,
      primary key (submission, position)
    )`)
  await tx.unsafe(`create index if not exists "${table}_time" on "${table}" (timestamp)`)
  await tx.unsafe(`create index if not exists "${table}_sensor" on "${table}" (sensor_id, timestamp)`)
  const present = await readingColumns(tx, dataset)
  for (const [name, type] of columnsOf(file)) {
    const column = valueColumn(name)
    const now = present.get(column)
    if (now === undefined) {
      await tx.unsafe(`alter table "${table}" add column "${column}" ${type}`)
    } else if (now === 'bigint' && type === 'double precision') {
      await tx.unsafe(`alter table "${table}" alter column "${column}" type double precision`)
    } else if (now !== type && now !== 'jsonb' && !(now === 'double precision' && type === 'bigint')) {
      await tx.unsafe(
        `alter table "${table}" alter column "${column}" type jsonb using to_jsonb("${column}")`,
      )
    }
  }
}

/** Postgres text holds every character but NUL; a reading's escaped NUL is shown as U+FFFD, the payload keeps it. */
const withoutNul = (text: string): string => text.replaceAll('\u0000', '\ufffd')

/** A value as its column takes it, as text for `unnest`; null where it does not fit (a rejected payload may hold anything). */
function cell(value: Json | undefined, type: ColumnType): string | null {
  if (value === undefined || value === null) return null
  switch (type) {
    case 'bigint':
      return Number.isSafeInteger(value) ? String(value) : null
    case 'double precision':
      return typeof value === 'number' ? String(value) : null
    case 'boolean':
      return typeof value === 'boolean' ? String(value) : null
    case 'text':
      return typeof value === 'string' ? withoutNul(value) : null
    case 'jsonb':
      // A NUL inside a string is spelled \u0000 in JSON text, which jsonb refuses.
      return JSON.stringify(value, (_, v) => (typeof v === 'string' ? withoutNul(v) : v))
  }
}

/** RFC 3339 UTC to what Postgres reads: at most microseconds, and the year 0 as it calls it. */
function timestamptz(text: string): string {
  const [seconds = '', fraction = ''] = text.slice(0, -1).split('.')
  const moment = `${seconds}${fraction ? `.${fraction.slice(0, 6)}` : ''}Z`
  return moment.startsWith('0000') ? `0001${moment.slice(4)} BC` : moment
}

/**
 * Adds the readings of submissions of one dataset. `items` pair a submission's internal id with its readings, each of
 * which has `sensor_id` and `timestamp`. Values that the schema does not name are left to the payload.
 */
export async function insertReadings(
  tx: TransactionSql,
  dataset: string,
  items: readonly { submission: number; readings: readonly JsonObject[] }[],
): Promise<void> {
  const columns = await readingColumns(tx, dataset)
  const rows = items.flatMap(({ submission, readings }) =>
    readings.map((reading, position) => ({ submission, position, reading })),
  )
  if (rows.length === 0) return
  const names = [...columns.keys()]
  const parameters = [
    rows.map((row) => row.submission),
    rows.map((row) => row.position),
    rows.map((row) => withoutNul(String(row.reading['sensor_id']))),
    rows.map((row) => timestamptz(String(row.reading['timestamp']))),
    ...names.map((name) => {
      const type = columns.get(name) as ColumnType
      return rows.map((row) => cell(row.reading[name.slice(2)], type))
    }),
  ]
  const types = ['bigint', 'integer', 'text', 'text', ...names.map(() => 'text')]
  const casts = [
    'c0',
    'c1',
    'c2',
    'c3::timestamptz',
    ...names.map((name, i) => `c${i + 4}::${columns.get(name)}`),
  ]
  await tx.unsafe(
    `insert into "${readingTable(dataset)}" (submission, position, sensor_id, timestamp${names.map((n) => `, "${n}"`).join('')})
     select ${casts.join(', ')}
     from unnest(${types.map((type, i) => `$${i + 1}::${type}[]`).join(', ')}) as r(${types.map((_, i) => `c${i}`).join(', ')})
     on conflict do nothing`,
    parameters as never[],
  )
}
