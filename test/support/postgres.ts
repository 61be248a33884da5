import { randomBytes } from 'node:crypto'
import { createConnection } from 'node:net'
import { text } from 'node:stream/consumers'
import { inject } from 'vitest'
import { type ConnectOptions, connect, type Sql } from '../../src/graph/connect.ts'
import { migrate } from '../../src/graph/migrate.ts'

export interface TestDatabase {
  /** URL of the database, as its owner. */
  url: string
  /** A small pool on it. */
  sql: Sql
  /** Closes the pool and drops the database, whoever is still connected. */
  stop(): Promise<void>
}

// Migrated once per run; the others are copies of it.
const TEMPLATE = 'template_migrated'

/**
 * A fresh database on the run's PostgreSQL, migrated unless told otherwise. The caller stops it
 * (`afterAll(() => database.stop())`).
 */
export async function testDatabase(
  options: ConnectOptions & { migrated?: boolean } = {},
): Promise<TestDatabase> {
  const server = await serverUrl()
  const { migrated = true, ...connectOptions } = options
  const name = `test_${randomBytes(6).toString('hex')}`
  const url = databaseUrl(server, name)
  await asAdmin(server, async (admin) => {
    if (migrated) await ensureTemplate(admin, server)
    await admin`create database ${admin(name)} template ${admin(migrated ? TEMPLATE : 'template1')}`
  })
  const sql = await connect(url, { max: 4, ...connectOptions })
  const stop = async () => {
    await sql.end({ timeout: 5 })
    await asAdmin(server, (admin) => admin`drop database if exists ${admin(name)} with (force)`)
  }
  return { url, sql, stop }
}

/** Makes the template unless it is there; test files that come at once wait for the first. */
async function ensureTemplate(admin: Sql, server: string): Promise<void> {
  await admin`select pg_advisory_lock(hashtext(${TEMPLATE}))`
  const found = await admin`select 1 from pg_database where datname = ${TEMPLATE}`
  if (found.length === 0) {
    // It gets its name when it is complete: a run that dies half-way leaves no half template.
    const draft = `draft_${randomBytes(6).toString('hex')}`
    await admin`create database ${admin(draft)}`
    await migrate(databaseUrl(server, draft))
    await admin`alter database ${admin(draft)} rename to ${admin(TEMPLATE)}`
  }
  await admin`select pg_advisory_unlock(hashtext(${TEMPLATE}))`
}

async function asAdmin(server: string, work: (admin: Sql) => Promise<unknown>): Promise<void> {
  const admin = await connect(server, { max: 1 })
  try {
    await work(admin)
  } finally {
    await admin.end({ timeout: 5 })
  }
}

const databaseUrl = (server: string, name: string) => server.replace(/\/[^/?]*\?/, `/${name}?`)

async function serverUrl(): Promise<string> {
  const answer = await text(createConnection(inject('postgresSocket')))
  if (answer.startsWith('error: ')) throw new Error(answer.slice('error: '.length))
  return answer
}
