import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import {
  type PrivatePostgres,
  removePrivatePostgres,
  startPrivatePostgres,
} from '../../src/graph/postgres-private.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** Socket that answers each connection with the URL of the run's PostgreSQL, or with `error: ...`. */
    postgresSocket: string
  }
}

/**
 * One private PostgreSQL for a whole run, started when the first test asks for it, so that a run of pure tests starts
 * none. It lives here because test files run in processes that come and go.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const folder = mkdtempSync(join(tmpdir(), 'dunes-test-'))
  const dataDir = join(folder, 'postgres')
  const socket = join(folder, 'socket')
  let started: Promise<PrivatePostgres> | undefined
  const server = createServer((connection) => {
    connection.on('error', () => {})
    started ??= startPrivatePostgres({ dataDir, durable: false })
    started.then(
      (postgres) => connection.end(postgres.url),
      (error) => connection.end(`error: ${error}`),
    )
  })
  await new Promise<void>((resolve) => server.listen(socket, resolve))
  project.provide('postgresSocket', socket)
  return async () => {
    await new Promise((resolve) => server.close(resolve))
    await started?.then((postgres) => postgres.stop()).catch(() => {})
    await removePrivatePostgres(dataDir)
    rmSync(folder, { recursive: true, force: true })
  }
}
