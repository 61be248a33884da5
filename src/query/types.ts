import { integerOf, list, names, open, type Tree, text } from './ast.ts'

/** Types that values may be cast to, by the names that the parser gives them, and how each is printed. */
const TYPES: Readonly<Record<string, string>> = {
  bool: 'boolean',
  boolean: 'boolean',
  int2: 'smallint',
  smallint: 'smallint',
  int4: 'integer',
  int: 'integer',
  integer: 'integer',
  int8: 'bigint',
  bigint: 'bigint',
  float4: 'real',
  real: 'real',
  float8: 'double precision',
  numeric: 'numeric',
  decimal: 'numeric',
  text: 'text',
  varchar: 'varchar',
  bpchar: 'char',
  date: 'date',
  time: 'time',
  timetz: 'timetz',
  timestamp: 'timestamp',
  timestamptz: 'timestamptz',
  interval: 'interval',
  json: 'json',
  jsonb: 'jsonb',
  jsonpath: 'jsonpath',
  bytea: 'bytea',
  uuid: 'uuid',
  int4range: 'int4range',
  int8range: 'int8range',
  numrange: 'numrange',
  tsrange: 'tsrange',
  tstzrange: 'tstzrange',
  daterange: 'daterange',
}

/** The most characters of a padded type: `char(n)` fills up to its length. */
const MAX_CHARACTERS = 10_000

const INTERVALS: Readonly<Record<number, string>> = {
  4: 'year',
  2: 'month',
  8: 'day',
  1024: 'hour',
  2048: 'minute',
  4096: 'second',
  6: 'year to month',
  1032: 'day to hour',
  3080: 'day to minute',
  7176: 'day to second',
  3072: 'hour to minute',
  7168: 'hour to second',
  6144: 'minute to second',
}

export const TYPE_NAMES: readonly string[] = [...new Set(Object.values(TYPES))]

/** A type as SQL, or why it is refused. */
export function printType(node: Tree): { sql: string; name: string } | { refused: string } {
  const path = names(node['names'])
  const last = path.at(-1) ?? ''
  const shown = path.filter((part) => part !== 'pg_catalog').join('.') || 'this type'
  if (path.length > 2 || (path.length === 2 && path[0] !== 'pg_catalog')) return { refused: shown }
  const printed = TYPES[last]
  if (printed === undefined || !Object.hasOwn(TYPES, last)) return { refused: shown }
  if (node['setof'] || node['pct_type']) return { refused: shown }
  const allowed = new Set(['names', 'typmods', 'typemod', 'arrayBounds', 'location', 'typeOid'])
  if (Object.keys(node).some((key) => !allowed.has(key))) return { refused: shown }
  const modifiers = list(node['typmods']).map(integerOf)
  const base = withModifiers(printed, modifiers)
  if (base === null) return { refused: `${shown}(${modifiers.map((m) => m ?? '?').join(', ')})` }
  return {
    sql: `${base}${list(node['arrayBounds'])
      .map(() => '[]')
      .join('')}`,
    name: last,
  }
}

function withModifiers(type: string, modifiers: readonly (number | null)[]): string | null {
  if (modifiers.length === 0) return type === 'char' ? 'bpchar' : type
  if (modifiers.some((value) => value === null || !Number.isInteger(value))) return null
  const [first = 0, second] = modifiers as number[]
  switch (type) {
    case 'numeric':
      return first >= 1 && first <= 1000 && (second === undefined || Math.abs(second) <= 1000)
        ? `numeric(${first}${second === undefined ? '' : `, ${second}`})`
        : null
    case 'varchar':
    case 'char':
      return modifiers.length === 1 && first >= 1 && first <= MAX_CHARACTERS ? `${type}(${first})` : null
    case 'time':
    case 'timetz':
    case 'timestamp':
    case 'timestamptz':
      return modifiers.length === 1 && first >= 0 && first <= 6 ? `${type}(${first})` : null
    case 'interval': {
      if (first === 32_767 && second !== undefined)
        return second >= 0 && second <= 6 ? `interval(${second})` : null
      const fields = INTERVALS[first]
      if (fields === undefined) return null
      if (second === undefined) return `interval ${fields}`
      return fields.endsWith('second') && second >= 0 && second <= 6 ? `interval ${fields}(${second})` : null
    }
    default:
      return null
  }
}

/** Whether a cast's type is `json`, which has no order. */
export const isJsonType = (node: unknown): boolean =>
  text(names((open({ T: node })[1] as Tree)['names']).at(-1)) === 'json'
