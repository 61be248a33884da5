import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Json } from '../../../src/core/json.ts'
import { runQuery } from '../../../src/service/query.ts'
import { typeOf } from '../../../src/service/query-values.ts'
import { HONEST } from '../../support/honest-queries.ts'
import { type TestDatabase, testDatabase } from '../../support/postgres.ts'
import { type QueryWorld, startQueries } from '../../support/query.ts'

let database: TestDatabase
let world: QueryWorld
beforeAll(async () => {
  database = await testDatabase({ max: 1 })
  world = await startQueries(database)
  // What a query must see, as plain tables that the owner asks without any of our code in between.
  await database.sql.unsafe(`
    create schema oracle;
    create table oracle.helium_sensors as select * from api.helium_sensors where verdict = 'accepted';
    create table oracle.weather as select * from api.weather where verdict = 'accepted';
    set search_path = oracle, api, public; set timezone = 'UTC'; set intervalstyle = 'iso_8601'; set datestyle = 'ISO';`)
}, 60_000)
afterAll(async () => {
  await world.stop()
  await database.stop()
})

/** The rows that PostgreSQL itself gives, decoded as answers are. */
async function oracle(query: string): Promise<Json[][]> {
  // Both read "api." as the views of their own schema.
  const text = query.replace(/;+\s*$/, '').replace(/\bapi\.(?=helium_sensors\b|weather\b)/g, 'oracle.')
  const raw = (await database.sql.unsafe(text, [], { simple: false } as object).raw()) as unknown as {
    columns: { type: number }[]
  } & (Uint8Array | null)[][]
  const types = raw.columns.map(({ type }) => typeOf(type))
  return raw.map((row) => row.map((value, i) => (value === null ? null : (types[i]?.decode(value) ?? null))))
}

/**
 * Values of each type that an answer can have, as written in SQL and as they must be in JSON: the oracle decodes with the code of
 * answers, so that by itself it would share its mistakes. From PostgreSQL's documentation, chapter 8, and RFC 3339.
 */
