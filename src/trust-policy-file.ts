import { renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DunesError } from './core/error.ts'
import type { ServiceContext } from './service/context.ts'
import { makeTrustPolicy } from './service/trust-policy.ts'

/** File in the data folder that `dunes verify` uses when no other policy is named: the deployment that was started here. */
export const TRUST_POLICY_FILE = 'trust-policy.json'

/** Records the deployment's own trust policy in `dataDir`. Throws as {@link makeTrustPolicy} does. */
export async function writeTrustPolicy(service: ServiceContext, dataDir: string): Promise<void> {
  const { rpc, deployment, checkpointVkeys, receiptKeys } = service
  if (!rpc)
    throw new DunesError('RPC_MISSING', 'a trust policy is made from the chain, and no RPC is set', {
      hint: 'set --rpc-urls',
    })
  const policy = await makeTrustPolicy({ rpc, deployment, checkpointVkeys, receiptKeys })
  const path = join(dataDir, TRUST_POLICY_FILE)
  writeFileSync(`${path}.new`, `${JSON.stringify(policy, null, 2)}\n`)
  renameSync(`${path}.new`, path)
}
