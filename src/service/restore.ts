import { createHash } from 'node:crypto'
import type { TransactionSql } from 'postgres'
import { equalBytes, fromHex, type Hex, sha256, toHex } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import { DunesError } from '../core/error.ts'
import type { MlDsa } from '../core/ml-dsa.ts'
import { renameFeed } from '../graph/changes.ts'
import type { Sql } from '../graph/connect.ts'
import { readDeployment } from '../graph/cursor.ts'
import { type LogHead, readLogHead, tileReader } from '../graph/log-store.ts'
import { putPayload } from '../graph/payloads.ts'
import { forgetVerdicts, writeRestored, writeRestoredCheckpoint } from '../graph/restored.ts'
import { appendLeaves, emptyState, type LogState, rootOf } from '../log/append.ts'
import type { Checkpoint } from '../log/checkpoint.ts'
import { decodeEntryBundle } from '../log/entry-bundle.ts'
import { emptyRoot, leafHash } from '../log/merkle.ts'
import { rootAt } from '../log/proof.ts'
import { entryBundlePath, TILE_WIDTH } from '../log/tile.ts'
import { judgeCheckpoint } from '../mirror/checkpoint.ts'
import type { LogFolder } from '../mirror/folder.ts'
import { policyVkeys, receiptKeysAt, retiredSigners, type TrustPolicy } from '../proof/trust-policy.ts'
import { parseEntry } from '../receipt/entry.ts'
import { verifyEntry } from '../receipt/sign.ts'
import {
  backupDamaged,
  CHECKPOINTS_FILE,
  decodeLines,
  decodePayloads,
  MANIFEST_FILE,
  type Manifest,
  PENDING_FILE,
  payloadsPath,
  readCheckpointLine,
  readManifest,
  readSignatureLine,
  SIGNATURES_FILE,
} from './backup-format.ts'

export interface RestoreOptions {
  sql: Sql
  /** A backup, an export or a mirror. */
  folder: LogFolder
  /** Whose log it must be, and who signs it: never taken from the folder. */
  policy: TrustPolicy
  /** What the chain holds now; null where nobody could be asked. */
  anchored: LogHead | null
  mlDsa: MlDsa
  clock: Clock
  signal: AbortSignal
  /** Verifies everything and changes nothing. */
  dryRun: boolean
  progress?: (done: number, total: number) => void
}

export interface Restored {
  /** The copy's own. */
  size: number
  root: Hex
  /** Leaves that the database had before. */
  before: number
  /** Entries that wait for their submissions now. */
  entries: number
  /** Of them, observed statements, which nobody could make again. */
  observed: number
  payloads: number
  checkpoints: number
  receiptSignatures: number
  /** What the chain has anchored; null where nobody could be asked. */
  anchored: number | null
}

const DRY_RUN = Symbol('dry run')

/**
 * Brings back what a copy of the log holds, in one transaction, after every byte of it was verified: the newest checkpoint by the
 * policy's keys; every entry against its root; every older checkpoint against the root at its size; payloads against their hashes; receipt
 * signatures by the policy's keys; the whole log against what the database holds already and what the chain has anchored. Entries wait in the
 * database until the indexer, which reads the chain anew, comes to their submissions.
 *
 * Throws `BACKUP_DAMAGED`, `MirrorError` of the checkpoint, `RESTORE_DIVERGED` where the copy is not the log that is anchored, or is stored;
 * `DATABASE_MISMATCH` and `INDEXER_RUNNING`.
 */
export async function restore(options: RestoreOptions): Promise<Restored> {
  const { sql, dryRun } = options
  let done: Restored | null = null
  await sql
    .begin(async (tx) => {
      done = await new Restoring(options, tx).run()
      // Nothing of a trial may stay.
      if (dryRun) throw DRY_RUN
    })
    .catch((error: unknown) => {
      if (error !== DRY_RUN) throw error
    })
  return done as unknown as Restored
}

const diverged = (message: string): DunesError =>
  new DunesError('RESTORE_DIVERGED', message, {
    hint: 'nothing was restored. Take a copy of the log that is anchored; if none is left, close the log and open a successor',
    exitCode: 1,
  })

