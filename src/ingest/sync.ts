import type { ChainSource } from '../chain/source.ts'
import type { Clock } from '../core/clock.ts'
import type { Logger } from '../core/logger.ts'
import type { Metrics } from '../core/metrics.ts'
import type { Wake } from '../core/wake.ts'
import { type ApplyContext, applyBlocks, applyFinal } from '../graph/apply.ts'
import type { Sql } from '../graph/connect.ts'
import { readCursor } from '../graph/cursor.ts'
import { rollback } from '../graph/rollback.ts'

export interface SyncDeps {
  source: ChainSource
  sql: Sql
  context: ApplyContext
  clock: Clock
  logger: Logger
  metrics: Metrics
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
  const cursor = await readCursor(sql)
  let tip = cursor?.[0].hash
  for await (const step of source.follow(cursor, signal)) {
    const started = clock.now()
    switch (step.kind) {
      case 'append': {
        await applyBlocks(sql, step.blocks, deps.context)
        tip = step.tip.hash
        const events = step.blocks.reduce((sum, block) => sum + block.events.length, 0)
        metrics.blocks.inc(step.blocks.length)
        metrics.events.inc(events)
        metrics.height.set({ stage: 'indexed' }, step.tip.number)
        if (events > 0) {
          deps.applied.wake()
          logger.debug(
            { from: step.blocks[0].number, to: step.tip.number, events, duration: clock.now() - started },
            'applied blocks',
          )
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
        // Nothing was written, and what kept a step from being written may still be there, unless there is none to write.
        if (step.head.hash !== tip) continue
    }
    deps.progressed()
  }
}
