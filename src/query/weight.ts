import { names, open, stringOf } from './ast.ts'
import { most, type Piece, sum } from './piece.ts'

/**
 * How large the result of a call may be: in values of a dataset, of some ten thousand characters at most. Calls within calls
 * multiply, so what makes more of its arguments must say how much more.
 */

/** Calls whose result holds all of their arguments. */
const JOINING: ReadonlySet<string> = new Set(
  `concat overlay array_append array_prepend array_cat json_object jsonb_object jsonb_insert jsonb_set`.split(
    ' ',
  ),
)
/** Calls that write their arguments as JSON: each quotation mark and backslash of a text is escaped. */
const TO_JSON: ReadonlySet<string> = new Set(
  `to_json to_jsonb row_to_json array_to_json json_build_object json_build_array jsonb_build_object jsonb_build_array`.split(
    ' ',
  ),
)
/** What escaping may make of a text. */
const ESCAPED = 2
/** Arrays of single characters, written as a text. */
const SPLIT = 4
/** What a value of a dataset in the place of a few characters may make of a text. */
const STORED = 32

/** Why a call is refused. */
export interface CallRefusal {
  why: string
  hint: string
}

/** How many values the result of a call holds, or why it cannot be told. */
export function callWeight(
  name: string,
  nodes: readonly unknown[],
  args: readonly Piece[],
): number | CallRefusal {
  if (TO_JSON.has(name))
    return sum(args.map((arg, i) => ({ ...arg, weight: arg.weight * (isJson(nodes[i]) ? 1 : ESCAPED) })))
  if (JOINING.has(name)) return sum(args)
  const weight = most(args)
  switch (name) {
    case 'replace':
    case 'regexp_replace':
      return replaced(name, nodes, args)
    case 'array_to_string':
      return separated(nodes, args)
    case 'concat_ws':
      return sum(args) + Math.max(0, args.length - 2) * (args[0]?.weight ?? 1)
    case 'format': {
      const pattern = stringOf(nodes[0]) ?? ''
      // Each field is one argument, and %I and %L escape it.
      const fields = [...pattern.matchAll(/%[^%sIL]*([sIL])/g)]
      const worst = fields.reduce((total, [, kind]) => total + (kind === 's' ? 1 : ESCAPED), 0)
      return (args[0]?.weight ?? 1) + most(args.slice(1)) * worst
    }
    case 'quote_literal':
    case 'quote_nullable':
    case 'quote_ident':
      return weight * ESCAPED
    case 'string_to_array':
    case 'regexp_split_to_array':
    case 'regexp_match':
      return weight * SPLIT
    // One letter may be taken apart into eighteen, and one byte of another encoding be four of UTF-8.
    case 'normalize':
      return weight * 18
    case 'convert_from':
    case 'convert_to':
      return weight * 4
    case 'encode':
      return weight * (['hex', 'base64'].includes(stringOf(nodes[1]) ?? '') ? 2 : 4)
    default:
      return weight
  }
}

/** A text with parts of it replaced: every character may be such a part. */
function replaced(name: string, nodes: readonly unknown[], args: readonly Piece[]): number | CallRefusal {
  const weight = args[0]?.weight ?? 1
  const [source, part, by] = nodes.map(stringOf)
  if (by != null) {
    if (name === 'replace') return weight * Math.max(1, by.length / Math.max(1, part?.length ?? 1))
    // Each \1 or \& may stand for the whole text, once for all matches together.
    const whole = by.match(/\\[0-9&]/g)?.length ?? 0
    const everywhere = nodes.length > 3 && stringOf(nodes[3])?.includes('g') !== false
    return weight * Math.max(1, everywhere ? by.length : 0, whole + 1)
  }
  // Two arguments only are an error of PostgreSQL's to name.
  if (nodes.length < 3) return weight
  const times = source != null && part ? source.split(part).length - 1 : null
  if (name === 'replace' && times !== null) return weight + times * (args[2]?.weight ?? 1)
  if (args[2]?.stored) return weight * STORED
  return {
    why: `${name} by a text that is computed`,
    hint: 'write the replacement as a constant, take a column of a dataset as it is, or use concat',
  }
}

/** The elements of an array with something between them: there may be as many as characters. */
function separated(nodes: readonly unknown[], args: readonly Piece[]): number | CallRefusal {
  const weight = args[0]?.weight ?? 1
  const between = nodes.slice(1).map(stringOf)
  if (between.every((text) => text !== null))
    return weight * Math.max(1, between.reduce((total, text) => total + (text?.length ?? 0), 0) / 2)
  if (args.slice(1).every(({ stored }, i) => stored || between[i] !== null)) return weight * STORED
  return {
    why: 'array_to_string with a separator that is computed',
    hint: 'write the separator as a constant, or use string_agg',
  }
}

/** Whether an expression is JSON for certain, which JSON takes up as it is. */
function isJson(node: unknown): boolean {
  const [type, fields] = open(node)
  if (type === 'FuncCall')
    return /^(?:to_jsonb?|jsonb?_(?:build_\w+|agg|object_agg|object|set|insert|strip_nulls)|row_to_json|array_to_json)$/.test(
      names(fields['funcname']).at(-1) ?? '',
    )
  if (type !== 'TypeCast') return false
  return /^jsonb?$/.test(names((fields['typeName'] as { names?: unknown } | undefined)?.names).at(-1) ?? '')
}
