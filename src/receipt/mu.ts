import { concat, decodeUtf8, equalBytes, fromHex, isHex, sha256, toHex, utf8 } from '../core/bytes.ts'
import { DunesError } from '../core/error.ts'
import { ML_DSA_SIZES } from '../core/ml-dsa.ts'
import { placeOf } from '../core/utf8.ts'
import { signatureSection } from '../maml/sign.ts'
import { ENTRY_MAX_BYTES, type ParsedEntry, parseEntry } from './entry.ts'
import { MuError } from './error.ts'
import { mirrorBytes } from './mirror.ts'

const MIRROR_HEADING = utf8('## Mirror\n')
const LF = utf8('\n')
/** An entry's number of lines; what follows them is no part of the leaf. */
const ENTRY_LINES = 7
/** Every signature section has this many bytes. */
const SECTION_BYTES = signatureSection(new Uint8Array(ML_DSA_SIZES[65].signature)).length

/** A whole receipt taken apart. Byte fields are views of the file. */
export interface Mu extends ParsedEntry {
  /** The leaf's input. */
  readonly entryBytes: Uint8Array
  /** As many bytes as the payload, or none where it was not read. */
  readonly mirror: Uint8Array
  /** 3,309 bytes, verified by nobody yet; null in an unsigned receipt. */
  readonly signature: Uint8Array | null
}

/**
 * Writes a whole receipt from its entry, the payload's bytes (needed where the payload was read, ignored where not) and
 * the receipt signature, if there is one. Throws `MuError` on a bad entry and `MU_WRONG_PAYLOAD` when the payload is
 * missing or is not the entry's.
 */
export function buildMu(
  entryBytes: Uint8Array,
  payload: Uint8Array | null,
  signature: Uint8Array | null,
): Uint8Array {
  const { entry } = parseEntry(entryBytes)
  let mirror = new Uint8Array()
  if (entry.mirrorSha256 !== null) {
    if (payload?.length !== entry.payload.bytes || toHex(sha256(payload)) !== entry.payload.sha256) {
      throw new DunesError('MU_WRONG_PAYLOAD', 'these are not the bytes that the entry is about', {
        hint: `pass the payload with SHA-256 ${entry.payload.sha256}`,
        exitCode: 1,
      })
    }
    mirror = new Uint8Array(mirrorBytes(payload))
  }
  if (signature && signature.length !== ML_DSA_SIZES[65].signature)
    throw new RangeError(`an ML-DSA-65 signature has ${ML_DSA_SIZES[65].signature} bytes`)
  return concat(
    entryBytes,
    MIRROR_HEADING,
    mirror,
    LF,
    signature ? signatureSection(signature) : new Uint8Array(),
  )
}

/**
 * Strictly reads a whole receipt: by length, never by searching for a heading, and with the mirror's hash checked.
 * Throws only `MuError`. The receipt signature is not verified.
 */
export function parseMu(bytes: Uint8Array): Mu {
  const mu = splitMu(bytes)
  const { mirrorSha256 } = mu.entry
  if (mirrorSha256 !== null && toHex(sha256(mu.mirror)) !== mirrorSha256)
    throw new MuError('mirror', 'the mirror does not have the SHA-256 that the entry gives', {
      line: ENTRY_LINES + 2,
      column: 1,
    })
  return mu
}

/** {@link parseMu} without the check of the mirror's hash: for telling what is damaged. Throws only `MuError`. */
export function splitMu(bytes: Uint8Array): Mu {
  const { entryBytes, parsed, mirrorAt } = leadingEntry(bytes)
  const { entry } = parsed
  if (!equalBytes(bytes.subarray(entryBytes.length, mirrorAt), MIRROR_HEADING))
    throw new MuError('mirror', 'expected ## Mirror after the entry', { line: ENTRY_LINES + 1, column: 1 })
  const end = mirrorAt + (entry.mirrorSha256 === null ? 0 : entry.payload.bytes)
  if (bytes[end] !== LF[0])
    throw new MuError(
      'mirror',
      `LF expected after ${end - mirrorAt} bytes of mirror`,
      placeOf(bytes, Math.min(end, bytes.length)),
    )
  const section = bytes.subarray(end + 1)
  const signature = section.length === 0 ? null : readSection(section)
  if (section.length > 0 && !signature)
    throw new MuError('signature', 'no signature section of the right form', placeOf(bytes, end + 1))
  return { ...parsed, entryBytes, mirror: bytes.subarray(mirrorAt, end), signature }
}

/** The entry that a receipt begins with, and where its mirror starts, whatever is there. Throws only `MuError`. */
export function leadingEntry(bytes: Uint8Array): {
  entryBytes: Uint8Array
  parsed: ParsedEntry
  mirrorAt: number
} {
  let end = 0
  for (let line = 0; line < ENTRY_LINES; line++) {
    const lf = bytes.subarray(0, ENTRY_MAX_BYTES).indexOf(LF[0] as number, end)
    // Too few lines: parseEntry says which is missing.
    end = lf < 0 ? Math.min(bytes.length, ENTRY_MAX_BYTES + 1) : lf + 1
  }
  const entryBytes = bytes.subarray(0, end)
  const parsed = parseEntry(entryBytes)
  return { entryBytes, parsed, mirrorAt: end + MIRROR_HEADING.length }
}

/** The signature that a damaged receipt still ends with, or null; its section has a fixed length. */
export const trailingSignature = (bytes: Uint8Array): Uint8Array | null =>
  bytes.length < SECTION_BYTES ? null : readSection(bytes.subarray(bytes.length - SECTION_BYTES))

function readSection(section: Uint8Array): Uint8Array | null {
  if (section.length !== SECTION_BYTES) return null
  try {
    const hex = decodeUtf8(section).slice(-1 - 2 - 2 * ML_DSA_SIZES[65].signature, -1)
    if (!isHex(hex, ML_DSA_SIZES[65].signature)) return null
    const signature = fromHex(hex)
    return equalBytes(section, signatureSection(signature)) ? signature : null
  } catch {
    return null
  }
}
