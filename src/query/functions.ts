import { integerOf, stringOf } from './ast.ts'

/**
 * What may be called. Nothing here reads or changes anything but its arguments, waits, or tells about the server; what makes much
 * of little is replaced by a function of schema `api` that refuses to (migrations), or has its constants looked at.
 */

const words = (text: string): readonly string[] => text.trim().split(/\s+/)

const AGGREGATES: ReadonlySet<string> = new Set(
  words(`count sum avg min max bool_and bool_or every bit_and bit_or bit_xor string_agg array_agg json_agg jsonb_agg json_object_agg
    jsonb_object_agg stddev stddev_pop stddev_samp variance var_pop var_samp corr covar_pop covar_samp regr_avgx regr_avgy regr_count
    regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy mode percentile_cont percentile_disc any_value range_agg
    range_intersect_agg`),
)
/** Those that keep all that they are given, or give it many times. */
export const KEEPERS: ReadonlySet<string> = new Set(
  words('string_agg array_agg json_agg jsonb_agg json_object_agg jsonb_object_agg range_agg array_fill'),
)
/** Window functions; with WITHIN GROUP the first four are aggregates. */
const WINDOWS: ReadonlySet<string> = new Set(
  words('rank dense_rank percent_rank cume_dist row_number ntile lag lead first_value last_value nth_value'),
)
const PLAIN: ReadonlySet<string> = new Set(
  words(`
    abs ceil ceiling floor round trunc sign sqrt cbrt power pow exp ln log log10 mod div gcd lcm degrees radians pi sin cos tan asin
    acos atan atan2 sind cosd tand asind acosd atand atan2d cot cotd sinh cosh tanh asinh acosh atanh random width_bucket scale
    min_scale trim_scale int4mod random_normal factorial erf erfc gamma lgamma
    length char_length character_length octet_length bit_length lower upper initcap casefold trim btrim ltrim rtrim left right substr
    substring position strpos split_part replace translate reverse concat concat_ws overlay starts_with ascii chr md5 to_char to_number
    to_date to_timestamp to_hex to_bin to_oct lpad rpad repeat format regexp_replace regexp_match regexp_count regexp_instr regexp_like
    regexp_substr regexp_split_to_array string_to_array array_to_string quote_literal quote_ident quote_nullable encode decode sha224
    sha256 sha384 sha512 like_escape similar_to_escape convert_from convert_to normalize is_normalized unistr unicode_assigned crc32
    crc32c get_bit get_byte bit_count parse_ident
    now date_trunc date_bin date_part extract age make_date make_time make_timestamp make_timestamptz make_interval justify_days
    justify_hours justify_interval isfinite timezone clock_timestamp statement_timestamp transaction_timestamp overlaps date_add
    date_subtract
    int2 int4 int8 float4 float8 numeric text varchar bool date time timestamp timestamptz interval
    array_length cardinality array_ndims array_dims array_upper array_lower array_append array_prepend array_cat array_remove
    array_replace array_position array_positions array_fill trim_array array_reverse array_sort array_shuffle array_sample
    int4range int8range numrange tsrange tstzrange daterange isempty lower_inc upper_inc lower_inf upper_inf range_merge
    to_json to_jsonb row_to_json array_to_json json_build_object json_build_array jsonb_build_object jsonb_build_array json_object
    jsonb_object json_array_length jsonb_array_length json_typeof jsonb_typeof json_extract_path json_extract_path_text
    jsonb_extract_path jsonb_extract_path_text jsonb_set jsonb_insert jsonb_strip_nulls json_strip_nulls jsonb_path_exists
    jsonb_path_match jsonb_path_query_array jsonb_path_query_first jsonb_contains jsonb_exists
    num_nulls num_nonnulls pg_typeof uuid_extract_timestamp uuid_extract_version`),
)
/** Those that give several rows, with the columns of those that name them themselves. */
const SETS: ReadonlyMap<string, readonly string[] | null> = new Map<string, readonly string[] | null>([
  ...words(
    `generate_series generate_subscripts unnest regexp_matches regexp_split_to_table string_to_table json_object_keys jsonb_object_keys
     jsonb_path_query`,
  ).map((name): [string, null] => [name, null]),
  ...words('json_array_elements jsonb_array_elements json_array_elements_text jsonb_array_elements_text').map(
    (name): [string, string[]] => [name, ['value']],
  ),
  ...words('json_each json_each_text jsonb_each jsonb_each_text').map((name): [string, string[]] => [
    name,
    ['key', 'value'],
  ]),
])
/** Those whose columns the query itself says, in FROM. */
const RECORDS: ReadonlySet<string> = new Set(
  words('json_to_record json_to_recordset jsonb_to_record jsonb_to_recordset'),
)
/** Functions of schema `api` that a query may name. */
const OWN: ReadonlySet<string> = new Set(
  words('h3_parent h3_cell_to_parent h3_resolution h3_distance h3_latitude h3_longitude'),
)
/** Functions that stand for PostgreSQL's own of the same name and raise an error where the result would be large. */
const CAPPED: ReadonlySet<string> = new Set(words('repeat lpad rpad array_fill'))

