import { join } from 'node:path'
import { createEvmSource } from '../src/chain/evm.ts'
import { HeadSocket } from '../src/chain/head-socket.ts'
import { createRpc } from '../src/chain/rpc.ts'
import { type Hex, sha256, toHex } from '../src/core/bytes.ts'
import { systemClock } from '../src/core/clock.ts'
import { silentLogger } from '../src/core/logger.ts'
import { createMetrics } from '../src/core/metrics.ts'
import type { MlDsa } from '../src/core/ml-dsa.ts'
import { connect, type Sql } from '../src/graph/connect.ts'
import { migrate } from '../src/graph/migrate.ts'
import { removePrivatePostgres, startPrivatePostgres } from '../src/graph/postgres-private.ts'
import { createPayloadFetcher } from '../src/payload/fetch.ts'
import { createPipeline } from '../src/pipeline.ts'
import { SIGNERS, type Station, startWorld, type World } from '../test/support/world.ts'
import { reading } from './fixture.ts'
import { type PayloadHost, startPayloadHost } from './payload-host.ts'
import { type Bench, opened } from './scratch.ts'

/** Contributors of a chain, each with one sensor. */
export const STATIONS = 8
/** Places for fetches: those of `dunes start`. */
export const FETCHES = { perHost: 16, total: 512 }

/** One submission of a prepared chain. */
export interface Prepared {
  station: Station
  bytes: Uint8Array
  uri: string
  id: Hex
}

/** A database of the server. */
export interface Database {
  sql: Sql
  url: string
  /** The same database, once the server has been started anew. */
  reopen(): Promise<Database>
  drop(): Promise<void>
}

/** The server, and a way to get a fresh, migrated database on it. */
export interface Databases {
  /** Of the server. */
  readonly pid: number
  fresh(): Promise<Database>
  /** Ends the server, whose databases must be closed, in an orderly way, and starts it on the same data with its ordinary settings. */
  restart(): Promise<void>
}

/** What runs an indexer over a world. */
export interface Ingesting {
  world: World
  host: PayloadHost
  sql: Sql
  mlDsa: MlDsa
  pollMs: number
  /** Whether the node tells of new heads over WebSocket too. */
  socket?: boolean
}

/** A private PostgreSQL with its ordinary settings, durable and on a unix socket, unless `settings` say otherwise. */
export async function startDatabases(
  bench: Bench,
  settings: Readonly<Record<string, string>> = {},
): Promise<Databases> {
  const dataDir = join(bench.folder(), 'postgres')
  bench.closing(() => removePrivatePostgres(dataDir))
  let postgres = await startPrivatePostgres({ dataDir, settings })
  bench.closing(() => postgres.stop())
  let made = 0
  const run = async (statement: string) => {
    const admin = await connect(postgres.url, { max: 1 })
    await admin.unsafe(statement)
    await admin.end({ timeout: 5 })
  }
  const open = async (name: string): Promise<Database> => {
    const url = postgres.url.replace(/\/[^/?]*\?/, `/${name}?`)
    const sql = await connect(url)
    return {
      sql,
      url,
      reopen: () => open(name),
      async drop() {
        await sql.end({ timeout: 5 })
        await run(`drop database ${name} with (force)`)
      },
    }
  }
  return {
    get pid() {
      return postgres.pid
    },
    async fresh() {
      const name = `bench_${made++}`
      await run(`create database ${name}`)
      await migrate(postgres.url.replace(/\/[^/?]*\?/, `/${name}?`))
      return open(name)
    },
    async restart() {
      await postgres.stop()
      postgres = await startPrivatePostgres({ dataDir })
    },
  }
}

/** A chain with its contracts and contributors, and a payload host. */
export async function startParts(bench: Bench): Promise<{ world: World; host: PayloadHost }> {
  const world = await opened(bench, startWorld(STATIONS))
  const host = await opened(bench, startPayloadHost())
  return { world, host }
}

/** A signed payload of a station that is like no other of this chain, put on the host. */
export function prepare(world: World, host: PayloadHost, n: number, readings: number): Omit<Prepared, 'id'> {
  const station = world.stations[n % world.stations.length]!
  const values = Array.from({ length: readings }, (_, i) => reading(station.sensor, n * readings + i))
  const bytes = world.payload(station, values)
  return { station, bytes, uri: host.add(toHex(sha256(bytes)), bytes) }
}

/** The pipeline as `dunes start` composes it, but without an anchor writer. */
export function startPipeline({ world, host, sql, mlDsa: by, pollMs, socket }: Ingesting): {
  stop(): Promise<void>
  failed(): unknown
} {
  const { registry, anchor, startBlock } = world.deployment
  const rpc = createRpc({ urls: [world.rpcUrl], chainId: 31337 })
  const source = createEvmSource({ registry, anchor, startBlock, pollMs }, { rpc })
  const pipeline = createPipeline({
    deployment: world.deployment,
    source,
    fetcher: createPayloadFetcher({ ...FETCHES, allowedPrivate: [host.url.slice('http://'.length)] }),
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
  const running = pipeline.run(stopping.signal).catch((error) => {
    failure = error
  })
  if (socket)
    void new HeadSocket(
      { url: world.rpcUrl.replace('http', 'ws') },
      { wake: () => source.wake(), clock: systemClock },
    ).run(stopping.signal)
  return {
    failed: () => failure,
    async stop() {
      stopping.abort()
      await running
    },
  }
}
