import { createApi } from '../src/api/app.ts'
import { listen } from '../src/api/listen.ts'
import { systemClock } from '../src/core/clock.ts'
import { silentLogger } from '../src/core/logger.ts'
import { createMetrics } from '../src/core/metrics.ts'
import { mlDsa } from '../src/core/ml-dsa-native.ts'
import { connect, type Sql } from '../src/graph/connect.ts'
import { ensureQueryRole, QUERY_ROLE, QUERY_SETTINGS } from '../src/graph/roles.ts'
import { guardQuery } from '../src/query/guard.ts'
import { loadParser } from '../src/query/parse.ts'
import { createServiceContext } from '../src/service/context.ts'
import { runQuery } from '../src/service/query.ts'
import { createQuerySessions } from '../src/service/query-sessions.ts'
import { deployment, fillGraph } from '../test/support/graph.ts'
import { HONEST } from '../test/support/honest-queries.ts'
import { asRole } from '../test/support/query.ts'
import { BenchClient } from './mcp.ts'
import { exact, type Figure, latency, measure, must, rounded } from './measure.ts'
import { startDatabases } from './parts.ts'
import type { Bench } from './scratch.ts'

const COLUMNS =
  'sensor_id timestamp air_quality humidity pm2_5 pressure temperature contributor h3 submission_id state verdict leaf_index'.split(
    ' ',
  )
const CATALOG = new Map([
  ['helium_sensors', COLUMNS],
  ['weather', [...COLUMNS, 'rain', 'note', 'tags', 'value_state']],
])
const ALL = { verdict: 'accepted', below: null } as const
const PAGE = { offset: 0, rows: 10_001 } as const
const SEED_QUERY = (time: string) => `SELECT air_quality FROM helium_sensors WHERE timestamp = '${time}'`

/** What reading a query, writing it anew and reading that again takes, before any database is asked. */
export async function benchGuard(): Promise<Figure[]> {
  await loadParser()
  let at = 0
  const seed = SEED_QUERY('2025-10-01T23:30:00Z')
  const timings = await measure({
    seed: () => guardQuery(seed, CATALOG, ALL, PAGE),
    all: () => guardQuery(HONEST[at++ % HONEST.length] as string, CATALOG, ALL, PAGE),
  })
  return [
    latency('guard_seed_query', 'us', timings.seed.micros, { note: "the seed's query" }),
    exact('guard_seed_query_cpu', 'us', rounded(timings.seed.cpuMicros), {
      samples: timings.seed.micros.length,
    }),
    latency('guard_all_queries', 'us', timings.all.micros, {
      note: `${HONEST.length} queries in turn, some of them long`,
    }),
    exact('guard_all_queries_cpu', 'us', rounded(timings.all.cpuMicros), {
      samples: timings.all.micros.length,
    }),
  ]
}

/** Readings of a sensor, sensors, and readings of a payload: ten million in all. */
const SENSORS = 1_000
const READINGS = 10_000
const PER_PAYLOAD = 64
const ASKED = 300
const START = Date.UTC(2025, 9, 1)

/** A table as an indexer leaves it: each sensor reads once a minute, about seventeen of them in the same second. */
export async function fillReadings(sql: Sql): Promise<void> {
  await fillGraph(sql, { submitted: 2, settled: 0, final: 0, logged: 0, anchored: 0 })
  await sql.unsafe(`
    delete from edge; delete from submission;
    insert into sensor (name, dataset, contributor, h3, block)
    select 'bench_' || i, (select id from dataset where name = 'helium_sensors'), (select min(id) from contributor),
           613177676537593855 + i * 1048576::bigint, 1
    from generate_series(0, ${SENSORS - 1}) i;
    drop index "reading_helium_sensors:time"; drop index "reading_helium_sensors:sensor";
    insert into submission (submission_id, contributor, sensor, dataset, schema_sha256, payload_sha256, payload_bytes, uri, key_id, nonce,
        quorum, submitted_block, submitted_log, submitted_tx, submitted_time, index, seq, outcome, record, acc, settled_block,
        settled_hash, settled_log, settled_tx, settled_time, verdict)
    select sha256(('id ' || i)::bytea), s.contributor, s.id, s.dataset, '\\x00', sha256(('payload ' || i)::bytea), 1000, 'https://x',
           '\\x00', i, 1, 20, i, '\\x00', 1, i, i, 1, '\\x00', '\\x00', 20, '\\x00', i, '\\x00', 1, 'accepted'
    from generate_series(0, ${(SENSORS * READINGS) / PER_PAYLOAD - 1}) i join sensor s on s.name = 'bench_' || i % ${SENSORS}
    order by i;
    insert into reading_helium_sensors (submission, position, sensor_id, timestamp, v_air_quality, v_temperature, v_humidity)
    select u.id, n, 'bench_' || u.index % ${SENSORS},
           to_timestamp(${START / 1000} + (u.index / ${SENSORS} * ${PER_PAYLOAD} + n) * 60 + u.index % 60), (u.index + n) % 500,
           (u.index % 300) / 10.0, (n + 20) / 1.0
    from submission u cross join generate_series(0, ${PER_PAYLOAD - 1}) n;
    create index "reading_helium_sensors:time" on reading_helium_sensors (timestamp);
    create index "reading_helium_sensors:sensor" on reading_helium_sensors (sensor_id, timestamp);
    insert into log_head (size, root) values (${(SENSORS * READINGS) / PER_PAYLOAD}, '\\x00')
    on conflict (singleton) do update set size = excluded.size;
    update cursor set final_number = head_number, final_hash = head_hash;`)
  await sql`vacuum (analyze) reading_helium_sensors`
  await sql`vacuum (analyze) submission`
  await sql`analyze sensor`
}

