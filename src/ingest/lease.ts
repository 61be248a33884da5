import type { Clock } from '../core/clock.ts'
import { describeError } from '../core/error.ts'
import { databaseError, type Sql } from '../graph/connect.ts'
import { canRetry } from './stage.ts'

/** How often a standby asks for the lock, in milliseconds. */
const ASK_MS = 1_000

export interface LeaseDeps {
  sql: Sql
  clock: Clock
  name: string
  /** Told each time that the lock is found taken. */
  standby: () => void
  /** Told why the lock could not be asked for, or was lost. */
  lost: (why: string) => void
}

/**
 * Runs `work` while this process holds the chain's advisory lock, so that one indexer writes and any number stand by. The
 * lock lives in a transaction that stays open and writes nothing: it ends with the process or its connection, and a standby takes over within
 * seconds. Returns when `signal` aborts or `work` returns, and throws what `work` throws and no retry can help; when the
 * session is lost, `work`'s signal aborts and the lock is sought again, for as long as that takes.
 *
 * For a moment two processes may both believe to hold it, when a session ends and nobody has noticed yet. So every write is a
 * compare-and-swap of its own: the lock saves work, and correctness never rests on it.
 */
export async function withLease(
  deps: LeaseDeps,
  work: (signal: AbortSignal) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    try {
      if (await attempt(deps, work, signal)) return
    } catch (thrown) {
      const error = databaseError(thrown)
      if (!canRetry(error)) throw error
      deps.lost(describeError(error))
    }
    await deps.clock.sleep(ASK_MS, signal)
  }
}

/** Answers true when the work is over for good, false when the lock was taken. Throws when its session is lost. */
async function attempt(
  deps: LeaseDeps,
  work: (signal: AbortSignal) => Promise<void>,
  signal: AbortSignal,
): Promise<boolean> {
  const lost = new AbortController()
  let working: Promise<void> | null = null
  try {
    return await deps.sql.begin(async (tx) => {
      // A server may end sessions that idle in a transaction; this one does nothing else.
      await tx`set local idle_in_transaction_session_timeout = 0`
      const [row] = await tx`select pg_try_advisory_xact_lock(hashtextextended(${deps.name}, 0)) as held`
      if (row?.['held'] !== true) {
        deps.standby()
        return false
      }
      working = work(AbortSignal.any([signal, lost.signal]))
      await working
      return true
    })
  } catch (error) {
    lost.abort()
    // Rejected as soon as the connection is gone, while the work still runs.
    await (working as Promise<void> | null)?.catch(() => {})
    throw error
  }
}
