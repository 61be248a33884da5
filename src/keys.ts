import { join } from 'node:path'
import type { Config } from './core/config.ts'
import { DunesError } from './core/error.ts'
import { type KeySource, readKey, readOrCreateKey } from './core/key-file.ts'

/** One key for each role, never shared: what one of them signs can never pass for another's. */
export const ROLES = {
  /** ML-DSA-65: receipts and storage receipts. */
  receipt: { variable: 'DUNES_RECEIPT_KEY', file: 'receipt.key' },
  /** Ed25519: checkpoints, for every reader of C2SP logs. */
  checkpointEd25519: { variable: 'DUNES_CHECKPOINT_ED25519_KEY', file: 'checkpoint-ed25519.key' },
  /** ML-DSA-44: checkpoints, for after the quantum computer. */
  checkpointMlDsa44: { variable: 'DUNES_CHECKPOINT_ML_DSA_44_KEY', file: 'checkpoint-ml-dsa-44.key' },
  /** secp256k1: the account that anchors. */
  anchor: { variable: 'DUNES_ANCHOR_KEY', file: 'anchor.key' },
} as const

export type Role = keyof typeof ROLES
/** Keys of 32 bytes by role; null where there is none. */
export type RoleKeys = Record<Role, Uint8Array | null>

/** Folder of the indexer's keys. */
export const keyFolder = (config: Config): string => join(config.dataDir, 'keys')

/** Where a role's key is looked for. */
export const keySource = (config: Config, role: Role): KeySource & { file: string } => ({
  variable: ROLES[role].variable,
  file: join(keyFolder(config), ROLES[role].file),
})

type Env = Readonly<Record<string, string | undefined>>

/** The keys that are there. */
export const readKeys = (config: Config, env: Env): RoleKeys =>
  mapRoles((role) => readKey(keySource(config, role), env))

/** The keys, made where they are missing: for a devnet, and for `dunes keys init`. */
export const createKeys = (config: Config, env: Env): Record<Role, Uint8Array> =>
  mapRoles((role) => readOrCreateKey(keySource(config, role), env))

/** The key of a role. Throws `KEY_MISSING`, saying where it is looked for. */
export function requireKey(keys: RoleKeys, role: Role, config: Config): Uint8Array {
  const key = keys[role]
  if (key) return key
  const { variable, file } = keySource(config, role)
  throw new DunesError('KEY_MISSING', `there is no ${role} key`, {
    hint: `set ${variable} or ${variable}_FILE, or make ${file} with \`dunes keys init\``,
  })
}

const mapRoles = <T>(make: (role: Role) => T): Record<Role, T> =>
  Object.fromEntries(Object.keys(ROLES).map((role) => [role, make(role as Role)])) as Record<Role, T>
