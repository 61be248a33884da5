import { keccak_256 } from '@noble/hashes/sha3.js'
import type { Rpc } from '../chain/rpc.ts'
import { LAYOUT_VERSION } from '../chain/slots.ts'
import { fromHex, type Hex, isHex, toHex } from '../core/bytes.ts'
import type { Json } from '../core/json.ts'
import type { Deployment } from '../graph/cursor.ts'
import { readTrustPolicy, type TrustPolicy } from '../proof/trust-policy.ts'
import type { ReceiptKeyPeriod, ServiceContext } from './context.ts'
import { ServiceError } from './error.ts'

/** What a deployment's own trust policy is made of. */
export interface TrustPolicySources {
  rpc: Rpc
  deployment: Deployment
  checkpointVkeys: readonly string[]
  receiptKeys: readonly ReceiptKeyPeriod[]
}

/**
 * A deployment's own trust policy, with the hashes of the code that the chain has at its addresses now. Good for whoever
 * runs or has checked the deployment; nobody should take it from the party that they verify. Throws `ChainError`,
 * `CHAIN_UNAVAILABLE` where there is no contract, or `PolicyError` where the keys make no policy.
 */
export async function makeTrustPolicy({
  rpc,
  deployment,
  checkpointVkeys,
  receiptKeys,
}: TrustPolicySources): Promise<TrustPolicy> {
  const { chain, registry, anchor, origin } = deployment
  const [registryCode, anchorCode] = await Promise.all([codeHash(rpc, registry), codeHash(rpc, anchor)])
  const policy: TrustPolicy = {
    chain,
    registry,
    anchor,
    codeHashes: { registry: registryCode, anchor: anchorCode },
    origin,
    checkpointVkeys: [...checkpointVkeys],
    receiptKeys: receiptKeys.map(({ publicKey, fromIndex, toIndex }) => ({
      pub: toHex(publicKey),
      fromIndex,
      toIndex,
    })),
    layoutVersion: LAYOUT_VERSION,
  }
  return readTrustPolicy(policy as unknown as Json)
}

async function codeHash(rpc: Rpc, address: Hex): Promise<Hex> {
  const code = await rpc.call('eth_getCode', [address, 'latest'])
  if (isHex(code) && code !== '0x') return toHex(keccak_256(fromHex(code)))
  throw new ServiceError('CHAIN_UNAVAILABLE', `the chain has no contract at ${address}`, {
    hint: 'check the addresses of the deployment and the RPC endpoint',
    exitCode: 3,
  })
}

const made = new WeakMap<ServiceContext, Promise<TrustPolicy>>()

/** The trust policy of the deployment that this process serves; asked of the chain once, as contract code never changes. */
export async function deploymentTrustPolicy(ctx: ServiceContext): Promise<TrustPolicy> {
  const { rpc, deployment, checkpointVkeys, receiptKeys } = ctx
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
  let policy = made.get(ctx)
  if (!policy) {
    policy = makeTrustPolicy({ rpc, deployment, checkpointVkeys, receiptKeys })
    made.set(ctx, policy)
    policy.catch(() => made.delete(ctx))
  }
  return policy
}
