import { decodeUtf8, equalBytes, type Hex, isHex, utf8 } from '../core/bytes.ts'
import { DunesError } from '../core/error.ts'
import { type JsonObject, jcs, parseJson } from '../core/json.ts'
import { REASONS, type Reason } from '../core/reason.ts'
import { malformedUtf8At, placeOf } from '../core/utf8.ts'
import { parseTimestamp } from '../maml/time.ts'
import { MuError } from './error.ts'
import { mirror } from './mirror.ts'

/** On-chain outcomes by name. */
export const OUTCOMES = ['validated', 'rejected', 'expired'] as const
export type Outcome = (typeof OUTCOMES)[number]
export type Verdict = 'accepted' | 'rejected'

/** The object of an entry: every field always present, null where there is nothing (docs/formats.md, "The entry"). */
export interface Entry {
  v: 1
  /** Origin of the log that the entry is a leaf of. */
  origin: string
  /** CAIP-2 id of the chain. */
  chain: string
  registry: Hex
  /** The registry's number of the settled submission, and the leaf index. */
  index: number
  submission: Hex
  contributor: Hex
  seq: number
  /** The contributor's accumulator after this record. */
  acc: Hex
  sensor: string
  dataset: string
  schemaSha256: Hex
  uriSha256: Hex
  /** As declared on-chain. */
  payload: { sha256: Hex; bytes: number }
  /** `keyId` is the record's; `alg` and `sha256` (of the signature's bytes) are null together. */
  payloadSig: { alg: 'ML-DSA-65' | null; keyId: Hex; sha256: Hex | null }
  /** How many readings the payload holds; null when it was not read. */
  readings: number | null
  submitted: { block: number; logIndex: number }
  /** `time` is the settling block's, `YYYY-MM-DDTHH:MM:SSZ`. */
  settled: { tx: Hex; block: number; blockHash: Hex; logIndex: number; time: string }
  outcome: Outcome
  verdict: Verdict
  reason: Reason | null
  /** True where the verdict rests on the operator's word: the payload could not be obtained. */
  observed: boolean
  /** SHA-256 of the payload's mirror; null when the payload was not read. */
  mirrorSha256: Hex | null
}

/** What an entry says below its object; `Data`, the mirror of `original`, follows from it. */
export interface EntryLines {
  original: string
  timestamp: string
}

/** Bytes of the longest entry. */
export const ENTRY_MAX_BYTES = 8192

/** The lines of a payload that was not read, with the settling block's time. */
export const unreadLines = (settledTime: string): EntryLines => ({ original: 'data', timestamp: settledTime })

/** The lines of a payload that was read: its value names (any order) and the first reading's timestamp, verbatim. */
export const readLines = (names: readonly string[], timestamp: string): EntryLines => ({
  original: `${names
    .filter((name) => name !== 'sensor_id' && name !== 'timestamp')
    .sort()
    .join('_')}_data`,
  timestamp,
})

/**
 * The entry's bytes, which are the leaf's input. Throws `ENTRY_INVALID` when the object or the lines are not what an
 * entry may hold: nothing is encoded that {@link parseEntry} would refuse.
 */
export function encodeEntry(entry: Entry, lines: EntryLines): Uint8Array {
  const wrong = entryFault(entry as unknown as JsonObject) ?? linesFault(entry, lines)
  const bytes = wrong ? new Uint8Array() : render(entry, lines)
  if (!wrong && bytes.length <= ENTRY_MAX_BYTES) return bytes
  throw new DunesError('ENTRY_INVALID', wrong ? `${wrong[0]}: ${wrong[1]}` : 'the entry is too long')
}

const render = (entry: Entry, { original, timestamp }: EntryLines): Uint8Array =>
  utf8(
    `---\n${jcs(entry)}\n---\n## Receipt\nData: ${mirror(original)}\nOriginal: ${original}\nTimestamp: ${timestamp}\n`,
  )

export interface ParsedEntry {
  entry: Entry
  data: string
  original: string
  timestamp: string
}

/** The fixed beginnings of an entry's seven lines; the second line, the object, has none. */
const LINE_STARTS = ['---', '', '---', '## Receipt', 'Data: ', 'Original: ', 'Timestamp: '] as const
const FIELDS_BY_LINE = ['file', 'object', 'file', 'file', 'Data', 'Original', 'Timestamp'] as const

/**
 * Strictly reads an entry: exactly the bytes that {@link encodeEntry} gives for what they say, or `MuError` (and
 * nothing else) with field, line and column.
 */
