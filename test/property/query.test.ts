import fc from 'fast-check'
import { parseSync, scanSync } from 'libpg-query'
import { beforeAll, describe, expect, it } from 'vitest'
import type { Catalog } from '../../src/query/context.ts'
import { QueryError } from '../../src/query/error.ts'
import { guardQuery } from '../../src/query/guard.ts'
import { loadParser } from '../../src/query/parse.ts'
import { HONEST } from '../support/honest-queries.ts'
import { HOSTILE } from '../support/hostile-queries.ts'

const common = ['contributor', 'h3', 'submission_id', 'state', 'verdict', 'leaf_index']
const catalog: Catalog = new Map([
  ['helium_sensors', ['sensor_id', 'timestamp', 'air_quality', 'humidity', 'temperature', ...common]],
  ['weather', ['sensor_id', 'timestamp', 'note', 'rain', 'value_state', 'tags', 'temperature', ...common]],
])
let pieces: string[][]
beforeAll(async () => {
  await loadParser()
  const usable = [...HONEST, ...HOSTILE.filter((query) => query.length < 200)].filter((query) => {
    try {
      return scanSync(query).tokens.length > 0
    } catch {
      return false
    }
  })
  pieces = usable.map((query) => scanSync(query).tokens.map(({ text }) => text))
})

/** Everything that the text reads, calls and casts to, found without any of our code. */
function reaches(sql: string): {
  relations: string[]
  ctes: Set<string>
  calls: string[]
  types: string[]
  kinds: Set<string>
} {
  const out = {
    relations: [] as string[],
    ctes: new Set<string>(),
    calls: [] as string[],
    types: [] as string[],
    kinds: new Set<string>(),
  }
  const sval = (node: unknown) => (node as { String?: { sval: string } }).String?.sval ?? '?'
  JSON.parse(JSON.stringify(parseSync(sql)), (key, value) => {
    if (/^[A-Z]/.test(key)) out.kinds.add(key)
    if (/lockingClause|intoClause/.test(key)) out.kinds.add(key)
    if (key === 'RangeVar')
      out.relations.push([value.catalogname, value.schemaname, value.relname].filter(Boolean).join('.'))
    if (key === 'CommonTableExpr') out.ctes.add(value.ctename)
    if (key === 'FuncCall') out.calls.push(value.funcname.map(sval).join('.'))
    if (key === 'typeName') out.types.push(value.names.map(sval).at(-1))
    if (key === 'A_Indirection' && JSON.stringify(value.indirection).includes('"String"'))
      out.kinds.add('field')
    return value
  })
  return out
}

/** What no query may touch, by name: written here anew, so that a list that grew too long is noticed. */
const FORBIDDEN_CALL =
  /^(.*\.)?(pg_(?!typeof$|catalog)|lo_|dblink|set_config|current_|inet_|query_to|table_to|database_to|cursor_to|xml|nextval|setval|currval|lastval|txid|version$|has_|to_reg|row_security|ts_stat|setseed)/
const WRITES = /Stmt$/

describe('queries put together at random', () => {
  it('reach nothing but datasets, or are refused', () => {
    const cut = fc.record({
      a: fc.nat(),
      b: fc.nat(),
      from: fc.nat(),
      length: fc.nat(6),
      at: fc.nat(),
      drop: fc.nat(3),
    })
    let passed = 0
    fc.assert(
      fc.property(fc.array(cut, { minLength: 1, maxLength: 3 }), (cuts) => {
        let tokens: string[] = pieces[(cuts[0]?.a ?? 0) % pieces.length] as string[]
        for (const { b, from, length, at, drop } of cuts) {
          const other = pieces[b % pieces.length] as string[]
          const start = from % other.length
          tokens = [...tokens]
          tokens.splice(at % (tokens.length + 1), drop, ...other.slice(start, start + length))
        }
        const query = tokens.join(' ')
        let sql: string
        try {
          sql = guardQuery(query, catalog, { verdict: 'accepted', below: null }, { offset: 0, rows: 11 }).sql
        } catch (error) {
          expect(error, query).toBeInstanceOf(QueryError)
          return
        }
        passed++
        const { relations, ctes, calls, types, kinds } = reaches(sql)
        for (const relation of relations)
          expect(
            relation === 'api.helium_sensors' ||
              relation === 'api.weather' ||
              (ctes.has(relation) && !relation.startsWith('pg_')),
            query,
          ).toBe(true)
        for (const call of calls) expect(call, query).not.toMatch(FORBIDDEN_CALL)
        for (const type of types) expect(type, query).not.toMatch(/^reg|^oid$|^name$|^x/)
        for (const kind of kinds)
          expect(
            kind === 'SelectStmt' ||
              (!WRITES.test(kind) && !/lockingClause|intoClause|ParamRef|field/.test(kind)),
            `${kind}: ${query}`,
          ).toBe(true)
      }),
      { numRuns: 6_000 },
    )
    // Otherwise nothing was tested but refusing.
    expect(passed).toBeGreaterThan(25)
  }, 120_000)

  it('of any text are refused as what they are', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.string({ unit: 'binary', maxLength: 200 }), fc.string({ maxLength: 200 })),
        (text) => {
          try {
            guardQuery(`select ${text}`, catalog, { verdict: 'any', below: null }, null)
          } catch (error) {
            expect(error).toBeInstanceOf(QueryError)
          }
        },
      ),
      { numRuns: 2_000 },
    )
  }, 60_000)
})
