import { existsSync, linkSync, renameSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { privateKeyToAccount } from 'viem/accounts'
import { type Hex, toHex } from './core/bytes.ts'
import type { Config } from './core/config.ts'
import { DunesError } from './core/error.ts'
import { createKey, readKey } from './core/key-file.ts'
import { tryLock } from './core/lock.ts'
import type { MlDsa } from './core/ml-dsa.ts'
import { type KeyHistory, readHistory, writeHistory } from './key-history.ts'
import { keyFolder, keySource, type Role, readKeys, requireKey } from './keys.ts'
import { ed25519Signer, mlDsa44Signer } from './log/checkpoint.ts'
import { formatVkey } from './log/vkey.ts'

type Env = Readonly<Record<string, string | undefined>>

/** What a rotation needs to know. */
export interface Rotation {
  config: Config
  env: Env
  mlDsa: MlDsa
  /** The log's name, which its verifier keys carry. */
  origin: string
  /** Leaves that are logged now: asked for after the new key is in place. */
  logged: () => Promise<number>
}

/** Where the two keys of a rotation are. */
export interface Rotated {
  role: Role
  file: string
  /** The replaced key's private part. */
  kept: string
  /** The last index, or the largest size, that it may have signed; null where it signs none, and for the anchor key. */
  upTo: number | null
}

/** The key that is to replace a role's: 32 bytes in a file beside it, made when first asked for. Throws `KEY_IN_ENVIRONMENT`. */
export function nextKey(role: Role, { config, env }: Pick<Rotation, 'config' | 'env'>): Uint8Array {
  const file = `${keyFile(role, config, env)}.next`
  return readKey({ variable: '', file }, {}) ?? createKey(file)
}

/**
 * Replaces a role's key by its {@link nextKey}. The old one is kept under a numbered name, and the history says what it stays valid
 * for: receipts up to the last index that is logged now, checkpoints up to that size. Its entry is written first, with an open end,
 * then the file is replaced, and only then is the end set: whatever either key signs meanwhile verifies. Broken off anywhere it
 * can be run again. Throws `KEY_IN_ENVIRONMENT`, `KEY_MISSING` and `ROTATION_RUNNING`.
 */
export async function rotateKey(role: Role, rotation: Rotation): Promise<Rotated> {
  const { config, env, logged } = rotation
  const folder = keyFolder(config)
  const file = keyFile(role, config, env)
  const lock = tryLock(join(folder, 'rotation.lock'))
  if (!lock)
    throw new DunesError('ROTATION_RUNNING', 'another rotation is under way', {
      hint: 'try again in a moment',
      retryable: true,
    })
  try {
    const old = requireKey(readKeys(config, env), role, config)
    nextKey(role, rotation)
    const kept = freeName(file)
    const open = entered(role, readHistory(folder), old, basename(kept), rotation)
    writeHistory(folder, open)
    linkSync(file, kept)
    renameSync(`${file}.next`, file)
    if (role === 'anchor') return { role, file, kept, upTo: null }
    const size = await logged()
    writeHistory(folder, closed(open, size))
    return { role, file, kept, upTo: role === 'receipt' ? (size > 0 ? size - 1 : null) : size || null }
  } finally {
    lock.release()
  }
}

/** The file of a role's key. A key in a variable cannot be replaced from here. Throws `KEY_IN_ENVIRONMENT`. */
function keyFile(role: Role, config: Config, env: Env): string {
  const { variable, file } = keySource(config, role)
  if (env[variable])
    throw new DunesError('KEY_IN_ENVIRONMENT', `the ${role} key is the variable ${variable}`, {
      hint: `put it into a file that you alone can read, set ${variable}_FILE to its path, and rotate again`,
    })
  return env[`${variable}_FILE`] ?? file
}

/** `receipt.1.key`, `receipt.2.key`, ... */
function freeName(file: string): string {
  const stem = join(dirname(file), basename(file, '.key'))
  for (let number = 1; ; number++) {
    const name = `${stem}.${number}.key`
    if (!existsSync(name)) return name
  }
}

/** The history with a key in it that is about to be replaced. */
function entered(
  role: Role,
  history: KeyHistory,
  old: Uint8Array,
  file: string,
  { config, env, origin, mlDsa }: Rotation,
): KeyHistory {
  switch (role) {
    case 'receipt': {
      const pub = toHex(mlDsa.publicKey(65, old))
      return {
        ...history,
        receipt: [...history.receipt.filter((key) => key.pub !== pub), { pub, toIndex: null, file }],
      }
    }
    case 'anchor': {
      const account = privateKeyToAccount(toHex(old)).address.toLowerCase() as Hex
      return { ...history, anchor: [...history.anchor, { account, file }] }
    }
    default: {
      const { checkpointEd25519, checkpointMlDsa44 } = readKeys(config, env)
      const vkeys = [
        ...(checkpointEd25519 ? [ed25519Signer(origin, checkpointEd25519)] : []),
        ...(checkpointMlDsa44 ? [mlDsa44Signer(origin, checkpointMlDsa44, mlDsa)] : []),
      ].map(({ vkey }) => formatVkey(vkey))
      const others = history.checkpoint.filter((set) => set.vkeys.join() !== vkeys.join())
      return { ...history, checkpoint: [...others, { vkeys, toSize: null, file }] }
    }
  }
}

/** The history with every open end set to what is logged now. A key that never signed anything needs no entry. */
function closed(history: KeyHistory, size: number): KeyHistory {
  return {
    ...history,
    receipt: history.receipt.flatMap((key) =>
      key.toIndex !== null ? [key] : size > 0 ? [{ ...key, toIndex: size - 1 }] : [],
    ),
    checkpoint: history.checkpoint.flatMap((set) =>
      set.toSize !== null ? [set] : size > 0 ? [{ ...set, toSize: size }] : [],
    ),
  }
}
