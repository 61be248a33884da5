import { readEntries, readLatestCheckpoint } from '../graph/log-store.ts'
import { encodeEntryBundle } from '../log/entry-bundle.ts'
import { HASH_BYTES } from '../log/merkle.ts'
import { parseTilePath, TILE_HEIGHT, TILE_WIDTH } from '../log/tile.ts'
import type { ServiceContext } from './context.ts'
import { notFound, ServiceError } from './error.ts'
import { tilesOf } from './tiles.ts'

/** The newest published checkpoint, a signed note. Throws `NOT_FOUND` before the first. */
export async function latestCheckpoint(ctx: ServiceContext): Promise<string> {
  const checkpoint = await readLatestCheckpoint(ctx.sql)
  if (checkpoint) return checkpoint.note
  throw new ServiceError('NOT_FOUND', 'no checkpoint has been published yet', {
    hint: 'the first one follows the first leaves; try again soon',
    retryAfter: 5,
  })
}

/** The verifier keys of everybody who signs this log's checkpoints, one a line. Throws `NO_SIGNER` where none is known. */
export function verifierKeys({ checkpointVkeys }: ServiceContext): string {
  if (checkpointVkeys.length > 0) return checkpointVkeys.map((vkey) => `${vkey}\n`).join('')
  throw new ServiceError('NO_SIGNER', 'this process does not know who signs the checkpoints', {
    hint: 'ask the indexer itself',
    exitCode: 3,
  })
}

/**
 * The hash tile or entry bundle at `path` (`tile/...`, C2SP tlog-tiles). Throws `NOT_FOUND` where the path is none, or
 * names what the newest published checkpoint does not cover: nothing is served that nobody has signed.
 */
export async function readTilePath(ctx: ServiceContext, path: string): Promise<Uint8Array> {
  const wanted = parseTilePath(path)
  if (!wanted) throw notFound('tile', path)
  const { kind, index, width } = wanted
  const level = kind === 'hashes' ? wanted.level : 0
  const tiles = tilesOf(ctx)
  if (!(await tiles.isPublished((index * TILE_WIDTH + width) * 2 ** (TILE_HEIGHT * level))))
    throw notFound('tile', path)
  if (kind === 'entries') {
    const from = index * TILE_WIDTH
    const entries = await readEntries(ctx.sql, from, from + width)
    if (entries.length === width) return encodeEntryBundle(entries)
  } else {
    const hashes = await tiles.read({ level, index, width })
    if (hashes && hashes.length >= width * HASH_BYTES) return hashes.subarray(0, width * HASH_BYTES)
  }
  throw new ServiceError('NOT_FOUND', `${path} is missing from the store`, {
    hint: 'the operator runs `dunes doctor`',
    exitCode: 3,
  })
}
