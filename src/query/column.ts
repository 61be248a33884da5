import { list, names, open, type Tree } from './ast.ts'
import type { Context } from './context.ts'
import { nearest, quoteName } from './names.ts'
import { type Piece, piece } from './piece.ts'
import type { Column, Scope } from './scope.ts'

/** Writes a reference to a column, or to all columns of a relation, by what the scope knows. */
export function column(fields: Tree, scope: Scope, ctx: Context, node: unknown): Piece {
  const parts = list(fields['fields'])
  if (open(parts.at(-1))[0] === 'A_Star') {
    const relation = names(parts.slice(0, -1)).at(-1)
    if (relation === undefined || parts.length > 2)
      throw ctx.fail(node, '* is not allowed here', 'name the columns')
    if (scope.named(relation).length === 0) throw unknownRelation(node, relation, scope, ctx)
    const columns = scope.named(relation).flatMap((source) => source.columns)
    return piece(
      `${quoteName(relation)}.*`,
      true,
      2 * columns.reduce((total, { weight }) => total + weight, 0),
    )
  }
  const path = names(parts)
  if (path.length === 1) return bareColumn(path[0] ?? '', scope, ctx, node)
  if (path.length === 3 && path[0] === 'api') path.shift()
  const [relation = '', name = ''] = path
  if (path.length !== 2)
    throw ctx.fail(node, `the name ${names(parts).join('.')} has too many parts`, 'write relation.column')
  return qualifiedColumn(relation, name, scope, ctx, node)
}

function bareColumn(name: string, scope: Scope, ctx: Context, node: unknown): Piece {
  const columns = scope.columns(name)
  const relations = scope.named(name)
  if (columns.length === 0 && relations.length === 0 && !scope.hasLabel(name)) {
    const like = scope.like(name)
    const all = [...new Set(scope.all().flatMap((source) => source.columns.map((c) => c.name)))]
    throw ctx.fail(
      node,
      `there is no column ${name}`,
      like
        ? `did you mean ${like}?`
        : all.length > 0
          ? `there are ${all.slice(0, 40).join(', ')}; a text stands in single quotes`
          : 'a text stands in single quotes',
      'QUERY_UNKNOWN_NAME',
    )
  }
  const weight = Math.max(
    1,
    ...columns.map((c) => c.weight),
    // A whole row: as a text, each quotation mark and backslash in it is escaped.
    ...relations.map((r) => 2 * r.columns.reduce((total, c) => total + c.weight, 0)),
  )
  return {
    ...piece(
      quoteName(name),
      true,
      weight,
      columns.some(({ json }) => json),
    ),
    stored: relations.length === 0 && columns.length > 0 && columns.every(({ stored }) => stored),
  }
}

/**
 * `relation.name`. PostgreSQL takes it for a call of the function `name` where the relation has no such column, so every relation
 * that it could mean must have it.
 */
export function qualifiedColumn(
  relation: string,
  name: string,
  scope: Scope,
  ctx: Context,
  node: unknown,
): Piece {
  const sources = scope.named(relation)
  if (sources.length === 0) throw unknownRelation(node, relation, scope, ctx)
  const columns = sources.map((source) => source.columns.find((c) => c.name === name))
  const missing = columns.indexOf(undefined)
  if (missing >= 0) {
    const there = (sources[missing]?.columns ?? []).map((c) => c.name)
    const like = nearest(name, there)
    throw ctx.fail(
      node,
      `${relation} has no column ${name}`,
      like
        ? `did you mean ${like}?`
        : `it has ${there.slice(0, 40).join(', ')}; functions are called as f(x)`,
      'QUERY_UNKNOWN_NAME',
    )
  }
  const found = columns as Column[]
  return {
    ...piece(
      `${quoteName(relation)}.${quoteName(name)}`,
      true,
      Math.max(...found.map(({ weight }) => weight)),
      found.some(({ json }) => json),
    ),
    stored: found.every(({ stored }) => stored),
  }
}

function unknownRelation(node: unknown, relation: string, scope: Scope, ctx: Context) {
  const like = nearest(
    relation,
    scope.all().map(({ name }) => name),
  )
  return ctx.fail(
    node,
    `there is no relation ${relation} in FROM`,
    like ? `did you mean ${like}?` : 'name it in FROM, or use its alias',
    'QUERY_UNKNOWN_NAME',
  )
}
