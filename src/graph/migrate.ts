import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { readMigrationFiles } from 'drizzle-orm/migrator'
import { drizzle } from 'drizzle-orm/postgres-js'
import { migrate as runMigrations } from 'drizzle-orm/postgres-js/migrator'
import { connect, DatabaseError, databaseError, type Sql } from './connect.ts'
import { ensureDatasetViews } from './dataset-view.ts'

/** Where the repository keeps its migrations. */
export const MIGRATIONS = fileURLToPath(new URL('../../migrations', import.meta.url))
/** Key of the advisory lock that one migration at a time holds: the first eight bytes of "dunes mi". */
const LOCK = '7238539266757323113'

export interface MigrateResult {
  /** Names of the migrations that this call ran, in order; empty when there was nothing to do. */
  ran: string[]
  /** How many the database has now. */
  total: number
}

/**
 * Brings a database up to date. Safe to call from several processes at once: each waits for the one before. All
 * pending migrations commit together or not at all.
 * @param folder SQL files and `meta/_journal.json`, as drizzle writes them.
 * @throws DatabaseError MIGRATION_CHANGED when a migration that has run was edited, or the database has others that
 * this version of the program does not know; and what `connect` throws.
 */
export async function migrate(url: string, folder: string = MIGRATIONS): Promise<MigrateResult> {
  // One connection: the lock belongs to the session that migrates, and drizzle may change this client as it likes.
  const sql = await connect(url, { max: 1, applicationName: 'dunes migrate' })
  try {
    await sql`select pg_advisory_lock(${LOCK}::bigint)`
    const files = readMigrationFiles({ migrationsFolder: folder })
    const names = migrationNames(folder)
    const before = await applied(sql)
    before.forEach((hash, position) => {
      if (files[position]?.hash !== hash) throw changed(names[position], position)
    })
    await runMigrations(drizzle(sql), { migrationsFolder: folder })
    // Views of datasets follow the program, not the migrations: they come and go with what is registered.
    if (folder === MIGRATIONS) await ensureDatasetViews(sql)
    const total = (await applied(sql)).length
    return { ran: names.slice(before.length, total), total }
  } catch (error) {
    throw databaseError(error)
  } finally {
    await sql.end({ timeout: 5 })
  }
}

function migrationNames(folder: string): string[] {
  const journal = JSON.parse(readFileSync(join(folder, 'meta', '_journal.json'), 'utf8')) as {
    entries: { tag: string }[]
  }
  return journal.entries.map((entry) => entry.tag)
}

/** Hashes of the migrations that the database has had, oldest first. */
async function applied(sql: Sql): Promise<string[]> {
  const [table] = await sql`select to_regclass('drizzle.__drizzle_migrations') as name`
  if (table?.['name'] === null) return []
  const rows = await sql<
    { hash: string }[]
  >`select hash from drizzle.__drizzle_migrations order by created_at, id`
  return rows.map((row) => row.hash)
}

function changed(name: string | undefined, position: number): DatabaseError {
  const message =
    name === undefined
      ? `the database has a migration (number ${position}) that this version of Dunes does not know`
      : `migration ${name} was edited after it ran on this database`
  const hint =
    name === undefined ? 'use the newer version that made it' : 'restore the file, and add a new migration'
  return new DatabaseError('MIGRATION_CHANGED', message, { hint })
}
