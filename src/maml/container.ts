import { decodeUtf8, utf8 } from '../core/bytes.ts'
import { type Json, JsonError, parseJson } from '../core/json.ts'
import { malformedUtf8At, placeOf } from '../core/utf8.ts'
import { MamlError } from './error.ts'
import { type JsonPath, locateJson } from './locate.ts'
import { parseTimestamp } from './time.ts'

/** Keys that front matter may hold, in the order in which we write them. */
export const FRONT_MATTER_KEYS = ['maml', 'schema', 'dataset', 'sensor', 'contributor', 'created'] as const
export type FrontMatterKey = (typeof FRONT_MATTER_KEYS)[number]
export type FrontMatter = Readonly<Partial<Record<FrontMatterKey, string>>>

/** The one version of MAML that there is. */
export const MAML_VERSION = '1.0'

export const DATA_HEADING = '## Data_Block'
export const SCHEMA_HEADING = '## Schema'
export const SIGNATURE_HEADING = '## Signature'
const RESERVED: ReadonlySet<string> = new Set([DATA_HEADING, SCHEMA_HEADING, SIGNATURE_HEADING])

export const FENCE_OPEN = '```json'
export const FENCE_CLOSE = '```'
export const RULE = '---'

/** One line without its LF, and where it starts in the text (UTF-16 units). */
export interface Line {
  text: string
  start: number
}

/** A text whose every line ends with LF, read line by line, that can name the place of any of its offsets. */
export interface Source {
  readonly text: string
  /** The next line, or null at the end. */
  next(): Line | null
  /** The next line that is not empty, or null at the end. */
  nextFilled(): Line | null
  /** Throws {@link MamlError} at `offset` of `text`. */
  refuse(message: string, offset: number): never
}

/**
 * Opens the bytes of a MAML or schema file. Throws {@link MamlError} when they are more than `maxBytes` (judged before
 * anything else), not UTF-8, begin with a byte order mark, hold 0x0D or NUL, or do not end with LF.
 */
export function openSource(bytes: Uint8Array, maxBytes: number): Source {
  if (bytes.length > maxBytes)
    throw new MamlError(`the file has ${bytes.length} bytes, the limit is ${maxBytes}`, {
      line: 1,
      column: 1,
    })
  const bad = (): never => {
    throw new MamlError('not UTF-8', placeOf(bytes, malformedUtf8At(bytes)))
  }
  let text = ''
  try {
    text = decodeUtf8(bytes)
  } catch {
    bad()
  }
  let at = 0
  const refuse = (message: string, offset: number): never => {
    const before = utf8(text.slice(0, offset))
    throw new MamlError(message, placeOf(before, before.length))
  }
  if (text.startsWith('\ufeff')) refuse('a byte order mark stands before the first line', 0)
  const carriageReturn = text.indexOf('\r')
  if (carriageReturn >= 0) refuse('a carriage return (0x0D); lines end with LF alone', carriageReturn)
  const nul = text.indexOf('\0')
  if (nul >= 0) refuse('a NUL byte', nul)
  if (!text.endsWith('\n')) refuse('the last line does not end with LF', text.length)

  const next = (): Line | null => {
    if (at >= text.length) return null
    const start = at
    const end = text.indexOf('\n', start)
    at = end + 1
    return { text: text.slice(start, end), start }
  }
  const nextFilled = (): Line | null => {
    let line = next()
    while (line && line.text === '') line = next()
    return line
  }
  return { text, next, nextFilled, refuse }
}

/** The JSON of a file's one fence, and how to refuse one of its values with the value's own place. */
export interface Fence {
  value: Json
  /** The fence's JSON as written, and the offset at which it starts in the source's text. */
  text: string
  start: number
  refuseAt(message: string, path: JsonPath): never
}

/**
 * Reads what MAML and schema files share, up to the line that closes the json fence: optional front matter, optional
 * free Markdown, the line `heading`, and the fence. Blank lines may stand between heading and fence.
 */
export function readContainer(
  source: Source,
  heading: typeof DATA_HEADING | typeof SCHEMA_HEADING,
  maxDepth: number,
): { frontMatter: FrontMatter; fence: Fence } {
  const { text, refuse } = source
  let frontMatter: FrontMatter = {}
  let line = source.next()
  if (line?.text === RULE) {
    frontMatter = readFrontMatter(source)
    line = source.next()
  }
  // Lines alone decide: no Markdown construct (code fence, comment, quote) hides a reserved heading.
  while (line && line.text !== heading) {
    if (RESERVED.has(line.text)) refuse(`${line.text} stands before ${heading}`, line.start)
    line = source.next()
  }
  if (!line) return refuse(`no line ${heading}`, text.length)
  const open = source.nextFilled()
  if (open?.text !== FENCE_OPEN)
    return refuse(`${heading} must be followed by the line ${FENCE_OPEN}`, open?.start ?? text.length)

  const start = open.start + FENCE_OPEN.length + 1
  let close = source.next()
  while (close && close.text !== FENCE_CLOSE) {
    if (RESERVED.has(close.text)) refuse(`${close.text} stands inside the json fence`, close.start)
    close = source.next()
  }
  if (!close) return refuse('the json fence does not end', open.start)
  return { frontMatter, fence: readFence(text.slice(start, close.start), start, maxDepth, refuse) }
}

function readFence(text: string, start: number, maxDepth: number, refuse: Source['refuse']): Fence {
  let value: Json = null
  try {
    value = parseJson(text, { maxDepth })
  } catch (error) {
    if (error instanceof JsonError) refuse(error.message, start + error.offset)
    throw error
  }
  const refuseAt = (message: string, path: JsonPath): never => refuse(message, start + locateJson(text, path))
  return { value, text, start, refuseAt }
}

/**
 * A plain value: 1 to 256 printable ASCII characters that begin with a letter, a digit or `_` and do not end with a
 * space; neither `: ` nor ` #` within, no `:` at the end. YAML 1.2 reads each as one plain scalar.
 */
const PLAIN_VALUE = /^[A-Za-z0-9_](?:[ -~]{0,254}[!-~])?$/
export const isPlainValue = (value: string): boolean =>
  PLAIN_VALUE.test(value) && !value.includes(': ') && !value.includes(' #') && !value.endsWith(':')

function readFrontMatter(source: Source): FrontMatter {
  const out: Partial<Record<FrontMatterKey, string>> = {}
  for (;;) {
    const line = source.next()
    if (!line) return source.refuse(`the front matter does not end with ${RULE}`, source.text.length)
    if (line.text === RULE) return out
    const colon = line.text.indexOf(': ')
    const key = FRONT_MATTER_KEYS.find((known) => known === line.text.slice(0, Math.max(colon, 0)))
    if (!key)
      return source.refuse(
        `expected one of ${FRONT_MATTER_KEYS.join(', ')}, then a colon and a space`,
        line.start,
      )
    if (Object.hasOwn(out, key)) source.refuse(`${key} stands twice in the front matter`, line.start)
    const value = line.text.slice(colon + 2)
    const valueAt = line.start + colon + 2
    if (!isPlainValue(value)) source.refuse(`the value of ${key} is not a plain string`, valueAt)
    if (key === 'maml' && value !== MAML_VERSION) source.refuse(`maml must be ${MAML_VERSION}`, valueAt)
    if (key === 'created' && !parseTimestamp(value))
      source.refuse('created is not a real date of the form YYYY-MM-DDTHH:MM:SS[.fraction]Z', valueAt)
    out[key] = value
  }
}
