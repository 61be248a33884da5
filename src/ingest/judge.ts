import { createHash } from 'node:crypto'
import type { Hex } from '../core/bytes.ts'
import { fromHex } from '../core/bytes.ts'
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
  readKeys,
  readLeafPolicies,
  readSchemaBytes,
  readUnjudged,
  type Unjudged,
  writeJudgements,
  writeRetrievals,
} from '../graph/judgements.ts'
import { getPayload, putPayload } from '../graph/payloads.ts'
import type { SchemaFile } from '../maml/schema.ts'
import { backoffMs } from '../payload/backoff.ts'
import type { PayloadFetcher } from '../payload/fetch.ts'
import type { FetchOutcome, What } from '../payload/outcome.ts'
import { judgeUri } from '../payload/uri.ts'
import { judge, readSchemaFile } from '../receipt/judge.ts'
import type { LeafPolicy } from '../receipt/policy.ts'

/** How many submissions may be sought and checked at once: what bounds this stage's memory (1 MiB each at most). */
const WINDOW = 256
/** Verdicts written in one transaction. */
const BATCH = 64
/** How often this stage looks for work that nobody woke it for, in milliseconds. */
const POLL_MS = 500

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
interface Search {
  due: Unjudged
  attempts: number
  /** Local milliseconds when the first attempt was asked for; null before it. */
  soughtSince: number | null
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
 * policy's grace has passed in final chain time, and an attempt of ours has failed or lasted for that long.
 */
export class JudgeStage {
  readonly #deps: JudgeDeps
  readonly #searches = new Map<number, Search>()
  /** Wakes the turn when an attempt ends. */
  readonly #wake: Wake
  readonly #schemas = new Map<Hex, SchemaFile | null>()

  constructor(deps: JudgeDeps) {
    this.#deps = deps
    this.#wake = deps.applied
  }

  /** How many payloads are being sought now. */
  get depth(): number {
    return this.#searches.size
  }

