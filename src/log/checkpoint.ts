import { ed25519 } from '@noble/curves/ed25519.js'
import { concat, fromBase64, toBase64, toBigInt, u64be, utf8 } from '../core/bytes.ts'
import { fastEd25519 } from '../core/ed25519.ts'
import type { MlDsa } from '../core/ml-dsa.ts'
import { type Check, LogError } from './error.ts'
import { isHash, isTreeSize } from './merkle.ts'
import { formatNote, type NoteSignature, parseNote } from './note.ts'
import { formatVkey, makeVkey, SIGNATURE_TYPE, type Vkey } from './vkey.ts'

/** Bytes (all printable ASCII) that an origin may have. */
export const MAX_ORIGIN_BYTES = 128

/** What a log says of itself at one size (C2SP tlog-checkpoint). */
export interface Checkpoint {
  /** Printable ASCII without space and plus, 1 to 128 characters. */
  readonly origin: string
  /** Leaves, 0 to 2^53 - 1. */
  readonly size: number
  /** 32 bytes, RFC 6962 section 2.1. */
  readonly root: Uint8Array
}

/** A private key at work: it makes the signature bytes of one line, without the key id. */
export interface CheckpointSigner {
  readonly vkey: Vkey
  /** `timestamp` is in POSIX seconds; types that carry none ignore it. */
  sign(checkpoint: Checkpoint, timestamp: number): Uint8Array
}

/** A signature that verified. */
export interface VerifiedSignature {
  readonly vkey: Vkey
  /** POSIX seconds that the signer claims, 0 for no claim; null where the type carries none. */
  readonly timestamp: number | null
}

/** A checkpoint that at least one known key has signed, with everything that {@link checkSigners} needs. */
export interface OpenCheckpoint {
  readonly checkpoint: Checkpoint
  /** In the order of the lines; one for each line of a known key. */
  readonly verified: readonly VerifiedSignature[]
  /** Signature lines in all, those of unknown keys included. */
  readonly lines: number
}

/** Keys that together signed the checkpoints of a log up to a size, before they were replaced by others. */
export interface RetiredSigners {
  readonly vkeys: readonly Vkey[]
  /** The largest size whose checkpoint they may have signed; null while the replacement is under way. */
  readonly toSize: number | null
}

/** `"subtree/v1\n\0"`, the label of C2SP tlog-cosignature's cosigned_message. */
const COSIGNATURE_LABEL = utf8('subtree/v1\n\0')
const NO_CONTEXT = new Uint8Array(0)
const TIMESTAMP_BYTES = 8
const SEED_BYTES = 32

const refuse = (message: string): never => {
  throw new LogError('CHECKPOINT_MALFORMED', message, {
    hint: 'a checkpoint body is origin, size and base64 root, a line each',
  })
}

/** Whether `origin` is 1 to 128 printable ASCII characters without space and plus. */
export const isOrigin = (origin: unknown): origin is string =>
  typeof origin === 'string' && origin.length <= MAX_ORIGIN_BYTES && /^[!-*,-~]+$/.test(origin)

/** The note text of a checkpoint: three lines, no extension lines. Throws `CHECKPOINT_MALFORMED`. */
export function formatCheckpointBody({ origin, size, root }: Checkpoint): string {
  if (!isOrigin(origin))
    refuse('the origin is not 1 to 128 printable ASCII characters without space and plus')
  if (!isTreeSize(size)) refuse('the size is not an integer from 0 to 2^53 - 1')
  if (!isHash(root)) refuse('the root is not 32 bytes')
  return `${origin}\n${size}\n${toBase64(root)}\n`
}

/**
 * Reads a checkpoint's note text. Extension lines are refused: this log writes none, and an ML-DSA-44 cosignature does
 * not cover them. Throws only `CHECKPOINT_MALFORMED`.
 */
export function parseCheckpointBody(text: string): Checkpoint {
  const [origin, size, root, end, ...more] = text.split('\n')
  if (end === undefined) refuse('the checkpoint has fewer than three lines')
  if (end !== '' || more.length > 0) refuse('the checkpoint has extension lines')
  if (!isOrigin(origin))
    return refuse('the origin is not 1 to 128 printable ASCII characters without space and plus')
  if (size === undefined || !/^(?:0|[1-9][0-9]{0,15})$/.test(size) || !isTreeSize(Number(size)))
    return refuse('the size is not a decimal integer from 0 to 2^53 - 1')
  // 44 characters of padded base64 are what 32 bytes take; canonical, so that the body re-encodes to itself.
  let bytes = new Uint8Array(0)
  try {
    bytes = new Uint8Array(fromBase64(root ?? ''))
  } catch {
    refuse('the root is not canonical padded base64')
  }
  if (!isHash(bytes)) refuse('the root is not 32 bytes')
  return { origin, size: Number(size), root: bytes }
}

