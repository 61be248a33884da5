import { existsSync, readFileSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { DunesError, describeError } from './core/error.ts'
import { parseJson } from './core/json.ts'
import { writePrivateFile } from './core/key-file.ts'

/** File beside the keys that remembers those that were replaced: public parts, and for what they stay valid. */
export const HISTORY_FILE = 'history.json'

const hex = (bytes: number) =>
  z.string().regex(new RegExp(`^0x[0-9a-f]{${2 * bytes}}$`)) as z.ZodType<`0x${string}`>
const end = z.int().min(0).nullable()
const History = z.strictObject({
  v: z.literal(1),
  /** ML-DSA-65 public keys that signed receipts up to an index, included; null while the replacement is under way. */
  receipt: z.array(z.strictObject({ pub: hex(1952), toIndex: end, file: z.string() })),
  /** Sets of verifier keys that together signed checkpoints up to a size, included. */
  checkpoint: z.array(z.strictObject({ vkeys: z.array(z.string()).min(1), toSize: end, file: z.string() })),
  /** Accounts that anchored. */
  anchor: z.array(z.strictObject({ account: hex(20), file: z.string() })),
})

/** The keys that an indexer had before, oldest first. `file` names where the private part is kept, in the same folder. */
export type KeyHistory = z.infer<typeof History>

export const EMPTY_HISTORY: KeyHistory = { v: 1, receipt: [], checkpoint: [], anchor: [] }

/** The history in a folder of keys, an empty one where there is none. Throws `KEY_HISTORY_INVALID`. */
export function readHistory(folder: string): KeyHistory {
  const path = join(folder, HISTORY_FILE)
  if (!existsSync(path)) return EMPTY_HISTORY
  let why: string
  try {
    const read = History.safeParse(parseJson(readFileSync(path, 'utf8'), { maxDepth: 4 }))
    if (read.success) return read.data
    why = `${read.error.issues[0]?.path.join('.')}: ${read.error.issues[0]?.message}`
  } catch (cause) {
    why = describeError(cause)
  }
  throw new DunesError('KEY_HISTORY_INVALID', `${path} cannot be read: ${why}`, {
    hint: 'put it back from a copy: without it, what replaced keys signed no longer verifies',
  })
}

/** Replaces the history, whole or not at all. */
export function writeHistory(folder: string, history: KeyHistory): void {
  const path = join(folder, HISTORY_FILE)
  writePrivateFile(`${path}.new`, `${JSON.stringify(history, null, 2)}\n`)
  renameSync(`${path}.new`, path)
}
