import { randomBytes } from 'node:crypto'
import {
  chownSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { type FileLock, tryLock } from '../core/lock.ts'
import { type Logger, silentLogger } from '../core/logger.ts'
import {
  type Exit,
  endForeign,
  type Guarded,
  isAlive,
  processCommand,
  processCwd,
  type StopStep,
  spawnGuarded,
} from '../core/process.ts'
import { connect } from './connect.ts'
import { POSTGRES_ENV } from './postgres-binaries.ts'
import {
  choosePlace,
  dataVersion,
  makePrivate,
  type Place,
  PostgresError,
  stagedHome,
} from './postgres-place.ts'

export interface PrivatePostgresOptions {
  /** Directory of the server's own; created if need be. Holds the data, the log, the password and the lock. */
  dataDir: string
  log?: Logger
  /** False gives up safety against power loss for speed: for tests only. */
  durable?: boolean
  /** Where the binaries come from: the installed package, or the system. Both, in this order, unless told. */
  binaries?: 'package' | 'system'
  /** Server settings that win over ours. */
  settings?: Readonly<Record<string, string>>
}

export interface PrivatePostgres {
  /** Connection URL of the role that owns everything, for `connect`. Holds the password: never log it. */
  readonly url: string
  readonly pid: number
  /** Settles when the server ends by itself or is stopped, with how it ended. */
  readonly exited: Promise<Exit>
  /** Ends the server in an orderly way and waits for it. May be called twice. */
  stop(): Promise<void>
}

/** Role and database of the private server. */
const OWNER = 'dunes'
const PORT = 5432
/** Milliseconds to become ready: crash recovery replays at most max_wal_size of log. */
const START_MS = 120_000
/** pg_ctl's stop modes: fast ends sessions, immediate recovers at the next start. */
const STOP: readonly StopStep[] = [
  { signal: 'SIGINT', ms: 20_000 },
  { signal: 'SIGQUIT', ms: 5_000 },
  { signal: 'SIGKILL', ms: 5_000 },
]
const LOG_BYTES = 10_000_000

// A few connections on a small machine beside an indexer and a chain: a quarter of a gigabyte of cache, no parallel
// workers (they need more shared memory than containers have), and logs that do not grow by themselves. The database's own log is
// left uncompressed: most of it are pages of hashes, which take time to compress and stay as they are.
const SETTINGS: Readonly<Record<string, string>> = {
  listen_addresses: '',
  unix_socket_permissions: '0700',
  max_connections: '60',
  shared_buffers: '256MB',
  work_mem: '16MB',
  maintenance_work_mem: '128MB',
  max_wal_size: '1GB',
  jit: 'off',
  max_parallel_workers_per_gather: '0',
  random_page_cost: '1.1',
  log_checkpoints: 'off',
  log_min_messages: 'warning',
  TimeZone: 'UTC',
  log_timezone: 'UTC',
}
const NOT_DURABLE: Readonly<Record<string, string>> = {
  fsync: 'off',
  synchronous_commit: 'off',
  full_page_writes: 'off',
  wal_level: 'minimal',
  max_wal_senders: '0',
  shared_buffers: '128MB',
}

/**
 * Starts a PostgreSQL of our own and resolves when it answers. It listens on a unix socket alone, in a directory that
 * only we can enter, and asks for a random password that is kept in `<dataDir>/password` (mode 0600). As root it
 * runs as another user (see choosePlace). It ends with this process, even by SIGKILL; what a crash leaves behind is
 * ended, and its data recovered, by the next start.
 * @throws PostgresError POSTGRES_RUNNING when another copy uses `dataDir`, DATA_FORBIDDEN, POSTGRES_NOT_FOUND,
 * POSTGRES_NO_USER, POSTGRES_VERSION, POSTGRES_FAILED.
 */
export async function startPrivatePostgres(options: PrivatePostgresOptions): Promise<PrivatePostgres> {
  const dataDir = resolve(options.dataDir)
  const log = options.log ?? silentLogger
  const lock = takeLock(dataDir)
  try {
    const place = choosePlace(dataDir, options.binaries, log)
    const password = readPassword(dataDir, place)
    await endOrphan(place.data, log)
    if (dataVersion(place.data) === undefined) await initialise(place, dataDir, password, options, log)
    return await serve(place, dataDir, password, options, lock, log)
  } catch (error) {
    lock.release()
    throw error
  }
}

/** The URL of the server that another process runs on `dataDir`, or null when none does. */
export function runningPostgresUrl(dataDir: string): string | null {
  try {
    return readFileSync(join(dataDir, 'url'), 'utf8').trim()
  } catch {
    return null
  }
}

/**
 * Deletes the data of a private server, wherever it was staged.
 * @throws PostgresError POSTGRES_RUNNING while a server uses it.
 */
export async function removePrivatePostgres(dataDir: string, log: Logger = silentLogger): Promise<void> {
  if (!existsSync(dataDir)) return
  const lock = takeLock(resolve(dataDir))
  try {
    const staged = stagedHome(dataDir)
    await endOrphan(join(staged ?? resolve(dataDir), 'data'), log)
    if (staged) rmSync(staged, { recursive: true, force: true })
    rmSync(dataDir, { recursive: true, force: true })
  } finally {
    lock.release()
  }
}

function takeLock(dataDir: string): FileLock {
  let lock: FileLock | null
  try {
    // Whom root becomes must pass through to the data; files in here have modes of their own.
    mkdirSync(dirname(dataDir), { recursive: true })
    mkdirSync(dataDir, { recursive: true, mode: 0o711 })
    lock = tryLock(join(dataDir, 'lock'))
  } catch (cause) {
    throw new PostgresError('DATA_FORBIDDEN', `${dataDir} cannot be written: ${(cause as Error).message}`, {
      hint: 'run as the user that created it, or use another data directory',
      cause,
    })
  }
  if (lock) return lock
  throw new PostgresError('POSTGRES_RUNNING', `another copy runs on the data in ${dataDir}`, {
    hint: 'stop that copy first, or use another data directory',
    details: { dataDir },
  })
}

function readPassword(dataDir: string, place: Place): string {
  const path = join(dataDir, 'password')
  if (existsSync(path)) return readFileSync(path, 'utf8').trim()
  if (dataVersion(place.data) !== undefined) {
    throw new PostgresError('DATA_FORBIDDEN', `the password of the database in ${dataDir} is lost`, {
      hint: 'restore the file named password, or start with --fresh',
    })
  }
  const password = randomBytes(24).toString('base64url')
  writeFileSync(`${path}.new`, `${password}\n`, { mode: 0o600 })
  renameSync(`${path}.new`, path)
  return password
}

/** Ends a server that a crash left on this data. We hold the lock, so no living copy of ours runs it. */
async function endOrphan(data: string, log: Logger): Promise<void> {
  const path = join(data, 'postmaster.pid')
  if (!existsSync(path)) return
  const pid = Number.parseInt(readFileSync(path, 'utf8'), 10)
  if (!isAlive(pid) || !servesData(pid, data)) {
    // The number may by now be a stranger's, which would keep the server from starting.
    rmSync(path, { force: true })
    return
  }
  log.warn({ pid }, 'ending a database server that an earlier run left behind')
  if (await endForeign(pid, STOP)) return
  throw new PostgresError('POSTGRES_FAILED', `an earlier server (process ${pid}) cannot be ended`, {
    exitCode: 3,
  })
}

/** Whether a process is the PostgreSQL of this data directory: it works in there, or names it in its command. */
function servesData(pid: number, data: string): boolean {
  const real = realpathSync(data)
  const cwd = processCwd(pid)
  if (cwd !== null) return cwd === real
  const command = processCommand(pid) ?? ''
  return command.includes('postgres') && (command.includes(data) || command.includes(real))
}

/** Creates the cluster beside its final name and renames it when complete: a crash leaves nothing half made. */
async function initialise(
  place: Place,
  dataDir: string,
  password: string,
  options: PrivatePostgresOptions,
  log: Logger,
): Promise<void> {
  const began = performance.now()
  const fresh = `${place.data}.new`
  const secret = join(place.home, 'initdb-password')
  rmSync(fresh, { recursive: true, force: true })
  rmSync(place.data, { recursive: true, force: true })
  makePrivate(fresh, place.user)
  rmSync(secret, { force: true })
  writeFileSync(secret, `${password}\n`, { mode: 0o600, flag: 'wx' })
  if (place.user) chownSync(secret, place.user.uid, place.user.gid)
  const args = ['--pgdata', fresh, '--username', OWNER, '--auth', 'scram-sha-256', '--pwfile', secret]
  // Byte order sorts the same on every system, whatever its libraries' locales say.
  args.push('--encoding', 'UTF8', '--locale', 'C', '--data-checksums')
  if (options.durable === false) args.push('--no-sync')
  try {
    const output = openLog(dataDir)
    const child = await run(place, 'initdb', args, output)
    const exit = await child.exited
    if (exit.code !== 0) throw failed('initdb failed', dataDir)
  } finally {
    rmSync(secret, { force: true })
  }
  renameSync(fresh, place.data)
  log.info(
    { data: place.data, duration: Math.round(performance.now() - began) },
    'created a database cluster',
  )
}

async function serve(
  place: Place,
  dataDir: string,
  password: string,
  options: PrivatePostgresOptions,
  lock: FileLock,
  log: Logger,
): Promise<PrivatePostgres> {
  const began = performance.now()
  const socketDir = makeSocketDir(dataDir, place)
  const settings = { ...SETTINGS, ...(options.durable === false ? NOT_DURABLE : {}), ...options.settings }
  const args = ['-D', place.data, '-p', String(PORT), '-k', socketDir]
  for (const [name, value] of Object.entries(settings)) args.push('-c', `${name}=${value}`)
  const child = await run(place, 'postgres', args, openLog(dataDir))
  const urlFile = join(dataDir, 'url')
  const exited = child.exited.then((exit) => {
    rmSync(socketDir, { recursive: true, force: true })
    rmSync(urlFile, { force: true })
    lock.release()
    return exit
  })
  const stop = async () => {
    await child.stop(STOP)
    await exited
  }
  try {
    await ready(child, place.data, dataDir)
    const url = (database: string) =>
      `postgres://${OWNER}:${password}@localhost:${PORT}/${database}?host=${encodeURIComponent(socketDir)}`
    await ensureDatabase(url('postgres'))
    writeFileSync(urlFile, `${url(OWNER)}\n`, { mode: 0o600 })
    log.info(
      {
        pid: child.pid,
        major: place.major,
        user: place.user?.name,
        duration: Math.round(performance.now() - began),
      },
      'started PostgreSQL',
    )
    return { url: url(OWNER), pid: child.pid, exited, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

/** A short path (the system allows about 100 bytes) that nobody else can enter; the last one's remains are removed. */
function makeSocketDir(dataDir: string, place: Place): string {
  const note = join(dataDir, 'socket')
  if (existsSync(note)) {
    const old = readFileSync(note, 'utf8').trim()
    if (/\/dunes-pg-[^/]+$/.test(old)) rmSync(old, { recursive: true, force: true })
  }
  const base = existsSync('/tmp') ? '/tmp' : tmpdir()
  const path = mkdtempSync(join(base, 'dunes-pg-'))
  if (place.user) chownSync(path, place.user.uid, place.user.gid)
  writeFileSync(note, `${path}\n`, { mode: 0o600 })
  return path
}

async function run(place: Place, program: string, args: readonly string[], output: number): Promise<Guarded> {
  try {
    return await spawnGuarded(join(place.bin, program), args, {
      env: POSTGRES_ENV,
      output,
      orphanSignal: 'SIGINT',
      ...(place.user ? { uid: place.user.uid, gid: place.user.gid } : {}),
    })
  } catch (cause) {
    throw new PostgresError('POSTGRES_FAILED', `${program} cannot be run: ${(cause as Error).message}`, {
      exitCode: 3,
      cause,
    })
  } finally {
    closeSync(output)
  }
}

/** The postmaster's status is the eighth line of its pid file; `ready` means that it takes connections. */
async function ready(child: Guarded, data: string, dataDir: string): Promise<void> {
  const deadline = Date.now() + START_MS
  for (;;) {
    if (child.exit()) throw failed('PostgreSQL ended while starting', dataDir)
    const lines = readLines(join(data, 'postmaster.pid'))
    if (Number(lines[0]) === child.pid && lines[7]?.trim() === 'ready') return
    if (Date.now() > deadline) throw failed(`PostgreSQL was not ready within ${START_MS / 1000} s`, dataDir)
    await delay(10)
  }
}

function readLines(path: string): string[] {
  try {
    return readFileSync(path, 'utf8').split('\n')
  } catch {
    return []
  }
}

async function ensureDatabase(adminUrl: string): Promise<void> {
  const sql = await connect(adminUrl, { max: 1 })
  try {
    const found = await sql`select 1 from pg_database where datname = ${OWNER}`
    if (found.length === 0) await sql`create database ${sql(OWNER)}`
  } finally {
    await sql.end({ timeout: 5 })
  }
}

const logPath = (dataDir: string) => join(dataDir, 'postgres.log')

function openLog(dataDir: string): number {
  const path = logPath(dataDir)
  const large = existsSync(path) && statSync(path).size > LOG_BYTES
  return openSync(path, large ? 'w' : 'a', 0o600)
}

function failed(message: string, dataDir: string): PostgresError {
  const end = readLines(logPath(dataDir)).filter(Boolean).slice(-5).join(' / ')
  return new PostgresError('POSTGRES_FAILED', `${message}: ${end}`, {
    hint: `read ${logPath(dataDir)}`,
    exitCode: 3,
  })
}
