import { connect as dial, type Socket } from 'node:net'
import { createApi } from '../src/api/app.ts'
import { listen } from '../src/api/listen.ts'
import { systemClock } from '../src/core/clock.ts'
import { silentLogger } from '../src/core/logger.ts'
import { createMetrics } from '../src/core/metrics.ts'
import { mlDsa } from '../src/core/ml-dsa-native.ts'
import { createServiceContext } from '../src/service/context.ts'
import { deployment, fillGraph, submissionId } from '../test/support/graph.ts'
import { against, type Figure, median, must, rate } from './measure.ts'
import { startDatabases } from './parts.ts'
import type { Bench } from './scratch.ts'

/** Requests under way at a time, on as many connections; and the driver's queries. */
const AT_ONCE = 16
const SUBMISSIONS = 400
const ROUNDS = 7
const SECONDS = 1.5

/** Asks for one address after another on a connection that stays open, with as little work as HTTP allows. */
function asker(socket: Socket): (path: string) => Promise<string> {
  let received = ''
  let done: ((body: string) => void) | null = null
  socket.setEncoding('latin1')
  socket.on('data', (text: string) => {
    received += text
    const head = received.indexOf('\r\n\r\n')
    if (head < 0) return
    const length = Number(/content-length: (\d+)/i.exec(received.slice(0, head))?.[1])
    if (received.length < head + 4 + length) return
    const answer = received
    received = ''
    done?.(answer)
  })
  return (path) =>
    new Promise((resolve) => {
      done = resolve
      socket.write(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`)
    })
}

/** One submission by its id, over REST and from the driver alone: server, client and driver share this process. */
export async function benchReads(bench: Bench): Promise<Figure[]> {
  const databases = await startDatabases(bench)
  const { sql, drop } = await databases.fresh()
  bench.closing(drop)
  await fillGraph(sql, {
    submitted: SUBMISSIONS,
    settled: SUBMISSIONS,
    final: SUBMISSIONS,
    logged: SUBMISSIONS,
    anchored: SUBMISSIONS,
  })
  await sql`analyze`
  const ctx = createServiceContext({
    sql,
    logger: silentLogger,
    metrics: createMetrics(),
    clock: systemClock,
    mlDsa,
    deployment,
  })
  const api = await listen(createApi(ctx), { port: 0 })
  bench.closing(api.close)
  const { port } = new URL(api.url)
  const askers = Array.from({ length: AT_ONCE }, () => {
    const socket = dial({ port: Number(port), host: '127.0.0.1', noDelay: true })
    bench.closing(() => void socket.destroy())
    return asker(socket)
  })
  const ids = Array.from({ length: SUBMISSIONS }, (_, i) => submissionId(i))
  const keys = ids.map((id) => Buffer.from(id.slice(2), 'hex'))
  const first = await askers[0]?.(`/v1/submissions/${ids[0]}`)
  must(
    first?.startsWith('HTTP/1.1 200') === true && first.includes(ids[0] as string),
    'a read over REST failed',
  )

  /** Carries out as much as fits into a while, `AT_ONCE` at a time; answers how many a second. */
  const run = async (work: (lane: number, n: number) => Promise<unknown>): Promise<number> => {
    let count = 0
    const begun = performance.now()
    await Promise.all(
      askers.map(async (_, lane) => {
        while (performance.now() - begun < SECONDS * 1000) await work(lane, count++)
      }),
    )
    return (count * 1000) / (performance.now() - begun)
  }
  const rest: number[] = []
  const driver: number[] = []
  for (let round = -1; round < ROUNDS; round++) {
    bench.check()
    const [a, b] = [
      await run((lane, n) =>
        (askers[lane] as (path: string) => Promise<string>)(`/v1/submissions/${ids[n % SUBMISSIONS]}`),
      ),
      await run(
        (_, n) => sql`
        select s.*, c.account, se.name as sensor_name, d.name as dataset_name from submission s
        join contributor c on c.id = s.contributor join sensor se on se.id = s.sensor join dataset d on d.id = s.dataset
        where s.submission_id = ${keys[n % SUBMISSIONS] as Buffer}`,
      ),
    ]
    if (round < 0) continue
    rest.push(a)
    driver.push(b)
  }
  return [
    rate('point_reads_rest', 'reads/s', rest, SUBMISSIONS, {
      comparedWith: [
        against(median(rest), 'postgres.js alone, the same row with its names', 'reads/s', median(driver)),
      ],
      note: `/v1/submissions/{id}, ${AT_ONCE} at once; client and server share one process`,
    }),
  ]
}