export function parseEntry(bytes: Uint8Array): ParsedEntry {
  const refuse = (line: number, column: number, message: string, field?: string): never => {
    throw new MuError(field ?? FIELDS_BY_LINE[line - 1] ?? 'file', message, { line, column })
  }
  if (bytes.length > ENTRY_MAX_BYTES) refuse(1, 1, `an entry has at most ${ENTRY_MAX_BYTES} bytes`, 'file')
  let text = ''
  try {
    text = decodeUtf8(bytes)
  } catch {
    throw new MuError('file', 'not UTF-8', placeOf(bytes, malformedUtf8At(bytes)))
  }
  const lines = text.split('\n')
  for (const [i, start] of LINE_STARTS.entries()) {
    const line = lines[i] ?? ''
    if (i < 4 && i !== 1 ? line !== start : !line.startsWith(start))
      refuse(i + 1, 1, `expected ${start.trim()}`)
  }
  if (lines.length !== 8 || lines[7] !== '') refuse(Math.min(lines.length, 8), 1, 'an entry has seven lines')
  const [data, original, timestamp] = [4, 5, 6].map((i) =>
    (lines[i] as string).slice((LINE_STARTS[i] as string).length),
  ) as [string, string, string]

  const object = lines[1] as string
  const value = parseObject(object, refuse)
  const fault = entryFault(value)
  if (fault) refuse(2, columnOf(object, fault[0]), fault[1], fault[0])
  const entry = value as unknown as Entry
  const wrongLine = linesFault(entry, { original, timestamp })
  if (wrongLine) {
    const [line, prefix] = wrongLine[0] === 'Original' ? [6, 'Original: '] : [7, 'Timestamp: ']
    refuse(line, prefix.length + 1, wrongLine[1])
  }
  const mirrored = mirror(original)
  if (data !== mirrored)
    refuse(5, 'Data: '.length + 1 + commonPrefix(data, mirrored), 'Data is not the mirror of Original')
  const again = render(entry, { original, timestamp })
  if (!equalBytes(again, bytes)) {
    const canonical = decodeUtf8(again).split('\n')[1] ?? ''
    refuse(2, 1 + commonPrefix(object, canonical), 'the object is not canonical JSON (RFC 8785)')
  }
  return { entry, data, original, timestamp }
}

