import { decodeUtf8, fromBase64, toBase64, u32be, utf8 } from '../core/bytes.ts'
import { LogError } from './error.ts'

/** Bytes that a note may have; 16 of the largest post-quantum signatures fit several times over. */
export const MAX_NOTE_BYTES = 262_144
/** Signature lines that a note may have; the specification asks verifiers to accept at least 16. */
export const MAX_NOTE_SIGNATURES = 64

/** One signature line: `— <name> base64(keyId || signature)`. Name and key id together say which key made it. */
export interface NoteSignature {
  readonly name: string
  /** The uint32 in the first four bytes. */
  readonly keyId: number
  /** What follows the key id, at least one byte; its meaning is the signature type's. */
  readonly signature: Uint8Array
}

/** A signed note (C2SP signed-note). Nothing in it is to be believed before a signature has been verified. */
export interface Note {
  /** The signed text, with its final LF. */
  readonly text: string
  readonly signatures: readonly NoteSignature[]
}

const LINE_START = '\u2014 '
// biome-ignore lint/suspicious/noControlCharactersInRegex: signed notes forbid exactly these
const NAME = /^[^\p{White_Space}+\u0000-\u001f]+$/u
// biome-ignore lint/suspicious/noControlCharactersInRegex: signed notes forbid exactly these
const CONTROL = /[\u0000-\u0009\u000b-\u001f]/

const refuse = (message: string): never => {
  throw new LogError('NOTE_MALFORMED', message, {
    hint: 'a signed note is text, an empty line and signature lines, in UTF-8 with LF line ends',
  })
}

/** Whether `name` can name a key: not empty, well-formed, without Unicode spaces, plus and control characters. */
export const isKeyName = (name: string): boolean => name.isWellFormed() && NAME.test(name)

/** Throws unless `text` is a note text: well-formed, ends in LF, no control characters but LF. */
function assertText(text: string): void {
  if (!text.isWellFormed()) refuse('the text holds a lone surrogate')
  if (CONTROL.test(text)) refuse('the text holds a control character')
  if (!text.endsWith('\n')) refuse('the text does not end in a line end')
}

function formatSignature({ name, keyId, signature }: NoteSignature): string {
  if (!isKeyName(name)) refuse('a key name is empty or holds a space, a plus or a control character')
  if (!Number.isInteger(keyId) || keyId < 0 || keyId > 0xffffffff) refuse('a key id is not a uint32')
  if (signature.length === 0) refuse('a signature is empty')
  const bytes = new Uint8Array(4 + signature.length)
  bytes.set(u32be(keyId))
  bytes.set(signature, 4)
  return `${LINE_START}${name} ${toBase64(bytes)}\n`
}

/**
 * The note as text (C2SP signed-note, format). Throws `NOTE_MALFORMED` where text, names or sizes could not be read
 * back by {@link parseNote}.
 */
export function formatNote(note: Note): string {
  assertText(note.text)
  if (note.signatures.length < 1 || note.signatures.length > MAX_NOTE_SIGNATURES)
    refuse(`a note has 1 to ${MAX_NOTE_SIGNATURES} signatures`)
  const out = `${note.text}\n${note.signatures.map(formatSignature).join('')}`
  if (utf8(out).length > MAX_NOTE_BYTES) refuse(`the note is longer than ${MAX_NOTE_BYTES} bytes`)
  return out
}

function parseSignature(line: string): NoteSignature {
  const [name, base64, ...more] = line.slice(LINE_START.length).split(' ')
  if (!line.startsWith(LINE_START) || name === undefined || base64 === undefined || more.length > 0)
    return refuse('a signature line is not an em dash, a key name and a signature')
  if (!isKeyName(name)) refuse('a key name is empty or holds a space, a plus or a control character')
  let bytes = new Uint8Array(0)
  try {
    bytes = new Uint8Array(fromBase64(base64))
  } catch {
    refuse('a signature is not canonical padded base64')
  }
  if (bytes.length < 5) refuse('a signature is shorter than a key id and one byte')
  return { name, keyId: new DataView(bytes.buffer).getUint32(0), signature: bytes.slice(4) }
}

/**
 * Reads a signed note (C2SP signed-note, format), as UTF-8 bytes or as text, without verifying anything. Strict: what
 * it accepts, {@link formatNote} writes again byte for byte. At most {@link MAX_NOTE_BYTES} bytes and
 * {@link MAX_NOTE_SIGNATURES} signatures. Throws only `NOTE_MALFORMED`.
 */
export function parseNote(note: string | Uint8Array): Note {
  if ((typeof note === 'string' ? utf8(note) : note).length > MAX_NOTE_BYTES)
    refuse(`the note is longer than ${MAX_NOTE_BYTES} bytes`)
  let all = ''
  try {
    all = typeof note === 'string' ? note : decodeUtf8(note)
  } catch {
    refuse('the note is not UTF-8')
  }
  assertText(all)
  // The text may hold empty lines itself; the last one separates it from the signatures.
  const gap = all.lastIndexOf('\n\n')
  if (gap < 0) refuse('no empty line separates text and signatures')
  const lines = all.slice(gap + 2, -1).split('\n')
  if (gap + 2 === all.length) refuse('the note has no signature')
  if (lines.length > MAX_NOTE_SIGNATURES) refuse(`the note has more than ${MAX_NOTE_SIGNATURES} signatures`)
  return { text: all.slice(0, gap + 1), signatures: lines.map(parseSignature) }
}
