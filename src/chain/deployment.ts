import { createClient, custom, hexToBigInt } from 'viem'
import { readContract } from 'viem/actions'
import type { Hex } from '../core/bytes.ts'
import { DunesError } from '../core/error.ts'
import { receiptAnchorAbi } from './abi.ts'
import { getBlock } from './blocks.ts'
import { evmChain } from './ids.ts'
import type { Rpc } from './rpc.ts'

/** What the chain says of a deployment: everybody reads the log's origin from its contract. */
export interface OnChainDeployment {
  /** CAIP-2 id. */
  chain: string
  registry: Hex
  anchor: Hex
  origin: string
  startBlock: number
  startHash: Hex
}

/**
 * Looks the deployment up on its chain. Throws `DEPLOYMENT_INVALID` where there is no ReceiptAnchor at `anchor`, or one of another
 * registry, or no block `startBlock`; `ChainError` where the RPC does not answer.
 */
export async function readDeployment(
  rpc: Rpc,
  { registry, anchor, startBlock }: { registry: Hex; anchor: Hex; startBlock: number },
): Promise<OnChainDeployment> {
  const client = createClient({
    transport: custom({ request: ({ method, params }) => rpc.call(method, params ?? []) }, { retryCount: 0 }),
  })
  const invalid = (why: string) =>
    new DunesError('DEPLOYMENT_INVALID', why, {
      hint: 'check registry, anchor, startBlock and the RPC; a devnet that was begun again has new addresses',
      details: { registry, anchor, startBlock },
    })
  if (hexToBigInt((await rpc.call('eth_getCode', [anchor, 'latest'])) as Hex) === 0n) {
    throw invalid(`there is no contract at ${anchor} on chain ${rpc.chainId}`)
  }
  const contract = { address: anchor, abi: receiptAnchorAbi } as const
  const [origin, anchored] = await Promise.all([
    readContract(client, { ...contract, functionName: 'origin' }),
    readContract(client, { ...contract, functionName: 'registry' }),
  ])
  if (anchored.toLowerCase() !== registry)
    throw invalid(`the contract at ${anchor} anchors the registry ${anchored}`)
  const start = await getBlock(rpc, startBlock)
  if (!start) throw invalid(`the chain has no block ${startBlock} yet`)
  return { chain: evmChain(rpc.chainId), registry, anchor, origin, startBlock, startHash: start.hash }
}
