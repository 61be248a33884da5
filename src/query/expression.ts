import { integerOf, list, names, open, stringOf, type Tree, text, whole } from './ast.ts'
import { column, qualifiedColumn } from './column.ts'
import type { Context } from './context.ts'
import {
  BETWEENS,
  BOOLEAN_TESTS,
  CLOCKS,
  COLLATIONS,
  FIELDS,
  LIKES,
  NULL_TESTS,
  OPERATORS,
  WORDS,
} from './expression-syntax.ts'
import {
  BOUNDED,
  FUNCTION_NAMES,
  insteadOf,
  JSON_RESULTS,
  KEEPERS,
  knownFunction,
  refuseCall,
} from './functions.ts'
import { nearest, quoteName, quoteText } from './names.ts'
import { most, operand, type Piece, piece, sqlOf, sum } from './piece.ts'
import type { Scope } from './scope.ts'
import { writeQuery } from './select.ts'
import { isJsonTest, JSON_FIELDS, jsonConstructor, jsonFunction } from './sql-json.ts'
import { printType, TYPE_NAMES } from './types.ts'
import { callWeight } from './weight.ts'
import { over, sortList } from './window.ts'

/** What texts and arrays put together out of others may weigh: ten thousand characters for each unit is what most values stay below. */
const MAX_WEIGHT = 4_096
/** What the result of `string_agg` and the like weighs, which may have a million bytes. */
const KEPT_WEIGHT = 256
/** Characters of a constant that count as one value. */
const CONSTANT = 1_024
/** And what a short one counts: lists may hold thousands of them. */
const SHORT = 1 / 64
/** What the text of a row or an array makes of its parts: each quotation mark and backslash is escaped. */
const ESCAPED = 2

export const expressions = (nodes: unknown, scope: Scope, ctx: Context): Piece[] =>
  list(nodes).map((node) => expression(node, scope, ctx))

/** Writes one expression anew, out of what is on the lists alone. */
export function expression(node: unknown, scope: Scope, ctx: Context): Piece {
  return ctx.deeper(node, () => {
    const [type, fields] = open(node)
    const allowed = FIELDS[type] ?? JSON_FIELDS[type as keyof typeof JSON_FIELDS]
    const write = WRITERS[type]
    if (!allowed || !write) {
      const [what, hint] = WORDS[type] ?? [type, 'docs/query.md lists what a query may hold']
      throw ctx.fail(node, `${what} is not allowed`, hint)
    }
    ctx.only(node, fields, allowed, type)
    const written = write(fields, scope, ctx, node)
    if (written.weight > MAX_WEIGHT)
      throw ctx.fail(
        node,
        'this puts together too much text out of itself',
        'concatenate fewer values, or nest fewer concatenations',
        'QUERY_TOO_LONG',
      )
    return written
  })
}

type Writer = (fields: Tree, scope: Scope, ctx: Context, node: unknown) => Piece

