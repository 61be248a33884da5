import type { Clock } from '../core/clock.ts'
import { MirrorError } from './error.ts'
import type { LogSource } from './source.ts'

/** Milliseconds that one answer may take, from the request to its last byte. */
export const REQUEST_MS = 30_000
/** How often one resource is asked for while the log does not answer, and how long is waited after the first time. */
export const ATTEMPTS = 5
export const FIRST_WAIT_MS = 500

export interface HttpSourceOptions {
  clock: Clock
  signal: AbortSignal
  requestMs?: number
}

/**
 * A log served over HTTP at `url`, its prefix. Bodies are read up to their limit and no further, after decompression;
 * 429, 5xx and broken connections are tried again, with longer and longer waits. Throws `LOG_UNREACHABLE` where `url` is none.
 */
export function httpSource(
  url: string,
  { clock, signal, requestMs = REQUEST_MS }: HttpSourceOptions,
): LogSource {
  const prefix = URL.canParse(url) ? new URL(url) : null
  if (!prefix || !/^https?:$/.test(prefix.protocol) || prefix.search || prefix.hash) {
    throw new MirrorError('LOG_UNREACHABLE', 'the address of the log is not an http or https URL', {
      hint: 'give the prefix under which checkpoint and tile/ stand, e.g. https://log.example/dunes',
      exitCode: 2,
    })
  }
  const base = prefix.href.replace(/\/*$/, '/')

  const once = async (path: string, maxBytes: number): Promise<Uint8Array | null> => {
    const response = await fetch(base + path, {
      signal: AbortSignal.any([signal, AbortSignal.timeout(requestMs)]),
      headers: { 'Accept-Encoding': 'gzip, identity' },
    })
    if (response.status === 200) return readBody(response, path, maxBytes)
    await response.body?.cancel()
    if (response.status === 404 || response.status === 410) return null
    throw new MirrorError('LOG_UNREACHABLE', `${base}${path} answers ${response.status}`, {
      hint: 'check the address, or try again later',
      retryable: response.status === 429 || response.status >= 500,
      exitCode: 3,
    })
  }
  return {
    name: base,
    async read(path, maxBytes) {
      for (let attempt = 1; ; attempt++) {
        try {
          return await once(path, maxBytes)
        } catch (error) {
          const known = error instanceof MirrorError ? error : unreachable(base, error)
          if (!known.retryable || attempt === ATTEMPTS || signal.aborted) throw known
          await clock.sleep(FIRST_WAIT_MS * 2 ** (attempt - 1), signal)
        }
      }
    },
  }
}

const unreachable = (base: string, cause: unknown): MirrorError =>
  new MirrorError('LOG_UNREACHABLE', `the log at ${base} does not answer`, {
    hint: 'check the address and the network; what was checked so far is kept',
    retryable: true,
    exitCode: 3,
    cause,
  })

async function readBody(response: Response, path: string, maxBytes: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of response.body ?? []) {
    length += chunk.length
    // Leaving the loop cancels the body, so nothing more is received.
    if (length > maxBytes) {
      throw new MirrorError('RESOURCE_TOO_LARGE', `${path} has more than ${maxBytes} bytes`, {
        hint: 'no such resource of a log is that long: check the address',
      })
    }
    chunks.push(chunk)
  }
  const out = new Uint8Array(length)
  let at = 0
  for (const chunk of chunks) {
    out.set(chunk, at)
    at += chunk.length
  }
  return out
}
