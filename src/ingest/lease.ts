import type { Clock } from '../core/clock.ts'
import { describeError } from '../core/error.ts'
import { databaseError, type Sql } from '../graph/connect.ts'
import { canRetry } from './stage.ts'

/** How often a standby asks for the lock and a holder makes sure that it still has it, in milliseconds. */
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
 * lock lives in a database session: it ends with the process or its connection, and a standby takes over within
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

/** Answers true when the work is over for good, false when the lock was taken or lost. */
async function attempt(
  deps: LeaseDeps,
  work: (signal: AbortSignal) => Promise<void>,
  signal: AbortSignal,
): Promise<boolean> {
  const session = await deps.sql.reserve()
  try {
    const [row] = await session`
      select pg_try_advisory_lock(hashtextextended(${deps.name}, 0)) as held, pg_backend_pid() as pid`
    if (row?.['held'] === true) return await hold(deps, session, row['pid'], work, signal)
    deps.standby()
    return false
  } finally {
    // Ends the lock even if the connection lives on in the pool.
    await session`select pg_advisory_unlock_all()`.catch(() => {})
    session.release()
  }
}

async function hold(
  deps: LeaseDeps,
  session: Session,
  pid: number,
  work: (signal: AbortSignal) => Promise<void>,
  signal: AbortSignal,
): Promise<boolean> {
  const lost = new AbortController()
  const done = new AbortController()
  const watch = (async () => {
    const either = AbortSignal.any([signal, done.signal])
    while (!either.aborted) {
      if (!(await isHeld(session, pid))) {
        deps.lost('the database session that held the lock is gone')
        lost.abort()
        return
      }
      await deps.clock.sleep(ASK_MS, either)
    }
  })()
  try {
    await work(AbortSignal.any([signal, lost.signal]))
  } catch (error) {
    if (!lost.signal.aborted) throw error
  } finally {
    done.abort()
    await watch
  }
  return !lost.signal.aborted
}

type Session = Awaited<ReturnType<Sql['reserve']>>

/** Whether the session is still the one that took the lock: the driver connects anew by itself, to one that holds nothing. */
async function isHeld(session: Session, pid: number): Promise<boolean> {
  try {
    const [row] = await session`
      select pg_backend_pid() = ${pid} and exists (
        select from pg_locks where locktype = 'advisory' and pid = pg_backend_pid() and granted) as held`
    return row?.['held'] === true
  } catch {
    return false
  }
}