const WRITERS: Readonly<Record<string, Writer>> = {
  A_Const: constant,
  ColumnRef: column,
  A_Expr: operation,
  BoolExpr: (fields, scope, ctx) => {
    const args = expressions(fields['args'], scope, ctx)
    if (fields['boolop'] === 'NOT_EXPR') return piece(`NOT ${args.map(operand).join('')}`, false)
    return piece(args.map(operand).join(fields['boolop'] === 'AND_EXPR' ? ' AND ' : ' OR '), false)
  },
  NullTest: (fields, scope, ctx, node) =>
    test(expression(fields['arg'], scope, ctx), NULL_TESTS[text(fields['nulltesttype'])], node, ctx),
  BooleanTest: (fields, scope, ctx, node) =>
    test(expression(fields['arg'], scope, ctx), BOOLEAN_TESTS[text(fields['booltesttype'])], node, ctx),
  SubLink: subquery,
  CaseExpr: (fields, scope, ctx) => {
    const arg = fields['arg'] === undefined ? null : expression(fields['arg'], scope, ctx)
    const otherwise = fields['defresult'] === undefined ? null : expression(fields['defresult'], scope, ctx)
    const results: Piece[] = otherwise ? [otherwise] : []
    const whens = list(fields['args']).map((when) => {
      const [type, branch] = open(when)
      if (type !== 'CaseWhen') throw ctx.fail(when, `${type} is not allowed`, 'use WHEN ... THEN ...')
      ctx.only(when, branch, FIELDS['CaseWhen'] as ReadonlySet<string>, 'CASE')
      const result = expression(branch['result'], scope, ctx)
      results.push(result)
      return `WHEN ${expression(branch['expr'], scope, ctx).sql} THEN ${result.sql}`
    })
    const sql = `CASE ${arg ? `${operand(arg)} ` : ''}${whens.join(' ')}${otherwise ? ` ELSE ${otherwise.sql}` : ''} END`
    return piece(
      sql,
      true,
      most(results),
      results.some(({ json }) => json),
    )
  },
  CoalesceExpr: (fields, scope, ctx) => {
    const args = expressions(fields['args'], scope, ctx)
    return piece(
      `COALESCE(${sqlOf(args)})`,
      true,
      most(args),
      args.some(({ json }) => json),
    )
  },
  MinMaxExpr: (fields, scope, ctx) => {
    const args = expressions(fields['args'], scope, ctx)
    return piece(`${fields['op'] === 'IS_LEAST' ? 'LEAST' : 'GREATEST'}(${sqlOf(args)})`, true, most(args))
  },
  FuncCall: call,
  TypeCast: cast,
  A_ArrayExpr: (fields, scope, ctx) => {
    const elements = expressions(fields['elements'], scope, ctx)
    return piece(
      `ARRAY[${sqlOf(elements)}]`,
      true,
      sum(elements) * ESCAPED,
      elements.some(({ json }) => json),
    )
  },
  A_Indirection: indirection,
  JsonFuncExpr: jsonFunction,
  JsonIsPredicate: isJsonTest,
  JsonObjectConstructor: jsonConstructor,
  JsonArrayConstructor: jsonConstructor,
  RowExpr: (fields, scope, ctx) => {
    const args = expressions(fields['args'], scope, ctx)
    return piece(
      `ROW(${sqlOf(args)})`,
      true,
      sum(args) * ESCAPED,
      args.some(({ json }) => json),
    )
  },
  SQLValueFunction: (fields, _scope, ctx, node) => {
    const clock = CLOCKS[text(fields['op'])]
    if (!clock) {
      const name = text(fields['op']).replace('SVFOP_', '').toLowerCase()
      throw ctx.fail(
        node,
        `${name} is not allowed`,
        'queries learn nothing about the server; of the clock, now() works',
      )
    }
    const precision = text(fields['op']).endsWith('_N') ? `(${whole(fields['typmod'])})` : ''
    return piece(`${clock}${precision}`, true)
  },
  GroupingFunc: (fields, scope, ctx) =>
    piece(`GROUPING(${sqlOf(expressions(fields['args'], scope, ctx))})`, true),
  CollateClause: (fields, scope, ctx, node) => {
    const path = names(fields['collname'])
    const name = path.at(-1) ?? ''
    if (!COLLATIONS.has(name) || (path.length > 1 && path[0] !== 'pg_catalog'))
      throw ctx.fail(
        node,
        `the collation ${path.join('.')} is not allowed`,
        'use COLLATE "C", which orders by bytes',
      )
    const arg = expression(fields['arg'], scope, ctx)
    return piece(`${operand(arg)} COLLATE "${name}"`, false, arg.weight)
  },
  NamedArgExpr: (fields, scope, ctx) => {
    const arg = expression(fields['arg'], scope, ctx)
    return piece(`${quoteName(text(fields['name']))} => ${arg.sql}`, false, arg.weight)
  },
}

