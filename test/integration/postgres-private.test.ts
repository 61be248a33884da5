import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest'
import { endForeign, isAlive, processCommand } from '../../src/core/process.ts'
import { connect } from '../../src/graph/connect.ts'
import { findPostgres, linkLibraries, POSTGRES_ENV, runs } from '../../src/graph/postgres-binaries.ts'
import { stagedHome } from '../../src/graph/postgres-place.ts'
import {
  type PrivatePostgres,
  type PrivatePostgresOptions,
  removePrivatePostgres,
  runningPostgresUrl,
  startPrivatePostgres,
} from '../../src/graph/postgres-private.ts'

const ROOT = process.geteuid?.() === 0
const WAIT = { timeout: 30_000, interval: 20 }

// Creating a cluster takes most of a start's time, so most tests begin with a copy of this one.
let template: string
beforeAll(async () => {
  template = mkdtempSync(join(tmpdir(), 'dunes-template-'))
  chmodSync(template, 0o755)
  const postgres = await startPrivatePostgres({ dataDir: join(template, 'postgres'), durable: false })
  await postgres.stop()
})
afterAll(async () => {
  await removePrivatePostgres(join(template, 'postgres'))
  rmSync(template, { recursive: true, force: true })
})

/** A cluster that has been used and stopped, with its owners and modes. */
const seed = () => execFileSync('cp', ['-a', join(template, 'postgres'), folder])

let folder: string
let dataDir: string
const clean: (() => unknown)[] = []
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'dunes-private-'))
  // mkdtemp makes it private, and the server may have to be another user's.
  chmodSync(folder, 0o755)
  dataDir = join(folder, 'postgres')
})
afterEach(async () => {
  for (const stop of clean.splice(0).reverse()) await stop()
  await removePrivatePostgres(dataDir)
  rmSync(folder, { recursive: true, force: true })
})

async function start(options: Partial<PrivatePostgresOptions> = {}): Promise<PrivatePostgres> {
  const postgres = await startPrivatePostgres({ dataDir, durable: false, ...options })
  clean.push(() => postgres.stop())
  return postgres
}

/** Runs one query and gives the first column of its first row. */
async function ask(url: string, query: string): Promise<unknown> {
  const sql = await connect(url, { max: 1 })
  try {
    const [row] = await sql.unsafe(query).values()
    return row?.[0]
  } finally {
    await sql.end({ timeout: 5 })
  }
}

/** Starts the server in a process of its own, which can then be killed. */
async function startElsewhere(): Promise<{ owner: ChildProcess; pid: number; url: string }> {
  const module = new URL('../../src/graph/postgres-private.ts', import.meta.url).href
  const script = `const { startPrivatePostgres } = await import(${JSON.stringify(module)})
    const { pid, url } = await startPrivatePostgres({ dataDir: ${JSON.stringify(dataDir)} })
    console.log(JSON.stringify({ pid, url }))`
  const owner = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  clean.push(() => owner.kill('SIGKILL'))
  const line = await new Promise<string>((resolve, reject) => {
    owner.stdout?.once('data', (data) => resolve(String(data)))
    owner.once('exit', () => reject(new Error('ended before the server answered')))
  })
  return { owner, ...(JSON.parse(line) as { pid: number; url: string }) }
}

const died = (child: ChildProcess) => new Promise((resolve) => child.once('exit', resolve))

test('starts PostgreSQL 18 as an ordinary user, reachable by nobody else', async () => {
  const { url, pid } = await start()
  expect(Math.floor(Number(await ask(url, 'show server_version_num')) / 10_000)).toBe(18)
  expect(await ask(url, 'show listen_addresses')).toBe('')
  expect(await ask(url, 'show server_encoding')).toBe('UTF8')
  expect(await ask(url, `select 'Z' collate "default" < 'a'`)).toBe(true)
  expect(statSync(join(stagedHome(dataDir) ?? dataDir, 'data', 'postmaster.pid')).uid).not.toBe(0)

  const target = new URL(url)
  const socketDir = target.searchParams.get('host') as string
  expect(statSync(socketDir).mode & 0o777).toBe(0o700)
  expect(Buffer.byteLength(`${socketDir}/.s.PGSQL.5432`)).toBeLessThan(100)
  for (const secret of ['password', 'url', 'postgres.log']) {
    expect(statSync(join(dataDir, secret)).mode & 0o077, secret).toBe(0)
  }
  expect(runningPostgresUrl(dataDir)).toBe(url)
  target.password = 'guess'
  await expect(connect(target.href)).rejects.toMatchObject({ code: 'DATABASE_REFUSED', exitCode: 3 })
  // Neither password nor URL may stand where every user's `ps` shows it.
  expect(processCommand(pid)).toContain('-D')
  expect(processCommand(pid)).not.toContain(new URL(url).password)
})

