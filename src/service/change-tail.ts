import type { Clock } from '../core/clock.ts'
import { type ChangeRow, type FeedHead, readChangeRows, readFeedHead } from '../graph/changes.ts'
import type { Sql } from '../graph/connect.ts'

/** Rows asked for at once. */
const READ_ROWS = 16
/** Newest rows that are kept for those who follow, so that each row is read once and not once a client. */
const TAIL_ROWS = 64
/** How often the feed is looked at while somebody waits, in milliseconds. */
const LOOK_MS = 100

/** Up to where somebody was told, in the feed of that name. */
interface Place {
  readonly position: number
  readonly feed: string
}

/** The newest rows of the feed, and one look at the database for all who wait for more. */
export class ChangeTail {
  readonly #sql: Sql
  readonly #clock: Clock
  readonly #stopping: AbortSignal
  /** The newest rows, without a hole between them, of the feed that `#head` names. */
  #tail: ChangeRow[] = []
  #head: FeedHead = { name: '', last: -1 }
  readonly #waiting = new Set<() => void>()
  #looking = false

  /** Whoever waits is let go when `stopping` aborts. */
  constructor({ sql, clock, stopping }: { sql: Sql; clock: Clock; stopping: AbortSignal }) {
    this.#sql = sql
    this.#clock = clock
    this.#stopping = stopping
    stopping.addEventListener('abort', () => this.#wakeAll(), { once: true })
  }

  /** The feed's head as the last look found it; `last` is -1 before the first look. */
  get head(): FeedHead {
    return this.#head
  }

  /** The next rows above `after`, in order: kept ones where those reach so far back, else, or where `fresh` asks for more, the database's. */
  async rows(after: number, fresh: boolean): Promise<{ head: FeedHead; rows: readonly ChangeRow[] }> {
    const head = this.#head
    const oldest = this.#tail[0]?.first ?? head.last + 1
    // A reader may be ahead of the last look, when it was served by the database.
    const covered = this.#looking && head.last >= 0 && oldest <= after + 1 && after <= head.last
    const from = covered ? this.#tail.findIndex((row) => row.last > after) : -1
    if (!covered || (fresh && from < 0)) return readChangeRows(this.#sql, after, READ_ROWS)
    return { head, rows: from < 0 ? [] : this.#tail.slice(from, from + READ_ROWS) }
  }

  /** Resolves when there is a change after `place`, after `ms`, when `signal` aborts or the process stops. */
  async wait(place: Place, ms: number, signal: AbortSignal): Promise<void> {
    const over = (): boolean => signal.aborted || this.#stopping.aborted
    const news = (): boolean =>
      this.#head.last >= 0 && (this.#head.last > place.position || this.#head.name !== place.feed)
    if (over()) return
    await new Promise<void>((resolve) => {
      const done = () => {
        clearTimeout(timer)
        signal.removeEventListener('abort', done)
        this.#waiting.delete(look)
        resolve()
      }
      const look = () => {
        if (over() || news()) done()
      }
      const timer = setTimeout(done, ms)
      signal.addEventListener('abort', done, { once: true })
      this.#waiting.add(look)
      if (this.#looking) look()
      else void this.#look()
    })
  }

  #wakeAll(): void {
    for (const look of [...this.#waiting]) look()
  }

  /** Looks for new changes for as long as anybody waits. */
  async #look(): Promise<void> {
    this.#looking = true
    this.#tail = []
    this.#head = { name: '', last: -1 }
    try {
      while (this.#waiting.size > 0 && !this.#stopping.aborted) {
        await this.#lookOnce().catch(() => {
          // The database is away: whoever waits goes on waiting, and hears of it at the next page.
        })
        await this.#clock.sleep(LOOK_MS, this.#stopping)
      }
    } finally {
      this.#looking = false
    }
    // Whoever came between the last look and this line.
    if (this.#waiting.size > 0 && !this.#stopping.aborted) void this.#look()
  }

  async #lookOnce(): Promise<void> {
    const first = this.#head.last < 0
    const { head, rows } = first
      ? { head: await readFeedHead(this.#sql), rows: [] }
      : await readChangeRows(this.#sql, this.#head.last, READ_ROWS)
    const follows = !first && head.name === this.#head.name && rows[0]?.first === this.#head.last + 1
    const moved = first || head.name !== this.#head.name || head.last !== this.#head.last
    // After a long pause or in another feed the tail begins anew.
    this.#tail = follows ? [...this.#tail, ...rows].slice(-TAIL_ROWS) : []
    this.#head = follows ? { name: head.name, last: rows.at(-1)?.last ?? head.last } : head
    if (moved) this.#wakeAll()
  }
}
