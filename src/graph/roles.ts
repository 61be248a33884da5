import type { Sql } from './connect.ts'

/** The login role of processes that answer queries from outside. */
export const API_ROLE = 'dunes_api'

export interface ApiRoleOptions {
  /** Password of the role, from a file or the environment; never from a command line. */
  password: string
  /** Schemas whose tables the role may read, `public` unless told. */
  schemas?: readonly string[]
  /** Tables of the first schema that the role may also insert into. */
  insertInto?: readonly string[]
  /** Milliseconds that one statement of the role may take, 10,000 unless told. */
  statementTimeout?: number
}

/**
 * Creates or updates the least-privileged login role `dunes_api`: it reads every table of the given schemas, also
 * those that later migrations of this owner add, inserts only where told, and can create nothing. Run it after
 * `migrate`, as the owner. Safe to run twice and at once.
 */
export async function ensureRoles(sql: Sql, options: ApiRoleOptions): Promise<void> {
  const { schemas = ['public'], insertInto = [], statementTimeout = 10_000 } = options
  const role = sql(API_ROLE)
  await sql.begin(async (tx) => {
    // Roles belong to the whole server, so databases that are set up at once meet here.
    await tx`select pg_advisory_xact_lock(hashtext(${API_ROLE}))`
    const found = await tx`select 1 from pg_roles where rolname = ${API_ROLE}`
    if (found.length === 0) await tx`create role ${role} login nosuperuser nocreatedb nocreaterole noinherit`
    // ALTER ROLE takes no parameters, and the server's own quoting is the safe one.
    const [quoted] = await tx<[{ text: string }]>`select quote_literal(${options.password}::text) as text`
    await tx.unsafe(`alter role ${API_ROLE} password ${quoted.text}`)
    await tx.unsafe(`alter role ${API_ROLE} set statement_timeout = ${Math.trunc(statementTimeout)}`)
    await tx.unsafe(
      `alter role ${API_ROLE} set idle_in_transaction_session_timeout = ${Math.trunc(statementTimeout)}`,
    )
    const [here] = await tx<[{ name: string }]>`select current_database() as name`
    await tx`revoke temporary, create on database ${sql(here.name)} from public`
    await tx`grant connect on database ${sql(here.name)} to ${role}`
    for (const schema of schemas) {
      await tx`revoke create on schema ${sql(schema)} from public`
      await tx`revoke all on all tables in schema ${sql(schema)} from ${role}`
      await tx`grant usage on schema ${sql(schema)} to ${role}`
      await tx`grant select on all tables in schema ${sql(schema)} to ${role}`
      await tx`alter default privileges in schema ${sql(schema)} grant select on tables to ${role}`
    }
    const home = schemas[0]
    if (home === undefined) return
    for (const table of insertInto) {
      await tx`grant insert on ${sql(home)}.${sql(table)} to ${role}`
      // Identity columns draw from the table's own sequences.
      const sequences = await tx<{ name: string }[]>`
        select c.relname as name from pg_depend d join pg_class c on c.oid = d.objid and c.relkind = 'S'
        where d.refobjid = to_regclass(${`${home}.${table}`}) and d.deptype in ('a', 'i')`
      for (const { name } of sequences) await tx`grant usage on sequence ${sql(home)}.${sql(name)} to ${role}`
    }
  })
}

/** The login role of connections on which queries of strangers run. */
export const QUERY_ROLE = 'dunes_query'
/** Milliseconds that one query of a stranger may take, and may wait for a lock. */
export const QUERY_TIMEOUT_MS = 5_000
export const QUERY_LOCK_MS = 1_000

/**
 * Settings of a session on which strangers' queries run. They are sent when a connection is opened, so that they hold on any
 * server, and are kept with the role as well, so that they hold whoever opens it.
 */
