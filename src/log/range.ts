import { HASH_BYTES, nodeHash } from './merkle.ts'
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

/** Where a subtree's root can be computed: from the 2^`height` hashes at `offset` in a tile. */
function place({ height, begin }: Subtree): { level: number; index: number; offset: number; height: number } {
  const level = Math.floor(height / TILE_HEIGHT)
  const first = begin / 2 ** (TILE_HEIGHT * level)
  return {
    level,
    index: Math.floor(first / TILE_WIDTH),
    offset: first % TILE_WIDTH,
    height: height % TILE_HEIGHT,
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

/** The hashes one height up, one after another: each pair in `bytes` hashed, an odd last one left out. */
function parents(bytes: Uint8Array): Uint8Array {
  const pairs = Math.floor(bytes.length / (2 * HASH_BYTES))
  const out = new Uint8Array(pairs * HASH_BYTES)
  for (let i = 0; i < pairs; i++) {
    const at = 2 * i * HASH_BYTES
    const middle = at + HASH_BYTES
    out.set(nodeHash(bytes.subarray(at, middle), bytes.subarray(middle, middle + HASH_BYTES)), i * HASH_BYTES)
  }
  return out
}

/** Root of the perfect tree over the hashes in `bytes` (a power of two of them). */
export function perfectRoot(bytes: Uint8Array): Uint8Array {
  let nodes = bytes
  while (nodes.length > HASH_BYTES) nodes = parents(nodes)
  return nodes.slice()
}

/**
 * The inner nodes of tiles, height by height, for as long as somebody keeps the tile. A proof needs nearly all nodes of a tile that
 * it passes through, and the next proof through it then needs no hashing.
 */
const inner = new WeakMap<Uint8Array, Uint8Array[]>()

/** Root of the 2^`height` hashes of a tile that begin at its hash `offset`, a multiple of their number. */
function innerNode(tile: Uint8Array, offset: number, height: number): Uint8Array {
  const heights = inner.get(tile) ?? [tile]
  inner.set(tile, heights)
  while (heights.length <= height) heights.push(parents(heights[heights.length - 1] as Uint8Array))
  const at = (offset / 2 ** height) * HASH_BYTES
  return (heights[height] as Uint8Array).slice(at, at + HASH_BYTES)
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
      const { level, index, offset, height } = place(subtree)
      return innerNode(tiles.get(key(level, index)) as Uint8Array, offset, height)
    })
    return roots.reduceRight((right, left) => nodeHash(left, right))
  })
}
