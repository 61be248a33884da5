import { setTimeout as delay } from 'node:timers/promises'
import { type Client, createClient } from '../client/client.ts'
import type { Config } from '../core/config.ts'

/** The API's address: what `apiUrl` says, else the host and port of this folder's devnet or of the settings. */
export const apiUrlOf = ({ apiUrl, host, port }: Config): string =>
  (apiUrl ?? `http://${host.includes(':') ? `[${host}]` : host}:${port}`).replace(/\/$/, '')

/** A client of that API: its calls throw `API_UNREACHABLE` (exit code 3), and what the API refuses under the problem's own code. */
export const apiOf = (config: Config): Client => createClient(apiUrlOf(config))

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
