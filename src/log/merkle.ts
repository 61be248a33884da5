import { concat, equalBytes, sha256 } from '../core/bytes.ts'
import { type Check, LogError } from './error.ts'

/** Bytes of a SHA-256 hash, the only hash of this log. */
export const HASH_BYTES = 32
/** The largest tree: a JavaScript number holds every integer up to here exactly. */
export const MAX_TREE_SIZE = Number.MAX_SAFE_INTEGER
/** The longest inclusion proof of a tree of at most {@link MAX_TREE_SIZE} leaves. */
export const MAX_PROOF_HASHES = 53

// RFC 6962 section 2.1: different first bytes, so that no leaf can be passed off as an inner node.
const LEAF_PREFIX = new Uint8Array([0])
// Filled anew for every node: there are more of them than anything else that is hashed here.
const NODE_INPUT = new Uint8Array(1 + 2 * HASH_BYTES).fill(1, 0, 1)

/** Leaf hash of `entry`, of any length: SHA-256(0x00 || entry), RFC 6962 section 2.1. */
export const leafHash = (entry: Uint8Array): Uint8Array => sha256(concat(LEAF_PREFIX, entry))

/** Hash of an inner node over two 32-byte hashes: SHA-256(0x01 || left || right), RFC 6962 section 2.1. */
export function nodeHash(left: Uint8Array, right: Uint8Array): Uint8Array {
  NODE_INPUT.set(left, 1)
  NODE_INPUT.set(right, 1 + HASH_BYTES)
  return sha256(NODE_INPUT)
}

/** Root of the tree without leaves: SHA-256 of nothing, RFC 6962 section 2.1. */
export const emptyRoot = (): Uint8Array => sha256(new Uint8Array(0))

/** The 32-byte hashes that stand one after another in `bytes`, as views into it. */
export function splitHashes(bytes: Uint8Array): Uint8Array[] {
  const out: Uint8Array[] = []
  for (let at = 0; at < bytes.length; at += HASH_BYTES) out.push(bytes.subarray(at, at + HASH_BYTES))
  return out
}

/** The nodes one height up: each pair of `nodes` hashed, an odd last one left out. */
export function parentsOf(nodes: readonly Uint8Array[]): Uint8Array[] {
  const out: Uint8Array[] = []
  for (let i = 0; i + 1 < nodes.length; i += 2)
    out.push(nodeHash(nodes[i] as Uint8Array, nodes[i + 1] as Uint8Array))
  return out
}

/** Whether `value` can be a tree size: an integer from 0 to {@link MAX_TREE_SIZE}. */
export const isTreeSize = (value: unknown): value is number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0

/** Whether `value` is 32 bytes. */
export const isHash = (value: unknown): value is Uint8Array =>
  value instanceof Uint8Array && value.length === HASH_BYTES

/** Throws `LOG_ARGUMENT` unless `size` is an integer from 0 to {@link MAX_TREE_SIZE}; `name` is for the message. */
export function assertTreeSize(size: number, name = 'size'): void {
  if (isTreeSize(size)) return
  throw new LogError('LOG_ARGUMENT', `${name} must be an integer from 0 to 2^53 - 1`, {
    hint: 'pass a tree size as a plain integer number',
    details: { [name]: size },
  })
}

const no = (reason: string): { ok: false; reason: string } => ({ ok: false, reason })
const half = (n: number): number => Math.floor(n / 2)
const odd = (n: number): boolean => n % 2 === 1

function isProof(value: unknown): value is readonly Uint8Array[] {
  if (!Array.isArray(value)) return false
  // Not `every`, which would pass over the holes of a sparse array.
  for (const hash of value) if (!isHash(hash)) return false
  return true
}

/**
 * The root that an inclusion proof leads to, by RFC 9162 section 2.1.3.2: for the leaf hash `leaf` (32 bytes) at
 * `index` (from 0) in a tree of `size` leaves. `proof` runs from the leaf's sibling to the root's child and must be
 * exactly as long as the tree demands. Never throws: whatever is wrong with the input is the `reason`.
 */
