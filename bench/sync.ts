import { getLogs } from '../src/chain/blocks.ts'
import { decodeLog } from '../src/chain/decode.ts'
import { createEvmSource } from '../src/chain/evm.ts'
import { createRpc } from '../src/chain/rpc.ts'
import { systemClock } from '../src/core/clock.ts'
import { silentLogger } from '../src/core/logger.ts'
import { createMetrics } from '../src/core/metrics.ts'
import { mlDsa } from '../src/core/ml-dsa-native.ts'
import { Wake } from '../src/core/wake.ts'
import type { Sql } from '../src/graph/connect.ts'
import { claimDatabase } from '../src/graph/cursor.ts'
import { type Cell, type Columns, insertRows } from '../src/graph/insert.ts'
import { syncChain } from '../src/ingest/sync.ts'
import { CALM_BLOCKS, CHAIN_ID, EVENTS_EACH } from './chain/generate.ts'
import { type BenchChain, startBenchChain } from './chain/process.ts'
import { cpuSecondsOf } from './cpu.ts'
import { against, type Comparison, exact, type Figure, median, must, rate, rounded } from './measure.ts'
import { type Databases, startDatabases } from './parts.ts'
import { installPonder, type Ponder } from './peer-ponder.ts'
import type { Bench } from './scratch.ts'

/** Events in a block where there are many. */
const DENSE = 130
/** One block in so many has an event where there are few. */
const SPARSE = 20
const CONTRIBUTORS = 64

export interface BackfillPlan {
  name: string
  events: number
  sparse: boolean
  runs: number
  /** Whether the peer is installed and runs over the same chain and server of databases. */
  peer: boolean
}

/** Reads a chain that is final from its first block on into an empty database: blocks, submissions, attestations, edges; no payloads. */
export async function benchSync(bench: Bench, plan: BackfillPlan): Promise<Figure[]> {
  const databases = await startDatabases(bench)
  const ponder = plan.peer ? await installPonder(bench) : null
  const chain = await startBenchChain(bench, {
    seed: 1,
    submissions: Math.ceil(plan.events / EVENTS_EACH),
    contributors: CONTRIBUTORS,
    eventsPerBlock: plan.sparse ? 1 : DENSE,
    everyBlocks: plan.sparse ? SPARSE : 1,
    readings: 0,
  })
  const runs = { ours: [] as Run[], floor: [] as number[] }
  for (let run = 1; run <= plan.runs; run++) {
    bench.progress(`${plan.name}: run ${run} of ${plan.runs}`)
    runs.ours.push(await indexChain(bench, databases, chain))
    runs.floor.push(chain.events / (await readRaw(bench, databases, chain)))
  }
  const perSecond = runs.ours.map(({ seconds }) => chain.events / seconds)
  const value = median(perSecond)
  const comparedWith: Comparison[] = [
    against(
      value,
      'eth_getLogs, decoding by hand and COPY into tables without an index',
      'events/s',
      median(runs.floor),
    ),
  ]
  const figures = ponder ? await runPeer(bench, databases, chain, ponder) : []
  for (const figure of figures) comparedWith.push(against(value, figure.name, 'events/s', figure.value))
  const each = (seconds: (run: Run) => number | null) =>
    rounded(median(runs.ours.map((run) => ((seconds(run) ?? Number.NaN) * 1e6) / chain.events)))
  const samples = chain.events * plan.runs
  return [
    rate(plan.name, 'events/s', perSecond, samples, {
      comparedWith,
      note: `${chain.events} events in ${chain.head} blocks, ${plan.sparse ? `one in ${SPARSE} blocks` : `${DENSE} a block`}; header hashes, parent hashes and blooms checked`,
    }),
    exact(
      `${plan.name}_cpu`,
      'us',
      each((run) => run.cpuSeconds),
      { samples, note: "CPU of the indexer's process for each event" },
    ),
    exact(
      `${plan.name}_postgres_cpu`,
      'us',
      each((run) => run.postgresSeconds),
      { samples, note: 'CPU of PostgreSQL for each event' },
    ),
    exact(`${plan.name}_rss`, 'bytes', Math.max(...runs.ours.map(({ rss }) => rss)), {
      samples: plan.runs,
      note: "most resident memory of the bench's process, which is the indexer and next to nothing else",
    }),
    ...figures,
  ]
}

interface Run {
  seconds: number
  cpuSeconds: number
  postgresSeconds: number | null
  rss: number
}

async function indexChain(bench: Bench, databases: Databases, chain: BenchChain): Promise<Run> {
  const { sql, drop } = await databases.fresh()
  const { registry, anchor, startBlock } = chain.deployment
  await claimDatabase(sql, chain.deployment)
  const source = createEvmSource(
    { registry, anchor, startBlock },
    { rpc: createRpc({ urls: [chain.url], chainId: CHAIN_ID }) },
  )
  const stopping = new AbortController()
  let rss = 0
  const cpu = process.cpuUsage()
  const postgres = cpuSecondsOf(databases.pid)
  const started = performance.now()
  await syncChain(
    {
      source,
      sql,
      context: { chainId: BigInt(CHAIN_ID), registry, mlDsa },
      clock: systemClock,
      logger: silentLogger,
      metrics: createMetrics(),
      ahead: { expect: () => {} },
      applied: new Wake(),
      finalised: new Wake(),
      progressed: () => {
        bench.check()
        rss = Math.max(rss, process.memoryUsage.rss())
        if ((source.status().final?.number ?? 0) >= chain.head) stopping.abort()
      },
    },
    stopping.signal,
  )
  const seconds = (performance.now() - started) / 1000
  const { user, system } = process.cpuUsage(cpu)
  const after = cpuSecondsOf(databases.pid)
  const [row] = await sql`
    select (select count(*) from submission where index is not null) as settled, (select count(*) from attestation) as attestations`
  must(row?.['settled'] === chain.submissions, 'not every submission is settled')
  must(row?.['attestations'] === 2 * chain.submissions, 'not every attestation is there')
  await drop()
  return {
    seconds,
    cpuSeconds: (user + system) / 1e6,
    postgresSeconds: after === null || postgres === null ? null : after - postgres,
    rss,
  }
}

