import { type Catalog, Context, HIDDEN, type RowFilter } from './context.ts'
import { QueryError } from './error.ts'
import { quoteName } from './names.ts'
import { parseQuery } from './parse.ts'
import type { Carrier } from './scope.ts'
import { type Outermost, writeOutermost } from './select.ts'
import { verifyRewritten } from './verify.ts'

/** Which slice of the result is wanted. */
export interface PageSlice {
  offset: number
  /** Rows to ask for: one more than a page holds. */
  rows: number
}

/** Hidden columns of the result that speak of one relation of the query. */
export interface RowSource {
  kind: 'row'
  dataset: string
  /** Column with the leaf index; null in rows of outer joins that this relation has no part in. */
  leaf: string
}
export interface SetSource {
  kind: 'set'
  dataset: string
  /** Columns with the number of rows of this relation that went into the row, and their first and last leaf. */
  count: string
  first: string
  last: string
}

/** A query that may be run. */
export interface GuardedQuery {
  sql: string
  /** Datasets that it reads, in the order of their first mention. */
  datasets: readonly string[]
  /** `row`: each row comes from one row of each source. `set`: rows sum up others. `none`: it reads no dataset. */
  kind: 'row' | 'set' | 'none'
  sources: readonly (RowSource | SetSource)[]
  /** Whether some columns are computed over other rows than the row's own. */
  derived: boolean
  /** Whether its rows have one order, so that a page can follow another. */
  pageable: boolean
  /** How many values of a dataset one row may be made of, at most. */
  weight: number
}

/** Values of datasets that one row may be made of, at most: what bounds what the server of this API holds at a time. */
const MAX_ROW_WEIGHT = 8_192

/** Whether a column of a result is one of ours. */
export const isHidden = (column: string): boolean => column.startsWith(HIDDEN)

/**
 * Checks a query against the lists of what may be used and writes it anew out of what was understood, cut down to the wanted rows and
 * page, with hidden columns that say where each row comes from. The text that comes out is parsed and checked once more. `plain`
 * leaves hidden columns and added order out. {@link loadParser} must have been awaited. Throws `QueryError`.
 */
export function guardQuery(
  source: string,
  catalog: Catalog,
  rows: RowFilter,
  page: PageSlice | null,
  plain = false,
): GuardedQuery {
  const tree = parseQuery(source)
  const ctx = new Context(source, catalog, rows, tree)
  const outermost = writeOutermost(tree, ctx, !plain)
  if (outermost.physical?.length === 0)
    throw new QueryError('QUERY_EMPTY', 'no column is selected', { hint: 'name the columns, or *' })
  const weight = outermost.columns.reduce((sum, column) => sum + column.weight, 1)
  if (weight > MAX_ROW_WEIGHT)
    throw new QueryError('QUERY_TOO_LONG', 'a row would hold too much text', {
      hint: 'select fewer columns, or concatenate less',
    })
  const guarded = assemble(outermost, ctx, page, plain, weight)
  verifyRewritten(guarded.sql, catalog)
  return guarded
}

function assemble(
  top: Outermost,
  ctx: Context,
  page: PageSlice | null,
  plain: boolean,
  weight: number,
): GuardedQuery {
  const { parts } = top
  const sources: (RowSource | SetSource)[] = []
  const added: string[] = []
  if (!plain && top.keepsRows) rowSources(top.carriers, ctx, sources, added, parts.columns)
  else if (!plain && top.sumsUp) setSources(top.carriers, ctx, sources, added)
  const keepsRows = sources.some(({ kind }) => kind === 'row')
  const terms = plain ? null : orderTerms(top, keepsRows)
  const order = [parts.order, ...(terms ?? [])].filter(Boolean).join(', ')
  const columns = [parts.columns, ...added].filter(Boolean).join(', ')
  const body = [
    parts.with,
    `${parts.select}${columns ? ` ${columns}` : ''}${parts.rest}`,
    order ? `ORDER BY ${order}` : '',
    parts.limit,
  ]
    .filter(Boolean)
    .join(' ')
  const slice = page === null ? '' : ` LIMIT ${page.rows}${page.offset > 0 ? ` OFFSET ${page.offset}` : ''}`
  const kind = ctx.datasets.size === 0 ? 'none' : keepsRows ? 'row' : 'set'
  return {
    sql: top.limited && slice ? `SELECT * FROM (${body}) AS "${HIDDEN}page"${slice}` : `${body}${slice}`,
    datasets: [...ctx.datasets],
    kind,
    sources,
    derived: top.derived,
    pageable: terms !== null,
    weight,
  }
}

function rowSources(
  carriers: readonly Carrier[],
  ctx: Context,
  sources: (RowSource | SetSource)[],
  added: string[],
  list: string,
): void {
  const stars = new Set(list.split(', '))
  for (const { dataset, leaf, hidden, relation } of carriers) {
    // Hidden columns of a relation that `*` covers come along by themselves.
    const covered = hidden !== null && (stars.has('*') || stars.has(`${quoteName(relation)}.*`))
    const column = covered ? hidden : ctx.hiddenName()
    if (!covered) added.push(`${leaf} AS ${quoteName(column)}`)
    sources.push({ kind: 'row', dataset, leaf: column })
  }
}

function setSources(
  carriers: readonly Carrier[],
  ctx: Context,
  sources: (RowSource | SetSource)[],
  added: string[],
): void {
  for (const { dataset, leaf } of carriers) {
    const [count, first, last] = [ctx.hiddenName(), ctx.hiddenName(), ctx.hiddenName()]
    added.push(
      `count(${leaf}) AS ${quoteName(count)}`,
      `min(${leaf}) AS ${quoteName(first)}`,
      `max(${leaf}) AS ${quoteName(last)}`,
    )
    sources.push({ kind: 'set', dataset, count, first, last })
  }
}

/**
 * What to add to ORDER BY so that no two different rows compare equal: the leaf of each relation, then every column. Null where that
 * cannot be said, or would cost a sort of everything that a join gives.
 */
function orderTerms(top: Outermost, keepsRows: boolean): string[] | null {
  const { carriers, physical, sorted, single, withTies } = top
  if (withTies || physical === null || physical.length === 0) return null
  const ordinals = physical.flatMap(({ json }, i) => (json ? [] : [String(i + 1)]))
  if (!keepsRows) return ordinals
  const leaves = carriers.map(({ leaf }) => leaf)
  if (sorted) return [...leaves, ...ordinals]
  const time = carriers[0]?.time
  return single && time != null ? [time, ...leaves, ...ordinals] : null
}
