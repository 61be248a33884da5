import { parseSync } from 'libpg-query'
import { beforeAll, describe, expect, it } from 'vitest'
import type { Catalog } from '../../../src/query/context.ts'
import { QueryError } from '../../../src/query/error.ts'
import { guardQuery } from '../../../src/query/guard.ts'
import { loadParser } from '../../../src/query/parse.ts'
import { verifyRewritten } from '../../../src/query/verify.ts'
import { HONEST } from '../../support/honest-queries.ts'
import { HOSTILE } from '../../support/hostile-queries.ts'

const common = ['contributor', 'h3', 'submission_id', 'state', 'verdict', 'leaf_index']
const catalog: Catalog = new Map([
  [
    'helium_sensors',
    ['sensor_id', 'timestamp', 'air_quality', 'humidity', 'pm2_5', 'pressure', 'temperature', ...common],
  ],
  ['weather', ['sensor_id', 'timestamp', 'note', 'rain', 'value_state', 'tags', 'temperature', ...common]],
])
const all = { verdict: 'any', below: null } as const
const guard = (query: string) =>
  guardQuery(query, catalog, { verdict: 'accepted', below: null }, { offset: 0, rows: 11 })

beforeAll(() => loadParser())

/** A tree without what writing it anew may change though it means the same. */
function normal(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(normal)
  if (typeof value !== 'object' || value === null) return value
  const out: Record<string, unknown> = {}
  for (const [key, inner] of Object.entries(value)) {
    if (
      /location|_list_(start|end)|list_(start|end)|stmt_len|funcformat|schemaname|row_format|^version$/.test(
        key,
      )
    )
      continue
    if (key === 'funcname' || key === 'names') out[key] = (inner as unknown[]).slice(-1).map(normal)
    else if (key === 'name' && Array.isArray(inner)) out[key] = inner.slice(-1).map(normal)
    else if (inner === false) continue
    else out[key] = normal(inner)
  }
  return out
}
const tree = (sql: string): unknown =>
  JSON.parse(
    JSON.stringify(normal(parseSync(sql)))
      // Said in words before, called as a function now; or named where the alias was left out.
      .replaceAll('"kind":"AEXPR_SIMILAR"', '"kind":"AEXPR_OP"')
      .replaceAll(/,?"alias":\{"aliasname":"[a-z_]+"\}/g, '')
      .replaceAll(/"joinOuter":0,?/g, ''),
  )

describe('honest queries', () => {
  it.each(HONEST)('means the same when it is written anew: %s', (query) => {
    const { sql } = guardQuery(query, catalog, all, null, true)
    if (sql.includes('api.bounded(') || /api\.(helium_sensors|weather)\.|\(h\)\.|::regtype/.test(query))
      return
    expect(tree(sql)).toEqual(tree(query.replace(/;+\s*$/, '')))
  })
  it.each(HONEST)('is written the same a second time: %s', (query) => {
    const { sql } = guardQuery(query, catalog, all, null, true)
    // What bounds an aggregate is not for queries to call.
    if (sql.includes('api.bounded(')) return expect(() => guardQuery(sql, catalog, all, null, true)).toThrow()
    expect(guardQuery(sql.replaceAll('api."', '"'), catalog, all, null, true).sql).toBe(sql)
  })
})

describe('hostile queries', () => {
  it.each(
    HOSTILE.map((query) => [query.length > 200 ? `${query.slice(0, 200)}...` : query, query]),
  )('%s', (_, query) => {
    let error: unknown
    try {
      guard(query)
    } catch (thrown) {
      error = thrown
    }
    expect(error).toBeInstanceOf(QueryError)
    expect((error as QueryError).hint).toBeTruthy()
    // The parser still works, whatever it was fed.
    expect(guard('select 1').kind).toBe('none')
  })
})

describe('the second look', () => {
  it.each([
    'select * from submission',
    'select * from api."dunes:state"',
    'select * from helium_sensors',
    'select pg_sleep(1)',
    "select repeat('x', 100)",
    "select 'a'::regclass",
    'select 1 operator(public.+) 1',
    'select * from api.helium_sensors for update',
    "select ('x').pg_read_file",
    'select * into x from api.helium_sensors',
    'with d as (delete from submission returning 1) select 1',
    'with pg_class as (select 1) select * from pg_class',
    "select current_setting('a')",
    "select xmlparse(document 'a')",
    "select * from json_to_record('{}') as x (a regclass)",
    'select * from unnest(array[1]) as x (a int)',
    'select $1',
  ])('finds what should not be there: %s', (sql) => {
    expect(() => verifyRewritten(sql, catalog)).toThrow()
  })
  it('lets through what guardQuery writes', () => {
    for (const query of HONEST) expect(() => verifyRewritten(guard(query).sql, catalog)).not.toThrow()
  })
})

