import { benchBackfill } from './backfill.ts'
import { benchLive } from './live.ts'
import type { Figure } from './measure.ts'
import { startDatabases } from './parts.ts'
import type { Bench } from './scratch.ts'

const BACKFILLS = [
  { readings: 1, submissions: 1_024 },
  { readings: 64, submissions: 256 },
] as const

/** The whole indexer over real parts: anvil, the contracts, a payload host over HTTP, a durable PostgreSQL. */
export async function benchIngest(bench: Bench): Promise<Figure[]> {
  const databases = await startDatabases(bench)
  const out: Figure[] = []
  for (const { readings, submissions } of BACKFILLS)
    out.push(...(await benchBackfill(bench, databases, readings, submissions)))
  out.push(...(await benchLive(bench, databases)))
  return out
}
