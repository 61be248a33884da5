import { fromBase64, toBase64 } from '../core/bytes.ts'
import { LogError } from './error.ts'
import { isHash, isTreeSize, MAX_PROOF_HASHES } from './merkle.ts'
import { MAX_NOTE_BYTES, parseNote } from './note.ts'

/** An offline proof that an entry is in a log (C2SP tlog-proof). Nothing in it has been verified by reading it. */
export interface TlogProof {
  /** The entry's index, from 0. */
  readonly index: number
  /** Inclusion proof, RFC 6962 section 2.1.1: 0 to 53 hashes of 32 bytes, the leaf's sibling first. */
  readonly hashes: readonly Uint8Array[]
  /** The signed checkpoint, verbatim. */
  readonly checkpoint: string
  /** Opaque data that no signature covers, at least one byte, or null. Proof bundles refuse it. */
  readonly extra: Uint8Array | null
}

const HEADER = 'c2sp.org/tlog-proof@v1'
/** Room for the checkpoint, and for extra data of the same size. */
const MAX_CHARACTERS = 4 * MAX_NOTE_BYTES

const refuse = (message: string): never => {
  throw new LogError('TLOG_PROOF_MALFORMED', message, {
    hint: 'a tlog-proof is its header, index, hashes, an empty line and a signed checkpoint',
  })
}

function assertCheckpoint(checkpoint: string): void {
  try {
    parseNote(checkpoint)
  } catch (cause) {
    throw new LogError('TLOG_PROOF_MALFORMED', 'the checkpoint is not a signed note', { cause })
  }
}

function decode(base64: string, what: string): Uint8Array {
  try {
    return fromBase64(base64)
  } catch {
    return refuse(`${what} is not canonical padded base64`)
  }
}

/** The proof as text (C2SP tlog-proof, format). Throws `TLOG_PROOF_MALFORMED` on what could not be read back. */
export function formatTlogProof({ index, hashes, checkpoint, extra }: TlogProof): string {
  if (!isTreeSize(index)) refuse('the index is not an integer from 0 to 2^53 - 1')
  if (hashes.length > MAX_PROOF_HASHES || !hashes.every(isHash))
    refuse(`the proof is not at most ${MAX_PROOF_HASHES} hashes of 32 bytes`)
  if (extra?.length === 0) refuse('extra data is empty')
  assertCheckpoint(checkpoint)
  const lines = [HEADER]
  if (extra !== null) lines.push(`extra ${toBase64(extra)}`)
  lines.push(`index ${index}`, ...hashes.map(toBase64), '')
  const out = `${lines.join('\n')}\n${checkpoint}`
  if (out.length > MAX_CHARACTERS) refuse('the proof is too long')
  return out
}

/**
 * Reads a tlog-proof (C2SP tlog-proof, format). Strict: what it accepts, {@link formatTlogProof} writes again byte for
 * byte. The checkpoint is only checked to be a signed note; `openCheckpoint` verifies it and `verifyInclusion` the hashes.
 * Throws only `TLOG_PROOF_MALFORMED`.
 */
export function parseTlogProof(text: string): TlogProof {
  if (text.length > MAX_CHARACTERS) refuse('the proof is too long')
  const gap = text.indexOf('\n\n')
  if (gap < 0) refuse('no empty line stands before the checkpoint')
  const [header, ...lines] = text.slice(0, gap).split('\n')
  if (header !== HEADER) refuse(`the first line is not ${HEADER}`)
  let extra: Uint8Array | null = null
  if (lines[0]?.startsWith('extra ')) {
    extra = decode((lines.shift() as string).slice('extra '.length), 'extra data')
    if (extra.length === 0) refuse('extra data is empty')
  }
  const index = /^index (0|[1-9][0-9]{0,15})$/.exec(lines.shift() ?? '')?.[1]
  if (index === undefined || !isTreeSize(Number(index)))
    return refuse('the index line is not a decimal from 0 to 2^53 - 1')
  if (lines.length > MAX_PROOF_HASHES) refuse(`the proof has more than ${MAX_PROOF_HASHES} hashes`)
  const hashes = lines.map((line) => {
    const hash = decode(line, 'a hash')
    return isHash(hash) ? hash : refuse('a hash is not 32 bytes')
  })
  const checkpoint = text.slice(gap + 2)
  assertCheckpoint(checkpoint)
  return { index: Number(index), hashes, checkpoint, extra }
}
