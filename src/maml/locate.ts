/** Steps from a JSON document to one of its values: array indices and object keys. */
export type JsonPath = readonly (string | number)[]

/**
 * UTF-16 offset at which the value at `path` starts in `text`. `text` must be JSON that strict parsing accepted. Where
 * the path leads nowhere, the offset of the nearest value above it.
 */
export function locateJson(text: string, path: JsonPath): number {
  let at = skipSpace(text, 0)
  for (const step of path) {
    const child = children(text, at).find(({ key }) => key === step)
    if (!child) return at
    at = child.start
  }
  return at
}

/**
 * Finds the path of the innermost value that covers an offset of `text`; keys count as part of the value they name.
 * `text` must be JSON that strict parsing accepted. Made once, asked often.
 */
export function pathFinder(text: string): (offset: number) => JsonPath {
  const known = new Map<number, Child[]>()
  const root = skipSpace(text, 0)
  return (offset) => {
    const path: (string | number)[] = []
    let at = root
    for (;;) {
      const inside = known.get(at) ?? children(text, at)
      known.set(at, inside)
      const child = inside.find(({ from, end }) => from <= offset && offset < end)
      if (!child) return path
      path.push(child.key)
      at = child.start
    }
  }
}

interface Child {
  key: string | number
  /** Where the key (or, in an array, the value) starts. */
  from: number
  /** Where the value starts. */
  start: number
  end: number
}

function children(text: string, at: number): Child[] {
  const out: Child[] = []
  const open = text[at]
  if (open !== '{' && open !== '[') return out
  let next = skipSpace(text, at + 1)
  for (let index = 0; text[next] !== '}' && text[next] !== ']'; index++) {
    const from = next
    let key: string | number = index
    if (open === '{') {
      const end = skipValue(text, next)
      key = JSON.parse(text.slice(next, end)) as string
      next = skipSpace(text, skipSpace(text, end) + 1)
    }
    const end = skipValue(text, next)
    out.push({ key, from, start: next, end })
    next = skipSpace(text, end)
    if (text[next] === ',') next = skipSpace(text, next + 1)
  }
  return out
}

const SPACE = /[ \t\n\r]*/y
function skipSpace(text: string, at: number): number {
  SPACE.lastIndex = at
  SPACE.exec(text)
  return SPACE.lastIndex
}

const SCALAR = /[^ \t\n\r,\]}]*/y
function skipValue(text: string, start: number): number {
  let depth = 0
  let at = start
  do {
    const c = text[at]
    if (c === '"') {
      at++
      while (text[at] !== '"') at += text[at] === '\\' ? 2 : 1
      at++
    } else if (c === '{' || c === '[') {
      depth++
      at++
    } else if (c === '}' || c === ']') {
      depth--
      at++
    } else if (c === ',' || c === ':') at++
    else {
      SCALAR.lastIndex = at
      SCALAR.exec(text)
      at = SCALAR.lastIndex
    }
    if (depth > 0) at = skipSpace(text, at)
  } while (depth > 0)
  return at
}
