import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connect, type Sql } from '../../../src/graph/connect.ts'
import { type TestDatabase, testDatabase } from '../../support/postgres.ts'
import { type QueryWorld, startQueries } from '../../support/query.ts'

/** The role alone, with no guard before it: what it must not be able to do. */
let database: TestDatabase
let world: QueryWorld
let session: Sql
beforeAll(async () => {
  database = await testDatabase()
  world = await startQueries(database)
  session = await connect(world.queryUrl, { max: 1 })
}, 60_000)
afterAll(async () => {
  await session.end({ timeout: 5 })
  await world.stop()
  await database.stop()
})

/** SQLSTATE "insufficient privilege" (PostgreSQL documentation, appendix A). */
const NO_RIGHT = '42501'
/** "Object not in prerequisite state": the rewriter refuses a view that cannot be written before anybody's rights are looked at. */
const NOT_UPDATABLE = '55000'

/** The SQLSTATE by which a statement is refused where no read-only transaction refuses it first. */
const refusal = (statement: string): Promise<string> =>
  session
    .begin('read write', (tx) => tx.unsafe(statement))
    .then(
      () => 'none',
      (error: { code?: string; message: string }) => error.code ?? error.message,
    )
/** All relations of these kinds (`pg_class.relkind`) but the server's own and those of schema `api`, ready for SQL. */
const relations = async (...kinds: string[]): Promise<string[]> => {
  const rows = await database.sql<{ name: string }[]>`
    select format('%I.%I', n.nspname, c.relname) as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind = any(${kinds}::text[]) and n.nspname not in ('api', 'pg_catalog', 'information_schema', 'pg_toast')
    order by 1`
  return rows.map(({ name }) => name)
}

