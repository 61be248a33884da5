import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { createConnection } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { inject } from 'vitest'
import { type ConnectOptions, connect, type Sql } from '../../src/graph/connect.ts'
import { MIGRATIONS, migrate } from '../../src/graph/migrate.ts'

export interface TestDatabase {
  /** URL of the database, as its owner. */
  url: string
  /** A small pool on it. */
  sql: Sql
  /** Closes the pool and drops the database, whoever is still connected. */
  stop(): Promise<void>
}

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
  const url = server.replace(/\/[^/?]*\?/, `/${name}?`)
  const admin = await connect(server, { max: 1 })
  try {
    await admin`create database ${admin(name)}`
  } finally {
    await admin.end({ timeout: 5 })
  }
  if (migrated && existsSync(join(MIGRATIONS, 'meta', '_journal.json'))) await migrate(url)
  const sql = await connect(url, { max: 4, ...connectOptions })
  const stop = async () => {
    await sql.end({ timeout: 5 })
    const last = await connect(server, { max: 1 })
    try {
      await last`drop database if exists ${last(name)} with (force)`
    } finally {
      await last.end({ timeout: 5 })
    }
  }
  return { url, sql, stop }
}

async function serverUrl(): Promise<string> {
  const answer = await text(createConnection(inject('postgresSocket')))
  if (answer.startsWith('error: ')) throw new Error(answer.slice('error: '.length))
  return answer
}
