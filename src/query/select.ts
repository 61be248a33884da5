import { fieldSet, list, names, open, type Tree, text } from './ast.ts'
import { type Context, hasAggregate } from './context.ts'
import { expression, expressions } from './expression.ts'
import { figureName } from './figure-name.ts'
import { type From, fromItem } from './from.ts'
import { BOUNDED } from './functions.ts'
import { quoteName } from './names.ts'
import { operand, type Piece } from './piece.ts'
import { type Carrier, type Column, type HiddenLeaf, Scope } from './scope.ts'
import { sortList, windowSpec } from './window.ts'
import { openWith } from './with.ts'

/** A whole query as SQL, and what is known of its result. */
export interface Written {
  sql: string
  /** Its columns, without hidden ones. */
  columns: readonly Column[]
  /** Hidden columns that say where each row comes from. */
  carried: readonly HiddenLeaf[]
  /** How many hidden columns `*` over it gives. */
  hidden: number
  /** Whether it reads a dataset. */
  reads: boolean
}

/** What is known of the outermost SELECT besides. */
export interface Outermost {
  /** Whether each row of the result is one row of its FROM. */
  keepsRows: boolean
  /** Whether `carriers` may be summed up beside the result's own aggregates. */
  sumsUp: boolean
  carriers: readonly Carrier[]
  /** Whether some columns are computed over other rows than the row's own. */
  derived: boolean
  /** Physical columns, hidden ones among them; null where they cannot be counted. */
  physical: readonly { json: boolean }[] | null
  sorted: boolean
  /** Whether FROM is one dataset. */
  single: boolean
  limited: boolean
  withTies: boolean
  /** The clauses in their order: WITH; SELECT and its list; what follows up to ORDER BY; its terms; LIMIT and what follows. */
  parts: { with: string; select: string; columns: string; rest: string; order: string; limit: string }
}

const SELECT = fieldSet(
  `distinctClause targetList fromClause whereClause groupClause groupDistinct havingClause windowClause valuesLists sortClause
   limitOffset limitCount limitOption withClause op all larg rarg`.replace(/\s+/g, ' '),
)
const TARGET = fieldSet('name val location')
const STATEMENTS: Readonly<Record<string, string>> = {
  InsertStmt: 'INSERT',
  UpdateStmt: 'UPDATE',
  DeleteStmt: 'DELETE',
  MergeStmt: 'MERGE',
}

/** Writes a SELECT, VALUES or set operation anew. `want` asks for hidden columns that say where rows come from. */
export function writeQuery(node: unknown, parent: Scope | null, ctx: Context, want: boolean): Written {
  const [type, fields] = open(node)
  if (type !== 'SelectStmt')
    throw ctx.fail(node, `${STATEMENTS[type] ?? type} is not allowed`, 'a query only reads: use SELECT')
  return ctx.deeper(node, () => writeSelect(fields, parent, ctx, want).written)
}

/** Writes the outermost query, and tells of it what paging and provenance need. */
export function writeOutermost(
  fields: Tree,
  ctx: Context,
  want: boolean,
): Outermost & { columns: readonly Column[] } {
  const { written, outermost } = ctx.deeper(fields, () => writeSelect(fields, null, ctx, want, true))
  return { ...outermost, columns: written.columns }
}

