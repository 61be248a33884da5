import { fieldSet, list, names, open, type Tree, text } from './ast.ts'
import type { Context } from './context.ts'
import { expression, expressions, functionOf, requireType } from './expression.ts'
import { nearest, quoteName, quoteText } from './names.ts'
import { most, sqlOf } from './piece.ts'
import type { Carrier, Column, HiddenLeaf, Scope } from './scope.ts'
import { writeQuery } from './select.ts'

/** A FROM clause, or a part of one, as SQL, and what is known of its rows. */
export interface From {
  sql: string
  carriers: Carrier[]
  /** Whether `*` gives each column of each relation, so that they can be counted. */
  plain: boolean
  /** Whether some rows here are sums of others, or cannot be told where they come from. */
  derived: boolean
}

const RANGE_VAR = fieldSet('catalogname schemaname relname inh relpersistence alias location')
const SUBSELECT = fieldSet('lateral subquery alias')
const FUNCTION = fieldSet('lateral ordinality is_rowsfrom functions alias coldeflist')
const DEFINITION = fieldSet('colname typeName is_local location')
const JOIN = fieldSet('jointype isNatural larg rarg usingClause join_using_alias quals alias rtindex')

const plainColumn = (name: string): Column => ({ name, weight: 1, json: false, stored: false })
const storedColumn = (name: string): Column => ({ ...plainColumn(name), stored: true })

/** Writes one item of FROM anew and adds what it brings to `scope`. */
export function fromItem(node: unknown, scope: Scope, ctx: Context, want: boolean): From {
  return ctx.deeper(node, () => {
    const [type, fields] = open(node)
    switch (type) {
      case 'RangeVar':
        ctx.only(node, fields, RANGE_VAR, 'FROM')
        ctx.relation(node)
        return relation(fields, scope, ctx, want, node)
      case 'RangeSubselect':
        ctx.only(node, fields, SUBSELECT, 'a subquery')
        ctx.relation(node)
        return subselect(fields, scope, ctx, want, node)
      case 'RangeFunction':
        ctx.only(node, fields, FUNCTION, 'FROM')
        ctx.relation(node)
        return functions(fields, scope, ctx, node)
      case 'JoinExpr':
        ctx.only(node, fields, JOIN, 'a join')
        return join(fields, scope, ctx, want, node)
    }
    const what =
      { RangeTableSample: 'TABLESAMPLE', RangeTableFunc: 'XMLTABLE', JsonTable: 'JSON_TABLE' }[type] ?? type
    throw ctx.fail(
      type === 'RangeTableSample' ? fields['relation'] : node,
      `${what} is not allowed`,
      FROM_HINTS[type] ?? 'name datasets, subqueries or functions in FROM',
    )
  })
}

const FROM_HINTS: Readonly<Record<string, string>> = {
  RangeTableSample: 'use ORDER BY random() LIMIT n',
  JsonTable: 'use jsonb_to_recordset(x) AS t(name text, value float8), or jsonb_path_query and ->>',
}

/** An alias with its columns' names; `fallback` where there is none. */
function aliasOf(fields: Tree, fallback: string, ctx: Context, node: unknown) {
  const alias = (fields['alias'] ?? {}) as Tree
  const given = text(alias['aliasname'])
  const name = given ? ctx.name(node, given) : fallback
  const columns = names(alias['colnames']).map((column) => ctx.name(node, column))
  const list = columns.length > 0 ? `(${columns.map(quoteName).join(', ')})` : ''
  return { name, given: given !== '', columns, sql: `${quoteName(name)}${list}` }
}

/** Columns under the names that an alias gives the first of them. */
const renamed = (columns: readonly Column[], given: readonly string[]): Column[] =>
  columns.map((column, i) => ({ ...column, name: given[i] ?? column.name }))

/** Whether hidden columns may be added to a relation of this name: nothing takes its rows as a whole. */
const mayCarry = (name: string, ctx: Context): boolean =>
  !ctx.census.bare.has(name) && !ctx.census.starred.has(name)

const carriersOf = (carried: readonly HiddenLeaf[], relation: string): Carrier[] =>
  carried.map(({ dataset, column }) => ({
    dataset,
    leaf: `${quoteName(relation)}.${quoteName(column)}`,
    hidden: column,
    relation,
    time: null,
  }))

