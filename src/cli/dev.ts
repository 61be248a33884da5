import { once } from 'node:events'
import { rmSync, statSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { privateKeyToAccount } from 'viem/accounts'
import { type Devnet, removeDevnet, startDevnet, writeDevnetFile } from '../../anvil/devnet.ts'
import { type Fleet, openFleet, startFleet } from '../../anvil/fleet.ts'
import { compose, type Running } from '../compose.ts'
import { type Hex, toHex } from '../core/bytes.ts'
import { DunesError } from '../core/error.ts'
import { tryLock } from '../core/lock.ts'
import { createLogger, type Logger, openLog } from '../core/logger.ts'
import { createMetrics } from '../core/metrics.ts'
import { createKeys } from '../keys.ts'
import { readStatus } from '../service/status.ts'
import { writeTrustPolicy } from '../trust-policy-file.ts'
import type { Action, Invocation } from './command.ts'
import { renderStatus, Screen } from './screen.ts'

/** The log is started afresh at a start that finds more than this many bytes in it. */
const LOG_BYTES = 10_000_000
/** What suits a screen that somebody watches: a look at the head ten times a second, an anchor every few seconds. */
const DEVNET_SETTINGS = {
  pollMs: 100,
  anchorEveryLeaves: 64,
  anchorEverySeconds: 3,
  anchorStuckSeconds: 10,
} as const
/** Milliseconds between two drawings of the screen, on a terminal and elsewhere. */
const DRAW_MS = 1_000
const PRINT_MS = 10_000

/** `dunes dev`: a whole devnet in one process, until it is asked to stop. */
export const dev: Action = async (call, _args, options) => {
  const { config, clock, signal } = call
  const lock = tryLock(join(config.dataDir, 'dev.lock'))
  if (!lock) {
    throw new DunesError('DEVNET_RUNNING', `a devnet is running on ${config.dataDir} already`, {
      hint: 'use that one, stop it, or start this one with another --data-dir and other ports',
    })
  }
  const begun = clock.now()
  const log = openDevLog(join(config.dataDir, 'dev.log'))
  const logger = createLogger(config.logLevel, log)
  const progress = (what: string, ms: number) =>
    call.note(`  ${what.padEnd(14)}${(ms / 1000).toFixed(1)} s\n`)
  try {
    if (options['fresh'] === true) {
      await removeDevnet(config.dataDir, logger)
      call.note('Removed the old devnet; keys are kept.\n')
    }
    call.note('Starting a devnet: chain, contracts, database, indexer, API and a fleet of 20 contributors.\n')
    await withParts(call, logger, progress, async ({ devnet, running, fleet }) => {
      call.note(banner(running, devnet, fleet, (clock.now() - begun) / 1000, config.dataDir))
      const size = () => call.size?.('note') ?? null
      const screen = new Screen(call.note, size)
      while (!signal.aborted) {
        const pause = clock.sleep(size() ? DRAW_MS : PRINT_MS, signal)
        screen.draw(renderStatus(await readStatus(running.service)))
        await Promise.race([pause, devnet.broken, fleet.broken, running.finished])
      }
      call.note('Stopping.\n')
    })
  } catch (error) {
    // Whatever a stop in the middle of a start interrupts is no failure.
    if (!signal.aborted) throw error
    call.note('Stopped while starting.\n')
  } finally {
    lock.release()
  }
  return undefined
}

/** Where a devnet's log goes, so that the screen stays one screen. */
function openDevLog(path: string): ReturnType<typeof openLog> {
  if ((statSync(path, { throwIfNoEntry: false })?.size ?? 0) > LOG_BYTES) rmSync(path)
  return openLog(path)
}

interface Parts {
  devnet: Devnet
  running: Running
  fleet: Fleet
}

/** Brings everything up in order, runs `use`, and takes everything down again in the reverse order, whatever happens. */
async function withParts(
  call: Invocation,
  logger: Logger,
  progress: (what: string, ms: number) => void,
  use: (parts: Parts) => Promise<void>,
): Promise<void> {
  const { clock, env } = call
  const { dataDir, host, port, anvilPort, fleetPort } = call.config
  const started: { stop(): Promise<void> }[] = []
  const timed = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
    const begun = clock.now()
    const value = await work()
    progress(what, clock.now() - begun)
    return value
  }
  try {
    // Said before anything is started: a chain is brought up for nothing when the API then has no port.
    await requireFreePort(host, port, '--port')
    await requireFreePort('127.0.0.1', fleetPort, '--fleet-port')
    const keys = createKeys(call.config, env)
    const fleetDir = join(dataDir, 'fleet')
    const fleetKeys = openFleet(fleetDir)
    const devnet = await startDevnet({
      config: call.config,
      anvilPort,
      anchorer: privateKeyToAccount(toHex(keys.anchor)).address.toLowerCase() as Hex,
      validators: fleetKeys.validators,
      logger,
      progress,
    })
    started.push(devnet)
    const found = {
      host,
      port,
      anvilPort,
      fleetPort,
      rpcUrls: [devnet.rpcUrl],
      chainId: 31337,
      ...devnet.contracts,
      databaseUrl: devnet.databaseUrl,
      ...(devnet.queryDatabaseUrl && { queryDatabaseUrl: devnet.queryDatabaseUrl }),
      allowedPrivate: [`127.0.0.1:${fleetPort}`, `127.0.0.1:${port}`, ...call.config.allowedPrivate],
    }
    writeDevnetFile(dataDir, found)
    const config = { ...call.config, ...DEVNET_SETTINGS, ...found, apiDatabaseUrl: devnet.apiDatabaseUrl }
    // The payload host is there before the indexer asks it for anything, and outlives it.
    const fleetStarts = timed('fleet', () =>
      startFleet({
        keys: fleetKeys,
        dir: fleetDir,
        rpcUrl: devnet.rpcUrl,
        registry: devnet.contracts.registry,
        host: '127.0.0.1',
        port: fleetPort,
        fund: devnet.fund,
        clock,
        logger,
        signal: call.signal,
      }),
    )
    const runs = timed('indexer, API', () =>
      compose({ config, env, clock, logger, metrics: createMetrics() }, { index: true, serve: true }),
    )
    const [fleetStarted, runningStarted] = await Promise.allSettled([fleetStarts, runs])
    if (fleetStarted.status === 'fulfilled') started.push(fleetStarted.value)
    if (runningStarted.status === 'fulfilled') started.push(runningStarted.value)
    if (runningStarted.status === 'rejected') throw runningStarted.reason
    if (fleetStarted.status === 'rejected') throw fleetStarted.reason
    const running = runningStarted.value
    const fleet = fleetStarted.value
    await writeTrustPolicy(running.service, dataDir)
    await use({ devnet, running, fleet })
  } finally {
    for (const part of started.reverse()) await part.stop()
  }
}

