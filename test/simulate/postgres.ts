import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, parseDatabaseUrl, type Sql } from '../../src/graph/connect.ts'
import { migrate } from '../../src/graph/migrate.ts'
import { removePrivatePostgres, startPrivatePostgres } from '../../src/graph/postgres-private.ts'

/** One PostgreSQL for a whole set of runs, and a migrated template that each run copies. */
export interface SimPostgres {
  /** Path of its unix socket. */
  socket: string
  /** The URL of a database as seen through the socket in `directory`. */
  urlAt(database: string, directory: string): string
  /** A database of its own for a run. */
  create(name: string): Promise<{ url: string; drop: () => Promise<void> }>
  stop(): Promise<void>
}

const TEMPLATE = 'template_simulation'

export async function startSimPostgres(): Promise<SimPostgres> {
  const folder = mkdtempSync(join(tmpdir(), 'dunes-simulation-'))
  const dataDir = join(folder, 'postgres')
  const server = await startPrivatePostgres({ dataDir, durable: false, settings: { autovacuum: 'off' } })
  const at = (database: string, directory?: string) => {
    const url = server.url.replace(/\/[^/?]*\?/, `/${database}?`)
    return directory ? url.replace(/host=[^&]*/, `host=${encodeURIComponent(directory)}`) : url
  }
  const admin: Sql = await connect(server.url, { max: 1 })
  await admin`create database ${admin(TEMPLATE)}`
  await migrate(at(TEMPLATE))
  return {
    socket: parseDatabaseUrl(server.url).hosts[0]?.path as string,
    urlAt: (database, directory) => at(database, directory),
    async create(name) {
      await admin`create database ${admin(name)} template ${admin(TEMPLATE)} strategy file_copy`
      return {
        url: at(name),
        drop: async () => void (await admin`drop database if exists ${admin(name)} with (force)`),
      }
    },
    async stop() {
      await admin.end({ timeout: 2 })
      await server.stop()
      await removePrivatePostgres(dataDir)
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