/**
 * The bytes that an ML-DSA-44 cosignature signs (C2SP tlog-cosignature, cosigned_message) for a whole tree: label, name
 * and origin behind a length byte each, timestamp, start 0, end = size, root.
 */
function cosignedMessage(
  name: string,
  { origin, size, root }: Checkpoint,
  timestamp: Uint8Array,
): Uint8Array {
  const vector = (text: string): Uint8Array => {
    const bytes = utf8(text)
    return concat(new Uint8Array([bytes.length]), bytes)
  }
  return concat(COSIGNATURE_LABEL, vector(name), timestamp, vector(origin), u64be(0), u64be(size), root)
}

function assertSeed(seed: Uint8Array): void {
  if (seed.length === SEED_BYTES) return
  throw new LogError('LOG_ARGUMENT', `a private key seed has ${SEED_BYTES} bytes`, {
    hint: 'make one with `dunes keygen`',
    details: { bytes: seed.length },
  })
}

/**
 * Ed25519 signer (type 0x01) for the private key `seed` (32 bytes, RFC 8032 section 5.1.5). Throws `LOG_ARGUMENT` on
 * another length and `VKEY_MALFORMED` on a bad name.
 */
export function ed25519Signer(name: string, seed: Uint8Array): CheckpointSigner {
  assertSeed(seed)
  return {
    vkey: makeVkey(name, SIGNATURE_TYPE.ed25519, ed25519.getPublicKey(seed)),
    sign: (checkpoint) => fastEd25519.sign(seed, utf8(formatCheckpointBody(checkpoint))),
  }
}

/**
 * ML-DSA-44 signer (type 0x06) for the key seed `seed` (32 bytes, FIPS 204 algorithm 1). Throws `LOG_ARGUMENT` on
 * another length and `VKEY_MALFORMED` on a bad name.
 */
export function mlDsa44Signer(name: string, seed: Uint8Array, mlDsa: MlDsa): CheckpointSigner {
  assertSeed(seed)
  return {
    vkey: makeVkey(name, SIGNATURE_TYPE.mlDsa44, mlDsa.publicKey(44, seed)),
    sign(checkpoint, timestamp) {
      const time = u64be(timestamp)
      return concat(time, mlDsa.sign(44, seed, cosignedMessage(name, checkpoint, time), NO_CONTEXT))
    },
  }
}

/**
 * The signed note of a checkpoint (C2SP tlog-checkpoint), one line for each of `signers`, in their order. `timestamp` is
 * in POSIX seconds, an integer from 0. Throws `CHECKPOINT_MALFORMED`, or `NOTE_MALFORMED` without a signer.
 *
 * Whether this tree extends every one signed before is the caller's to make sure of: a log must never sign two
 * checkpoints that no consistency proof joins.
 */
export function signCheckpoint(
  { timestamp, ...checkpoint }: Checkpoint & { timestamp: number },
  signers: readonly CheckpointSigner[],
): string {
  const text = formatCheckpointBody(checkpoint)
  if (!isTreeSize(timestamp)) refuse('the timestamp is not POSIX seconds')
  return formatNote({
    text,
    signatures: signers.map((signer) => ({
      name: signer.vkey.name,
      keyId: signer.vkey.keyId,
      signature: signer.sign(checkpoint, timestamp),
    })),
  })
}

/** Whether the lines of a note are those of `signers`, by their names and key ids alone. Throws `NOTE_MALFORMED`. */
export function isSignedBy(note: string, signers: readonly CheckpointSigner[]): boolean {
  const id = ({ name, keyId }: { name: string; keyId: number }) => `${name} ${keyId}`
  const lines = parseNote(note).signatures.map(id).sort()
  return (
    lines.join('\n') ===
    signers
      .map(({ vkey }) => id(vkey))
      .sort()
      .join('\n')
  )
}