function test(arg: Piece, words: string | undefined, node: unknown, ctx: Context): Piece {
  if (!words) throw ctx.fail(node, 'this test is not allowed', 'use IS [NOT] NULL, TRUE, FALSE or UNKNOWN')
  return piece(`${operand(arg)} ${words}`, false)
}

function constant(fields: Tree, _scope: Scope, ctx: Context, node: unknown): Piece {
  if (fields['isnull'] === true) return piece('NULL', true)
  if (fields['boolval'] !== undefined)
    return piece((fields['boolval'] as Tree)['boolval'] === true ? 'true' : 'false', true)
  if (fields['sval'] !== undefined) {
    const value = stringOf(node) ?? ''
    return piece(quoteText(value), true, Math.max(SHORT, value.length / CONSTANT))
  }
  if (fields['ival'] !== undefined) {
    const value = integerOf(node) ?? 0
    return piece(String(value), value >= 0, SHORT)
  }
  if (fields['bsval'] !== undefined)
    throw ctx.fail(node, 'a bit string is not allowed', 'write a number: 0xff, 0b101')
  const number = text((fields['fval'] as Tree | undefined)?.['fval'])
  if (!/^-?(?:[0-9][0-9a-fA-FxXoO_.+-]*|\.[0-9][0-9eE_+-]*)$/.test(number))
    throw ctx.fail(node, 'this constant is not allowed', 'write a number, a text, true, false or null')
  return piece(number, !number.startsWith('-'))
}

function operator(fields: Tree, ctx: Context, node: unknown): string {
  const path = names(fields['name'])
  const name = path.at(-1) ?? ''
  if (path.length > 2 || (path.length === 2 && path[0] !== 'pg_catalog') || !OPERATORS.has(name))
    throw ctx.fail(
      node,
      `the operator ${path.join('.')} is not allowed`,
      `use one of ${[...OPERATORS].join(' ')}`,
    )
  return name
}

function operation(fields: Tree, scope: Scope, ctx: Context, node: unknown): Piece {
  const kind = text(fields['kind'])
  const left = fields['lexpr'] === undefined ? null : expression(fields['lexpr'], scope, ctx)
  const l = left ? operand(left) : ''
  if (kind === 'AEXPR_IN' || BETWEENS[kind]) {
    const [type, items] = open(fields['rexpr'])
    if (type !== 'List') throw ctx.fail(node, 'this comparison is not allowed', 'give a list of values')
    const values = expressions(items['items'], scope, ctx)
    const [from, to] = values
    if (kind === 'AEXPR_IN')
      return piece(`${l} ${operator(fields, ctx, node) === '<>' ? 'NOT IN' : 'IN'} (${sqlOf(values)})`, false)
    return piece(`${l} ${BETWEENS[kind]} ${operand(from as Piece)} AND ${operand(to as Piece)}`, false)
  }
  const right = expression(fields['rexpr'], scope, ctx)
  const r = operand(right)
  switch (kind) {
    case 'AEXPR_OP':
    case 'AEXPR_SIMILAR': {
      const name = operator(fields, ctx, node)
      const both = left ? [left, right] : [right]
      const json = name === '->' || name === '#>'
      return piece(
        left ? `${l} ${name} ${r}` : `${name} ${r}`,
        false,
        name === '||' ? sum(both) : most(both),
        json,
      )
    }
    case 'AEXPR_OP_ANY':
      return piece(`${l} ${operator(fields, ctx, node)} ANY (${right.sql})`, false)
    case 'AEXPR_OP_ALL':
      return piece(`${l} ${operator(fields, ctx, node)} ALL (${right.sql})`, false)
    case 'AEXPR_DISTINCT':
      return piece(`${l} IS DISTINCT FROM ${r}`, false)
    case 'AEXPR_NOT_DISTINCT':
      return piece(`${l} IS NOT DISTINCT FROM ${r}`, false)
    case 'AEXPR_NULLIF':
      return piece(`NULLIF(${left?.sql}, ${right.sql})`, true, left?.weight)
    case 'AEXPR_LIKE':
    case 'AEXPR_ILIKE': {
      const like = LIKES[operator(fields, ctx, node)]
      if (like) return piece(`${l} ${like} ${r}`, false)
    }
  }
  throw ctx.fail(node, 'this operator is not allowed', 'docs/query.md lists the operators')
}

