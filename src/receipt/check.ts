import { decodeUtf8, sha256, toHex } from '../core/bytes.ts'
import { type Place, sequenceLength } from '../core/utf8.ts'
import { MamlError } from '../maml/error.ts'
import { outline } from '../maml/outline.ts'
import { type MamlPayload, parseMaml } from '../maml/parse.ts'
import { diffLines, diffTokens, diffWhole } from './diff.ts'
import { columnOf, type ParsedEntry, readLines } from './entry.ts'
import { MuError } from './error.ts'
import { mirror } from './mirror.ts'
import { leadingEntry, splitMu } from './mu.ts'

/** One difference between a payload and its receipt. */
export interface Difference {
  /** What differs: `sensor`, `readings[0].air_quality`, `signature`, `Timestamp`, `payload.sha256`, `mirror` ... */
  field: string
  /** The file in which to look: the one at fault where the entry's hashes tell, else the payload. */
  file: 'payload' | 'receipt'
  /** Both count from 1, columns in code points. */
  line: number
  column: number
  /**
   * What the other side has, and what this file has: at most 80 code points, null where there is nothing to show. It is
   * text from a file that may be hostile: escape it before it goes to a terminal or a page.
   */
  expected: string | null
  found: string | null
}

/** No more than this many differences in the text are reported. */
export const MAX_DIFFERENCES = 100

/** The mirror's first line in a receipt: seven lines of entry and the heading stand above it. */
const MIRROR_LINE = 9

/**
 * Compares a payload with its receipt and says where they differ; an empty list means that they belong together, whole
 * and undamaged. First come the differences between the payload's text and its mirror, then those between the payload
 * and the entry. Total: takes any bytes and throws nothing. The receipt's signature is not verified.
 */
export function checkMu(payload: Uint8Array, muBytes: Uint8Array): Difference[] {
  let leading: ReturnType<typeof leadingEntry>
  try {
    leading = leadingEntry(muBytes)
  } catch (error) {
    return [fromMuError(error)]
  }
  const { parsed, entryBytes, mirrorAt } = leading
  const out: Difference[] = []
  if (parsed.entry.mirrorSha256 !== null) {
    const mirrorBytes = muBytes.subarray(mirrorAt, mirrorAt + parsed.entry.payload.bytes)
    out.push(...compareTexts(payload, mirrorBytes, parsed))
  }
  try {
    splitMu(muBytes)
  } catch (error) {
    out.push(fromMuError(error))
  }
  out.push(...compareFacts(payload, parsed, decodeUtf8(entryBytes).split('\n')))
  return out
}

function fromMuError(error: unknown): Difference {
  if (!(error instanceof MuError)) throw error
  const { field, line, column } = error
  return { field, file: 'receipt', line, column, expected: null, found: null }
}

/** Text of UTF-8 bytes; each byte that is part of no well-formed sequence becomes one U+FFFD. */
function lenientText(bytes: Uint8Array): string {
  try {
    return decodeUtf8(bytes)
  } catch {
    const out: string[] = []
    for (let at = 0; at < bytes.length; ) {
      const length = sequenceLength(bytes, at)
      out.push(length === 0 ? '\ufffd' : decodeUtf8(bytes.subarray(at, at + length)))
      at += length || 1
    }
    return out.join('')
  }
}

interface Side {
  text: string
  lines: string[]
  /** Where each line starts in `text`; one more, the text's end. */
  starts: number[]
}

function sideOf(text: string): Side {
  const lines = text.split('\n')
  const starts: number[] = []
  let at = 0
  for (const line of lines) {
    starts.push(at)
    at += line.length + 1
  }
  return { text, lines, starts: [...starts, text.length] }
}

interface Stretch {
  /** UTF-16 offsets in the two texts, and what stands there. */
  foundAt: number
  found: string
  restoredAt: number
  restored: string
}

/** Where the payload's text and the text that its mirror restores differ. */
function* differingStretches(a: Side, b: Side): Generator<Stretch> {
  for (const hunk of diffLines(a.lines, b.lines, MAX_DIFFERENCES)) {
    const height = hunk.a.to - hunk.a.from
    const even = height === hunk.b.to - hunk.b.from
    // Where lines came or went, the whole hunk is compared as one.
    for (let i = 0; i < (even ? height : 1); i++) {
      const [n, m] = [hunk.a.from + i, hunk.b.from + i]
      const lineA = a.lines.slice(n, even ? n + 1 : hunk.a.to).join('\n')
      const lineB = b.lines.slice(m, even ? m + 1 : hunk.b.to).join('\n')
      if (lineA === lineB) continue
      for (const stretch of even ? diffTokens(lineA, lineB) : [diffWhole(lineA, lineB)]) {
        yield {
          foundAt: (a.starts[n] as number) + stretch.a.at,
          found: stretch.a.text,
          restoredAt: (b.starts[m] as number) + stretch.b.at,
          restored: stretch.b.text,
        }
      }
    }
  }
}

