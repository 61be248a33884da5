import type { TransactionSql } from 'postgres'
import type { Json, JsonObject } from '../core/json.ts'
import { VALUE_NAME } from '../maml/limits.ts'
import type { Schema, SchemaFile } from '../maml/schema.ts'
import { parseTimestamp } from '../maml/time.ts'
import { CopyRows, copyIn } from './copy.ts'
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

/**
 * Value columns of one table, at most: PostgreSQL takes 1,600 and anybody may register a schema that names more. What
 * later properties hold is left to the payload.
 */
export const MAX_VALUE_COLUMNS = 512

/** Value columns by name, with their types. */
export type Columns = Map<string, ColumnType>

const columnsByFile = new WeakMap<SchemaFile, Columns>()

/** The columns that a schema file asks for, without `sensor_id` and `timestamp`, in byte order. */
function columnsOf(file: SchemaFile): Columns {
  const known = columnsByFile.get(file)
  if (known) return known
  const columns: Columns = new Map(
    [...(file.schema.properties ?? [])]
      .filter(([name]) => name !== 'sensor_id' && name !== 'timestamp' && VALUE_NAME.test(name))
      .map(([name, schema]): [string, ColumnType] => [valueColumn(name), columnType(schema)])
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  )
  columnsByFile.set(file, columns)
  return columns
}

/** A type that holds every value of both. */
function wider(a: ColumnType, b: ColumnType): ColumnType {
  if (a === b) return a
  const numbers: readonly ColumnType[] = ['bigint', 'double precision']
  return numbers.includes(a) && numbers.includes(b) ? 'double precision' : 'jsonb'
}

/** `columns`, and what a newer schema file adds to them. */
function widen(columns: Columns, file: SchemaFile): Columns {
  const out = new Map(columns)
  for (const [column, type] of columnsOf(file)) {
    const now = out.get(column)
    if (now !== undefined) out.set(column, wider(now, type))
    else if (out.size < MAX_VALUE_COLUMNS) out.set(column, type)
  }
  return out
}

/** Value columns of a dataset's table as they are now: column name to type. */
export async function readingColumns(sql: Db, dataset: string): Promise<Columns> {
  const rows = await sql`
    select attname as name, format_type(atttypid, atttypmod) as type from pg_attribute
    where attrelid = to_regclass(${`"${readingTable(dataset)}"`}) and attnum > 0 and not attisdropped and attname like 'v\\_%'
    order by attnum`
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
  // Indices share the tables' names' space, and a dataset may be called like another one with `_time` or `_pkey` after it.
  await tx.unsafe(`
    create table if not exists "${table}" (
      submission bigint not null,
      position integer not null,
      sensor_id text not null,
      timestamp timestamptz not null,
      constraint "${table}:key" primary key (submission, position)
    )`)
  await tx.unsafe(`create index if not exists "${table}:time" on "${table}" (timestamp)`)
  await tx.unsafe(`create index if not exists "${table}:sensor" on "${table}" (sensor_id, timestamp)`)
  const present = await readingColumns(tx, dataset)
  for (const [column, type] of widen(present, file)) {
    const now = present.get(column)
    if (now === type) continue
    if (now === undefined) await tx.unsafe(`alter table "${table}" add column "${column}" ${type}`)
    else await retype(tx, table, column, type, type === 'jsonb' ? `to_jsonb("${column}")` : `"${column}"`)
  }
}

const retype = (tx: TransactionSql, table: string, column: string, type: ColumnType, using: string) =>
  tx.unsafe(`alter table "${table}" alter column "${column}" type ${type} using (${using})::${type}`)

/**
 * Takes back what schema versions did that a reorganisation undid. `files` are the valid schema files that remain, in order;
 * readings under the others must be gone. What is left fits the narrower columns, as a reading is stored by its own schema.
 */
export async function narrowReadingTable(
  tx: TransactionSql,
  dataset: string,
  files: readonly SchemaFile[],
): Promise<void> {
  const table = readingTable(dataset)
  if (files.length === 0) {
    await tx.unsafe(`drop table if exists "${table}"`)
    return
  }
  const wanted = files.reduce(widen, new Map())
  for (const [column, now] of await readingColumns(tx, dataset)) {
    const type = wanted.get(column)
    if (type === undefined) await tx.unsafe(`alter table "${table}" drop column "${column}"`)
    else if (type !== now)
      await retype(tx, table, column, type, now === 'jsonb' ? `"${column}" #>> '{}'` : `"${column}"`)
  }
}

/** Postgres text holds every character but NUL; a reading's escaped NUL is shown as U+FFFD, the payload keeps it. */
const withoutNul = (text: string): string => text.replaceAll('\u0000', '\ufffd')

function cleaned(value: Json): Json {
  if (typeof value === 'string') return withoutNul(value)
  if (Array.isArray(value)) return value.map(cleaned)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [withoutNul(name), cleaned(item)]))
}

/** Whether a column of this type holds the value; a rejected payload may hold anything. */
function fits(value: Json, type: ColumnType): boolean {
  switch (type) {
    case 'bigint':
      return Number.isSafeInteger(value)
    case 'double precision':
      return typeof value === 'number'
    case 'boolean':
      return typeof value === 'boolean'
    case 'text':
      return typeof value === 'string'
    case 'jsonb':
      return true
  }
}

/**
 * The value as it is stored: null where it does not fit `own`, its type by the schema of its submission, which the column's type is at
 * least as wide as. So what is stored does not depend on when it was.
 */
const stored = (value: Json | undefined, own: ColumnType | undefined): Json =>
  value === undefined || own === undefined || !fits(value, own) ? null : value