function relation(fields: Tree, scope: Scope, ctx: Context, want: boolean, node: unknown): From {
  const name = text(fields['relname'])
  const schema = fields['schemaname'] === undefined ? null : text(fields['schemaname'])
  const cte = schema === null ? scope.cte(name) : null
  const columns = ctx.catalog.get(name)
  if (fields['catalogname'] !== undefined || (schema !== null && schema !== 'api') || (!cte && !columns)) {
    const shown = [fields['catalogname'], schema, name].filter((part) => typeof part === 'string').join('.')
    const like = nearest(name, ctx.catalog.keys())
    const known = [...ctx.catalog.keys()].slice(0, 20).join(', ')
    throw ctx.fail(
      node,
      `there is no dataset ${shown}`,
      like ? `did you mean ${like}?` : known ? `there are ${known}` : 'no dataset is registered yet',
      'QUERY_UNKNOWN_NAME',
    )
  }
  const alias = aliasOf(fields, name, ctx, node)
  if (cte) {
    const alone = ctx.census.relations.get(name) === 1 && alias.columns.length === 0
    const written = cte.write(want && alone && mayCarry(alias.name, ctx) && mayCarry(name, ctx))
    scope.sources.push({
      name: alias.name,
      columns: renamed(written.columns, alias.columns),
      hidden: written.hidden,
    })
    return {
      sql: alias.given ? `${quoteName(name)} AS ${alias.sql}` : quoteName(name),
      carriers: carriersOf(written.carried, alias.name),
      plain: true,
      derived: written.carried.length === 0,
    }
  }
  ctx.datasets.add(name)
  ctx.mentions++
  const shown = renamed((columns as readonly string[]).map(storedColumn), alias.columns)
  scope.sources.push({ name: alias.name, columns: shown, hidden: 0 })
  const { verdict, below } = ctx.rows
  const filters = [
    ...(verdict === 'any' ? [] : [`verdict = ${quoteText(verdict)}`]),
    ...(below === null ? [] : [`leaf_index < ${below}`]),
  ]
  const view = `api.${quoteName(name)}`
  const from = filters.length === 0 ? view : `(SELECT * FROM ${view} WHERE ${filters.join(' AND ')})`
  const field = (column: string) => {
    const at = (columns as readonly string[]).indexOf(column)
    return `${quoteName(alias.name)}.${quoteName(shown[at]?.name ?? column)}`
  }
  return {
    sql: `${from} AS ${alias.sql}`,
    carriers: [
      {
        dataset: name,
        leaf: field('leaf_index'),
        hidden: null,
        relation: alias.name,
        time: field('timestamp'),
      },
    ],
    plain: true,
    derived: false,
  }
}

function subselect(fields: Tree, scope: Scope, ctx: Context, want: boolean, node: unknown): From {
  const alias = aliasOf(fields, ctx.hiddenName(), ctx, node)
  const carry = want && alias.columns.length === 0 && mayCarry(alias.name, ctx)
  const written = writeQuery(fields['subquery'], scope, ctx, carry)
  scope.sources.push({
    name: alias.name,
    columns: renamed(written.columns, alias.columns),
    hidden: written.hidden,
  })
  return {
    sql: `${fields['lateral'] === true ? 'LATERAL ' : ''}(${written.sql}) AS ${alias.sql}`,
    carriers: carriersOf(written.carried, alias.name),
    plain: true,
    derived: written.carried.length === 0 && written.reads,
  }
}

function functions(fields: Tree, scope: Scope, ctx: Context, node: unknown): From {
  if (fields['coldeflist'] !== undefined) return records(fields, scope, ctx, node)
  const calls = list(fields['functions']).map((entry) => {
    const [type, items] = open(entry)
    const [call, definitions] = type === 'List' ? list(items['items']) : []
    const [callType, callFields] = open(call)
    if (callType !== 'FuncCall')
      throw ctx.fail(node, 'this is not allowed in FROM', 'name a dataset, a subquery or a function')
    if (definitions !== undefined && Object.keys(definitions as Tree).length > 0)
      throw ctx.fail(call, 'a list of column definitions is not allowed', 'use -> and ->> with casts')
    const known = functionOf(callFields, ctx, call)
    if (known.kind === 'aggregate' || known.kind === 'window')
      throw ctx.fail(call, `${known.name} is not allowed in FROM`, 'call it in the SELECT list')
    const args = list(callFields['args']).length
    const columns =
      known.columns ?? (known.name === 'unnest' ? Array<string>(Math.max(1, args)).fill('unnest') : null)
    return { piece: expression(call, scope, ctx), known, columns }
  })
  const [only] = calls
  const alias = aliasOf(fields, only?.known.name ?? 'f', ctx, node)
  const single = calls.length === 1 && (only?.columns === null || only?.columns.length === 1)
  const columns: Column[] = calls.flatMap(({ piece, known, columns: own }) =>
    (own ?? [single && alias.given ? alias.name : known.name]).map((name) => ({
      name: single && known.columns === null ? (alias.given ? alias.name : name) : name,
      weight: piece.weight,
      json: piece.json,
      stored: false,
    })),
  )
  if (fields['ordinality'] === true) columns.push(plainColumn('ordinality'))
  scope.sources.push({ name: alias.name, columns: renamed(columns, alias.columns), hidden: 0 })
  const inner = calls.map(({ piece }) => piece.sql).join(', ')
  const sql = [
    fields['lateral'] === true ? 'LATERAL ' : '',
    fields['is_rowsfrom'] === true ? `ROWS FROM (${inner})` : inner,
    fields['ordinality'] === true ? ' WITH ORDINALITY' : '',
    ` AS ${alias.sql}`,
  ].join('')
  return { sql, carriers: [], plain: true, derived: false }
}