function subquery(fields: Tree, scope: Scope, ctx: Context, node: unknown): Piece {
  const inner = writeQuery(fields['subselect'], scope, ctx, false)
  const weight = inner.columns[0]?.weight ?? 1
  const json = inner.columns[0]?.json ?? false
  const test = fields['testexpr'] === undefined ? null : expression(fields['testexpr'], scope, ctx)
  const path = names(fields['operName'])
  switch (fields['subLinkType']) {
    case 'EXISTS_SUBLINK':
      return piece(`EXISTS (${inner.sql})`, true)
    case 'EXPR_SUBLINK':
      return piece(`(${inner.sql})`, true, weight, json)
    case 'ARRAY_SUBLINK':
      return kept(`ARRAY(${inner.sql})`, weight, json)
    case 'ANY_SUBLINK':
    case 'ALL_SUBLINK': {
      if (!test) break
      const all = fields['subLinkType'] === 'ALL_SUBLINK'
      if (!all && path.length === 0) return piece(`${operand(test)} IN (${inner.sql})`, false)
      const name = operator({ name: fields['operName'] }, ctx, node)
      return piece(`${operand(test)} ${name} ${all ? 'ALL' : 'ANY'} (${inner.sql})`, false)
    }
  }
  throw ctx.fail(node, 'this kind of subquery is not allowed', 'use EXISTS, IN, ANY, ALL or a single value')
}

/** A type that values may be cast to. Throws where it is not on the list. */
export function requireType(typeName: Tree, ctx: Context, node: unknown) {
  const type = printType(typeName)
  if ('refused' in type)
    throw ctx.fail(
      node,
      `a cast to ${type.refused} is not allowed`,
      `cast to one of ${TYPE_NAMES.join(', ')}, or arrays of them`,
    )
  return type
}

function cast(fields: Tree, scope: Scope, ctx: Context, node: unknown): Piece {
  const type = requireType(fields['typeName'] as Tree, ctx, node)
  const arg = expression(fields['arg'], scope, ctx)
  const json = type.name === 'json'
  // A unit such as `interval day` would swallow what follows a cast with two colons.
  if (/^interval [a-z]/.test(type.sql))
    return piece(`CAST(${arg.sql} AS ${type.sql})`, true, arg.weight, json)
  return { ...piece(`${operand(arg)}::${type.sql}`, true, arg.weight, json), stored: arg.stored }
}

function indirection(fields: Tree, scope: Scope, ctx: Context, node: unknown): Piece {
  const steps = list(fields['indirection'])
  const [argType, arg] = open(fields['arg'])
  const [first, ...rest] = steps
  const [firstType] = open(first)
  if (firstType === 'String' || firstType === 'A_Star') {
    // `(relation).column`: the same as without parentheses. Of anything else a field may be a call in disguise.
    const path = argType === 'ColumnRef' ? names(arg['fields']) : []
    const [relation] = path
    if (
      path.length !== 1 ||
      relation === undefined ||
      firstType === 'A_Star' ||
      scope.named(relation).length === 0
    )
      throw ctx.fail(
        node,
        'a field of an expression is not allowed',
        'select the columns in a subquery in FROM and refer to them there; functions are called as f(x)',
      )
    const field = qualifiedColumn(relation, names([first])[0] ?? '', scope, ctx, node)
    return rest.length === 0 ? field : subscripts(field, rest, scope, ctx, node)
  }
  return subscripts(expression(fields['arg'], scope, ctx), steps, scope, ctx, node)
}

