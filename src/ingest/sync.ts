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
  /** Woken when more is final, or when history changed. */
  finalised: Wake
}

/**
 * The first stage: follows the chain from the committed cursor and applies every step in a transaction of its own. When
 * it throws, the next call goes on from what is committed, so nothing is skipped and nothing is applied twice.
 */
export async function syncChain(deps: SyncDeps, signal: AbortSignal): Promise<void> {
  const { source, sql, metrics, logger, clock } = deps
  for await (const step of source.follow(await readCursor(sql), signal)) {
    const started = clock.now()
    switch (step.kind) {
      case 'append': {
        await applyBlocks(sql, step.blocks, deps.context)
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
        metrics.rollbacks.inc()
        logger.warn({ to: step.to.number, duration: clock.now() - started }, 'rolled back a reorganisation')
        deps.finalised.wake()
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
        break
    }
  }
}
