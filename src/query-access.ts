import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { toHex } from './core/bytes.ts'
import type { Config } from './core/config.ts'
import { createKey } from './core/key-file.ts'
import { connect } from './graph/connect.ts'
import { ensureQueryRole, QUERY_ROLE } from './graph/roles.ts'

/** Where the password of the role for queries is kept, readable to its owner alone. */
export const queryPasswordFile = (dataDir: string): string => join(dataDir, 'keys', 'query-database.key')

const asQueryRole = (databaseUrl: string, password: string): string =>
  databaseUrl.replace(/^(postgres(?:ql)?:\/\/)(?:[^@/?#]*@)?/, `$1${QUERY_ROLE}:${password}@`)

/** Makes the role for queries as the owner of a migrated database, with a password of its own, and answers its connection URL. */
export async function makeQueryAccess(databaseUrl: string, dataDir: string): Promise<string> {
  const file = queryPasswordFile(dataDir)
  const password = existsSync(file) ? readFileSync(file, 'utf8').trim() : toHex(createKey(file))
  const sql = await connect(databaseUrl, { max: 1 })
  try {
    await ensureQueryRole(sql, { password })
  } finally {
    await sql.end({ timeout: 5 })
  }
  return asQueryRole(databaseUrl, password)
}

/** The connection URL for queries that the settings give, or that `makeQueryAccess` left here; null without either. */
export function queryAccess(config: Config): string | null {
  if (config.queryDatabaseUrl) return config.queryDatabaseUrl
  const file = queryPasswordFile(config.dataDir)
  if (!config.databaseUrl || !existsSync(file)) return null
  return asQueryRole(config.databaseUrl, readFileSync(file, 'utf8').trim())
}
