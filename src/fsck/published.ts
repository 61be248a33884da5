import { fromBase64, type Hex, toHex } from '../core/bytes.ts'
import { DunesError } from '../core/error.ts'
import type { MlDsa } from '../core/ml-dsa.ts'
import { type CheckpointKeySet, noteFaultBySets } from './note.ts'
import type { Snapshot } from './rows.ts'

/** What a log has published: its size, and its entries by index. */
export interface Published {
  readonly size: number
  /** Where from, for people. */
  readonly from: string
  /** The root that its checkpoint claims; null where it has none yet. */
  readonly root: Hex | null
  /** Entries `from` up to but without `to`, which is at most {@link size}; undefined where one is missing. */
  entries(from: number, to: number): Promise<(Uint8Array | undefined)[]>
}

/** The log in a database. */
export async function publishedInDatabase(db: Snapshot): Promise<Published> {
  const [row] = await db`select size, root from log_head`
  return {
    size: row ? row['size'] : 0,
    root: row ? toHex(row['root']) : null,
    from: 'the database',
    async entries(from, to) {
      const rows = await db`select index, entry from leaf where index >= ${from} and index < ${to}`
      const found = new Map(rows.map((leaf) => [leaf['index'], new Uint8Array(leaf['entry'])]))
      return Array.from({ length: Math.max(0, to - from) }, (_, i) => found.get(from + i))
    },
  }
}

/** Entries of one bundle. */
const WIDTH = 256
const TIMEOUT_MS = 20_000
/** A bundle holds 256 entries behind two bytes each. */
const MAX_BYTES = 256 * (65_535 + 2)

/**
 * The log at a URL (C2SP tlog-tiles, docs/log.md): its newest checkpoint, which one of `keys` must have signed where any are given, and its
 * entry bundles. Throws `FSCK_LOG_UNREACHABLE` (exit code 3), or `FSCK_CHECKPOINT` (exit code 1) where the checkpoint is not what it should be.
 */
export async function publishedAt(
  url: string,
  origin: string,
  keys: readonly CheckpointKeySet[],
  mlDsa: MlDsa,
): Promise<Published> {
  const base = url.replace(/\/$/, '')
  const note = new TextDecoder().decode(await get(base, 'checkpoint'))
  const [, size = '', root = ''] = note.split('\n')
  const fault = (what: string) =>
    new DunesError('FSCK_CHECKPOINT', `the checkpoint at ${base} is not one of ${origin}: ${what}`, {
      exitCode: 1,
    })
  if (!/^(?:0|[1-9][0-9]{0,15})$/.test(size)) throw fault('it has no size')
  const wrong = noteFaultBySets(note, { origin, size: Number(size), root: rootOf(root) }, keys, mlDsa)
  if (wrong) throw fault(`${wrong.field}: expected ${wrong.expected}`)
  const total = Number(size)
  let held: { index: number; entries: Uint8Array[] } | null = null
  const bundle = async (index: number): Promise<Uint8Array[]> => {
    if (held?.index === index) return held.entries
    const width = Math.min(WIDTH, total - index * WIDTH)
    const path = `tile/entries/${tileIndex(index)}${width < WIDTH ? `.p/${width}` : ''}`
    const entries = readBundle(await get(base, path))
    if (entries?.length !== width) throw unreachable(base, path, 'the bundle is malformed')
    held = { index, entries }
    return entries
  }
  return {
    size: total,
    root: toHex(rootOf(root)),
    from: base,
    async entries(from, to) {
      const out: Uint8Array[] = []
      for (let at = from; at < to; ) {
        const index = Math.floor(at / WIDTH)
        const entries = (await bundle(index)).slice(at - index * WIDTH, to - index * WIDTH)
        out.push(...entries)
        at += entries.length
      }
      return out
    },
  }
}

function rootOf(base64: string): Uint8Array {
  try {
    return fromBase64(base64)
  } catch {
    return new Uint8Array()
  }
}

const unreachable = (base: string, path: string, why: string): DunesError =>
  new DunesError('FSCK_LOG_UNREACHABLE', `the log at ${base} does not give ${path}: ${why}`, {
    hint: 'name the log with --log, or a database with DATABASE_URL',
    retryable: true,
    exitCode: 3,
  })

async function get(base: string, path: string): Promise<Uint8Array> {
  try {
    const response = await fetch(`${base}/${path}`, { signal: AbortSignal.timeout(TIMEOUT_MS) })
    const bytes = new Uint8Array(await response.arrayBuffer())
    if (response.status === 200 && bytes.length <= MAX_BYTES) return bytes
    throw new Error(`HTTP ${response.status}`)
  } catch (error) {
    throw unreachable(base, path, error instanceof Error ? error.message : String(error))
  }
}

/** `<N>` of C2SP tlog-tiles: groups of three digits, all but the last behind an `x`. */
export function tileIndex(index: number): string {
  const groups = [String(index % 1000).padStart(3, '0')]
  for (let rest = Math.floor(index / 1000); rest > 0; rest = Math.floor(rest / 1000))
    groups.unshift(`x${String(rest % 1000).padStart(3, '0')}`)
  return groups.join('/')
}

/** Entries behind their lengths as big-endian uint16; null where the lengths do not add up. */
function readBundle(bytes: Uint8Array): Uint8Array[] | null {
  const out: Uint8Array[] = []
  for (let at = 0; at < bytes.length; ) {
    const length = ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)
    const end = at + 2 + length
    if (end > bytes.length) return null
    out.push(bytes.subarray(at + 2, end))
    at = end
  }
  return out
}
