import { BoundedQueue } from '../service/queue.ts'

/** Queries of one caller that are under way or in the database's own line at once, and how many more may wait here. */
const AT_ONCE = 8
const WAITING = 2_000

/**
 * Lets each caller's queries wait for their turn, in order, instead of being refused: an AI client that asks many things at once has
 * nobody who would try again for it. Every caller has a line of its own.
 */
export class Turns {
  readonly #lines = new Map<string, { queue: BoundedQueue; users: number }>()

  /** Runs `job` when it is its turn. Throws what `job` throws, and `BUSY` where the caller's line is full. */
  async run<T>(caller: string, job: () => Promise<T>): Promise<T> {
    const line = this.#lines.get(caller) ?? { queue: new BoundedQueue(AT_ONCE, WAITING), users: 0 }
    this.#lines.set(caller, line)
    line.users++
    try {
      return await line.queue.run(job)
    } finally {
      if (--line.users === 0) this.#lines.delete(caller)
    }
  }
}
