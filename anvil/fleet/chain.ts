import { type Client, createClient, http } from 'viem'
import { getTransactionCount, readContract } from 'viem/actions'
import { sensorRegistryAbi } from '../../src/chain/abi.ts'
import type { Hex } from '../../src/core/bytes.ts'

/** Milliseconds that one question may take. */
const ASK_MS = 5_000

/** What the fleet asks of the registry besides sending calls. Every method throws viem's errors. */
export class FleetChain {
  readonly client: Client
  readonly #registry: Hex

  constructor(rpcUrl: string, registry: Hex) {
    // Twenty contributors ask at the same time: one request carries what they ask within one turn of the event loop.
    this.client = createClient({ transport: http(rpcUrl, { batch: true, retryCount: 1, timeout: ASK_MS }) })
    this.#registry = registry
  }

  /** Blocks after which a submission can expire. */
  async ttl(): Promise<number> {
    return Number(await readContract(this.client, { ...this.#call, functionName: 'ttl' }))
  }

  /** The owner of a dataset, lower case; null where nobody has registered it. */
  async datasetOwner(name: string): Promise<Hex | null> {
    const [owner] = await readContract(this.client, { ...this.#call, functionName: 'dataset', args: [name] })
    return ownerOf(owner)
  }

  /** The owner of a sensor, lower case; null where nobody has registered it. */
  async sensorOwner(name: string): Promise<Hex | null> {
    const [owner] = await readContract(this.client, { ...this.#call, functionName: 'sensor', args: [name] })
    return ownerOf(owner)
  }

  /** How many submissions an account has made. */
  async submitted(account: Hex): Promise<number> {
    const [, , submitted] = await readContract(this.client, {
      ...this.#call,
      functionName: 'head',
      args: [account],
    })
    return Number(submitted)
  }

  /** Whether a transaction of the account waits to be mined. */
  async inFlight(account: Hex): Promise<boolean> {
    const [mined, sent] = await Promise.all([
      getTransactionCount(this.client, { address: account, blockTag: 'latest' }),
      getTransactionCount(this.client, { address: account, blockTag: 'pending' }),
    ])
    return sent > mined
  }

  get #call() {
    return { address: this.#registry, abi: sensorRegistryAbi } as const
  }
}

const ownerOf = (owner: string): Hex | null => (BigInt(owner) === 0n ? null : (owner.toLowerCase() as Hex))
