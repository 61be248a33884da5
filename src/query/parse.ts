import { hasSqlDetails, loadModule, parseSync } from 'libpg-query'
import { list, positionAt, type Tree, whole } from './ast.ts'
import { QueryError } from './error.ts'

/** Bytes of a query's text: what the parser's own stack is sure to hold. */
export const MAX_QUERY_BYTES = 16_384
/** Signs that may nest: each can cost the parser a level. */
const MAX_SIGNS = 3_000

/** Loads PostgreSQL's parser, some ten milliseconds; the next calls are free. */
export const loadParser = (): Promise<void> => loadModule()

/**
 * The parse tree of the one SELECT in `source`, by PostgreSQL 18's own parser. {@link loadParser} must have been awaited. Throws
 * `QUERY_EMPTY`, `QUERY_TOO_LONG`, `QUERY_SYNTAX`, or `QUERY_REFUSED` for several statements or one that is no SELECT.
 */
export function parseQuery(source: string): Tree {
  requireReadable(source)
  const statements = /^\s*$/.test(source) ? [] : parseStatements(source)
  const [first, second] = statements
  if (!first)
    throw new QueryError('QUERY_EMPTY', 'there is no query', { hint: 'write one SELECT over a dataset' })
  if (second)
    throw new QueryError('QUERY_REFUSED', 'there is more than one statement', {
      hint: 'send one query at a time',
      position: positionAt(source, startOf(source, whole(second['stmt_location']))),
    })
  const [[type, fields]] = Object.entries((first['stmt'] ?? {}) as Tree) as [[string, Tree]]
  if (type === 'SelectStmt') return fields
  const words =
    STATEMENTS[type] ??
    type
      .replace(/Stmt$/, '')
      .replace(/(?<=[a-z])(?=[A-Z])/g, ' ')
      .toUpperCase()
  throw new QueryError('QUERY_REFUSED', `${words} is not allowed`, {
    hint: INSTEAD[type] ?? 'a query only reads: write one SELECT over a dataset',
    position: positionAt(source, startOf(source, whole(first['stmt_location']))),
  })
}

const STATEMENTS: Readonly<Record<string, string>> = {
  VariableSetStmt: 'SET',
  VariableShowStmt: 'SHOW',
  TransactionStmt: 'a transaction command',
  ExplainStmt: 'EXPLAIN',
  CreateTableAsStmt: 'CREATE TABLE AS',
  CreateStmt: 'CREATE TABLE',
  DropStmt: 'DROP',
}

/** What to do instead of some statements. */
const INSTEAD: Readonly<Record<string, string>> = {
  ExplainStmt: 'leave EXPLAIN out: the answer says under "ran" what was run',
  VariableShowStmt: 'GET /v1/datasets lists datasets and their schemas',
  CreateTableAsStmt: 'a query only reads: use WITH for results in between',
}

function requireReadable(source: string): void {
  // The parser is C and would see the text only up to there.
  const nul = source.indexOf('\0')
  if (nul >= 0)
    throw new QueryError('QUERY_REFUSED', 'the text has a NUL character', {
      hint: 'leave it out',
      position: positionAt(source, Buffer.byteLength(source.slice(0, nul))),
    })
  if (!source.isWellFormed())
    throw new QueryError('QUERY_REFUSED', 'the text is not well-formed Unicode', { hint: 'send UTF-8' })
  if (source.length > MAX_QUERY_BYTES || Buffer.byteLength(source) > MAX_QUERY_BYTES)
    throw new QueryError('QUERY_TOO_LONG', `a query has at most ${MAX_QUERY_BYTES} bytes`, {
      hint: 'ask in several queries',
    })
  let signs = 0
  for (let i = 0; i < source.length; i++) if (SIGNS.has(source.charCodeAt(i))) signs++
  if (signs > MAX_SIGNS)
    throw new QueryError('QUERY_TOO_LONG', `more than ${MAX_SIGNS} operators and brackets`, {
      hint: 'ask in several queries',
    })
}
const SIGNS: ReadonlySet<number> = new Set([...'([{+-*/<>=~!@#%^&|?'].map((sign) => sign.charCodeAt(0)))

function parseStatements(source: string): Tree[] {
  try {
    return list((parseSync(source) as unknown as Tree)['stmts']) as Tree[]
  } catch (error) {
    if (hasSqlDetails(error)) {
      const offset = error.sqlDetails?.cursorPosition
      throw new QueryError('QUERY_SYNTAX', error.message, {
        hint: 'the grammar is that of PostgreSQL 18',
        position: offset === undefined || offset < 0 ? null : positionAt(source, offset),
        cause: error,
      })
    }
    throw new QueryError('QUERY_TOO_LONG', 'the query is nested too deeply to be read', {
      hint: 'write it flatter',
      cause: error,
    })
  }
}

/** The offset of the first thing that is no space and no comment. */
function startOf(source: string, offset: number): number {
  const bytes = Buffer.from(source)
  const rest = bytes.subarray(offset).toString()
  const [skipped = ''] = /^(?:\s|;|--[^\n]*|\/\*[\s\S]*?\*\/)*/.exec(rest) ?? []
  return offset + Buffer.byteLength(skipped)
}
