import { keccak_256 } from '@noble/hashes/sha3.js'
import { equalBytes, fromHex, toHex } from '../core/bytes.ts'
import { TrieError } from './error.ts'
import { decodeRlp, encodeRlp, type RlpItem, rlpBytes, rlpList, rlpUint } from './rlp.ts'

/** Root of a trie that holds nothing: Keccak-256 of the RLP of the empty string. */
export const EMPTY_TRIE_ROOT = fromHex('0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421')

/** A path of 64 nibbles passes at most 64 nodes and the one that ends it. */
const MAX_NODES = 65

/** Nodes by the hex of their hash, which have been found under a root by it. */
export type KnownNodes = Map<string, RlpItem>

/** An account as the state trie holds it (yellow paper, section 4.1). */
export interface Account {
  storageRoot: Uint8Array
  codeHash: Uint8Array
}

/**
 * What the Merkle-Patricia trie under `root` (32 bytes) holds at `key`, proved by `nodes`: the RLP of each node on the
 * key's path from the root down, save those embedded in their parent (yellow paper, appendix D; the shape of
 * `eth_getProof`, EIP-1186). Answers the value's bytes, or null where the path shows that there is none: it ends in an
 * empty branch slot, or in a leaf or extension of another key, or the trie is empty and `nodes` too.
 *
 * The root is the caller's, never the first node's hash, and every node must be used. With `known`, nodes that earlier
 * proofs have put there are taken from there and must not come again. Throws {@link TrieError}, or `RlpError` on a node that is
 * not canonical RLP.
 */
export function verifyTrieProof(
  root: Uint8Array,
  key: Uint8Array,
  nodes: readonly Uint8Array[],
  known?: KnownNodes,
): Uint8Array | null {
  if (root.length !== 32) throw new TrieError('TRIE_PROOF_INVALID', 'a trie root has 32 bytes')
  if (nodes.length > MAX_NODES) throw new TrieError('TRIE_PROOF_INVALID', 'a trie proof has too many nodes')
  const nibbles = toNibbles(key)
  let used = 0
  let depth = 0
  let atRoot = true

  const finish = (value: Uint8Array | null): Uint8Array | null => {
    if (used < nodes.length) {
      throw new TrieError('TRIE_NODE_UNUSED', `a trie proof has ${nodes.length - used} node(s) without use`)
    }
    return value
  }
  const byHash = (hash: Uint8Array): RlpItem => {
    const isRoot = atRoot
    atRoot = false
    const name = known && toHex(hash)
    const shown = name && known.get(name)
    if (shown) return shown
    const node = nodes[used]
    if (node === undefined)
      throw new TrieError('TRIE_PROOF_INVALID', 'a trie proof ends before its key is decided')
    if (!equalBytes(keccak_256(node), hash)) {
      throw new TrieError(
        'TRIE_PROOF_INVALID',
        `node ${used} of a trie proof is not the one that its parent names`,
      )
    }
    if (node.length < 32 && !isRoot) {
      throw new TrieError('TRIE_PROOF_INVALID', 'a trie node is named by hash though it fits in its parent')
    }
    used++
    const item = decodeRlp(node)
    if (name) known.set(name, item)
    return item
  }
  // A child is named by its hash, or stands in its parent when its RLP is shorter than a hash (appendix D, function n).
  const child = (reference: RlpItem): RlpItem => {
    if (reference instanceof Uint8Array) {
      if (reference.length !== 32)
        throw new TrieError('TRIE_PROOF_INVALID', 'a trie node names a child wrongly')
      return byHash(reference)
    }
    if (encodeRlp(reference).length >= 32) {
      throw new TrieError('TRIE_PROOF_INVALID', 'a trie node embeds a child that is too long for it')
    }
    return reference
  }

  if (equalBytes(root, EMPTY_TRIE_ROOT)) return finish(null)
  let node = rlpList(byHash(root), 'a trie node')
  for (;;) {
    if (node.length === 17) {
      if (depth === nibbles.length) {
        const value = rlpBytes(node[16], "a branch node's value")
        return finish(value.length === 0 ? null : value)
      }
      const next = node[nibbles[depth++] as number] as RlpItem
      if (next.length === 0) return finish(emptySlot(next))
      node = rlpList(child(next), 'a trie node')
    } else if (node.length === 2) {
      const { path, isLeaf } = decodePath(rlpBytes(node[0], "a trie node's path"))
      const matches = path.every((nibble, i) => nibbles[depth + i] === nibble)
      const reference = node[1] as RlpItem
      if (isLeaf) {
        const value = rlpBytes(reference, "a leaf's value")
        if (value.length === 0) throw new TrieError('TRIE_PROOF_INVALID', 'a leaf holds no value')
        return finish(matches && depth + path.length === nibbles.length ? value : null)
      }
      if (path.length === 0) throw new TrieError('TRIE_PROOF_INVALID', 'an extension node has an empty path')
      if (!matches) return finish(null)
      depth += path.length
      node = rlpList(child(reference), 'a trie node')
      if (node.length !== 17) {
        throw new TrieError('TRIE_PROOF_INVALID', 'an extension node must lead to a branch')
      }
    } else {
      throw new TrieError('TRIE_PROOF_INVALID', `a trie node has ${node.length} items`)
    }
  }
}

