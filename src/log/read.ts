import { LogError } from './error.ts'
import { HASH_BYTES } from './merkle.ts'
import type { TileRange } from './tile.ts'

/**
 * Reads one tile's hashes, concatenated. It may answer more than `width` hashes (the stored tile may have grown since
 * the size in question); fewer, or nothing, ends in `TILE_MISSING`.
 */
export type ReadTile = (tile: TileRange) => Uint8Array | undefined | Promise<Uint8Array | undefined>

/** Hashes of all `tiles`, in the same order, each at least as wide as asked; all are asked for at once. Throws `TILE_MISSING`. */
export async function readTiles(tiles: readonly TileRange[], readTile: ReadTile): Promise<Uint8Array[]> {
  const read = await Promise.all(tiles.map((tile) => readTile(tile)))
  return tiles.map(({ level, index, width }, i) => {
    const bytes = read[i]
    if (bytes !== undefined && bytes.length >= width * HASH_BYTES && bytes.length % HASH_BYTES === 0)
      return bytes
    throw new LogError('TILE_MISSING', `tile ${index} of level ${level} is missing or too short`, {
      hint: 'check the tile store with the log of the same size',
      exitCode: 3,
      details: { level, index, width, bytes: bytes?.length ?? 0 },
    })
  })
}