/** Gives back what it is given, and raises an error where that is more than a million bytes. No query may name it. */
export const BOUNDED = 'api.bounded'

/** Functions whose result is of type `json`, which has no order. */
export const JSON_RESULTS: ReadonlySet<string> = new Set(
  words(`to_json row_to_json array_to_json json_build_object json_build_array json_object json_agg json_object_agg json_extract_path
    json_strip_nulls json_array_elements json_each`),
)

export type FunctionKind = 'plain' | 'aggregate' | 'window' | 'set' | 'record'

export interface KnownFunction {
  name: string
  kind: FunctionKind
  /** As it is printed, with the schema where that matters. */
  sql: string
  /** Columns in FROM, where it has names of its own for them. */
  columns: readonly string[] | null
}

/** What a function's name means, null where it is not on the list. `path` is its name with schemas, in lower case as parsed. */
export function knownFunction(path: readonly string[]): KnownFunction | null {
  const name = path.at(-1) ?? ''
  const schema = path.length > 1 ? path.slice(0, -1).join('.') : null
  if (schema !== 'pg_catalog' && OWN.has(name) && (schema === null || schema === 'api'))
    return { name, kind: 'plain', sql: `api.${name}`, columns: null }
  if (schema !== null && schema !== 'pg_catalog') return null
  const sql = CAPPED.has(name) ? `api."${name}"` : `pg_catalog.${SPECIAL.has(name) ? `"${name}"` : name}`
  const short = CAPPED.has(name) || SPECIAL.has(name) ? sql : name
  if (AGGREGATES.has(name)) return { name, kind: 'aggregate', sql: short, columns: null }
  if (WINDOWS.has(name)) return { name, kind: 'window', sql: short, columns: null }
  if (RECORDS.has(name)) return { name, kind: 'record', sql: short, columns: null }
  if (SETS.has(name)) return { name, kind: 'set', sql: short, columns: SETS.get(name) ?? null }
  return PLAIN.has(name) ? { name, kind: 'plain', sql: short, columns: null } : null
}

/** Names that are key words of the grammar as well, so that they need their schema and quotes to be called like others. */
const SPECIAL: ReadonlySet<string> = new Set(
  words(`position substring overlay trim extract normalize is_normalized interval time timestamp timestamptz numeric varchar text bool date int2 int4
    int8 float4 float8 overlaps timezone left right values format like_escape similar_to_escape json_object`),
)

/** Every name that a refusal may suggest. */
export const FUNCTION_NAMES: readonly string[] = [
  ...AGGREGATES,
  ...WINDOWS,
  ...PLAIN,
  ...SETS.keys(),
  ...RECORDS,
  ...OWN,
]