function writeSelect(
  fields: Tree,
  parent: Scope | null,
  ctx: Context,
  want: boolean,
  top = false,
): { written: Written; outermost: Outermost } {
  ctx.only({ SelectStmt: fields }, fields, SELECT, 'a query')
  const scope = new Scope(parent)
  const before = ctx.mentions
  const withClause = openWith(fields, scope, ctx)
  const setOperation = text(fields['op']) !== 'SETOP_NONE' && fields['op'] !== undefined
  const body = setOperation
    ? combined(fields, scope, ctx)
    : fields['valuesLists'] !== undefined
      ? values(fields, scope, ctx)
      : plain(fields, scope, ctx, want, top)
  const sort = list(fields['sortClause'])
  const order = sort.length === 0 ? '' : sortList(sort, scope, ctx)
  const limit = limits(fields, scope, ctx)
  const parts = { with: withClause(), ...body.parts, order, limit }
  const hidden = body.keepsRows && want && !top ? hiddenColumns(body, ctx) : { columns: [], carried: [] }
  const list_ = [parts.columns, ...hidden.columns].filter(Boolean).join(', ')
  const sql = [
    parts.with,
    `${parts.select}${list_ ? ` ${list_}` : ''}${parts.rest}`,
    order ? `ORDER BY ${order}` : '',
    limit,
  ]
    .filter(Boolean)
    .join(' ')
  const written: Written = {
    sql,
    columns: body.columns,
    carried: hidden.carried,
    hidden: body.starred + hidden.columns.length,
    reads: ctx.mentions > before || body.derived,
  }
  const outermost: Outermost = {
    keepsRows: body.keepsRows,
    sumsUp: body.sumsUp,
    carriers: body.carriers,
    derived: body.derived,
    physical: body.physical,
    sorted: sort.length > 0,
    single: body.single,
    limited: fields['limitCount'] !== undefined || fields['limitOffset'] !== undefined,
    withTies: fields['limitOption'] === 'LIMIT_OPTION_WITH_TIES',
    parts,
  }
  return { written, outermost }
}

/** Hidden columns for a SELECT within another; those of a relation that `*` covers come along by themselves. */
function hiddenColumns(
  { carriers, covers }: Body,
  ctx: Context,
): { columns: string[]; carried: HiddenLeaf[] } {
  const columns: string[] = []
  const carried: HiddenLeaf[] = []
  for (const { dataset, leaf, hidden, relation } of carriers) {
    if (hidden !== null && covers(relation)) carried.push({ dataset, column: hidden })
    else {
      const column = ctx.hiddenName()
      columns.push(`${leaf} AS ${quoteName(column)}`)
      carried.push({ dataset, column })
    }
  }
  return { columns, carried }
}

/** What the three kinds of body have in common. */
interface Body {
  parts: { select: string; columns: string; rest: string }
  columns: readonly Column[]
  keepsRows: boolean
  sumsUp: boolean
  carriers: readonly Carrier[]
  derived: boolean
  physical: readonly { json: boolean }[] | null
  single: boolean
  /** Hidden columns that its own `*` brings along. */
  starred: number
  /** Whether its list holds all columns of a relation. */
  covers: (relation: string) => boolean
}

const noRows = {
  keepsRows: false,
  sumsUp: false,
  carriers: [],
  single: false,
  starred: 0,
  covers: () => false,
} as const

/** UNION, INTERSECT, EXCEPT. */
function combined(fields: Tree, scope: Scope, ctx: Context): Body {
  const side = (key: 'larg' | 'rarg') =>
    ctx.deeper(fields[key], () => writeSelect(fields[key] as Tree, scope, ctx, false).written)
  const [left, right] = [side('larg'), side('rarg')]
  const word = text(fields['op']).replace('SETOP_', '')
  for (const { name } of left.columns) scope.labels.add(name)
  const columns = left.columns.map((column, i) => ({
    ...column,
    weight: Math.max(column.weight, right.columns[i]?.weight ?? 1),
    json: column.json || (right.columns[i]?.json ?? false),
    stored: column.stored && (right.columns[i]?.stored ?? false),
  }))
  return {
    ...noRows,
    parts: {
      select: `(${left.sql}) ${word}${fields['all'] === true ? ' ALL' : ''} (${right.sql})`,
      columns: '',
      rest: '',
    },
    columns,
    derived: true,
    physical: columns,
  }
}

