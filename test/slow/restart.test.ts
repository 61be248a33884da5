import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { connect, type Sql } from '../../src/graph/connect.ts'
import { migrate } from '../../src/graph/migrate.ts'
import {
  type PrivatePostgres,
  removePrivatePostgres,
  startPrivatePostgres,
} from '../../src/graph/postgres-private.ts'
import { startApi, type TestApi } from '../support/api.ts'
import { type DatabaseTcp, startDatabaseTcp } from '../support/database-tcp.ts'
import { expectStraightLoad } from '../support/straight-load.ts'
import { type Indexer, type Station, startIndexer, startWorld, until, type World } from '../support/world.ts'

// A server that is stopped or killed under a running indexer and API, and started again.

let world: World
let dataDir: string
let postgres: PrivatePostgres
/** Where the server is to be found, whichever of its starts it is. */
let address: DatabaseTcp
let sql: Sql
let apiSql: Sql
let api: TestApi

beforeAll(async () => {
  dataDir = join(mkdtempSync(join(tmpdir(), 'dunes-restart-')), 'postgres')
  ;[world, postgres] = await Promise.all([startWorld(1), startPrivatePostgres({ dataDir })])
  await migrate(postgres.url)
  address = await startDatabaseTcp(postgres.url)
  sql = await connect(address.url, { max: 8, silenceMs: 1_000 })
  apiSql = await connect(address.url, { max: 4, silenceMs: 1_000 })
  api = await startApi({ sql: apiSql, deployment: world.deployment })
})
afterAll(async () => {
  await api?.close()
  await apiSql?.end({ timeout: 1 })
  await sql?.end({ timeout: 1 })
  await address?.stop()
  await postgres?.stop()
  await removePrivatePostgres(dataDir)
  rmSync(join(dataDir, '..'), { recursive: true, force: true })
  await world?.stop()
})

let sent = 0
const send = async () => {
  const [station] = world.stations as [Station]
  await world.attest(await world.submitReading(station, sent++), sent % 3 > 0)
}
/** Waits until the API shows everything that was sent as anchored. */
const shown = (indexer: Indexer) =>
  until(
    `${sent} anchored submissions`,
    async () => {
      await world.mine(1)
      const answer = await api.get('/v1/submissions?state=anchored&limit=100')
      if (answer.status !== 200) return undefined
      return ((await answer.json()) as { items: unknown[] }).items.length === sent ? true : undefined
    },
    indexer,
    60_000,
  )

/** Waits until indexer and API both say that the database is away. */
async function held(indexer: Indexer): Promise<void> {
  await until(
    'the indexer to say so',
    async () => (indexer.pipeline.readiness().length > 0 ? true : undefined),
    indexer,
  )
  expect((await api.get('/v1/submissions?state=anchored&limit=100')).status).toBe(503)
}

/** Sends one more, and waits until all is anchored and nobody complains any more. */
async function goesOn(indexer: Indexer): Promise<void> {
  await send()
  await shown(indexer)
  await until(
    'the indexer to be ready',
    async () => (indexer.pipeline.readiness().length === 0 ? true : undefined),
    indexer,
  )
}

test('a stop, an immediate stop, a kill and a silence of the server hold indexer and API up, and lose nothing', async () => {
  const indexer = startIndexer(world, sql)
  await send()
  await shown(indexer)
  for (const signal of ['SIGINT', 'SIGQUIT', 'SIGKILL'] as const) {
    await send()
    // In the middle of its work, wherever that is.
    process.kill(postgres.pid, signal)
    await send()
    await postgres.exited
    await postgres.stop()
    await held(indexer)
    postgres = await startPrivatePostgres({ dataDir })
    // Each start has a socket of its own.
    address.move(postgres.url)
    await goesOn(indexer)
  }
  // The server is well, and nothing of it arrives: only who looks for silence finds out.
  await send()
  address.freeze()
  await send()
  await held(indexer)
  address.thaw()
  await goesOn(indexer)
  await indexer.stop()
  await expectStraightLoad(world, sql, sent)
}, 180_000)
