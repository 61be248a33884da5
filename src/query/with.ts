import { fieldSet, list, names, open, type Tree, text } from './ast.ts'
import type { Context } from './context.ts'
import { quoteName } from './names.ts'
import { type Cte, Scope } from './scope.ts'
import { type Written, writeQuery } from './select.ts'

const WITH = fieldSet('ctes recursive location')
const CTE = fieldSet('ctename aliascolnames ctematerialized ctequery location')
const MATERIALIZED: Readonly<Record<string, string>> = {
  CTEMaterializeDefault: '',
  CTEMaterializeAlways: 'MATERIALIZED ',
  CTEMaterializeNever: 'NOT MATERIALIZED ',
}

/** Enters the common table expressions into `scope`; the answer writes the WITH clause once all that refers to them is written. */
export function openWith(fields: Tree, scope: Scope, ctx: Context): () => string {
  const clause = fields['withClause'] as Tree | undefined
  if (clause === undefined) return () => ''
  if (clause['recursive'] === true)
    throw ctx.fail(
      list(clause['ctes'])[0],
      'WITH RECURSIVE is not allowed',
      'use generate_series for rows that are counted, and window functions for rows that follow one another',
    )
  ctx.only({ WithClause: clause }, clause, WITH, 'WITH')
  const texts: (() => string)[] = []
  // Each sees those before it and what is further out, and nothing of this SELECT itself.
  let visible = new Scope(scope.parent)
  for (const node of list(clause['ctes'])) {
    const [, cte] = open(node)
    ctx.only(node, cte, CTE, 'WITH')
    const name = ctx.name(node, text(cte['ctename']))
    if (name.startsWith('pg_') || ctx.catalog.has(name))
      throw ctx.fail(node, `${name} in WITH would hide a relation of that name`, 'call it otherwise')
    const given = names(cte['aliascolnames']).map((column) => ctx.name(node, column))
    const within = visible
    let done: Written | null = null
    const write: Cte['write'] = (want) => {
      done ??= writeQuery(cte['ctequery'], within, ctx, want && given.length === 0)
      return {
        columns: done.columns.map((column, i) => ({ ...column, name: given[i] ?? column.name })),
        carried: done.carried,
        hidden: done.hidden,
      }
    }
    const entry: Cte = { name, write }
    if (scope.ctes.has(name))
      throw ctx.fail(node, `${name} stands twice in WITH`, 'call one of them otherwise')
    scope.ctes.set(name, entry)
    const next = new Scope(scope.parent)
    for (const [key, value] of visible.ctes) next.ctes.set(key, value)
    next.ctes.set(name, entry)
    visible = next
    const how = MATERIALIZED[text(cte['ctematerialized'])] ?? ''
    const columnList = given.length > 0 ? `(${given.map(quoteName).join(', ')})` : ''
    texts.push(() => {
      write(false)
      return `${quoteName(name)}${columnList} AS ${how}(${(done as unknown as Written).sql})`
    })
  }
  // The last first: one that only a later one refers to is written when that one is.
  return () => {
    const written = texts.map(() => '')
    for (let i = texts.length - 1; i >= 0; i--) written[i] = (texts[i] as () => string)()
    return `WITH ${written.join(', ')}`
  }
}
