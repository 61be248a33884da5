import {
  closeSync,
  existsSync,
  fstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { DunesError, type DunesErrorOptions } from '../src/core/error.ts'
import { endForeign, type Guarded, processCommand, processStamp, spawnGuarded } from '../src/core/process.ts'

/**
 * Why the local chain could not be started. Codes: ANVIL_NOT_FOUND, PORT_BUSY, ANVIL_RUNNING (another live copy),
 * ANVIL_STATE_DAMAGED, ANVIL_FAILED.
 */
export class AnvilError extends DunesError {
  override readonly name = 'AnvilError'
}

/** The port that anvil, and every tool that talks to it, takes by default. */
export const DEFAULT_ANVIL_PORT = 8545
/** The chain id of a local development chain. */
export const DEVNET_CHAIN_ID = 31337
/**
 * Seconds between two writes of the state file. anvil writes it whole and mines nothing meanwhile, so seldom is
 * better; it is written at every orderly end too, ours by SIGKILL included, so only a power cut loses this much.
 */
export const DEFAULT_STATE_INTERVAL_SECONDS = 60
/**
 * Blocks whose state is kept, so that `eth_getProof` answers for them, with a state file and without. anvil copies
 * all storage for each, into memory and into the file (each is some 5 MB after half an hour of the fleet);
 * proofs are made at the newest final block, two behind, by an indexer that may lag. Blocks, transactions and logs are kept from genesis on.
 */
export const DEFAULT_HISTORY_STATES = { kept: 24, passing: 512 }
/** Milliseconds to wait for the first answer. Loading a large state file takes the longest. */
const START_MS = 60_000
/** Milliseconds that a port may stay taken after the process that held it has ended. */
const PORT_MS = 2_000
/** Milliseconds that anvil gets to write its state before it is killed. */
const STOP_MS = 30_000

export interface AnvilOptions {
  /** TCP port, 8545 unless told; 0 takes a free one. A busy port is an error, never a reason to take another. */
  port?: number
  /** Address to listen on, 127.0.0.1 unless told: anvil signs with well-known keys for whoever asks. */
  host?: string
  chainId?: number
  /** Seconds between blocks, fractions too; without it each transaction is mined at once. */
  blockTime?: number
  /** Where the chain is kept between runs; without it the chain is gone when it stops. */
  stateFile?: string
  /** Seconds between two writes of the state file, 15 unless told. */
  stateInterval?: number
  /** Latest blocks that `eth_getProof` and calls can ask about: 64 with a state file, 512 without, unless told. */
  historyStates?: number
  /** Number of funded development accounts, 10 unless told. */
  accounts?: number
  /** Where anvil's own output (warnings and errors only) goes. Appended to, and started afresh above 10 MB. */
  logFile?: string
  /** Where the process is noted, so that a following start can end what a crash left behind. */
  pidFile?: string
  /** Further command-line arguments, last. */
  args?: readonly string[]
}

export interface Anvil {
  /** JSON-RPC over HTTP; WebSocket is at the same address. */
  readonly url: string
  readonly port: number
  readonly pid: number
  /** Settles when anvil ends by itself or is stopped, with what it said last. */
  readonly exited: Promise<string>
  /** Asks anvil to write its state and end, and waits for both. May be called twice. */
  stop(): Promise<void>
}

/**
 * Starts anvil and resolves when it answers. The child is the platform's own binary, not npm's wrapper (killing that
 * one leaves the real one running), in a session of its own: Ctrl-C reaches only us, and if we die it is ended too.
 * `finalized` is one block behind `latest`, by `--slots-in-an-epoch 1`, where the default would be 64.
 * @throws AnvilError ANVIL_NOT_FOUND, PORT_BUSY, ANVIL_RUNNING (another live process owns the pid file) or
 * ANVIL_FAILED (with the end of its output).
 */
export async function startAnvil(options: AnvilOptions = {}): Promise<Anvil> {
  const binary = findAnvil()
  const host = options.host ?? '127.0.0.1'
  const wanted = options.port ?? DEFAULT_ANVIL_PORT
  if (options.pidFile && (await endOrphan(options.pidFile))) {
    // The kernel may hand its port back a moment after the process is gone.
    for (let waited = 0; waited < PORT_MS && wanted !== 0 && !(await canListen(host, wanted)); waited += 20)
      await delay(20)
  }
  if (wanted !== 0) return start(binary, options, host, wanted)
  // Between finding a free port and anvil's taking it another process may come first: then try the next.
  for (let attempt = 1; ; attempt++) {
    try {
      return await start(binary, options, host, await freePort(host))
    } catch (error) {
      if (attempt === 5 || !(error instanceof AnvilError) || error.code !== 'PORT_BUSY') throw error
    }
  }
}

/** Path of anvil's binary: the installed platform package's, else `DUNES_ANVIL`, else the one on PATH. */
export function findAnvil(env: NodeJS.ProcessEnv = process.env): string {
  const given = env['DUNES_ANVIL']
  if (given) {
    if (existsSync(given)) return resolve(given)
    throw notFound(`DUNES_ANVIL names ${given}, which does not exist`)
  }
  const cpu = { x64: 'amd64', arm64: 'arm64' }[process.arch as string]
  try {
    const require = createRequire(import.meta.url)
    const manifest = require.resolve(`@foundry-rs/anvil-${process.platform}-${cpu}/package.json`)
    const binary = join(dirname(manifest), 'bin', 'anvil')
    if (existsSync(binary)) return binary
  } catch {}
  for (const folder of (env['PATH'] ?? '').split(delimiter)) {
    // npm's wrapper in .bin is a script: it would be killed in the binary's place.
    const candidate = join(folder, 'anvil')
    if (folder && existsSync(candidate) && isBinary(candidate)) return candidate
  }
  throw notFound(`no anvil for ${process.platform} ${process.arch} is installed`)
}

const notFound = (message: string): AnvilError =>
  new AnvilError('ANVIL_NOT_FOUND', message, {
    hint: 'run npm ci without --omit=optional, install Foundry, or set DUNES_ANVIL to the path of an anvil binary',
    exitCode: 3,
  })

function isBinary(path: string): boolean {
  try {
    const fd = openSync(path, 'r')
    const start = Buffer.alloc(2)
    readSync(fd, start)
    closeSync(fd)
    return start.toString('latin1') !== '#!'
  } catch {
    return false
  }
}

async function start(binary: string, options: AnvilOptions, host: string, port: number): Promise<Anvil> {
  const url = `http://${host.includes(':') ? `[${host}]` : host}:${port}`
  if (!(await canListen(host, port))) throw portBusy(host, port)
  const chainId = options.chainId ?? DEVNET_CHAIN_ID
  const { pidFile, stateFile } = options
  if (stateFile) mkdirSync(dirname(resolve(stateFile)), { recursive: true })
  const output = openOutput(options.logFile)
  let child: Guarded
  try {
    child = await spawnGuarded(binary, anvilArguments(options, host, port, chainId), {
      cwd: '/',
      env: { HOME: process.env['HOME'] ?? '/', PATH: '/usr/bin:/bin', NO_COLOR: '1' },
      output: output.fd,
      orphanSignal: 'SIGTERM',
    })
  } catch (cause) {
    output.close()
    throw failed(`${binary} cannot be run`, { cause })
  }
  if (pidFile) writePidFile(pidFile, child.pid, port)
  const exited = child.exited.then((exit) => {
    if (pidFile) rmSync(pidFile, { force: true })
    const how = exit.signal ? `by ${exit.signal}` : `with code ${exit.code}`
    const last = output.tail()
    output.close()
    return [`anvil ended ${how}`, last].filter(Boolean).join(': ')
  })
  try {
    await ready(child, url, chainId)
  } catch (error) {
    await child.stop([{ signal: 'SIGKILL', ms: STOP_MS }])
    const end = await exited
    if (/address already in use/i.test(end)) throw portBusy(host, port)
    if (stateFile && /failed to parse json/i.test(end)) throw damaged(stateFile)
    throw error instanceof AnvilError ? error : failed(end, { cause: error })
  }
  const ticking = options.blockTime === undefined ? null : mineEvery(url, options.blockTime * 1000)
  void exited.then(() => clearInterval(ticking ?? undefined))
  const stop = async () => {
    clearInterval(ticking ?? undefined)
    await child.stop([
      { signal: 'SIGTERM', ms: STOP_MS },
      { signal: 'SIGKILL', ms: STOP_MS },
    ])
    await exited
  }
  return { url, port, pid: child.pid, exited, stop }
}

function anvilArguments(options: AnvilOptions, host: string, port: number, chainId: number): string[] {
  const args = ['--quiet', '--host', host, '--port', String(port), '--chain-id', String(chainId)]
  args.push('--slots-in-an-epoch', '1')
  if (options.accounts !== undefined) args.push('--accounts', String(options.accounts))
  const states = options.historyStates ?? DEFAULT_HISTORY_STATES[options.stateFile ? 'kept' : 'passing']
  // Without it anvil keeps every state, in the end in files under the home directory that nobody deletes.
  args.push('--prune-history', String(states))
  // Transactions then wait for the next block, as on a real chain. Not `--block-time`: with less than three seconds anvil
  // forgets --prune-history and keeps 1,500 states, in the end gigabytes.
  if (options.blockTime !== undefined) args.push('--no-mining')
  if (options.stateFile) {
    args.push('--state', resolve(options.stateFile), '--preserve-historical-states')
    args.push('--state-interval', String(options.stateInterval ?? DEFAULT_STATE_INTERVAL_SECONDS))
  }
  return [...args, ...(options.args ?? [])]
}

/** Mines a block every `ms` milliseconds; one that fails or takes longer is made up for by the next tick. */
function mineEvery(url: string, ms: number): NodeJS.Timeout {
  let mining = false
  return setInterval(async () => {
    if (mining) return
    mining = true
    await rpc(url, 'evm_mine')
    mining = false
  }, ms)
}

/** Polls `eth_chainId` until it answers; fails at once when the child ends. */
async function ready(child: Guarded, url: string, chainId: number): Promise<void> {
  const deadline = Date.now() + START_MS
  for (;;) {
    if (child.exit()) throw new Error('anvil ended while starting')
    const answer = await rpc(url, 'eth_chainId')
    if (answer !== null) {
      if (child.exit()) throw new Error('anvil ended while starting')
      if (Number(answer) === chainId) return
      throw failed(`${url} answers with chain id ${Number(answer)}, not ${chainId}`)
    }
    if (Date.now() > deadline) throw failed(`anvil did not answer at ${url} within ${START_MS / 1000} s`)
    await delay(20)
  }
}

async function rpc(url: string, method: string): Promise<string | null> {
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params: [] }),
      signal: AbortSignal.timeout(2_000),
    })
    const body = (await response.json()) as { result?: unknown }
    return typeof body.result === 'string' ? body.result : null
  } catch {
    return null
  }
}

