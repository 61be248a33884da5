import { hash } from 'node:crypto'
import { keccak_256 } from '@noble/hashes/sha3.js'

const native = ((): boolean => {
  try {
    return hash('keccak-256', new Uint8Array(), 'hex').startsWith('c5d24601')
  } catch {
    return false
  }
})()

/** Keccak-256, by OpenSSL where it has it: a chain of millions of blocks is mostly this. */
export const keccak: (bytes: Uint8Array) => Uint8Array = native
  ? (bytes) => hash('keccak-256', bytes, 'buffer')
  : keccak_256