function compareTexts(payload: Uint8Array, mirrored: Uint8Array, { entry }: ParsedEntry): Difference[] {
  const mirrorText = lenientText(mirrored)
  const a = sideOf(lenientText(payload))
  const b = sideOf(mirror(mirrorText))
  if (a.text === b.text) return []
  // The mirror is to blame only where the payload is proved whole.
  const whole = toHex(sha256(payload)) === entry.payload.sha256
  const name = outline(whole ? a.text : b.text)
  const out: Difference[] = []
  for (const { foundAt, found, restoredAt, restored } of differingStretches(a, b)) {
    const [good, at] = whole ? [found, foundAt] : [restored, restoredAt]
    // Space names nothing, so the first thing after it does; what was only added belongs to what stands before it.
    const space = good.length - good.trimStart().length
    const field = name(good === '' ? Math.max(0, at - 1) : at + space)
    const difference: Difference = whole
      ? {
          field,
          file: 'receipt',
          ...placeInMirror(mirrorText, b.text, restoredAt),
          expected: clip(found),
          found: clip(restored),
        }
      : {
          field,
          file: 'payload',
          ...placeInText(a.text, foundAt),
          expected: clip(restored),
          found: clip(found),
        }
    const last = out.at(-1)
    if (last?.field === field && last.line === difference.line) continue
    if (out.push(difference) === MAX_DIFFERENCES) break
  }
  return out
}

/** At most 80 code points, so that a broken signature does not fill a screen. */
const clip = (text: string): string | null => {
  const points = [...text.slice(0, 200)]
  return text === '' ? null : points.slice(0, 80).join('')
}

function placeInText(text: string, offset: number): Place {
  let line = 1
  let start = 0
  for (let lf = text.indexOf('\n'); lf >= 0 && lf < offset; lf = text.indexOf('\n', lf + 1)) {
    line++
    start = lf + 1
  }
  return { line, column: 1 + countCodePoints(text.slice(start, offset)) }
}

/** The place in the receipt of the code point that stands at `offset` of the restored text. */
function placeInMirror(mirrored: string, restored: string, offset: number): Place {
  // The code points after it in the restored text are those before it in the mirror.
  const after = restored.slice(offset)
  const { line, column } = placeInText(
    mirrored,
    Math.max(0, after.length - String.fromCodePoint(after.codePointAt(0) ?? 0).length),
  )
  return { line: line + MIRROR_LINE - 1, column }
}

function countCodePoints(text: string): number {
  let n = 0
  for (const _ of text) n++
  return n
}

/** What the entry says of the payload against what the payload is. */
function compareFacts(payload: Uint8Array, parsed: ParsedEntry, lines: readonly string[]): Difference[] {
  const { entry } = parsed
  const out: Difference[] = []
  const compare = (field: string, line: number, expected: unknown, found: unknown): void => {
    if (expected === found) return
    const column = line === 2 ? columnOf(lines[1] ?? '', field) : field.length + ': '.length + 1
    out.push({ field, file: 'receipt', line, column, expected: String(expected), found: String(found) })
  }
  const hash = toHex(sha256(payload))
  compare('payload.bytes', 2, payload.length, entry.payload.bytes)
  compare('payload.sha256', 2, hash, entry.payload.sha256)
  const read = readOrNull(payload)
  if (entry.readings === null) {
    // A receipt may well be about a payload that nobody read; only this reason says that reading it fails.
    if (entry.reason === 'MAML_MALFORMED' && hash === entry.payload.sha256 && read)
      compare('reason', 2, 'another, as the payload is well-formed', entry.reason)
    return out
  }
  if (!read) {
    if (hash === entry.payload.sha256) compare('readings', 2, null, entry.readings)
    return out
  }
  const { signature } = read
  compare('readings', 2, read.readings.length, entry.readings)
  compare(
    'payloadSig.sha256',
    2,
    signature.kind === 'present' ? toHex(sha256(signature.bytes)) : null,
    entry.payloadSig.sha256,
  )
  const expected = readLines(read.names, read.readings[0]?.['timestamp'] as string)
  compare('Original', 6, expected.original, parsed.original)
  compare('Timestamp', 7, expected.timestamp, parsed.timestamp)
  return out
}

function readOrNull(payload: Uint8Array): MamlPayload | null {
  try {
    return parseMaml(payload)
  } catch (error) {
    if (error instanceof MamlError) return null
    throw error
  }
}
