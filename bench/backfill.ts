import { setTimeout as delay } from 'node:timers/promises'
import { sha256 } from '../src/core/bytes.ts'
import { mlDsa } from '../src/core/ml-dsa-native.ts'
import { parseMaml } from '../src/maml/parse.ts'
import { verifyMaml } from '../src/maml/sign.ts'
import { createPayloadFetcher } from '../src/payload/fetch.ts'
import { payloadClaim } from '../src/service/registry-client.ts'
import type { World } from '../test/support/world.ts'
import { believing } from './judge.ts'
import { against, exact, type Figure, median, must, rate, rounded } from './measure.ts'
import {
  type Databases,
  FETCHES,
  type Ingesting,
  type Prepared,
  prepare,
  STATIONS,
  startParts,
  startPipeline,
} from './parts.ts'
import type { PayloadHost } from './payload-host.ts'
import type { Bench } from './scratch.ts'

/** Submissions in one transaction. */
const BATCH = 64
/** Each way of indexing is run so often, in turn with the other. */
const RUNS = 3
/** Milliseconds that one indexing may take before something is taken to be broken. */
const PATIENCE_MS = 120_000

/** Submits in batches and lets both validators attest in batches, all before anybody indexes. */
async function fillChain(
  bench: Bench,
  world: World,
  host: PayloadHost,
  count: number,
  readings: number,
): Promise<Prepared[]> {
  const out: Prepared[] = []
  // Batches are of one account: number n belongs to station n % STATIONS.
  for (let batch = 0; batch * BATCH < count; batch++) {
    bench.check()
    const station = batch % STATIONS
    const first = Math.floor(batch / STATIONS) * BATCH
    const items = Array.from({ length: BATCH }, (_, i) =>
      prepare(world, host, (first + i) * STATIONS + station, readings),
    )
    const client = world.stations[station]!.client
    const claims = items.map(({ station: { sensor }, bytes, uri }) => payloadClaim(sensor, bytes, uri))
    const { events } = await (await client.submitBatch(claims)).send()
    const ids = events.flatMap((event) => (event.type === 'submitted' ? [event.id] : []))
    must(ids.length === BATCH, 'a batch of submissions is not whole')
    for (const validator of world.validators)
      await (await validator.attestBatch(ids.map((id) => ({ id, valid: true })))).send()
    out.push(...items.map((item, i) => ({ ...item, id: ids[i]! })))
  }
  // All of it final before the clock starts.
  await world.mine(4)
  return out
}

interface Run {
  seconds: number
  /** CPU seconds of this process's main thread: the indexer, and next to nothing else. */
  cpuSeconds: number
}

/** Indexes a filled chain from its first block into an empty database, until every submission is a leaf. */
async function indexAll(
  bench: Bench,
  databases: Databases,
  parts: Omit<Ingesting, 'sql'>,
  count: number,
): Promise<Run> {
  const { sql, drop } = await databases.fresh()
  const cpu = process.threadCpuUsage()
  const started = performance.now()
  const indexer = startPipeline({ ...parts, sql })
  try {
    for (;;) {
      await delay(10)
      bench.check()
      const [head] = await sql`select size from log_head`
      if (head?.['size'] >= count) break
      if (indexer.failed()) throw indexer.failed()
      must(performance.now() - started < PATIENCE_MS, `${count} submissions were not logged in time`)
    }
    const seconds = (performance.now() - started) / 1000
    const { user, system } = process.threadCpuUsage(cpu)
    const [row] = await sql`select count(*) as n from submission where verdict = 'accepted'`
    must(row?.['n'] === count, 'not every submission was accepted')
    return { seconds, cpuSeconds: (user + system) / 1e6 }
  } finally {
    await indexer.stop()
    await drop()
  }
}