const verifyLine = (
  { signature }: NoteSignature,
  vkey: Vkey,
  text: string,
  checkpoint: Checkpoint,
  mlDsa: MlDsa,
): VerifiedSignature | null => {
  if (vkey.type === SIGNATURE_TYPE.ed25519) {
    const holds = fastEd25519.verify(vkey.publicKey, utf8(text), signature)
    return holds ? { vkey, timestamp: null } : null
  }
  const time = signature.subarray(0, TIMESTAMP_BYTES)
  const timestamp = Number(toBigInt(time))
  if (time.length < TIMESTAMP_BYTES || !isTreeSize(timestamp)) return null
  const message = cosignedMessage(vkey.name, checkpoint, time)
  return mlDsa.verify(44, vkey.publicKey, message, signature.subarray(TIMESTAMP_BYTES), NO_CONTEXT)
    ? { vkey, timestamp }
    : null
}

/**
 * Opens a signed checkpoint for those who know its `origin` and the `vkeys` that may sign it. Lines of unknown keys are
 * ignored, a known key's line that does not verify fails the whole note, and so does a note that no known key has signed
 * (C2SP signed-note, signatures). Which of the keys *must* have signed is {@link checkSigners}'s question. Never throws:
 * whatever is wrong with the note is the `reason`. Timestamps are answered, not judged: there is no clock here.
 */
export function openCheckpoint(
  note: string | Uint8Array,
  { origin, vkeys, mlDsa }: { origin: string; vkeys: readonly Vkey[]; mlDsa: MlDsa },
): ({ ok: true } & OpenCheckpoint) | { ok: false; reason: string } {
  try {
    const { text, signatures } = parseNote(note)
    const checkpoint = parseCheckpointBody(text)
    if (checkpoint.origin !== origin) return { ok: false, reason: 'the checkpoint is of another origin' }
    const verified: VerifiedSignature[] = []
    for (const line of signatures) {
      const vkey = vkeys.find(({ name, keyId }) => name === line.name && keyId === line.keyId)
      if (vkey === undefined) continue
      const signature = verifyLine(line, vkey, text, checkpoint, mlDsa)
      if (signature === null) return { ok: false, reason: `the signature of ${vkey.name} does not verify` }
      verified.push(signature)
    }
    if (verified.length === 0) return { ok: false, reason: 'no known key has signed the checkpoint' }
    return { ok: true, checkpoint, verified, lines: signatures.length }
  } catch (error) {
    return {
      ok: false,
      reason: error instanceof LogError ? error.message : 'the note is neither text nor bytes',
    }
  }
}

/**
 * Whether the lines of an opened checkpoint are exactly those that a policy names: each of `vkeys` has signed, once, and
 * nobody else. Order is free. A proof bundle asks for this, so that nothing unverified can travel in it.
 */
export function checkSigners(opened: OpenCheckpoint, vkeys: readonly Vkey[]): Check {
  const signed = new Set(opened.verified.map(({ vkey }) => formatVkey(vkey)))
  const named = new Map(vkeys.map((vkey) => [formatVkey(vkey), vkey.name]))
  for (const [key, name] of named)
    if (!signed.has(key)) return { ok: false, reason: `${name} has not signed the checkpoint` }
  // Each named key has a line, so as many lines as keys leaves none for a second signature or a stranger's.
  if (opened.lines !== named.size)
    return { ok: false, reason: 'the checkpoint has a signature line that the policy does not name' }
  return { ok: true }
}

/**
 * {@link checkSigners} for a log whose keys were replaced: the lines are exactly those of `vkeys`, or exactly those of one
 * retired set at a size that it may have signed. The reason is about the retired set where that one has signed, else about `vkeys`.
 */
export function checkSignerSets(
  opened: OpenCheckpoint,
  vkeys: readonly Vkey[],
  retired: readonly RetiredSigners[] = [],
): Check {
  const current = checkSigners(opened, vkeys)
  if (current.ok) return current
  const { size } = opened.checkpoint
  const signed = retired.filter((set) => checkSigners(opened, set.vkeys).ok)
  if (signed.some(({ toSize }) => toSize === null || size <= toSize)) return { ok: true }
  const [late] = signed
  if (!late) return current
  return {
    ok: false,
    reason: `the checkpoint of size ${size} is signed by keys that were retired at size ${late.toSize}`,
  }
}
