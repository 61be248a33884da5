import type { Json, JsonObject } from '../core/json.ts'
import { VALUE_NAME } from '../maml/limits.ts'
import type { Schema, SchemaFile } from '../maml/schema.ts'
import { parseTimestamp } from '../maml/time.ts'
import type { Findings } from './findings.ts'
import { numberOf, type Row, type Snapshot } from './rows.ts'

/** What one submission's readings must be in the table of its dataset; none where it was not read. */
export interface ExpectedReadings {
  /** Internal id. */
  readonly submission: number
  /** For reports. */
  readonly row: string
  readonly dataset: string
  readonly file: SchemaFile | null
  readonly readings: readonly JsonObject[]
}

/** Most characters of a sensor's name in a table of readings. */
const NAME_LENGTH = 256

/** Value columns of a table: name to type, as they are. */
export type Columns = ReadonlyMap<string, string>

/** Value columns of a dataset's table; null where there is no such table. */
export async function readColumns(db: Snapshot, dataset: string): Promise<Columns | null> {
  const rows = await db`
    select column_name as name, data_type as type from information_schema.columns
    where table_schema = current_schema() and table_name = ${`reading_${dataset}`}`
  return rows.length === 0
    ? null
    : new Map(
        rows.flatMap((row): [string, string][] =>
          row['name'].startsWith('v_') ? [[row['name'], row['type']]] : [],
        ),
      )
}

/** The kind of column that a property's schema asks for: the one type beside null, else anything. */
function kindOf(schema: Schema | boolean): string {
  const types = new Set(typeof schema === 'boolean' ? [] : (schema.type ?? []))
  types.delete('null')
  if (types.size === 2 && types.has('integer') && types.has('number')) return 'double precision'
  if (types.size !== 1) return 'jsonb'
  const kinds = { integer: 'bigint', number: 'double precision', boolean: 'boolean', string: 'text' } as const
  return kinds[[...types][0] as keyof typeof kinds] ?? 'jsonb'
}

const holds: Readonly<Record<string, (value: Json) => boolean>> = {
  bigint: (value) => Number.isSafeInteger(value),
  'double precision': (value) => typeof value === 'number',
  boolean: (value) => typeof value === 'boolean',
  text: (value) => typeof value === 'string',
  jsonb: () => true,
}

/** Text as PostgreSQL can hold it. */
const storable = (text: string): string => text.replaceAll('\0', '\ufffd')

function storableJson(value: Json): Json {
  if (typeof value === 'string') return storable(value)
  if (Array.isArray(value)) return value.map(storableJson)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [storable(key), storableJson(item)]))
}

/** A timestamp as `extract(epoch from ...)` writes it: seconds with six decimals, further ones cut off. */
function epochText(timestamp: string): string {
  const { seconds, nanoseconds } = parseTimestamp(timestamp) ?? { seconds: 0, nanoseconds: 0 }
  const micros = BigInt(seconds) * 1_000_000n + BigInt(Math.floor(nanoseconds / 1000))
  const size = micros < 0n ? -micros : micros
  return `${micros < 0n ? '-' : ''}${size / 1_000_000n}.${String(size % 1_000_000n).padStart(6, '0')}`
}

/** The columns of one reading as they must be stored, without position and submission. */
function expectedRow(reading: JsonObject, file: SchemaFile, columns: Columns): Map<string, Json> {
  const out = new Map<string, Json>([
    ['sensor_id', storable(String(reading['sensor_id']).slice(0, NAME_LENGTH).toWellFormed())],
    ['timestamp', epochText(String(reading['timestamp']))],
  ])
  for (const column of columns.keys()) {
    const name = column.slice('v_'.length)
    const property = VALUE_NAME.test(name) ? file.schema.properties?.get(name) : undefined
    const value = reading[name] ?? null
    const kept = property !== undefined && value !== null && holds[kindOf(property)]?.(value)
    out.set(column, kept ? storableJson(value) : null)
  }
  return out
}

/** Equality of JSON values whatever the order of keys. */
export function sameValue(a: Json | undefined, b: Json | undefined): boolean {
  if (a === b) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (Array.isArray(a) !== Array.isArray(b)) return false
  const keys = Object.keys(a)
  return (
    keys.length === Object.keys(b).length &&
    keys.every((key) => Object.hasOwn(b, key) && sameValue((a as JsonObject)[key], (b as JsonObject)[key]))
  )
}

/** Holds the stored readings of some submissions against what their payloads say. */
export async function checkReadings(
  db: Snapshot,
  expected: readonly ExpectedReadings[],
  columnsOf: (dataset: string) => Promise<Columns | null>,
  findings: Findings,
): Promise<number> {
  let count = 0
  for (const dataset of new Set(expected.map((item) => item.dataset))) {
    const items = expected.filter((item) => item.dataset === dataset)
    const table = `reading_${dataset}`
    const columns = await columnsOf(dataset)
    if (columns === null) {
      const item = items.find(({ file, readings }) => file && readings.length > 0)
      if (item) findings.add(table, item.row, 'table', 'a table', 'nothing')
      continue
    }
    const stored = new Map<number, Row[]>()
    const rows = await db`
      select to_jsonb(r) || jsonb_build_object('timestamp', extract(epoch from r.timestamp)::text) as row
      from ${db(table)} r where r.submission = any(${items.map((item) => item.submission)}::bigint[])
      order by r.submission, r.position`
    for (const { row } of rows as unknown as { row: Row }[]) {
      const id = numberOf(row['submission'])
      stored.set(id, [...(stored.get(id) ?? []), row])
    }
    for (const { submission, row, file, readings } of items) {
      const found = stored.get(submission) ?? []
      const wanted = file ? readings : []
      count += wanted.length
      findings.same(table, row, 'number of readings', wanted.length, found.length)
      for (const [i, reading] of wanted.entries()) {
        const actual = found[i]
        if (!actual || !file) break
        findings.same(table, row, `position`, i, actual['position'])
        for (const [column, value] of expectedRow(reading, file, columns))
          if (!sameValue(value, actual[column]))
            findings.add(table, row, `reading ${i}, ${column}`, value, actual[column])
      }
    }
  }
  return count
}

/** Finds rows of submissions that have no readings, or belong to another dataset. */
export async function checkStrayReadings(db: Snapshot, findings: Findings): Promise<void> {
  const tables = await db`
    select c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = current_schema() and c.relkind = 'r' and c.relname like 'reading\\_%' order by 1`
  for (const { name } of tables) {
    const [count] = await db`
      select count(*)::int as count, min(encode(u.submission_id, 'hex')) as id
      from ${db(name)} r left join submission u on u.id = r.submission left join dataset d on d.id = u.dataset
      where u.index is null or d.name is distinct from ${name.slice('reading_'.length)} or u.judgement is null`
    if (count?.['count'] > 0)
      findings.add(name, `0x${count?.['id'] ?? ''}`, 'number of stray readings', 0, count?.['count'])
  }
}
