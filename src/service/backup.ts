import { createHash } from 'node:crypto'
import { type Hex, toHex, utf8 } from '../core/bytes.ts'
import { DunesError } from '../core/error.ts'
import { entryBundlePath, TILE_WIDTH } from '../log/tile.ts'
import { LogFolder } from '../mirror/folder.ts'
import {
  CHECKPOINTS_FILE,
  encodeCheckpointLine,
  encodePayload,
  encodeSignatureLine,
  MANIFEST_FILE,
  type Manifest,
  PENDING_FILE,
  payloadsPath,
  readManifest,
  SIGNATURES_FILE,
} from './backup-format.ts'
import type { ServiceContext } from './context.ts'
import { type ExportOptions, exportLog } from './export.ts'

/** Payload bytes that are asked of the database at once, but for the last one. */
const HELD_BYTES = 16 << 20
/** Rows of checkpoints and signatures that are asked for at once. */
const PAGE = 1_000

export interface BackedUp {
  size: number
  root: Hex
  payloads: number
  checkpoints: number
  receiptSignatures: number
  /** Bytes and files beside the log's own. */
  bytes: number
  files: number
  /** SHA-256 of the manifest, which holds the hash of every other file and the root of the log. */
  sha256: Hex
}

export interface BackupOptions extends Omit<ExportOptions, 'progress'> {
  /** Told what is being written, and how much of it is. */
  progress?: (step: string, done: number, total: number) => void
}

/**
 * Writes everything that cannot be made again from the chain into a folder: the log with its observed statements and signatures, payloads,
 * receipt signatures. What it holds is the log at its newest published checkpoint, none of which ever changes, so it is consistent
 * whatever is written meanwhile. A second run into the folder writes what is new; the manifest is written last. Throws as
 * `exportLog` does, and `BACKUP_OTHER_LOG`.
 */
export async function backup(ctx: ServiceContext, options: BackupOptions): Promise<BackedUp> {
  const { path, signal, recheck = false, progress } = options
  const folder = new LogFolder(path)
  const { chain, registry, anchor, origin } = ctx.deployment
  const before = await readManifest(folder)
  if (before && (before.origin !== origin || before.anchor !== anchor || before.chain !== chain))
    throw new DunesError('BACKUP_OTHER_LOG', `${path} is a backup of ${before.origin} on ${before.chain}`, {
      hint: 'choose a folder of its own for each log',
    })
  const exported = await exportLog(ctx, {
    path,
    signal,
    recheck,
    // Whatever became of the chain, what is here can be saved.
    needsChain: false,
    ...(progress && { progress: (done, total) => progress('entries', done, total) }),
  })
  const { size } = exported
  const known = recheck ? {} : (before?.files ?? {})
  const files: Manifest['files'] = {}
  const counts = { payloads: 0, checkpoints: 0, receiptSignatures: 0 }
  const write = async (name: string, parts: AsyncIterable<Uint8Array>) => {
    files[name] = await writeHashed(folder, name, parts)
  }
  for (let first = 0; first < size; first += TILE_WIDTH) {
    signal.throwIfAborted()
    const width = Math.min(TILE_WIDTH, size - first)
    const name = payloadsPath(entryBundlePath({ index: first / TILE_WIDTH, width }))
    const kept = known[name]
    if (kept && width === TILE_WIDTH) files[name] = kept
    else await write(name, loggedPayloads(ctx, first, first + width, counts))
    if (width === TILE_WIDTH) await folder.remove(`${name}.p`)
    progress?.('payloads', first + width, size)
  }
  await write(PENDING_FILE, otherPayloads(ctx, size, counts))
  await write(CHECKPOINTS_FILE, checkpoints(ctx, size, counts))
  await write(SIGNATURES_FILE, signatures(ctx, size, counts))
  const root = toHex(exported.checkpoint.root)
  const manifest: Manifest = { v: 1, chain, registry, anchor, origin, size, root, files }
  const bytes = utf8(`${JSON.stringify(manifest, null, 1)}\n`)
  await folder.write(MANIFEST_FILE, bytes, { durable: true })
  const list = Object.values(files)
  return {
    size,
    root,
    ...counts,
    bytes: list.reduce((sum, file) => sum + file.bytes, 0),
    files: list.length,
    sha256: `0x${createHash('sha256').update(bytes).digest('hex')}`,
  }
}

