import { utf8 } from '../core/bytes.ts'
import type { MlDsa } from '../core/ml-dsa.ts'
import { parseEntry } from './entry.ts'

/** ML-DSA-65 context (FIPS 204 section 5.2) of receipt signatures. */
export const MU_CONTEXT = utf8('dunes.mu/v1')

/** Signature of the indexer whose 32-byte seed this is over an entry's bytes. Throws `MuError` when they are no entry. */
export function signEntry(entryBytes: Uint8Array, seed: Uint8Array, mlDsa: MlDsa): Uint8Array {
  parseEntry(entryBytes)
  return mlDsa.sign(65, seed, entryBytes, MU_CONTEXT)
}

/** Whether `signature` is one by `publicKey` (1,952 bytes) over the entry's bytes. Never throws. */
export const verifyEntry = (
  entryBytes: Uint8Array,
  signature: Uint8Array,
  publicKey: Uint8Array,
  mlDsa: MlDsa,
): boolean => mlDsa.verify(65, publicKey, entryBytes, signature, MU_CONTEXT)
