import type { Clock } from '../core/clock.ts'
import { Budget, type BudgetLimits } from './budget.ts'
import type { ChainError } from './source.ts'

/** `closed`: in use. `open`: left alone for a while. `half-open`: being tried again. */
export type BreakerState = 'closed' | 'open' | 'half-open'

/** How an endpoint is doing. Nothing here holds an address's path or credentials. */
export interface EndpointStatus {
  /** Host and port. */
  readonly endpoint: string
  readonly state: BreakerState
  /** Why it is left alone; null while it is not. */
  readonly why: string | null
  /** Milliseconds until it is tried again; 0 while it is in use. */
  readonly retryMs: number
  /** 0 to 100: the share of requests that went well of late, cut where it lags. */
  readonly score: number
  /** Milliseconds of a request of late, null before the first. */
  readonly latencyMs: number | null
  /** Calls and failed requests since the start, and answers that could not be true. */
  readonly calls: number
  readonly errors: number
  readonly lies: number
  readonly perSecond: number | null
  /** Calls left in this second; null without a limit. */
  readonly left: number | null
  readonly inFlight: number
  readonly mostInFlight: number
  readonly waiting: number
  /** Its newest block when it was last asked, null before. */
  readonly head: number | null
  readonly lagging: boolean
}

/** Failures in a row after which an endpoint is left alone. */
const OPEN_AFTER = 3
/** First and longest time that it is left alone for failures and for lies, in milliseconds, before jitter. */
const FAILED_MS = { first: 1_000, longest: 60_000 } as const
const LIED_MS = { first: 1_000, longest: 300_000 } as const
/** Wrong answers are forgotten after so long without one, in milliseconds. */
const FORGIVEN_MS = 600_000
/** Longest wait that an endpoint may ask for. */
const LONGEST_ASKED_MS = 60_000
/** Weight of the newest request in the averages. */
const NEW = 0.1
/** Below this score an endpoint is used after all others. */
export const FIT = 50

const doubled = ({ first, longest }: { first: number; longest: number }, times: number): number =>
  Math.min(longest, first * 2 ** Math.min(times - 1, 20))

/** One endpoint's budget, breaker and record. It knows nothing of how requests are made. */
export class EndpointHealth {
  readonly name: string
  readonly budget: Budget
  readonly #clock: Clock
  readonly #random: () => number
  #failures = 0
  #lies = 0
  #liesEver = 0
  #liedAt = 0
  /** It is not chosen before this time while there are others. */
  #until = 0
  #open = false
  #trying = false
  #why: string | null = null
  #success = 1
  #latency: number | null = null
  #calls = 0
  #errors = 0
  #behind = 0
  head: number | null = null

  constructor(name: string, limits: BudgetLimits, clock: Clock, random: () => number) {
    this.name = name
    this.budget = new Budget(limits, clock)
    this.#clock = clock
    this.#random = random
  }

  get state(): BreakerState {
    if (!this.#open) return 'closed'
    return this.#trying ? 'half-open' : 'open'
  }
  /** Local milliseconds before which it should be left alone. */
  get until(): number {
    return this.#until
  }
  /** Two looks in a row found it far behind others. */
  get lagging(): boolean {
    return this.#behind >= 2
  }
  get score(): number {
    return Math.round(100 * this.#success * (this.lagging ? 0.4 : 1))
  }
  /** Whether it may be chosen now like any other. */
  get usable(): boolean {
    return !this.#open && this.#until <= this.#clock.now()
  }
  /** Whether somebody should try it again now. */
  get due(): boolean {
    return this.#open && !this.#trying && this.#until <= this.#clock.now()
  }

  /** A trial begins; the next success or failure ends it. */
  trying(): void {
    this.#trying = true
  }

  /** A request went well. One that only asked which chain this is does not end a row of failures: it costs the endpoint nothing. */
  succeeded(calls: number, ms: number, useful = true): void {
    this.#calls += calls
    this.#latency = this.#latency === null ? ms : this.#latency + (ms - this.#latency) * NEW
    this.#success += (1 - this.#success) * NEW
    if (useful) this.#failures = 0
    // An answer in time says nothing about its truth: what was left for a lie stays left until a trial has looked.
    if (!this.#open && this.#lies > 0 && this.#clock.now() - this.#liedAt > FORGIVEN_MS) this.#lies = 0
  }

  /** A trial went well: in use again. */
  close(): void {
    this.#open = this.#trying = false
    this.#until = 0
    this.#failures = 0
    this.#why = null
    // Else a long bad time would keep it behind all others for long.
    this.#success = Math.max(this.#success, FIT / 100)
  }

  /** A request failed; `askedMs` is the wait that the endpoint asked for. */
  failed(error: ChainError, calls: number, askedMs: number): void {
    this.#calls += calls
    this.#errors++
    this.#failures++
    this.#success -= this.#success * NEW
    if (this.#failures >= OPEN_AFTER || this.#open)
      this.#leave(error, doubled(FAILED_MS, this.#failures - OPEN_AFTER + 1), askedMs)
    else this.#until = this.#clock.now() + Math.max(FAILED_MS.first, Math.min(askedMs, LONGEST_ASKED_MS))
  }

  /** It answered what cannot be true, or serves another chain. */
  lied(error: ChainError): void {
    this.#liesEver++
    // One bad answer is found out many times over, by all that was asked at once.
    if (this.#open && this.#until > this.#clock.now()) return
    this.#lies++
    this.#liedAt = this.#clock.now()
    this.#success -= this.#success * 3 * NEW
    this.#leave(error, doubled(LIED_MS, this.#lies), 0)
  }

  #leave(error: ChainError, ms: number, askedMs: number): void {
    this.#open = true
    this.#trying = false
    this.#why = error.message
    // The upper half is jitter, so that many clients do not come back together.
    const wait = Math.max(ms / 2 + (this.#random() * ms) / 2, Math.min(askedMs, LONGEST_ASKED_MS))
    this.#until = Math.max(this.#until, this.#clock.now() + wait)
  }

  /** What a look at all heads found. */
  compared(behind: boolean): void {
    this.#behind = behind ? this.#behind + 1 : 0
  }

  status(): EndpointStatus {
    const { budget } = this
    const left = budget.left
    return {
      endpoint: this.name,
      state: this.state,
      why: this.#open ? this.#why : this.lagging ? 'its newest block is far behind that of others' : null,
      retryMs: this.#open ? Math.max(0, Math.round(this.#until - this.#clock.now())) : 0,
      score: this.score,
      latencyMs: this.#latency === null ? null : Math.round(this.#latency * 10) / 10,
      calls: this.#calls,
      errors: this.#errors,
      lies: this.#liesEver,
      perSecond: budget.limits.perSecond,
      left: left === null ? null : Math.floor(left),
      inFlight: budget.inFlight,
      mostInFlight: budget.limits.inFlight,
      waiting: budget.waiting,
      head: this.head,
      lagging: this.lagging,
    }
  }
}