/** Writes a file and answers its length and hash. */
async function writeHashed(
  folder: LogFolder,
  path: string,
  parts: AsyncIterable<Uint8Array>,
): Promise<Manifest['files'][string]> {
  const hash = createHash('sha256')
  let bytes = 0
  async function* through() {
    for await (const part of parts) {
      hash.update(part)
      bytes += part.length
      yield part
    }
  }
  await folder.writeParts(path, through(), { durable: true })
  return { bytes, sha256: `0x${hash.digest('hex')}` }
}

type Counts = Pick<BackedUp, 'payloads' | 'checkpoints' | 'receiptSignatures'>

/** The payloads of the leaves `from` up to but without `to`, those that are here. */
async function* loggedPayloads({ sql }: ServiceContext, from: number, to: number, counts: Counts) {
  const rows = await sql`
    select encode(p.sha256, 'hex') as sha256, length(p.bytes) as bytes
    from leaf l join submission u on u.id = l.submission join payload p on p.sha256 = u.payload_sha256
    where l.index >= ${from} and l.index < ${to} group by p.sha256 order by min(l.index)`
  yield* payloadsOf(sql, rows as unknown as { sha256: string; bytes: number }[], counts)
}

/** The payloads that no leaf below `size` speaks of: of submissions that are to come, or are not logged yet. */
async function* otherPayloads({ sql }: ServiceContext, size: number, counts: Counts) {
  // The server finds them all at once, by sorting, and hands them out in pages.
  const pages = pagesOf<{ sha256: string; bytes: number }[]>((take) =>
    sql.begin('read only', async (tx) => {
      await tx`set local cursor_tuple_fraction = 1`
      // No parameters in what declares a cursor.
      await tx.unsafe(`
        declare other_payloads no scroll cursor for
        select encode(p.sha256, 'hex') as sha256, length(p.bytes) as bytes from payload p
        where not exists (
          select from submission u join leaf l on l.submission = u.id where u.payload_sha256 = p.sha256 and l.index < ${Math.trunc(size)})
        order by p.sha256`)
      for (;;) {
        const rows = await tx.unsafe(`fetch ${PAGE} from other_payloads`)
        if (rows.length === 0) return
        await take(rows as unknown as { sha256: string; bytes: number }[])
      }
    }),
  )
  for await (const page of pages) yield* payloadsOf(sql, page, counts)
}

/** What `read` hands on, which waits until the page before was taken, and fails once nobody takes any more. */
async function* pagesOf<T>(read: (take: (page: T) => Promise<void>) => Promise<unknown>): AsyncGenerator<T> {
  const { readable, writable } = new TransformStream<T, T>()
  const writer = writable.getWriter()
  const reading = read((page) => writer.write(page)).then(
    () => writer.close(),
    (error: unknown) => writer.abort(error),
  )
  // Its failure is that of the next page.
  reading.catch(() => {})
  try {
    yield* readable
  } finally {
    await reading.catch(() => {})
  }
}

async function* payloadsOf(
  sql: ServiceContext['sql'],
  wanted: readonly { sha256: string; bytes: number }[],
  counts: Counts,
) {
  for (let at = 0; at < wanted.length; ) {
    const hashes: string[] = []
    for (let held = 0; at < wanted.length && held < HELD_BYTES; at++) {
      held += wanted[at]?.bytes ?? 0
      hashes.push(wanted[at]?.sha256 ?? '')
    }
    const rows = await sql`
      select p.sha256, p.bytes from unnest(${hashes}::text[]) with ordinality as w(hash, n)
      join payload p on p.sha256 = decode(w.hash, 'hex') order by w.n`
    for (const row of rows) {
      counts.payloads++
      yield encodePayload(new Uint8Array(row['sha256']), new Uint8Array(row['bytes']))
    }
  }
}

async function* checkpoints({ sql }: ServiceContext, size: number, counts: Counts) {
  for (let after = 0; ; ) {
    const rows = await sql`
      select size, note from checkpoint where size > ${after} and size <= ${size} order by size limit ${PAGE}`
    for (const row of rows) yield encodeCheckpointLine(row['size'], row['note'])
    counts.checkpoints += rows.length
    const last = rows.at(-1)
    if (!last) return
    after = last['size']
  }
}

async function* signatures({ sql }: ServiceContext, size: number, counts: Counts) {
  for (let after = -1; ; ) {
    const rows = await sql`
      select index, key_id, signature from receipt_signature
      where index > ${after} and index < ${size} order by index limit ${PAGE}`
    for (const row of rows)
      yield encodeSignatureLine(row['index'], toHex(row['key_id']), new Uint8Array(row['signature']))
    counts.receiptSignatures += rows.length
    const last = rows.at(-1)
    if (!last) return
    after = last['index']
  }
}