/** A value as text for `unnest`; `now` is the column's type. */
function cell(value: Json, now: ColumnType): string | null {
  if (value === null) return null
  if (now === 'jsonb') return JSON.stringify(cleaned(value))
  return withoutNul(String(value))
}

/** {@link cell} for COPY. */
function copyCell(to: CopyRows, value: Json, now: ColumnType): void {
  if (value === null) to.null()
  else if (now === 'jsonb') to.jsonb(JSON.stringify(cleaned(value)))
  else if (now === 'text') to.text(withoutNul(String(value)))
  else if (now === 'boolean') to.bool(value as boolean)
  else if (now === 'bigint') to.int8(value as number)
  // Text has no negative zero either.
  else to.float8((value as number) + 0)
}

/** RFC 3339 UTC to what Postgres reads: at most microseconds. */
function timestamptz(text: string): string {
  const [seconds = '', fraction = ''] = text.slice(0, -1).split('.')
  return `${seconds}${fraction ? `.${fraction.slice(0, 6)}` : ''}Z`
}

/** More than any sensor's name, and little enough for an index: what a payload calls its sensor may be a megabyte. */
const MAX_SENSOR_ID = 256
const sensorId = (text: string): string => withoutNul(text.slice(0, MAX_SENSOR_ID).toWellFormed())

/** The readings of one submission, by its internal id. */
export interface SubmissionReadings {
  submission: number
  /** The schema file in force at the submission. */
  file: SchemaFile
  /** Each has `sensor_id` and `timestamp`. */
  readings: readonly JsonObject[]
}

/** From so many rows on COPY is worth its two round trips. */
const COPY_ROWS = 48

/** Whether {@link insertReadings} adds so many readings by COPY. */
export const areCopied = (items: readonly SubmissionReadings[]): boolean => countOf(items) >= COPY_ROWS

const countOf = (items: readonly SubmissionReadings[]): number =>
  items.reduce((sum, { readings }) => sum + readings.length, 0)

/**
 * The value columns of a dataset's table, which keeps them until `tx` ends; null where it has no table, as a dataset without a valid
 * schema has none.
 */
export async function holdReadingTable(tx: TransactionSql, dataset: string): Promise<Columns | null> {
  const table = readingTable(dataset)
  // Held before its columns are read, so that a schema update that is applied just now does not change them under us.
  const locking = tx.unsafe(
    `do $$ begin if to_regclass('"${table}"') is not null then lock table "${table}" in row exclusive mode; end if; end $$`,
  )
  // Sent now, and not when it is awaited: what is awaited together may go in another order.
  locking.execute()
  const [, [found], present] = await Promise.all([
    locking,
    tx`select to_regclass(${`"${table}"`}) as oid`,
    readingColumns(tx, dataset),
  ])
  return found?.['oid'] ? present : null
}

/**
 * Adds readings of submissions of one dataset, which has none of them yet, to its table with the columns `held`. Values that the
 * submission's schema does not name are left to the payload.
 */
export async function insertReadings(
  tx: TransactionSql,
  dataset: string,
  held: Columns | null,
  items: readonly SubmissionReadings[],
): Promise<void> {
  if (held === null || countOf(items) === 0) return
  const table = readingTable(dataset)
  const columns = [...held].map(([name, type]) => ({ name, value: name.slice(2), type }))
  const target = `"${table}" (submission, position, sensor_id, timestamp${columns.map(({ name }) => `, "${name}"`).join('')})`
  if (areCopied(items)) {
    const rows = new CopyRows()
    for (const { submission, file, readings } of items) {
      const own = columnsOf(file)
      const its = columns.map(({ name, value, type }) => ({ value, type, own: own.get(name) }))
      for (let position = 0; position < readings.length; position++) {
        const reading = readings[position] as JsonObject
        rows
          .row(4 + its.length)
          .int8(submission)
          .int4(position)
          .text(sensorId(String(reading['sensor_id'])))
        const moment = parseTimestamp(String(reading['timestamp']))
        if (moment) rows.timestamptz(moment.seconds, Math.floor(moment.nanoseconds / 1000))
        else rows.null()
        for (const { value, own, type } of its)
          copyCell(rows, stored(Object.hasOwn(reading, value) ? reading[value] : undefined, own), type)
      }
    }
    return copyIn(tx, target, rows)
  }
  const rows = items.flatMap(({ submission, file, readings }) => {
    const own = columnsOf(file)
    return readings.map((reading, position) => ({ submission, position, reading, own }))
  })
  const parameters = [
    rows.map((row) => row.submission),
    rows.map((row) => row.position),
    rows.map((row) => sensorId(String(row.reading['sensor_id']))),
    rows.map((row) => timestamptz(String(row.reading['timestamp']))),
    ...columns.map(({ name, value, type }) =>
      rows.map(({ reading, own }) =>
        cell(stored(Object.hasOwn(reading, value) ? reading[value] : undefined, own.get(name)), type),
      ),
    ),
  ]
  const types = ['bigint', 'integer', 'text', 'text', ...columns.map(() => 'text')]
  const casts = ['c0', 'c1', 'c2', 'c3::timestamptz', ...columns.map(({ type }, i) => `c${i + 4}::${type}`)]
  await tx.unsafe(
    `insert into ${target}
     select ${casts.join(', ')}
     from unnest(${types.map((type, i) => `$${i + 1}::${type}[]`).join(', ')}) as r(${types.map((_, i) => `c${i}`).join(', ')})`,
    parameters as never[],
    { prepare: true },
  )
}
