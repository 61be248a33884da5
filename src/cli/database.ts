import { join } from 'node:path'
import { DunesError } from '../core/error.ts'
import { connect, type Sql } from '../graph/connect.ts'
import { migrate } from '../graph/migrate.ts'
import { startPrivatePostgres } from '../graph/postgres-private.ts'
import type { Invocation } from './command.ts'

/**
 * Runs `work` on the database that the settings name; without one, and where the devnet of this folder is down, on the devnet's own, which is
 * brought up for as long. Migrated first. Throws `DATABASE_URL_MISSING` and what connecting throws.
 */
export async function withDatabase<T>(call: Invocation, work: (sql: Sql) => Promise<T>): Promise<T> {
  const { config } = call
  const { databaseUrl, sources, dataDir } = config
  const ownsDevnet = databaseUrl === undefined || sources['databaseUrl'] === 'running devnet'
  if (databaseUrl !== undefined && (!ownsDevnet || (await isUp(databaseUrl)))) return use(databaseUrl, work)
  if (sources['chainId'] !== 'running devnet')
    throw new DunesError('DATABASE_URL_MISSING', 'no database is set', {
      hint: 'set DATABASE_URL, or run this where a devnet was started',
    })
  call.note('The devnet is down: bringing its database up for this.\n')
  const postgres = await startPrivatePostgres({ dataDir: join(dataDir, 'postgres') })
  try {
    return await use(postgres.url, work)
  } finally {
    await postgres.stop()
  }
}

/** Whether a server answers at `url`. Throws what is not about that. */
async function isUp(url: string): Promise<boolean> {
  try {
    await (await connect(url, { max: 1 })).end({ timeout: 5 })
    return true
  } catch (error) {
    if (error instanceof DunesError && error.code === 'DATABASE_UNREACHABLE') return false
    throw error
  }
}

async function use<T>(url: string, work: (sql: Sql) => Promise<T>): Promise<T> {
  await migrate(url)
  const sql = await connect(url, { applicationName: 'dunes backup' })
  try {
    return await work(sql)
  } finally {
    await sql.end({ timeout: 5 })
  }
}
