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
