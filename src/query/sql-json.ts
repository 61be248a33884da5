import { fieldSet, list, open, type Tree, text } from './ast.ts'
import type { Context } from './context.ts'
import { expression, requireType } from './expression.ts'
import { quoteName } from './names.ts'
import { operand, type Piece, piece, sum } from './piece.ts'
import type { Scope } from './scope.ts'

/** The functions of SQL/JSON, which have a grammar of their own. */

export const JSON_FIELDS = {
  JsonFuncExpr: fieldSet(
    'op context_item pathspec passing output on_empty on_error wrapper quotes column_name location',
  ),
  JsonIsPredicate: fieldSet('expr format item_type unique_keys location'),
  JsonObjectConstructor: fieldSet('exprs output absent_on_null unique location'),
  JsonArrayConstructor: fieldSet('exprs output absent_on_null location'),
} as const
const VALUE = fieldSet('raw_expr formatted_expr format')
const ARGUMENT = fieldSet('val name')
const KEY = fieldSet('key value')
const OUTPUT = fieldSet('typeName returning')
const BEHAVIOR = fieldSet('btype expr location')

const FUNCTIONS: Readonly<Record<string, string>> = {
  JSON_EXISTS_OP: 'JSON_EXISTS',
  JSON_VALUE_OP: 'JSON_VALUE',
  JSON_QUERY_OP: 'JSON_QUERY',
}
const WRAPPERS: Readonly<Record<string, string>> = {
  JSW_UNSPEC: '',
  JSW_NONE: ' WITHOUT WRAPPER',
  JSW_CONDITIONAL: ' WITH CONDITIONAL WRAPPER',
  JSW_UNCONDITIONAL: ' WITH UNCONDITIONAL WRAPPER',
}
const QUOTES: Readonly<Record<string, string>> = {
  JS_QUOTES_UNSPEC: '',
  JS_QUOTES_KEEP: ' KEEP QUOTES',
  JS_QUOTES_OMIT: ' OMIT QUOTES',
}
const BEHAVIORS: Readonly<Record<string, string>> = {
  JSON_BEHAVIOR_NULL: 'NULL',
  JSON_BEHAVIOR_ERROR: 'ERROR',
  JSON_BEHAVIOR_EMPTY: 'EMPTY',
  JSON_BEHAVIOR_EMPTY_ARRAY: 'EMPTY ARRAY',
  JSON_BEHAVIOR_EMPTY_OBJECT: 'EMPTY OBJECT',
  JSON_BEHAVIOR_TRUE: 'TRUE',
  JSON_BEHAVIOR_FALSE: 'FALSE',
  JSON_BEHAVIOR_UNKNOWN: 'UNKNOWN',
}
const KINDS: Readonly<Record<string, string>> = {
  JS_TYPE_ANY: '',
  JS_TYPE_OBJECT: ' OBJECT',
  JS_TYPE_ARRAY: ' ARRAY',
  JS_TYPE_SCALAR: ' SCALAR',
}
/** What quotation marks in a text become. */
const ESCAPED = 2

/** JSON_VALUE, JSON_QUERY, JSON_EXISTS. */
export function jsonFunction(fields: Tree, scope: Scope, ctx: Context, node: unknown): Piece {
  const name = FUNCTIONS[text(fields['op'])]
  const wrapper = WRAPPERS[text(fields['wrapper'])]
  const quotes = QUOTES[text(fields['quotes'])]
  if (name === undefined || wrapper === undefined || quotes === undefined)
    throw ctx.fail(node, 'this SQL/JSON function is not allowed', 'use JSON_VALUE, JSON_QUERY or JSON_EXISTS')
  const item = jsonValue(fields['context_item'], scope, ctx, node)
  const path = expression(fields['pathspec'], scope, ctx)
  const passing = list(fields['passing']).map((entry) => {
    const argument = open(entry)[1]
    ctx.only(node, argument, ARGUMENT, 'PASSING')
    return `${jsonValue(argument['val'], scope, ctx, node).sql} AS ${quoteName(text(argument['name']))}`
  })
  const sql = [
    `${name}(${item.sql}, ${path.sql}`,
    passing.length > 0 ? ` PASSING ${passing.join(', ')}` : '',
    returning(fields, ctx, node),
    wrapper,
    quotes,
    behavior(fields['on_empty'], 'EMPTY', scope, ctx, node),
    behavior(fields['on_error'], 'ERROR', scope, ctx, node),
    ')',
  ].join('')
  return piece(sql, true, item.weight)
}

