import { readLatestCheckpoint, tileReader } from '../graph/log-store.ts'
import { HASH_BYTES } from '../log/merkle.ts'
import type { ReadTile } from '../log/read.ts'
import { FULL_TILE_BYTES } from '../log/tile.ts'
import type { ServiceContext } from './context.ts'

/** Tiles that a process keeps, each with its inner nodes: 64 MiB, every tile above the leaves' of 250 million. */
const KEPT_TILES = (32 * 1024 * 1024) / FULL_TILE_BYTES

/** The log's tiles as a serving process reads them. */
export interface Tiles {
  readonly read: ReadTile
  /** Whether a published checkpoint covers the first `size` leaves. */
  isPublished(size: number): Promise<boolean>
}

const made = new WeakMap<ServiceContext, Tiles>()

/**
 * The tiles of the log that this process serves. They and the size that was published are remembered: both only grow, so most
 * requests of a busy log ask the database for one tile of leaves or for nothing.
 */
export function tilesOf(ctx: ServiceContext): Tiles {
  let tiles = made.get(ctx)
  if (!tiles) {
    tiles = createTiles(ctx)
    made.set(ctx, tiles)
  }
  return tiles
}

function createTiles({ sql }: ServiceContext): Tiles {
  const stored = tileReader(sql)
  /** Least recently used first. */
  const kept = new Map<string, Uint8Array>()
  const keep = (key: string, bytes: Uint8Array) => {
    kept.delete(key)
    if (kept.size >= KEPT_TILES) kept.delete(kept.keys().next().value as string)
    kept.set(key, bytes)
  }
  let published = 0
  return {
    read(tile) {
      const key = `${tile.level}/${tile.index}`
      const known = kept.get(key)
      if (known && known.length >= tile.width * HASH_BYTES) {
        keep(key, known)
        return known
      }
      return Promise.resolve(stored(tile)).then((bytes) => {
        if (bytes) keep(key, bytes)
        return bytes
      })
    },
    async isPublished(size) {
      if (size > published) published = (await readLatestCheckpoint(sql))?.size ?? 0
      return size <= published
    },
  }
}
