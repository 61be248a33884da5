import { type Hex, isHex } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import { DunesError } from '../core/error.ts'
import { type AuditEvent, isLog, isQuantity, readEvent, selector } from './abi.ts'

/** Milliseconds for one request with its body. */
const TIMEOUT_MS = 20_000
/** Attempts at one request, with doubling waits from this many milliseconds on. */
const ATTEMPTS = 4
const WAIT_MS = 250
/** Blocks of one question for events, at first and at most; halved where an endpoint refuses. */
const MOST_BLOCKS = 2_000

/** A block as far as an audit needs it. `time` is in seconds since 1970. */
export interface AuditBlock {
  readonly number: number
  readonly hash: Hex
  readonly time: number
}

/** What an endpoint answers with an error, as opposed to not answering. */
class Refused extends Error {}

/**
 * A chain read over JSON-RPC, one endpoint, by as little code as an audit needs. It believes the endpoint, and holds what it is
 * told against what the contracts commit to. Throws `FSCK_CHAIN_UNREACHABLE` (exit code 3) where that does not answer in form.
 */
export class ChainReader {
  readonly #url: string
  readonly #clock: Clock
  readonly #signal: AbortSignal | undefined
  #width = MOST_BLOCKS

  constructor(url: string, clock: Clock, signal?: AbortSignal) {
    this.#url = url
    this.#clock = clock
    this.#signal = signal
  }

  /** One call. Throws `Refused` inside of this file when the endpoint answers with an error. */
  async #call(method: string, params: readonly unknown[]): Promise<unknown> {
    for (let attempt = 1; ; attempt++) {
      try {
        const response = await fetch(this.#url, {
          method: 'POST',
          headers: { 'Content-Type': 'application/json' },
          body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }),
          signal: AbortSignal.any([AbortSignal.timeout(TIMEOUT_MS), ...(this.#signal ? [this.#signal] : [])]),
        })
        const answer = (await response.json()) as { result?: unknown; error?: { message?: unknown } }
        if (answer.error) throw new Refused(String(answer.error.message))
        if (answer.result === undefined) throw new Error(`HTTP ${response.status} without a result`)
        return answer.result
      } catch (error) {
        this.#signal?.throwIfAborted()
        if (error instanceof Refused) throw error
        if (attempt === ATTEMPTS) throw this.#unreachable(method, error)
        await this.#clock.sleep(WAIT_MS * 2 ** attempt, this.#signal)
      }
    }
  }

  #unreachable(method: string, cause: unknown): DunesError {
    const what = cause instanceof Error ? cause.message : 'an answer of another form'
    return new DunesError(
      'FSCK_CHAIN_UNREACHABLE',
      `the chain's endpoint does not answer ${method}: ${what}`,
      {
        hint: 'check --rpc-urls; what has been read is kept for the next run',
        retryable: true,
        exitCode: 3,
        cause,
      },
    )
  }

  async call(method: string, params: readonly unknown[]): Promise<unknown> {
    try {
      return await this.#call(method, params)
    } catch (error) {
      throw error instanceof Refused ? this.#unreachable(method, error) : error
    }
  }

  async chainId(): Promise<number> {
    return Number(await this.call('eth_chainId', []))
  }

  /** A block by number or tag; null where the chain has none. */
  async block(id: number | 'latest' | 'finalized'): Promise<AuditBlock | null> {
    const name = typeof id === 'number' ? quantity(id) : id
    const raw = (await this.call('eth_getBlockByNumber', [name, false])) as Record<string, unknown> | null
    if (raw === null) return null
    const { number, hash, timestamp } = raw
    if (!isQuantity(number) || !isHex(hash, 32) || !isQuantity(timestamp))
      throw this.#unreachable('eth_getBlockByNumber', null)
    return { number: Number(number), hash, time: Number(timestamp) }
  }

  /** Bytes that a view answers as of a block, as hex. */
  async view(to: Hex, data: Hex, block: number): Promise<Hex> {
    const answer = await this.call('eth_call', [{ to, data }, quantity(block)])
    if (!isHex(answer)) throw this.#unreachable('eth_call', null)
    return answer
  }

  /** What a ReceiptAnchor holds as of a block. */
  async anchored(anchor: Hex, block: number): Promise<{ size: number; root: Hex }> {
    const words = (await this.view(anchor, selector('head()'), block)).slice(2)
    return { root: `0x${words.slice(0, 64)}`, size: Number(`0x${words.slice(64, 128)}`) }
  }

  /**
   * Events of some contracts from block `from` to at most block `to`, in order, and the last block that they cover: ranges are as
   * wide as the endpoint allows.
   */
  async events(
    addresses: readonly Hex[],
    from: number,
    to: number,
  ): Promise<{ events: AuditEvent[]; upTo: number }> {
    for (;;) {
      const upTo = Math.min(to, from + this.#width - 1)
      try {
        const logs = await this.#call('eth_getLogs', [
          { address: addresses, fromBlock: quantity(from), toBlock: quantity(upTo) },
        ])
        this.#width = Math.min(MOST_BLOCKS, this.#width * 2)
        if (!Array.isArray(logs) || !logs.every(isLog)) throw this.#unreachable('eth_getLogs', null)
        const events = logs
          .filter((log) => addresses.includes(log.address))
          .flatMap((log) => {
            const event = readEvent(log)
            return event ? [event] : []
          })
          .sort((a, b) => a.block - b.block || a.logIndex - b.logIndex)
        return { events, upTo }
      } catch (error) {
        const isWide = error instanceof Refused || (error instanceof DunesError && error.retryable)
        if (!isWide || this.#width === 1)
          throw error instanceof Refused ? this.#unreachable('eth_getLogs', error) : error
        this.#width = Math.max(1, Math.floor(this.#width / 2))
      }
    }
  }
}

const quantity = (value: number): Hex => `0x${value.toString(16)}`