/** IS JSON and its kinds. */
export function isJsonTest(fields: Tree, scope: Scope, ctx: Context, node: unknown): Piece {
  requirePlainFormat(fields['format'], ctx, node)
  const kind = KINDS[text(fields['item_type'])]
  if (kind === undefined)
    throw ctx.fail(node, 'this kind of IS JSON is not allowed', 'use OBJECT, ARRAY or SCALAR')
  const unique = fields['unique_keys'] === true ? ' WITH UNIQUE KEYS' : ''
  return piece(`${operand(expression(fields['expr'], scope, ctx))} IS JSON${kind}${unique}`, false)
}

/** JSON_OBJECT(key: value) and JSON_ARRAY(value, ...). */
export function jsonConstructor(fields: Tree, scope: Scope, ctx: Context, node: unknown): Piece {
  const isObject = open(node)[0] === 'JsonObjectConstructor'
  const parts: Piece[] = []
  const shown = list(fields['exprs']).map((entry) => {
    const [, inner] = open(entry)
    if (!isObject) {
      const value = jsonValue(inner, scope, ctx, node)
      parts.push(value)
      return value.sql
    }
    ctx.only(node, inner, KEY, 'JSON_OBJECT')
    const key = expression(inner['key'], scope, ctx)
    const value = jsonValue(inner['value'], scope, ctx, node)
    parts.push(key, value)
    return `${operand(key)} VALUE ${value.sql}`
  })
  const nulls = fields['absent_on_null'] === true ? ' ABSENT ON NULL' : ' NULL ON NULL'
  const unique = fields['unique'] === true ? ' WITH UNIQUE KEYS' : ''
  const options = `${shown.length > 0 ? `${nulls}${unique}` : ''}${returning(fields, ctx, node)}`
  const name = isObject ? 'JSON_OBJECT' : 'JSON_ARRAY'
  return piece(`${name}(${shown.join(', ')}${options})`, true, sum(parts) * ESCAPED, true)
}

function jsonValue(value: unknown, scope: Scope, ctx: Context, node: unknown): Piece {
  const fields = (value ?? {}) as Tree
  ctx.only(node, fields, VALUE, 'a JSON value')
  requirePlainFormat(fields['format'], ctx, node)
  return expression(fields['raw_expr'], scope, ctx)
}

function requirePlainFormat(format: unknown, ctx: Context, node: unknown): void {
  const type = (format as Tree | undefined)?.['format_type']
  if (type !== undefined && type !== 'JS_FORMAT_DEFAULT')
    throw ctx.fail(node, 'FORMAT JSON is not allowed', 'cast to json or jsonb instead')
}

function returning(fields: Tree, ctx: Context, node: unknown): string {
  const output = fields['output'] as Tree | undefined
  if (output === undefined) return ''
  ctx.only(node, output, OUTPUT, 'RETURNING')
  requirePlainFormat((output['returning'] as Tree | undefined)?.['format'], ctx, node)
  return ` RETURNING ${requireType(output['typeName'] as Tree, ctx, node).sql}`
}

function behavior(on: unknown, what: string, scope: Scope, ctx: Context, node: unknown): string {
  if (on === undefined) return ''
  const fields = on as Tree
  ctx.only(node, fields, BEHAVIOR, `ON ${what}`)
  if (fields['btype'] === 'JSON_BEHAVIOR_DEFAULT')
    return ` DEFAULT ${operand(expression(fields['expr'], scope, ctx))} ON ${what}`
  const words = BEHAVIORS[text(fields['btype'])]
  if (words === undefined)
    throw ctx.fail(node, `this ON ${what} is not allowed`, 'use NULL, ERROR or DEFAULT')
  return ` ${words} ON ${what}`
}