describe('the role for queries', () => {
  it('reads the views of its schema', async () => {
    expect(await session`select count(*)::int as n from helium_sensors`).toEqual([{ n: expect.any(Number) }])
    expect(await session`select log_size from api."dunes:state"`).toHaveLength(1)
  })
  it('cannot read any table, view or sequence outside of its schema', async () => {
    const names = await relations('r', 'p', 'v', 'm', 'f', 'S')
    expect(names).toEqual(expect.arrayContaining(['public.feed', 'public.totals', 'public.entity_id']))
    const refused: Record<string, string> = {}
    for (const name of names) refused[name] = await refusal(`select * from ${name}`)
    expect(refused).toEqual(Object.fromEntries(names.map((name) => [name, NO_RIGHT])))
  })
  it('cannot write any table', async () => {
    const names = await relations('r', 'p', 'f')
    // The tables of all migrations, those of two datasets, and the list of migrations.
    expect(names.length).toBeGreaterThanOrEqual(29)
    const statements = names.flatMap((name) => [
      `insert into ${name} default values`,
      `delete from ${name}`,
      `truncate ${name}`,
    ])
    const refused: Record<string, string> = {}
    for (const statement of statements) refused[statement] = await refusal(statement)
    expect(refused).toEqual(Object.fromEntries(statements.map((statement) => [statement, NO_RIGHT])))
  })
  it('holds no right but to read its views', async () => {
    const rows = await database.sql`
      select c.oid::regclass::text as name, r.name as "right" from pg_class c join pg_namespace n on n.oid = c.relnamespace,
        unnest(array['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER', 'MAINTAIN']) r (name)
      where c.relkind in ('r', 'p', 'v', 'm', 'f') and has_table_privilege('dunes_query', c.oid, r.name)
        and n.nspname not in ('pg_catalog', 'information_schema')`
    expect(rows).toEqual([])
    // The one of the server that everybody may update is a list of this session's own settings.
    const own = await database.sql`
      select c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where n.nspname in ('pg_catalog', 'information_schema') and c.relkind in ('r', 'p', 'v', 'm', 'f')
        and has_table_privilege('dunes_query', c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER, MAINTAIN')`
    expect(own).toEqual([{ name: 'pg_settings' }])
    const creating = await database.sql`
      select nspname as name from pg_namespace where has_schema_privilege('dunes_query', oid, 'create')`
    expect(creating).toEqual([])
  })
  it('can read no relation outside of its schema but what PostgreSQL shows to everybody', async () => {
    const rows = await session`
      select n.nspname || '.' || c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where c.relkind in ('r', 'v', 'm', 'f', 'p') and n.nspname not in ('api', 'pg_catalog', 'information_schema')
        and n.nspname not like 'pg_toast%' and has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select')`
    expect(rows).toEqual([])
  })
  it.each([
    [NOT_UPDATABLE, 'insert into helium_sensors (sensor_id) values (1)'],
    [NOT_UPDATABLE, 'delete from helium_sensors'],
    [NO_RIGHT, 'create table x (a int)'],
    [NO_RIGHT, 'create temp table x (a int)'],
    [NO_RIGHT, 'create table api.x (a int)'],
    [NO_RIGHT, 'create table public.x (a int)'],
    [NO_RIGHT, "insert into public.payload values ('a', 'b')"],
    [NO_RIGHT, 'alter view api.helium_sensors owner to dunes_query'],
    [NO_RIGHT, 'create schema x'],
    [NO_RIGHT, 'create view api.y as select 1'],
    [NO_RIGHT, 'create function api.f() returns int language sql as $$ select 1 $$'],
    [NO_RIGHT, 'create role x'],
    [NO_RIGHT, 'alter role dunes_query superuser'],
    [NO_RIGHT, 'set role dunes'],
    [NO_RIGHT, 'set session authorization dunes'],
    [NO_RIGHT, 'grant dunes to dunes_query'],
    [NO_RIGHT, "copy (select 1) to '/tmp/x'"],
    [NO_RIGHT, "copy (select 1) to program 'true'"],
    [NO_RIGHT, "select pg_read_file('/etc/passwd')"],
    [NO_RIGHT, "select pg_ls_dir('/')"],
    [NO_RIGHT, "select lo_import('/etc/passwd')"],
    [NO_RIGHT, 'select lo_create(0)'],
    [NO_RIGHT, 'select pg_advisory_lock(1)'],
    [NO_RIGHT, 'select pg_try_advisory_lock(1)'],
    [NO_RIGHT, 'select pg_terminate_backend(pg_backend_pid())'],
    [NO_RIGHT, 'select pg_reload_conf()'],
    [NO_RIGHT, 'select pg_promote()'],
    [NO_RIGHT, "select query_to_xml('select 1', true, true, '')"],
    [NO_RIGHT, "select pg_notify('a', 'b')"],
    [NO_RIGHT, 'select * from pg_authid'],
    [NO_RIGHT, 'select * from pg_statistic'],
    [NO_RIGHT, 'lock table helium_sensors in access exclusive mode'],
    [NO_RIGHT, 'select * from helium_sensors for update'],
    [NO_RIGHT, 'drop view api.helium_sensors'],
    [NO_RIGHT, 'comment on view api.helium_sensors is null'],
    [NO_RIGHT, "select nextval('public.entity_id')"],
    [NO_RIGHT, "load 'auto_explain'"],
    [NO_RIGHT, 'reset temp_file_limit; set temp_file_limit = -1'],
  ])('is told %s of: %s', async (code, statement) => {
    expect(await refusal(statement)).toBe(code)
  })
  it('cannot change the server, which no transaction can', async () => {
    await expect(session.unsafe('alter system set work_mem = 1')).rejects.toMatchObject({ code: NO_RIGHT })
  })
  it('writes in no transaction that it does not turn around itself', async () => {
    for (const statement of ['create table x (a int)', 'create temp table x (a int)', 'create role x'])
      await expect(session.unsafe(statement), statement).rejects.toMatchObject({ code: '25006' })
  })
  it('is held to its limits without being asked', async () => {
    const show = async (name: string) => Object.values((await session.unsafe(`show ${name}`))[0] ?? {})[0]
    expect(await show('default_transaction_read_only')).toBe('on')
    expect(await show('statement_timeout')).toBe('5s')
    expect(await show('lock_timeout')).toBe('1s')
    expect(await show('temp_file_limit')).toBe('512MB')
    expect(await show('search_path')).toBe('api')
    expect(await show('max_parallel_workers_per_gather')).toBe('0')
  })
})
