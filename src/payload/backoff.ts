export interface BackoffLimits {
  /** Upper bound of the first wait, in milliseconds. */
  baseMs: number
  /** Upper bound of every wait, in milliseconds. */
  maxMs: number
}

export const DEFAULT_BACKOFF: BackoffLimits = { baseMs: 250, maxMs: 8_000 }

/**
 * Milliseconds to wait before retry number `attempt` (0 for the first): exponential back-off with full jitter, so uniform
 * over the whole numbers from 0 to min(`maxMs`, `baseMs` * 2^`attempt`). Pure: the same `attempt` and `seed` (any
 * integer; its low 32 bits count) give the same wait, so that a simulation can be replayed.
 */
export function backoffMs(attempt: number, seed: number, limits: BackoffLimits = DEFAULT_BACKOFF): number {
  const cap = Math.min(limits.maxMs, limits.baseMs * 2 ** attempt)
  return Math.floor(uniform(seed, attempt) * (Math.floor(cap) + 1))
}

/** A number in [0, 1) from two 32-bit integers, by the finaliser of MurmurHash3 over their combination. */
function uniform(seed: number, attempt: number): number {
  let h = (seed ^ Math.imul(attempt + 1, 0x9e3779b1)) >>> 0
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return ((h ^ (h >>> 16)) >>> 0) / 2 ** 32
}
