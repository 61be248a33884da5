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

const TABLES =
  `anchor anchor_tx attestation block checkpoint contributor contributor_key cursor dataset dataset_version deployment edge
  leaf leaf_policy log_head payload reading_helium_sensors reading_weather receipt_signature retrieval sensor submission tile validator`.split(
    /\s+/,
  )

describe('the role for queries', () => {
  it('reads the views of its schema', async () => {
    expect(await session`select count(*)::int as n from helium_sensors`).toEqual([{ n: expect.any(Number) }])
    expect(await session`select log_size from api."dunes:state"`).toHaveLength(1)
  })
  it.each(TABLES)('cannot read the table %s', async (table) => {
    await expect(session.unsafe(`select * from public."${table}"`)).rejects.toMatchObject({ code: '42501' })
  })
  it('can read no relation outside of its schema but what PostgreSQL shows to everybody', async () => {
    const rows = await session`
      select n.nspname || '.' || c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where c.relkind in ('r', 'v', 'm', 'f', 'p') and n.nspname not in ('api', 'pg_catalog', 'information_schema')
        and n.nspname not like 'pg_toast%' and has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select')`
    expect(rows).toEqual([])
  })
  it.each([
    'insert into helium_sensors (sensor_id) values (1)',
    'delete from helium_sensors',
    'create table x (a int)',
    'create temp table x (a int)',
    'create table api.x (a int)',
    'create schema x',
    'create view api.y as select 1',
    'create function api.f() returns int language sql as $$ select 1 $$',
    'create role x',
    'alter role dunes_query superuser',
    'set role dunes',
    'set session authorization dunes',
    'alter system set work_mem = 1',
    'grant dunes to dunes_query',
    "copy (select 1) to '/tmp/x'",
    "copy (select 1) to program 'true'",
    "select pg_read_file('/etc/passwd')",
    "select pg_ls_dir('/')",
    "select lo_import('/etc/passwd')",
    'select lo_create(0)',
    'select pg_advisory_lock(1)',
    'select pg_try_advisory_lock(1)',
    'select pg_terminate_backend(pg_backend_pid())',
    'select pg_reload_conf()',
    'select pg_promote()',
    "select query_to_xml('select 1', true, true, '')",
    "select pg_notify('a', 'b')",
    'select * from pg_authid',
    'select * from pg_statistic',
    'lock table helium_sensors in access exclusive mode',
    'select * from helium_sensors for update',
    'drop view api.helium_sensors',
    'comment on view api.helium_sensors is null',
    "select nextval('public.entity_id')",
    "load 'auto_explain'",
    'reset temp_file_limit; set temp_file_limit = -1',
  ])('cannot: %s', async (statement) => {
    await expect(session.unsafe(statement)).rejects.toMatchObject({
      code: expect.stringMatching(/^[0-9A-Z]{5}$/),
    })
  })
  it('cannot write even where it turns its transactions around', async () => {
    await expect(
      session.begin('read write', (tx) => tx.unsafe('create table api.x (a int)')),
    ).rejects.toMatchObject({ code: '42501' })
    await expect(
      session.begin('read write', (tx) => tx.unsafe("insert into public.payload values ('a', 'b')")),
    ).rejects.toMatchObject({ code: '42501' })
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
