import { sha256, toHex } from '../core/bytes.ts'
import { DunesError } from '../core/error.ts'
import { mirrorBytes } from './mirror.ts'
import { buildMu, leadingEntry, trailingSignature } from './mu.ts'

/**
 * Restores a payload from the mirror in its receipt, damaged or not elsewhere. Throws `MuError` when the entry cannot
 * be read and `MU_IRREPARABLE` unless the restored bytes have the hash and length that the entry gives.
 */
export function repairPayload(muBytes: Uint8Array): Uint8Array {
  const { parsed, mirrorAt } = leadingEntry(muBytes)
  const { payload, mirrorSha256 } = parsed.entry
  if (mirrorSha256 === null)
    throw irreparable('the receipt is about a payload that was not read, so it has no mirror')
  const restored = mirrorBytes(muBytes.subarray(mirrorAt, mirrorAt + payload.bytes))
  if (restored.length !== payload.bytes || toHex(sha256(restored)) !== payload.sha256)
    throw irreparable('the mirror is damaged as well')
  return restored
}

export interface RepairedMu {
  bytes: Uint8Array
  /** Whether the receipt's signature survived; a lost one is fetched anew, as it is no part of the entry. */
  signed: boolean
}

/**
 * Restores a receipt's mirror from the payload, and keeps the signature where its section is whole. Throws `MuError`
 * when the entry cannot be read and `MU_IRREPARABLE` when the payload is not the entry's.
 */
export function repairMu(payload: Uint8Array, muBytes: Uint8Array): RepairedMu {
  const { entryBytes, parsed } = leadingEntry(muBytes)
  if (parsed.entry.payload.sha256 !== toHex(sha256(payload)))
    throw irreparable('the payload does not have the hash that the entry gives')
  const signature = trailingSignature(muBytes)
  return { bytes: buildMu(entryBytes, payload, signature), signed: signature !== null }
}

const irreparable = (why: string): DunesError =>
  new DunesError('MU_IRREPARABLE', `cannot repair: ${why}`, {
    hint: 'fetch the file again from another holder',
    exitCode: 1,
  })
