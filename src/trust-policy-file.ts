import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DunesError } from './core/error.ts'
import { parseTrustPolicy, type TrustPolicy } from './proof/trust-policy.ts'
import type { ServiceContext } from './service/context.ts'
import { makeTrustPolicy, type TrustPolicyKeys, withKeys } from './service/trust-policy.ts'

/** File in the data folder that `dunes verify` uses when no other policy is named: the deployment that was started here. */
export const TRUST_POLICY_FILE = 'trust-policy.json'

/** Records the deployment's own trust policy in `dataDir`. Throws as {@link makeTrustPolicy} does. */
export async function writeTrustPolicy(service: ServiceContext, dataDir: string): Promise<void> {
  const { rpc, deployment, checkpointVkeys, retiredCheckpointVkeys, receiptKeys } = service
  if (!rpc)
    throw new DunesError('RPC_MISSING', 'a trust policy is made from the chain, and no RPC is set', {
      hint: 'set --rpc-urls',
    })
  const keys = { checkpointVkeys, retiredCheckpointVkeys, receiptKeys }
  writeFile(dataDir, await makeTrustPolicy({ rpc, deployment, ...keys }))
}

/** Puts the keys that there are now into the policy that `dataDir` records; answers whether it records one of that log. */
export function updateTrustPolicy(dataDir: string, origin: string, keys: TrustPolicyKeys): boolean {
  const path = join(dataDir, TRUST_POLICY_FILE)
  if (!existsSync(path)) return false
  const policy = parseTrustPolicy(readFileSync(path))
  if (policy.origin !== origin) return false
  writeFile(dataDir, withKeys(policy, keys))
  return true
}

function writeFile(dataDir: string, policy: TrustPolicy): void {
  const path = join(dataDir, TRUST_POLICY_FILE)
  writeFileSync(`${path}.new`, `${JSON.stringify(policy, null, 2)}\n`)
  renameSync(`${path}.new`, path)
}
