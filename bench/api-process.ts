import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { createApi } from '../src/api/app.ts'
import { listen } from '../src/api/listen.ts'
import { systemClock } from '../src/core/clock.ts'
import { silentLogger } from '../src/core/logger.ts'
import { createMetrics } from '../src/core/metrics.ts'
import { mlDsa } from '../src/core/ml-dsa-native.ts'
import { connect } from '../src/graph/connect.ts'
import type { Deployment } from '../src/graph/cursor.ts'
import { createServiceContext } from '../src/service/context.ts'
import type { Bench } from './scratch.ts'

/** An API that a process of its own serves, as `dunes serve` does. */
export interface ApiProcess {
  url: string
  /** CPU microseconds that the process has used so far. */
  cpu(): Promise<number>
}

/** Starts a process that serves the API over the database at `url`; it ends with the group of figures. */
export async function startApi(bench: Bench, url: string, deployment: Deployment): Promise<ApiProcess> {
  const child = fork(fileURLToPath(import.meta.url), [url, JSON.stringify(deployment)], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  const exited = once(child, 'exit')
  bench.closing(async () => {
    if (child.connected) child.disconnect()
    await exited
  })
  const answer = async <T>(): Promise<T> => {
    const [value] = await Promise.race([
      once(child, 'message'),
      exited.then(([code]) => Promise.reject(new Error(`the API's process ended with ${code}`))),
    ])
    return value as T
  }
  return {
    url: await answer<string>(),
    cpu() {
      const answered = answer<number>()
      child.send('cpu')
      return answered
    },
  }
}

async function serve(url: string, deployment: Deployment): Promise<void> {
  const sql = await connect(url)
  const ctx = createServiceContext({
    sql,
    logger: silentLogger,
    metrics: createMetrics(),
    clock: systemClock,
    mlDsa,
    deployment,
  })
  const api = await listen(createApi(ctx), { port: 0 })
  process.on('message', () => {
    const { user, system } = process.cpuUsage()
    process.send?.(user + system)
  })
  process.once('disconnect', async () => {
    await api.close()
    await sql.end({ timeout: 5 })
    process.exit()
  })
  process.send?.(api.url)
}

const [, path, url, deployment] = process.argv
if (path === fileURLToPath(import.meta.url) && url !== undefined && deployment !== undefined)
  await serve(url, JSON.parse(deployment))
