import { accountId, evmAccount } from '../chain/ids.ts'
import { fromHex, type Hex, toHex } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import {
  CHANGE_KINDS,
  type Change,
  type ChangeKind,
  type ChangeRow,
  type ChangeSubject,
  type FeedHead,
  type RangeChange,
  readFeedHead,
  readOldest,
  widthOf,
} from '../graph/changes.ts'
import type { Sql } from '../graph/connect.ts'
import { ChangeTail } from './change-tail.ts'
import type { ServiceContext } from './context.ts'
import { ServiceError } from './error.ts'
import { readSubmissionId } from './submissions.ts'

export { CHANGE_KINDS }

/** Items of one page: unless told, and at most. */
export const DEFAULT_CHANGES = 100
export const MAX_CHANGES = 1_000
/** Rows that one page looks through for items that pass its filters; a row holds at most 256 changes. */
const SCAN_ROWS = 128
/** Ranges that one page asks the database to take apart. */
const SCAN_RANGES = 16

/** How clients are followed with. */
export interface Following {
  /** Clients that may follow or wait at once. */
  most: number
  /** A comment is sent after so long without an event, so that both ends notice a dead connection; milliseconds. */
  heartbeatMs: number
  /** A client that has not taken what was sent for so long is cut off; milliseconds. */
  slowMs: number
}
export const FOLLOWING: Following = { most: 100, heartbeatMs: 15_000, slowMs: 30_000 }

/** One change as it is told. Which further fields there are follows from `kind` (docs/api.md, "Changes"). */
export interface ChangeItem {
  /** Where to go on from after this item. */
  id: string
  kind: ChangeKind
  /** When this index told it, RFC 3339. */
  told: string
  submission?: Hex
  /** CAIP-10. */
  contributor?: string
  sensor?: string
  dataset?: string
  index?: number
  outcome?: 'validated' | 'rejected' | 'expired'
  verdict?: 'accepted' | 'rejected'
  reason?: string | null
  first_index?: number
  last_index?: number
  block?: number
  /** `rolled_back`: the hash of `block`, and the block that was the newest. */
  block_hash?: Hex
  from_block?: number
  anchor?: { seq: number; size: number; root: Hex }
}

export interface ChangePage {
  items: ChangeItem[]
  /** Where the next page begins. Unlike a list's it is never null: the feed has no end. */
  next_cursor: string
  /** Id of the newest change. The same as `next_cursor` where there is nothing more for now. */
  newest: string
}

export interface ChangeQuery {
  /** An id, `newest`, or undefined for the oldest change that is kept. */
  after?: string | undefined
  kinds?: readonly ChangeKind[] | undefined
  submission?: string | undefined
  /** CAIP-10 id or bare address. */
  contributor?: string | undefined
  sensor?: string | undefined
  dataset?: string | undefined
  /** Tell ranges one submission at a time; so it is anyway with a filter by submission, contributor, sensor or dataset. */
  expand?: boolean | undefined
}

/** A query whose values were read. */
interface Filter {
  kinds: ReadonlySet<ChangeKind> | null
  subject: Partial<ChangeSubject>
  /** Whether `subject` asks for anything. */
  narrow: boolean
  expand: boolean
}

/** A reader's place in the feed, and what it wants of it. Give it to {@link ChangeFeed.page} again and again. */
export interface ChangeReader {
  readonly filter: Filter
  /** Everything up to this id was told. */
  position: number
  /** Name of the feed that `position` is of. */
  feed: string
}

const idOf = (feed: string, position: number): string => `${feed || 'none'}-${position}`

const gone = (message: string, head: FeedHead, oldest: number): ServiceError =>
  new ServiceError('CHANGES_GONE', message, {
    hint: 'ask with after=newest for where the feed is now, then read /v1/submissions anew, then go on from that id',
    details: { newest: idOf(head.name, head.last), oldest: idOf(head.name, oldest) },
  })

/** The feed of changes as many clients read it: who follows, and the page that each is told next. */
export class ChangeFeed {
  readonly #sql: Sql
  readonly #chain: string
  readonly following: Following
  readonly #stopping = new AbortController()
  readonly #tail: ChangeTail
  #followers = 0

  constructor(settings: { sql: Sql; clock: Clock; chain: string; following: Following }) {
    const { sql, clock, chain, following } = settings
    this.#sql = sql
    this.#chain = chain
    this.following = following
    this.#tail = new ChangeTail({ sql, clock, stopping: this.stopping })
  }

  /** Aborts when the process stops: whoever follows ends then. */
  get stopping(): AbortSignal {
    return this.#stopping.signal
  }
  /** Clients that follow or wait now. */
  get followers(): number {
    return this.#followers
  }

  stop(): void {
    this.#stopping.abort()
  }

