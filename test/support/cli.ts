import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'

const DUNES = fileURLToPath(new URL('../../bin/dunes.js', import.meta.url))

export interface Ran {
  code: number | null
  stdout: string
  stderr: string
}

/** A folder of its own in which the real command line is run. */
export interface Shell {
  folder: string
  env: Record<string, string>
  /** Runs `dunes ...args` to its end. */
  dunes(...args: string[]): Promise<Ran>
  /** Starts `dunes ...args` and leaves it running; `stop` ends it if need be. */
  start(...args: string[]): ChildProcess
  stop(): Promise<void>
}

/** Only what the program needs of our environment, so that a developer's own settings change nothing. */
export function openShell(env: Record<string, string> = {}): Shell {
  const folder = mkdtempSync(join(tmpdir(), 'dunes-e2e-'))
  const all = { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? folder, NO_COLOR: '1', ...env }
  const running = new Set<ChildProcess>()
  const start = (...args: string[]) => {
    const child = spawn(process.execPath, [DUNES, ...args], {
      cwd: folder,
      env: all,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    running.add(child)
    child.once('exit', () => running.delete(child))
    return child
  }
  return {
    folder,
    env: all,
    start,
    async dunes(...args) {
      const child = start(...args)
      const code = new Promise<number | null>((resolve) => child.once('close', resolve))
      const [stdout, stderr] = await Promise.all([text(child.stdout as never), text(child.stderr as never)])
      return { code: await code, stdout, stderr }
    },
    async stop() {
      await Promise.all(
        [...running].map(
          (child) =>
            new Promise<void>((resolve) => {
              child.once('exit', () => resolve())
              child.kill('SIGTERM')
            }),
        ),
      )
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