/** Indexes a chain that is full already, with and without the verification of signatures. */
export async function benchBackfill(
  bench: Bench,
  databases: Databases,
  readings: number,
  count: number,
): Promise<Figure[]> {
  bench.progress(`ingest: sending ${count} submissions of ${readings} readings to a new chain`)
  const { world, host } = await startParts(bench)
  const items = await fillChain(bench, world, host, count, readings)
  const runs = { checked: [] as Run[], believed: [] as Run[] }
  const parts = { world, host, pollMs: 250 }
  // One run that counts for nothing, for the compiler and for Postgres to warm up.
  await indexAll(bench, databases, { ...parts, mlDsa }, count)
  for (let run = 1; run <= RUNS; run++) {
    bench.progress(`ingest: indexing it, run ${run} of ${RUNS}`)
    runs.checked.push(await indexAll(bench, databases, { ...parts, mlDsa }, count))
    runs.believed.push(await indexAll(bench, databases, { ...parts, mlDsa: believing(mlDsa) }, count))
  }
  const perSecond = (of: Run[]) => of.map(({ seconds }) => count / seconds)
  const cpuMicros = (of: Run[]) => median(of.map(({ cpuSeconds }) => (cpuSeconds / count) * 1e6))
  const value = median(perSecond(runs.checked))
  const floors = await measureFloors(databases, host, items)
  const bytes = median(items.map((item) => item.bytes.length))
  const label = `${readings}_${readings === 1 ? 'reading' : 'readings'}`
  const samples = count * RUNS
  const note = `${count} submissions of ${bytes} bytes, sent, settled and final before the indexer starts on an empty database`
  const figures = [
    rate(`ingest_${label}`, 'submissions/s', perSecond(runs.checked), samples, {
      comparedWith: floors.map(({ name, perSecond: floor }) => against(value, name, '1/s', floor)),
      note: `${note}; from its start until all are leaves`,
    }),
    rate(`ingest_${label}_without_signature`, 'submissions/s', perSecond(runs.believed), samples, {
      note: 'the same, but every signature is believed',
    }),
    exact(`ingest_${label}_cpu`, 'us', rounded(cpuMicros(runs.checked)), {
      samples,
      note: "CPU of the indexer's one thread for each submission; PostgreSQL, anvil and the payload host are apart",
    }),
    exact(
      `ingest_${label}_security_added_cpu`,
      '%',
      rounded(100 * (1 - cpuMicros(runs.believed) / cpuMicros(runs.checked))),
      { samples, note: "share of the indexer's CPU that signature verification takes" },
    ),
    exact(
      `ingest_${label}_security_lost_throughput`,
      '%',
      rounded(100 * (1 - value / median(perSecond(runs.believed)))),
      {
        samples,
        note: 'submissions a second lost to signature verification; noisy, as it compares two medians of 3',
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

/** What parts of the work cost by themselves, one after the other, on the same data. */
async function measureFloors(
  databases: Databases,
  host: PayloadHost,
  items: readonly Prepared[],
): Promise<{ name: string; perSecond: number }[]> {
  const timed = async (work: () => Promise<void> | void) => {
    const runs: number[] = []
    for (let run = 0; run < RUNS; run++) {
      const started = performance.now()
      await work()
      runs.push((items.length * 1000) / (performance.now() - started))
    }
    return median(runs)
  }
  const keys = new Map(items.map(({ station }) => [station, mlDsa.publicKey(65, station.seed)]))
  const verify = await timed(() => {
    for (const { station, bytes } of items)
      must(verifyMaml(parseMaml(bytes), keys.get(station)!, mlDsa), 'a payload is not signed')
  })
  const fetcher = createPayloadFetcher({ ...FETCHES, allowedPrivate: [host.url.slice('http://'.length)] })
  const hashes = items.map(({ bytes }) => sha256(bytes))
  const fetched = await timed(async () => {
    const outcomes = await Promise.all(
      items.map(({ uri, bytes }, i) => fetcher.fetch({ uri, sha256: hashes[i]!, bytes: bytes.length })),
    )
    must(
      outcomes.every(({ kind }) => kind === 'bytes'),
      'a payload was not fetched',
    )
  })
  const { sql, drop } = await databases.fresh()
  await sql`create table floor (n bigint primary key, bytes bytea)`
  const copy = await timed(async () => {
    await sql`truncate floor`
    await sql.begin(async (tx) => {
      const to = await tx`copy floor from stdin`.writable()
      for (const [n, { bytes }] of items.entries()) {
        if (!to.write(`${n}\t\\\\x${Buffer.from(bytes).toString('hex')}\n`))
          await new Promise((resolve) => to.once('drain', resolve))
      }
      await new Promise<void>((resolve, reject) => to.once('error', reject).end(resolve))
    })
  })
  const insert = await timed(async () => {
    await sql`truncate floor`
    for (let at = 0; at < items.length; at += BATCH) {
      const rows = items.slice(at, at + BATCH)
      await sql`
        insert into floor select n, decode(b, 'hex') from unnest(
          ${rows.map((_, i) => at + i)}::bigint[],
          ${rows.map(({ bytes }) => Buffer.from(bytes).toString('hex'))}::text[]) as r(n, b)`
    }
  })
  const [row] = await sql`select count(*) as n from floor`
  must(row?.['n'] === items.length, 'the floor did not write every payload')
  await drop()
  return [
    { name: `ML-DSA-65 verify (${mlDsa.name}) and parse alone, one thread`, perSecond: verify },
    { name: `fetching the payloads alone, ${FETCHES.perHost} at a time`, perSecond: fetched },
    { name: 'COPY of the payloads alone, one transaction', perSecond: copy },
    { name: `INSERT of the payloads alone, ${BATCH} a transaction`, perSecond: insert },
  ]
}
