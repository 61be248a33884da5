import { mkdirSync, openSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { type DestinationStream, pino } from 'pino'

/** The part of a pino logger that Dunes uses: facts first, then a past-tense sentence. */
export interface Logger {
  debug(facts: object, message: string): void
  info(facts: object, message: string): void
  warn(facts: object, message: string): void
  error(facts: object, message: string): void
  child(bindings: object): Logger
}

export type LogLevel = 'silent' | 'error' | 'warn' | 'info' | 'debug'

/** Milliseconds for which a line waits for a pipe that is full; those after it do not, until one gets through. */
const PATIENCE_MS = 1_000

/**
 * A destination for {@link createLogger}: a file descriptor, or a file, to which each line is added at once. A line that cannot be written,
 * as on a full disk, is lost, and nobody is held up: what a process does matters more than what it says. (pino's own destination ends
 * the process there, and cannot end itself.)
 */
export function openLog(dest: number | string): DestinationStream {
  if (typeof dest === 'string') mkdirSync(dirname(dest), { recursive: true })
  const file = typeof dest === 'string' ? openSync(dest, 'a') : dest
  // What was cut off must not run into the next line.
  let torn = false
  let stuck = false
  return {
    write(line) {
      let bytes = Buffer.from(torn ? `\n${line}` : line)
      const started = Date.now()
      for (;;) {
        try {
          const written = writeSync(file, bytes)
          torn = written < bytes.length
          stuck = false
          if (!torn) return
          bytes = bytes.subarray(written)
        } catch (error) {
          if (stuck || (error as NodeJS.ErrnoException).code !== 'EAGAIN') return
          stuck = Date.now() - started > PATIENCE_MS
          Atomics.wait(NOBODY, 0, 0, 10)
        }
      }
    },
  }
}

const NOBODY = new Int32Array(new SharedArrayBuffer(4))

/** Structured JSON lines to `destination`, standard error unless given: standard output belongs to a command's data. */
export const createLogger = (level: LogLevel, destination?: DestinationStream): Logger =>
  pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, destination ?? openLog(2))

export const silentLogger: Logger = {
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: () => {},
  child: () => silentLogger,
}
