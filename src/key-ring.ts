import { statSync } from 'node:fs'
import { join } from 'node:path'
import { fromHex, toHex } from './core/bytes.ts'
import type { Config } from './core/config.ts'
import type { MlDsa } from './core/ml-dsa.ts'
import { HISTORY_FILE, readHistory } from './key-history.ts'
import { keyFolder, keySource, ROLES, type Role, readKeys } from './keys.ts'
import { type CheckpointSigner, ed25519Signer, mlDsa44Signer } from './log/checkpoint.ts'
import { formatVkey } from './log/vkey.ts'
import type { RetiredCheckpointKeys } from './proof/trust-policy.ts'
import type { ReceiptKeyPeriod, ServiceContext } from './service/context.ts'

/** The keys of an indexer at work: who signs now, and who may have signed what before. */
export interface SigningKeys {
  /** Null where there is none. */
  readonly receiptKey: ServiceContext['receiptKey']
  /** Every receipt key that there was, the present one last. */
  readonly receiptKeys: readonly ReceiptKeyPeriod[]
  /** Who signs checkpoints, Ed25519 first; those whose keys are here. */
  readonly signers: readonly CheckpointSigner[]
  readonly checkpointVkeys: readonly string[]
  readonly retiredCheckpointVkeys: readonly RetiredCheckpointKeys[]
}

type Env = Readonly<Record<string, string | undefined>>

/**
 * Reads the signing keys of the log `origin`, and reads them anew when a file of theirs has changed: a rotation holds from the next
 * signature on, in every process that sees the files. Keys in the environment never change. Throws as `readKey` does.
 */
export function openKeyRing(config: Config, env: Env, origin: string, mlDsa: MlDsa): () => SigningKeys {
  const files = [
    ...(Object.keys(ROLES) as Role[])
      .filter((role) => role !== 'anchor' && !env[ROLES[role].variable])
      .map((role) => env[`${ROLES[role].variable}_FILE`] ?? keySource(config, role).file),
    join(keyFolder(config), HISTORY_FILE),
  ]
  let stamp = ''
  let keys: SigningKeys | null = null
  return () => {
    const now = files.map(stampOf).join()
    if (keys === null || now !== stamp) {
      keys = readSigningKeys(config, env, origin, mlDsa)
      stamp = now
    }
    return keys
  }
}

/** What changes when a file is replaced. */
function stampOf(path: string): string {
  const found = statSync(path, { throwIfNoEntry: false })
  return found ? `${found.ino}/${found.mtimeMs}/${found.size}` : '-'
}

function readSigningKeys(config: Config, env: Env, origin: string, mlDsa: MlDsa): SigningKeys {
  // The history first: a rotation enters the old key there before it puts the new one in its place.
  const history = readHistory(keyFolder(config))
  const { receipt, checkpointEd25519, checkpointMlDsa44 } = readKeys(config, env)
  const receiptKey = receipt && { seed: receipt, publicKey: mlDsa.publicKey(65, receipt) }
  const present = receiptKey && toHex(receiptKey.publicKey)
  const signers = [
    ...(checkpointEd25519 ? [ed25519Signer(origin, checkpointEd25519)] : []),
    ...(checkpointMlDsa44 ? [mlDsa44Signer(origin, checkpointMlDsa44, mlDsa)] : []),
  ]
  const checkpointVkeys = signers.map((signer) => formatVkey(signer.vkey))
  return {
    receiptKey,
    receiptKeys: [
      ...history.receipt
        .filter(({ pub }) => pub !== present)
        .map(({ pub, toIndex }) => ({ publicKey: fromHex(pub), fromIndex: 0, toIndex })),
      ...(receiptKey ? [{ publicKey: receiptKey.publicKey, fromIndex: 0, toIndex: null }] : []),
    ],
    signers,
    checkpointVkeys,
    retiredCheckpointVkeys: history.checkpoint
      .filter(({ vkeys }) => vkeys.join() !== checkpointVkeys.join())
      .map(({ vkeys, toSize }) => ({ vkeys, toSize })),
  }
}