const VALUES: readonly (readonly [sql: string, type: string, value: Json])[] = [
  ['true', 'boolean', true],
  ['false', 'boolean', false],
  ['null::boolean', 'boolean', null],
  ['array[true, false, null]', 'boolean[]', [true, false, null]],
  ['42::bigint', 'bigint', 42],
  ['-9007199254740991::bigint', 'bigint', -9007199254740991],
  ['9007199254740992::bigint', 'bigint', '9007199254740992'],
  ['9223372036854775807::bigint', 'bigint', '9223372036854775807'],
  ['array[1, null, 9007199254740993]::bigint[]', 'bigint[]', [1, null, '9007199254740993']],
  ['(-32768)::smallint', 'smallint', -32768],
  ["'{1,2}'::smallint[]", 'smallint[]', [1, 2]],
  ['2147483647', 'integer', 2147483647],
  [
    'array[[1, 2], [3, 4]]',
    'integer[]',
    [
      [1, 2],
      [3, 4],
    ],
  ],
  ["'[2:3]={7,8}'::integer[]", 'integer[]', [7, 8]],
  ["'{}'::integer[]", 'integer[]', []],
  ["'it''s \"wet\" \\ ünïcode'", 'text', 'it\'s "wet" \\ ünïcode'],
  ["''", 'text', ''],
  [
    "array['a,b', 'c\"d', '\\', '{}', 'NULL', null, '']",
    'text[]',
    ['a,b', 'c"d', '\\', '{}', 'NULL', null, ''],
  ],
  [
    `'{"a": [1, 9007199254740993, 1e400, "x"], "b": null}'::json`,
    'json',
    { a: [1, '9007199254740993', '1e400', 'x'], b: null },
  ],
  [`'{"b": 1.5, "a": true}'::jsonb`, 'jsonb', { a: true, b: 1.5 }],
  ["'null'::jsonb", 'jsonb', null],
  [`array['{"a": "}\\""}', '[1]']::jsonb[]`, 'jsonb[]', [{ a: '}"' }, [1]]],
  ['0.1::real', 'real', 0.1],
  ["'NaN'::real", 'real', 'NaN'],
  ["'{1.5,NULL,-Infinity}'::real[]", 'real[]', [1.5, null, '-Infinity']],
  ['0.1::double precision + 0.2::double precision', 'double precision', 0.30000000000000004],
  ["'Infinity'::double precision", 'double precision', 'Infinity'],
  ["'{1e300,NaN}'::double precision[]", 'double precision[]', [1e300, 'NaN']],
  ['1.50', 'numeric', '1.50'],
  ['123456789012345678901234567890.12', 'numeric', '123456789012345678901234567890.12'],
  ['array[1.0, null]', 'numeric[]', ['1.0', null]],
  ["'ab'::char(4)", 'character', 'ab  '],
  ["'ab'::varchar(4)", 'character varying', 'ab'],
  ['\'{a,"b c"}\'::varchar[]', 'character varying[]', ['a', 'b c']],
  ["'\\x00ff'::bytea", 'bytea', '\\x00ff'],
  ["array['\\x00ff'::bytea]", 'bytea[]', ['\\x00ff']],
  ["date '2025-10-01'", 'date', '2025-10-01'],
  ["array[date '2025-10-01', null]", 'date[]', ['2025-10-01', null]],
  ["time '23:30:00.5'", 'time without time zone', '23:30:00.5'],
  ["'23:30:00+02'::timetz", 'time with time zone', '23:30:00+02'],
  ["timestamp '2025-10-01 23:30:00.25'", 'timestamp without time zone', '2025-10-01T23:30:00.25'],
  ["array[timestamp '2025-10-01 23:30:00']", 'timestamp without time zone[]', ['2025-10-01T23:30:00']],
  ["timestamptz '2025-10-02 01:30:00+02'", 'timestamp with time zone', '2025-10-01T23:30:00Z'],
  ["timestamptz 'infinity'", 'timestamp with time zone', 'infinity'],
  [
    "array[timestamptz '2025-10-01T23:30:00.123456Z']",
    'timestamp with time zone[]',
    ['2025-10-01T23:30:00.123456Z'],
  ],
  ["interval '1 year 2 days 3 hours'", 'interval', 'P1Y2DT3H'],
  ["array[interval '90 minutes']", 'interval[]', ['PT1H30M']],
  ["'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'::uuid", 'uuid', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'],
  ["array['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid]", 'uuid[]', ['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11']],
  ['pg_typeof(1)', 'regtype', 'integer'],
  ["'$.a[*]'::jsonpath", 'jsonpath', '$."a"[*]'],
  ["row(1, 'a b', null)", 'record', '(1,"a b",)'],
  ["array[row(1, 'a')]", 'record[]', ['(1,a)']],
]

/** The sides' rows in an order of their own: what a query leaves open is not compared. */
const sorted = (rows: readonly Json[][]): string[] => rows.map((row) => JSON.stringify(row)).sort()

describe('honest queries', () => {
  it.each(HONEST)('%s', async (query) => {
    const answer = await runQuery(world.ctx, {
      query,
      maml_schema:
        /helium|values|weather/i.test(query) && !/helium/.test(query) && /weather/.test(query)
          ? 'weather_data.maml'
          : 'iot_data.maml',
      signature_verification: 'CRYSTALS-Dilithium',
    })
    const expected = await oracle(query)
    const rows = answer.rows.map((row) => Object.values(row) as Json[])
    expect(sorted(rows)).toEqual(sorted(expected))
    expect(answer.provenance).toHaveLength(answer.rows.length)
    expect(JSON.stringify(answer)).not.toContain('"dunes:0":')
  })
})

describe('values', () => {
  it.each(VALUES)('%s, of type %s, is %j', async (sql, type, value) => {
    const answer = await runQuery(world.ctx, {
      query: `select ${sql} as value`,
      maml_schema: 'iot_data.maml',
      signature_verification: 'CRYSTALS-Dilithium',
    })
    expect(answer.columns).toEqual([{ name: 'value', type }])
    expect(answer.rows).toEqual([{ value }])
    expect(await oracle(`select ${sql} as value`)).toEqual([[value]])
  })
})