const FLOOR: Readonly<Record<string, Columns>> = {
  submitted: {
    id: 'hex',
    contributor: 'hex',
    nonce: 'int8',
    sensor: 'text',
    dataset: 'text',
    schema_sha256: 'hex',
    payload_sha256: 'hex',
    payload_bytes: 'int8',
    uri: 'bytes',
    key_id: 'hex',
    quorum: 'int4',
    block: 'int8',
    log_index: 'int4',
    tx: 'hex',
  },
  attested: { id: 'hex', validator: 'hex', valid: 'bool', block: 'int8', log_index: 'int4', tx: 'hex' },
  settled: {
    id: 'hex',
    contributor: 'hex',
    index: 'int8',
    seq: 'int8',
    outcome: 'text',
    record: 'hex',
    acc: 'hex',
    block: 'int8',
    log_index: 'int4',
    tx: 'hex',
  },
}
const TYPES = {
  hex: 'bytea',
  bytes: 'bytea',
  int8: 'bigint',
  int4: 'integer',
  int2: 'smallint',
  bool: 'boolean',
  text: 'text',
}

/** The least that anybody must do: asks for the logs of final blocks one range after the other, decodes them, copies them. Seconds. */
async function readRaw(bench: Bench, databases: Databases, chain: BenchChain): Promise<number> {
  const { sql, drop } = await databases.fresh()
  for (const [name, columns] of Object.entries(FLOOR))
    await sql.unsafe(
      `create table floor_${name} (${Object.entries(columns)
        .map(([column, kind]) => `${column} ${TYPES[kind]}`)
        .join(', ')})`,
    )
  const { registry, anchor } = chain.deployment
  const rpc = createRpc({ urls: [chain.url], chainId: CHAIN_ID })
  // As many as an answer should hold, as the indexer has learned it.
  const width = Math.max(1, Math.floor((3_000 * (chain.head - CALM_BLOCKS)) / chain.events))
  const started = performance.now()
  for (let from = 1; from <= chain.head; from += width) {
    bench.check()
    const logs = await getLogs(rpc, {
      addresses: [registry, anchor],
      blocks: { from, to: Math.min(chain.head, from + width - 1) },
    })
    const rows: Record<string, Cell[][]> = { submitted: [], attested: [], settled: [] }
    for (const log of logs) {
      const e = decodeLog(log, { registry, anchor })
      const place = [Number.parseInt(log.blockNumber, 16), e?.logIndex ?? 0, log.transactionHash]
      if (e?.type === 'submitted')
        rows['submitted']!.push([
          e.id,
          e.contributor,
          e.nonce,
          e.sensor,
          e.dataset,
          e.schemaSha256,
          e.payloadHash,
          e.payloadBytes,
          e.uriBytes,
          e.keyId,
          e.quorum,
          ...place,
        ])
      else if (e?.type === 'attested') rows['attested']!.push([e.id, e.validator, e.valid, ...place])
      else if (e?.type === 'settled')
        rows['settled']!.push([e.id, e.contributor, e.index, e.seq, e.outcome, e.record, e.acc, ...place])
    }
    await sql.begin(async (tx) => {
      for (const [name, columns] of Object.entries(FLOOR))
        await insertRows(tx, `floor_${name}`, columns, rows[name]!)
    })
  }
  const seconds = (performance.now() - started) / 1000
  const [row] = await sql`select count(*) as n from floor_settled`
  must(row?.['n'] === chain.submissions, 'the floor did not read every settlement')
  await drop()
  return seconds
}

const STORES = 'its own rows of submissions and attestations, and a cache of blocks, transactions and logs'

async function runPeer(
  bench: Bench,
  databases: Databases,
  chain: BenchChain,
  ponder: Ponder,
): Promise<Figure[]> {
  const out: Figure[] = []
  for (const { name, addresses } of [
    { name: 'ponder_default', addresses: 1 },
    { name: 'ponder_tuned', addresses: 50 },
  ]) {
    const { sql, url, drop } = await databases.fresh()
    for (const cached of name === 'ponder_tuned' ? [false, true] : [false]) {
      const label = cached ? 'ponder_cached' : name
      bench.progress(`peer: ${label}`)
      const schema = cached ? 'again' : 'first'
      const seconds = await ponder.index(chain, url, schema, addresses)
      const [row] = await countRows(sql, schema)
      must(row?.['n'] === chain.submissions, 'the peer did not settle every submission')
      out.push(
        rate(label, 'events/s', [chain.events / seconds], chain.events, {
          note: `Ponder 0.17.7, ${addresses} ${addresses === 1 ? 'address' : 'addresses'} of one server${cached ? ', what it fetched before' : ''}; stores ${STORES}`,
        }),
      )
    }
    await drop()
  }
  return out
}

const countRows = (sql: Sql, schema: string) =>
  sql`select count(*) as n from ${sql(schema)}.submission where index is not null`