  /** Gives up every running attempt; the next process begins them anew. */
  stop(): void {
    for (const search of this.#searches.values()) search.abort.abort()
    this.#searches.clear()
  }

  /** Does what can be done now, then waits for something to change. */
  async turn(signal: AbortSignal): Promise<void> {
    const { sql, clock, judged } = this.#deps
    const position = await readPosition(sql)
    const verdicts: Judged[] = []
    if (position) {
      const policies = await readLeafPolicies(sql)
      const policyAt = (index: number): LeafPolicy | undefined =>
        policies.find((p) => p.firstIndex <= index)?.policy
      await this.#dropStale()
      const room = WINDOW - this.#searches.size
      const fresh = room > 0 ? await readUnjudged(sql, room, [...this.#searches.keys()]) : []
      for (const due of fresh) {
        const policy = policyAt(due.index)
        if (policy) await this.#begin(due)
      }
      const ready = [...this.#searches.values()].filter((search) =>
        this.#isDecided(search, position, policyAt(search.due.index)),
      )
      for (const search of ready.slice(0, BATCH)) {
        verdicts.push(await this.#judge(search, policyAt(search.due.index) as LeafPolicy))
      }
      this.#attempt()
    }
    if (verdicts.length > 0) {
      await this.#write(verdicts)
      judged.wake()
      return
    }
    const next = Math.min(...[...this.#searches.values()].map((s) => (s.running ? Infinity : s.nextAt)))
    const pause = Math.min(POLL_MS, Math.max(5, next - clock.now()))
    await this.#wake.wait(pause, signal)
  }

  /** Forgets submissions that a reorganisation unsettled while they were sought. */
  async #dropStale(): Promise<void> {
    if (this.#searches.size === 0) return
    const rows = await this.#deps.sql`
      select id, settled_hash from submission
      where id = any(${[...this.#searches.keys()]}::bigint[]) and verdict is null and index is not null`
    const alive = new Map(
      rows.map((row) => [row['id'] as number, Buffer.from(row['settled_hash']).toString('hex')]),
    )
    for (const [id, search] of this.#searches) {
      if (alive.get(id) === search.due.settledHash.slice(2)) continue
      search.abort.abort()
      this.#searches.delete(id)
    }
  }

  async #begin(due: Unjudged): Promise<void> {
    const search: Search = {
      due,
      attempts: 0,
      soughtSince: null,
      running: false,
      nextAt: 0,
      failure: null,
      bytes: null,
      abort: new AbortController(),
    }
    if (due.outcome === 'validated')
      search.bytes = await getPayload(this.#deps.sql, fromHex(due.payload.sha256))
    // A stored payload of another length than the one declared is not what was submitted.
    if (search.bytes && search.bytes.length !== due.payload.bytes) search.bytes = null
    this.#searches.set(due.id, search)
  }

  #isDecided(
    { due, bytes, failure, soughtSince }: Search,
    position: Position,
    policy: LeafPolicy | undefined,
  ): boolean {
    if (!policy) return false
    if (due.outcome !== 'validated' || isRefused(due.uri) || bytes) return true
    if (due.settledBlock > position.final.number) return false
    if (position.final.time < due.settledTime + policy.graceSeconds) return false
    // Whoever starts late still asks, and waits for an answer for as long as the grace.
    return (
      failure !== null ||
      (soughtSince !== null && this.#deps.clock.now() - soughtSince >= policy.graceSeconds * 1000)
    )
  }

  /** Starts attempts that are due. The fetcher itself bounds how many run at once, per host and in all. */
  #attempt(): void {
    const { fetcher, clock, metrics } = this.#deps
    const now = clock.now()
    for (const search of this.#searches.values()) {
      const { due } = search
      if (search.bytes || search.running || search.nextAt > now) continue
      if (due.outcome !== 'validated' || isRefused(due.uri)) continue
      search.soughtSince ??= now
      search.running = true
      search.attempts++
      fetcher
        .fetch({
          uri: uriText(due.uri),
          sha256: fromHex(due.payload.sha256),
          bytes: due.payload.bytes,
          signal: search.abort.signal,
        })
        .then(
          (outcome) => this.#settle(search, outcome),
          (error: unknown) =>
            this.#settle(search, {
              kind: 'unavailable',
              what: 'aborted',
              detail: describeError(error),
              retryable: true,
            }),
        )
        .finally(() => metrics.fetches.inc({ outcome: search.failure?.what ?? 'bytes' }))
    }
  }

  #settle(search: Search, outcome: FetchOutcome): void {
    search.running = false
    if (outcome.kind === 'bytes') {
      search.bytes = outcome.bytes
      search.failure = null
    } else {
      if (outcome.what !== 'busy' && outcome.what !== 'aborted') search.failure = outcome
      const pause = outcome.retryable ? backoffMs(search.attempts - 1, search.due.id) : 60_000
      search.nextAt = this.#deps.clock.now() + pause
    }
    this.#wake.wake()
  }

  async #judge({ due, bytes }: Search, policy: LeafPolicy): Promise<Judged> {
    const { sql, mlDsa, metrics, chain } = this.#deps
    const keys = (await readKeys(sql, [due.contributorId])).get(due.contributorId) ?? []
    const key = keys.findLast((candidate) => candidate.keyId === due.keyId) ?? null
    const schema = await this.#schema(due.schemaSha256, policy)
    const end = metrics.judgeSeconds.startTimer()
    const judgement = judge(
      {
        outcome: due.outcome,
        chain,
        contributor: due.contributor,
        sensor: due.sensor,
        dataset: due.dataset,
        payload: due.payload,
        uriRefused: isRefused(due.uri),
        bytes,
        key,
        earlierKeys: earlierThan(key, keys),
        schema: schema.bytes,
        submittedTime: due.submittedTime,
        policy,
      },
      { mlDsa, sha256: nativeSha256, schemaFile: () => schema.file },
    )
    end()
    return { submission: due, judgement }
  }

  async #schema(sha256: Hex, policy: LeafPolicy): Promise<{ bytes: Uint8Array; file: SchemaFile | null }> {
    const known = this.#schemas.get(sha256)
    if (known !== undefined) return { bytes: new Uint8Array(), file: known }
    const bytes = await readSchemaBytes(this.#deps.sql, sha256)
    const file = readSchemaFile(bytes, policy)
    this.#schemas.set(sha256, file)
    return { bytes, file }
  }

  async #write(verdicts: readonly Judged[]): Promise<void> {
    const { sql, metrics } = this.#deps
    const searches = verdicts.map(({ submission }) => this.#searches.get(submission.id) as Search)
    // Bytes first: a verdict that speaks of a payload must never be committed without it.
    for (const { bytes, due } of searches)
      if (bytes) await putPayload(sql, fromHex(due.payload.sha256), bytes)
    const written = await writeJudgements(sql, verdicts)
    await writeRetrievals(
      sql,
      searches
        .filter((search) => search.attempts > 0)
        .map(({ due, attempts, bytes, failure }) => ({
          submission: due.id,
          attempts,
          what: bytes ? null : (failure?.what ?? 'timeout'),
          detail: bytes ? null : (failure?.detail ?? 'The host did not answer before the grace ended.'),
        })),
    )
    for (const { submission, judgement } of verdicts) {
      this.#searches.get(submission.id)?.abort.abort()
      this.#searches.delete(submission.id)
      if (written.has(submission.id))
        metrics.judged.inc({ verdict: judgement.verdict, reason: judgement.reason ?? 'none' })
    }
  }
}

/** Keys that the contributor had before `key`. */
const earlierThan = (key: RegisteredKey | null, keys: readonly RegisteredKey[]): Uint8Array[] =>
  key ? keys.filter((other) => other.keyIndex < key.keyIndex).map((other) => other.publicKey) : []

const nativeSha256 = (bytes: Uint8Array): Uint8Array =>
  new Uint8Array(createHash('sha256').update(bytes).digest())

const lenient = new TextDecoder('utf-8', { ignoreBOM: true })
/** The URI as text; what is not UTF-8 becomes U+FFFD, which no accepted URI holds. */
const uriText = (uri: Uint8Array): string => lenient.decode(uri)
const isRefused = (uri: Uint8Array): boolean => judgeUri(uriText(uri)) !== null
