import { createHash } from 'node:crypto'
import { fromHex, type Hex, toHex } from '../core/bytes.ts'
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
  type RegisteredKey,
  type Retrieval,
  readKeys,
  readLeafPolicies,
  readSchemaBytes,
  readUnjudged,
  type Unjudged,
  writeJudgements,
} from '../graph/judgements.ts'
import { getPayload, putPayload } from '../graph/payloads.ts'
import type { SchemaFile } from '../maml/schema.ts'
import { backoffMs } from '../payload/backoff.ts'
import type { PayloadFetcher } from '../payload/fetch.ts'
import { type FetchOutcome, unavailable, type What } from '../payload/outcome.ts'
import { judgeUri } from '../payload/uri.ts'
import { type Entry, parseEntry } from '../receipt/entry.ts'
import { type Judgement, judge, readSchemaFile } from '../receipt/judge.ts'
import type { LeafPolicy } from '../receipt/policy.ts'

/** How many submissions may be sought at once. Each costs a few kilobytes, and its place for one grace at most. */
const SEARCHES = 8_192
/** Bytes of payloads that are held for their verdict, at most, but for the last one: what bounds this stage's memory. */
const HELD_BYTES = 64 << 20
/** Searches begun in one turn, and verdicts written in one transaction. */
const BATCH = 64
/** Milliseconds of checks after which a turn writes what it has: signatures are checked on the thread that serves. */
const SLICE_MS = 50
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

/** The verdict of an entry. */
type Statement = Pick<Entry, 'verdict' | 'reason' | 'observed'>

/** One submission whose payload is being sought. */
interface Search {
  due: Unjudged
  /** Null where nobody need be asked: the outcome or the URI decides. */
  uri: string | null
  /** What the log has said of it, where a restore brought that back. */
  statement: Statement | null
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
  readonly #schemas = new Map<LeafPolicy, Map<Hex, SchemaFile | null>>()
  /** Local milliseconds of the last delivery of each host. */
  readonly #delivered = new Map<string, number>()
  #held = 0
  /** Local milliseconds of the last look at what became of the submissions that are sought. */
  #lookedAt = 0

