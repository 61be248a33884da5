/** Lines that differ between two texts: from..to of each, counted from 0, ends exclusive. */
export interface Hunk {
  a: { from: number; to: number }
  b: { from: number; to: number }
}

/** How many lines ahead a common line is looked for after lines that differ. */
const LOOK_AHEAD = 64

/**
 * Where two lists of lines differ, in order; at most `max` hunks. Not minimal: made for damage, which leaves most lines
 * as they were, and bounded in time whatever it is given.
 */
export function diffLines(a: readonly string[], b: readonly string[], max: number): Hunk[] {
  const hunks: Hunk[] = []
  let [i, j] = [0, 0]
  while ((i < a.length || j < b.length) && hunks.length < max) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      i++
      j++
      continue
    }
    const [skipA, skipB] = findCommon(a, b, i, j)
    hunks.push({ a: { from: i, to: i + skipA }, b: { from: j, to: j + skipB } })
    i += skipA
    j += skipB
  }
  return hunks
}

/** How many lines of each to skip until they agree again; all the rest where they do not within the look-ahead. */
function findCommon(a: readonly string[], b: readonly string[], i: number, j: number): [number, number] {
  for (let reach = 1; reach <= LOOK_AHEAD; reach++) {
    // Equal skips first: damage seldom adds or removes lines.
    if (i + reach <= a.length && j + reach <= b.length && agree(a, b, i + reach, j + reach))
      return [reach, reach]
    for (let less = 0; less < reach; less++) {
      if (agree(a, b, i + reach, j + less)) return [reach, less]
      if (agree(a, b, i + less, j + reach)) return [less, reach]
    }
  }
  return [a.length - i, b.length - j]
}

/** Empty lines are everywhere and align nothing; both ends at once do. */
function agree(a: readonly string[], b: readonly string[], i: number, j: number): boolean {
  if (i === a.length && j === b.length) return true
  return i < a.length && j < b.length && a[i] !== '' && a[i] === b[j]
}

/** Two different stretches of two lines; `at` counts UTF-16 units from the line's start. */
export interface Stretch {
  a: { at: number; text: string }
  b: { at: number; text: string }
}

/** A short JSON string, a word or number, white space, or any one code point. Bounded, so that no line takes long. */
const TOKEN = /"(?:[^"\\]|\\.){0,256}"|[A-Za-z0-9_.+-]+|\s+|./gsu

/** How two different lines differ: token by token where they have equally many, else from the first difference on. */
export function diffTokens(a: string, b: string): Stretch[] {
  const [x, y] = [a.match(TOKEN) ?? [], b.match(TOKEN) ?? []]
  if (x.length !== y.length) return [diffWhole(a, b)]
  const out: Stretch[] = []
  let [atA, atB] = [0, 0]
  for (const [n, token] of x.entries()) {
    const other = y[n] as string
    if (token !== other) out.push(narrow(token, other, atA, atB))
    atA += token.length
    atB += other.length
  }
  return out
}

/** One stretch, from the first difference to both ends. */
export const diffWhole = (a: string, b: string): Stretch => narrow(a, b, 0, 0)

/** Moves both starts to the first code point that differs. */
function narrow(a: string, b: string, atA: number, atB: number): Stretch {
  const n = commonPrefix(a, b)
  return { a: { at: atA + n, text: a.slice(n) }, b: { at: atB + n, text: b.slice(n) } }
}

function commonPrefix(a: string, b: string): number {
  let n = 0
  while (n < a.length && n < b.length && a[n] === b[n]) n++
  // Not between the two halves of a code point.
  const half = a.charCodeAt(n - 1)
  return n > 0 && half >= 0xd800 && half <= 0xdbff ? n - 1 : n
}
