import { setImmediate } from 'node:timers/promises'
import { fromHex, toHex } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import { describeError } from '../core/error.ts'
import type { Logger } from '../core/logger.ts'
import type { Metrics } from '../core/metrics.ts'
import type { MlDsa } from '../core/ml-dsa.ts'
import type { Wake } from '../core/wake.ts'
import type { Sql } from '../graph/connect.ts'
import { type Position, readPosition } from '../graph/cursor.ts'
import {
  type Judged,
  type Retrieval,
  readUnjudged,
  type Unjudged,
  writeJudgements,
} from '../graph/judgements.ts'
import { readPayloadsOf } from '../graph/payloads.ts'
import { backoffMs } from '../payload/backoff.ts'
import type { PayloadFetcher } from '../payload/fetch.ts'
import { type FetchOutcome, unavailable, type What } from '../payload/outcome.ts'
import { judgeUri, uriText } from '../payload/uri.ts'
import { parseEntry } from '../receipt/entry.ts'
import { type Decided, type Found, Verdicts } from './verdicts.ts'

/** How many submissions may be sought at once. Each costs a few kilobytes, and its place for one grace at most. */
const SEARCHES = 8_192
/** Bytes of payloads that are held for their verdict, at most, but for the last one: what bounds this stage's memory. */
const HELD_BYTES = 64 << 20
/** Searches begun in one turn, and verdicts written in one transaction, at most. */
const BATCH = 256
/** No more searches are begun while so many payloads wait for their verdict: more in hand would only take memory. */
const AT_HAND = 2 * BATCH
/** How often this stage looks for work that nobody woke it for, in milliseconds. */
const POLL_MS = 500
/** Hosts whose last delivery is remembered. */
const HOSTS = 4_096
/** Graces for which a late search waits, at most, while its host delivers to others. */
const LATE_GRACES = 12

export interface JudgeDeps {
  chain: string
  sql: Sql
  fetcher: PayloadFetcher
  mlDsa: MlDsa
  clock: Clock
  logger: Logger
  metrics: Metrics
  /** Woken by the first stage. */
  applied: Wake
  /** Woken when verdicts were written. */
  judged: Wake
}

/** One submission whose payload is being sought. */
interface Search extends Decided {
  attempts: number
  /** Local milliseconds when the first attempt was asked for; null before it. */
  soughtSince: number | null
  /** Whether its grace had passed when it was first sought, as when history is read. */
  late: boolean
  running: boolean
  /** Local milliseconds before which no further attempt begins. */
  nextAt: number
  /** The last failure that says something of the host; one that only made room for others does not. */
  failure: { what: What; detail: string; retryable: boolean } | null
  /** The bytes, once obtained. */
  bytes: Uint8Array | null
  /** Whether those are in our store already. */
  isStored: boolean
  /** Whether its verdict is being found or written. */
  taken: boolean
  abort: AbortController
}

/**
 * The second stage: obtains the payload of every settled submission and judges it. Submissions are sought side by side,
 * so that a host that hangs holds up nobody else's. `PAYLOAD_UNAVAILABLE` is said only when the settling block is final, the
 * policy's grace has passed in final chain time, an attempt of ours has failed or lasted for that long, and our own
 * store does not hold the bytes either.
 */
export class JudgeStage {
  readonly #deps: JudgeDeps
  readonly #searches = new Map<number, Search>()
  /** Wakes the turn when an attempt ends. */
  readonly #wake: Wake
  readonly #verdicts: Verdicts
  /** Local milliseconds of the last delivery of each host. */
  readonly #delivered = new Map<string, number>()
  #held = 0
  /** Local milliseconds of the last look at what became of the submissions that are sought. */
  #lookedAt = 0
  /** Whether a batch could not be judged: also those whose bytes are here are then held against history. */
  #doubtful = false
  /** Every unjudged submission below this index is being sought; 0 after a look, as history may have changed. */
  #soughtUpTo = 0
  /** The batch whose verdicts are being written while the next one is judged. */
  #writing: Promise<void> = Promise.resolve()