/** What to use instead of a function that is not on the list, where there is something. */
const INSTEAD: Readonly<Record<string, string>> = {
  pg_sleep: 'queries do not wait',
  current_setting: 'settings of the server are not shown',
  version: 'GET /v1/status says what runs here',
  jsonb_pretty: 'format the JSON on your side',
  gen_random_uuid: 'submission_id and leaf_index identify rows',
  median: 'use percentile_cont(0.5) WITHIN GROUP (ORDER BY x)',
  time_bucket: "use date_bin(interval '15 minutes', timestamp, timestamptz '2000-01-01')",
  ifnull: 'use coalesce',
  nvl: 'use coalesce',
  iif: 'use CASE WHEN ... THEN ... ELSE ... END',
  group_concat: "use string_agg(x, ',')",
  strftime: "use to_char(timestamp, 'YYYY-MM-DD')",
  datediff: 'subtract: timestamp - timestamp gives an interval',
  date_format: "use to_char(timestamp, 'YYYY-MM-DD')",
  len: 'use length',
  substr_count: 'use regexp_count',
  h3_grid_distance: 'use h3_distance(a, b): metres between the centres of two cells',
  h3_cell_to_lat: 'use h3_latitude(cell)',
  h3_cell_to_lng: 'use h3_longitude(cell)',
  h3_get_resolution: 'use h3_resolution(cell)',
  h3_latlng_to_cell: 'readings have h3; h3_parent(h3, resolution) gives coarser cells',
  st_distance: 'use h3_distance(a, b): metres between the centres of two cells',
  earth_distance: 'use h3_distance(a, b): metres between the centres of two cells',
  point: 'use h3_distance(a, b), h3_latitude(cell) and h3_longitude(cell)',
  approx_count_distinct: 'use count(DISTINCT x)',
  first: 'use (array_agg(x ORDER BY timestamp))[1], or first_value(x) OVER (...)',
  last: 'use (array_agg(x ORDER BY timestamp DESC))[1], or last_value(x) OVER (...)',
  arg_max: 'use (array_agg(x ORDER BY y DESC))[1]',
  arg_min: 'use (array_agg(x ORDER BY y))[1]',
  quantile: 'use percentile_cont(0.5) WITHIN GROUP (ORDER BY x)',
  percentile: 'use percentile_cont(0.5) WITHIN GROUP (ORDER BY x)',
  countif: 'use count(*) FILTER (WHERE ...)',
  isnull: 'use coalesce',
  if: 'use CASE WHEN ... THEN ... ELSE ... END',
  safe_divide: 'use a / nullif(b, 0)',
  date_diff: 'subtract: timestamp - timestamp gives an interval; extract(epoch FROM ...) its seconds',
  dateadd: "add: timestamp + interval '1 day'",
  year: 'use extract(year FROM timestamp)',
  month: 'use extract(month FROM timestamp)',
  day: 'use extract(day FROM timestamp)',
  hour: 'use extract(hour FROM timestamp)',
  minute: 'use extract(minute FROM timestamp)',
  unix_timestamp: 'use extract(epoch FROM timestamp)',
  to_unixtime: 'use extract(epoch FROM timestamp)',
  from_unixtime: 'use to_timestamp(x)',
  getdate: 'use now()',
  curdate: 'use current_date',
  timeofday: 'use now()',
  setseed: 'order by something that is in the data: md5(submission_id) mixes well',
}
export const insteadOf = (name: string): string | null =>
  Object.hasOwn(INSTEAD, name) ? (INSTEAD[name] ?? null) : null

/** Rows that one series may have when both its ends are written out. */
export const MAX_SERIES = 1_000_000
const MAX_FORMAT_WIDTH = 100
const MAX_REPLACEMENT = 256

/** Why a call with these arguments is refused though its function is on the list; null where it is not. */
export function refuseCall(name: string, args: readonly unknown[]): { why: string; hint: string } | null {
  switch (name) {
    case 'generate_series': {
      const [from, to, step] = [
        integerOf(args[0]),
        integerOf(args[1]),
        args[2] === undefined ? 1 : integerOf(args[2]),
      ]
      if (from === null || to === null || step === null || step === 0) return null
      return (to - from) / step >= MAX_SERIES
        ? { why: `a series of more than ${MAX_SERIES} values`, hint: 'give it fewer values' }
        : null
    }
    case 'repeat': {
      const count = integerOf(args[1])
      return count !== null && count > 10_000
        ? { why: 'repeat of more than 10000 characters', hint: 'repeat gives at most 10000 characters' }
        : null
    }
    case 'lpad':
    case 'rpad': {
      const count = integerOf(args[1])
      return count !== null && count > 10_000
        ? { why: `${name} to more than 10000 characters`, hint: `${name} gives at most 10000 characters` }
        : null
    }
    case 'format': {
      const pattern = stringOf(args[0])
      if (pattern === null)
        return {
          why: 'format with a pattern that is not written out',
          hint: 'use concat, or write the pattern as a constant',
        }
      const wide = [...pattern.matchAll(/%(?:\d+\$)?-?(\*|\d+)/g)].some(
        ([, width]) => width === '*' || Number(width) > MAX_FORMAT_WIDTH,
      )
      return wide
        ? {
            why: 'format with a wide field',
            hint: `widths are numbers up to ${MAX_FORMAT_WIDTH}; lpad and rpad pad further`,
          }
        : null
    }
    case 'replace':
    case 'regexp_replace': {
      const by = stringOf(args[2])
      if (by !== null && by.length > MAX_REPLACEMENT)
        return { why: `${name} by more than ${MAX_REPLACEMENT} characters`, hint: 'replace by less' }
      return null
    }
    default:
      return null
  }
}
