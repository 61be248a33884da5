import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto'
import { ML_DSA_SIZES, type MlDsa, type MlDsaLevel, nobleMlDsa } from './ml-dsa.ts'
import { verifyInWorker } from './ml-dsa-workers.ts'

/** Parsed public keys kept for reuse; parsing costs about a seventh of a verification. */
const KEY_CACHE = 4096

/** DER prefixes (RFC 9881) in front of the raw key: SubjectPublicKeyInfo, and PKCS #8 with the seed alone. */
const SPKI = {
  44: Buffer.from('30820532300b06096086480165030403110382052100', 'hex'),
  65: Buffer.from('308207b2300b0609608648016503040312038207a100', 'hex'),
} as const
const PKCS8 = {
  44: Buffer.from('3034020100300b060960864801650304031104228020', 'hex'),
  65: Buffer.from('3034020100300b060960864801650304031204228020', 'hex'),
} as const

const publicKeys = new Map<string, KeyObject>()
const importPublic = (level: MlDsaLevel, raw: Uint8Array): KeyObject => {
  const id = `${level}${Buffer.from(raw).toString('latin1')}`
  const known = publicKeys.get(id)
  if (known) return known
  const key = createPublicKey({ key: Buffer.concat([SPKI[level], raw]), format: 'der', type: 'spki' })
  if (publicKeys.size >= KEY_CACHE) publicKeys.delete(publicKeys.keys().next().value as string)
  publicKeys.set(id, key)
  return key
}
const importSeed = (level: MlDsaLevel, seed: Uint8Array): KeyObject =>
  createPrivateKey({ key: Buffer.concat([PKCS8[level], seed]), format: 'der', type: 'pkcs8' })

/** ML-DSA by Node's own crypto (OpenSSL 3.5 or newer). */
const nativeMlDsa: MlDsa = {
  name: 'native',
  publicKey: (level, seed) =>
    new Uint8Array(
      createPublicKey(importSeed(level, seed))
        .export({ format: 'der', type: 'spki' })
        .subarray(SPKI[level].length),
    ),
  sign: (level, seed, message, context) => {
    // `context` is newer than the type definitions of some Node versions that can run this.
    const options = { key: importSeed(level, seed), context }
    return new Uint8Array(sign(null, message, options))
  },
  verify(level, publicKey, message, signature, context) {
    const sizes = ML_DSA_SIZES[level]
    if (publicKey.length !== sizes.publicKey || signature.length !== sizes.signature || context.length > 255)
      return false
    try {
      const options = { key: importPublic(level, publicKey), context }
      return verify(null, message, options, signature)
    } catch {
      return false
    }
  },
  verifyAside(level, publicKey, message, signature, context) {
    const sizes = ML_DSA_SIZES[level]
    if (publicKey.length !== sizes.publicKey || signature.length !== sizes.signature || context.length > 255)
      return Promise.resolve(false)
    return new Promise((resolve) => {
      try {
        const options = { key: importPublic(level, publicKey), context }
        verify(null, message, options, signature, (error, valid) => resolve(error === null && valid))
      } catch {
        resolve(false)
      }
    })
  },
}

/** Whether this runtime signs and verifies ML-DSA natively, found by trying it once. */
const works = ((): boolean => {
  try {
    const seed = new Uint8Array(32).fill(1)
    const key = nativeMlDsa.publicKey(44, seed)
    const context = new Uint8Array([1])
    const signature = nativeMlDsa.sign(44, seed, context, context)
    return nobleMlDsa.verify(44, key, context, signature, context)
  } catch {
    return false
  }
})()

/** The fastest ML-DSA that this runtime has: native, else noble. Use it outside browsers. */
export const mlDsa: MlDsa = works
  ? nativeMlDsa
  : { ...nobleMlDsa, verifyAside: (...job) => verifyInWorker(job) }
export { nativeMlDsa }