class Restoring {
  readonly #options: RestoreOptions
  readonly #tx: TransactionSql
  #state: LogState = emptyState()
  #manifest: Manifest | null = null
  #before: LogHead = { size: 0, root: emptyRoot() }
  readonly #counts = { entries: 0, observed: 0, payloads: 0, checkpoints: 0, receiptSignatures: 0 }

  constructor(options: RestoreOptions, tx: TransactionSql) {
    this.#options = options
    this.#tx = tx
  }

  async run(): Promise<Restored> {
    const { folder, policy, anchored, mlDsa, clock, signal, progress } = this.#options
    await this.#claim()
    this.#manifest = await readManifest(folder)
    const note = await folder.read('checkpoint')
    if (!note) throw backupDamaged('checkpoint', 'there is none')
    const trust = {
      origin: policy.origin,
      vkeys: policyVkeys(policy),
      retired: retiredSigners(policy),
      mlDsa,
    }
    const checkpoint = judgeCheckpoint(note, trust, clock.now())
    const { size, root } = checkpoint
    if (this.#manifest && (this.#manifest.size !== size || this.#manifest.root !== toHex(root)))
      throw backupDamaged(MANIFEST_FILE, 'it is about another size or root than the checkpoint')
    this.#before = await readLogHead(this.#tx)
    const older = new OlderCheckpoints(this.#lines(CHECKPOINTS_FILE), (line) => {
      const { size: at, note: text } = readCheckpointLine(line)
      const opened = judgeCheckpoint(new TextEncoder().encode(text), trust, clock.now())
      if (opened.size !== at)
        throw backupDamaged(CHECKPOINTS_FILE, `the note of size ${at} is of ${opened.size}`)
      return { ...opened, note: text }
    })
    for (let first = 0; first < size; first += TILE_WIDTH) {
      signal.throwIfAborted()
      await this.#bundle(first, Math.min(size, first + TILE_WIDTH), checkpoint, older)
      progress?.(Math.min(size, first + TILE_WIDTH), size)
    }
    if (!equalBytes(rootOf(this.#state), root))
      throw backupDamaged(
        'tile/entries',
        `the entries do not have the root of the checkpoint of size ${size}`,
      )
    await older.finish()
    await this.#takePayloads(PENDING_FILE)
    await this.#takeSignatures()
    // The database may hold more than the copy: then the copy must be its beginning.
    if (this.#before.size > size) {
      const own = await rootAt(size, tileReader(this.#tx))
      if (!equalBytes(own, root))
        throw diverged(`the database has another log: its root at size ${size} is ${toHex(own)}`)
    } else if (this.#counts.entries > 0) await forgetVerdicts(this.#tx, this.#before.size)
    // What followers of this database were told of is not what it will tell from now on.
    await renameFeed(this.#tx)
    return {
      size,
      root: toHex(root),
      before: this.#before.size,
      ...this.#counts,
      anchored: anchored?.size ?? null,
    }
  }

  /** Keeps indexers out, and makes sure that the database is of the policy's deployment. */
  async #claim(): Promise<void> {
    const { policy } = this.#options
    const name = `dunes/${policy.chain}`
    const [row] = await this.#tx`select pg_try_advisory_xact_lock(hashtextextended(${name}, 0)) as held`
    if (row?.['held'] !== true)
      throw new DunesError('INDEXER_RUNNING', 'an indexer is running on this database', {
        hint: 'stop it, restore, and start it again',
      })
    const found = await readDeployment(this.#tx)
    if (!found) return
    for (const field of ['chain', 'registry', 'anchor', 'origin'] as const)
      if (found[field] !== policy[field])
        throw new DunesError(
          'DATABASE_MISMATCH',
          `the database is an index of another ${field}: ${found[field]}`,
          {
            hint: 'restore into the database of this deployment, or into an empty one',
          },
        )
  }

  /** One bundle of entries, the payloads that they speak of, and the roots on the way. */
  async #bundle(first: number, end: number, { size }: Checkpoint, older: OlderCheckpoints): Promise<void> {
    const { folder, policy, anchored } = this.#options
    const index = first / TILE_WIDTH
    const path = entryBundlePath({ index, width: end - first })
    // A copy that went on growing may hold the full bundle instead.
    const bytes =
      (await folder.read(path)) ?? (await folder.read(entryBundlePath({ index, width: TILE_WIDTH })))
    if (!bytes) throw backupDamaged(path, 'it is missing')
    const entries = decodeBundle(path, bytes).slice(0, end - first)
    if (entries.length < end - first) throw backupDamaged(path, `it holds ${entries.length} entries`)
    entries.forEach((entry, i) => {
      const said = readEntry(path, entry)
      for (const field of ['chain', 'registry', 'origin'] as const)
        if (said[field] !== policy[field])
          throw backupDamaged(path, `entry ${first + i} is of another ${field}: ${said[field]}`)
      if (said.index !== first + i)
        throw backupDamaged(path, `entry ${first + i} says that it is ${said.index}`)
      if (first + i >= this.#before.size && said.observed) this.#counts.observed++
    })
    // The roots that something else claims, in order.
    const marks = new Map<number, (root: Uint8Array) => Promise<void> | void>()
    const mark = (at: number, check: (root: Uint8Array) => Promise<void> | void) => {
      const other = marks.get(at)
      marks.set(at, async (root) => {
        await other?.(root)
        await check(root)
      })
    }
    for (const each of await older.upTo(end)) {
      if (each.size > size) throw backupDamaged(CHECKPOINTS_FILE, `it goes beyond the log of size ${size}`)
      mark(each.size, (root) => this.#takeCheckpoint(each, root))
    }
    const covers = (at: number) => at > first && at <= end
    if (covers(this.#before.size))
      mark(this.#before.size, (root) => {
        if (!equalBytes(root, this.#before.root))
          throw diverged(
            `the database has another log: its root at size ${this.#before.size} is ${toHex(this.#before.root)}`,
          )
      })
    if (anchored && covers(anchored.size))
      mark(anchored.size, (root) => {
        if (!equalBytes(root, anchored.root))
          throw diverged(
            `the copy is not the log that is anchored: its root at size ${anchored.size} is ${toHex(root)}, on-chain it is ${toHex(anchored.root)}`,
          )
      })
    let at = first
    for (const [stop, check] of [...marks].sort(([a], [b]) => a - b)) {
      this.#append(entries.slice(at - first, stop - first))
      at = stop
      await check(rootOf(this.#state))
    }
    this.#append(entries.slice(at - first))
    const skip = Math.max(0, this.#before.size - first)
    if (skip < entries.length) {
      await writeRestored(this.#tx, first + skip, entries.slice(skip))
      this.#counts.entries += entries.length - skip
    }
    await this.#takePayloads(payloadsPath(path))
  }

  #append(entries: readonly Uint8Array[]): void {
    this.#state = appendLeaves(this.#state, entries.map(leafHash)).state
  }

  /** A checkpoint whose signatures hold, at a size where the copy has `root`. */
  async #takeCheckpoint({ size, root: said, note }: Noted, root: Uint8Array): Promise<void> {
    if (!equalBytes(root, said))
      throw backupDamaged(
        CHECKPOINTS_FILE,
        `the checkpoint of size ${size} has another root than the entries`,
      )
    await writeRestoredCheckpoint(this.#tx, size, root, note)
    this.#counts.checkpoints++
  }

  /** Payloads of one file. */
  async #takePayloads(path: string): Promise<void> {
    this.#counts.payloads += await takePayloads(this.#tx, path, this.#parts(path))
  }

  async #takeSignatures(): Promise<void> {
    const { policy, mlDsa } = this.#options
    for await (const line of this.#lines(SIGNATURES_FILE)) {
      const { index, keyId, signature } = readSignatureLine(line)
      const [row] = await this.#tx`
        select entry from restored_leaf where index = ${index} union all select entry from leaf where index = ${index} limit 1`
      const key = receiptKeysAt(policy, index).find((each) => toHex(sha256(each)) === keyId)
      if (!row || !key)
        throw backupDamaged(SIGNATURES_FILE, `no receipt key of the policy signs index ${index} of this log`)
      if (!verifyEntry(new Uint8Array(row['entry']), signature, key, mlDsa))
        throw backupDamaged(SIGNATURES_FILE, `the signature of index ${index} does not verify`)
      await this.#tx`
        insert into receipt_signature (index, key_id, signature)
        values (${index}, ${fromHex(keyId)}, ${signature}) on conflict do nothing`
      this.#counts.receiptSignatures++
    }
  }

  #lines(path: string) {
    return decodeLines(path, this.#parts(path))
  }

  #parts(path: string): AsyncGenerator<Uint8Array> {
    return checkedParts(this.#options.folder, this.#manifest, path)
  }
}

/** A file of the folder in parts, with the hash that the manifest has of it. Files that the manifest does not have are left out. */
async function* checkedParts(
  folder: LogFolder,
  manifest: Manifest | null,
  path: string,
): AsyncGenerator<Uint8Array> {
  const known = manifest?.files[path]
  if (!known) return
  const hash = createHash('sha256')
  for await (const part of folder.stream(path)) {
    hash.update(part)
    yield part
  }
  const found = `0x${hash.digest('hex')}`
  if (found !== known.sha256) throw backupDamaged(path, `its SHA-256 is ${found}, not ${known.sha256}`)
}

/** Stores the payloads of one file, each under the hash of its bytes; answers how many. */
async function takePayloads(
  tx: TransactionSql,
  path: string,
  parts: AsyncIterable<Uint8Array>,
): Promise<number> {
  let count = 0
  for await (const { sha256: name, bytes } of decodePayloads(path, parts)) {
    if (!equalBytes(sha256(bytes), name))
      throw backupDamaged(path, `the payload ${toHex(name)} has another hash`)
    await putPayload(tx, name, bytes)
    count++
  }
  return count
}

/**
 * Brings back the payloads of a backup and nothing else, each under the hash of its bytes: for a log that goes on after the one that was
 * backed up, whose leaves are its own. Whose log it was does not matter, so nobody need be trusted. Throws `BACKUP_DAMAGED`.
 */
export async function restorePayloads({
  sql,
  folder,
  signal,
  progress,
}: Pick<RestoreOptions, 'sql' | 'folder' | 'signal' | 'progress'>): Promise<number> {
  const manifest = await readManifest(folder)
  if (!manifest) throw backupDamaged(MANIFEST_FILE, 'there is none; exports and mirrors hold no payloads')
  const paths = Object.keys(manifest.files).filter((path) => path.startsWith('payloads/'))
  return (await sql.begin(async (tx) => {
    let count = 0
    for (const [i, path] of paths.entries()) {
      signal.throwIfAborted()
      count += await takePayloads(tx, path, checkedParts(folder, manifest, path))
      progress?.(i + 1, paths.length)
    }
    return count
  })) as number
}

interface Noted extends Checkpoint {
  note: string
}

/** Checkpoints in the order of their sizes, read as far as they are asked for. */
class OlderCheckpoints {
  readonly #lines: AsyncIterator<unknown>
  readonly #read: (line: never) => Noted
  #next: Noted | null = null
  #last = 0
  #over = false

  constructor(lines: AsyncIterable<unknown>, read: (line: never) => Noted) {
    this.#lines = lines[Symbol.asyncIterator]()
    this.#read = read
  }

  /** Those that were not given yet, with sizes up to `size`. */
  async upTo(size: number): Promise<Noted[]> {
    const out: Noted[] = []
    for (;;) {
      const next = await this.#peek()
      if (!next || next.size > size) return out
      out.push(next)
      this.#next = null
    }
  }

  /** Throws `BACKUP_DAMAGED` where there are some beyond those that were asked for. */
  async finish(): Promise<void> {
    const next = await this.#peek()
    if (next) throw backupDamaged(CHECKPOINTS_FILE, `the checkpoint of size ${next.size} is beyond the log`)
  }

  async #peek(): Promise<Noted | null> {
    if (this.#next || this.#over) return this.#next
    const { value, done } = await this.#lines.next()
    this.#over = done === true
    if (this.#over) return null
    const noted = this.#read(value as never)
    if (noted.size <= this.#last)
      throw backupDamaged(CHECKPOINTS_FILE, `size ${noted.size} comes after ${this.#last}`)
    this.#last = noted.size
    this.#next = noted
    return noted
  }
}

function decodeBundle(path: string, bytes: Uint8Array): Uint8Array[] {
  try {
    return decodeEntryBundle(bytes)
  } catch (cause) {
    throw backupDamaged(path, 'it is no bundle of entries', cause)
  }
}

function readEntry(path: string, bytes: Uint8Array) {
  try {
    return parseEntry(bytes).entry
  } catch (cause) {
    throw backupDamaged(path, 'it holds what is no entry', cause)
  }
}
