import { utf8 } from '../core/bytes.ts'
import type { MlDsa } from '../core/ml-dsa.ts'

/** ML-DSA-65 context (FIPS 204 section 5.2) of proofs of possession. */
export const KEY_CONTEXT = utf8('dunes.key/v1')

/**
 * Proves that the caller holds the key of `seed` (32 bytes): a signature over the 32-byte possession digest of
 * (chain, registry, account, key index), which binds the proof to one registration and so stops replay.
 */
export const provePossession = (seed: Uint8Array, digest: Uint8Array, mlDsa: MlDsa): Uint8Array =>
  mlDsa.sign(65, seed, digest, KEY_CONTEXT)

/** Whether `signature` proves possession of `publicKey` over `digest`. Never throws; wrong sizes are false. */
export const verifyPossession = (
  publicKey: Uint8Array,
  digest: Uint8Array,
  signature: Uint8Array,
  mlDsa: MlDsa,
): boolean => digest.length === 32 && mlDsa.verify(65, publicKey, digest, signature, KEY_CONTEXT)
