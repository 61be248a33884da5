import { hash } from 'node:crypto'
import { equalBytes } from '../core/bytes.ts'
import { type Clock, systemClock } from '../core/clock.ts'
import { Attempt, orAbort } from './attempt.ts'
import { readFileUri } from './file.ts'
import { type HttpContext, httpGet } from './http.ts'
import { fetchIpfs } from './ipfs.ts'
import { type FetchOutcome, outcomeOfAbort, unavailable } from './outcome.ts'
import { createResolve, type Resolve } from './resolve.ts'
import { checkSettings, MAX_PAYLOAD_BYTES, type PayloadSettings } from './settings.ts'
import { createTurns } from './turns.ts'
import { parseUri, type UriParts } from './uri.ts'

export interface FetchRequest {
  /** As on the chain. */
  uri: string
  /** The submitted SHA-256; 32 bytes. */
  sha256: Uint8Array
  /** The submitted length in bytes. */
  bytes: number
  /** Gives the attempt up; its outcome is then `aborted`. */
  signal?: AbortSignal | undefined
}

export interface PayloadFetcher {
  /**
   * One attempt to obtain the payload of a submission. Gives bytes only with exactly the submitted hash and length.
   * Whatever a URI, a name server or a host does, it never rejects, reads at most one byte more than submitted, and ends
   * within the set time from its first connection (waiting for a place does not count; `signal` bounds that).
   */
  fetch(request: FetchRequest): Promise<FetchOutcome>
}

export interface PayloadDeps {
  /** Default the system's. */
  clock?: Clock
  /** Default: asks the system's name servers. */
  resolve?: Resolve
  /** One line for each attempt; a pino logger fits. */
  logger?: { debug(fields: Readonly<Record<string, unknown>>, message: string): void }
}

/**
 * A fetcher of payloads by URI, with places and fair turns of its own: make one for the process. Throws
 * `PAYLOAD_SETTINGS` on settings that make no sense.
 */
export function createPayloadFetcher(
  given: Partial<PayloadSettings> = {},
  deps: PayloadDeps = {},
): PayloadFetcher {
  const settings = checkSettings(given)
  const clock = deps.clock ?? systemClock
  const context: HttpContext = {
    settings,
    clock,
    turns: createTurns(settings, clock),
    resolve: deps.resolve ?? createResolve(),
  }

  const obtain = async (uri: UriParts, bytes: number, attempt: Attempt): Promise<FetchOutcome> => {
    if (uri.scheme === 'ipfs') return fetchIpfs(context, uri, bytes, attempt)
    if (uri.scheme === 'file') return readInTurn(context, uri, bytes, attempt)
    return httpGet(context, uri, { maxBytes: bytes, exact: true, accept: '*/*' }, attempt)
  }

  return {
    fetch: async ({ uri, sha256, bytes, signal }) => {
      const parts = parseUri(uri)
      if (typeof parts === 'string') return unavailable('uri', parts, false)
      if (bytes > MAX_PAYLOAD_BYTES)
        return unavailable('too-long', `A payload has at most ${MAX_PAYLOAD_BYTES} bytes.`, false)
      const began = clock.now()
      const attempt = new Attempt(clock, signal)
      try {
        const obtained = await obtain(parts, bytes, attempt)
        const outcome = obtained.kind === 'bytes' ? check(obtained.bytes, sha256, bytes, parts) : obtained
        const what = outcome.kind === 'bytes' ? 'bytes' : outcome.what
        deps.logger?.debug({ uri, what, duration: clock.now() - began }, 'Fetched a payload')
        return outcome
      } finally {
        attempt.close()
      }
    },
  }
}

/** The bytes only if they are what was submitted. What a CID names never changes, so there a retry is pointless. */
function check(obtained: Uint8Array, sha256: Uint8Array, bytes: number, uri: UriParts): FetchOutcome {
  const mayMend = uri.scheme !== 'ipfs'
  if (obtained.length < bytes)
    return unavailable('too-short', `The content has fewer than ${bytes} bytes.`, mayMend)
  if (obtained.length > bytes)
    return unavailable('too-long', `The content has more than ${bytes} bytes.`, mayMend)
  if (!equalBytes(hash('sha256', obtained, 'buffer'), sha256))
    return unavailable('hash', 'The bytes do not have the submitted hash.', mayMend)
  return { kind: 'bytes', bytes: obtained }
}

/** Reads a file under the same limits as a host's connections: a network folder can hang like any host. */
async function readInTurn(
  context: HttpContext,
  uri: UriParts,
  bytes: number,
  attempt: Attempt,
): Promise<FetchOutcome> {
  const { settings, turns, clock } = context
  const turn = await turns.acquire('file:', attempt.signal)
  if (turn === null) return outcomeOfAbort(attempt.signal)
  const reading = new Attempt(clock, attempt.signal, turn.evicted)
  reading.deadline(settings.totalMs, unavailable('timeout', `Not done within ${settings.totalMs} ms.`, true))
  try {
    const { signal } = reading
    return await orAbort(readFileUri(uri, settings.allowFile, bytes), signal, () => outcomeOfAbort(signal))
  } finally {
    reading.close()
    turn.release(!reading.signal.aborted)
  }
}
