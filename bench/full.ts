import { hash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { createEvmSource } from '../src/chain/evm.ts'
import { createRpc } from '../src/chain/rpc.ts'
import { systemClock } from '../src/core/clock.ts'
import { silentLogger } from '../src/core/logger.ts'
import { createMetrics } from '../src/core/metrics.ts'
import type { MlDsa } from '../src/core/ml-dsa.ts'
import { mlDsa } from '../src/core/ml-dsa-native.ts'
import type { Sql } from '../src/graph/connect.ts'
import { leafHash } from '../src/log/merkle.ts'
import { parseMaml } from '../src/maml/parse.ts'
import { createPayloadFetcher } from '../src/payload/fetch.ts'
import { createPipeline } from '../src/pipeline.ts'
import { judge } from '../src/receipt/judge.ts'
import { makeReceiptEntry } from '../src/receipt/make.ts'
import { mirrorBytes } from '../src/receipt/mirror.ts'
import { SIGNERS } from '../test/support/world.ts'
import { CHAIN_ID } from './chain/generate.ts'
import { type BenchChain, startBenchChain } from './chain/process.ts'
import { cpuSecondsOf } from './cpu.ts'
import { judgeFacts, settledFacts, signedPayload } from './fixture.ts'
import { believing } from './judge.ts'
import { against, exact, type Figure, measure, median, must, rate, rounded } from './measure.ts'
import { type Databases, FETCHES } from './parts.ts'
import type { Bench } from './scratch.ts'

/** Events in a block. */
const DENSE = 130
const CONTRIBUTORS = 64
/** Each way of indexing is run so often, in turn with the other. */
const RUNS = 2
/** Milliseconds that one indexing may take before something is taken to be broken. */
const PATIENCE_MS = 180_000
/** Milliseconds between two looks at how far it is. */
const LOOK_MS = 20

export interface Run {
  seconds: number
  /** CPU seconds of the indexer's process, all its threads; of its main thread; of PostgreSQL. */
  cpu: number
  main: number
  postgres: number
  /** Most resident memory in bytes. */
  rss: number
}

/** Indexes a chain from its first block into a new database, until every submission is a leaf. */
async function indexAll(
  bench: Bench,
  databases: Databases,
  chain: BenchChain,
  by: MlDsa,
  stored: boolean,
): Promise<Run> {
  const { sql, drop } = await databases.fresh()
  try {
    if (stored) await storePayloads(sql, chain)
    return await indexInto(bench, databases, sql, chain, by, 0)
  } finally {
    await drop()
  }
}

/** Indexes a chain into a database whose log has `before` leaves already. */
export async function indexInto(
  bench: Bench,
  databases: Databases,
  sql: Sql,
  chain: BenchChain,
  by: MlDsa,
  before: number,
): Promise<Run> {
  const { registry, anchor, startBlock } = chain.deployment
  const indexer = createPipeline({
    deployment: chain.deployment,
    source: createEvmSource(
      { registry, anchor, startBlock },
      { rpc: createRpc({ urls: [chain.url], chainId: CHAIN_ID }) },
    ),
    fetcher: createPayloadFetcher({ ...FETCHES, allowedPrivate: [chain.url.slice('http://'.length)] }),
    sql,
    mlDsa: by,
    signers: () => SIGNERS,
    anchor: null,
    clock: systemClock,
    logger: silentLogger,
    metrics: createMetrics(),
  })
  const stopping = new AbortController()
  let failure: unknown
  const cpu = process.cpuUsage()
  const main = process.threadCpuUsage()
  const postgres = cpuSecondsOf(databases.pid) ?? Number.NaN
  const started = performance.now()
  const running = indexer.run(stopping.signal).catch((error) => {
    failure = error
  })
  let rss = 0
  try {
    for (;;) {
      await delay(LOOK_MS)
      bench.check()
      rss = Math.max(rss, process.memoryUsage.rss())
      const [head] = await sql`select size from log_head`
      if (head?.['size'] >= before + chain.submissions) break
      if (failure) throw failure
      must(performance.now() - started < PATIENCE_MS, 'not every submission was logged in time')
    }
    const seconds = (performance.now() - started) / 1000
    const all = process.cpuUsage(cpu)
    const own = process.threadCpuUsage(main)
    const postgresAfter = cpuSecondsOf(databases.pid) ?? Number.NaN
    const [row] =
      await sql`select count(*) as n from submission where index >= ${before} and verdict = 'accepted'`
    must(row?.['n'] === chain.submissions, 'not every submission was accepted')
    return {
      seconds,
      cpu: (all.user + all.system) / 1e6,
      main: (own.user + own.system) / 1e6,
      postgres: postgresAfter - postgres,
      rss,
    }
  } finally {
    stopping.abort()
    await running
  }
}

/** Puts all payloads of the chain into the store, as contributors do with `PUT /v1/payloads`. */
export async function storePayloads(sql: Sql, chain: BenchChain): Promise<void> {
  must(chain.payloads !== null, 'the chain has no payloads')
  const file = createReadStream(chain.payloads)
  await sql.begin(async (tx) => {
    await pipeline(file, await tx`copy payload (sha256, bytes) from stdin (format binary)`.writable())
  })
  // What autovacuum does to a store that was filled some time ago.
  await sql`vacuum analyze payload`
}

/**
 * The whole indexer over a generated chain that is final before it starts: events to rows, stored payloads judged with their
 * signatures, receipts, leaves, checkpoints. With and without the verification of signatures.
 */
export async function benchFull(
  bench: Bench,
  databases: Databases,
  readings: number,
  submissions: number,
): Promise<Figure[]> {
  const chain = await startBenchChain(bench, {
    seed: 2,
    submissions,
    contributors: CONTRIBUTORS,
    eventsPerBlock: DENSE,
    everyBlocks: 1,
    readings,
  })
  const runs = { checked: [] as Run[], believed: [] as Run[] }
  // One run that counts for nothing, for the compiler and PostgreSQL to warm up.
  await indexAll(bench, databases, chain, mlDsa, true)
  for (let run = 1; run <= RUNS; run++) {
    bench.progress(`ingest: ${submissions} submissions of ${readings} readings, run ${run} of ${RUNS}`)
    runs.checked.push(await indexAll(bench, databases, chain, mlDsa, true))
    runs.believed.push(await indexAll(bench, databases, chain, believing(mlDsa), true))
  }
  await chain.stop()
  const label = `${readings}_${readings === 1 ? 'reading' : 'readings'}`
  const samples = submissions * RUNS
  const perSecond = (of: readonly Run[]) => of.map(({ seconds }) => submissions / seconds)
  const micros = (of: readonly Run[], which: (run: Run) => number) =>
    median(of.map((run) => (which(run) * 1e6) / submissions))
  const value = median(perSecond(runs.checked))
  const parts = await measureParts(readings)
  const cpu = micros(runs.checked, (run) => run.cpu)
  const postgres = micros(runs.checked, (run) => run.postgres)
  const total = cpu + postgres
  const share = (name: string, part: number, note: string) =>
    exact(`ingest_${label}_share_${name}`, '%', rounded((100 * part) / total), { samples, note })
  const figures: Figure[] = [
    rate(`ingest_${label}`, 'submissions/s', perSecond(runs.checked), samples, {
      comparedWith: [
        against(value, `ML-DSA-65 verify alone (${mlDsa.name}), all cores`, '1/s', parts.verifyPerSecond),
      ],
      note: `${submissions} submissions, settled and final before the indexer starts on an empty database, payloads in its store; from its start until all are leaves`,
    }),
    rate(`ingest_${label}_without_signature`, 'submissions/s', perSecond(runs.believed), samples, {
      note: 'the same, but every signature is believed',
    }),
    exact(`ingest_${label}_cpu`, 'us', rounded(cpu), {
      samples,
      note: "CPU of the indexer's process for a submission, all threads",
    }),
    exact(`ingest_${label}_main_thread_cpu`, 'us', rounded(micros(runs.checked, (run) => run.main)), {
      samples,
      note: 'of which on its main thread',
    }),
    exact(`ingest_${label}_postgres_cpu`, 'us', rounded(postgres), {
      samples,
      note: 'CPU of PostgreSQL for a submission',
    }),
    share(
      'verify',
      cpu - micros(runs.believed, (run) => run.cpu),
      'of all CPU: with signatures minus without',
    ),
    share('hash', parts.hash, 'of all CPU: the hashes of a payload, measured alone'),
    share('parse', parts.parse, 'of all CPU: the strict parse, measured alone'),
    share('log', parts.log, 'of all CPU: entry and leaf hash, measured alone'),
    share('postgres', postgres, 'of all CPU: COPY, indexes, reads, commits'),
    exact(`ingest_${label}_rss`, 'bytes', Math.max(...runs.checked.map(({ rss }) => rss)), {
      samples: RUNS,
      note: "most resident memory of the bench's process, which is the indexer and next to nothing else",
    }),
    exact(
      `ingest_${label}_security_lost_throughput`,
      '%',
      rounded(100 * (1 - value / median(perSecond(runs.believed)))),
      {
        samples,
        note: `submissions a second lost to signature verification; noisy, as it compares two medians of ${RUNS}`,
      },
    ),
  ]
  if (readings === 1) return figures
  return [
    ...figures,
    rate(
      `ingest_${label}_as_readings`,
      'readings/s',
      perSecond(runs.checked).map((one) => one * readings),
      samples * readings,
    ),
  ]
}

/** The same from payloads that are fetched over HTTP, one run. */
export async function benchFetched(
  bench: Bench,
  databases: Databases,
  submissions: number,
): Promise<Figure[]> {
  const chain = await startBenchChain(bench, {
    seed: 3,
    submissions,
    contributors: CONTRIBUTORS,
    eventsPerBlock: DENSE,
    everyBlocks: 1,
    readings: 1,
    hosted: true,
  })
  const { seconds } = await indexAll(bench, databases, chain, mlDsa, false)
  await chain.stop()
  return [
    rate('ingest_1_reading_fetched', 'submissions/s', [submissions / seconds], submissions, {
      note: `payloads from one HTTP host on this machine, ${FETCHES.perHost} at a time, a connection each; one run`,
    }),
  ]
}

/** Microseconds of CPU that parts of a verdict take by themselves, and how often a second all cores together verify. */
async function measureParts(
  readings: number,
): Promise<{ verifyPerSecond: number; hash: number; parse: number; log: number }> {
  const bytes = signedPayload(readings)
  const payload = parseMaml(bytes)
  const facts = settledFacts(bytes)
  const native = (input: Uint8Array) => hash('sha256', input, 'buffer')
  const judgement = judge(judgeFacts(bytes), { mlDsa: believing(mlDsa) })
  const { hashes, parse, log } = await measure({
    hashes: () => {
      native(bytes)
      native(mirrorBytes(bytes))
      native(payload.signedBytes)
      if (payload.signature.kind === 'present') native(payload.signature.bytes)
    },
    parse: () => parseMaml(bytes),
    log: () => leafHash(makeReceiptEntry(facts, judgement)),
  })
  const { publicKey } = judgeFacts(bytes).key!
  const { signature, signedBytes } = payload
  must(signature.kind === 'present', 'the payload is unsigned')
  const verifyOne = async () => {
    const context = new TextEncoder().encode('dunes.maml/v1')
    const aside = mlDsa.verifyAside
    const valid = aside
      ? await aside(65, publicKey, signedBytes, signature.bytes, context)
      : mlDsa.verify(65, publicKey, signedBytes, signature.bytes, context)
    must(valid, 'the signature is not valid')
  }
  const COUNT = 2_000
  const started = performance.now()
  let left = COUNT
  const lane = async () => {
    while (left-- > 0) await verifyOne()
  }
  await Promise.all(Array.from({ length: 8 }, lane))
  return {
    verifyPerSecond: (COUNT * 1000) / (performance.now() - started),
    hash: hashes.cpuMicros,
    parse: parse.cpuMicros,
    log: log.cpuMicros,
  }
}
