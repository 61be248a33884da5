import { mkdtempSync, rmSync, statfsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DunesError } from '../src/core/error.ts'

/** Databases of the ingest figures and their log take about a tenth of this. */
const NEEDED_BYTES = 2 * 1024 ** 3

/** What a group of figures is given. */
export interface Bench {
  /** A folder of its own below the system's temporary one; gone afterwards. */
  folder(): string
  /** Has `close` called at the end, whatever happens; the last one given is called first. */
  closing(close: () => Promise<void> | void): void
  /** Says on stderr what is being done. */
  progress(line: string): void
  /** Throws `INTERRUPTED` once somebody asked the bench to end. */
  check(): void
}

export interface Scratch extends Bench {
  /** Makes {@link Bench.check} throw from now on; answers whether there is nothing that must be ended first. */
  interrupt(): boolean
  /** Ends and removes everything that was opened since the last call. */
  close(): Promise<void>
}

/** Waits for what is being started, and has it stopped at the end. */
export async function opened<T extends { stop(): Promise<void> }>(
  bench: Bench,
  starting: Promise<T>,
): Promise<T> {
  const started = await starting
  bench.closing(() => started.stop())
  return started
}

/** Throws `NO_SPACE` where the temporary folder has less room than the bench may need. */
export function openScratch(): Scratch {
  const { bavail, bsize } = statfsSync(tmpdir())
  if (bavail * bsize < NEEDED_BYTES) {
    throw new DunesError('NO_SPACE', `${tmpdir()} has less than ${NEEDED_BYTES / 1024 ** 3} GiB free`, {
      hint: 'make room there, or let TMPDIR name a folder that has some',
      exitCode: 3,
    })
  }
  const closers: (() => Promise<void> | void)[] = []
  let interrupted = false
  return {
    folder() {
      const folder = mkdtempSync(join(tmpdir(), 'dunes-bench-'))
      closers.push(() => rmSync(folder, { recursive: true, force: true }))
      return folder
    },
    closing: (close) => closers.push(close),
    progress: (line) => process.stderr.write(`${line}\n`),
    check() {
      if (interrupted) throw new DunesError('INTERRUPTED', 'the bench was interrupted')
    },
    interrupt() {
      interrupted = true
      return closers.length === 0
    },
    async close() {
      for (let close = closers.pop(); close; close = closers.pop()) {
        try {
          await close()
        } catch (error) {
          process.stderr.write(`left something behind: ${error}\n`)
        }
      }
    },
  }
}