/** A function whose columns the query says: `jsonb_to_recordset(x) AS t(a integer, b text)`. */
function records(fields: Tree, scope: Scope, ctx: Context, node: unknown): From {
  const [entry] = list(fields['functions'])
  const [callType, call] = open(list(open(entry)[1]['items'])[0])
  const known = callType === 'FuncCall' ? functionOf(call, ctx, node) : null
  if (known?.kind !== 'record' || fields['is_rowsfrom'] === true || fields['ordinality'] === true)
    throw ctx.fail(
      node,
      'a list of column definitions is not allowed here',
      'only json(b)_to_record and json(b)_to_recordset take one; give names alone: AS t(a, b)',
    )
  const args = expressions(call['args'], scope, ctx)
  const alias = aliasOf(fields, known.name, ctx, node)
  const columns: Column[] = []
  const definitions = list(fields['coldeflist']).map((definition) => {
    const [, column] = open(definition)
    ctx.only(node, column, DEFINITION, 'a column definition')
    const name = ctx.name(node, text(column['colname']))
    const type = requireType(column['typeName'] as Tree, ctx, node)
    columns.push({ name, weight: most(args), json: type.name === 'json', stored: false })
    return `${quoteName(name)} ${type.sql}`
  })
  scope.sources.push({ name: alias.name, columns, hidden: 0 })
  const lateral = fields['lateral'] === true ? 'LATERAL ' : ''
  return {
    sql: `${lateral}${known.sql}(${sqlOf(args)}) AS ${quoteName(alias.name)}(${definitions.join(', ')})`,
    carriers: [],
    plain: true,
    derived: false,
  }
}

const JOINS: Readonly<Record<string, string>> = {
  JOIN_INNER: 'JOIN',
  JOIN_LEFT: 'LEFT JOIN',
  JOIN_RIGHT: 'RIGHT JOIN',
  JOIN_FULL: 'FULL JOIN',
}

function join(fields: Tree, scope: Scope, ctx: Context, want: boolean, node: unknown): From {
  const words = JOINS[text(fields['jointype'])]
  if (!words)
    throw ctx.fail(
      node,
      'this join is not allowed',
      'use JOIN, LEFT JOIN, RIGHT JOIN, FULL JOIN or CROSS JOIN',
    )
  const before = scope.sources.length
  const left = fromItem(fields['larg'], scope, ctx, want && fields['alias'] === undefined)
  const right = fromItem(fields['rarg'], scope, ctx, want && fields['alias'] === undefined)
  const r = open(fields['rarg'])[0] === 'JoinExpr' ? `(${right.sql})` : right.sql
  const using = names(fields['usingClause'])
  const natural = fields['isNatural'] === true
  const usingAlias = text((fields['join_using_alias'] as Tree | undefined)?.['aliasname'])
  if (usingAlias) ctx.name(node, usingAlias)
  let sql: string
  if (natural) sql = `${left.sql} NATURAL ${words} ${r}`
  else if (using.length > 0)
    sql = `${left.sql} ${words} ${r} USING (${using.map(quoteName).join(', ')})${usingAlias ? ` AS ${quoteName(usingAlias)}` : ''}`
  else if (fields['quals'] !== undefined)
    sql = `${left.sql} ${words} ${r} ON ${expression(fields['quals'], scope, ctx).sql}`
  else sql = `${left.sql} CROSS JOIN ${r}`
  if (usingAlias) scope.sources.push({ name: usingAlias, columns: using.map(plainColumn), hidden: 0 })
  const plain = left.plain && right.plain && using.length === 0 && !natural
  const derived = left.derived || right.derived
  if (fields['alias'] === undefined)
    return { sql, carriers: [...left.carriers, ...right.carriers], plain, derived }
  // Behind an alias of the whole join its parts have no names any more.
  const alias = aliasOf(fields, '', ctx, node)
  const inner = scope.sources.splice(before).flatMap(({ columns }) => columns)
  scope.sources.push({ name: alias.name, columns: renamed(inner, alias.columns), hidden: 0 })
  return { sql: `(${sql}) AS ${alias.sql}`, carriers: [], plain, derived: true }
}