/** An empty branch slot is the empty string; an empty list is not a spelling of it. */
function emptySlot(slot: RlpItem): null {
  if (!(slot instanceof Uint8Array))
    throw new TrieError('TRIE_PROOF_INVALID', 'a branch slot is an empty list')
  return null
}

const toNibbles = (bytes: Uint8Array): number[] => {
  const out: number[] = []
  for (const byte of bytes) out.push(byte >> 4, byte & 15)
  return out
}

/** Hex-prefix decoding (yellow paper, appendix C): the first nibble tells a leaf from an extension, and the parity. */
function decodePath(encoded: Uint8Array): { path: number[]; isLeaf: boolean } {
  const nibbles = toNibbles(encoded)
  const flag = nibbles[0]
  if (flag === undefined || flag > 3 || ((flag & 1) === 0 && nibbles[1] !== 0)) {
    throw new TrieError('TRIE_PROOF_INVALID', "a trie node's path is not hex-prefix encoded")
  }
  return { path: nibbles.slice((flag & 1) === 1 ? 1 : 2), isLeaf: (flag & 2) === 2 }
}

/**
 * The account at `address` (20 bytes) under `stateRoot`, or null where the proof shows that there is none.
 * Throws {@link TrieError} or `RlpError`.
 */
export function verifyAccount(
  stateRoot: Uint8Array,
  address: Uint8Array,
  nodes: readonly Uint8Array[],
): Account | null {
  const value = verifyTrieProof(stateRoot, keccak_256(address), nodes)
  if (value === null) return null
  const [nonce, balance, storageRoot, codeHash] = rlpList(decodeRlp(value), 'an account', 4)
  rlpUint(nonce, "an account's nonce", 8)
  rlpUint(balance, "an account's balance", 32)
  return {
    storageRoot: rlpBytes(storageRoot, "an account's storage root", 32),
    codeHash: rlpBytes(codeHash, "an account's code hash", 32),
  }
}

/**
 * The 32-byte word in storage slot `slot` under `storageRoot`. The trie's key is the hash of the slot padded to 32
 * bytes, its value drops leading zeros, and a slot that it does not hold is zero. `known` as in {@link verifyTrieProof}. Throws {@link TrieError} or
 * `RlpError`.
 */
export function verifySlot(
  storageRoot: Uint8Array,
  slot: Uint8Array,
  nodes: readonly Uint8Array[],
  known?: KnownNodes,
): Uint8Array {
  if (slot.length > 32) throw new TrieError('TRIE_PROOF_INVALID', 'a storage slot is wider than 32 bytes')
  const key = new Uint8Array(32)
  key.set(slot, 32 - slot.length)
  const value = verifyTrieProof(storageRoot, keccak_256(key), nodes, known)
  const word = new Uint8Array(32)
  if (value === null) return word
  const item = decodeRlp(value)
  // Zero is kept by absence alone, so a stored zero is not what any state holds.
  if (rlpUint(item, 'a storage value', 32) === 0n) {
    throw new TrieError('TRIE_PROOF_INVALID', 'a storage slot holds a spelled-out zero')
  }
  const bytes = rlpBytes(item, 'a storage value')
  word.set(bytes, 32 - bytes.length)
  return word
}
