/** First and longest wait between attempts in milliseconds, before jitter. */
export const BACKOFF = { firstMs: 100, longestMs: 15_000, longestAskedMs: 60_000 } as const

/**
 * Milliseconds to wait after `failures` failures in a row (at least 1): doubling, with jitter over the upper half so that many
 * clients of one endpoint do not come back together, and at least what a `Retry-After` asked for (up to a minute).
 * `random` gives numbers in [0, 1).
 */
export function backoffMs(failures: number, random: () => number, askedMs = 0): number {
  const full = Math.min(BACKOFF.longestMs, BACKOFF.firstMs * 2 ** Math.min(failures - 1, 20))
  const jittered = full / 2 + (random() * full) / 2
  return Math.round(Math.max(jittered, Math.min(askedMs, BACKOFF.longestAskedMs)))
}
