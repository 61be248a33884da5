import { randomBytes } from 'node:crypto'
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { fromHex, isHex, toHex } from './bytes.ts'
import { DunesError } from './error.ts'

/** Every private key of Dunes is 32 bytes: a seed of ML-DSA or Ed25519, or a secp256k1 scalar. */
export const KEY_BYTES = 32

/** Where one secret may come from: an environment variable with the hex itself, one with a path, and a path to fall back on. */
export interface KeySource {
  /** Prefix of the variables: `DUNES_RECEIPT_KEY` and `DUNES_RECEIPT_KEY_FILE`. */
  variable: string
  /** File to read when neither variable is set; undefined where there is none. */
  file?: string | undefined
}

/**
 * A private key (32 bytes) from the environment or a file, never from arguments, which other users can see. Null where
 * nothing names one. Throws `KEY_INVALID` or `KEY_EXPOSED` (the file can be read by others).
 */
export function readKey(
  { variable, file }: KeySource,
  env: Readonly<Record<string, string | undefined>>,
): Uint8Array | null {
  const inline = env[variable]
  if (inline) return parseKey(inline, `the variable ${variable}`)
  const path = env[`${variable}_FILE`] ?? file
  if (path === undefined) return null
  let mode: number
  let text: string
  try {
    mode = statSync(path).mode
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT' && path === file && !env[`${variable}_FILE`])
      return null
    throw new DunesError(
      'KEY_UNREADABLE',
      `the key file ${path} cannot be read: ${(cause as Error).message}`,
      {
        hint: `check the path and its owner, or set ${variable}_FILE`,
        cause,
      },
    )
  }
  if ((mode & 0o077) !== 0) {
    throw new DunesError('KEY_EXPOSED', `other users can read the key file ${path}`, {
      hint: `run: chmod 600 ${path}`,
    })
  }
  return parseKey(text, path)
}

function parseKey(text: string, where: string): Uint8Array {
  const line = text.trim()
  const hex = line.startsWith('0x') ? line : `0x${line}`
  if (isHex(hex, KEY_BYTES)) return fromHex(hex)
  throw new DunesError('KEY_INVALID', `${where} does not hold a key`, {
    hint: 'a key is one line of 64 lower-case hex digits; `dunes keygen` makes one',
  })
}

/**
 * Writes a new key file that only its owner can read, durably, and answers the key. Throws `KEY_EXISTS` where the file is
 * there: a key is never overwritten.
 */
export function createKey(path: string, key: Uint8Array = randomBytes(KEY_BYTES)): Uint8Array {
  makeFolder(dirname(path))
  let descriptor: number
  try {
    descriptor = openSync(path, 'wx', 0o600)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cause
    throw new DunesError('KEY_EXISTS', `there is a file at ${path} already`, {
      hint: 'a key is never overwritten; choose another name',
      cause,
    })
  }
  fill(descriptor, `${toHex(key)}\n`)
  return new Uint8Array(key)
}

/** Writes a file that only its owner can read, durably, over whatever a broken-off write left at `path`. */
export function writePrivateFile(path: string, text: string): void {
  rmSync(path, { force: true })
  fill(openSync(path, 'wx', 0o600), text)
}

function fill(descriptor: number, text: string): void {
  try {
    writeSync(descriptor, text)
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}

/**
 * A folder that only its owner can enter, with its parents. Not Node's own recursive form: that one tries for ever where
 * the file system refuses an entry in a folder that is there, as /proc does.
 */
function makeFolder(path: string): void {
  if (existsSync(path)) return
  const parent = dirname(path)
  if (parent !== path) makeFolder(parent)
  try {
    mkdirSync(path, { mode: 0o700 })
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST') return
    throw new DunesError(
      'FOLDER_UNWRITABLE',
      `the folder ${path} cannot be made: ${(cause as Error).message}`,
      {
        hint: 'choose another folder',
        cause,
      },
    )
  }
}

/** The key of a source, made in its file when there is none yet. */
export const readOrCreateKey = (
  source: KeySource & { file: string },
  env: Readonly<Record<string, string | undefined>>,
): Uint8Array => readKey(source, env) ?? createKey(source.file)
