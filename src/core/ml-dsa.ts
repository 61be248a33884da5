import { ml_dsa44, ml_dsa65 } from '@noble/post-quantum/ml-dsa.js'

/** The two parameter sets of FIPS 204 that Dunes uses: 65 for payloads, keys and receipts, 44 for checkpoints. */
export type MlDsaLevel = 44 | 65

/** Sizes in bytes, FIPS 204 table 2. */
export const ML_DSA_SIZES = {
  44: { publicKey: 1312, signature: 2420 },
  65: { publicKey: 1952, signature: 3309 },
} as const
/** The seed xi of FIPS 204 algorithm 1: all that a private key file holds. */
export const ML_DSA_SEED_BYTES = 32

/**
 * ML-DSA (FIPS 204, pure mode, algorithms 2 and 3) as the rest of Dunes sees it. `context` is at most 255 bytes.
 * `verify` answers false for any wrong size or encoding and never throws.
 */
export interface MlDsa {
  readonly name: 'native' | 'noble'
  /** Public key bytes of the key that `seed` (32 bytes) stands for. */
  publicKey(level: MlDsaLevel, seed: Uint8Array): Uint8Array
  sign(level: MlDsaLevel, seed: Uint8Array, message: Uint8Array, context: Uint8Array): Uint8Array
  verify(
    level: MlDsaLevel,
    publicKey: Uint8Array,
    message: Uint8Array,
    signature: Uint8Array,
    context: Uint8Array,
  ): boolean
  /** `verify` on another thread, for whoever must not be held up; absent where the runtime has none. Never rejects. */
  verifyAside?(
    level: MlDsaLevel,
    publicKey: Uint8Array,
    message: Uint8Array,
    signature: Uint8Array,
    context: Uint8Array,
  ): Promise<boolean>
}

const sets = { 44: ml_dsa44, 65: ml_dsa65 } as const

/** Pure JavaScript ML-DSA: the one that runs in a browser, and where Node has no native one. */
export const nobleMlDsa: MlDsa = {
  name: 'noble',
  publicKey: (level, seed) => sets[level].keygen(seed).publicKey,
  sign: (level, seed, message, context) =>
    sets[level].sign(message, sets[level].keygen(seed).secretKey, { context }),
  verify(level, publicKey, message, signature, context) {
    const sizes = ML_DSA_SIZES[level]
    if (publicKey.length !== sizes.publicKey || signature.length !== sizes.signature || context.length > 255)
      return false
    try {
      return sets[level].verify(signature, message, publicKey, { context })
    } catch {
      return false
    }
  },
}
