import { LogError } from './error.ts'
import {
  assertTreeSize,
  emptyRoot,
  HASH_BYTES,
  isHash,
  isTreeSize,
  nodeHash,
  parentsOf,
  splitHashes,
} from './merkle.ts'
import { type ReadTile, readTiles } from './read.ts'
import { FULL_TILE_BYTES, levelCount, partialTiles, TILE_HEIGHT, TILE_WIDTH, type TileId } from './tile.ts'

/** Everything that appending needs to know of the leaves so far: the right edge, under 64 KiB at any size. */
export interface LogState {
  readonly size: number
  /** By height h: the root of the perfect subtree of 2^h leaves on the right edge, where bit h of `size` is set. */
  readonly edge: readonly (Uint8Array | undefined)[]
  /** By tile level: the hashes of the rightmost, partial tile, concatenated; empty where the level ends evenly. */
  readonly partial: readonly Uint8Array[]
}

/** A tile as it stands after an append. A store keeps one row for each (level, index) and replaces its hashes. */
export interface ChangedTile extends TileId {
  /** 1 to 256 hashes, concatenated. */
  readonly hashes: Uint8Array
}

/** The state of the log without leaves. */
export const emptyState = (): LogState => ({ size: 0, edge: [], partial: [] })

/** Root of the tree that `state` is the right edge of, RFC 6962 section 2.1. */
export function rootOf(state: LogState): Uint8Array {
  let root: Uint8Array | undefined
  for (const subtree of state.edge)
    if (subtree !== undefined) root = root === undefined ? subtree : nodeHash(subtree, root)
  return root === undefined ? emptyRoot() : root.slice()
}

/**
 * Appends `leafHashes` (32 bytes each, in order) and answers the new state, its root, and each tile that is new or
 * has grown, in its last form, by level and index. Pure: `state` stays as it was, so a failed transaction simply keeps the old one.
 * Any split of the same leaves into batches gives the same state, root and stored tiles. Throws `LOG_ARGUMENT`.
 */
export function appendLeaves(
  state: LogState,
  leafHashes: readonly Uint8Array[],
): { state: LogState; root: Uint8Array; tiles: ChangedTile[] } {
  const size = state.size + leafHashes.length
  if (!isTreeSize(size) || !leafHashes.every(isHash))
    throw new LogError(
      'LOG_ARGUMENT',
      'leaves must be 32-byte hashes and the tree at most 2^53 - 1 of them',
      {
        hint: 'pass leafHash(entry) for each entry',
        details: { size: state.size, leaves: leafHashes.length },
      },
    )
  const edge = [...state.edge]
  const partial = [...state.partial]
  const tiles: ChangedTile[] = []
  let fresh = leafHashes
  for (let height = 0; fresh.length > 0; height++) {
    const before = Math.floor(state.size / 2 ** height)
    if (height % TILE_HEIGHT === 0) {
      const level = height / TILE_HEIGHT
      const grown = growLevel(level, before, partial[level], fresh)
      partial[level] = grown.rest
      tiles.push(...grown.tiles)
    }
    // Pair the nodes of this height; an odd one out waits on the edge, as one may have waited there until now.
    const waiting = edge[height]
    const nodes = waiting === undefined ? fresh : [waiting, ...fresh]
    edge[height] = nodes.length % 2 === 1 ? (nodes[nodes.length - 1] as Uint8Array).slice() : undefined
    fresh = parentsOf(nodes)
  }
  const next = { size, edge, partial }
  return { state: next, root: rootOf(next), tiles }
}

/** Adds `fresh` to a tile level that held `before` hashes, the last ones of them (its partial tile) in `rest`. */
function growLevel(
  level: number,
  before: number,
  rest: Uint8Array | undefined,
  fresh: readonly Uint8Array[],
): { tiles: ChangedTile[]; rest: Uint8Array } {
  const held = rest ?? new Uint8Array(0)
  const bytes = new Uint8Array(held.length + fresh.length * HASH_BYTES)
  bytes.set(held)
  fresh.forEach((hash, i) => {
    bytes.set(hash, held.length + i * HASH_BYTES)
  })
  const first = Math.floor(before / TILE_WIDTH)
  const tiles: ChangedTile[] = []
  for (let at = 0; at < bytes.length; at += FULL_TILE_BYTES)
    tiles.push({ level, index: first + at / FULL_TILE_BYTES, hashes: bytes.slice(at, at + FULL_TILE_BYTES) })
  return { tiles, rest: bytes.slice(bytes.length - (bytes.length % FULL_TILE_BYTES)) }
}

/**
 * The state of a log of `size` leaves, from the stored partial tiles of its right edge (at most one a level, see
 * `partialTiles`), all read at once. Stored tiles may have grown beyond `size`. Throws `LOG_ARGUMENT`, `TILE_MISSING`.
 */
export async function loadState(size: number, readTile: ReadTile): Promise<LogState> {
  assertTreeSize(size)
  const wanted = partialTiles(size)
  const read = await readTiles(wanted, readTile)
  const partial = Array.from({ length: levelCount(size) }, () => new Uint8Array(0))
  const edge = Array.from(
    { length: size === 0 ? 0 : size.toString(2).length },
    (): Uint8Array | undefined => undefined,
  )
  wanted.forEach(({ level, width }, i) => {
    const bytes = (read[i] as Uint8Array).slice(0, width * HASH_BYTES)
    partial[level] = bytes
    let nodes = splitHashes(bytes)
    for (let height = level * TILE_HEIGHT; nodes.length > 0; height++) {
      if (nodes.length % 2 === 1) edge[height] = (nodes[nodes.length - 1] as Uint8Array).slice()
      nodes = parentsOf(nodes)
    }
  })
  return { size, edge, partial }
}
