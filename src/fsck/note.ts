import { createPublicKey, verify } from 'node:crypto'
import { concat, fromBase64, toBase64, toHex, u64be, utf8 } from '../core/bytes.ts'
import type { MlDsa } from '../core/ml-dsa.ts'
import { sha256 } from './hash.ts'

/** A key that signs checkpoints, as a verifier key line (docs/log.md, "Checkpoint") names it. */
export interface CheckpointKey {
  readonly name: string
  /** First four bytes of SHA-256(name || LF || type || key), as 0x hex. */
  readonly id: string
  readonly type: number
  readonly publicKey: Uint8Array
}

/** Keys that signed together, at sizes up to `toSize`; null where that is open. */
export interface CheckpointKeySet {
  readonly keys: readonly CheckpointKey[]
  readonly toSize: number | null
}

const ED25519 = 0x01
const ML_DSA_44 = 0x06
const NO_CONTEXT = new Uint8Array(0)
/** DER in front of a raw Ed25519 key, RFC 8410. */
const ED25519_SPKI = Buffer.from('302a300506032b6570032100', 'hex')

/** Reads a verifier key line; null where it is none or its id is not the one that follows from name and key. */
export function readCheckpointKey(line: string): CheckpointKey | null {
  const [, name = '', id = '', base64 = ''] = /^([^+]+)\+([0-9a-f]{8})\+(.+)$/.exec(line) ?? []
  try {
    const bytes = fromBase64(base64)
    const expected = toHex(sha256(utf8(`${name}\n`), bytes).subarray(0, 4))
    const type = bytes[0] ?? 0
    return expected === `0x${id}` ? { name, id: expected, type, publicKey: bytes.slice(1) } : null
  } catch {
    return null
  }
}

/**
 * What is wrong with a checkpoint's signed note, or null: its three lines must be those of (origin, size, root), and each signature
 * line must verify under one of `keys`, with at least one of every type that `keys` has, and none twice. With no key at all only
 * the form is judged.
 */
export function noteFault(
  note: string,
  { origin, size, root }: { origin: string; size: number; root: Uint8Array },
  keys: readonly CheckpointKey[],
  mlDsa: MlDsa,
): { field: string; expected: string; found: string } | null {
  const body = `${origin}\n${size}\n${toBase64(root)}\n`
  const gap = note.indexOf('\n\n') + 1
  if (note.slice(0, gap) !== body) return { field: 'body', expected: body, found: note.slice(0, gap) || note }
  const lines = note.slice(gap + 1).split('\n')
  if (lines.pop() !== '' || lines.length === 0)
    return { field: 'signatures', expected: 'lines that end with LF', found: note.slice(gap + 1) }
  const seen = new Set<string>()
  const types = new Set<number>()
  for (const line of lines) {
    const fault = (expected: string) => ({ field: 'signature', expected, found: line })
    const [, name, base64 = ''] = /^\u2014 ([^ +]+) ([^ ]+)$/.exec(line) ?? []
    let bytes: Uint8Array
    try {
      bytes = fromBase64(base64)
    } catch {
      return fault('a key name and canonical base64')
    }
    const id = toHex(bytes.subarray(0, 4))
    if (name === undefined || bytes.length < 5) return fault('a key name, a key id and a signature')
    if (seen.has(`${name} ${id}`)) return fault('one signature of each key')
    seen.add(`${name} ${id}`)
    if (keys.length === 0) continue
    const key = keys.find((candidate) => candidate.name === name && candidate.id === id)
    if (!key) return fault('a key that the trust policy names')
    types.add(key.type)
    if (!verifies(key, bytes.subarray(4), body, origin, size, root, mlDsa))
      return fault('a signature that verifies')
  }
  const missing = keys.find(({ type }) => !types.has(type))
  return missing
    ? { field: 'signatures', expected: `one by ${missing.name}, type ${missing.type}`, found: 'none' }
    : null
}

/**
 * {@link noteFault} for a log whose keys were replaced: a note is right when one of the sets that may have signed at its size
 * finds no fault. Of several faults it is the first set's that is told. Without a set only the form is judged.
 */
export function noteFaultBySets(
  note: string,
  head: { origin: string; size: number; root: Uint8Array },
  sets: readonly CheckpointKeySet[],
  mlDsa: MlDsa,
): ReturnType<typeof noteFault> {
  if (sets.length === 0) return noteFault(note, head, [], mlDsa)
  let first: ReturnType<typeof noteFault> = null
  for (const { keys, toSize } of sets) {
    if (toSize !== null && head.size > toSize) continue
    const fault = noteFault(note, head, keys, mlDsa)
    if (fault === null) return null
    first ??= fault
  }
  return first ?? { field: 'signatures', expected: 'keys that may sign at this size', found: 'none' }
}

function verifies(
  key: CheckpointKey,
  signature: Uint8Array,
  body: string,
  origin: string,
  size: number,
  root: Uint8Array,
  mlDsa: MlDsa,
): boolean {
  if (key.type === ED25519) {
    if (key.publicKey.length !== 32 || signature.length !== 64) return false
    const der = Buffer.concat([ED25519_SPKI, key.publicKey])
    return verify(null, utf8(body), createPublicKey({ key: der, format: 'der', type: 'spki' }), signature)
  }
  if (key.type !== ML_DSA_44) return false
  // C2SP tlog-cosignature: label, name, time, origin, start, end, root.
  const short = (text: string): Uint8Array => concat(Uint8Array.of(utf8(text).length), utf8(text))
  const message = concat(
    utf8('subtree/v1\n\0'),
    short(key.name),
    signature.subarray(0, 8),
    short(origin),
    u64be(0),
    u64be(size),
    root,
  )
  return mlDsa.verify(44, key.publicKey, message, signature.subarray(8), NO_CONTEXT)
}