describe('refusals', () => {
  it.each([
    ['select air_qualty\nfrom helium_sensors', 'QUERY_UNKNOWN_NAME', 1, 8, /air_quality/],
    ['select *\nfrom heliumsensors', 'QUERY_UNKNOWN_NAME', 2, 6, /helium_sensors/],
    ['select 1,\n  pg_sleep(1)', 'QUERY_REFUSED', 2, 3, /wait/],
    ["select 'ü', median(air_quality) from helium_sensors", 'QUERY_REFUSED', 1, 13, /percentile_cont/],
    ['select 1;\n  delete from x', 'QUERY_REFUSED', 2, 3, /one query/],
    ['select 1 +', 'QUERY_SYNTAX', 1, 11, /PostgreSQL/],
    ["select 'x'::regclass", 'QUERY_REFUSED', 1, 11, /cast to/],
    ['select h.pm25 from helium_sensors h', 'QUERY_UNKNOWN_NAME', 1, 8, /pm2_5/],
    ['select x.air_quality from helium_sensors h', 'QUERY_UNKNOWN_NAME', 1, 8, /alias/],
    ['\n-- first\nupdate x set a = 1', 'QUERY_REFUSED', 3, 1, /SELECT/],
  ] as const)('%s', (query, code, line, column, hint) => {
    try {
      guard(query)
      expect.unreachable()
    } catch (error) {
      expect(error).toMatchObject({ code, position: { line, column } })
      expect((error as QueryError).hint).toMatch(hint)
    }
  })
})

describe('where rows come from', () => {
  it.each([
    ['select air_quality from helium_sensors', 'row', ['helium_sensors'], true],
    [
      'select * from helium_sensors h join weather w using (timestamp) order by 1',
      'row',
      ['helium_sensors', 'weather'],
      false,
    ],
    [
      'select h.a from (select air_quality a from helium_sensors) h order by a',
      'row',
      ['helium_sensors'],
      true,
    ],
    [
      'with x as (select * from helium_sensors), y as (select x.air_quality from x) select * from y order by 1',
      'row',
      ['helium_sensors'],
      true,
    ],
    [
      'select air_quality from helium_sensors h, weather w where h.timestamp = w.timestamp',
      'row',
      ['helium_sensors', 'weather'],
      false,
    ],
    ['select count(*) from helium_sensors', 'set', ['helium_sensors'], true],
    ['select sensor_id from helium_sensors group by 1', 'set', ['helium_sensors'], true],
    ['select distinct sensor_id from helium_sensors', 'set', [], true],
    ['select sensor_id from helium_sensors union all select sensor_id from weather', 'set', [], true],
    ['select n from (select count(*) n from helium_sensors) s', 'set', [], true],
    ['select row_to_json(s) from (select * from helium_sensors) s', 'set', [], true],
    ['select count(s) from (select * from helium_sensors) s', 'set', [], true],
    [
      'with x as (select * from helium_sensors) select a.air_quality from x a join x b using (timestamp)',
      'set',
      [],
      true,
    ],
    [
      'select * from (select distinct * from (select sensor_id, air_quality from helium_sensors) a) b',
      'set',
      [],
      true,
    ],
    ['select 1', 'none', [], true],
    ['select * from generate_series(1, 3)', 'none', [], true],
  ] as const)('%s', (query, kind, datasets, pageable) => {
    const guarded = guard(query)
    expect(guarded).toMatchObject({ kind, pageable })
    expect(guarded.sources.map(({ dataset }) => dataset)).toEqual(datasets)
  })
  it('says when columns speak of more than their own row', () => {
    expect(guard('select air_quality from helium_sensors').derived).toBe(false)
    expect(guard('select lag(air_quality) over (order by timestamp) from helium_sensors').derived).toBe(true)
    expect(
      guard('select air_quality, (select max(air_quality) from helium_sensors) from helium_sensors').derived,
    ).toBe(true)
    expect(
      guard(
        'select h.air_quality, s.m from helium_sensors h, (select avg(air_quality) m from helium_sensors) s',
      ).derived,
    ).toBe(true)
  })
  it('cuts every dataset down to the wanted rows, wherever it stands', () => {
    const query =
      'with a as (select * from weather) select 1 from helium_sensors h, a where exists (select 1 from api.weather)'
    const { sql } = guardQuery(query, catalog, { verdict: 'rejected', below: 7 }, null)
    expect(sql.match(/WHERE verdict = 'rejected' AND leaf_index < 7\)/g)).toHaveLength(3)
  })
})
