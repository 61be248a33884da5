import { equalBytes, sha256, toHex } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import type { Checkpoint } from '../log/checkpoint.ts'
import { decodeEntryBundle, encodeEntryBundle } from '../log/entry-bundle.ts'
import { emptyRoot, HASH_BYTES, leafHash } from '../log/merkle.ts'
import { MAX_NOTE_BYTES } from '../log/note.ts'
import { rootAt } from '../log/proof.ts'
import { entryBundlePath, TILE_WIDTH } from '../log/tile.ts'
import { judgeCheckpoint, type LogTrust, readHeld, requireNoStepBack } from './checkpoint.ts'
import { MirrorError } from './error.ts'
import type { LogFolder } from './folder.ts'
import type { LogSource } from './source.ts'
import { readEither, type VerifiedTiles, verifiedTiles } from './tiles.ts'

/** Bytes of an entry behind its length, at most. Receipts' entries have at most 8 KiB; a bundle is refused before it is read whole. */
export const MAX_ENTRY_BYTES = 2 + 8 * 1024
/** Bundles that are fetched and hashed at once. */
const AT_ONCE = 8

export interface FollowOptions {
  source: LogSource
  folder: LogFolder
  trust: LogTrust
  clock: Clock
  signal: AbortSignal
  /** Looks at every file again, also at those that were checked before, and replaces damaged ones. */
  recheck?: boolean
  /** Told how many of the entries to look at have been. */
  progress?: (done: number, total: number) => void
}

export interface Followed {
  checkpoint: Checkpoint
  /** Entries that were held before, and that are checked and held now. */
  before: number
  size: number
}

/**
 * Brings `folder` to the newest checkpoint of the log at `source`, checking everything on the way: the checkpoint by
 * `trust`; that the tree extends the one held; every tile and every entry against the root (RFC 6962 section 2.1). The
 * checkpoint is written last, so the folder always holds a whole log. Throws {@link MirrorError}.
 */
export async function followLog(options: FollowOptions): Promise<Followed> {
  const { source, folder, trust, clock, recheck = false } = options
  const kept = await folder.read('checkpoint')
  const held: Checkpoint = kept
    ? readHeld(kept, trust.origin)
    : { origin: trust.origin, size: 0, root: emptyRoot() }
  const note = await source.read('checkpoint', MAX_NOTE_BYTES)
  if (!note) {
    throw new MirrorError('RESOURCE_MISSING', `${source.name} has no checkpoint`, {
      hint: 'check the address; a new log has none before its first leaves',
      retryable: true,
      exitCode: 3,
    })
  }
  const next = judgeCheckpoint(note, trust, clock.now())
  const keepEvidence = async (error: unknown): Promise<never> => {
    if (error instanceof MirrorError && (error.code === 'LOG_FORKED' || error.code === 'LOG_REWRITTEN'))
      await folder.write(`refused/${toHex(sha256(note)).slice(2, 18)}.checkpoint`, note, { durable: true })
    throw error
  }
  try {
    requireNoStepBack(held, next)
    const from = recheck ? 0 : held.size
    if (next.size > from) {
      const tiles = await verifiedTiles(next, source, folder)
      await requireExtension(held, tiles)
      await takeEntries(options, tiles, from, next.size)
    } else if (next.size === 0 && !equalBytes(next.root, emptyRoot())) {
      throw new MirrorError('TILE_MISMATCH', 'the log has no entries and another root than the empty tree', {
        hint: 'tell its operator',
      })
    }
  } catch (error) {
    return keepEvidence(error)
  }
  if (!kept || !equalBytes(kept, note)) await folder.write('checkpoint', note, { durable: true })
  return { checkpoint: next, before: held.size, size: next.size }
}

/** The first `held.size` leaves of the verified tree are those that are held: its own tiles have their root. */
async function requireExtension(held: Checkpoint, tiles: VerifiedTiles): Promise<void> {
  const root = await rootAt(held.size, ({ level, index }) => tiles.read(level, index))
  if (equalBytes(root, held.root)) return
  throw new MirrorError('LOG_REWRITTEN', `the log does not extend the ${held.size} entries that are held`, {
    hint: 'its signers rewrote history: the held and the refused checkpoint together prove it; both are kept',
  })
}

/** Checks and stores the entry bundles, and with them all tiles, that the leaves from `from` to `size` are in. */
async function takeEntries(
  { source, folder, signal, progress }: FollowOptions,
  tiles: VerifiedTiles,
  from: number,
  size: number,
): Promise<void> {
  const end = Math.ceil(size / TILE_WIDTH)
  let next = Math.floor(from / TILE_WIDTH)
  let done = 0
  const work = async (): Promise<void> => {
    while (next < end) {
      if (signal.aborted) throw interrupted(source)
      const index = next++
      const width = Math.min(TILE_WIDTH, size - index * TILE_WIDTH)
      await takeBundle(source, folder, await tiles.read(0, index), index, width)
      done += width - Math.max(0, from - index * TILE_WIDTH)
      progress?.(done, size - from)
    }
  }
  // The first failure ends all: what the others are at is finished, and nothing new begun.
  const results = await Promise.allSettled(
    Array.from({ length: AT_ONCE }, () =>
      work().catch((error) => {
        next = end
        throw error
      }),
    ),
  )
  for (const result of results) if (result.status === 'rejected') throw result.reason
}

async function takeBundle(
  source: LogSource,
  folder: LogFolder,
  hashes: Uint8Array,
  index: number,
  width: number,
): Promise<void> {
  const path = entryBundlePath({ index, width })
  const fullPath = entryBundlePath({ index, width: TILE_WIDTH })
  const held = await folder.read(path)
  if (held && holds(held, hashes, width)) return
  const whole = { path: fullPath, maxBytes: TILE_WIDTH * MAX_ENTRY_BYTES }
  const bundle = await readEither(
    source,
    path,
    width * MAX_ENTRY_BYTES,
    width < TILE_WIDTH ? whole : null,
    // Of a full bundle in place of a partial one only the first entries are asked for.
    (bytes, isFull) => (isFull && width < TILE_WIDTH ? firstEntries(bytes, width) : bytes),
  )
  if (!bundle || !holds(bundle, hashes, width)) {
    throw new MirrorError(
      'ENTRY_MISMATCH',
      `${path} of ${source.name} is not what the log's root commits to`,
      {
        hint: 'the log serves damaged or forged entries; nothing of them was kept',
      },
    )
  }
  await folder.write(path, bundle)
  if (width === TILE_WIDTH) await folder.remove(`${fullPath}.p`)
}

/** Whether `bundle` holds exactly the `width` entries whose leaf hashes begin `hashes`. */
function holds(bundle: Uint8Array, hashes: Uint8Array, width: number): boolean {
  const entries = decode(bundle)
  return (
    entries?.length === width &&
    entries.every((entry, i) =>
      equalBytes(leafHash(entry), hashes.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES)),
    )
  )
}

const firstEntries = (bundle: Uint8Array, width: number): Uint8Array | null => {
  const entries = decode(bundle)
  return entries && entries.length >= width ? encodeEntryBundle(entries.slice(0, width)) : null
}

function decode(bundle: Uint8Array): Uint8Array[] | null {
  try {
    return decodeEntryBundle(bundle)
  } catch {
    return null
  }
}

const interrupted = (source: LogSource): MirrorError =>
  new MirrorError('LOG_UNREACHABLE', `following ${source.name} was interrupted`, {
    hint: 'run it again: what was checked is kept',
    retryable: true,
    exitCode: 3,
  })
