import type { Clock } from '../core/clock.ts'
import { describeError } from '../core/error.ts'
import { backoffMs } from './backoff.ts'
import { retryAfterMs } from './rpc.ts'
import type { ChainError, SourceStatus } from './source.ts'

/** Counts failures in a row, knows how long to wait after them, and remembers what `status` tells. */
export class Health {
  readonly #clock: Clock
  readonly #random: () => number
  lastSuccess: number | null = null
  lastError: SourceStatus['lastError'] = null
  failures = 0

  constructor(clock: Clock, random: () => number) {
    this.#clock = clock
    this.#random = random
  }

  /** Notes a failure; gives the milliseconds to wait before the next attempt, `elsewhere` if others can be asked meanwhile. */
  failed(error: ChainError, elsewhere: boolean): number {
    this.failures++
    this.lastError = { code: error.code, message: describeError(error), at: this.#clock.now() }
    return backoffMs(this.failures, this.#random, elsewhere ? 0 : retryAfterMs(error))
  }

  /** Notes a success; gives the number of failures that it ends. */
  succeeded(): number {
    const { failures } = this
    this.lastSuccess = this.#clock.now()
    this.failures = 0
    this.lastError = null
    return failures
  }
}