interface PidNote {
  pid: number
  stamp: string | null
  owner: number
  ownerStamp: string | null
  port: number
}

function writePidFile(path: string, pid: number, port: number): void {
  mkdirSync(dirname(resolve(path)), { recursive: true })
  const note: PidNote = {
    pid,
    stamp: processStamp(pid),
    owner: process.pid,
    ownerStamp: processStamp(process.pid),
    port,
  }
  writeFileSync(`${path}.new`, `${JSON.stringify(note)}\n`, { mode: 0o600 })
  renameSync(`${path}.new`, path)
}

/**
 * Ends the anvil that a crashed run left behind, and never a process that is not the one noted.
 * @returns whether there was a crashed run, its anvil still there or already gone.
 */
async function endOrphan(path: string): Promise<boolean> {
  let note: PidNote
  try {
    note = { ...(JSON.parse(readFileSync(path, 'utf8')) as PidNote) }
  } catch {
    return false
  }
  const alive = typeof note.stamp === 'string' && processStamp(note.pid) === note.stamp
  if (!alive || !/\banvil\b/.test(processCommand(note.pid) ?? '')) {
    rmSync(path, { force: true })
    return true
  }
  if (typeof note.ownerStamp === 'string' && processStamp(note.owner) === note.ownerStamp) {
    throw new AnvilError(
      'ANVIL_RUNNING',
      `another copy (process ${note.owner}) runs anvil on port ${note.port}`,
      {
        hint: 'stop that copy first, or use another data directory',
        details: { pid: note.pid, owner: note.owner, port: note.port },
      },
    )
  }
  const gone = await endForeign(note.pid, [
    { signal: 'SIGTERM', ms: STOP_MS },
    { signal: 'SIGKILL', ms: 5_000 },
  ])
  if (!gone) throw failed(`an earlier anvil (process ${note.pid}) cannot be ended`)
  rmSync(path, { force: true })
  return true
}

