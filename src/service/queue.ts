import { ServiceError } from './error.ts'

/** Runs at most `atOnce` jobs at a time and lets at most `waiting` more stand in line; the next is refused as `BUSY`. */
export class BoundedQueue {
  readonly #atOnce: number
  readonly #waiting: number
  #running = 0
  readonly #line: (() => void)[] = []

  constructor(atOnce: number, waiting: number) {
    this.#atOnce = atOnce
    this.#waiting = waiting
  }

  /** Settles as `job` does. Rejects with `BUSY` (retryable) where the line is full. */
  async run<T>(job: () => Promise<T> | T): Promise<T> {
    if (this.#running >= this.#atOnce) {
      if (this.#line.length >= this.#waiting) {
        throw new ServiceError('BUSY', 'too many requests wait for the same work', {
          hint: 'try again in a moment',
          retryAfter: 1,
          exitCode: 3,
        })
      }
      await new Promise<void>((go) => this.#line.push(go))
    } else this.#running++
    try {
      return await job()
    } finally {
      // Whoever is next takes this job's place, so that nobody who arrives in between overtakes the line.
      const next = this.#line.shift()
      if (next) next()
      else this.#running--
    }
  }
}

/**
 * A {@link BoundedQueue} of its own for each caller, kept for as long as jobs of that caller are in it: nobody waits behind another
 * caller's jobs.
 */
export class CallerQueues {
  readonly #atOnce: number
  readonly #waiting: number
  readonly #lines = new Map<string, { queue: BoundedQueue; jobs: number }>()

  /** Bounds of each caller's queue. */
  constructor(atOnce: number, waiting: number) {
    this.#atOnce = atOnce
    this.#waiting = waiting
  }

  /** Runs `job` when it is its turn among the jobs of `caller`. Settles as {@link BoundedQueue.run} does. */
  async run<T>(caller: string, job: () => Promise<T>): Promise<T> {
    const line = this.#lines.get(caller) ?? { queue: new BoundedQueue(this.#atOnce, this.#waiting), jobs: 0 }
    this.#lines.set(caller, line)
    line.jobs++
    try {
      return await line.queue.run(job)
    } finally {
      if (--line.jobs === 0) this.#lines.delete(caller)
    }
  }
}