/** The seed's query over ten million readings: in SQL alone, as a whole answer, and over REST. */
export async function benchQueries(bench: Bench): Promise<Figure[]> {
  const databases = await startDatabases(bench)
  const { sql, url, drop } = await databases.fresh()
  bench.closing(drop)
  bench.progress('queries: writing ten million readings')
  await fillReadings(sql)
  bench.check()
  const password = 'bench'
  await ensureQueryRole(sql, { password })
  const queryUrl = asRole(url, QUERY_ROLE, password)
  const queries = createQuerySessions(queryUrl, silentLogger)
  bench.closing(() => queries.end())
  const ctx = createServiceContext({
    sql,
    logger: silentLogger,
    metrics: createMetrics(),
    clock: systemClock,
    mlDsa,
    deployment,
    queries,
  })
  const api = await listen(createApi(ctx), { port: 0 })
  bench.closing(api.close)
  const session = await connect(queryUrl, { max: 1, settings: QUERY_SETTINGS })
  bench.closing(() => session.end({ timeout: 5 }))
  await loadParser()

  // A stride prime to the number of minutes: spread over all of time, the same in each run.
  const time = (n: number) =>
    new Date(START + ((n * 6_181 + 5) % READINGS) * 60_000 + (n % 60) * 1000)
      .toISOString()
      .replace('.000', '')
  const body = (query: string) => ({
    query,
    maml_schema: 'iot_data.maml',
    signature_verification: 'CRYSTALS-Dilithium',
  })
  let rows = 0
  const mcp = new BenchClient(api.url, true)
  bench.closing(() => mcp.close())
  const ways: Record<string, (query: string) => Promise<unknown>> = {
    sql: (query) =>
      session.unsafe(guardQuery(query, CATALOG, ALL, PAGE).sql, [], { simple: false } as object),
    answer: async (query) => {
      rows += (await runQuery(ctx, body(query))).row_count
    },
    rest: async (query) => {
      const response = await fetch(`${api.url}/v1/query`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify(body(query)),
      })
      must(
        response.status === 200,
        `a query was answered ${response.status}: ${await response.clone().text()}`,
      )
      await response.json()
    },
    mcp: (query) => mcp.ask('tools/call', { name: 'query_sensor_data', arguments: body(query) }),
  }
  const took: Record<string, number[]> = { sql: [], answer: [], rest: [], mcp: [] }
  for (let n = -20; n < ASKED; n++) {
    bench.check()
    for (const [name, way] of Object.entries(ways)) {
      const begun = performance.now()
      await way(SEED_QUERY(time(n + 20)))
      if (n >= 0) took[name]?.push(performance.now() - begun)
    }
  }
  must(rows > ASKED, 'the queries found nothing')
  const once = async (name: string, query: string): Promise<Figure> => {
    const samples: number[] = []
    for (let i = 0; i < 5; i++) {
      const begun = performance.now()
      await runQuery(ctx, body(query))
      samples.push(performance.now() - begun)
    }
    return latency(name, 'ms', samples, { note: query })
  }
  return [
    latency('seed_query_sql_10m', 'ms', took['sql'] ?? [], {
      note: `as it is run, on the role's own session; ${Math.round(rows / (ASKED + 20))} rows each, 10,000,000 readings`,
    }),
    latency('seed_query_answer_10m', 'ms', took['answer'] ?? [], {
      note: 'guard, transaction, rows, and where each comes from',
    }),
    latency('seed_query_rest_10m', 'ms', took['rest'] ?? [], { note: 'the same over HTTP' }),
    latency('seed_query_mcp_10m', 'ms', took['mcp'] ?? [], { note: 'the same as a tool call over MCP' }),
    await once('first_page_10m', 'select * from helium_sensors'),
    await once(
      'hourly_means_of_a_sensor_10m',
      "select date_trunc('hour', timestamp) as hour, avg(air_quality) from helium_sensors where sensor_id = 'bench_7' group by 1",
    ),
    await once(
      'one_hour_of_all_10m',
      "select h3_parent(h3, 4), count(*), avg(air_quality) from helium_sensors where timestamp >= '2025-10-03' and timestamp < '2025-10-03T01:00:00Z' group by 1",
    ),
  ]
}