function subscripts(arg: Piece, steps: readonly unknown[], scope: Scope, ctx: Context, node: unknown): Piece {
  const index = steps.map((step) => {
    const [type, fields] = open(step)
    if (type !== 'A_Indices')
      throw ctx.fail(node, 'a field of an element is not allowed', 'use -> and ->> for JSON')
    ctx.only(node, fields, FIELDS['A_Indices'] as ReadonlySet<string>, 'a subscript')
    const part = (key: string) => (fields[key] === undefined ? '' : expression(fields[key], scope, ctx).sql)
    return fields['is_slice'] === true ? `[${part('lidx')}:${part('uidx')}]` : `[${part('uidx')}]`
  })
  return piece(`(${arg.sql})${index.join('')}`, true, arg.weight, arg.json)
}

/** The function that a call names. Throws where it is not on the list. */
export function functionOf(fields: Tree, ctx: Context, node: unknown) {
  const path = names(fields['funcname'])
  const known = knownFunction(path)
  if (known) return known
  const name = path.at(-1) ?? ''
  const like = nearest(name, FUNCTION_NAMES)
  throw ctx.fail(
    node,
    `the function ${path.join('.')} is not allowed`,
    insteadOf(name) ?? (like ? `did you mean ${like}?` : 'docs/query.md lists the functions'),
  )
}

function call(fields: Tree, scope: Scope, ctx: Context, node: unknown): Piece {
  const known = functionOf(fields, ctx, node)
  if (known.kind === 'record')
    throw ctx.fail(
      node,
      `${known.name} without columns is not allowed`,
      `in FROM, say which: ${known.name}(...) AS t(name text, value float8)`,
    )
  const refused = refuseCall(known.name, list(fields['args']))
  if (refused) throw ctx.fail(node, `${refused.why} is not allowed`, refused.hint)
  const args = expressions(fields['args'], scope, ctx)
  const shown = args.map(({ sql }, i) =>
    fields['func_variadic'] === true && i === args.length - 1 ? `VARIADIC ${sql}` : sql,
  )
  const order = list(fields['agg_order'])
  const within = fields['agg_within_group'] === true
  const inside = [
    fields['agg_distinct'] === true ? 'DISTINCT ' : '',
    fields['agg_star'] === true ? '*' : shown.join(', '),
    order.length > 0 && !within ? ` ORDER BY ${sortList(order, scope, ctx)}` : '',
  ].join('')
  const sql = [
    `${known.sql}(${inside})`,
    within ? ` WITHIN GROUP (ORDER BY ${sortList(order, scope, ctx)})` : '',
    fields['agg_filter'] === undefined
      ? ''
      : ` FILTER (WHERE ${expression(fields['agg_filter'], scope, ctx).sql})`,
    fields['over'] === undefined ? '' : ` OVER ${over(fields['over'] as Tree, scope, ctx, node)}`,
  ].join('')
  const json = JSON_RESULTS.has(known.name) || (known.kind !== 'plain' && args.some((arg) => arg.json))
  if (known.name === 'array_agg' && open(list(fields['args'])[0])[0] === 'RowExpr')
    throw ctx.fail(node, 'array_agg of rows is not allowed', 'use json_agg(json_build_array(...))')
  if (KEEPERS.has(known.name)) return kept(sql, most(args), json)
  const weight = callWeight(known.name, list(fields['args']), args)
  if (typeof weight !== 'number') throw ctx.fail(node, `${weight.why} is not allowed`, weight.hint)
  return piece(sql, true, weight, json)
}

/** What holds many rows: it grows with them, so its size is looked at when it is there. */
const kept = (sql: string, weight: number, json: boolean): Piece =>
  piece(`${BOUNDED}(${sql})`, true, Math.max(weight, KEPT_WEIGHT), json)
