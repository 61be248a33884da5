import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { DunesError } from '../core/error.ts'
import type { Logger } from '../core/logger.ts'
import {
  findPostgres,
  linkLibraries,
  POSTGRES_ENV,
  type PostgresBinaries,
  runs,
} from './postgres-binaries.ts'

/**
 * Why the private PostgreSQL could not be started. Codes: POSTGRES_NOT_FOUND, POSTGRES_NO_USER, POSTGRES_VERSION,
 * POSTGRES_RUNNING (a second copy on the same data), DATA_FORBIDDEN, POSTGRES_FAILED (with the end of its log).
 */
export class PostgresError extends DunesError {
  override readonly name = 'PostgresError'
}

/** An existing account of this system. */
export interface SystemUser {
  name: string
  uid: number
  gid: number
}

/** Where the server's parts are and who runs it. */
export interface Place {
  /** Directory of the executables that `user` can run. */
  bin: string
  major: number
  /** Directory that `user` can enter; holds the data, and copies of binaries where that was necessary. */
  home: string
  /** The data directory proper; may not exist yet. */
  data: string
  /** Whom to become, or null to stay who we are. */
  user: SystemUser | null
}

/** Unprivileged accounts that root may become, best first. */
const DROP_TO = ['postgres', '_postgres', 'nobody']
/** Where data and binaries go when root's own directory is closed to the other user. Survives a reboot, then not. */
const STAGING = ['/var/tmp', '/tmp']

/**
 * Decides which PostgreSQL runs, as whom and where. PostgreSQL refuses to run as root, so root becomes another user;
 * what that user cannot reach (a checkout under a private home) is staged in a directory of that user's own, whose
 * random name is kept in `<dataDir>/staged`, so that nobody can prepare it beforehand.
 * @throws PostgresError POSTGRES_NOT_FOUND, POSTGRES_NO_USER, POSTGRES_VERSION or DATA_FORBIDDEN.
 */
export function choosePlace(dataDir: string, only: 'package' | 'system' | undefined, log: Logger): Place {
  const recorded = stagedHome(dataDir)
  const known = recorded ?? dataDir
  const major = dataVersion(join(known, 'data'))
  const user = chooseUser(join(known, 'data'))
  const sources: ('package' | 'system')[] = only ? [only] : ['package', 'system']
  let seen = false
  for (const source of sources) {
    const binaries = findPostgres(source, major)
    if (!binaries) continue
    seen = true
    for (const base of recorded ? [recorded] : [dataDir, ...STAGING]) {
      const home = base === known ? known : openStaging(base, user)
      if (home === null) continue
      const bin = canEnter(home, user) ? usable(binaries, home, user, log) : null
      if (bin !== null) {
        if (home !== known) moveHome(dataDir, home, user, log)
        return { bin, major: binaries.major, home, data: join(home, 'data'), user }
      }
      if (home !== known) rmSync(home, { recursive: true, force: true })
    }
  }
  if (major !== undefined && !seen) {
    throw new PostgresError(
      'POSTGRES_VERSION',
      `the data in ${known} is PostgreSQL ${major}'s, which is not installed`,
      {
        hint: `install PostgreSQL ${major}, or start with --fresh`,
        exitCode: 3,
      },
    )
  }
  const why = seen ? 'cannot be run here' : `is not installed for ${process.platform} ${process.arch}`
  throw new PostgresError('POSTGRES_NOT_FOUND', `PostgreSQL ${why}`, {
    hint: 'run npm ci without --omit=optional, install PostgreSQL 15 or later, or set DATABASE_URL',
    exitCode: 3,
  })
}

/** The major version that a data directory belongs to; undefined when there is none yet. */
export function dataVersion(data: string): number | undefined {
  try {
    return Number.parseInt(readFileSync(join(data, 'PG_VERSION'), 'utf8'), 10)
  } catch {
    return undefined
  }
}

/** The directory outside `dataDir` that an earlier start has taken, or null. */
export function stagedHome(dataDir: string): string | null {
  try {
    const home = readFileSync(join(dataDir, 'staged'), 'utf8').trim()
    return existsSync(home) ? home : null
  } catch {
    return null
  }
}

