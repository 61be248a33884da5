import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

/** A lock that this process holds until `release`, or until it ends in whatever way. */
export interface FileLock {
  release(): void
}

/**
 * Takes an exclusive lock on a file, which is created if need be; null when another holder has it, in this process
 * or in another. The kernel drops the lock when its holder dies, SIGKILL included, so no stale lock is ever left.
 * Node has no flock; SQLite's own file lock is the one that it offers.
 * @throws the system's error when the file cannot be created or opened.
 */
export function tryLock(path: string): FileLock | null {
  mkdirSync(dirname(path), { recursive: true })
  const db = new DatabaseSync(path)
  try {
    db.exec('PRAGMA busy_timeout = 0; PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE')
  } catch (error) {
    db.close()
    if ((error as { errcode?: number }).errcode === SQLITE_BUSY) return null
    throw error
  }
  return { release: () => db.isOpen && db.close() }
}

const SQLITE_BUSY = 5
