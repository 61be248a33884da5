import type { Clock } from '../core/clock.ts'
import { DunesError, describeError } from '../core/error.ts'
import type { Logger } from '../core/logger.ts'
import { databaseError } from '../graph/connect.ts'
import { backoffMs } from '../payload/backoff.ts'

/** Longest pause between two tries of a stage whose dependency is away, in milliseconds. */
const MAX_PAUSE_MS = 5_000

export interface StageDeps {
  name: string
  clock: Clock
  logger: Logger
  /** Told why the stage cannot go on for now, and null when it can again. */
  trouble: (why: string | null) => void
}

/**
 * Runs `turn` again and again until `signal` aborts. A turn answers when to come back: it waits for its own wake-up. A turn
 * that throws what a retry may help is tried again after a pause, for ever; anything else ends the stage with that error. A
 * turn that seldom returns calls `progressed` whenever something went well.
 */
export async function runStage(
  deps: StageDeps,
  turn: (progressed: () => void) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  let failures = 0
  const progressed = () => {
    if (failures > 0) deps.trouble(null)
    failures = 0
  }
  while (!signal.aborted) {
    try {
      await turn(progressed)
      progressed()
    } catch (thrown) {
      if (signal.aborted) return
      const error = databaseError(thrown)
      if (!canRetry(error)) throw explained(error, deps.name)
      deps.trouble(`${deps.name}: ${describeError(error)}`)
      deps.logger.warn(
        { stage: deps.name, failures: failures + 1, error: describeError(error) },
        'stage paused',
      )
      await deps.clock.sleep(
        backoffMs(failures, deps.clock.now(), { baseMs: 250, maxMs: MAX_PAUSE_MS }),
        signal,
      )
      failures++
    }
  }
}

/** A refusal of the database that no retry helps and nobody foresaw, as a typed error; any other error as it is. */
function explained(error: unknown, stage: string): unknown {
  const { code, table_name, constraint_name } = error as Record<string, unknown>
  if (error instanceof DunesError || !(error instanceof Error) || !/^[0-9A-Z]{5}$/.test(String(code ?? '')))
    return error
  return new DunesError(
    'DATABASE_UNEXPECTED',
    `the database refused what the ${stage} stage wrote: ${error.message} (SQLSTATE ${code})`,
    {
      hint: 'nothing of it was written. Run `dunes doctor` and `dunes fsck`: if rows were changed by other hands, restore a backup, or index again into an empty database; else it is a fault of Dunes, please report it',
      exitCode: 3,
      details: {
        stage,
        ...(table_name ? { table: table_name } : {}),
        ...(constraint_name ? { constraint: constraint_name } : {}),
      },
      cause: error,
    },
  )
}

/**
 * What Postgres asks to be run again (class 40), and what an administrator, a full disk or a switch to another server can do to
 * any statement (53, 55, 57, 58, 25006), https://www.postgresql.org/docs/18/errcodes-appendix.html.
 */
const TRY_AGAIN = /^(40|53|55|57|58)...$|^25006$/

/** Whether the same call may go well later. */
export const canRetry = (error: unknown): boolean =>
  (error instanceof DunesError && error.retryable) ||
  TRY_AGAIN.test(String((error as { code?: unknown }).code ?? ''))
