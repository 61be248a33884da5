import { LogError } from './error.ts'
import { assertTreeSize, emptyRoot, isTreeSize } from './merkle.ts'
import { type Range, rangeHashes, splitPoint, tilesFor } from './range.ts'
import type { ReadTile } from './read.ts'
import type { TileRange } from './tile.ts'

/** The ranges of PATH(index, D[size]), RFC 6962 section 2.1.1, the leaf's sibling first. */
function inclusionRanges(index: number, size: number): Range[] {
  const out: Range[] = []
  let begin = 0
  let end = size
  while (end - begin > 1) {
    const middle = begin + splitPoint(end - begin)
    if (index < middle) {
      out.push({ begin: middle, end })
      end = middle
    } else {
      out.push({ begin, end: middle })
      begin = middle
    }
  }
  return out.reverse()
}

/** The ranges of PROOF(size1, D[size2]), RFC 6962 section 2.1.2; none for size1 = 0 and for equal sizes. */
function consistencyRanges(size1: number, size2: number): Range[] {
  const out: Range[] = []
  if (size1 === 0) return out
  let begin = 0
  let end = size2
  while (size1 < end) {
    const middle = begin + splitPoint(end - begin)
    if (size1 <= middle) {
      out.push({ begin: middle, end })
      end = middle
    } else {
      out.push({ begin, end: middle })
      begin = middle
    }
  }
  // The subtree that the first tree ends with; the verifier knows it already where it is the whole first tree.
  if (begin > 0) out.push({ begin, end })
  return out.reverse()
}

function assertIndex(index: number, size: number): void {
  assertTreeSize(size)
  if (isTreeSize(index) && index < size) return
  throw new LogError('LOG_ARGUMENT', 'the index is not below the tree size', {
    hint: 'ask for a leaf that the tree of this size holds',
    details: { index, size },
  })
}

function assertSizes(size1: number, size2: number): void {
  assertTreeSize(size1, 'size1')
  assertTreeSize(size2, 'size2')
  if (size1 <= size2) return
  throw new LogError('LOG_ARGUMENT', 'the first tree is larger than the second', {
    hint: 'pass the smaller size first',
    details: { size1, size2 },
  })
}

/** The tiles, with their widths at `size`, that {@link inclusionProof} reads. Throws `LOG_ARGUMENT`. */
export function tilesForInclusion(index: number, size: number): TileRange[] {
  assertIndex(index, size)
  return tilesFor(inclusionRanges(index, size), size)
}

/** The tiles, with their widths at `size2`, that {@link consistencyProof} reads. Throws `LOG_ARGUMENT`. */
export function tilesForConsistency(size1: number, size2: number): TileRange[] {
  assertSizes(size1, size2)
  return tilesFor(consistencyRanges(size1, size2), size2)
}

/** The tiles that {@link rootAt} reads: at most one partial tile a level, and full ones where a level ends evenly. */
export function tilesForRoot(size: number): TileRange[] {
  assertTreeSize(size)
  return tilesFor([{ begin: 0, end: size }], size)
}

/**
 * Inclusion proof of leaf `index` in the tree of `size` leaves, RFC 6962 section 2.1.1: 32-byte hashes from the leaf's
 * sibling to the root's child. `size` may be any size that the tiles have reached. Throws `LOG_ARGUMENT`, `TILE_MISSING`.
 */
export async function inclusionProof(index: number, size: number, readTile: ReadTile): Promise<Uint8Array[]> {
  assertIndex(index, size)
  return rangeHashes(inclusionRanges(index, size), size, readTile)
}

/**
 * Consistency proof from `size1` to `size2` leaves, RFC 6962 section 2.1.2; empty for equal sizes and for size1 = 0.
 * Throws `LOG_ARGUMENT`, `TILE_MISSING`.
 */
export async function consistencyProof(
  size1: number,
  size2: number,
  readTile: ReadTile,
): Promise<Uint8Array[]> {
  assertSizes(size1, size2)
  return rangeHashes(consistencyRanges(size1, size2), size2, readTile)
}

/** Root of the first `size` leaves, computed from stored tiles. Throws `LOG_ARGUMENT`, `TILE_MISSING`. */
export async function rootAt(size: number, readTile: ReadTile): Promise<Uint8Array> {
  assertTreeSize(size)
  if (size === 0) return emptyRoot()
  const [root] = await rangeHashes([{ begin: 0, end: size }], size, readTile)
  return root as Uint8Array
}
