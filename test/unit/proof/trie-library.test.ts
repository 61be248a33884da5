import { createMerkleProof, createMPT, type MerklePatriciaTrie, verifyMerkleProof } from '@ethereumjs/mpt'
import { keccak_256 } from '@noble/hashes/sha3.js'
import { describe, expect, it } from 'vitest'
import { concat, toHex } from '../../../src/core/bytes.ts'
import { ProofError } from '../../../src/proof/error.ts'
import { verifyAccount, verifySlot, verifyTrieProof } from '../../../src/proof/trie.ts'
import { seeded } from '../../support/corrupt.ts'
import { minimal, rlp } from '../../support/trie.ts'

// Tries that a maintained library makes, and its verdict on every proof, beside ours.

const random = seeded(20_261_123)
const below = (n: number): number => Math.floor(random() * n)
const bytes = (length: number): Uint8Array => Uint8Array.from({ length }, () => below(256))

interface Tries {
  trie: MerklePatriciaTrie
  /** Keys as the trie has them, hashed where its kind hashes them, and keys that it does not have. */
  present: [key: Uint8Array, value: Uint8Array][]
  absent: Uint8Array[]
}

async function fill(present: Tries['present'], absent: Uint8Array[]): Promise<Tries> {
  const trie = await createMPT()
  for (const [key, value] of present) await trie.put(key, value)
  return { trie, present, absent }
}

const hashed = (count: number, width: number): Uint8Array[] =>
  Array.from({ length: count }, () => keccak_256(bytes(width)))

/** Nonce, balance, storage root and code hash: yellow paper, section 4.1. */
const account = (): Uint8Array =>
  rlp([minimal(below(1000)), minimal(BigInt(below(2 ** 30)) ** 3n), bytes(32), bytes(32)])
const state = (count: number): Promise<Tries> =>
  fill(
    hashed(count, 20).map((key) => [key, account()]),
    hashed(20, 20),
  )
/** Words without their leading zeros, many of them so short that their nodes stand in their parents. */
const storage = (count: number): Promise<Tries> =>
  fill(
    hashed(count, 32).map((key) => [key, rlp(minimal(BigInt(1 + below(200)) ** BigInt(1 + below(30))))]),
    hashed(20, 32),
  )
/** Keys are the RLP of a transaction's place, so that one may begin another; typed receipts carry their byte: EIP-2718. */
const receipts = (count: number): Promise<Tries> => {
  const key = (n: number) => rlp(minimal(n))
  return fill(
    Array.from({ length: count }, (_, n): [Uint8Array, Uint8Array] => {
      const log = [bytes(20), [bytes(32), bytes(32)], bytes(below(300))]
      const body = rlp([minimal(1), minimal(21_000 * (n + 1)), bytes(256), below(3) === 0 ? [] : [log]])
      const type = below(4)
      return [key(n), type === 0 ? body : concat(Uint8Array.of(type), body)]
    }),
    [count, count + 1, 127, 128, 300, 70_000].filter((n) => n >= count).map(key),
  )
}

describe.each([
  ['account', state, [1, 2, 5, 40, 300]],
  ['storage', storage, [1, 2, 17, 200]],
  ['receipt', receipts, [1, 2, 16, 130, 300]],
] as const)('%s tries', (_, make, sizes) => {
  it.each(sizes)('of %i entries: every key present and absent, as the library says', async (size) => {
    const { trie, present, absent } = await make(size)
    const root = trie.root()
    for (const [key, value] of present) {
      const proof = await createMerkleProof(trie, key)
      expect(toHex(verifyTrieProof(root, key, proof) as Uint8Array)).toBe(toHex(value))
    }
    for (const key of absent) {
      const proof = await createMerkleProof(trie, key)
      expect(await verifyMerkleProof(key, proof, { root })).toBeNull()
      expect(verifyTrieProof(root, key, proof)).toBeNull()
    }
  })

  it('refuses every changed proof, and never answers another value than the library would', async () => {
    const { trie, present } = await make(60)
    const root = trie.root()
    let refused = 0
    for (let round = 0; round < 400; round++) {
      const [key, value] = present[below(present.length)] as [Uint8Array, Uint8Array]
      const proof: Uint8Array[] = (await createMerkleProof(trie, key)).map((node) => node.slice())
      const at = below(proof.length)
      const node = proof[at] as Uint8Array
      switch (below(4)) {
        case 0:
          node[below(node.length)]! ^= 1 << below(8)
          break
        case 1:
          proof.splice(at, 1)
          break
        case 2:
          proof.push(bytes(40))
          break
        default:
          proof[at] = (
            (await createMerkleProof(trie, present[0]?.[0] as Uint8Array)).at(-1) as Uint8Array
          ).slice()
      }
      const same = proof.length === (await createMerkleProof(trie, key)).length
      try {
        // A swap may put the very node back that was there.
        expect(toHex(verifyTrieProof(root, key, proof) as Uint8Array)).toBe(toHex(value))
        expect(same).toBe(true)
      } catch (error) {
        if (!(error instanceof ProofError)) throw error
        refused++
      }
    }
    expect(refused).toBeGreaterThan(350)
  })

  it('refuses a proof under another root', async () => {
    const [one, other] = [await make(20), await make(20)]
    const [key] = one.present[3] as [Uint8Array, Uint8Array]
    const proof = await createMerkleProof(one.trie, key)
    await expect(verifyMerkleProof(key, proof, { root: other.trie.root() })).rejects.toThrow()
    expect(() => verifyTrieProof(other.trie.root(), key, proof)).toThrow(ProofError)
  })
})

it('reads accounts, hashing their addresses', async () => {
  const trie = await createMPT()
  const made = Array.from({ length: 50 }, () => ({
    address: bytes(20),
    storageRoot: bytes(32),
    codeHash: bytes(32),
  }))
  for (const { address, storageRoot, codeHash } of made)
    await trie.put(keccak_256(address), rlp([minimal(1), minimal(7), storageRoot, codeHash]))
  for (const { address, storageRoot, codeHash } of made) {
    const proof = await createMerkleProof(trie, keccak_256(address))
    expect(verifyAccount(trie.root(), address, proof)).toEqual({ storageRoot, codeHash })
  }
})

it('reads slots, padding their keys and their values', async () => {
  const trie = await createMPT()
  const words = Array.from({ length: 50 }, (_, n) => ({ slot: minimal(n), value: BigInt(n + 1) ** 20n }))
  const padded = (slot: Uint8Array) => concat(new Uint8Array(32 - slot.length), slot)
  for (const { slot, value } of words) await trie.put(keccak_256(padded(slot)), rlp(minimal(value)))
  for (const { slot, value } of words) {
    const proof = await createMerkleProof(trie, keccak_256(padded(slot)))
    expect(BigInt(toHex(verifySlot(trie.root(), slot, proof)))).toBe(value)
  }
})