  constructor(deps: JudgeDeps) {
    this.#deps = deps
    this.#wake = deps.applied
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

  /** Gives up every running attempt; the next process begins them anew. */
  stop(): void {
    for (const id of [...this.#searches.keys()]) this.#forget(id)
  }

  /** Does what can be done now, then waits for something to change. */
  async turn(signal: AbortSignal): Promise<void> {
    const { sql, clock, judged } = this.#deps
    const position = await readPosition(sql)
    if (!position) return this.#wake.wait(POLL_MS, signal)
    const policies = await readLeafPolicies(sql)
    const policyAt = (index: number): LeafPolicy | undefined =>
      policies.find((p) => p.firstIndex <= index)?.policy
    if (clock.now() - this.#lookedAt >= POLL_MS) await this.#look()
    const begun = await this.#begin()
    const ready: { search: Search; policy: LeafPolicy }[] = []
    for (const search of this.#searches.values()) {
      const policy = policyAt(search.due.index)
      if (!policy) continue
      if (this.#isDecided(search, position, policy)) ready.push({ search, policy })
      else this.#attempt(search, isGraceOver(search.due, position, policy))
    }
    if (ready.length > 0) {
      await this.#write(await this.#judge(ready.slice(0, BATCH)))
      judged.wake()
    } else if (begun < BATCH) {
      await this.#wake.wait(this.#pause(), signal)
    }
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
    if (this.#searches.size === 0) return
    const rows = await this.#deps.sql`
      select u.id, u.settled_hash, exists (select from payload p where p.sha256 = u.payload_sha256) as stored
      from unnest(${[...this.#searches.keys()]}::bigint[]) as s(id) join submission u on u.id = s.id
      where u.verdict is null and u.index is not null`
    const alive = new Map(rows.map((row) => [row['id'] as number, row]))
    for (const [id, search] of this.#searches) {
      const row = alive.get(id)
      if (!row || toHex(row['settled_hash']) !== search.due.settledHash) this.#forget(id)
      else if (row['stored'] && this.#hasRoom()) await this.#findStored(search)
    }
  }

  async #findStored(search: Search): Promise<void> {
    if (search.uri === null || search.bytes || search.statement?.observed) return
    const bytes = await getPayload(this.#deps.sql, fromHex(search.due.payload.sha256))
    // A stored payload of another length than the one declared is not what was submitted.
    if (bytes?.length === search.due.payload.bytes) this.#hold(search, bytes)
  }

  /** Takes up settled submissions while there is room; answers how many. */
  async #begin(): Promise<number> {
    const room = Math.min(BATCH, SEARCHES - this.#searches.size)
    if (room <= 0 || !this.#hasRoom()) return 0
    const fresh = await readUnjudged(this.#deps.sql, room, [...this.#searches.keys()])
    for (const due of fresh) {
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
        abort: new AbortController(),
      }
      this.#searches.set(due.id, search)
      if (this.#hasRoom()) await this.#findStored(search)
    }
    return fresh.length
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

  #isDecided(search: Search, position: Position, policy: LeafPolicy): boolean {
    const { due, uri, statement, bytes, failure, soughtSince, late } = search
    if (uri === null || bytes) return true
    // The log has stated it before: nobody is asked again.
    if (statement?.observed) return due.settledBlock <= position.final.number
    if (!isGraceOver(due, position, policy)) return false
    if (failure && !(late && failure.retryable)) return true
    if (soughtSince === null) return false
    // Whoever starts late still asks, and again, for as long as the grace, so that reading history on a bad day gives the same
    // log; and waits longer while the host is only busy with what else we asked of it.
    const graceMs = policy.graceSeconds * 1000
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

  /** Verdicts on as many of `ready` as a slice of time allows. */
  async #judge(ready: readonly { search: Search; policy: LeafPolicy }[]): Promise<Judged[]> {
    const { sql, clock } = this.#deps
    const keysOf = await readKeys(
      sql,
      ready.map(({ search }) => search.due),
    )
    const verdicts: Judged[] = []
    const started = clock.now()
    for (const { search, policy } of ready) {
      const keys = keysOf.get(search.due.id)
      // Unsettled meanwhile: nothing that we could say would be about the chain as it is.
      if (!keys) {
        this.#forget(search.due.id)
        continue
      }
      // The owner may have put the bytes into our store, whatever the host does.
      await this.#findStored(search)
      verdicts.push(await this.#verdict(search, keys, policy))
      if (clock.now() - started >= SLICE_MS) break
    }
    return verdicts
  }

  async #verdict(search: Search, keys: readonly RegisteredKey[], policy: LeafPolicy): Promise<Judged> {
    const { mlDsa, metrics, chain } = this.#deps
    const { due, bytes, uri, statement } = search
    if (statement && !statement.observed && uri !== null && !bytes)
      return {
        submission: due,
        judgement: restoredJudgement(statement),
        restored: true,
        schema: null,
        retrieval: retrievalOf(search),
      }
    const key = keys.findLast((candidate) => candidate.keyId === due.keyId) ?? null
    const file = await this.#schema(due.schemaSha256, policy)
    const end = metrics.judgeSeconds.startTimer()
    const judgement = judge(
      {
        outcome: due.outcome,
        chain,
        contributor: due.contributor,
        sensor: due.sensor,
        dataset: due.dataset,
        payload: due.payload,
        uriRefused: due.outcome === 'validated' && uri === null,
        bytes,
        key,
        earlierKeys: earlierThan(key, keys),
        // The file below stands for the bytes.
        schema: NO_BYTES,
        submittedTime: due.submittedTime,
        policy,
      },
      { mlDsa, sha256: nativeSha256, schemaFile: () => file },
    )
    end()
    return { submission: due, judgement, restored: false, schema: file, retrieval: retrievalOf(search) }
  }

  async #schema(sha256: Hex, policy: LeafPolicy): Promise<SchemaFile | null> {
    const files = this.#schemas.get(policy) ?? new Map<Hex, SchemaFile | null>()
    this.#schemas.set(policy, files)
    const known = files.get(sha256)
    if (known !== undefined) return known
    // Anybody may register schemas; those in use are few.
    if (files.size >= 256) files.clear()
    const file = readSchemaFile(await readSchemaBytes(this.#deps.sql, sha256), policy)
    files.set(sha256, file)
    return file
  }

  async #write(verdicts: readonly Judged[]): Promise<void> {
    if (verdicts.length === 0) return
    const { sql, metrics } = this.#deps
    // Bytes first: a verdict that speaks of a payload must never be committed without it.
    for (const { submission } of verdicts) {
      const bytes = this.#searches.get(submission.id)?.bytes
      if (bytes) await putPayload(sql, fromHex(submission.payload.sha256), bytes)
    }
    const written = await writeJudgements(sql, verdicts)
    for (const { submission, judgement } of verdicts) {
      this.#forget(submission.id)
      if (written.has(submission.id))
        metrics.judged.inc({ verdict: judgement.verdict, reason: judgement.reason ?? 'none' })
    }
  }
}

/** What the log has said of a payload that was read then and is gone now. */
const restoredJudgement = ({ verdict, reason, observed }: Statement): Judgement => ({
  verdict,
  reason,
  observed,
  read: null,
  detail: 'The payload was gone when the log was restored: this is what its entry says.',
})

const NO_BYTES = new Uint8Array()

const isGraceOver = (due: Unjudged, { final }: Position, policy: LeafPolicy): boolean =>
  due.settledBlock <= final.number && final.time >= due.settledTime + policy.graceSeconds

const retrievalOf = ({ attempts, bytes, failure }: Search): Retrieval | null => {
  if (attempts === 0) return null
  if (bytes) return { attempts, what: null, detail: null }
  const { what, detail } = failure ?? SILENT
  return { attempts, what, detail }
}

const SILENT = { what: 'timeout', detail: 'The host did not answer before the grace ended.' } as const

/** Keys that the contributor had before `key`. */
const earlierThan = (key: RegisteredKey | null, keys: readonly RegisteredKey[]): Uint8Array[] =>
  key ? keys.filter((other) => other.keyIndex < key.keyIndex).map((other) => other.publicKey) : []

const nativeSha256 = (bytes: Uint8Array): Uint8Array =>
  new Uint8Array(createHash('sha256').update(bytes).digest())

const lenient = new TextDecoder('utf-8', { ignoreBOM: true })
/** The URI as text; what is not UTF-8 becomes U+FFFD, which no accepted URI holds. */
const uriText = (uri: Uint8Array): string => lenient.decode(uri)
/** Scheme and authority: whoever is asked for what a URI names. */
const hostOf = (uri: string): string => /^[^:]*:(?:\/\/[^/?#]*)?/.exec(uri)?.[0] ?? uri
