import { equalBytes } from '../core/bytes.ts'
import { type Check, LogError } from './error.ts'
import { assertTreeSize, isHash, isTreeSize, nodeHash } from './merkle.ts'
import { type Range, rangeHashes, splitPoint, tilesFor } from './range.ts'
import type { ReadTile } from './read.ts'
import type { TileRange } from './tile.ts'

/**
 * One proof for many leaves of a tree. RFC 6962 section 2.1.1 gives PATH(m, D[n]) for one leaf; for a set M of them, with k the
 * largest power of two below n, the same recursion is
 *
 *     PATHS({m}, D[1]) = {}
 *     PATHS(M, D[n]) = PATHS(M, D[0:k]) : MTH(D[k:n])                  where all of M is below k
 *     PATHS(M, D[n]) = PATHS(M - k, D[k:n]) : MTH(D[0:k])              where none of M is below k
 *     PATHS(M, D[n]) = PATHS(M below k, D[0:k]) : PATHS(M - k from k, D[k:n])    otherwise
 *
 * It holds the root of every largest subtree without a leaf of M and nothing else, so no node can be computed from the
 * leaves and the other nodes, and none can be left out. For one leaf it is that leaf's inclusion proof.
 */

/** The first position at or after `from` whose index is at least `bound`; `to` where there is none. */
function lowerBound(indices: readonly number[], bound: number, from: number, to: number): number {
  let low = from
  let high = to
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((indices[middle] as number) < bound) low = middle + 1
    else high = middle
  }
  return low
}

/** What is wrong with `indices` as a set of leaves of a tree of `size` leaves, or null. */
function fault(indices: unknown, size: number): string | null {
  if (!isTreeSize(size)) return 'the tree size is not an integer from 0 to 2^53 - 1'
  if (!Array.isArray(indices) || indices.length === 0) return 'there is no index'
  let last = -1
  for (const index of indices) {
    if (!isTreeSize(index)) return 'an index is not an integer from 0 to 2^53 - 1'
    if (index <= last) return 'the indices are not in ascending order, each once'
    if (index >= size) return 'an index is not below the tree size'
    last = index
  }
  return null
}

function assertIndices(indices: readonly number[], size: number): void {
  assertTreeSize(size)
  const wrong = fault(indices, size)
  if (wrong === null) return
  throw new LogError('LOG_ARGUMENT', wrong, {
    hint: 'pass one or more indices below the tree size, in ascending order, each once',
    details: { size },
  })
}

/** The ranges of PATHS(indices, D[size]), in that order. */
function multiProofRanges(indices: readonly number[], size: number): Range[] {
  const out: Range[] = []
  const walk = (begin: number, end: number, from: number, to: number): void => {
    if (end - begin === 1) return
    const middle = begin + splitPoint(end - begin)
    const cut = lowerBound(indices, middle, from, to)
    if (cut > from) walk(begin, middle, from, cut)
    if (to > cut) walk(middle, end, cut, to)
    if (cut === from) out.push({ begin, end: middle })
    else if (cut === to) out.push({ begin: middle, end })
  }
  walk(0, size, 0, indices.length)
  return out
}

/** The tiles, with their widths at `size`, that {@link multiProof} reads. Throws `LOG_ARGUMENT`. */
export function tilesForMultiProof(indices: readonly number[], size: number): TileRange[] {
  assertIndices(indices, size)
  return tilesFor(multiProofRanges(indices, size), size)
}

/**
 * The nodes (32 bytes each) that lead from the leaves `indices` (at least one, ascending, each once) to the root of the tree of
 * `size` leaves: the smallest set that does, in the order of the recursion above. Every tile is read once and all of them
 * at once. Throws `LOG_ARGUMENT`, `TILE_MISSING`.
 */
export async function multiProof(
  indices: readonly number[],
  size: number,
  readTile: ReadTile,
): Promise<Uint8Array[]> {
  assertIndices(indices, size)
  return rangeHashes(multiProofRanges(indices, size), size, readTile)
}

/**
 * The root that the leaf hashes `leaves` (32 bytes each, parallel to `indices`) and `nodes` lead to in a tree of `size`
 * leaves, in one pass over both. `nodes` must be exactly those of {@link multiProof}: one too many, one too few and one that could be
 * computed are refused alike. Never throws: whatever is wrong with the input is the `reason`.
 */
export function rootFromMultiProof(
  indices: readonly number[],
  size: number,
  leaves: readonly Uint8Array[],
  nodes: readonly Uint8Array[],
): { ok: true; root: Uint8Array } | { ok: false; reason: string } {
  const wrong = fault(indices, size)
  if (wrong !== null) return { ok: false, reason: wrong }
  if (!Array.isArray(leaves) || leaves.length !== indices.length)
    return { ok: false, reason: 'there are not as many leaves as indices' }
  if (!Array.isArray(nodes)) return { ok: false, reason: 'the proof is not a list of 32-byte hashes' }
  // Not `every`, which would pass over the holes of a sparse array.
  for (const leaf of leaves) if (!isHash(leaf)) return { ok: false, reason: 'a leaf hash is not 32 bytes' }
  for (const node of nodes)
    if (!isHash(node)) return { ok: false, reason: 'the proof is not a list of 32-byte hashes' }

  let used = 0
  // A node that is not there stands in as undefined, up to the root.
  const next = (): Uint8Array | undefined => nodes[used++]
  const join = (left: Uint8Array | undefined, right: Uint8Array | undefined): Uint8Array | undefined =>
    left && right && nodeHash(left, right)
  const walk = (begin: number, end: number, from: number, to: number): Uint8Array | undefined => {
    if (end - begin === 1) return leaves[from]
    const middle = begin + splitPoint(end - begin)
    const cut = lowerBound(indices, middle, from, to)
    if (cut === to) {
      const left = walk(begin, middle, from, to)
      return join(left, next())
    }
    if (cut === from) {
      const right = walk(middle, end, from, to)
      return join(next(), right)
    }
    const left = walk(begin, middle, from, cut)
    return join(left, walk(middle, end, cut, to))
  }
  const root = walk(0, size, 0, indices.length)
  if (root === undefined) return { ok: false, reason: 'the multi-proof has too few nodes' }
  if (used < nodes.length)
    return { ok: false, reason: `the multi-proof has ${nodes.length - used} node(s) too many` }
  return { ok: true, root }
}

/**
 * Whether the leaf hashes `leaves` stand at `indices` in the tree of `size` leaves with root `root`, proved by exactly the
 * nodes of {@link multiProof}. Never throws.
 */
export function verifyMultiProof(
  indices: readonly number[],
  size: number,
  leaves: readonly Uint8Array[],
  nodes: readonly Uint8Array[],
  root: Uint8Array,
): Check {
  if (!isHash(root)) return { ok: false, reason: 'the root is not 32 bytes' }
  const found = rootFromMultiProof(indices, size, leaves, nodes)
  if (!found.ok) return found
  return equalBytes(found.root, root)
    ? { ok: true }
    : { ok: false, reason: 'the multi-proof leads to another root' }
}
