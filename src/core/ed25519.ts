import { ed25519 } from '@noble/curves/ed25519.js'
import { concat, fromHex } from './bytes.ts'
import { type NodeCrypto, type NodeKey, nodeCrypto } from './runtime.ts'

/**
 * Ed25519 (RFC 8032) in two implementations that agree on every input. Libraries differ on keys and signatures that have a part
 * outside the group of prime order, which no honest signer makes; here both refuse them, so that a checkpoint never
 * holds for one verifier and fails for another.
 */
export interface Ed25519 {
  /** The 64-byte signature over `message` by a 32-byte seed. */
  sign(seed: Uint8Array, message: Uint8Array): Uint8Array
  /** Whether the signature holds. Never throws: wrong sizes and malformed points are a no. */
  verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean
}

const KEY_BYTES = 32
const SIGNATURE_BYTES = 64
/** Public keys that are remembered with what was found of them. Few keys sign checkpoints. */
const KEY_CACHE = 256

/** Whether `bytes` are the canonical encoding of a point of the group of prime order, its neutral one left out. */
function isSound(bytes: Uint8Array): boolean {
  try {
    const point = ed25519.Point.fromBytes(bytes)
    return !point.is0() && point.isTorsionFree()
  } catch {
    return false
  }
}

/** Remembers what `make` makes of a key, null for one that is not sound. */
function soundKeys<T extends object>(make: (key: Uint8Array) => T): (key: Uint8Array) => T | null {
  const known = new Map<string, T | null>()
  return (key) => {
    const id = String.fromCharCode(...key)
    let made = known.get(id)
    if (made !== undefined) return made
    made = isSound(key) ? make(key) : null
    if (known.size >= KEY_CACHE) known.clear()
    known.set(id, made)
    return made
  }
}

const hasSizes = (publicKey: Uint8Array, signature: Uint8Array): boolean =>
  publicKey.length === KEY_BYTES && signature.length === SIGNATURE_BYTES

const soundAlone = soundKeys((key) => key)

/** In JavaScript, for browsers. */
export const nobleEd25519: Ed25519 = {
  sign: (seed, message) => ed25519.sign(message, seed),
  verify(publicKey, message, signature) {
    if (!hasSizes(publicKey, signature) || !soundAlone(publicKey)) return false
    try {
      // It checks the equation times the cofactor; R of prime order makes that the equation itself (RFC 8032 section 5.1.7).
      const holds = ed25519.verify(signature, message, publicKey, { zip215: false })
      return holds && ed25519.Point.fromBytes(signature.subarray(0, KEY_BYTES)).isTorsionFree()
    } catch {
      return false
    }
  },
}

// RFC 8410: SubjectPublicKeyInfo in front of a raw key, PKCS #8 in front of a seed.
const SPKI = fromHex('0x302a300506032b6570032100')
const PKCS8 = fromHex('0x302e020100300506032b657004220420')

/** By Node's own cryptography. */
function native(crypto: NodeCrypto): Ed25519 {
  const imported = soundKeys<NodeKey>((raw) =>
    crypto.createPublicKey({ key: concat(SPKI, raw), format: 'der', type: 'spki' }),
  )
  return {
    sign(seed, message) {
      const key = crypto.createPrivateKey({ key: concat(PKCS8, seed), format: 'der', type: 'pkcs8' })
      return new Uint8Array(crypto.sign(null, message, key))
    },
    verify(publicKey, message, signature) {
      if (!hasSizes(publicKey, signature)) return false
      const key = imported(publicKey)
      // OpenSSL compares R with a multiple of sound points, byte by byte, so that R needs no look of its own. R may still be
      // neutral, which an honest signer never makes and the other implementation takes as well.
      return key !== null && crypto.verify(null, message, key, signature)
    },
  }
}

/** The fastest that this runtime has. */
export const fastEd25519: Ed25519 = nodeCrypto ? native(nodeCrypto) : nobleEd25519