test('goes on with its data after a stop, and leaves nothing running', async () => {
  seed()
  const first = await start({ durable: true })
  expect(await ask(first.url, 'show fsync')).toBe('on')
  await ask(first.url, 'create table kept as select 42 as n')
  const socketDir = new URL(first.url).searchParams.get('host') as string
  await Promise.all([first.stop(), first.stop()])
  expect(isAlive(first.pid)).toBe(false)
  expect(existsSync(socketDir)).toBe(false)
  expect(runningPostgresUrl(dataDir)).toBeNull()
  const second = await start()
  expect(await ask(second.url, 'select n from kept')).toBe(42)
})

test('a stop does not wait for clients that stay connected', async () => {
  seed()
  const postgres = await start()
  const sql = await connect(postgres.url, { max: 1 })
  clean.push(() => sql.end({ timeout: 0 }))
  const asleep = sql`select pg_sleep(600)`.catch((error) => error.code)
  await vi.waitFor(async () => {
    expect(
      await ask(postgres.url, `select count(*)::int from pg_stat_activity where wait_event = 'PgSleep'`),
    ).toBe(1)
  }, WAIT)
  await postgres.stop()
  expect(isAlive(postgres.pid)).toBe(false)
  expect(['57P01', 'CONNECTION_CLOSED']).toContain(await asleep)
})

test('a second copy on the same data is refused, in this process and in another', async () => {
  seed()
  const { owner, url } = await startElsewhere()
  await expect(startPrivatePostgres({ dataDir })).rejects.toMatchObject({
    code: 'POSTGRES_RUNNING',
    details: { dataDir },
  })
  await expect(removePrivatePostgres(dataDir)).rejects.toMatchObject({ code: 'POSTGRES_RUNNING' })
  expect(await ask(url, 'select 1')).toBe(1)
  owner.kill('SIGKILL')
  await died(owner)
  await start()
  await expect(startPrivatePostgres({ dataDir })).rejects.toMatchObject({ code: 'POSTGRES_RUNNING' })
})

test('a start right after a crash recovers what was committed', async () => {
  seed()
  const { owner, url, pid } = await startElsewhere()
  await ask(url, 'create table kept as select g as n from generate_series(1, 1000) g')
  const socketDir = new URL(url).searchParams.get('host') as string
  owner.kill('SIGKILL')
  await died(owner)
  const next = await start()
  expect(isAlive(pid)).toBe(false)
  expect(await ask(next.url, 'select sum(n)::int from kept')).toBe(500_500)
  expect(existsSync(socketDir)).toBe(false)
})

test('a server that nobody guards is ended before its data is opened again', async () => {
  seed()
  const first = await start()
  await ask(first.url, 'create table kept as select 1 as n')
  await first.stop()
  const data = join(stagedHome(dataDir) ?? dataDir, 'data')
  const { uid, gid } = statSync(data)
  const found = findPostgres() as { bin: string }
  const args = ['-D', data, '-c', 'listen_addresses=', '-k', data]
  const identity = ROOT ? { uid, gid } : {}
  const orphan = spawn(join(found.bin, 'postgres'), args, {
    env: { ...POSTGRES_ENV },
    stdio: 'ignore',
    ...identity,
  })
  clean.push(() => orphan.kill('SIGQUIT'))
  await vi.waitFor(() => expect(readFileSync(join(data, 'postmaster.pid'), 'utf8')).toContain('ready'), WAIT)
  const next = await start()
  expect(isAlive(orphan.pid as number)).toBe(false)
  expect(await ask(next.url, 'select n from kept')).toBe(1)
})

test('a pid file that names a stranger neither stops the start nor harms the stranger', async () => {
  seed()
  const data = join(stagedHome(dataDir) ?? dataDir, 'data')
  const { uid, gid } = statSync(data)
  // The same user's, as PostgreSQL itself refuses to start over such a process.
  const stranger = spawn('/bin/sleep', ['600'], ROOT ? { uid, gid, cwd: '/' } : { cwd: '/' })
  clean.push(() => stranger.kill('SIGKILL'))
  writeFileSync(join(data, 'postmaster.pid'), `${stranger.pid}\n${data}\n1\n5432\n\n\n\n`)
  await start()
  expect(isAlive(stranger.pid as number)).toBe(true)
})

test('a cluster whose creation was cut off is made anew', async () => {
  mkdirSync(join(dataDir, 'data.new', 'base'), { recursive: true })
  writeFileSync(join(dataDir, 'data.new', 'PG_VERSION'), '18\n')
  const { url } = await start()
  expect(await ask(url, 'select 1')).toBe(1)
})

