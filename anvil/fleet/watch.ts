import type { Client } from 'viem'
import { backoffMs } from '../../src/chain/backoff.ts'
import { decodeLog, type RawLog } from '../../src/chain/decode.ts'
import type { ChainEvent } from '../../src/chain/source.ts'
import type { Hex } from '../../src/core/bytes.ts'
import type { Clock } from '../../src/core/clock.ts'
import type { Logger } from '../../src/core/logger.ts'

/** Milliseconds between two looks at the chain's newest logs. */
const LOOK_MS = 200
/** Blocks asked for at once. */
const RANGE_BLOCKS = 200
/** Submissions remembered, at most; the oldest is forgotten first and is then left to other validators. */
const MAX_PENDING = 4_096

/** A submission that is not settled, as the chain's events tell it. */
export interface Pending {
  readonly id: Hex
  readonly contributor: Hex
  readonly uri: string
  readonly block: number
  readonly quorum: number
  /** Validators that have attested to it. */
  readonly attested: Set<Hex>
}

const LATIN1 = new TextDecoder('latin1')

/** What is pending on the registry, kept up to date by reading its logs from the last block seen on. */
export class Watch {
  readonly pending = new Map<Hex, Pending>()
  readonly #client: Client
  readonly #registry: Hex
  readonly #lookBack: number
  #seen = -1

  /** `lookBack`: how many blocks before the newest the first look begins, at most. */
  constructor(client: Client, registry: Hex, lookBack: number) {
    this.#client = client
    this.#registry = registry
    this.#lookBack = lookBack
  }

  /** The last block that was read. */
  get seen(): number {
    return this.#seen
  }

  /** Reads on, up to a bounded number of blocks. Throws what the RPC throws, and then has changed nothing. */
  async look(): Promise<void> {
    const head = Number(await this.#call('eth_blockNumber'))
    if (this.#seen < 0 || head < this.#seen) {
      // A chain that is shorter than before is another one, such as an older state after a crash.
      this.pending.clear()
      this.#seen = Math.max(-1, head - this.#lookBack)
    }
    if (head <= this.#seen) return
    const to = Math.min(head, this.#seen + RANGE_BLOCKS)
    const range = { fromBlock: `0x${(this.#seen + 1).toString(16)}`, toBlock: `0x${to.toString(16)}` }
    const logs = (await this.#call('eth_getLogs', [{ address: this.#registry, ...range }])) as RawLog[]
    for (const log of logs) {
      const event = decodeLog(log, { registry: this.#registry, anchor: '0x' })
      if (event) this.#apply(event, Number(log.blockNumber))
    }
    this.#seen = to
  }

  /** Looks until `signal` aborts, with back-off where the RPC fails. Never rejects for that. */
  async follow({
    clock,
    logger,
    signal,
  }: {
    clock: Clock
    logger: Logger
    signal: AbortSignal
  }): Promise<void> {
    let failures = 0
    while (!signal.aborted) {
      try {
        await this.look()
        failures = 0
        await clock.sleep(LOOK_MS, signal)
      } catch (error) {
        failures++
        logger.debug({ error, failures }, 'Failed to read the newest logs')
        await clock.sleep(backoffMs(failures, Math.random), signal)
      }
    }
  }

  /** Whether a submission of that block is known to be settled. */
  settled(id: Hex, block: number): boolean {
    return this.#seen >= block && !this.pending.has(id)
  }

  #apply(event: ChainEvent, block: number): void {
    if (event.type === 'submitted') {
      const { id, contributor, uriBytes, quorum } = event
      this.pending.set(id, {
        id,
        contributor,
        uri: LATIN1.decode(uriBytes),
        block,
        quorum,
        attested: new Set(),
      })
      if (this.pending.size > MAX_PENDING) this.pending.delete(this.pending.keys().next().value as Hex)
    } else if (event.type === 'attested') this.pending.get(event.id)?.attested.add(event.validator)
    else if (event.type === 'settled') this.pending.delete(event.id)
  }

  #call(method: string, params: readonly unknown[] = []): Promise<unknown> {
    return this.#client.request({ method, params } as never)
  }
}