function values(fields: Tree, scope: Scope, ctx: Context): Body {
  const rows = list(fields['valuesLists']).map((row) => expressions(open(row)[1]['items'], scope, ctx))
  const columns = (rows[0] ?? []).map((_, i) => ({
    name: `column${i + 1}`,
    weight: Math.max(1, ...rows.map((row) => row[i]?.weight ?? 1)),
    json: rows.some((row) => row[i]?.json),
    stored: false,
  }))
  for (const { name } of columns) scope.labels.add(name)
  const sql = rows.map((row) => `(${row.map((value) => value.sql).join(', ')})`).join(', ')
  return {
    ...noRows,
    parts: { select: `VALUES ${sql}`, columns: '', rest: '' },
    columns,
    derived: false,
    physical: columns,
  }
}

function plain(fields: Tree, scope: Scope, ctx: Context, want: boolean, top: boolean): Body {
  const distinct = fields['distinctClause'] === undefined ? null : list(fields['distinctClause'])
  const grouped =
    fields['groupClause'] !== undefined ||
    fields['havingClause'] !== undefined ||
    hasAggregate([fields['targetList'], fields['sortClause'] ?? null])
  const keepsRows = distinct === null && !grouped
  const sumsUp = top && want && distinct === null && grouped
  const wantInner = (want && keepsRows) || sumsUp
  const items = list(fields['fromClause']).map((node) => fromItem(node, scope, ctx, wantInner))
  const target = targets(fields, items, scope, ctx)
  for (const { name } of target.columns) scope.labels.add(name)

  const clause = (word: string, key: string) =>
    fields[key] === undefined ? '' : ` ${word} ${expression(fields[key], scope, ctx).sql}`
  const from = items.length === 0 ? '' : ` FROM ${items.map(({ sql }) => sql).join(', ')}`
  const where = clause('WHERE', 'whereClause')
  const group =
    fields['groupClause'] === undefined
      ? ''
      : ` GROUP BY ${fields['groupDistinct'] === true ? 'DISTINCT ' : ''}${groups(list(fields['groupClause']), scope, ctx)}`
  const having = clause('HAVING', 'havingClause')
  const windows = list(fields['windowClause']).map((node) => {
    const window = open(node)[1]
    return `${quoteName(text(window['name']))} AS ${windowSpec({ ...window, name: undefined }, scope, ctx, node)}`
  })
  const on = distinct?.filter((node) => Object.keys((node ?? {}) as Tree).length > 0) ?? []
  const select = [
    'SELECT',
    distinct === null ? '' : ' DISTINCT',
    on.length > 0
      ? ` ON (${expressions(on, scope, ctx)
          .map(({ sql }) => sql)
          .join(', ')})`
      : '',
  ].join('')
  const [first] = items
  return {
    parts: {
      select,
      columns: target.sql,
      rest: `${from}${where}${group}${having}${windows.length > 0 ? ` WINDOW ${windows.join(', ')}` : ''}`,
    },
    columns: target.columns,
    keepsRows,
    sumsUp,
    carriers: items.flatMap(({ carriers }) => carriers),
    derived: items.some(({ derived }) => derived) || target.derived,
    physical: target.physical,
    single: items.length === 1 && first?.carriers.length === 1 && first.carriers[0]?.time != null,
    starred: target.starred,
    covers: (relation) => target.all || target.whole.has(relation),
  }
}

