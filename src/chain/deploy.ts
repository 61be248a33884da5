import {
  type Abi,
  type Account,
  BaseError,
  type Client,
  decodeErrorResult,
  encodeDeployData,
  keccak256,
} from 'viem'
import { estimateGas, getCode, sendTransaction, waitForTransactionReceipt } from 'viem/actions'
import anchorArtifact from '../../contracts/artifacts/ReceiptAnchor.json' with { type: 'json' }
import registryArtifact from '../../contracts/artifacts/SensorRegistry.json' with { type: 'json' }
import type { Hex } from '../core/bytes.ts'
import { DunesError } from '../core/error.ts'
import { receiptAnchorAbi, sensorRegistryAbi } from './abi.ts'
import { ZERO_WORD } from './record.ts'

/** Seconds that a transfer of the admin role waits: a day to notice and cancel. */
export const DEFAULT_ADMIN_DELAY_SECONDS = 86_400

const ZERO_ADDRESS: Hex = `0x${'00'.repeat(20)}`

/** A contract could not be deployed. Codes: DEPLOY_REFUSED, DEPLOY_REVERTED, DEPLOY_NO_CODE. */
export class DeployError extends DunesError {
  override readonly name = 'DeployError'
}

export interface DeployOptions {
  /** A viem client of the chain's RPC. */
  readonly client: Client
  /** Who pays: a local account, or one that the RPC unlocks. */
  readonly deployer: Account
  /** Holder of the admin role of both contracts. */
  readonly admin: Hex
  /** The account that anchors. */
  readonly anchorer: Hex
  /** Validators admitted from the start; none unless told. */
  readonly validators?: readonly Hex[]
  /** The log's name: 1 to 128 printable ASCII bytes, no space, no `+`. */
  readonly origin: string
  /** SHA-256 of the leaf policy's canonical JSON; it holds from index 0. */
  readonly policyHash: Hex
  /** Attestations of one side that settle a submission, 1 to 65,535. */
  readonly quorum: number
  /** Blocks after which a submission can expire, from 1. */
  readonly ttl: number
  /** Length of an epoch in seconds, from 1. */
  readonly epochSeconds: number
  /** Seconds that a transfer of the admin role waits, a day unless told. */
  readonly adminDelay?: number
  /**
   * The log that the new one continues after, and where it was last good. Its origin must differ. Close it afterwards, naming
   * the new anchor and the same size and root.
   */
  readonly predecessor?: { readonly log: Hex; readonly size: number; readonly root: Hex }
  /** Milliseconds between two looks for a receipt; the client's own unless told. */
  readonly pollingInterval?: number
}

export interface Deployment {
  /** 20-byte lower-case 0x hex. */
  readonly registry: Hex
  readonly anchor: Hex
  /** The registry's block: no event of either contract is in an earlier one. */
  readonly block: number
  /** Keccak-256 of the code at each address, as a trust policy pins it. */
  readonly codeHashes: { readonly registry: Hex; readonly anchor: Hex }
}

/**
 * Deploys SensorRegistry, then ReceiptAnchor over it, and waits for both receipts.
 * @throws DeployError DEPLOY_REFUSED (a constructor refuses its arguments; nothing was sent for that contract),
 * DEPLOY_REVERTED or DEPLOY_NO_CODE; viem's own errors when the RPC cannot be reached or refuses the transaction.
 */
export async function deployContracts(options: DeployOptions): Promise<Deployment> {
  const { admin, adminDelay = DEFAULT_ADMIN_DELAY_SECONDS, predecessor } = options
  const registry = await deploy(options, 'SensorRegistry', sensorRegistryAbi, registryArtifact.bytecode, [
    admin,
    adminDelay,
    options.quorum,
    BigInt(options.ttl),
    BigInt(options.epochSeconds),
    options.validators ?? [],
  ])
  const anchor = await deploy(options, 'ReceiptAnchor', receiptAnchorAbi, anchorArtifact.bytecode, [
    registry.address,
    options.origin,
    admin,
    adminDelay,
    options.anchorer,
    options.policyHash,
    predecessor
      ? { log: predecessor.log, size: BigInt(predecessor.size), root: predecessor.root }
      : { log: ZERO_ADDRESS, size: 0n, root: ZERO_WORD },
  ])
  return {
    registry: registry.address,
    anchor: anchor.address,
    block: registry.block,
    codeHashes: { registry: registry.codeHash, anchor: anchor.codeHash },
  }
}

interface Deployed {
  readonly address: Hex
  readonly block: number
  readonly codeHash: Hex
}

async function deploy(
  { client, deployer, pollingInterval }: DeployOptions,
  name: string,
  abi: Abi,
  bytecode: string,
  args: readonly unknown[],
): Promise<Deployed> {
  const data = encodeDeployData({ abi, args, bytecode: bytecode as Hex })
  const gas = await estimateGas(client, { account: deployer, data }).catch((error) => {
    throw refusal(name, abi, error)
  })
  // The client's chain is whatever its RPC says; there is nothing to compare it with here.
  const hash = await sendTransaction(client, { account: deployer, data, gas, chain: null })
  const receipt = await waitForTransactionReceipt(client, {
    hash,
    ...(pollingInterval === undefined ? {} : { pollingInterval }),
  })
  if (receipt.status !== 'success' || !receipt.contractAddress) {
    throw new DeployError('DEPLOY_REVERTED', `the deployment of ${name} was reverted`, {
      hint: 'look at the transaction: its estimate had succeeded',
      details: { transaction: hash },
    })
  }
  const address = receipt.contractAddress.toLowerCase() as Hex
  const code = await getCode(client, { address, blockNumber: receipt.blockNumber })
  if (!code) {
    throw new DeployError('DEPLOY_NO_CODE', `there is no code at the address of ${name}`, {
      hint: 'deploy again: the block was reorganised away',
      retryable: true,
      exitCode: 3,
      details: { transaction: hash, address },
    })
  }
  return { address, block: Number(receipt.blockNumber), codeHash: keccak256(code) }
}

/** The constructor's own error by name, or `error` itself where it is something else. */
function refusal(name: string, abi: Abi, error: unknown): unknown {
  const reverted =
    error instanceof BaseError
      ? error.walk((cause) => /^0x[0-9a-f]{8,}$/.test(String((cause as { data?: unknown }).data)))
      : null
  if (!reverted) return error
  const { data } = reverted as unknown as { data: Hex }
  let what: string
  try {
    const { errorName, args } = decodeErrorResult({ abi, data })
    what = `${errorName}(${(args ?? []).join(', ')})`
  } catch {
    return error
  }
  return new DeployError('DEPLOY_REFUSED', `${name} refuses to be deployed: ${what}`, {
    hint: 'check admin, origin, quorum, ttl, epoch length and predecessor',
    cause: error,
  })
}
