import { chmodSync, mkdirSync, statSync } from 'node:fs'
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
    // Who can read the file could hold it shared and so keep us out. Not by opening it: closing a file drops all
    // of a process's POSIX locks on it.
    if (statSync(path).uid === process.geteuid?.()) chmodSync(path, 0o600)
    db.exec('PRAGMA busy_timeout = 0; PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE')
  } catch (error) {
    db.close()
    if ((error as { errcode?: number }).errcode === SQLITE_BUSY) return null
    throw error
  }
  return { release: () => db.isOpen && db.close() }
}

const SQLITE_BUSY = 5
