import { list, names, open, type Tree, text } from './ast.ts'
import type { Catalog } from './context.ts'
import { BOUNDED, knownFunction } from './functions.ts'
import { parseQuery } from './parse.ts'
import { printType } from './types.ts'

/**
 * The second look: parses what is about to be run and makes sure, without any of the code that wrote it, that it is one SELECT
 * made of known nodes, which reads nothing but views of schema `api` and what its own WITH defines, and calls, casts to and
 * compares by nothing that is not on the lists. Throws an Error, which is a fault of ours, where it is anything else.
 */
export function verifyRewritten(sql: string, catalog: Catalog): void {
  const ctes = new Set<string>()
  const relations: Tree[] = []
  const waiting: unknown[] = [{ SelectStmt: parseQuery(sql) }]
  for (let value = waiting.pop(); value !== undefined; value = waiting.pop()) {
    const fields = value as Tree
    for (const key in fields) {
      const inner = fields[key]
      // Names of nodes begin with a capital letter, those of fields do not.
      const first = key.charCodeAt(0)
      if (first >= 65 && first <= 90) {
        if (!NODES.has(key)) throw new Error(`${key} in a query that was written anew`)
        check(key, inner as Tree, ctes, relations)
      } else if (FORBIDDEN.has(key)) throw new Error(`${key} in a query that was written anew`)
      else if (key === 'typeName' && 'refused' in printType(inner as Tree))
        throw new Error('an unknown type in a query that was written anew')
      if (typeof inner === 'object' && inner !== null) waiting.push(inner)
    }
  }
  for (const relation of relations) {
    const name = text(relation['relname'])
    const schema = relation['schemaname']
    const known =
      schema === 'api' ? catalog.has(name) : schema === undefined && ctes.has(name) && !name.startsWith('pg_')
    if (!known || relation['catalogname'] !== undefined)
      throw new Error('an unknown relation in a query that was written anew')
  }
}

function check(key: string, fields: Tree, ctes: Set<string>, relations: Tree[]): void {
  switch (key) {
    case 'RangeVar':
      relations.push(fields)
      return
    case 'CommonTableExpr':
      ctes.add(text(fields['ctename']))
      return
    case 'FuncCall':
      if (!isCallable(names(fields['funcname'])))
        throw new Error('an unknown function in a query that was written anew')
      return
    case 'RangeFunction':
      if (fields['coldeflist'] !== undefined) checkRecords(fields)
      return
    case 'A_Expr': {
      if (names(fields['name']).length !== 1)
        throw new Error('an operator of a schema in a query that was written anew')
      return
    }
    case 'A_Indirection':
      if (list(fields['indirection']).some((step) => open(step)[0] !== 'A_Indices'))
        throw new Error('a field of an expression in a query that was written anew')
  }
}

/** A list of column definitions stands only behind a function that needs one. */
function checkRecords(fields: Tree): void {
  const calls = list(fields['functions']).map((entry) => open(list(open(entry)[1]['items'])[0])[1])
  if (calls.some((call) => knownFunction(names(call['funcname']))?.kind !== 'record'))
    throw new Error('column definitions in a query that was written anew')
}

/** A listed function, by PostgreSQL's own name or by that of what replaces it. */
function isCallable(path: readonly string[]): boolean {
  if (path.join('.') === BOUNDED) return true
  const known = knownFunction(path[0] === 'api' ? path.slice(1) : path)
  if (!known || path.length > 2) return false
  return known.sql.startsWith('api.') === (path[0] === 'api')
}

const NODES: ReadonlySet<string> = new Set(
  `SelectStmt ResTarget ColumnRef A_Star String Integer Float Boolean List A_Const A_Expr BoolExpr NullTest BooleanTest SubLink CaseExpr
   CaseWhen CoalesceExpr MinMaxExpr FuncCall TypeCast A_ArrayExpr A_Indirection A_Indices RowExpr SQLValueFunction GroupingFunc
   JsonFuncExpr JsonIsPredicate JsonObjectConstructor JsonArrayConstructor JsonValueExpr JsonKeyValue JsonArgument
   GroupingSet CollateClause NamedArgExpr SortBy WindowDef RangeVar RangeSubselect RangeFunction ColumnDef JoinExpr CommonTableExpr`.split(
    /\s+/,
  ),
)
const FORBIDDEN: ReadonlySet<string> = new Set([
  'intoClause',
  'lockingClause',
  'useOp',
  'search_clause',
  'cycle_clause',
])