/** The SELECT list. */
function targets(fields: Tree, items: readonly From[], scope: Scope, ctx: Context) {
  const columns: Column[] = []
  const whole = new Set<string>()
  let physical: { json: boolean }[] | null = []
  let all = false
  let starred = 0
  const countable = items.every(({ plain: counted }) => counted)
  const sql = list(fields['targetList']).map((node) => {
    const [, target] = open(node)
    ctx.only(node, target, TARGET, 'the SELECT list')
    const star = starOf(target['val'])
    if (star !== null) {
      const sources = star === '' ? scope.sources : scope.sources.filter(({ name }) => name === star)
      if (sources.length === 0)
        throw ctx.fail(
          target['val'],
          star === '' ? '* without FROM' : `there is no relation ${star} in FROM`,
          'name a dataset in FROM',
          'QUERY_UNKNOWN_NAME',
        )
      if (star === '') all = true
      else whole.add(star)
      for (const source of sources) {
        columns.push(...source.columns)
        starred += source.hidden
        physical?.push(...source.columns, ...Array<{ json: boolean }>(source.hidden).fill({ json: false }))
      }
      if (!countable) physical = null
      return star === '' ? '*' : `${quoteName(star)}.*`
    }
    const value = expression(target['val'], scope, ctx)
    const given = text(target['name'])
    if (given) ctx.name(node, given)
    const { weight, json, stored } = value
    columns.push({ name: given || figureName(target['val']), weight, json, stored })
    physical?.push({ json })
    if (given) return `${value.sql} AS ${quoteName(given)}`
    // A function around it must not rename the column.
    return value.sql.includes(BOUNDED) ? `${value.sql} AS ${quoteName(figureName(target['val']))}` : value.sql
  })
  return {
    sql: sql.join(', '),
    columns,
    physical: physical as { json: boolean }[] | null,
    all,
    whole,
    starred,
    derived: looksElsewhere(fields['targetList']),
  }
}

/** The relation of `relation.*`, the empty text for `*`, null for anything else. */
function starOf(node: unknown): string | null {
  const [type, fields] = open(node)
  if (type !== 'ColumnRef') return null
  const parts = list(fields['fields'])
  if (open(parts.at(-1))[0] !== 'A_Star') return null
  const path = names(parts.slice(0, -1))
  return path.length > 2 || (path.length === 2 && path[0] !== 'api') ? null : (path.at(-1) ?? '')
}

/** Whether an expression holds a window function or a subquery. */
function looksElsewhere(tree: unknown): boolean {
  const waiting = [tree]
  for (let value = waiting.pop(); value !== undefined; value = waiting.pop()) {
    for (const key in value as Tree) {
      const inner = (value as Tree)[key]
      if (key === 'SubLink' || key === 'over') return true
      if (typeof inner === 'object' && inner !== null) waiting.push(inner)
    }
  }
  return false
}

function groups(nodes: readonly unknown[], scope: Scope, ctx: Context): string {
  return nodes
    .map((node): string => {
      const [type, fields] = open(node)
      // A list in parentheses is several terms taken together; ROW(...) would be one.
      if (type === 'RowExpr' && fields['row_format'] === 'COERCE_IMPLICIT_CAST')
        return `(${groups(list(fields['args']), scope, ctx)})`
      if (type !== 'GroupingSet') return expression(node, scope, ctx).sql
      ctx.only(node, fields, new Set(['kind', 'content', 'location']), 'GROUP BY')
      const inner = groups(list(fields['content']), scope, ctx)
      switch (fields['kind']) {
        case 'GROUPING_SET_EMPTY':
          return '()'
        case 'GROUPING_SET_ROLLUP':
          return `ROLLUP (${inner})`
        case 'GROUPING_SET_CUBE':
          return `CUBE (${inner})`
        case 'GROUPING_SET_SETS':
          return `GROUPING SETS (${inner})`
      }
      throw ctx.fail(node, 'this grouping is not allowed', 'use ROLLUP, CUBE or GROUPING SETS')
    })
    .join(', ')
}

function limits(fields: Tree, scope: Scope, ctx: Context): string {
  const value = (key: string): Piece | null =>
    fields[key] === undefined ? null : expression(fields[key], scope, ctx)
  const [offset, count] = [value('limitOffset'), value('limitCount')]
  const ties = fields['limitOption'] === 'LIMIT_OPTION_WITH_TIES'
  return [
    offset ? `OFFSET ${operand(offset)}${ties ? ' ROWS' : ''}` : '',
    count && ties ? `FETCH FIRST ${operand(count)} ROWS WITH TIES` : '',
    count && !ties ? `LIMIT ${count.sql}` : '',
  ]
    .filter(Boolean)
    .join(' ')
}
