import type { Clock } from '../core/clock.ts'
import { databaseError, type Sql } from '../graph/connect.ts'

/** How often a standby asks for the lock and a holder makes sure that it still has it, in milliseconds. */
const ASK_MS = 1_000

/**
 * Runs `work` while this process holds the chain's advisory lock, so that one indexer writes and any number stand by. The
 * lock lives in a database session: it ends with the process or its connection, and a standby takes over within
 * seconds. Calls `standby` each time the lock is found taken. Returns when `signal` aborts or `work` returns; when the
 * session is lost, `work`'s signal aborts and the lock is sought again.
 */
export async function withLease(
  deps: { sql: Sql; clock: Clock; name: string; standby: () => void },
  work: (signal: AbortSignal) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    const session = await deps.sql.reserve()
    try {
      const [row] = await session`select pg_try_advisory_lock(hashtextextended(${deps.name}, 0)) as held`
      if (row?.['held'] === true) {
        if (await hold(deps, session, work, signal)) return
      } else {
        deps.standby()
      }
    } finally {
      // Ends the lock even if the connection lives on in the pool.
      await session`select pg_advisory_unlock_all()`.catch(() => {})
      session.release()
    }
    await deps.clock.sleep(ASK_MS, signal)
  }
}

/** Answers true when the work is over for good, false when the lock was lost under it. */
async function hold(
  deps: { clock: Clock },
  session: Awaited<ReturnType<Sql['reserve']>>,
  work: (signal: AbortSignal) => Promise<void>,
  signal: AbortSignal,
): Promise<boolean> {
  const lost = new AbortController()
  const done = new AbortController()
  const watch = (async () => {
    const either = AbortSignal.any([signal, done.signal])
    while (!either.aborted) {
      try {
        await session`select 1`
      } catch {
        lost.abort()
        return
      }
      await deps.clock.sleep(ASK_MS, either)
    }
  })()
  try {
    await work(AbortSignal.any([signal, lost.signal]))
  } catch (error) {
    if (!lost.signal.aborted) throw databaseError(error)
  } finally {
    done.abort()
    await watch
  }
  return !lost.signal.aborted
}
