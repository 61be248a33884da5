import { execFile } from 'node:child_process'
import { readFileSync, statSync } from 'node:fs'
import { getPriority, setPriority } from 'node:os'
import { promisify } from 'node:util'
import type { TransactionSql } from 'postgres'
import { DunesError } from '../core/error.ts'
import type { Logger } from '../core/logger.ts'
import { processCommand } from '../core/process.ts'
import { openPool, parseDatabaseUrl, type Sql } from '../graph/connect.ts'
import { QUERY_SETTINGS, QUERY_TIMEOUT_MS } from '../graph/roles.ts'
import { QueryError } from '../query/error.ts'
import { BoundedQueue, CallerQueues } from './queue.ts'

/** Queries that run at once, and how many more may wait for their turn. */
export const QUERIES_AT_ONCE = 4
export const QUERIES_WAITING = 32
/** Of those at once, how many may be of one caller. */
const OF_ONE_CALLER = 2
/** Where the server is on this machine: how much less of the processors its sessions get, as `nice` counts. */
const NICENESS = 10
/** And the bytes of memory of its own that each may take, on Linux. */
const SESSION_BYTES = 384 * 1024 * 1024
/** Bytes that the server may send for one query, many times what an answer may have: rows come in batches, and each is of any size. */
const RECEIVED_BYTES = 64 * 1024 * 1024
/**
 * Milliseconds that a query may take with all that belongs to it: the server ends each statement by itself, but not within one long
 * call, and not one that sends its rows in many batches.
 */
const WHOLE_MS = QUERY_TIMEOUT_MS + 1_000
/** How often both are looked at, in milliseconds. */
const WATCH_MS = 20

/** A session within a transaction that only reads and is always rolled back. */
export interface QueryTransaction {
  tx: TransactionSql<{ bigint: bigint }>
  /** What the function that a cursor calls returns to end it. */
  close: object
}

export interface QuerySessions {
  /**
   * Runs `work` in a transaction of its own. When it throws, or when `signal` aborts, the session is closed and never used again.
   * Throws what `work` throws, `BUSY` where too many wait, `QUERY_ABANDONED` after `signal`.
   */
  run<T>(
    work: (tx: QueryTransaction) => Promise<T>,
    options?: { signal?: AbortSignal; caller?: string },
  ): Promise<T>
  /** Closes all sessions. */
  end(): Promise<void>
}

interface Session {
  client: Sql
  /** Process of the server that is held to our limits; 0 before the first query. */
  pid: number
  /** Bytes that the server has sent so far. */
  received(): number
  /** When its query began, once it has. */
  began: number | null
}

/** Sessions on which strangers' queries run, apart from all others. `url` is of the role that can read nothing but schema `api`. */
export function createQuerySessions(url: string, logger: Logger): QuerySessions {
  const queue = new BoundedQueue(QUERIES_AT_ONCE, QUERIES_WAITING)
  const callers = new CallerQueues(OF_ONE_CALLER, QUERIES_WAITING)
  const isLocal = parseDatabaseUrl(url).hosts.every(({ path }) => path !== undefined)
  const idle: Session[] = []
  const open = new Set<Session>()

  const take = (): Session => {
    const session = idle.pop()
    if (session) return session
    let socket: { bytesRead?: number } = {}
    const client = openPool(url, {
      max: 1,
      applicationName: 'dunes query',
      settings: QUERY_SETTINGS,
      onSocket: (opened) => {
        socket = opened as typeof socket
      },
    })
    const fresh: Session = { client, pid: 0, received: () => socket.bytesRead ?? 0, began: null }
    open.add(fresh)
    return fresh
  }
  const discard = (session: Session): void => {
    open.delete(session)
    session.client.end({ timeout: 0 }).catch(() => {})
  }

  const turn = async <T>(
    work: (tx: QueryTransaction) => Promise<T>,
    signal: AbortSignal | undefined,
  ): Promise<T> => {
    if (signal?.aborted) throw abandoned()
    const session = take()
    let abort = () => {}
    let watch: NodeJS.Timeout | undefined
    try {
      const gone = new Promise<never>((_, reject) => {
        abort = () => {
          // Nothing is said to the server: it notices that nobody listens any more, and ends the query.
          discard(session)
          reject(abandoned())
        }
        signal?.addEventListener('abort', abort, { once: true })
        const before = session.received()
        watch = setInterval(() => {
          const late = session.began !== null && performance.now() - session.began > WHOLE_MS
          if (!late && session.received() - before <= RECEIVED_BYTES) return
          discard(session)
          reject(late ? tooLong() : tooMuch())
        }, WATCH_MS)
      })
      gone.catch(() => {})
      const value = await Promise.race([gone, inTransaction(session, work, isLocal, logger)])
      idle.push(session)
      return value
    } catch (error) {
      discard(session)
      throw error
    } finally {
      clearInterval(watch)
      session.began = null
      signal?.removeEventListener('abort', abort)
    }
  }

  return {
    async run(work, { signal, caller } = {}) {
      if (caller === undefined) return queue.run(() => turn(work, signal))
      return callers.run(caller, () => queue.run(() => turn(work, signal)))
    },
    async end() {
      await Promise.all([...open].map(({ client }) => client.end({ timeout: 1 })))
    },
  }
}

