import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { readFileSync, readlinkSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'

/** How a process ended: its exit code, or the signal that ended it. */
export interface Exit {
  code: number | null
  signal: NodeJS.Signals | null
}

/** One step of ending a process: send `signal`, then wait `ms` milliseconds before the next step. */
export interface StopStep {
  signal: NodeJS.Signals
  ms: number
}

export interface GuardedOptions {
  /** Working directory; `/` unless told, as the caller's own may be closed to `uid`. */
  cwd?: string
  env?: Readonly<Record<string, string>>
  /** Only root may give these. Supplementary groups are dropped too. */
  uid?: number
  gid?: number
  /** File descriptor that takes stdout and stderr; the caller closes its own copy. */
  output: number
  /** What the guard sends when this process disappears without stopping the child. */
  orphanSignal: NodeJS.Signals
}

/** A child in a session of its own, which outlives a terminal's Ctrl-C but not the process that started it. */
export interface Guarded {
  readonly pid: number
  /** Settles when the child has ended; never rejects. */
  readonly exited: Promise<Exit>
  /** The child's end, or null while it runs. */
  readonly exit: () => Exit | null
  /** Ends the child step by step; resolves once it is gone, at once if it already is. */
  stop(steps: readonly StopStep[]): Promise<Exit>
}

// Reads until the pipe from our process closes, which the kernel does however we end, then signals the child.
const GUARD = 'while read -r _; do :; done; kill -s "$1" "$2" 2>/dev/null'

/**
 * Starts `command` so that it ends with this process: on an orderly stop by `stop`, and after a crash or SIGKILL
 * by a small shell that waits on a pipe from us. (Node has no PR_SET_PDEATHSIG, and macOS has none at all.)
 * As with any child, our event loop lives until it has ended: whoever starts it stops it.
 * @throws the spawn's own error (ENOENT, EACCES, EPERM) when the command cannot be started.
 */
export async function spawnGuarded(
  command: string,
  args: readonly string[],
  options: GuardedOptions,
): Promise<Guarded> {
  const child = spawn(command, args, {
    cwd: options.cwd ?? '/',
    env: options.env ?? {},
    stdio: ['ignore', options.output, options.output],
    detached: true,
    ...(options.uid === undefined ? {} : { uid: options.uid }),
    ...(options.gid === undefined ? {} : { gid: options.gid }),
  })
  let ended: Exit | null = null
  const exited = new Promise<Exit>((resolve) => {
    child.once('exit', (code, signal) => {
      ended = { code, signal }
      resolve(ended)
    })
  })
  await started(child)
  const pid = child.pid as number
  const name = options.orphanSignal.replace(/^SIG/, '')
  const guard = spawn('/bin/sh', ['-c', GUARD, 'dunes-guard', name, String(pid)], {
    cwd: '/',
    env: { PATH: '/usr/bin:/bin' },
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  })
  guard.on('error', () => {})
  guard.stdin?.on('error', () => {})
  guard.unref()
  ;(guard.stdin as unknown as { unref?: () => void } | null)?.unref?.()
  // The guard must not outlive the child: the kernel may give the child's number to a stranger.
  void exited.then(() => guard.kill('SIGKILL'))

  const stop = async (steps: readonly StopStep[]): Promise<Exit> => {
    for (const step of steps) {
      if (ended) return ended
      child.kill(step.signal)
      const timer = new AbortController()
      await Promise.race([exited, delay(step.ms, undefined, { signal: timer.signal }).catch(() => {})])
      timer.abort()
    }
    return exited
  }
  return { pid, exited, exit: () => ended, stop }
}

function started(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    child.once('spawn', resolve)
    child.once('error', reject)
  })
}

/** Whether a process with this number exists, whoever owns it. A zombie counts as gone. */
export function isAlive(pid: number): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 0) return false
  try {
    process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
  try {
    // proc_pid_stat(5): field 3 is the state, field 20 the number of threads. A zombie whose other threads still
    // run still holds its ports and files.
    const [state, threads] = statFields(pid, 3, 20)
    return state !== 'Z' || Number(threads) > 1
  } catch {
    return true
  }
}

/**
 * What tells a process apart from a later one with the same number: its start time, as the system prints it.
 * Null when the process is gone or the system does not say.
 */
export function processStamp(pid: number): string | null {
  if (!isAlive(pid)) return null
  try {
    // Field 22 is the start time in clock ticks since boot.
    const [ticks] = statFields(pid, 22)
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()
    return ticks === undefined ? null : `${boot}:${ticks}`
  } catch {
    return ps(pid, 'lstart=')
  }
}

/** Fields of /proc/<pid>/stat by their number in proc_pid_stat(5), from 3 on. */
function statFields(pid: number, ...numbers: number[]): (string | undefined)[] {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  // Field 2 is the program's name in parentheses, which may itself hold spaces and parentheses.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return numbers.map((number) => fields[number - 3])
}

/** The working directory of a process, or null when it is gone or not ours to ask about. */
export function processCwd(pid: number): string | null {
  try {
    return readlinkSync(`/proc/${pid}/cwd`)
  } catch {
    return null
  }
}

/** The command line of a process with spaces between its arguments, or null when it is gone. */
export function processCommand(pid: number): string | null {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim() || null
  } catch {
    return ps(pid, 'command=')
  }
}

function ps(pid: number, format: string): string | null {
  try {
    const out = execFileSync('ps', ['-o', format, '-p', String(pid)], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    return out.trim() || null
  } catch {
    return null
  }
}

/** Ends a process that is not our child, step by step. True once it is gone. */
export async function endForeign(pid: number, steps: readonly StopStep[]): Promise<boolean> {
  for (const step of steps) {
    if (!isAlive(pid)) return true
    try {
      process.kill(pid, step.signal)
    } catch {
      return !isAlive(pid)
    }
    for (let waited = 0; waited < step.ms && isAlive(pid); waited += 20) await delay(20)
  }
  return !isAlive(pid)
}
