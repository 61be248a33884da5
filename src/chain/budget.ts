import type { Clock } from '../core/clock.ts'

export interface BudgetLimits {
  /** Calls a second; null for no limit. A batch counts as many as it holds, as providers count them. */
  readonly perSecond: number | null
  /** Requests at once. */
  readonly inFlight: number
}

/** What an endpoint may be asked: a token bucket of one second's calls, and so many requests at once. First come, first served. */
export class Budget {
  readonly limits: BudgetLimits
  readonly #clock: Clock
  #tokens: number
  #filledAt: number
  #flying = 0
  #line: Promise<unknown> = Promise.resolve()
  #waiting = 0
  readonly #landing = new Set<() => void>()

  constructor(limits: BudgetLimits, clock: Clock) {
    this.limits = limits
    this.#clock = clock
    this.#tokens = limits.perSecond ?? 0
    this.#filledAt = clock.now()
  }

  get inFlight(): number {
    return this.#flying
  }
  /** Requests that wait for their turn. */
  get waiting(): number {
    return this.#waiting
  }
  /** Calls that may be made at once; null without a limit. Below zero after a batch that was longer than what was left. */
  get left(): number | null {
    const { perSecond } = this.limits
    if (perSecond === null) return null
    const now = this.#clock.now()
    // A clock that was set back must not drain the bucket.
    const passed = Math.max(0, now - this.#filledAt)
    this.#tokens = Math.min(perSecond, this.#tokens + (passed * perSecond) / 1000)
    this.#filledAt = now
    return this.#tokens
  }
  /** Milliseconds until a request could start, as far as the rate decides; longer where others wait or all places are taken. */
  get waitMs(): number {
    const { perSecond, inFlight } = this.limits
    const left = this.left
    const rate = left === null || perSecond === null || left > 0 ? 0 : ((1 - left) * 1000) / perSecond
    return rate + (this.#waiting + (this.#flying >= inFlight ? 1 : 0)) * 100
  }

  /** Waits for a turn, takes `calls` of the rate and a place; give it back with {@link done}. Rejects with the signal's reason. */
  async take(calls: number, signal?: AbortSignal): Promise<void> {
    const before = this.#line
    let go = () => {}
    this.#line = new Promise<void>((resolve) => {
      go = resolve
    })
    this.#waiting++
    try {
      await before
      for (;;) {
        signal?.throwIfAborted()
        const left = this.left
        if (this.#flying >= this.limits.inFlight) await this.#landed(signal)
        else if (left !== null && left <= 0) {
          const perSecond = this.limits.perSecond as number
          await this.#clock.sleep(Math.max(1, Math.ceil(((1 - left) * 1000) / perSecond)), signal)
        } else break
      }
      this.#flying++
      this.#tokens -= calls
    } finally {
      this.#waiting--
      go()
    }
  }

  done(): void {
    this.#flying--
    for (const land of [...this.#landing]) land()
  }

  #landed(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const land = () => {
        this.#landing.delete(land)
        signal?.removeEventListener('abort', land)
        resolve()
      }
      this.#landing.add(land)
      signal?.addEventListener('abort', land, { once: true })
    })
  }
}
