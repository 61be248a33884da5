import { scanSync } from 'libpg-query'
import { list, names, open, refusal, type Tree, text } from './ast.ts'
import type { QueryError, QueryErrorCode } from './error.ts'
import { knownFunction } from './functions.ts'

/** The datasets that can be queried: columns of each view, by the dataset's name. */
export type Catalog = ReadonlyMap<string, readonly string[]>

/** Which rows a dataset is cut down to, wherever it is named. */
export interface RowFilter {
  verdict: 'accepted' | 'rejected' | 'any'
  /** Only leaves below this index; null for all that are there. */
  below: number | null
}

/** Nesting of expressions and of queries within queries. */
const MAX_DEPTH = 200
/** Relations in all FROM clauses together: PostgreSQL's planning time grows with them. */
const MAX_RELATIONS = 24
/** Prefix of names that are ours. */
export const HIDDEN = 'dunes:'

/** What is noted while one query is written down anew. */
export class Context {
  readonly source: string
  readonly catalog: Catalog
  readonly rows: RowFilter
  readonly census: Census
  /** Datasets that it reads, in the order of their first mention. */
  readonly datasets = new Set<string>()
  /** How often it names a dataset. */
  mentions = 0
  #depth = 0
  #hidden = 0
  #relations = 0

  constructor(source: string, catalog: Catalog, rows: RowFilter, tree: unknown) {
    this.source = source
    this.catalog = catalog
    this.rows = rows
    this.census = takeCensus(tree)
  }

  fail(node: unknown, message: string, hint: string, code: QueryErrorCode = 'QUERY_REFUSED'): QueryError {
    return refusal(code, this.source, node, message, hint)
  }

  /** Runs `work` one level deeper. */
  deeper<T>(node: unknown, work: () => T): T {
    if (++this.#depth > MAX_DEPTH)
      throw this.fail(node, `more than ${MAX_DEPTH} levels of nesting`, 'write it flatter', 'QUERY_TOO_LONG')
    try {
      return work()
    } finally {
      this.#depth--
    }
  }

  /** Counts one more relation. */
  relation(node: unknown): void {
    if (++this.#relations > MAX_RELATIONS)
      throw this.fail(
        node,
        `more than ${MAX_RELATIONS} relations`,
        'ask in several queries',
        'QUERY_TOO_LONG',
      )
  }

  hiddenName(): string {
    return `${HIDDEN}${this.#hidden++}`
  }

  /** Refuses fields that are not known, so that nothing is left out of what is run without anybody noticing. */
  only(node: unknown, fields: Tree, allowed: ReadonlySet<string>, what: string): void {
    for (const key in fields) {
      if (allowed.has(key) || fields[key] === false || fields[key] === null) continue
      throw this.fail(
        key === 'lockingClause' ? lockOf(this.source) : node,
        `${FIELD_NAMES[key] ?? key} in ${what} is not allowed`,
        FIELD_HINTS[key] ?? 'leave it out',
      )
    }
  }

  /** A name that the query itself gives to something. */
  name(node: unknown, given: string): string {
    if (given.startsWith(HIDDEN))
      throw this.fail(node, `names may not begin with ${HIDDEN}`, 'call it otherwise')
    return given
  }
}

/** Where FOR UPDATE and its like stand, which the parser does not note. */
function lockOf(source: string): unknown {
  const words = scanSync(source).tokens
  const at = words.findIndex(
    ({ text: word }, i) => /^for$/i.test(word) && /^(?:update|no|share|key)$/i.test(words[i + 1]?.text ?? ''),
  )
  return { LockingClause: { location: words[at]?.start ?? -1 } }
}

const FIELD_NAMES: Readonly<Record<string, string>> = {
  intoClause: 'INTO',
  lockingClause: 'FOR UPDATE or FOR SHARE',
  coldeflist: 'a list of column definitions',
  useOp: 'USING with an operator',
  recursive: 'RECURSIVE',
}
const FIELD_HINTS: Readonly<Record<string, string>> = {
  intoClause: 'a query only reads; leave INTO out',
  lockingClause: 'a query only reads; leave the lock out',
  useOp: 'use ASC or DESC',
}

/** What is counted in a query before it is written. */
export interface Census {
  /** Names that stand alone as a column might: one of a relation means its whole row. */
  bare: ReadonlySet<string>
  /** Names before `.*` elsewhere than as a column of the result. */
  starred: ReadonlySet<string>
  /** How often each unqualified relation name stands in a FROM. */
  relations: ReadonlyMap<string, number>
}

function takeCensus(tree: unknown): Census {
  const bare = new Set<string>()
  const starred = new Set<string>()
  const relations = new Map<string, number>()
  // A list of its own instead of calls: nesting is bounded only later.
  const waiting: { value: unknown; target: boolean }[] = [{ value: tree, target: false }]
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    const { value, target } = next
    for (const key in value as Tree) {
      const inner = (value as Tree)[key]
      if (typeof inner !== 'object' || inner === null) continue
      if (key === 'ColumnRef') {
        const fields = list((inner as Tree)['fields'])
        const parts = names(fields)
        if (fields.length === 1) bare.add(parts[0] ?? '')
        else if (open(fields.at(-1))[0] === 'A_Star' && !target) starred.add(parts.at(-2) ?? '')
      } else if (key === 'RangeVar') {
        const name = text((inner as Tree)['relname'])
        if ((inner as Tree)['schemaname'] === undefined) relations.set(name, (relations.get(name) ?? 0) + 1)
      }
      waiting.push({ value: inner, target: key === 'val' })
    }
  }
  return { bare, starred, relations }
}

/** Whether any of `nodes` calls an aggregate that belongs to the same SELECT. */
export function hasAggregate(nodes: unknown): boolean {
  const waiting: unknown[] = [nodes]
  for (let value = waiting.pop(); value !== undefined; value = waiting.pop()) {
    for (const key in value as Tree) {
      const inner = (value as Tree)[key]
      if (key === 'SubLink') continue
      if (key === 'GroupingFunc') return true
      if (key === 'FuncCall') {
        const call = inner as Tree
        const known = knownFunction(names(call['funcname']))
        if (call['over'] === undefined && (known?.kind === 'aggregate' || known?.kind === 'window'))
          return true
      }
      if (typeof inner === 'object' && inner !== null) waiting.push(inner)
    }
  }
  return false
}
