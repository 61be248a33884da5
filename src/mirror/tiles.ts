import { equalBytes } from '../core/bytes.ts'
import type { Checkpoint } from '../log/checkpoint.ts'
import { HASH_BYTES } from '../log/merkle.ts'
import { rootAt } from '../log/proof.ts'
import { perfectRoot } from '../log/range.ts'
import { FULL_TILE_BYTES, partialTiles, TILE_WIDTH, type TileRange, tilePath } from '../log/tile.ts'
import { MirrorError } from './error.ts'
import type { LogFolder } from './folder.ts'
import type { LogSource } from './source.ts'

/** Tiles kept in memory: each is asked for again by up to 256 below it, which come one after another. */
const KEPT = 256

/** Tiles of one tree, each of which its checkpoint's root has been found to commit to. */
export interface VerifiedTiles {
  /** The hashes of a tile in their full width at the tree's size. Throws `TILE_MISMATCH`, `RESOURCE_MISSING`, `LOG_UNREACHABLE`. */
  read(level: number, index: number): Promise<Uint8Array>
}

/** Takes a resource at one of two addresses: partial ones may be gone once the full one is there (C2SP tlog-tiles, partial tiles). */
export async function readEither<T>(
  source: LogSource,
  path: string,
  maxBytes: number,
  full: { path: string; maxBytes: number } | null,
  accept: (bytes: Uint8Array, whole: boolean) => T,
): Promise<T> {
  const bytes = await source.read(path, maxBytes)
  if (bytes) return accept(bytes, full === null)
  const other = full && (await source.read(full.path, full.maxBytes))
  if (other) return accept(other, true)
  throw new MirrorError(
    'RESOURCE_MISSING',
    `${source.name} does not have ${path}, which its checkpoint needs`,
    {
      hint: 'tell its operator; a log must serve what its checkpoints cover',
    },
  )
}

/**
 * The tiles of the tree that `checkpoint` commits to, from the folder where it has them, else from `source`, and then into the
 * folder. The partial tiles on the right edge make the root; every full tile is the hash in the tile above it. So each
 * file is checked before it is written, and a run that breaks off loses nothing.
 */
export async function verifiedTiles(
  { size, root }: Checkpoint,
  source: LogSource,
  folder: LogFolder,
): Promise<VerifiedTiles> {
  const edge = new Map<string, Uint8Array>()
  const key = (level: number, index: number) => `${level}/${index}`
  const wanted = partialTiles(size)
  const fetched = await Promise.all(wanted.map((tile) => fetchTile(source, tile)))
  wanted.forEach(({ level, index }, i) => {
    edge.set(key(level, index), fetched[i] as Uint8Array)
  })
  const made = await rootAt(size, ({ level, index }) => edge.get(key(level, index)))
  if (!equalBytes(made, root)) throw mismatch(source, 'the tiles on the right edge')
  for (const tile of wanted)
    await folder.write(tilePath(tile), edge.get(key(tile.level, tile.index)) as Uint8Array)

  const kept = new Map<string, Promise<Uint8Array>>()
  const full = async (level: number, index: number): Promise<Uint8Array> => {
    const above = await read(level + 1, Math.floor(index / TILE_WIDTH))
    const at = (index % TILE_WIDTH) * HASH_BYTES
    const expected = above.subarray(at, at + HASH_BYTES)
    const tile: TileRange = { level, index, width: TILE_WIDTH }
    const path = tilePath(tile)
    const held = await folder.read(path)
    if (held?.length === FULL_TILE_BYTES && equalBytes(perfectRoot(held), expected)) return held
    const bytes = await fetchTile(source, tile)
    if (!equalBytes(perfectRoot(bytes), expected)) throw mismatch(source, path)
    await folder.write(path, bytes)
    await folder.remove(`${path}.p`)
    return bytes
  }
  const read = (level: number, index: number): Promise<Uint8Array> => {
    const name = key(level, index)
    const known = edge.get(name)
    if (known) return Promise.resolve(known)
    let reading = kept.get(name)
    if (!reading) {
      reading = full(level, index)
      kept.set(name, reading)
      const [oldest] = kept.keys()
      if (kept.size > KEPT && oldest !== undefined) kept.delete(oldest)
    }
    return reading
  }
  return { read }
}

async function fetchTile(source: LogSource, tile: TileRange): Promise<Uint8Array> {
  const length = tile.width * HASH_BYTES
  const path = tilePath(tile)
  const whole = { path: tilePath({ ...tile, width: TILE_WIDTH }), maxBytes: FULL_TILE_BYTES }
  return readEither(source, path, length, tile.width < TILE_WIDTH ? whole : null, (bytes, isFull) => {
    if (bytes.length !== (isFull ? FULL_TILE_BYTES : length)) throw mismatch(source, path)
    return bytes.subarray(0, length)
  })
}

const mismatch = (source: LogSource, what: string): MirrorError =>
  new MirrorError(
    'TILE_MISMATCH',
    `${what} of ${source.name} do not make the root that its checkpoint signs`,
    {
      hint: 'the log serves damaged or forged tiles; nothing of them was kept',
    },
  )