function chooseUser(data: string): SystemUser | null {
  const self = process.geteuid?.() ?? -1
  const owner = existsSync(data) ? statSync(data).uid : undefined
  if (self !== 0) {
    if (owner === undefined || owner === self) return null
    throw new PostgresError('DATA_FORBIDDEN', `${data} belongs to another user (uid ${owner})`, {
      hint: 'run as the user that created it, or use another data directory',
    })
  }
  const users = systemUsers()
  if (owner !== undefined && owner !== 0) {
    const { gid } = statSync(data)
    return users.find((user) => user.uid === owner) ?? { name: `uid ${owner}`, uid: owner, gid }
  }
  for (const name of DROP_TO) {
    const user = users.find((candidate) => candidate.name === name && candidate.uid !== 0)
    if (user) return user
  }
  throw new PostgresError(
    'POSTGRES_NO_USER',
    'PostgreSQL does not run as root, and there is no other user to become',
    {
      hint: `create one of the users ${DROP_TO.join(', ')}, run as a normal user, or set DATABASE_URL`,
      exitCode: 3,
    },
  )
}

function systemUsers(): SystemUser[] {
  return readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'))
    .map(([name = '', , uid, gid]) => ({ name, uid: Number(uid), gid: Number(gid) }))
    .filter((user) => Number.isInteger(user.uid) && user.uid >= 0 && Number.isInteger(user.gid))
}

const identity = (user: SystemUser | null) => (user ? { uid: user.uid, gid: user.gid } : {})

function canEnter(folder: string, user: SystemUser | null): boolean {
  try {
    const options = { cwd: '/', env: { ...POSTGRES_ENV }, stdio: 'ignore', ...identity(user) } as const
    execFileSync('/bin/sh', ['-c', 'cd "$1"', 'sh', folder], options)
    return true
  } catch {
    return false
  }
}

/** A directory of `binaries` that `user` can run: where they are, or a copy in `home`. */
function usable(
  binaries: PostgresBinaries,
  home: string,
  user: SystemUser | null,
  log: Logger,
): string | null {
  if (runs(binaries.bin, user ?? undefined) !== null) return binaries.bin
  if (binaries.root === null) return null
  const copy = join(home, `postgres-${binaries.major}`)
  const bin = join(copy, basename(binaries.bin))
  if (runs(bin, user ?? undefined) !== null) return bin
  rmSync(copy, { recursive: true, force: true })
  cpSync(binaries.root, copy, {
    recursive: true,
    verbatimSymlinks: true,
    // Static libraries are two megabytes that no server reads.
    filter: (path) => !path.endsWith('.a'),
  })
  openTree(copy)
  linkLibraries(copy)
  if (runs(bin, user ?? undefined) === null) {
    rmSync(copy, { recursive: true, force: true })
    return null
  }
  log.info(
    { from: binaries.root, to: copy, user: user?.name },
    'copied the PostgreSQL binaries to where they can be run',
  )
  return bin
}

/** Lets everyone read what the umask may have closed; writing stays with the owner. */
function openTree(root: string): void {
  chmodSync(root, 0o755)
  for (const entry of readdirSync(root, { recursive: true, withFileTypes: true })) {
    if (entry.isSymbolicLink()) continue
    const path = join(entry.parentPath, entry.name)
    chmodSync(path, entry.isDirectory() || lstatSync(path).mode & 0o100 ? 0o755 : 0o644)
  }
}

function openStaging(base: string, user: SystemUser | null): string | null {
  try {
    const home = mkdtempSync(join(base, 'dunes-postgres-'))
    if (user) chownSync(home, user.uid, user.gid)
    return home
  } catch {
    return null
  }
}

/** Moves data that earlier lay in `dataDir`, then records the new home; in this order, so that a crash loses none. */
function moveHome(dataDir: string, home: string, user: SystemUser | null, log: Logger): void {
  const old = join(dataDir, 'data')
  if (existsSync(old)) {
    const copy = join(home, 'data')
    cpSync(old, copy, { recursive: true, verbatimSymlinks: true, preserveTimestamps: true })
    if (user) chownTree(copy, user)
    chmodSync(copy, 0o700)
  }
  writeFileSync(join(dataDir, 'staged.new'), `${home}\n`, { mode: 0o600 })
  renameSync(join(dataDir, 'staged.new'), join(dataDir, 'staged'))
  rmSync(old, { recursive: true, force: true })
  log.warn(
    { home, user: user?.name, instead: dataDir },
    `staged the database in ${home}, as ${user?.name ?? 'this user'} cannot use ${dirname(dataDir)}`,
  )
}

function chownTree(root: string, user: SystemUser): void {
  chownSync(root, user.uid, user.gid)
  for (const entry of readdirSync(root, { recursive: true, withFileTypes: true })) {
    if (!entry.isSymbolicLink()) chownSync(join(entry.parentPath, entry.name), user.uid, user.gid)
  }
}

/** Creates a directory for `user` alone. */
export function makePrivate(path: string, user: SystemUser | null): void {
  mkdirSync(path, { recursive: true, mode: 0o700 })
  chmodSync(path, 0o700)
  if (user) chownSync(path, user.uid, user.gid)
}
