import { setTimeout as delay } from 'node:timers/promises'
import type { Config } from '../core/config.ts'
import { DunesError } from '../core/error.ts'

/** Milliseconds that one request to the API may take. */
const TIMEOUT_MS = 15_000

/** The API's address: what `apiUrl` says, else the host and port of this folder's devnet or of the settings. */
export const apiUrlOf = ({ apiUrl, host, port }: Config): string =>
  (apiUrl ?? `http://${host.includes(':') ? `[${host}]` : host}:${port}`).replace(/\/$/, '')

/** What the API answered, with its body read. */
export interface ApiAnswer {
  status: number
  headers: Headers
  body: Uint8Array
}

/**
 * Asks the API. Throws `API_UNREACHABLE` (exit code 3), and for an answer of 400 or more the problem that it carries, under its
 * own code.
 */
export async function askApi(config: Config, path: string, init: RequestInit = {}): Promise<ApiAnswer> {
  const url = `${apiUrlOf(config)}${path}`
  let answer: ApiAnswer
  try {
    const response = await fetch(url, { ...init, signal: init.signal ?? AbortSignal.timeout(TIMEOUT_MS) })
    answer = {
      status: response.status,
      headers: response.headers,
      body: new Uint8Array(await response.arrayBuffer()),
    }
  } catch (cause) {
    throw new DunesError('API_UNREACHABLE', `the API at ${new URL(url).host} does not answer`, {
      hint: 'start one with `npm start`, or name one with --api-url',
      retryable: true,
      exitCode: 3,
      cause,
    })
  }
  if (answer.status < 400) return answer
  const problem = readProblem(answer.body)
  throw new DunesError(problem.code ?? 'API_REFUSED', problem.detail ?? `the API answered ${answer.status}`, {
    ...(problem.hint ? { hint: problem.hint } : {}),
    retryable: answer.status >= 500 || answer.status === 429,
    exitCode: answer.status >= 500 ? 3 : 2,
    details: { status: answer.status, url },
  })
}

function readProblem(body: Uint8Array): { code?: string; detail?: string; hint?: string } {
  try {
    const problem: unknown = JSON.parse(new TextDecoder().decode(body))
    return typeof problem === 'object' && problem !== null ? problem : {}
  } catch {
    return {}
  }
}

/** The JSON that the API has at `path`. Throws as {@link askApi} does. */
export async function askJson<T>(config: Config, path: string): Promise<T> {
  const { body } = await askApi(config, path, { headers: { Accept: 'application/json' } })
  return JSON.parse(new TextDecoder().decode(body)) as T
}

/** Asks again every `ms` milliseconds until `look` answers something, or the signal aborts (then null). */
export async function poll<T>(
  look: () => Promise<T | null>,
  ms: number,
  signal: AbortSignal,
): Promise<T | null> {
  for (;;) {
    const value = await look()
    if (value !== null || signal.aborted) return value
    await delay(ms, undefined, { signal }).catch(() => {})
  }
}
