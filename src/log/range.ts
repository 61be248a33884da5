import { HASH_BYTES, nodeHash, parentsOf, splitHashes } from './merkle.ts'
import { type ReadTile, readTiles } from './read.ts'
import { TILE_HEIGHT, TILE_WIDTH, type TileRange, tileWidth } from './tile.ts'

/** Leaves from `begin` up to but without `end`: MTH(D[begin:end]) in the notation of RFC 6962 section 2.1. */
export interface Range {
  readonly begin: number
  readonly end: number
}

/** A perfect subtree of 2^height leaves that starts at leaf `begin`, a multiple of its width. */
interface Subtree {
  readonly height: number
  readonly begin: number
}

/** Largest power of two below `n`, for `n` from 2: where RFC 6962 splits a tree. */
export function splitPoint(n: number): number {
  let k = 1
  while (k * 2 < n) k *= 2
  return k
}

/** The perfect subtrees that make up `range`, largest first. Every range of a proof begins at a multiple of them. */
function subtrees({ begin, end }: Range): Subtree[] {
  const out: Subtree[] = []
  let at = begin
  while (at < end) {
    let height = 0
    while (at + 2 ** (height + 1) <= end) height++
    out.push({ height, begin: at })
    at += 2 ** height
  }
  return out
}

/** Where a subtree's root can be computed: `count` hashes from `offset` in a tile. */
function place({ height, begin }: Subtree): { level: number; index: number; offset: number; count: number } {
  const level = Math.floor(height / TILE_HEIGHT)
  const first = begin / 2 ** (TILE_HEIGHT * level)
  return {
    level,
    index: Math.floor(first / TILE_WIDTH),
    offset: first % TILE_WIDTH,
    count: 2 ** (height % TILE_HEIGHT),
  }
}

const key = (level: number, index: number): string => `${level}/${index}`

/** The tiles that the hashes of `ranges` are computed from, each once, with their widths at `size` leaves. */
export function tilesFor(ranges: readonly Range[], size: number): TileRange[] {
  const out = new Map<string, TileRange>()
  for (const range of ranges)
    for (const subtree of subtrees(range)) {
      const { level, index } = place(subtree)
      out.set(key(level, index), { level, index, width: tileWidth(level, index, size) })
    }
  return [...out.values()]
}

/** Root of the perfect tree over the hashes in `bytes` (a power of two of them). */
export function perfectRoot(bytes: Uint8Array): Uint8Array {
  let nodes = splitHashes(bytes)
  while (nodes.length > 1) nodes = parentsOf(nodes)
  return (nodes[0] as Uint8Array).slice()
}

/**
 * Hashes of all `ranges`, each of which a proof in a tree of `size` leaves can name, over tiles that are read once each and
 * all at once. Throws `TILE_MISSING`.
 */
export async function rangeHashes(
  ranges: readonly Range[],
  size: number,
  readTile: ReadTile,
): Promise<Uint8Array[]> {
  const wanted = tilesFor(ranges, size)
  const read = await readTiles(wanted, readTile)
  const tiles = new Map(wanted.map(({ level, index }, i) => [key(level, index), read[i] as Uint8Array]))
  return ranges.map((range) => {
    const roots = subtrees(range).map((subtree) => {
      const { level, index, offset, count } = place(subtree)
      const bytes = tiles.get(key(level, index)) as Uint8Array
      return perfectRoot(bytes.subarray(offset * HASH_BYTES, (offset + count) * HASH_BYTES))
    })
    return roots.reduceRight((right, left) => nodeHash(left, right))
  })
}
