import { setTimeout as delay } from 'node:timers/promises'
import { createEvmSource } from '../src/chain/evm.ts'
import { createRpc } from '../src/chain/rpc.ts'
import { systemClock } from '../src/core/clock.ts'
import { silentLogger } from '../src/core/logger.ts'
import { createMetrics } from '../src/core/metrics.ts'
import { mlDsa } from '../src/core/ml-dsa-native.ts'
import { createPayloadFetcher } from '../src/payload/fetch.ts'
import { createPipeline } from '../src/pipeline.ts'
import { SIGNERS } from '../test/support/world.ts'
import { CALM_BLOCKS, CHAIN_ID, EVENTS_EACH } from './chain/generate.ts'
import { startBenchChain } from './chain/process.ts'
import { storePayloads } from './full.ts'
import { exact, type Figure, latency, must, rounded } from './measure.ts'
import { FETCHES, startDatabases } from './parts.ts'
import type { Bench } from './scratch.ts'

const CONTRIBUTORS = 1_000
/** Submissions in a block. */
const EACH_BLOCK = 10
/** Submissions by which the capacity is measured, and then those that come at half of it. */
const FIRST = 4_000
const THEN = 6_000
/** Milliseconds between two looks for verdicts: what the figures may be too high by. */
const LOOK_MS = 5
const POLL_MS = 20
const PATIENCE_MS = 120_000

/**
 * Latency under load: the chain shows a block after the other, at half of the rate at which the same indexer has just worked off its
 * history. From the moment that a block can be asked for to the verdict's row of each submission in it.
 */
export async function benchLoad(bench: Bench): Promise<Figure[]> {
  const databases = await startDatabases(bench)
  const { sql, drop } = await databases.fresh()
  bench.closing(drop)
  const chain = await startBenchChain(bench, {
    seed: 5,
    submissions: FIRST + THEN,
    contributors: CONTRIBUTORS,
    eventsPerBlock: EACH_BLOCK * EVENTS_EACH,
    everyBlocks: 1,
    readings: 1,
  })
  await storePayloads(sql, chain)
  const settledIn = await chain.settledIn()
  const firstHead = settledIn[FIRST - 1]!
  await chain.show(firstHead)
  const { registry, anchor, startBlock } = chain.deployment
  const indexer = createPipeline({
    deployment: chain.deployment,
    source: createEvmSource(
      { registry, anchor, startBlock, pollMs: POLL_MS },
      { rpc: createRpc({ urls: [chain.url], chainId: CHAIN_ID }) },
    ),
    fetcher: createPayloadFetcher(FETCHES),
    sql,
    mlDsa,
    signers: () => SIGNERS,
    anchor: null,
    clock: systemClock,
    logger: silentLogger,
    metrics: createMetrics(),
  })
  const stopping = new AbortController()
  let failure: unknown
  const running = indexer.run(stopping.signal).catch((error) => {
    failure = error
  })
  bench.closing(async () => {
    stopping.abort()
    await running
  })
  const started = performance.now()
  for (;;) {
    await delay(LOOK_MS)
    bench.check()
    if (failure) throw failure
    const [head] = await sql`select size from log_head`
    if (head?.['size'] >= FIRST) break
    must(performance.now() - started < PATIENCE_MS, 'the history was not worked off in time')
  }
  const capacity = (FIRST * 1000) / (performance.now() - started)
  const everyMs = (EACH_BLOCK * 1000) / (capacity / 2)
  bench.progress(
    `load: ${Math.round(capacity)} submissions a second; now a block every ${everyMs.toFixed(1)} ms`,
  )

  const shownAt = new Map<number, number>()
  const last = chain.head - CALM_BLOCKS
  const showing = (async () => {
    const begun = performance.now()
    for (let block = firstHead + 1, n = 0; block <= last; block++, n++) {
      bench.check()
      await delay(Math.max(0, begun + n * everyMs - performance.now()))
      shownAt.set(block, performance.now())
      await chain.show(block)
    }
    // Those of the last block are settled by now.
    await chain.show(chain.head)
  })()
  const waits: number[] = []
  for (let seen = FIRST; seen < FIRST + THEN; ) {
    await delay(LOOK_MS)
    bench.check()
    if (failure) throw failure
    const rows = await sql`
      select index from submission where index >= ${seen} and index < ${seen + 1_000} and verdict is not null order by index`
    const now = performance.now()
    for (const row of rows) {
      // In order: one that waits makes those behind it look as late, never earlier.
      if (row['index'] !== seen) break
      waits.push(now - shownAt.get(settledIn[seen++]!)!)
    }
    must(now - started < 2 * PATIENCE_MS, 'the load was not worked off in time')
  }
  await showing
  return [
    latency('load_mined_to_verdict', 'ms', waits, {
      note: `${CONTRIBUTORS} contributors, ${EACH_BLOCK} submissions a block, payloads in the store; the indexer looks every ${POLL_MS} ms`,
    }),
    exact('load_rate', 'submissions/s', rounded(capacity / 2), {
      samples: THEN,
      note: 'half of the rate at which the history before it was worked off',
    }),
  ]
}
