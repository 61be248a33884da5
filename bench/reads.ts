import { findStatement } from '../src/service/submission-rows.ts'
import { deployment, fillGraph, submissionId } from '../test/support/graph.ts'
import { startApi } from './api-process.ts'
import { openAsker } from './asker.ts'
import { against, exact, type Figure, median, must, rate, rounded } from './measure.ts'
import { startDatabases } from './parts.ts'
import type { Bench } from './scratch.ts'

/** Requests under way at a time, on as many connections; and the driver's queries. */
const AT_ONCE = 16
const SUBMISSIONS = 400
const ROUNDS = 7
const SECONDS = 1.5
const ONE = findStatement(1)

/** What one way of reading came to. */
interface Ran {
  /** Reads a second. */
  rate: number
  /** Microseconds of CPU for one read, of the process that makes the answers. */
  cpu: number
}

/**
 * One submission by its id, over REST and from the driver alone. This process is the client of both: of the API, which a process of its
 * own serves, and of PostgreSQL, of which the driver here asks the very statement that the API asks of it.
 */
export async function benchReads(bench: Bench): Promise<Figure[]> {
  const databases = await startDatabases(bench)
  const { sql, url, drop } = await databases.fresh()
  bench.closing(drop)
  await fillGraph(sql, {
    submitted: SUBMISSIONS,
    settled: SUBMISSIONS,
    final: SUBMISSIONS,
    logged: SUBMISSIONS,
    anchored: SUBMISSIONS,
  })
  await sql`analyze`
  const api = await startApi(bench, url, deployment)
  const askers = Array.from({ length: AT_ONCE }, () => openAsker(bench, api.url))
  const ids = Array.from({ length: SUBMISSIONS }, (_, i) => submissionId(i))
  const keys = ids.map((id) => Buffer.from(id.slice(2), 'hex'))
  const ask = (lane: number, n: number) =>
    (askers[lane] as (path: string) => Promise<string>)(`/v1/submissions/${ids[n % SUBMISSIONS]}`)
  const query = (_: number, n: number) =>
    sql.unsafe(ONE, [keys[n % SUBMISSIONS] as Buffer], { prepare: true })
  const first = await ask(0, 0)
  must(first.startsWith('HTTP/1.1 200') && first.includes(ids[0] as string), 'a read over REST failed')
  must((await query(0, 0)).length === 1, 'a read by the driver failed')

  const ownCpu = async () => {
    const { user, system } = process.cpuUsage()
    return user + system
  }
  /** Carries out as much as fits into a while, `AT_ONCE` at a time. */
  const run = async (
    work: (lane: number, n: number) => Promise<unknown>,
    cpu: () => Promise<number>,
  ): Promise<Ran> => {
    let count = 0
    const before = await cpu()
    const begun = performance.now()
    await Promise.all(
      askers.map(async (_, lane) => {
        while (performance.now() - begun < SECONDS * 1000) await work(lane, count++)
      }),
    )
    const seconds = (performance.now() - begun) / 1000
    return { rate: count / seconds, cpu: ((await cpu()) - before) / count }
  }
  const rest: Ran[] = []
  const driver: Ran[] = []
  for (let round = -1; round < ROUNDS; round++) {
    bench.check()
    const [a, b] = [await run(ask, api.cpu), await run(query, ownCpu)]
    if (round < 0) continue
    rest.push(a)
    driver.push(b)
  }
  const rates = rest.map((ran) => ran.rate)
  const cpu = (rans: readonly Ran[]) => median(rans.map((ran) => ran.cpu))
  return [
    rate('point_reads_rest', 'reads/s', rates, SUBMISSIONS, {
      comparedWith: [
        against(
          median(rates),
          'postgres.js alone, the same statement',
          'reads/s',
          median(driver.map((ran) => ran.rate)),
        ),
      ],
      note: `/v1/submissions/{id}, ${AT_ONCE} at once; the server in a process of its own, the client of both in another`,
    }),
    exact('point_reads_rest_cpu', 'us', rounded(cpu(rest)), {
      samples: SUBMISSIONS,
      comparedWith: [
        against(cpu(rest), "the process of postgres.js alone, rows' objects made", 'us', cpu(driver)),
      ],
      note: "CPU of the server's process for one read; PostgreSQL and the client not in it",
    }),
  ]
}
