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

/** What both contracts are deployed with. */
export interface SenderOptions {
  /** A viem client of the chain's RPC. */
  readonly client: Client
  /** Who pays: a local account, or one that the RPC unlocks. */
  readonly deployer: Account
  /** Holder of the admin role. */
  readonly admin: Hex
  /** Seconds that a transfer of the admin role waits, a day unless told. */
  readonly adminDelay?: number
  /** Milliseconds between two looks for a receipt; the client's own unless told. */
  readonly pollingInterval?: number
}

export interface RegistryOptions extends SenderOptions {
  /** Validators admitted from the start; none unless told. */
  readonly validators?: readonly Hex[]
  /** Attestations of one side that settle a submission, 1 to 65,535. */
  readonly quorum: number
  /** Blocks after which a submission can expire, from 1. */
  readonly ttl: number
  /** Length of an epoch in seconds, from 1. */
  readonly epochSeconds: number
}

export interface AnchorOptions extends SenderOptions {
  /** The SensorRegistry whose settled submissions the log records. */
  readonly registry: Hex
  /** The account that anchors. */
  readonly anchorer: Hex
  /** The log's name: 1 to 128 printable ASCII bytes, no space, no `+`. */
  readonly origin: string
  /** SHA-256 of the leaf policy's canonical JSON; it holds from index 0. */
  readonly policyHash: Hex
  /**
   * The log that the new one continues after, and where it was last good. Its registry is the same and its origin another.
   * Close it afterwards, naming the new contract and the same size and root.
   */
  readonly predecessor?: { readonly log: Hex; readonly size: number; readonly root: Hex }
}

export type DeployOptions = RegistryOptions & Omit<AnchorOptions, 'registry' | 'predecessor'>

export interface DeployedContract {
  /** 20-byte lower-case 0x hex. */
  readonly address: Hex
  /** The block that it is in: none of its events is in an earlier one. */
  readonly block: number
  /** Keccak-256 of its code, as a trust policy pins it. */
  readonly codeHash: Hex
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
  const registry = await deployRegistry(options)
  const anchor = await deployAnchor({ ...options, registry: registry.address })
  return {
    registry: registry.address,
    anchor: anchor.address,
    block: registry.block,
    codeHashes: { registry: registry.codeHash, anchor: anchor.codeHash },
  }
}

/** Deploys a SensorRegistry alone. Throws as `deployContracts`. */
export const deployRegistry = (options: RegistryOptions): Promise<DeployedContract> =>
  deploy(options, 'SensorRegistry', sensorRegistryAbi, registryArtifact.bytecode, [
    options.admin,
    options.adminDelay ?? DEFAULT_ADMIN_DELAY_SECONDS,
    options.quorum,
    BigInt(options.ttl),
    BigInt(options.epochSeconds),
    options.validators ?? [],
  ])

/** Deploys a ReceiptAnchor over an existing registry, e.g. the successor of another. Throws as `deployContracts`. */
export const deployAnchor = (options: AnchorOptions): Promise<DeployedContract> =>
  deploy(options, 'ReceiptAnchor', receiptAnchorAbi, anchorArtifact.bytecode, [
    options.registry,
    options.origin,
    options.admin,
    options.adminDelay ?? DEFAULT_ADMIN_DELAY_SECONDS,
    options.anchorer,
    options.policyHash,
    options.predecessor
      ? { ...options.predecessor, size: BigInt(options.predecessor.size) }
      : { log: ZERO_ADDRESS, size: 0n, root: ZERO_WORD },
  ])

async function deploy(
  { client, deployer, pollingInterval }: SenderOptions,
  name: string,
  abi: Abi,
  bytecode: string,
  args: readonly unknown[],
): Promise<DeployedContract> {
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