  constructor(deps: JudgeDeps) {
    this.#deps = deps
    this.#wake = deps.applied
    this.#verdicts = new Verdicts(deps)
  }

  /** How many payloads are being sought now. */
  get depth(): number {
    return this.#searches.size
  }

  /** Bytes of payloads that wait for their verdict. */
  get held(): number {
    return this.#held
  }

  /** Looks into the payload store again at once. */
  payloadStored(): void {
    this.#lookedAt = 0
    this.#wake.wake()
  }

  /** Gives up every running attempt, which the next process begins anew, and waits for what is being written. */
  async stop(): Promise<void> {
    await this.#writing.catch(() => {})
    for (const id of [...this.#searches.keys()]) this.#forget(id)
  }

  /** Does what can be done now, then waits for something to change. */
  async turn(signal: AbortSignal): Promise<void> {
    const looking = this.#deps.clock.now() - this.#lookedAt >= POLL_MS
    if (looking) await this.#look()
    // The next submissions are read, and their payloads, while those before are judged.
    const beginning = this.#begin()
    const [begun, judged] = await Promise.allSettled([beginning, this.#judgeReady(beginning)])
    if (begun.status === 'rejected') throw begun.reason
    if (judged.status === 'rejected') {
      // History may have taken away what was to be judged: found out before it is tried again.
      this.#doubtful = true
      this.#lookedAt = 0
      throw judged.reason
    }
    // More is at hand: what is being written is waited for when the next batch is to be.
    if (judged.value === BATCH || begun.value > 0) return
    await this.#written()
    if (judged.value === 0) await this.#wake.wait(this.#pause(), signal)
  }

  /** Judges what can be judged by now, a batch at most, and seeks the rest; answers how many it judged. */
  async #judgeReady(beginning: Promise<unknown>): Promise<number> {
    const position = await readPosition(this.#deps.sql)
    if (!position) return 0
    // Without any at hand there is nothing to do meanwhile.
    if (this.#searches.size === 0) await beginning
    const open = [...this.#searches.values()].filter(({ taken }) => !taken)
    const undecided = open.filter((search) => !this.#isDecided(search, position))
    for (const search of undecided) this.#attempt(search, isGraceOver(search.due, position))
    // What was fetched ahead is there a moment later.
    if (undecided.length > 0) await setImmediate()
    const ready = open.filter((search) => this.#isDecided(search, position)).slice(0, BATCH)
    if (ready.length > 0) await this.#judgeAndWrite(ready)
    return ready.length
  }

  /** Until the next attempt is due, at most one poll. */
  #pause(): number {
    let next = POLL_MS
    const now = this.#deps.clock.now()
    for (const { running, nextAt } of this.#searches.values())
      if (!running && nextAt > now) next = Math.min(next, nextAt - now)
    return Math.max(5, next)
  }

  /** Forgets submissions that a reorganisation unsettled while they were sought, and finds payloads that were stored meanwhile. */
  async #look(): Promise<void> {
    this.#lookedAt = this.#deps.clock.now()
    this.#soughtUpTo = 0
    // The others are judged as they are; what is no longer true is not written.
    const waiting = [...this.#searches.values()].filter(
      ({ taken, bytes }) => !taken && (bytes === null || this.#doubtful),
    )
    if (waiting.length === 0) return
    const rows = await this.#deps.sql`
      select u.id, u.settled_hash, exists (select from payload p where p.sha256 = u.payload_sha256) as stored
      from unnest(${waiting.map(({ due }) => due.id)}::bigint[]) as s(id) join submission u on u.id = s.id
      where u.verdict is null and u.index is not null`
    const alive = new Map(rows.map((row) => [row['id'] as number, row]))
    const found: Search[] = []
    for (const search of waiting) {
      const row = alive.get(search.due.id)
      if (!row || toHex(row['settled_hash']) !== search.due.settledHash) this.#forget(search.due.id)
      else if (row['stored']) found.push(search)
    }
    this.#doubtful = false
    await this.#findStored(found)
  }

  /** Takes the bytes of these from our store, where they are there and as long as declared, as far as there is room. */
  async #findStored(searches: readonly Search[]): Promise<void> {
    let room = HELD_BYTES - this.#held
    const wanted = searches.filter(({ uri, statement, bytes, due }) => {
      if (uri === null || bytes || statement?.observed || room <= 0) return false
      room -= due.payload.bytes
      return true
    })
    if (wanted.length === 0) return
    const stored = await readPayloadsOf(
      this.#deps.sql,
      wanted.map(({ due }) => due.id),
    )
    for (const search of wanted) {
      const bytes = stored.get(search.due.id)
      if (!bytes) continue
      this.#hold(search, bytes)
      search.isStored = search.bytes === bytes
    }
  }

  /** Takes up settled submissions while there is room for their payloads; answers how many. */
  async #begin(): Promise<number> {
    const places = Math.min(BATCH, SEARCHES - this.#searches.size)
    if (places <= 0 || !this.#hasRoom() || this.#atHand() >= AT_HAND) return 0
    const from = this.#soughtUpTo
    // Above what was taken up in order there is nothing to be left out.
    const skip = from === 0 ? [...this.#searches.keys()] : []
    const fresh = await readUnjudged(this.#deps.sql, places, skip, from)
    // Unless it was found meanwhile that history has changed.
    const last = fresh.at(-1)
    if (last && this.#soughtUpTo === from) this.#soughtUpTo = last.index + 1
    const begun: Search[] = []
    for (const due of fresh) {
      if (this.#searches.has(due.id)) continue
      const text = uriText(due.uri)
      const search: Search = {
        due,
        uri: due.outcome === 'validated' && judgeUri(text) === null ? text : null,
        statement: due.restored && parseEntry(due.restored).entry,
        attempts: 0,
        soughtSince: null,
        late: false,
        running: false,
        nextAt: 0,
        failure: null,
        bytes: null,
        isStored: false,
        taken: false,
        abort: new AbortController(),
      }
      this.#searches.set(due.id, search)
      begun.push(search)
    }
    await this.#findStored(begun.filter(({ due }) => due.isStored))
    return begun.length
  }

  /** Payloads that are here and that nobody judges yet. */
  #atHand(): number {
    let count = 0
    for (const { bytes, taken } of this.#searches.values()) if (bytes && !taken) count++
    return count
  }

  #hasRoom(): boolean {
    return this.#held < HELD_BYTES
  }

  #hold(search: Search, bytes: Uint8Array): void {
    if (search.bytes || this.#searches.get(search.due.id) !== search) return
    search.bytes = bytes
    search.failure = null
    this.#held += bytes.length
  }

  #forget(id: number): void {
    const search = this.#searches.get(id)
    if (!search) return
    this.#searches.delete(id)
    this.#held -= search.bytes?.length ?? 0
    search.abort.abort()
  }

  #isDecided(search: Search, position: Position): boolean {
    const { due, uri, statement, bytes, failure, soughtSince, late } = search
    if (uri === null || bytes) return true
    // The log has stated it before: nobody is asked again.
    if (statement?.observed) return due.settledBlock <= position.final.number
    if (!isGraceOver(due, position)) return false
    if (failure && !(late && failure.retryable)) return true
    if (soughtSince === null) return false
    // Whoever starts late still asks, and again, for as long as the grace, so that reading history on a bad day gives the same
    // log; and waits longer while the host is only busy with what else we asked of it.
    const graceMs = due.policy.graceSeconds * 1000
    const lasted = this.#deps.clock.now() - soughtSince
    if (failure) return lasted >= graceMs
    const delivers = late && (this.#delivered.get(hostOf(uri)) ?? 0) >= soughtSince
    return lasted >= (delivers ? LATE_GRACES * graceMs : graceMs)
  }

  /** Starts an attempt if one is due. The fetcher itself bounds how many run at once, per host and in all. */
  #attempt(search: Search, graceOver: boolean): void {
    const { fetcher, clock, metrics } = this.#deps
    const now = clock.now()
    const { due, uri } = search
    if (uri === null || search.running || search.nextAt > now || !this.#hasRoom()) return
    if (search.statement?.observed) return
    if (search.soughtSince === null) {
      search.soughtSince = now
      search.late = graceOver
    }
    search.running = true
    search.attempts++
    fetcher
      .fetch({
        uri,
        sha256: fromHex(due.payload.sha256),
        bytes: due.payload.bytes,
        signal: search.abort.signal,
      })
      .catch((error: unknown) => unavailable('aborted', describeError(error), true))
      .then((outcome) => {
        metrics.fetches.inc({ outcome: outcome.kind === 'bytes' ? 'bytes' : outcome.what })
        this.#settle(search, uri, outcome)
      })
  }

  #settle(search: Search, uri: string, outcome: FetchOutcome): void {
    const now = this.#deps.clock.now()
    search.running = false
    if (outcome.kind === 'bytes') {
      if (this.#delivered.size >= HOSTS) this.#delivered.clear()
      this.#delivered.set(hostOf(uri), now)
      if (this.#hasRoom()) this.#hold(search, outcome.bytes)
      else {
        // Asked for again when others have made room. What was there a moment ago is not unavailable.
        search.failure = search.soughtSince = null
        search.nextAt = now + POLL_MS
      }
    } else {
      if (outcome.what !== 'busy' && outcome.what !== 'aborted') search.failure = outcome
      const pause = outcome.retryable ? backoffMs(search.attempts - 1, search.due.id) : 60_000
      search.nextAt = now + pause
    }
    this.#wake.wake()
  }

  /** Finds verdicts on as many of `ready` as a slice of time allows, and begins to write them once those before are written. */
  async #judgeAndWrite(ready: readonly Search[]): Promise<void> {
    const taken = ready.slice(0, BATCH)
    for (const search of taken) search.taken = true
    try {
      // The owners may have put bytes into our store, whatever the hosts do.
      await this.#findStored(taken)
      const { found, left } = await this.#verdicts.find(taken)
      for (const search of left) search.taken = false
      await this.#written()
      this.#writing = this.#write(found)
      // Whoever waits for it next is told.
      this.#writing.catch(() => {})
    } catch (error) {
      for (const search of taken) search.taken = false
      throw error
    }
  }

  /** Waits for what is being written. A failure is told once: who comes next begins anew. */
  async #written(): Promise<void> {
    const writing = this.#writing
    try {
      await writing
    } finally {
      if (this.#writing === writing) this.#writing = Promise.resolve()
    }
  }

  async #write(found: readonly Found<Search>[]): Promise<void> {
    if (found.length === 0) return
    const { sql, metrics, judged } = this.#deps
    try {
      const verdicts = found.map(
        ({ of: search, bytes, judgement, restored, schema }): Judged => ({
          submission: search.due,
          judgement,
          restored,
          schema,
          retrieval: retrievalOf(search, bytes),
          bytes: search.isStored ? null : bytes,
        }),
      )
      const written = await writeJudgements(sql, verdicts)
      for (const { of: search, judgement } of found) {
        this.#forget(search.due.id)
        if (written.has(search.due.id))
          metrics.judged.inc({ verdict: judgement.verdict, reason: judgement.reason ?? 'none' })
        // Unsettled or settled anew meanwhile: looked for once more, wherever it stands now.
        else this.#soughtUpTo = 0
      }
      judged.wake()
    } finally {
      for (const { of: search } of found) search.taken = false
    }
  }
}

const isGraceOver = (due: Unjudged, { final }: Position): boolean =>
  due.settledBlock <= final.number && final.time >= due.settledTime + due.policy.graceSeconds

const retrievalOf = ({ attempts, failure }: Search, bytes: Uint8Array | null): Retrieval | null => {
  if (attempts === 0) return null
  if (bytes) return { attempts, what: null, detail: null }
  const { what, detail } = failure ?? SILENT
  return { attempts, what, detail }
}

const SILENT = { what: 'timeout', detail: 'The host did not answer before the grace ended.' } as const

/** Scheme and authority: whoever is asked for what a URI names. */
const hostOf = (uri: string): string => /^[^:]*:(?:\/\/[^/?#]*)?/.exec(uri)?.[0] ?? uri
