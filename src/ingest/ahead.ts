import type { ChainBlock } from '../chain/source.ts'
import { type Hex, toHex } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import type { Sql } from '../graph/connect.ts'
import type { FetchRequest, PayloadFetcher } from '../payload/fetch.ts'
import type { FetchOutcome } from '../payload/outcome.ts'
import { judgeUri, uriText } from '../payload/uri.ts'

/** Payloads that are fetched ahead at once, at most. More come together only where latency matters less than throughput. */
const AHEAD = 16
/** Larger ones are not worth their memory here. */
const MAX_BYTES = 256 << 10
/** Milliseconds after which nobody asks for one any more: its settlement was not written. */
const FORGOTTEN_MS = 10_000

/** An attempt that has begun and that nobody has asked for. */
interface Begun {
  readonly outcome: Promise<FetchOutcome>
  readonly abort: AbortController
  readonly since: number
}

export interface FetchAheadDeps {
  sql: Sql
  fetcher: PayloadFetcher
  clock: Clock
}

/**
 * A fetcher that begins while the settlements that will ask for payloads are still being written, so that a live submission waits for the
 * longer of the two and not for both. Whoever asks for what was begun takes it over; all else goes to the fetcher below.
 */
export class FetchAhead implements PayloadFetcher {
  readonly #deps: FetchAheadDeps
  /** By what was asked for: another payload of the same submission, as after a reorganisation, is another attempt. */
  readonly #begun = new Map<string, Begun>()
  /** What was asked for while payloads were being looked up: whoever was faster needs no second attempt. */
  readonly #asked = new Set<string>()
  #looks = 0
  #stopped = false

  constructor(deps: FetchAheadDeps) {
    this.#deps = deps
  }

  /** Tells of blocks that are about to be applied; answers at once. What the same blocks submit is not worth a look. */
  expect(blocks: readonly ChainBlock[]): void {
    const ids = blocks.flatMap(({ events }) =>
      events.flatMap((e) => (e.type === 'settled' && e.outcome === 'validated' ? [e.id] : [])),
    )
    this.#forgetOld()
    if (ids.length === 0 || ids.length + this.#begun.size > AHEAD) return
    this.#looks++
    this.#read(ids)
      .then(
        (wanted) => {
          for (const one of wanted) if (!this.#asked.has(keyOf(one))) this.#begin(one)
        },
        // The stages find out for themselves that the database is away.
        () => {},
      )
      .finally(() => {
        if (--this.#looks === 0) this.#asked.clear()
      })
  }

  fetch(request: FetchRequest): Promise<FetchOutcome> {
    const key = keyOf(request)
    if (this.#looks > 0) this.#asked.add(key)
    const begun = this.#begun.get(key)
    if (!begun) return this.#deps.fetcher.fetch(request)
    this.#begun.delete(key)
    const { signal } = request
    if (signal?.aborted) begun.abort.abort()
    else signal?.addEventListener('abort', () => begun.abort.abort(), { once: true })
    return begun.outcome
  }

  /** Gives up what nobody has taken; nothing is begun any more. */
  stop(): void {
    this.#stopped = true
    for (const { abort } of this.#begun.values()) abort.abort()
    this.#begun.clear()
  }

  async #read(ids: readonly Hex[]): Promise<FetchRequest[]> {
    const rows = await this.#deps.sql`
      select u.payload_sha256, u.payload_bytes, u.uri
      from unnest(${ids.map((id) => id.slice(2))}::text[]) as e(id) join submission u on u.submission_id = decode(e.id, 'hex')
      where not exists (select from payload p where p.sha256 = u.payload_sha256)`
    return rows.map((row) => ({
      sha256: new Uint8Array(row['payload_sha256']),
      bytes: row['payload_bytes'],
      uri: uriText(row['uri']),
    }))
  }

  #begin(wanted: FetchRequest): void {
    const key = keyOf(wanted)
    if (this.#stopped || this.#begun.size >= AHEAD || this.#begun.has(key)) return
    if (wanted.bytes > MAX_BYTES || judgeUri(wanted.uri) !== null) return
    const abort = new AbortController()
    const outcome = this.#deps.fetcher.fetch({ ...wanted, signal: abort.signal })
    // Whoever takes it over hears of it.
    outcome.catch(() => {})
    this.#begun.set(key, { outcome, abort, since: this.#deps.clock.now() })
  }

  #forgetOld(): void {
    const oldest = this.#deps.clock.now() - FORGOTTEN_MS
    for (const [key, { since, abort }] of this.#begun) {
      if (since > oldest) return
      abort.abort()
      this.#begun.delete(key)
    }
  }
}

const keyOf = ({ uri, sha256, bytes }: FetchRequest): string => `${toHex(sha256)} ${bytes} ${uri}`
