import { keccak_256 } from '@noble/hashes/sha3.js'
import type { Rpc } from '../chain/rpc.ts'
import { LAYOUT_VERSION } from '../chain/slots.ts'
import { fromHex, type Hex, isHex, toHex } from '../core/bytes.ts'
import type { Json } from '../core/json.ts'
import type { Deployment } from '../graph/cursor.ts'
import { readTrustPolicy, type TrustPolicy } from '../proof/trust-policy.ts'
import type { ServiceContext } from './context.ts'
import { ServiceError } from './error.ts'

/** Who signs what: the part of a trust policy that rotations change. */
export type TrustPolicyKeys = Pick<
  ServiceContext,
  'checkpointVkeys' | 'retiredCheckpointVkeys' | 'receiptKeys'
>

/** What a deployment's own trust policy is made of. */
export interface TrustPolicySources extends TrustPolicyKeys {
  rpc: Rpc
  deployment: Deployment
}

/**
 * A deployment's own trust policy, with the hashes of the code that the chain has at its addresses now. Good for whoever
 * runs or has checked the deployment; nobody should take it from the party that they verify. Throws `ChainError`,
 * `CHAIN_UNAVAILABLE` where there is no contract, or `PolicyError` where the keys make no policy.
 */
export async function makeTrustPolicy({
  rpc,
  deployment,
  ...keys
}: TrustPolicySources): Promise<TrustPolicy> {
  return withKeys({ ...deployment, codeHashes: await readCodeHashes(rpc, deployment) }, keys)
}

/** The policy of a deployment with these keys in it, whatever keys it had. Throws `PolicyError` where they make no policy. */
export function withKeys(
  deployment: Pick<TrustPolicy, 'chain' | 'registry' | 'anchor' | 'pool' | 'codeHashes' | 'origin'>,
  { checkpointVkeys, retiredCheckpointVkeys, receiptKeys }: TrustPolicyKeys,
): TrustPolicy {
  const { chain, registry, anchor, pool, codeHashes, origin } = deployment
  const policy: TrustPolicy = {
    chain,
    registry,
    anchor,
    ...(pool !== undefined && { pool }),
    codeHashes,
    origin,
    checkpointVkeys: [...checkpointVkeys],
    ...(retiredCheckpointVkeys.length > 0 && { retiredCheckpointVkeys: [...retiredCheckpointVkeys] }),
    receiptKeys: receiptKeys.map(({ publicKey, fromIndex, toIndex }) => ({
      pub: toHex(publicKey),
      fromIndex,
      toIndex,
    })),
    layoutVersion: LAYOUT_VERSION,
  }
  return readTrustPolicy(policy as unknown as Json)
}

async function readCodeHashes(rpc: Rpc, deployment: Deployment): Promise<TrustPolicy['codeHashes']> {
  const [registry, anchor] = await Promise.all([
    codeHash(rpc, deployment.registry),
    codeHash(rpc, deployment.anchor),
  ])
  return { registry, anchor }
}

async function codeHash(rpc: Rpc, address: Hex): Promise<Hex> {
  const code = await rpc.call('eth_getCode', [address, 'latest'])
  if (isHex(code) && code !== '0x') return toHex(keccak_256(fromHex(code)))
  throw new ServiceError('CHAIN_UNAVAILABLE', `the chain has no contract at ${address}`, {
    hint: 'check the addresses of the deployment and the RPC endpoint',
    exitCode: 3,
  })
}

const codeHashes = new WeakMap<Deployment, Promise<TrustPolicy['codeHashes']>>()

/** The trust policy of the deployment that this process serves, with the keys of now; code is asked of the chain once, as it never changes. */
export async function deploymentTrustPolicy(ctx: ServiceContext): Promise<TrustPolicy> {
  const { rpc, deployment, checkpointVkeys } = ctx
  if (!rpc) {
    throw new ServiceError(
      'CHAIN_UNAVAILABLE',
      'this process has no chain endpoint to read the code hashes from',
      {
        hint: 'ask the indexer itself, or start this one with --rpc',
        exitCode: 3,
      },
    )
  }
  if (checkpointVkeys.length === 0) {
    throw new ServiceError('NO_SIGNER', 'this process does not know who signs the checkpoints', {
      hint: 'ask the indexer itself',
      exitCode: 3,
    })
  }
  let hashes = codeHashes.get(deployment)
  if (!hashes) {
    hashes = readCodeHashes(rpc, deployment)
    codeHashes.set(deployment, hashes)
    hashes.catch(() => codeHashes.delete(deployment))
  }
  return withKeys({ ...deployment, codeHashes: await hashes }, ctx)
}
