import { connect, parseDatabaseUrl, type Sql } from '../graph/connect.ts'
import { queryAccess } from '../query-access.ts'
import type { Invocation } from './command.ts'

/** What `dunes doctor` finds about strangers' queries. */
export interface QueryFinding {
  check: 'queries'
  state: 'ok' | 'warning' | 'problem'
  found: string
  todo?: string
}

const finding = (state: QueryFinding['state'], found: string, todo?: string): QueryFinding => ({
  check: 'queries',
  state,
  found,
  ...(todo !== undefined && { todo }),
})

/** Which of the protections of queries (docs/query.md) hold on the database that the settings name. */
export async function queryFindings({ config }: Invocation): Promise<QueryFinding[]> {
  const url = queryAccess(config)
  if (url === null)
    return [
      finding(
        'warning',
        'off: there is no connection for them',
        'run `dunes migrate --query-role` as the owner, or set DUNES_QUERY_DATABASE_URL',
      ),
    ]
  const sql = await connect(url, { max: 1, statementTimeout: 10_000 })
  try {
    const found = await missing(sql)
    if (parseDatabaseUrl(url).hosts.some(({ path }) => path === undefined))
      found.push(
        finding(
          'warning',
          'the database is on another machine: nothing here bounds the memory of one query there',
          'bound it on that machine (ulimit -d or a cgroup of the server), or run the database beside Dunes on a unix socket',
        ),
      )
    return found.length > 0
      ? found
      : [finding('ok', 'on, as a role that can read nothing else, with every limit')]
  } finally {
    await sql.end({ timeout: 5 })
  }
}

async function missing(sql: Sql): Promise<QueryFinding[]> {
  const [row] = await sql`
    select current_user as role, rolsuper as super, rolcreaterole or rolcreatedb or rolbypassrls as powerful,
           (select string_agg(n.nspname || '.' || c.relname, ', ') from pg_class c join pg_namespace n on n.oid = c.relnamespace
            where c.relkind in ('r', 'v', 'm', 'f', 'p') and n.nspname not in ('api', 'pg_catalog', 'information_schema')
              and n.nspname !~ '^pg_' and has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select')) as readable,
           has_database_privilege(current_database(), 'temporary') as temporary,
           has_function_privilege('pg_advisory_lock(bigint)', 'execute') as locks,
           current_setting('temp_file_limit') as temp_files,
           to_regclass('api."dunes:state"') is not null as views
    from pg_roles where rolname = current_user`
  const role = String(row?.['role'])
  const out: QueryFinding[] = []
  if (row?.['super'] === true || row?.['powerful'] === true)
    out.push(
      finding(
        'problem',
        `${role} is more than a reader`,
        'run `dunes migrate --query-role` and use that role',
      ),
    )
  if (row?.['views'] !== true)
    out.push(finding('problem', `${role} does not see the schema api`, 'run `dunes migrate --query-role`'))
  if (row?.['readable'] !== null)
    out.push(
      finding(
        'problem',
        `${role} can read ${row?.['readable']}`.slice(0, 300),
        `revoke that: only the views of schema api are for ${role}`,
      ),
    )
  if (row?.['temporary'] === true)
    out.push(
      finding(
        'warning',
        `${role} can make temporary tables`,
        'as the owner: REVOKE TEMPORARY ON DATABASE ... FROM PUBLIC',
      ),
    )
  if (row?.['temp_files'] === '-1')
    out.push(
      finding(
        'warning',
        'temporary files of a query are not bounded',
        `as a superuser: ALTER ROLE ${role} SET temp_file_limit = '512MB'`,
      ),
    )
  if (row?.['locks'] === true)
    out.push(
      finding(
        'warning',
        `${role} could take advisory locks, were it not for the guard before it`,
        'as a superuser: REVOKE EXECUTE ON FUNCTION pg_advisory_lock(bigint) FROM PUBLIC, or run `dunes migrate --query-role` as one',
      ),
    )
  return out
}
