import { fieldSet, list, open, type Tree, text, whole } from './ast.ts'
import type { Context } from './context.ts'
import { expression, expressions } from './expression.ts'
import { quoteName } from './names.ts'
import { operand, sqlOf } from './piece.ts'
import type { Scope } from './scope.ts'

const SORT_FIELDS = fieldSet('node sortby_dir sortby_nulls location')
const DIRECTIONS: Readonly<Record<string, string>> = {
  SORTBY_DEFAULT: '',
  SORTBY_ASC: ' ASC',
  SORTBY_DESC: ' DESC',
}
const NULLS: Readonly<Record<string, string>> = {
  SORTBY_NULLS_DEFAULT: '',
  SORTBY_NULLS_FIRST: ' NULLS FIRST',
  SORTBY_NULLS_LAST: ' NULLS LAST',
}

/** The terms of an ORDER BY. */
export function sortList(nodes: readonly unknown[], scope: Scope, ctx: Context): string {
  return nodes
    .map((node) => {
      const [type, fields] = open(node)
      const direction = DIRECTIONS[text(fields['sortby_dir'])]
      const nulls = NULLS[text(fields['sortby_nulls'])]
      if (type !== 'SortBy' || direction === undefined || nulls === undefined)
        throw ctx.fail(node, 'this order is not allowed', 'use ASC or DESC, and NULLS FIRST or LAST')
      ctx.only(node, fields, SORT_FIELDS, 'ORDER BY')
      return `${expression(fields['node'], scope, ctx).sql}${direction}${nulls}`
    })
    .join(', ')
}

const WINDOW_FIELDS = fieldSet(
  'name refname partitionClause orderClause frameOptions startOffset endOffset location',
)

/** What stands behind OVER: a window's name, or its definition. */
export function over(window: Tree, scope: Scope, ctx: Context, node: unknown): string {
  const named = text(window['name'])
  return named ? quoteName(named) : windowSpec(window, scope, ctx, node)
}

// parsenodes.h, "frameOptions is an OR of these bits".
const NON_DEFAULT = 0x1
const BETWEEN = 0x10
const FRAME_MODES = [
  [0x2, 'RANGE'],
  [0x4, 'ROWS'],
  [0x8, 'GROUPS'],
] as const
const FRAME_STARTS = [
  [0x20, 'UNBOUNDED PRECEDING'],
  [0x200, 'CURRENT ROW'],
  [0x800, 'PRECEDING'],
  [0x2000, 'FOLLOWING'],
] as const
const FRAME_ENDS = [
  [0x100, 'UNBOUNDED FOLLOWING'],
  [0x400, 'CURRENT ROW'],
  [0x1000, 'PRECEDING'],
  [0x4000, 'FOLLOWING'],
] as const
const FRAME_EXCLUDES = [
  [0x8000, ' EXCLUDE CURRENT ROW'],
  [0x10000, ' EXCLUDE GROUP'],
  [0x20000, ' EXCLUDE TIES'],
] as const

/** A window's definition with its parentheses. */
export function windowSpec(window: Tree, scope: Scope, ctx: Context, node: unknown): string {
  ctx.only(node, window, WINDOW_FIELDS, 'a window')
  const partition = list(window['partitionClause'])
  const order = list(window['orderClause'])
  const parts = [
    window['refname'] ? quoteName(text(window['refname'])) : '',
    partition.length > 0 ? `PARTITION BY ${sqlOf(expressions(partition, scope, ctx))}` : '',
    order.length > 0 ? `ORDER BY ${sortList(order, scope, ctx)}` : '',
    frame(window, scope, ctx, node),
  ]
  return `(${parts.filter(Boolean).join(' ')})`
}

function frame(window: Tree, scope: Scope, ctx: Context, node: unknown): string {
  const bits = whole(window['frameOptions'])
  if ((bits & NON_DEFAULT) === 0) return ''
  const pick = (choices: readonly (readonly [number, string])[]) =>
    choices.find(([bit]) => (bits & bit) !== 0)?.[1]
  const bound = (words: string | undefined, offset: unknown) => {
    if (words === undefined)
      throw ctx.fail(node, 'this window frame is not allowed', 'use ROWS BETWEEN ... AND ...')
    return offset === undefined ? words : `${operand(expression(offset, scope, ctx))} ${words}`
  }
  const start = bound(pick(FRAME_STARTS), window['startOffset'])
  const range =
    (bits & BETWEEN) === 0 ? start : `BETWEEN ${start} AND ${bound(pick(FRAME_ENDS), window['endOffset'])}`
  return `${pick(FRAME_MODES) ?? 'RANGE'} ${range}${pick(FRAME_EXCLUDES) ?? ''}`
}