export const QUERY_SETTINGS: Readonly<Record<string, string>> = {
  search_path: 'api',
  default_transaction_read_only: 'on',
  default_transaction_isolation: 'repeatable read',
  statement_timeout: String(QUERY_TIMEOUT_MS),
  lock_timeout: String(QUERY_LOCK_MS),
  // Between two statements of one transaction lies no more than this process's own work.
  idle_in_transaction_session_timeout: '15000',
  // A sort or a hash table may take as much, several of them the same each, then they go on in temporary files.
  work_mem: '16MB',
  hash_mem_multiplier: '1',
  max_parallel_workers_per_gather: '0',
  jit: 'off',
  // How often a running query looks whether anybody still waits for it.
  client_connection_check_interval: '500',
  TimeZone: 'UTC',
  DateStyle: 'ISO',
  IntervalStyle: 'iso_8601',
  bytea_output: 'hex',
  extra_float_digits: '1',
}
/** What only a superuser may set for a role: bytes of temporary files of one session. */
const QUERY_TEMP_FILES = '512MB'
/** Sessions of the role on the whole server. */
const QUERY_SESSIONS = 16

/**
 * Functions that everybody may call unless that is taken back, and by which a session could hold up, disturb or outstay others. Nothing
 * here needs them but the owner, who is a superuser where this works at all. Locks that end with their transaction stay: the API takes them.
 */
const DISTURBING: readonly string[] = [
  'pg_advisory_lock',
  'pg_advisory_lock_shared',
  'pg_try_advisory_lock',
  'pg_try_advisory_lock_shared',
  'pg_terminate_backend',
  'pg_cancel_backend',
  'pg_notify',
  'pg_export_snapshot',
  'pg_logical_emit_message',
  'query_to_xml',
  'query_to_xmlschema',
  'query_to_xml_and_xmlschema',
  'cursor_to_xml',
  'table_to_xml',
  'schema_to_xml',
  'database_to_xml',
  'lo_create',
  'lo_creat',
  'lo_from_bytea',
  'lo_open',
]

/**
 * Creates or updates the login role `dunes_query`, which can read the views of schema `api` and nothing else, and is held to the limits
 * of {@link QUERY_SETTINGS}. What needs a superuser is left out where the owner is none (`dunes doctor` says what is missing). Run it
 * after `migrate`, as the owner. Safe to run twice and at once.
 */
export async function ensureQueryRole(sql: Sql, { password }: { password: string }): Promise<void> {
  const role = sql(QUERY_ROLE)
  await sql.begin(async (tx) => {
    await tx`select pg_advisory_xact_lock(hashtext(${API_ROLE}))`
    const found = await tx`select 1 from pg_roles where rolname = ${QUERY_ROLE}`
    if (found.length === 0) {
      await tx`create role ${role} login nosuperuser nocreatedb nocreaterole noinherit noreplication nobypassrls`
    }
    const [quoted] = await tx<[{ text: string }]>`select quote_literal(${password}::text) as text`
    await tx.unsafe(`alter role ${QUERY_ROLE} connection limit ${QUERY_SESSIONS} password ${quoted.text}`)
    for (const [name, value] of Object.entries(QUERY_SETTINGS))
      await tx.unsafe(`alter role ${QUERY_ROLE} set ${name} = '${value}'`)
    const [here] = await tx<[{ name: string; super: boolean }]>`
      select current_database() as name, rolsuper as super from pg_roles where rolname = current_user`
    await tx`revoke temporary, create on database ${sql(here.name)} from public`
    await tx`grant connect on database ${sql(here.name)} to ${role}`
    await tx`revoke create on schema public from public`
    await tx`grant usage on schema api to ${role}`
    await tx`grant select on all tables in schema api to ${role}`
    await tx`alter default privileges in schema api grant select on tables to ${role}`
    if (!here.super) return
    await tx.unsafe(`alter role ${QUERY_ROLE} set temp_file_limit = '${QUERY_TEMP_FILES}'`)
    const functions = await tx<{ name: string }[]>`
      select p.oid::regprocedure::text as name from pg_proc p
      where p.pronamespace = 'pg_catalog'::regnamespace and p.proname = any(${DISTURBING as string[]}::text[])
        and has_function_privilege('public', p.oid, 'execute')`
    for (const { name } of functions)
      await tx.unsafe(`revoke execute on function pg_catalog.${name} from public`)
  })
}