export function rootFromInclusionProof(
  index: number,
  size: number,
  leaf: Uint8Array,
  proof: readonly Uint8Array[],
): { ok: true; root: Uint8Array } | { ok: false; reason: string } {
  if (!isTreeSize(size)) return no('the tree size is not an integer from 0 to 2^53 - 1')
  if (!isTreeSize(index) || index >= size) return no('the index is not below the tree size')
  if (!isHash(leaf)) return no('the leaf hash is not 32 bytes')
  if (!isProof(proof)) return no('the proof is not a list of 32-byte hashes')
  let fn = index
  let sn = size - 1
  let root = leaf
  for (const sibling of proof) {
    if (sn === 0) return no('the inclusion proof is too long')
    if (odd(fn) || fn === sn) {
      root = nodeHash(sibling, root)
      // The last node of an uneven level has no sibling there: climb to the level where it has one, on its left.
      while (!odd(fn) && fn !== 0) {
        fn = half(fn)
        sn = half(sn)
      }
    } else root = nodeHash(root, sibling)
    fn = half(fn)
    sn = half(sn)
  }
  if (sn !== 0) return no('the inclusion proof is too short')
  return { ok: true, root }
}

/**
 * Whether the leaf hash `leaf` stands at `index` in the tree of `size` leaves with root `root` (RFC 9162
 * section 2.1.3.2). Never throws. It takes the leaf's *hash*, so that nobody has to ship an entry to check its place.
 */
export function verifyInclusion(
  index: number,
  size: number,
  leaf: Uint8Array,
  proof: readonly Uint8Array[],
  root: Uint8Array,
): Check {
  if (!isHash(root)) return no('the root is not 32 bytes')
  const found = rootFromInclusionProof(index, size, leaf, proof)
  if (!found.ok) return found
  return equalBytes(found.root, root) ? { ok: true } : no('the inclusion proof leads to another root')
}

/**
 * Whether the tree (`size2`, `root2`) extends the tree (`size1`, `root1`): its first `size1` leaves are the same
 * (RFC 9162 section 2.1.4.2). Never throws.
 *
 * Two cases have no proof in the RFCs (RFC 6962 section 2.1.2 defines one for 0 < size1 < size2) and take an empty one
 * here: equal sizes, where the roots must be equal, and size1 = 0, where root1 must be the empty tree's root, since
 * every tree extends the empty one. A tree of size 0 has no root but SHA-256 of nothing.
 */
export function verifyConsistency(
  size1: number,
  size2: number,
  proof: readonly Uint8Array[],
  root1: Uint8Array,
  root2: Uint8Array,
): Check {
  if (!isTreeSize(size1) || !isTreeSize(size2)) return no('a tree size is not an integer from 0 to 2^53 - 1')
  if (size1 > size2) return no('the first tree is larger than the second')
  if (!isHash(root1) || !isHash(root2)) return no('a root is not 32 bytes')
  if (!isProof(proof)) return no('the proof is not a list of 32-byte hashes')
  if (size1 === 0 && !equalBytes(root1, emptyRoot())) return no('the first root is not that of an empty tree')
  if (size1 === size2) {
    if (proof.length > 0) return no('a consistency proof between equal sizes must be empty')
    return equalBytes(root1, root2) ? { ok: true } : no('two roots at the same size differ')
  }
  if (size1 === 0)
    return proof.length === 0 ? { ok: true } : no('a consistency proof from size 0 must be empty')
  if (proof.length === 0) return no('the consistency proof is too short')

  let fn = size1 - 1
  let sn = size2 - 1
  while (odd(fn)) {
    fn = half(fn)
    sn = half(sn)
  }
  // Where the first tree is one perfect subtree of the second, its root is the start and the proof leaves it out.
  let at = 0
  const start = fn === 0 ? root1 : (proof[at++] as Uint8Array)
  let old = start
  let grown = start
  for (; at < proof.length; at++) {
    const node = proof[at] as Uint8Array
    if (sn === 0) return no('the consistency proof is too long')
    if (odd(fn) || fn === sn) {
      old = nodeHash(node, old)
      grown = nodeHash(node, grown)
      while (!odd(fn) && fn !== 0) {
        fn = half(fn)
        sn = half(sn)
      }
    } else grown = nodeHash(grown, node)
    fn = half(fn)
    sn = half(sn)
  }
  if (sn !== 0) return no('the consistency proof is too short')
  if (!equalBytes(old, root1)) return no('the consistency proof does not lead to the first root')
  return equalBytes(grown, root2)
    ? { ok: true }
    : no('the consistency proof does not lead to the second root')
}
