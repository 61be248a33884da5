import { LogError } from './error.ts'
import { assertTreeSize, HASH_BYTES, isTreeSize } from './merkle.ts'

/** Tree levels that one tile spans (C2SP tlog-tiles fixes it at 8). */
export const TILE_HEIGHT = 8
/** Hashes in a full tile. */
export const TILE_WIDTH = 256
/** Bytes of a full tile. */
export const FULL_TILE_BYTES = TILE_WIDTH * HASH_BYTES
/** The highest tile level that a path may name (C2SP tlog-tiles). */
export const MAX_TILE_LEVEL = 63

/** Where a tile stands: `level` 0 holds leaf hashes, each hash of level L is the root of a full tile of level L-1. */
export interface TileId {
  readonly level: number
  /** Position within the level, from 0. */
  readonly index: number
}

/** A tile at some tree size: 1 to 256 hashes wide, 256 being a full one. */
export interface TileRange extends TileId {
  readonly width: number
}

/** What a request path under the log's prefix names. */
export type TilePath =
  | { readonly kind: 'hashes'; readonly level: number; readonly index: number; readonly width: number }
  | { readonly kind: 'entries'; readonly index: number; readonly width: number }

/** Hashes that level `level` holds in a tree of `size` leaves: its full subtrees of 256^level leaves. */
const levelWidth = (level: number, size: number): number =>
  // Dividing by a power of two is exact for every safe integer.
  Math.floor(size / 2 ** (TILE_HEIGHT * level))

/** Levels that hold any tile at `size` leaves: 0 for the empty tree, 1 up to 255 leaves, 2 from 256, and so on. */
export function levelCount(size: number): number {
  assertTreeSize(size)
  let levels = 0
  while (levelWidth(levels, size) > 0) levels++
  return levels
}

/** Hashes in tile (`level`, `index`) at `size` leaves: 256 full, 1 to 255 partial, 0 where there is no such tile. */
export function tileWidth(level: number, index: number, size: number): number {
  assertTreeSize(size)
  return Math.max(0, Math.min(TILE_WIDTH, levelWidth(level, size) - index * TILE_WIDTH))
}

/** The partial tiles at `size` leaves, lowest level first; at most one a level, none where a level ends evenly. */
export function partialTiles(size: number): TileRange[] {
  const out: TileRange[] = []
  for (let level = 0; level < levelCount(size); level++) {
    const width = levelWidth(level, size) % TILE_WIDTH
    if (width > 0) out.push({ level, index: Math.floor(levelWidth(level, size) / TILE_WIDTH), width })
  }
  return out
}

/**
 * Every tile that exists at `size` leaves, level by level from 0, left to right. With `since`, only those that the tree
 * of `since` leaves (at most `size`) lacks or holds with fewer hashes.
 */
export function* tilesAt(size: number, since = 0): Generator<TileRange> {
  assertTreeSize(size)
  assertTreeSize(since, 'since')
  for (let level = 0; level < levelCount(size); level++) {
    const end = levelWidth(level, size)
    if (levelWidth(level, since) >= end) continue
    for (let index = Math.floor(levelWidth(level, since) / TILE_WIDTH); index * TILE_WIDTH < end; index++)
      yield { level, index, width: Math.min(TILE_WIDTH, end - index * TILE_WIDTH) }
  }
}

/** `index` in zero-padded groups of three digits, all but the last behind an `x`: 1234067 is `x001/x234/067`. */
function indexPath(index: number): string {
  let digits = String(index)
  digits = digits.padStart(Math.ceil(digits.length / 3) * 3, '0')
  return digits.replace(/\d{3}(?=\d)/g, 'x$&/')
}

function assertPlace(level: number, index: number, width: number): void {
  const sane =
    isTreeSize(level) &&
    level <= MAX_TILE_LEVEL &&
    isTreeSize(index) &&
    isTreeSize(width) &&
    width >= 1 &&
    width <= TILE_WIDTH
  if (!sane)
    throw new LogError('LOG_ARGUMENT', 'no such tile', {
      hint: 'level is 0 to 63, index a safe integer from 0, width 1 to 256',
      details: { level, index, width },
    })
}

const withWidth = (path: string, width: number): string =>
  width === TILE_WIDTH ? path : `${path}.p/${width}`

/** Path of a hash tile under the log's prefix, without a leading slash: `tile/<L>/<N>[.p/<W>]`. Throws `LOG_ARGUMENT`. */
export function tilePath({ level, index, width }: TileRange): string {
  assertPlace(level, index, width)
  return withWidth(`tile/${level}/${indexPath(index)}`, width)
}

/** Path of an entry bundle under the log's prefix: `tile/entries/<N>[.p/<W>]`. Throws `LOG_ARGUMENT`. */
export function entryBundlePath({ index, width }: { index: number; width: number }): string {
  assertPlace(0, index, width)
  return withWidth(`tile/entries/${indexPath(index)}`, width)
}

// Six groups of three digits hold every safe integer; anything longer is refused before it is read as a number.
const PATH = /^tile\/(0|[1-9][0-9]?|entries)\/((?:x[0-9]{3}\/){0,5}[0-9]{3})(?:\.p\/([1-9][0-9]{0,2}))?$/

/**
 * Reads a tile or entry bundle path (no leading slash, no prefix), or null where it is not one. Strict: each resource
 * has one spelling, so `x000/001`, `00`, `.p/0` and `.p/256` are refused; caches never hold two copies of a tile.
 */
export function parseTilePath(path: string): TilePath | null {
  const match = PATH.exec(path)
  if (!match) return null
  const [, level, digits, partial] = match as unknown as [string, string, string, string | undefined]
  const index = Number(digits.replace(/[x/]/g, ''))
  const width = partial === undefined ? TILE_WIDTH : Number(partial)
  if (!Number.isSafeInteger(index) || indexPath(index) !== digits) return null
  if (partial !== undefined && width >= TILE_WIDTH) return null
  if (level === 'entries') return { kind: 'entries', index, width }
  return Number(level) > MAX_TILE_LEVEL ? null : { kind: 'hashes', level: Number(level), index, width }
}