const abandoned = (): DunesError =>
  new DunesError('QUERY_ABANDONED', 'nobody waits for the answer any more', { retryable: true })

const tooLong = (): QueryError =>
  new QueryError('QUERY_LIMIT', `the query took longer than ${QUERY_TIMEOUT_MS / 1000} s`, {
    hint: 'narrow it: a range of time, fewer columns, a LIMIT',
  })
const tooMuch = (): QueryError =>
  new QueryError('QUERY_LIMIT', 'its rows are larger than can be read', {
    hint: 'select fewer or shorter columns',
  })

/** Carries a value out of a transaction that is rolled back. */
class Rollback {
  readonly value: unknown
  constructor(value: unknown) {
    this.value = value
  }
}

async function inTransaction<T>(
  session: Session,
  work: (tx: QueryTransaction) => Promise<T>,
  isLocal: boolean,
  logger: Logger,
): Promise<T> {
  try {
    await session.client.begin('isolation level repeatable read read only', async (tx) => {
      const [row] = await tx<[{ pid: number }]>`select pg_backend_pid() as pid`
      if (isLocal && row.pid !== session.pid) await restrain(row.pid, logger)
      session.pid = row.pid
      session.began = performance.now()
      throw new Rollback(
        await work({ tx: tx as unknown as QueryTransaction['tx'], close: session.client.CLOSE }),
      )
    })
  } catch (error) {
    if (error instanceof Rollback) return error.value as T
    throw error
  }
  throw new Error('a transaction of a query was committed')
}

const execute = promisify(execFile)

/** Gives a server process on this machine less of it. What cannot be done is left: the server may be another user's. */
async function restrain(pid: number, logger: Logger): Promise<void> {
  if (!processCommand(pid)?.includes('postgres')) return
  try {
    setPriority(pid, NICENESS)
    if (process.platform !== 'linux') return
    // As whom the server runs: only that user, and not even root everywhere, may set this.
    const { uid, gid } = statSync(`/proc/${pid}`)
    const as = process.getuid?.() === 0 ? { uid, gid } : {}
    await execute('prlimit', ['--pid', `${pid}`, `--data=${SESSION_BYTES}:${SESSION_BYTES}`], as)
  } catch (error) {
    logger.debug({ pid, error: String(error) }, 'could not give a session for queries less of the machine')
  }
}

/** Whether a server process on this machine has the priority and the limit that {@link restrain} gives: for tests. */
export function isRestrained(pid: number): boolean {
  try {
    if (getPriority(pid) !== NICENESS) return false
    return new RegExp(`^Max data size\\s+${SESSION_BYTES}\\s`, 'm').test(
      readFileSync(`/proc/${pid}/limits`, 'utf8'),
    )
  } catch {
    return false
  }
}
