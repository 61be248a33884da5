import { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import postgres from 'postgres'
import { DunesError } from '../core/error.ts'
import { addArrayTypes } from './array-types.ts'
import { type DatabaseTls, encrypt, takeTls } from './database-tls.ts'
import { watchSilence } from './silence.ts'
import { guardedBegin } from './transaction.ts'

/**
 * What the database refused or could not do. Codes: DATABASE_URL_INVALID, DATABASE_UNREACHABLE (retryable),
 * DATABASE_REFUSED (password, role or database name), DATABASE_TOO_OLD, INTEGER_TOO_LARGE.
 */
export class DatabaseError extends DunesError {
  override readonly name = 'DatabaseError'
}

/** The oldest server that Dunes is tested with, as `server_version_num`. */
export const OLDEST_SERVER = 150_000
/** Connections of a pool unless told otherwise: several times the cores of a small machine. */
export const DEFAULT_POOL = 10
/** Seconds to establish a connection. */
export const CONNECT_SECONDS = 10
const SILENCE_MS = 30_000
/** The server too finds out in a minute that this side is gone, and gives back its locks. */
const SERVER_KEEPALIVE = { tcp_keepalives_idle: 20, tcp_keepalives_interval: 10, tcp_keepalives_count: 4 }

export interface ConnectOptions {
  /** Most connections at once, 10 unless told. */
  max?: number
  /** What pg_stat_activity shows, `dunes` unless told. */
  applicationName?: string
  /** Milliseconds after which the server ends a statement; 0, the default, means never. */
  statementTimeout?: number
  /** Milliseconds that an open transaction may idle before the server ends it; 0, the default, means for ever. */
  idleInTransactionTimeout?: number
  /** Seconds after which an unused connection is closed; never unless told. */
  idleSeconds?: number
  /** False where statements cannot be prepared, such as behind a pooler in transaction mode. */
  prepare?: boolean
  /** How `bigint` columns arrive: a safe number (the default; beyond 2^53 - 1 the query fails), bigint, or string. */
  int8?: 'number' | 'bigint' | 'string'
  /** Milliseconds of a server's silence after which a connection is suspected of being dead, 30,000 unless told: `watchSilence`. */
  silenceMs?: number
  /** Further settings of each session, sent when it is opened. */
  settings?: Readonly<Record<string, string>>
  /** Called with each connection's socket when it is open. */
  onSocket?: (socket: Duplex) => void
  /** Called with each notice of the server; without it they are dropped. */
  onNotice?: (message: string) => void
}

/**
 * A postgres.js client. `bytea` is a Buffer (so a Uint8Array) both ways, `numeric` a string, `timestamptz` a Date,
 * and a bigint or a safe integer may be given for `bigint` parameters. Arrays are given as `sql.array([...])`.
 */
export type Sql = postgres.Sql<{ bigint: bigint }>

/**
 * Opens a pool and proves that it works: one query has been answered by a server that is not too old.
 * The URL is libpq's: `postgres://user:password@host:port/database`, and for a unix socket either
 * `?host=/directory` or the directory percent-encoded in the host's place.
 * drizzle changes the client that it is given, so it must have one of its own.
 * @throws DatabaseError DATABASE_URL_INVALID, DATABASE_UNREACHABLE, DATABASE_REFUSED or DATABASE_TOO_OLD.
 */
export async function connect(url: string, options: ConnectOptions = {}): Promise<Sql> {
  const sql = openPool(url, options)
  try {
    const [row] = await sql<[{ version: string }]>`select current_setting('server_version_num') as version`
    if (Number(row.version) >= OLDEST_SERVER) return sql
    throw new DatabaseError('DATABASE_TOO_OLD', `the database server is version ${row.version}`, {
      hint: `use PostgreSQL ${OLDEST_SERVER / 10_000} or later`,
    })
  } catch (error) {
    await sql.end({ timeout: 0 })
    throw databaseError(error)
  }
}

/** Like `connect`, but asks the server nothing yet: the first query finds out whether it is there. */
export function openPool(url: string, options: ConnectOptions = {}): Sql {
  const target = parseDatabaseUrl(url)
  const { statementTimeout, idleInTransactionTimeout, onNotice } = options
  const first = target.hosts[0]
  const sql = postgres(target.url, {
    host: first?.path ? 'localhost' : first?.host,
    port: first?.port,
    max: options.max ?? DEFAULT_POOL,
    prepare: options.prepare ?? true,
    idle_timeout: options.idleSeconds,
    connect_timeout: CONNECT_SECONDS,
    max_lifetime: null,
    onnotice: (notice) => onNotice?.(String(notice['message'])),
    connection: {
      application_name: options.applicationName ?? 'dunes',
      ...(statementTimeout ? { statement_timeout: statementTimeout } : {}),
      ...(idleInTransactionTimeout ? { idle_in_transaction_session_timeout: idleInTransactionTimeout } : {}),
      ...(first?.path ? {} : SERVER_KEEPALIVE),
      ...options.settings,
    },
    types: { bigint: int8(options.int8 ?? 'number') },
    fetch_types: false,
    ssl: false,
    socket: async () => {
      const socket = await openSocket({ ...target, silenceMs: options.silenceMs ?? SILENCE_MS })
      options.onSocket?.(socket)
      return socket
    },
  } as postgres.Options<{ bigint: postgres.PostgresType<bigint> }>) as unknown as Sql
  addArrayTypes(sql as unknown as postgres.Sql)
  sql.begin = guardedBegin(sql.begin)
  return sql
}

function int8(as: 'number' | 'bigint' | 'string'): postgres.PostgresType {
  const parse = {
    number: (text: string) => {
      const value = Number(text)
      if (Number.isSafeInteger(value)) return value
      throw new DatabaseError(
        'INTEGER_TOO_LARGE',
        `a bigint column holds ${text}, which no number can hold exactly`,
        {
          hint: 'read the column as text, or with int8: bigint',
        },
      )
    },
    bigint: (text: string) => BigInt(text),
    string: (text: string) => text,
  }[as]
  return { to: 20, from: [20], serialize: (value: unknown) => String(value), parse }
}

/** Where a pool connects to, and how. */
interface PoolTarget {
  readonly hosts: readonly DatabaseHost[]
  /** Unix sockets need none. */
  readonly tls: DatabaseTls | null
  readonly silenceMs: number
}

/** One address to try: a unix socket's path, or host and port. */
export interface DatabaseHost {
  path?: string
  host: string
  port: number
}

/**
 * Splits a database URL into what the driver understands and where to connect.
 * @throws DatabaseError DATABASE_URL_INVALID, without quoting the URL, as it may hold a password.
 */
export function parseDatabaseUrl(text: string): {
  url: string
  hosts: DatabaseHost[]
  tls: DatabaseTls | null
} {
  const invalid = (why: string) =>
    new DatabaseError('DATABASE_URL_INVALID', `the database URL ${why}`, {
      hint: 'use postgres://user:password@host:port/database, or ?host=/directory for a unix socket',
    })
  const parts = /^(postgres(?:ql)?:\/\/(?:[^@/?#]*@)?)([^@/?#]*)([/?].*)?$/.exec(text)
  if (!parts) throw invalid('is not a postgres:// URL')
  const [, before = '', authority = '', after = ''] = parts
  let url: URL
  try {
    url = new URL(`${before}localhost${after}`)
  } catch {
    throw invalid('cannot be parsed')
  }
  const asked = url.searchParams.get('host')
  const defaultPort = url.searchParams.get('port') ?? '5432'
  url.searchParams.delete('host')
  url.searchParams.delete('port')
  const tls = takeTls(url.searchParams)
  const hosts = (asked ?? authority).split(',').map((entry) => {
    const [, name = '', port = defaultPort] = /^(\[[^\]]*\]|[^:]*)(?::(\d+))?$/.exec(entry) ?? []
    // libpq lets the port stand in the authority while the host comes from the query.
    const authorityPort = asked ? /:(\d+)$/.exec(authority)?.[1] : undefined
    const number = Number(authorityPort ?? port)
    let host: string
    try {
      host = decodeURIComponent(name).replace(/^\[|\]$/g, '') || 'localhost'
    } catch {
      throw invalid('has a host that is not percent-encoded properly')
    }
    if (!Number.isInteger(number) || number < 1 || number > 65_535) throw invalid('has a port out of range')
    return host.startsWith('/')
      ? { path: `${host}/.s.PGSQL.${number}`, host, port: number }
      : { host, port: number }
  })
  return { url: url.href, hosts, tls }
}

/**
 * Connects to the first address that answers, without Nagle's delay (the driver never turns it off).
 * A refusal comes back as a stream that fails with a typed error when it is written to: the driver forgets a pool
 * slot whose factory throws, and would wait for it for ever.
 */
async function openSocket(pool: PoolTarget): Promise<Duplex> {
  const { hosts } = pool
  let refused: unknown
  for (const host of hosts) {
    try {
      return await dial(host, pool)
    } catch (error) {
      refused = error
    }
  }
  const error = unreachable(refused, hosts)
  return new Duplex({ read: () => {}, write: (_chunk, _encoding, done) => done(error) })
}

/**
 * A socket that never says that it closed because of an error: the driver then forgets the queries that were sent
 * after the error and before the close, and they never settle. Told of a plain close, it fails them.
 */
class DatabaseSocket extends Socket {
  override emit(event: string | symbol, ...values: unknown[]): boolean {
    return event === 'close' ? super.emit(event, false) : super.emit(event as string, ...values)
  }
}

async function dial(target: DatabaseHost, pool: PoolTarget): Promise<Socket> {
  const { hosts, tls, silenceMs } = pool
  const where = target.path ? { path: target.path } : { host: target.host, port: target.port }
  const raw = new DatabaseSocket()
  const timer = setTimeout(
    () => raw.destroy(new Error(`no answer within ${CONNECT_SECONDS} s`)),
    CONNECT_SECONDS * 1000,
  )
  try {
    await new Promise<void>((resolve, reject) => {
      raw.once('error', reject)
      raw.connect(where, () => {
        raw.removeListener('error', reject)
        resolve()
      })
    })
    raw.setNoDelay(true)
    // A peer that is gone without a word is found in a minute, not after the system's two hours, and no stage waits for it for ever.
    if (!target.path) keepAlive(raw)
    const socket = tls && !target.path ? await encrypt(raw, target.host, tls) : raw
    watchSilence(socket, where, {
      silenceMs,
      answerMs: Math.min(silenceMs, CONNECT_SECONDS * 1000),
      gone: (why) => unreachable(new Error(why), hosts),
    })
    // A proxy whose server is down accepts and hangs up. The driver would try again for ever, without a pause.
    socket.once('end', () => {
      if (socket.bytesRead === 0) socket.destroy(unreachable(new Error('it hung up without a word'), hosts))
    })
    // The driver's own messages name where it was from these.
    return Object.assign(socket, { host: target.host, port: target.port })
  } catch (error) {
    raw.on('error', () => {}).destroy()
    throw error
  } finally {
    clearTimeout(timer)
  }
}

/** First probe after 20 s of silence, then every 10 s, given up after the fourth. Older runtimes know the first number only. */
const keepAlive = (socket: Socket): void => {
  const probe = socket.setKeepAlive as (on: boolean, first: number, every: number, count: number) => Socket
  probe.call(socket, true, 20_000, 10_000, 4)
}

function unreachable(cause: unknown, hosts: readonly DatabaseHost[]): DatabaseError {
  const where = hosts.map((host) => host.path ?? `${host.host}:${host.port}`).join(', ')
  const why = cause instanceof Error ? cause.message || (cause as NodeJS.ErrnoException).code : String(cause)
  return new DatabaseError('DATABASE_UNREACHABLE', `the database at ${where} is unreachable: ${why}`, {
    hint: 'check that it runs and that DATABASE_URL is right',
    exitCode: 3,
    retryable: true,
    cause,
  })
}

// https://www.postgresql.org/docs/18/errcodes-appendix.html
const LOST = /^(08|57P0[1-5]|53300)/
const REFUSED = /^(28|3D)/
// postgres.js's own codes, and the system's for a connection that breaks in mid-query.
const DRIVER_LOST =
  /^(CONNECTION_CLOSED|CONNECTION_ENDED|CONNECTION_DESTROYED|CONNECT_TIMEOUT|ECONN.*|EPIPE|ETIMEDOUT)$/

/**
 * Turns an error of a query into a typed one where it says that the server is gone or refuses us; gives back any
 * other error, such as a constraint's, as it is.
 */
export function databaseError(error: unknown): unknown {
  if (error instanceof DunesError || !(error instanceof Error)) return error
  const code = String((error as { code?: unknown }).code ?? '')
  if (LOST.test(code) || DRIVER_LOST.test(code)) {
    return new DatabaseError('DATABASE_UNREACHABLE', `the database is unreachable: ${error.message}`, {
      hint: 'check that it runs and that DATABASE_URL is right',
      exitCode: 3,
      retryable: true,
      cause: error,
    })
  }
  if (REFUSED.test(code)) {
    return new DatabaseError('DATABASE_REFUSED', `the database refuses the connection: ${error.message}`, {
      hint: 'check user, password and database name in DATABASE_URL',
      exitCode: 3,
      cause: error,
    })
  }
  return error
}
