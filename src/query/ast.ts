import { QueryError, type QueryErrorCode, type QueryPosition } from './error.ts'

/** A node of PostgreSQL's parse tree as libpg-query gives it: `{ "ColumnRef": { ... } }`, and the object within. */
export type Tree = { readonly [key: string]: unknown }

/** Name and fields of a wrapped node, such as `['ColumnRef', { fields, location }]`. */
export function open(node: unknown): [type: string, fields: Tree] {
  for (const type in (node ?? {}) as Tree) return [type, (node as Tree)[type] as Tree]
  return ['nothing', {}]
}

export const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : [])
export const text = (value: unknown): string => (typeof value === 'string' ? value : '')
export const whole = (value: unknown): number => (typeof value === 'number' ? value : 0)

/** Names of fields, or other words, as a set. */
export const fieldSet = (fields: string): ReadonlySet<string> => new Set(fields.split(' '))

/** The strings of a list of `String` nodes, such as a function's qualified name. */
export const names = (value: unknown): string[] =>
  list(value).map((node) => text((open(node)[1] as { sval?: unknown }).sval))

/** The number of an integer constant with any sign before it, else null. */
export function integerOf(node: unknown): number | null {
  const [type, fields] = open(node)
  if (type === 'A_Const' && fields['ival'] !== undefined) return whole((fields['ival'] as Tree)['ival'])
  if (type === 'A_Const' && fields['fval'] !== undefined) {
    const value = Number((fields['fval'] as Tree)['fval'])
    return Number.isFinite(value) ? value : null
  }
  if (type === 'TypeCast') return integerOf(fields['arg'])
  if (type === 'A_Expr' && fields['lexpr'] === undefined && names(fields['name'])[0] === '-') {
    const value = integerOf(fields['rexpr'])
    return value === null ? null : -value
  }
  return null
}

/** The text of a string constant, else null. */
export function stringOf(node: unknown): string | null {
  const [type, fields] = open(node)
  if (type === 'A_Const' && fields['sval'] !== undefined) return text((fields['sval'] as Tree)['sval'])
  return null
}

/** Where in the text the byte at `offset` of its UTF-8 is. */
export function positionAt(source: string, offset: number): QueryPosition {
  let line = 1
  let column = 1
  let bytes = 0
  for (const character of source) {
    if (bytes >= offset) break
    const code = character.codePointAt(0) ?? 0
    bytes += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x1_0000 ? 3 : 4
    if (character === '\n') {
      line++
      column = 1
    } else column++
  }
  return { line, column }
}

/** The first `location` in a tree, in bytes: where whatever it stands for begins. -1 where the parser noted none. */
export function locationOf(node: unknown): number {
  if (typeof node !== 'object' || node === null) return -1
  const own = (node as Tree)['location']
  if (typeof own === 'number') return own
  if (!Array.isArray(node) && Object.keys(node).some((key) => /^[A-Z]/.test(key)) && own === undefined) {
    // A wrapped node whose location is 0 has it left out.
    const [type, fields] = open(node)
    if (LOCATED.has(type) && fields['location'] === undefined) return 0
  }
  for (const value of Object.values(node)) {
    const found = locationOf(value)
    if (found >= 0) return found
  }
  return -1
}
const LOCATED: ReadonlySet<string> = new Set(['ColumnRef', 'FuncCall', 'A_Const', 'A_Expr', 'RangeVar'])

/** A refusal about one node of `source`. */
export function refusal(
  code: QueryErrorCode,
  source: string,
  node: unknown,
  message: string,
  hint: string,
): QueryError {
  const location = locationOf(node)
  return new QueryError(code, message, {
    hint,
    position: location < 0 ? null : positionAt(source, location),
  })
}
