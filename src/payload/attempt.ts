import type { Clock } from '../core/clock.ts'
import { Ended, type Unavailable } from './outcome.ts'

/**
 * Everything that can end one attempt early, as one signal: the caller's signal, a deadline, or {@link Attempt.end}. The
 * first cause wins and its outcome is the signal's reason. Call {@link Attempt.close} when the attempt is over, so that
 * neither timer nor listener outlives it.
 */
export class Attempt {
  readonly signal: AbortSignal
  readonly #controller = new AbortController()
  readonly #closed = new AbortController()
  readonly #clock: Clock
  #hasDeadline = false

  constructor(clock: Clock, ...parents: readonly (AbortSignal | undefined)[]) {
    this.#clock = clock
    this.signal = this.#controller.signal
    for (const parent of parents) {
      if (parent === undefined) continue
      if (parent.aborted) this.#controller.abort(parent.reason)
      parent.addEventListener('abort', () => this.#controller.abort(parent.reason), {
        once: true,
        signal: this.#closed.signal,
      })
    }
  }

  end(outcome: Unavailable): void {
    this.#controller.abort(new Ended(outcome))
  }

  /** Ends the attempt with `outcome` in `ms` milliseconds. Only the first call counts. */
  deadline(ms: number, outcome: Unavailable): void {
    if (this.#hasDeadline) return
    this.#hasDeadline = true
    void this.#clock.sleep(ms, this.#closed.signal).then(() => {
      if (!this.#closed.signal.aborted) this.end(outcome)
    })
  }

  close(): void {
    this.#closed.abort()
  }
}

/** What `promise` gives, or `instead()` as soon as `signal` aborts. A rejection after that is dropped. */
export function orAbort<T, U>(promise: Promise<T>, signal: AbortSignal, instead: () => U): Promise<T | U> {
  return new Promise((resolve, reject) => {
    const stop = () => resolve(instead())
    if (signal.aborted) stop()
    signal.addEventListener('abort', stop, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop))
  })
}