/** A TCP port of `host` that nothing listened on a moment ago. */
export function freePort(host = '127.0.0.1'): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen({ host, port: 0, exclusive: true }, () => {
      const address = server.address()
      const port = typeof address === 'object' && address ? address.port : 0
      server.close(() => resolve(port))
    })
  })
}

function canListen(host: string, port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(false)
      else reject(failed(`cannot listen on ${host}:${port}: ${error.message}`, { cause: error }))
    })
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(true)))
  })
}

const portBusy = (host: string, port: number): AnvilError =>
  new AnvilError('PORT_BUSY', `port ${port} on ${host} is in use by another program`, {
    hint: 'stop that program or choose another port',
    retryable: true,
    details: { host, port },
  })

const failed = (message: string, options: DunesErrorOptions = {}): AnvilError =>
  new AnvilError('ANVIL_FAILED', message, { exitCode: 3, ...options })

const damaged = (stateFile: string): AnvilError =>
  new AnvilError(
    'ANVIL_STATE_DAMAGED',
    `the chain's state in ${stateFile} is damaged, as after a power cut`,
    {
      hint: 'start with --fresh, which begins a new chain',
      exitCode: 3,
      details: { stateFile },
    },
  )

const LOG_BYTES = 10_000_000
const TAIL_BYTES = 2_000

interface Output {
  fd: number
  /** The last lines written since it was opened, on one line. */
  tail(): string
  close(): void
}

function openOutput(path: string | undefined): Output {
  // Without a log, a file that no folder names any more: it vanishes with the processes that hold it.
  const folder = path ? null : mkdtempSync(join(tmpdir(), 'dunes-anvil-'))
  const file = path ?? join(folder as string, 'log')
  mkdirSync(dirname(resolve(file)), { recursive: true })
  if (existsSync(file) && statSync(file).size > LOG_BYTES) truncateSync(file)
  const fd = openSync(file, 'a+', 0o600)
  if (folder) rmSync(folder, { recursive: true })
  const start = fstatSync(fd).size
  const tail = () => {
    const end = fstatSync(fd).size
    const from = Math.max(start, end - TAIL_BYTES)
    const bytes = Buffer.alloc(end - from)
    readSync(fd, bytes, 0, bytes.length, from)
    return bytes.toString('utf8').trim().split('\n').filter(Boolean).slice(-5).join(' / ')
  }
  return { fd, tail, close: () => closeSync(fd) }
}