test('a server that cannot start says why, and frees the data for the next attempt', async () => {
  await expect(start({ settings: { shared_buffers: 'plenty' } })).rejects.toMatchObject({
    code: 'POSTGRES_FAILED',
    exitCode: 3,
    message: expect.stringContaining('shared_buffers'),
  })
  await start()
})

test('data of a version that is not installed is refused', async () => {
  const data = join(dataDir, 'data')
  mkdirSync(data, { recursive: true })
  writeFileSync(join(data, 'PG_VERSION'), '9\n')
  await expect(start()).rejects.toMatchObject({
    code: 'POSTGRES_VERSION',
    message: expect.stringContaining('9'),
  })
  expect(readFileSync(join(data, 'PG_VERSION'), 'utf8')).toBe('9\n')
})

test('a lost password is not replaced silently', async () => {
  seed()
  rmSync(join(dataDir, 'password'))
  await expect(start()).rejects.toMatchObject({
    code: 'DATA_FORBIDDEN',
    message: expect.stringContaining('password'),
  })
})

test('a system PostgreSQL serves where the package does not, and its absence is said', async () => {
  const system = findPostgres('system')
  if (system === null) {
    await expect(start({ binaries: 'system' })).rejects.toMatchObject({
      code: 'POSTGRES_NOT_FOUND',
      exitCode: 3,
    })
    return
  }
  const { url } = await start({ binaries: 'system' })
  expect(Math.floor(Number(await ask(url, 'show server_version_num')) / 10_000)).toBe(system.major)
})

test('library links that npm left out are made again', async () => {
  const root = findPostgres('package')?.root as string
  const copy = join(folder, 'native')
  cpSync(root, copy, {
    recursive: true,
    verbatimSymlinks: true,
    filter: (path) => !/\/share$|\.a$/.test(path),
  })
  for (const name of readdirSync(join(copy, 'lib'))) {
    const path = join(copy, 'lib', name)
    if (lstatSync(path).isSymbolicLink()) rmSync(path)
  }
  const bin = join(copy, 'bin')
  expect(runs(bin)).toBeNull()
  linkLibraries(copy)
  linkLibraries(copy)
  expect(runs(bin)).toMatch(/PostgreSQL\) 18/)
})

test('a list of links cannot lead out of its package', () => {
  const copy = join(folder, 'native')
  mkdirSync(copy)
  const evil = [{ source: 'native/a', target: 'native/../../escaped' }]
  writeFileSync(join(copy, 'pg-symlinks.json'), JSON.stringify(evil))
  linkLibraries(copy)
  expect(existsSync(join(dirname(folder), 'escaped'))).toBe(false)
  expect(readdirSync(folder)).not.toContain('escaped')
})

test('data that the server’s user cannot reach is staged elsewhere, and removed with the rest', async () => {
  // Only root becomes another user; anybody else reaches a directory of their own.
  chmodSync(folder, 0o700)
  const first = await start()
  await ask(first.url, 'create table kept as select 1 as n')
  const home = stagedHome(dataDir)
  expect(home !== null).toBe(ROOT)
  await first.stop()
  const second = await start()
  expect(stagedHome(dataDir)).toBe(home)
  expect(await ask(second.url, 'select n from kept')).toBe(1)
  await second.stop()
  await removePrivatePostgres(dataDir)
  expect(existsSync(dataDir)).toBe(false)
  expect(home !== null && existsSync(home)).toBe(false)
})

test('data follows when its directory is closed to the server’s user later', async () => {
  seed()
  const first = await start()
  await ask(first.url, 'create table kept as select 1 as n')
  await first.stop()
  expect(stagedHome(dataDir)).toBeNull()
  chmodSync(folder, 0o700)
  const second = await start()
  expect(stagedHome(dataDir) !== null).toBe(ROOT)
  expect(await ask(second.url, 'select n from kept')).toBe(1)
})

test('ending a process that ignores the first signal goes on to the next', async () => {
  const stubborn = spawn('/bin/sh', ['-c', 'trap "" INT TERM; echo up; while :; do sleep 0.1; done'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  clean.push(() => stubborn.kill('SIGKILL'))
  await new Promise((resolve) => stubborn.stdout?.once('data', resolve))
  const pid = stubborn.pid as number
  expect(await endForeign(pid, [{ signal: 'SIGTERM', ms: 100 }])).toBe(false)
  expect(isAlive(pid)).toBe(true)
  const steps = [{ signal: 'SIGTERM', ms: 100 } as const, { signal: 'SIGKILL', ms: 5_000 } as const]
  expect(await endForeign(pid, steps)).toBe(true)
})
