import { statfsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { DunesError } from '../src/core/error.ts'
import { mlDsa } from '../src/core/ml-dsa-native.ts'
import type { Sql } from '../src/graph/connect.ts'
import { ensureReadingTable } from '../src/graph/readings.ts'
import { loadState, rootOf } from '../src/log/append.ts'
import { partialTiles } from '../src/log/tile.ts'
import { parseSchemaFile } from '../src/maml/schema.ts'
import { startBenchChain } from './chain/process.ts'
import { SCHEMA } from './fixture.ts'
import { indexInto, type Run, storePayloads } from './full.ts'
import { against, type Figure, median, rate } from './measure.ts'
import { type Databases, startDatabases } from './parts.ts'
import type { Bench } from './scratch.ts'

/** Submissions that are there before, in the small and in the large database; the second one unless the environment says how many. */
const SMALL = 100_000
const LARGE = Number(process.env['DUNES_BENCH_GROWTH'] ?? 10_000_000)
/** Submissions that are measured. */
const FRESH = 4_096
const RUNS = 2
/** Bytes that one filled submission takes with its rows and their indexes. */
const BYTES_EACH = 4_000
const BATCH = 100_000

/** Fills the tables with made-up submissions that are settled, judged and logged: what later ones are written beside. */
async function fill(bench: Bench, sql: Sql, count: number): Promise<void> {
  await sql.begin((tx) => ensureReadingTable(tx, 'helium_sensors', parseSchemaFile(SCHEMA)))
  await sql`insert into dataset (id, name, block) select nextval('entity_id'), 'filled', 0`
  await sql`insert into contributor (id, account, block) select nextval('entity_id'), decode(lpad(to_hex(n), 40, '0'), 'hex'), 0 from generate_series(1, 1000) n`
  await sql`
    insert into sensor (id, name, dataset, contributor, h3, block)
    select nextval('entity_id'), 'filled_' || row_number() over (order by c.id), d.id, c.id, 0, 0 from contributor c, dataset d`
  await sql`create table filled as
    select row_number() over (order by c.id) - 1 as n, c.id as contributor, s.id as sensor, s.dataset
    from contributor c join sensor s on s.contributor = c.id`
  await sql`alter table filled add primary key (n)`
  await sql`analyze filled`
  for (let from = 0; from < count; from += BATCH) {
    bench.check()
    const to = Math.min(count, from + BATCH)
    await sql.begin(async (tx) => {
      await tx`
        create temp table batch on commit drop as
        select nextval('entity_id') as id, g.n, sha256(int8send(g.n)) as hash, f.contributor, f.sensor, f.dataset
        from generate_series(${from}::bigint, ${to - 1}::bigint) as g(n) join filled f on f.n = g.n % 1000`
      await tx`
        insert into submission (id, submission_id, contributor, sensor, dataset, schema_sha256, payload_sha256, payload_bytes, uri, key_id, nonce,
          quorum, submitted_block, submitted_log, submitted_tx, submitted_time, index, seq, outcome, record, acc, settled_block, settled_hash,
          settled_log, settled_tx, settled_time, verdict, judgement, signed_sha256)
        select id, hash, contributor, sensor, dataset, hash, sha256(hash), 7500, 'https://payloads.example/0000', hash, n / 1000, 2, 0, 0, hash, 0, n,
          n / 1000, 1, hash, hash, 0, hash, 1, hash, 0, 'accepted',
          '{"read":{"names":["air_quality","sensor_id","timestamp"],"readings":1,"mirrorSha256":"0x00","firstTimestamp":"2025-10-01T00:00:00Z","signatureSha256":"0x00","signedBytesSha256":"0x00"},"detail":null}',
          sha256(sha256(hash)) from batch order by n`
      await tx`
        insert into edge (src, kind, dst, block)
        select id, 3, sensor, 0 from batch union all select id, 4, contributor, 0 from batch
        union all select contributor, 5, id, 0 from batch union all select contributor + 1, 5, id, 0 from batch`
      await tx`
        insert into attestation (submission, validator, valid, block, log_index, tx)
        select id, contributor, true, 0, 0, hash from batch union all select id, contributor + 1, true, 0, 0, hash from batch`
      await tx`
        insert into reading_helium_sensors (submission, position, sensor_id, timestamp, v_air_quality)
        select id, 0, 'filled', timestamptz '2024-01-01' + n * interval '1 second', n % 500 from batch`
      await tx`insert into leaf (index, submission, entry) select n, id, decode(repeat(encode(hash, 'hex'), 36), 'hex') from batch order by n`
    })
    if ((to / BATCH) % 10 === 0) bench.progress(`growth: ${to} of ${count} submissions are filled in`)
  }
  await sql`drop table filled`
  // The right edge of a log of so many leaves is all that appending needs.
  const tiles = new Map(
    partialTiles(count).map(({ level, index, width }) => [
      `${level}/${index}`,
      new Uint8Array(32 * width).fill(level + 1),
    ]),
  )
  for (const [key, hashes] of tiles) {
    const [level, index] = key.split('/').map(Number)
    await sql`insert into tile (level, index, hashes) values (${level as number}, ${index as number}, ${hashes})`
  }
  const state = await loadState(count, async ({ level, index }) => tiles.get(`${level}/${index}`))
  await sql`insert into log_head (size, root) values (${count}, ${rootOf(state)})`
  await sql`vacuum analyze`
  await sql`checkpoint`
}

async function measureAt(bench: Bench, databases: Databases, count: number): Promise<Run[]> {
  const runs: Run[] = []
  const { sql, drop } = await databases.fresh()
  await fill(bench, sql, count)
  let before = count
  for (let run = 1; run <= RUNS; run++) {
    bench.progress(`growth: indexing on top of ${before} submissions, run ${run} of ${RUNS}`)
    const chain = await startBenchChain(bench, {
      seed: 10 + run,
      submissions: FRESH,
      contributors: 64,
      eventsPerBlock: 130,
      everyBlocks: 1,
      readings: 1,
      firstIndex: before,
    })
    await storePayloads(sql, chain)
    runs.push(await indexInto(bench, databases, sql, chain, mlDsa, before))
    await chain.stop()
    // The next chain begins anew: forget where this one was, and what only one chain can say.
    await sql`truncate block, cursor, deployment, leaf_policy, checkpoint, contributor_key, validator, dataset_version`
    await sql`update dataset set name = 'old_' || id where name = 'helium_sensors'`
    await sql`update sensor set name = 'old_' || id where name like 'sensor_%'`
    before += FRESH
  }
  await drop()
  return runs
}

/** Whether the indexer is as fast in a large database as in a small one. */
export async function benchGrowth(bench: Bench): Promise<Figure[]> {
  const { bavail, bsize } = statfsSync(tmpdir())
  if (bavail * bsize < LARGE * BYTES_EACH * 1.5)
    throw new DunesError('NO_SPACE', `${tmpdir()} has less room than ${LARGE} submissions take`, {
      hint: 'make room there, let TMPDIR name a folder that has some, or set DUNES_BENCH_GROWTH to a smaller number',
      exitCode: 3,
    })
  const databases = await startDatabases(bench)
  const perSecond = (runs: readonly Run[]) => runs.map(({ seconds }) => FRESH / seconds)
  const small = perSecond(await measureAt(bench, databases, SMALL))
  const large = perSecond(await measureAt(bench, databases, LARGE))
  const note = `${FRESH} submissions of one reading, payloads in the store, beside so many that are logged`
  return [
    rate(`growth_at_${SMALL}`, 'submissions/s', small, FRESH * RUNS, { note }),
    rate(`growth_at_${LARGE}`, 'submissions/s', large, FRESH * RUNS, {
      note,
      comparedWith: [against(median(large), `at ${SMALL}`, 'submissions/s', median(small))],
    }),
  ]
}
