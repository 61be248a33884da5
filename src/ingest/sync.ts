import type { BlockRef, ChainSource } from '../chain/source.ts'
import type { Clock } from '../core/clock.ts'
import { DunesError } from '../core/error.ts'
import type { Logger } from '../core/logger.ts'
import type { Metrics } from '../core/metrics.ts'
import type { Wake } from '../core/wake.ts'
import { applyBlocks, applyFinal } from '../graph/apply.ts'
import type { ApplyContext } from '../graph/apply-registrations.ts'
import type { Sql } from '../graph/connect.ts'
import { readCursor } from '../graph/cursor.ts'
import { rollback } from '../graph/rollback.ts'
import type { FetchAhead } from './ahead.ts'

export interface SyncDeps {
  source: ChainSource
  sql: Sql
  context: ApplyContext
  clock: Clock
  logger: Logger
  metrics: Metrics
  /** Told of blocks before they are applied. */
  ahead: Pick<FetchAhead, 'expect'>
  /** Woken when there may be something new to judge. */
  applied: Wake
  /** Told of every step that is committed. */
  progressed: () => void
  /** Woken when more is final, or when history changed. */
  finalised: Wake
}

/**
 * The first stage: follows the chain from the committed cursor and applies every step in a transaction of its own. When
 * it throws, the next call goes on from what is committed, so nothing is skipped and nothing is applied twice.
 */
export async function syncChain(deps: SyncDeps, signal: AbortSignal): Promise<void> {
  const { source, sql, metrics, logger, clock } = deps
  const batches = new BatchLines(logger, clock)
  const cursor = await readCursor(sql)
  let tip = cursor?.[0].hash
  for await (const step of source.follow(cursor, signal)) {
    const started = clock.now()
    batches.flush()
    switch (step.kind) {
      case 'append': {
        deps.ahead.expect(step.blocks)
        try {
          await applyBlocks(sql, step.blocks, deps.context)
        } catch (error) {
          // A hole in what the contracts number: the endpoint left something out.
          if (error instanceof DunesError && error.code === 'GRAPH_INCONSISTENT')
            source.distrust(error.message)
          throw error
        }
        tip = step.tip.hash
        const events = step.blocks.reduce((sum, block) => sum + block.events.length, 0)
        metrics.blocks.inc(step.blocks.length)
        metrics.events.inc(events)
        metrics.height.set({ stage: 'indexed' }, step.tip.number)
        setLag(metrics, source.status().head, step.tip)
        if (events > 0) {
          deps.applied.wake()
          batches.add({
            from: step.blocks[0].number,
            to: step.tip.number,
            events,
            duration: clock.now() - started,
          })
        }
        break
      }
      case 'rollback':
        await rollback(sql, step.to)
        tip = step.to.hash
        metrics.rollbacks.inc()
        logger.warn({ to: step.to.number, duration: clock.now() - started }, 'rolled back a reorganisation')
        deps.finalised.wake()
        deps.applied.wake()
        break
      case 'final':
        await applyFinal(sql, step.upTo)
        metrics.height.set({ stage: 'final' }, step.upTo.number)
        deps.finalised.wake()
        // Grace ends by final chain time, so what waits for its payload looks again too.
        deps.applied.wake()
        break
      case 'head':
        metrics.height.set({ stage: 'head' }, step.head.number)
        setLag(metrics, step.head, source.status().tip)
        // Nothing was written, and what kept a step from being written may still be there, unless there is none to write.
        if (step.head.hash !== tip) continue
    }
    deps.progressed()
  }
}

function setLag(metrics: Metrics, head: BlockRef | null, tip: BlockRef | null): void {
  if (!head || !tip) return
  metrics.lag.set({ unit: 'blocks' }, Math.max(0, head.number - tip.number))
  metrics.lag.set({ unit: 'seconds' }, Math.max(0, head.time - tip.time))
}

/** Milliseconds between two lines about applied blocks: what comes in between is told together. */
const LINE_MS = 1_000

interface Batch {
  from: number
  to: number
  events: number
  /** Milliseconds. */
  duration: number
}

/** One line in the log for each batch of blocks with events, at most one a second. Blocks without events are not worth a line. */
class BatchLines {
  readonly #logger: Logger
  readonly #clock: Clock
  #told = 0
  #waiting: (Batch & { batches: number }) | null = null

  constructor(logger: Logger, clock: Clock) {
    this.#logger = logger
    this.#clock = clock
  }

  add(batch: Batch): void {
    const { events, duration, to } = batch
    const before = this.#waiting
    this.#waiting = before
      ? {
          from: before.from,
          to,
          events: before.events + events,
          duration: before.duration + duration,
          batches: before.batches + 1,
        }
      : { ...batch, batches: 1 }
    this.flush()
  }

  flush(): void {
    const now = this.#clock.now()
    if (!this.#waiting || now - this.#told < LINE_MS) return
    this.#logger.info(this.#waiting, 'applied blocks')
    this.#waiting = null
    this.#told = now
  }
}