/** Throws `PORT_BUSY` where something listens on the port. */
async function requireFreePort(host: string, port: number, flag: string): Promise<void> {
  if (port === 0) return
  const server = createServer()
  try {
    await once(server.listen({ port, host, exclusive: true }), 'listening')
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw cause
    throw new DunesError('PORT_BUSY', `port ${port} on ${host} is in use by another program`, {
      hint: `stop that program, or choose another port with ${flag}: \`npm start -- ${flag} N\``,
      cause,
    })
  } finally {
    server.close()
  }
}

function banner(running: Running, devnet: Devnet, fleet: Fleet, seconds: number, dataDir: string): string {
  const url = running.api?.url ?? ''
  return `
Dunes devnet, up in ${seconds.toFixed(1)} s${devnet.fresh ? '' : ' (going on where it stopped)'}

  API        ${url}        docs ${url}/docs
  chain      ${devnet.rpcUrl}        payloads ${fleet.url}
  data       ${dataDir}        log ${join(dataDir, 'dev.log')}

Try, in another terminal:
  curl '${url}/v1/submissions?state=anchored&verdict=accepted&limit=1'
  npx dunes prove <id> -o bundle.json     a proof as one file
  npx dunes verify bundle.json --rpc ${devnet.rpcUrl}
  npx dunes explain <id>                  what happened to a submission, step by step

`
}
