import {
  type Abi,
  type Client,
  createClient,
  decodeErrorResult,
  decodeFunctionResult,
  encodeFunctionData,
  http,
  type Log,
  parseEventLogs,
} from 'viem'
import { receiptAnchorAbi, sensorRegistryAbi } from '../../src/chain/abi.ts'
import { type Deployment, type DeployOptions, deployContracts } from '../../src/chain/deploy.ts'
import { ZERO_WORD } from '../../src/chain/record.ts'
import { fromHex, type Hex, sha256, toHex, utf8 } from '../../src/core/bytes.ts'
import { testAnvil } from './anvil.ts'

/** A contract at an address. */
export interface Target {
  readonly address: Hex
  readonly abi: Abi
}

export const registryAt = (address: Hex): Target => ({ address, abi: sensorRegistryAbi as Abi })
export const anchorAt = (address: Hex): Target => ({ address, abi: receiptAnchorAbi as Abi })

const BOTH = [...sensorRegistryAbi, ...receiptAnchorAbi] as Abi

/** An event of either contract, by name. */
export interface SeenEvent {
  readonly name: string
  readonly args: Readonly<Record<string, unknown>>
}

export interface Receipt {
  readonly gas: number
  readonly block: number
  readonly time: number
  readonly events: readonly SeenEvent[]
}

/** Name and arguments of the error that a call reverted with. */
export interface Revert {
  readonly name: string
  readonly args: readonly unknown[]
}

type Arguments = readonly unknown[]

/** Both contracts on an anvil of their own. Accounts are unlocked; 0 is deployer, admin and anchorer. */
export interface Chain {
  readonly url: string
  readonly client: Client
  readonly accounts: readonly Hex[]
  readonly deployment: Deployment
  readonly registry: Target
  readonly anchor: Target
  /** Mines one transaction. Throws with the revert's name when it fails. */
  send(from: Hex, to: Target, functionName: string, args?: Arguments): Promise<Receipt>
  /** What `send` would revert with, null where it would not. */
  revertOf(from: Hex, to: Target, functionName: string, args?: Arguments): Promise<Revert | null>
  read(to: Target, functionName: string, args?: Arguments): Promise<unknown>
  rpc(method: string, params?: Arguments): Promise<unknown>
  slot(to: Target, key: Hex): Promise<Hex>
  mine(blocks: number): Promise<void>
  snapshot(): Promise<unknown>
  revertTo(snapshot: unknown): Promise<void>
  /** Another pair of contracts on the same chain. */
  deploy(options?: Partial<DeployOptions>): Promise<Deployment>
  stop(): Promise<void>
}

export const CHAIN_ID = 31337
export const DEFAULTS = { origin: 'example.org/log', quorum: 2, ttl: 10, epochSeconds: 3_600 } as const

export const bytesOf = (length: number, fill = 1): Hex => toHex(new Uint8Array(length).fill(fill))
export const word = (value: number): Hex => `0x${value.toString(16).padStart(64, '0')}`
export const textHash = (text: string): Hex => toHex(sha256(utf8(text)))
export const bytesHash = (hex: Hex): Hex => toHex(sha256(fromHex(hex)))
/** Bytes of the right length; the chain checks no more of a key and a proof of possession. */
export const publicKey = (fill: number): Hex => bytesOf(1952, fill)
export const possession = (fill: number): Hex => bytesOf(3309, fill)

/** Enough for the largest batch of the tests, below the 2^24 gas that EIP-7825 allows a transaction. */
const GAS = '0xfffff0'

/** Starts anvil and deploys. Validators are accounts 1 to 3 unless told. */
export async function startChain(options: Partial<DeployOptions> = {}): Promise<Chain> {
  const anvil = await testAnvil({ accounts: 12 })
  const client = createClient({ transport: http(anvil.url, { retryCount: 0 }), pollingInterval: 5 })
  const rpc: Chain['rpc'] = (method, params = []) => client.request({ method, params } as never)
  const accounts = ((await rpc('eth_accounts')) as string[]).map((account) => account.toLowerCase() as Hex)
  const admin = accounts[0]!
  const deploy: Chain['deploy'] = (more = {}) =>
    deployContracts({
      client,
      deployer: { address: admin, type: 'json-rpc' },
      admin,
      anchorer: admin,
      validators: accounts.slice(1, 4),
      policyHash: ZERO_WORD,
      ...DEFAULTS,
      ...options,
      ...more,
    })
  const deployment = await deploy()
  const call = (from: Hex | undefined, to: Target, functionName: string, args: Arguments) =>
    rpc('eth_call', [
      {
        ...(from ? { from } : {}),
        to: to.address,
        data: encodeFunctionData({ abi: to.abi, functionName, args }),
      },
      'latest',
    ])
  const revertOf: Chain['revertOf'] = async (from, to, functionName, args = []) => {
    try {
      await call(from, to, functionName, args)
      return null
    } catch (error) {
      return decodeRevert(error)
    }
  }
  return {
    url: anvil.url,
    client,
    accounts,
    deployment,
    registry: registryAt(deployment.registry),
    anchor: anchorAt(deployment.anchor),
    rpc,
    deploy,
    revertOf,
    async send(from, to, functionName, args = []) {
      const data = encodeFunctionData({ abi: to.abi, functionName, args })
      const transaction = { from, to: to.address, data, gas: GAS }
      const receipt = (await rpc('eth_sendTransactionSync', [transaction])) as RawReceipt
      if (receipt.status !== '0x1') {
        const revert = await revertOf(from, to, functionName, args)
        throw new Error(`${functionName} reverted with ${revert?.name ?? 'nothing known'}`)
      }
      const events = parseEventLogs({ abi: BOTH, logs: receipt.logs }) as unknown as RawEvent[]
      return {
        gas: Number(receipt.gasUsed),
        block: Number(receipt.blockNumber),
        time: Number(receipt.logs[0]?.blockTimestamp ?? 0),
        events: events.map(({ eventName, args }) => ({ name: eventName, args: lowerCase(args) })),
      }
    },
    async read(to, functionName, args = []) {
      const data = (await call(undefined, to, functionName, args)) as Hex
      return lowerCase(decodeFunctionResult({ abi: to.abi, functionName, data }))
    },
    slot: async (to, key) => (await rpc('eth_getStorageAt', [to.address, key, 'latest'])) as Hex,
    async mine(blocks) {
      await rpc('anvil_mine', [`0x${blocks.toString(16)}`])
    },
    snapshot: () => rpc('evm_snapshot'),
    async revertTo(snapshot) {
      if ((await rpc('evm_revert', [snapshot])) !== true) throw new Error('anvil did not go back')
    },
    stop: () => anvil.stop(),
  }
}

interface RawReceipt {
  status: Hex
  gasUsed: Hex
  blockNumber: Hex
  logs: (Log & { blockTimestamp?: Hex })[]
}

interface RawEvent {
  eventName: string
  args: Record<string, unknown>
}

/** viem spells addresses with a checksum; the rest of Dunes has them in lower case. */
function lowerCase<T>(value: T): T {
  if (typeof value === 'string' && /^0x[0-9a-fA-F]{40}$/.test(value)) return value.toLowerCase() as T
  if (Array.isArray(value)) return value.map(lowerCase) as T
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, lowerCase(item)])) as T
}

function decodeRevert(error: unknown): Revert {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const { data } = cause as { data?: unknown }
    if (typeof data !== 'string' || data.length < 10) continue
    const { errorName, args } = decodeErrorResult({ abi: BOTH, data: data as Hex })
    return { name: errorName, args: (args as Arguments | undefined) ?? [] }
  }
  throw error
}