  /** The id up to which a reader was told everything. */
  idOf({ feed, position }: ChangeReader): string {
    return idOf(feed, position)
  }

  /** Takes a place among those who follow; answers how to give it back, twice is once. Throws `BUSY`. */
  enter(): () => void {
    if (this.#followers >= this.following.most || this.stopping.aborted)
      throw new ServiceError('BUSY', `${this.#followers} clients follow the changes already`, {
        hint: 'try again in a moment, or ask for pages without wait',
        retryAfter: 5,
        exitCode: 3,
      })
    this.#followers++
    let left = false
    return () => {
      if (!left) this.#followers--
      left = true
    }
  }

  /**
   * A reader for a query. Throws `BAD_CURSOR`, `BAD_ID`, `BAD_CHAIN_ID`, and `CHANGES_GONE` where `after` is older than what is kept,
   * newer than the newest, or of another index.
   */
  async open(query: ChangeQuery): Promise<ChangeReader> {
    const filter = this.#filter(query)
    const head = await readFeedHead(this.#sql)
    const { after } = query
    if (after === 'newest') return { filter, position: head.last, feed: head.name }
    if (after === undefined) return { filter, position: await readOldest(this.#sql), feed: head.name }
    const match = /^([0-9a-f]{8}|none)-(0|[1-9][0-9]{0,15})$/.exec(after)
    const position = Number(match?.[2])
    if (!match || !Number.isSafeInteger(position))
      throw new ServiceError('BAD_CURSOR', 'not an id of a change', {
        hint: 'give the id of the last change that was seen, or next_cursor, or newest',
      })
    // From the very beginning is the same in every feed.
    if (position > 0 && match[1] !== head.name)
      throw gone('this id is of another index', head, await readOldest(this.#sql))
    return { filter, position, feed: head.name }
  }

  #filter(query: ChangeQuery): Filter {
    const { submission, contributor, sensor, dataset } = query
    const subject = {
      ...(submission !== undefined && { submission: readSubmissionId(submission) }),
      ...(contributor !== undefined && { contributor: evmAccount(contributor, this.#chain) }),
      ...(sensor !== undefined && { sensor }),
      ...(dataset !== undefined && { dataset }),
    }
    const narrow = Object.keys(subject).length > 0
    const kinds = query.kinds ? new Set(query.kinds) : null
    return { kinds, subject, narrow, expand: narrow || query.expand === true }
  }

  /**
   * The next items for a reader, at most `limit`, and moves it on. With filters a page may hold fewer, or none, and the reader has moved all
   * the same. Those who follow are served from the last look, at most 100 ms old; `fresh` asks the database. Throws `CHANGES_GONE` where
   * the reader came too late.
   */
  async page(reader: ChangeReader, limit: number, fresh = false): Promise<ChangePage> {
    const items: ChangeItem[] = []
    let { head } = this.#tail
    let rowsLeft = SCAN_ROWS
    const budget = { ranges: SCAN_RANGES }
    while (items.length < limit && rowsLeft > 0 && budget.ranges > 0) {
      const found = await this.#tail.rows(reader.position, fresh)
      head = found.head
      if (reader.feed !== head.name && reader.position > 0)
        throw gone('the index was begun anew', head, await readOldest(this.#sql))
      reader.feed = head.name
      const [first] = found.rows
      if (first ? first.first > reader.position + 1 : head.last !== reader.position) {
        const message =
          head.last < reader.position
            ? 'this id has not been given out'
            : 'changes after this id are forgotten'
        throw gone(message, head, await readOldest(this.#sql))
      }
      if (!first) break
      rowsLeft -= found.rows.length
      for (const row of found.rows) {
        await this.#tell(row, reader, limit, items, budget)
        if (items.length >= limit || budget.ranges <= 0) break
      }
    }
    return { items, next_cursor: idOf(reader.feed, reader.position), newest: idOf(head.name, head.last) }
  }

  /** Adds what a row holds for the reader, as far as there is room. */
  async #tell(
    row: ChangeRow,
    reader: ChangeReader,
    limit: number,
    items: ChangeItem[],
    budget: { ranges: number },
  ): Promise<void> {
    const { filter } = reader
    let last = row.first - 1
    for (const change of row.changes) {
      const first = last + 1
      last += widthOf(change)
      if (last <= reader.position) continue
      if (items.length >= limit || budget.ranges <= 0) return
      const told = row.toldAt.toISOString()
      const make = (id: number, shown: Change, one?: OneOfRange): ChangeItem => ({
        id: idOf(reader.feed, id),
        kind: shown.kind,
        told,
        ...facts(shown, this.#chain, one),
      })
      if (filter.kinds !== null && !filter.kinds.has(change.kind)) {
        reader.position = last
      } else if ('first' in change) {
        // A reader that took ranges apart before may be in the middle of one.
        const rest = { ...change, first: change.first + Math.max(0, reader.position + 1 - first) }
        if (!filter.expand) {
          items.push(make(last, rest))
          reader.position = last
          continue
        }
        budget.ranges--
        const room = limit - items.length
        const found = await this.#expand(rest, filter.subject, room)
        for (const one of found) items.push(make(first + one.index - change.first, rest, one))
        const end = found.at(-1)
        reader.position = found.length === room && end ? first + end.index - change.first : last
      } else {
        if (
          change.kind === 'rolled_back'
            ? !filter.narrow
            : Object.entries(filter.subject).every(([k, v]) => change[k as keyof ChangeSubject] === v)
        )
          items.push(make(last, change))
        reader.position = last
      }
    }
  }

  /** The submissions of a range that are asked for. What is final stays as it is, so this answers the same at any time. */
  async #expand(
    range: RangeChange,
    { submission, contributor, sensor, dataset }: Partial<ChangeSubject>,
    limit: number,
  ): Promise<OneOfRange[]> {
    const sql = this.#sql
    const rows = await sql`
      select u.submission_id, c.account, s.name as sensor, d.name as dataset, u.index
      from submission u
      join contributor c on c.id = u.contributor join sensor s on s.id = u.sensor join dataset d on d.id = u.dataset
      where u.index between ${range.first} and ${range.last}
        ${submission === undefined ? sql`` : sql`and u.submission_id = ${fromHex(submission)}`}
        ${contributor === undefined ? sql`` : sql`and c.account = ${fromHex(contributor)}`}
        ${sensor === undefined ? sql`` : sql`and s.name = ${sensor}`}
        ${dataset === undefined ? sql`` : sql`and d.name = ${dataset}`}
      order by u.index limit ${limit}`
    return rows.map((row) => ({
      index: row['index'],
      subject: {
        submission: toHex(row['submission_id']),
        contributor: toHex(row['account']),
        sensor: row['sensor'],
        dataset: row['dataset'],
      },
    }))
  }

  /** Resolves when there is a change after the reader's place, after `ms`, when `signal` aborts or the process stops. */
  wait(reader: ChangeReader, ms: number, signal: AbortSignal): Promise<void> {
    return this.#tail.wait(reader, ms, signal)
  }
}

/** One submission of a range. */
interface OneOfRange {
  subject: ChangeSubject
  index: number
}

/** A subject as it is told, of the chain with the CAIP-2 id `chain`. */
function subjectOf({ submission, contributor, sensor, dataset }: ChangeSubject, chain: string) {
  return { submission, contributor: accountId(chain, contributor), sensor, dataset }
}

/** What a change is told with besides its id, kind and time; of a range, `one` of its submissions alone. */
function facts(change: Change, chain: string, one?: OneOfRange): Partial<ChangeItem> {
  const of = (first_index: number, last_index: number) =>
    one ? { ...subjectOf(one.subject, chain), index: one.index } : { first_index, last_index }
  switch (change.kind) {
    case 'submitted':
    case 'removed':
      return { ...subjectOf(change, chain), block: change.block }
    case 'settled':
      return {
        ...subjectOf(change, chain),
        index: change.index,
        outcome: change.outcome,
        block: change.block,
      }
    case 'judged':
      return {
        ...subjectOf(change, chain),
        index: change.index,
        verdict: change.verdict,
        reason: change.reason,
      }
    case 'unsettled':
      return { ...subjectOf(change, chain), index: change.index, block: change.block }
    case 'final':
      return { ...of(change.first, change.last), block: change.block }
    case 'logged':
      return of(change.first, change.last)
    case 'anchored': {
      const { first, last, seq, size, root, block } = change
      return { ...of(first, last), block, anchor: { seq, size, root } }
    }
    case 'rolled_back':
      return { block: change.block, block_hash: change.hash, from_block: change.from }
  }
}

/** One page of changes; with `waitMs` the answer waits that long for something to tell. Throws as {@link ChangeFeed.open} and `page`, and `BUSY`. */
export async function listChanges(
  { changes }: ServiceContext,
  query: ChangeQuery & { limit?: number | undefined },
  waitMs: number,
  signal: AbortSignal,
): Promise<ChangePage> {
  const limit = query.limit ?? DEFAULT_CHANGES
  const reader = await changes.open(query)
  const leave = waitMs > 0 ? changes.enter() : () => {}
  try {
    const end = performance.now() + waitMs
    for (;;) {
      const page = await changes.page(reader, limit, true)
      const left = end - performance.now()
      if (page.items.length > 0 || left <= 0 || signal.aborted || changes.stopping.aborted) return page
      if (page.next_cursor === page.newest) await changes.wait(reader, left, signal)
    }
  } finally {
    leave()
  }
}
