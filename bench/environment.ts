import { execFileSync } from 'node:child_process'
import { arch, cpus, loadavg, platform, release, totalmem } from 'node:os'
import { fileURLToPath } from 'node:url'
import { mlDsa } from '../src/core/ml-dsa-native.ts'

/** Where and of what the figures were taken. */
export interface Environment {
  node: string
  openssl: string
  cpu: string
  /** Logical ones. */
  cores: number
  memoryBytes: number
  os: string
  /** RFC 3339, UTC. */
  date: string
  /** Null outside a checkout. */
  commit: string | null
  /** Whether the checkout differed from the commit; null where there is none. */
  modified: boolean | null
  /** Which ML-DSA the indexer uses on this runtime. */
  mlDsa: 'native' | 'noble'
  /** Average of runnable processes in the last minute before the bench: well above 0 means a shared machine. */
  loadBefore: number
}

const ROOT = fileURLToPath(new URL('..', import.meta.url))

function git(...args: string[]): string | null {
  try {
    return execFileSync('git', args, {
      cwd: ROOT,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim()
  } catch {
    return null
  }
}

export function readEnvironment(): Environment {
  const processors = cpus()
  const status = git('status', '--porcelain')
  return {
    node: process.version,
    openssl: process.versions.openssl,
    cpu: processors[0]?.model.trim() ?? 'unknown',
    cores: processors.length,
    memoryBytes: totalmem(),
    os: `${platform()} ${release()} ${arch()}`,
    date: new Date().toISOString(),
    commit: git('rev-parse', 'HEAD'),
    modified: status === null ? null : status !== '',
    mlDsa: mlDsa.name,
    loadBefore: loadavg()[0] as number,
  }
}