function parseObject(
  text: string,
  refuse: (line: number, column: number, message: string) => never,
): JsonObject {
  let value: unknown = null
  try {
    value = parseJson(text, { maxDepth: 2 })
  } catch (error) {
    const offset = error instanceof DunesError ? Number(error.details['offset'] ?? 0) : 0
    refuse(2, 1 + [...text.slice(0, offset)].length, 'not strict JSON')
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return refuse(2, 1, 'expected a JSON object')
  return value as JsonObject
}

/** Column, from 1, of a (dotted) field's key in the object's line, or 1 where the key is not there. */
export function columnOf(text: string, field: string): number {
  let at = 0
  for (const key of field.split('.')) at = Math.max(text.indexOf(`"${key}":`, at), at)
  return [...text.slice(0, at)].length + 1
}

function commonPrefix(a: string, b: string): number {
  const [x, y] = [[...a], [...b]]
  let i = 0
  while (i < x.length && x[i] === y[i]) i++
  return i
}

type Fault = readonly [field: string, message: string]
type Check = (value: unknown) => boolean

const hex =
  (size: number): Check =>
  (value) =>
    isHex(value, size)
const orNull =
  (check: Check): Check =>
  (value) =>
    value === null || check(value)
const oneOf =
  (...values: unknown[]): Check =>
  (value) =>
    values.includes(value)
const matches =
  (form: RegExp): Check =>
  (value) =>
    typeof value === 'string' && form.test(value)
// Not -0: canonical JSON writes it as 0, so the two would be one spelling of two values.
const count: Check = (value) => Number.isSafeInteger(value) && (value as number) >= 0 && !Object.is(value, -0)
const positive: Check = (value) => count(value) && value !== 0
/** Names as the registry enforces them. */
const registryName = matches(/^[a-z0-9_]{1,32}$/)
const blockTime: Check = (value) =>
  typeof value === 'string' && value.length === 20 && parseTimestamp(value) !== null

type Shape = { readonly [key: string]: Check | Shape }
const SHAPE: Shape = {
  v: oneOf(1),
  // Printable ASCII, at most 128 characters, neither space nor plus, as the anchor contract enforces.
  origin: matches(/^[!-*,-~]{1,128}$/),
  // CAIP-2.
  chain: matches(/^[-a-z0-9]{3,8}:[-_a-zA-Z0-9]{1,32}$/),
  registry: hex(20),
  index: count,
  submission: hex(32),
  contributor: hex(20),
  seq: count,
  acc: hex(32),
  sensor: registryName,
  dataset: registryName,
  schemaSha256: hex(32),
  uriSha256: hex(32),
  payload: { sha256: hex(32), bytes: count },
  payloadSig: { alg: oneOf('ML-DSA-65', null), keyId: hex(32), sha256: orNull(hex(32)) },
  readings: orNull(positive),
  submitted: { block: count, logIndex: count },
  settled: { tx: hex(32), block: count, blockHash: hex(32), logIndex: count, time: blockTime },
  outcome: oneOf(...OUTCOMES),
  verdict: oneOf('accepted', 'rejected'),
  reason: oneOf(null, ...REASONS),
  observed: oneOf(true, false),
  mirrorSha256: orNull(hex(32)),
}

function shapeFault(shape: Shape, value: unknown, path: string): Fault | null {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return [path, 'must be an object']
  const record = value as Record<string, unknown>
  for (const [key, check] of Object.entries(shape)) {
    const field = path === '' ? key : `${path}.${key}`
    if (!Object.hasOwn(record, key)) return [field, 'is missing']
    if (typeof check !== 'function') {
      const fault = shapeFault(check, record[key], field)
      if (fault) return fault
    } else if (!check(record[key])) return [field, 'has a value that the field cannot have']
  }
  const extra = Object.keys(record).find((key) => !Object.hasOwn(shape, key))
  return extra === undefined ? null : [path === '' ? extra : `${path}.${extra}`, 'is no field of an entry']
}

/** Reasons that are found before a payload is read; all the others, and no reason, need one that was read. */
const UNREAD: ReadonlySet<Reason | null> = new Set<Reason>([
  'QUORUM_REJECTED',
  'EXPIRED',
  'URI_REFUSED',
  'PAYLOAD_UNAVAILABLE',
  'MAML_MALFORMED',
])
const OUTCOME_OF: Readonly<Partial<Record<Reason, Outcome>>> = {
  QUORUM_REJECTED: 'rejected',
  EXPIRED: 'expired',
}
/** Reasons that can only be found on a payload whose signature is in form. */
const NEEDS_SIGNATURE: ReadonlySet<Reason | null> = new Set<Reason | null>([
  null,
  'KEY_REVOKED',
  'SCHEMA_UNKNOWN',
  'SCHEMA_INVALID',
  'STALE',
  'DUPLICATE',
])

/** The first field that is wrong by itself or contradicts another. */
function entryFault(value: JsonObject): Fault | null {
  const fault = shapeFault(SHAPE, value, '')
  if (fault) return fault
  const entry = value as unknown as Entry
  const { reason, payloadSig } = entry
  const read = !UNREAD.has(reason)
  if (entry.outcome !== ((reason && OUTCOME_OF[reason]) ?? 'validated'))
    return ['outcome', 'contradicts the reason']
  if ((entry.verdict === 'accepted') !== (reason === null)) return ['verdict', 'contradicts the reason']
  if (entry.observed !== (reason === 'PAYLOAD_UNAVAILABLE')) return ['observed', 'contradicts the reason']
  if ((entry.readings !== null) !== read) return ['readings', 'contradicts the reason']
  if ((entry.mirrorSha256 !== null) !== read) return ['mirrorSha256', 'contradicts the reason']
  if ((payloadSig.alg === null) !== (payloadSig.sha256 === null))
    return ['payloadSig.alg', 'is null without sha256, or not null with it']
  const signed = payloadSig.sha256 !== null
  if (signed ? !read || reason === 'SIGNATURE_MISSING' : NEEDS_SIGNATURE.has(reason))
    return ['payloadSig.sha256', 'contradicts the reason']
  return null
}

function linesFault(entry: Entry, { original, timestamp }: EntryLines): Fault | null {
  if (entry.readings === null) {
    const lines = unreadLines(entry.settled.time)
    if (original !== lines.original) return ['Original', 'must be data where no payload was read']
    if (timestamp !== lines.timestamp) return ['Timestamp', 'must be settled.time where no payload was read']
    return null
  }
  // Names may hold `_`, so the line cannot be taken apart; it can be bounded.
  if (!/^(?:[a-z][a-z0-9_]{0,988})?_data$/.test(original))
    return ['Original', 'must be value names joined by _, then _data']
  if (!parseTimestamp(timestamp)) return ['Timestamp', 'is not a real date of the form of a reading']
  return null
}
