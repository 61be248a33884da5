import { randomBytes } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { rename, rm, writeFile } from 'node:fs/promises'
import { concat } from '../core/bytes.ts'
import { DunesError } from '../core/error.ts'
import type { Invocation } from './command.ts'
import { printable } from './text.ts'

/** The largest file that a command reads: room for a receipt of the largest payload, and for any bundle. */
const MAX_BYTES = 16 * 1024 * 1024

/** Bytes of a file, or of standard input for `-`. Never reads much more than it takes. Throws `FILE_UNREADABLE` or `FILE_TOO_LARGE`. */
export async function readInput(call: Invocation, file: string): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let length = 0
  try {
    for await (const chunk of file === '-' ? call.stdin() : createReadStream(file)) {
      chunks.push(chunk)
      length += chunk.length
      if (length > MAX_BYTES) break
    }
  } catch (cause) {
    throw new DunesError(
      'FILE_UNREADABLE',
      `${printable(file)} cannot be read: ${(cause as Error).message}`,
      {
        hint: 'check the path',
        cause,
      },
    )
  }
  if (length <= MAX_BYTES) return concat(...chunks)
  throw new DunesError(
    'FILE_TOO_LARGE',
    `${printable(file)} has more than ${MAX_BYTES} bytes, more than any file of Dunes`,
    {
      hint: 'check that it is the right file',
    },
  )
}

/** Writes a file whole or not at all, or to standard output where no file is named. With `--json` it says what it wrote. */
export async function writeOutput(
  call: Invocation,
  file: string | undefined,
  bytes: Uint8Array,
): Promise<void> {
  if (file === undefined || file === '-') {
    call.out(new TextDecoder().decode(bytes))
    return
  }
  const next = `${file}.${randomBytes(4).toString('hex')}.part`
  try {
    await writeFile(next, bytes)
    await rename(next, file)
  } catch (cause) {
    await rm(next, { force: true })
    throw new DunesError('FILE_UNWRITABLE', `${file} cannot be written: ${(cause as Error).message}`, {
      hint: 'check the folder',
      cause,
    })
  }
  if (call.json) call.out(`${JSON.stringify({ file, bytes: bytes.length })}\n`)
}
