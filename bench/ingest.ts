import { benchFetched, benchFull } from './full.ts'
import { benchLive } from './live.ts'
import type { Figure } from './measure.ts'
import { startDatabases } from './parts.ts'
import type { Bench } from './scratch.ts'

const SIZES = [
  { readings: 1, submissions: 16_384 },
  { readings: 64, submissions: 2_048 },
] as const
const FETCHED = 1_024

/** The whole indexer over real parts: a durable PostgreSQL, a generated chain or anvil, payloads stored here or over HTTP. */
export async function benchIngest(bench: Bench): Promise<Figure[]> {
  const databases = await startDatabases(bench)
  const out: Figure[] = []
  for (const { readings, submissions } of SIZES)
    out.push(...(await benchFull(bench, databases, readings, submissions)))
  out.push(...(await benchFetched(bench, databases, FETCHED)))
  out.push(...(await benchLive(bench, databases)))
  return out
}
