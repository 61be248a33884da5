import { statfsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { DunesError } from '../src/core/error.ts'
import { mlDsa } from '../src/core/ml-dsa-native.ts'
import type { Sql } from '../src/graph/connect.ts'
import { startBenchChain } from './chain/process.ts'
import { FILL_SETTINGS, fillSubmissions, SPREAD } from './fill.ts'
import { indexInto, storePayloads } from './full.ts'
import { against, exact, type Figure, median, rate, rounded } from './measure.ts'
import { type Database, type Databases, startDatabases } from './parts.ts'
import type { Bench } from './scratch.ts'

/** Submissions that are there before, in the small and in the large database; the second one unless the environment says how many. */
const SMALL = 100_000
const LARGE = Number(process.env['DUNES_BENCH_GROWTH'] ?? 10_000_000)
/** Submissions that are measured in one run, and runs that count. */
const FRESH = 4_096
const RUNS = 5
/** Bytes that one filled submission takes with its rows and their indexes, and what sorting them and the log of the database take besides. */
const BYTES_EACH = 4_400
const BYTES_MORE = 4 * 1024 ** 3

/** A filled database, and how many submissions it has. */
interface Grown {
  database: Database
  filled: number
  size: number
  perSecond: number[]
}

/** Bytes that are read at once, and those of one file of an index. */
const PIECE = 8 * 1024 ** 2
const SEGMENT = 1024 ** 3

/**
 * Reads the indexes of which a new row touches any page, all from front to end: an indexer that came so far on this machine has them in the system's
 * cache, and one that has just been started has not.
 */
async function warm(sql: Sql): Promise<void> {
  const indexes = await sql<{ path: string; bytes: number }[]>`
    select pg_relation_filepath(name::regclass) as path, pg_relation_size(name::regclass) as bytes from unnest(${[...SPREAD]}::text[]) as name`
  for (const { path, bytes } of indexes)
    await sql`
      select sum(length(pg_read_binary_file(
        ${path} || case when at < ${SEGMENT} then '' else '.' || at / ${SEGMENT} end, at % ${SEGMENT}, ${PIECE}, true)))
      from generate_series(0::bigint, ${bytes}, ${PIECE}) as at`
}

/** Indexes another chain on top of what is there. */
async function runOn(bench: Bench, databases: Databases, grown: Grown, run: number): Promise<void> {
  const { sql } = grown.database
  const chain = await startBenchChain(bench, {
    seed: 10 + run,
    submissions: FRESH,
    contributors: 64,
    eventsPerBlock: 130,
    everyBlocks: 1,
    readings: 1,
    firstIndex: grown.size,
  })
  await storePayloads(sql, chain)
  const { seconds } = await indexInto(bench, databases, sql, chain, mlDsa, grown.size)
  await chain.stop()
  grown.perSecond.push(FRESH / seconds)
  grown.size += FRESH
  // The next chain begins anew: forget where this one was, and what only one chain can say.
  await sql`truncate block, cursor, deployment, leaf_policy, contributor_key, validator, dataset_version`
  await sql`update dataset set name = 'old_' || id where name = 'helium_sensors'`
  await sql`update sensor set name = 'old_' || id where name like 'sensor_%'`
}

/** Whether the indexer is as fast in a large database as in a small one: both at once on one server, in turn. */
export async function benchGrowth(bench: Bench): Promise<Figure[]> {
  const { bavail, bsize } = statfsSync(tmpdir())
  if (bavail * bsize < LARGE * BYTES_EACH + BYTES_MORE)
    throw new DunesError('NO_SPACE', `${tmpdir()} has less room than ${LARGE} submissions take`, {
      hint: 'make room there, let TMPDIR name a folder that has some, or set DUNES_BENCH_GROWTH to a smaller number',
      exitCode: 3,
    })
  const databases = await startDatabases(bench, FILL_SETTINGS)
  const filled: Database[] = []
  for (const count of [SMALL, LARGE]) {
    bench.progress(`growth: filling in ${count} submissions`)
    const database = await databases.fresh()
    await fillSubmissions(bench, database, count)
    filled.push(database)
  }
  const [row] = await filled[1]!.sql`select pg_database_size(current_database()) as bytes`
  for (const { sql } of filled) await sql.end({ timeout: 5 })
  await databases.restart()
  const both: Grown[] = []
  for (const [i, filledIn] of [SMALL, LARGE].entries())
    both.push({ database: await filled[i]!.reopen(), filled: filledIn, size: filledIn, perSecond: [] })
  bench.progress('growth: reading the indexes of hashes')
  for (const { database } of both) await warm(database.sql)
  // The first run counts for nothing: caches, the compiler and the planner warm up.
  for (let run = 0; run <= RUNS; run++) {
    for (const grown of both) {
      bench.progress(
        `growth: indexing on top of ${grown.size} submissions, ${run === 0 ? 'to warm up' : `run ${run} of ${RUNS}`}`,
      )
      if (run === 1) grown.perSecond = []
      await runOn(bench, databases, grown, run)
    }
  }
  for (const { database } of both) await database.drop()
  const [small, large] = both.map(({ perSecond }) => perSecond) as [number[], number[]]
  const note = `${FRESH} submissions of one reading a run, payloads in the store, beside so many that are logged; in turn with the other`
  return [
    rate(`growth_at_${SMALL}`, 'submissions/s', small, FRESH * RUNS, { note }),
    rate(`growth_at_${LARGE}`, 'submissions/s', large, FRESH * RUNS, {
      note,
      comparedWith: [against(median(large), `at ${SMALL}`, 'submissions/s', median(small))],
    }),
    exact('growth_bytes', 'bytes', rounded(row?.['bytes'] / LARGE), {
      samples: LARGE,
      note: "what a submission takes on disk with all of its rows and their indexes, but for its payload's bytes",
    }),
  ]
}
