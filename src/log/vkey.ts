import { concat, fromBase64, sha256, toBase64, utf8 } from '../core/bytes.ts'
import { ML_DSA_SIZES } from '../core/ml-dsa.ts'
import { LogError } from './error.ts'
import { isKeyName } from './note.ts'

/** Signature type bytes of C2SP signed-note that Dunes signs and verifies. */
export const SIGNATURE_TYPE = {
  /** Ed25519 over the note text. */
  ed25519: 0x01,
  /** Timestamped ML-DSA-44 cosignature of a (sub)tree, C2SP tlog-cosignature. */
  mlDsa44: 0x06,
} as const
export type SignatureType = (typeof SIGNATURE_TYPE)[keyof typeof SIGNATURE_TYPE]

/** Bytes of a public key by signature type. */
const PUBLIC_KEY_BYTES: Readonly<Record<SignatureType, number>> = {
  [SIGNATURE_TYPE.ed25519]: 32,
  [SIGNATURE_TYPE.mlDsa44]: ML_DSA_SIZES[44].publicKey,
}
/** The cosigned message writes the name's length in one byte (C2SP tlog-cosignature); one limit serves both types. */
const MAX_KEY_NAME_BYTES = 255
/** A vkey of the longest name and the largest key stays below this. */
const MAX_VKEY_CHARACTERS = 4096

/** A verifier key (C2SP signed-note, verifier keys). Made by {@link makeVkey} or {@link parseVkey}, which check it. */
export interface Vkey {
  readonly name: string
  /** The uint32 that signature lines carry: the first four bytes of SHA-256(name || LF || type || publicKey). */
  readonly keyId: number
  readonly type: SignatureType
  readonly publicKey: Uint8Array
}

const refuse = (message: string): never => {
  throw new LogError('VKEY_MALFORMED', message, {
    hint: 'a verifier key is <name>+<8 hex digits of key id>+<base64 of type byte and public key>',
  })
}

/** Whether `type` is a signature type that Dunes knows. */
const isType = (type: number | undefined): type is SignatureType =>
  type === SIGNATURE_TYPE.ed25519 || type === SIGNATURE_TYPE.mlDsa44

function keyIdOf(name: string, type: SignatureType, publicKey: Uint8Array): number {
  const hash = sha256(utf8(`${name}\n`), new Uint8Array([type]), publicKey)
  return new DataView(hash.buffer, hash.byteOffset).getUint32(0)
}

/**
 * Verifier key of `publicKey` under `name`, with its key id computed. Names have 1 to 255 bytes and no Unicode space
 * or plus; a public key has 32 bytes (Ed25519) or 1,312 (ML-DSA-44). Throws `VKEY_MALFORMED`.
 */
export function makeVkey(name: string, type: SignatureType, publicKey: Uint8Array): Vkey {
  if (!isKeyName(name)) refuse('a key name is empty or holds a space, a plus or a control character')
  if (utf8(name).length > MAX_KEY_NAME_BYTES) refuse(`a key name is longer than ${MAX_KEY_NAME_BYTES} bytes`)
  if (!isType(type)) refuse('the signature type is neither Ed25519 (0x01) nor ML-DSA-44 (0x06)')
  if (publicKey.length !== PUBLIC_KEY_BYTES[type]) refuse('the public key has the wrong length for its type')
  return { name, keyId: keyIdOf(name, type, publicKey), type, publicKey: publicKey.slice() }
}

/** `<name>+<hex key id>+<base64(type || publicKey)>`. */
export const formatVkey = ({ name, keyId, type, publicKey }: Vkey): string =>
  `${name}+${keyId.toString(16).padStart(8, '0')}+${toBase64(concat(new Uint8Array([type]), publicKey))}`

/**
 * Reads a verifier key (C2SP signed-note). Refuses a key id other than the one computed from name, type and key: a
 * policy with such a line would silently match no signature, or somebody else's. Throws only `VKEY_MALFORMED`.
 */
export function parseVkey(text: string): Vkey {
  if (text.length > MAX_VKEY_CHARACTERS) refuse('the verifier key is too long')
  // Base64 holds pluses of its own, names do not: the first two separate.
  const [, name, keyId, base64] = /^([^+]*)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(text) ?? []
  if (name === undefined || keyId === undefined || base64 === undefined)
    return refuse('the verifier key does not have the three parts name, key id and key')
  let bytes = new Uint8Array(0)
  try {
    bytes = new Uint8Array(fromBase64(base64))
  } catch {
    refuse('the key is not canonical padded base64')
  }
  const vkey = makeVkey(name, bytes[0] as SignatureType, bytes.slice(1))
  if (vkey.keyId !== Number.parseInt(keyId, 16)) refuse('the key id does not match name and key')
  return vkey
}
