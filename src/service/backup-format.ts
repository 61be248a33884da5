import { z } from 'zod'
import { concat, decodeUtf8, fromBase64, toBase64, u32be, utf8 } from '../core/bytes.ts'
import { DunesError, describeError } from '../core/error.ts'
import { type Json, parseJson } from '../core/json.ts'
import type { LogFolder } from '../mirror/folder.ts'

/**
 * A backup is an export of the log (docs/log.md, "As files") with what an export leaves out: payload bytes, every signed checkpoint and
 * the receipt signatures. docs/operating.md, "Backup and restore".
 */
export const MANIFEST_FILE = 'backup.json'
export const CHECKPOINTS_FILE = 'checkpoints.jsonl'
export const SIGNATURES_FILE = 'receipt-signatures.jsonl'
export const PENDING_FILE = 'payloads/pending'

const hex = (bytes: number) =>
  z.string().regex(new RegExp(`^0x[0-9a-f]{${2 * bytes}}$`)) as z.ZodType<`0x${string}`>

const Manifest = z.strictObject({
  v: z.literal(1),
  chain: z.string(),
  registry: hex(20),
  anchor: hex(20),
  origin: z.string(),
  size: z.int().min(0),
  root: hex(32),
  /** The files beside the log's own, by path. The log's own are checked by its root. */
  files: z.record(z.string(), z.strictObject({ bytes: z.int().min(0), sha256: hex(32) })),
})
export type Manifest = z.infer<typeof Manifest>

/** A file of the folder is not what a backup holds. */
const broken = (path: string, why: string, cause?: unknown): DunesError =>
  new DunesError('BACKUP_DAMAGED', `${path} of the backup is damaged: ${why}`, {
    hint: 'nothing was restored from it; take another copy, or restore from an export or mirror of the log',
    exitCode: 1,
    cause,
  })

/** The manifest of a folder; null where it has none, as exports and mirrors do. Throws `BACKUP_DAMAGED`. */
export async function readManifest(folder: LogFolder): Promise<Manifest | null> {
  const bytes = await folder.read(MANIFEST_FILE)
  if (!bytes) return null
  try {
    return Manifest.parse(parseJson(decodeUtf8(bytes), { maxDepth: 4 }))
  } catch (cause) {
    throw broken(MANIFEST_FILE, describeError(cause), cause)
  }
}

/** Path of the payloads of one bundle of entries. `entryPath` is that bundle's own. */
export const payloadsPath = (entryPath: string): string => entryPath.replace('tile/entries/', 'payloads/')

/** One payload in a file of them: SHA-256, length as a big-endian uint32, bytes. */
export const encodePayload = (sha256: Uint8Array, bytes: Uint8Array): Uint8Array =>
  concat(sha256, u32be(bytes.length), bytes)

const HEAD_BYTES = 36
/** The longest payload that a submission may declare. */
const MOST_BYTES = 1 << 20

/** The payloads in a file, one at a time. Throws `BACKUP_DAMAGED` where the lengths do not add up. */
export async function* decodePayloads(
  path: string,
  parts: AsyncIterable<Uint8Array>,
): AsyncGenerator<{ sha256: Uint8Array; bytes: Uint8Array }> {
  let held = new Uint8Array()
  for await (const part of parts) {
    held = new Uint8Array(concat(held, part))
    let at = 0
    while (held.length - at >= HEAD_BYTES) {
      const length = new DataView(held.buffer, held.byteOffset + at + 32).getUint32(0)
      if (length > MOST_BYTES) throw broken(path, `a payload of ${length} bytes`)
      const end = at + HEAD_BYTES + length
      if (held.length < end) break
      yield { sha256: held.slice(at, at + 32), bytes: held.slice(at + HEAD_BYTES, end) }
      at = end
    }
    held = held.slice(at)
  }
  if (held.length > 0) throw broken(path, 'it ends within a payload')
}

/** The lines of a file, without their LF. Throws `BACKUP_DAMAGED` where the last one has none, or one is no JSON. */
export async function* decodeLines(path: string, parts: AsyncIterable<Uint8Array>): AsyncGenerator<Json> {
  let held: Uint8Array = new Uint8Array()
  for await (const part of parts) {
    held = concat(held, part)
    for (let end = held.indexOf(0x0a); end >= 0; end = held.indexOf(0x0a)) {
      yield parseLine(path, held.subarray(0, end))
      held = held.subarray(end + 1)
    }
  }
  if (held.length > 0) throw broken(path, 'it ends within a line')
}

function parseLine(path: string, line: Uint8Array): Json {
  try {
    return parseJson(decodeUtf8(line), { maxDepth: 2 })
  } catch (cause) {
    throw broken(path, describeError(cause), cause)
  }
}

const CheckpointLine = z.strictObject({ size: z.int().min(1), note: z.string() })
const SignatureLine = z.strictObject({ index: z.int().min(0), keyId: hex(32), signature: z.string() })

export const encodeCheckpointLine = (size: number, note: string): Uint8Array =>
  utf8(`${JSON.stringify({ size, note })}\n`)

/** A line of {@link CHECKPOINTS_FILE}. Throws `BACKUP_DAMAGED`. */
export function readCheckpointLine(line: Json): { size: number; note: string } {
  const read = CheckpointLine.safeParse(line)
  if (read.success) return read.data
  throw broken(CHECKPOINTS_FILE, read.error.issues[0]?.message ?? 'a line is no checkpoint')
}

export const encodeSignatureLine = (index: number, keyId: `0x${string}`, signature: Uint8Array): Uint8Array =>
  utf8(`${JSON.stringify({ index, keyId, signature: toBase64(signature) })}\n`)

/** A line of {@link SIGNATURES_FILE}. Throws `BACKUP_DAMAGED`. */
export function readSignatureLine(line: Json): {
  index: number
  keyId: `0x${string}`
  signature: Uint8Array
} {
  const read = SignatureLine.safeParse(line)
  if (!read.success) throw broken(SIGNATURES_FILE, read.error.issues[0]?.message ?? 'a line is no signature')
  try {
    return { ...read.data, signature: fromBase64(read.data.signature) }
  } catch (cause) {
    throw broken(SIGNATURES_FILE, describeError(cause), cause)
  }
}

export { broken as backupDamaged }
