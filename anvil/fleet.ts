import { join } from 'node:path'
import type { Hex } from '../src/core/bytes.ts'
import { type Clock, systemClock } from '../src/core/clock.ts'
import type { Logger } from '../src/core/logger.ts'
import { mlDsa } from '../src/core/ml-dsa-native.ts'
import type { RegistryClient } from '../src/service/registry-client.ts'
import { FleetChain } from './fleet/chain.ts'
import type { FleetContext } from './fleet/context.ts'
import { Contributor } from './fleet/contributor.ts'
import { startHost } from './fleet/host.ts'
import type { FleetKeys } from './fleet/keys.ts'
import { PayloadFiles } from './fleet/payload-files.ts'
import { enrol, ensureDatasets, insist, openAccount, stepsOf, stopped } from './fleet/setup.ts'
import { Watch } from './fleet/watch.ts'

export { type FleetKeys, openFleet } from './fleet/keys.ts'

/** Submissions a second of the whole fleet, unless told: enough for a screen to be alive, little for a machine. */
export const DEFAULT_PACE = 3
/** Milliseconds that a stop waits for transactions under way. */
const STOP_MS = 1_800
/** Blocks that the first look goes back, beyond the life of a submission. */
const LOOK_BACK_BLOCKS = 500

export interface FleetOptions {
  keys: FleetKeys
  /** Folder for what the payload host serves. */
  dir: string
  rpcUrl: string
  registry: Hex
  /** Address and port of the payload host; URIs on the chain hold them. */
  host: string
  port: number
  /** Gives an account enough currency. */
  fund(account: Hex): Promise<void>
  clock: Clock
  logger: Logger
  /** Told how many steps of the set-up are done, and of how many. */
  progress?: (done: number, of: number) => void
  /** Decides all that is random, but for keys and signatures; 1 unless told. */
  seed?: number
  pace?: { submissionsPerSecond: number }
  /** Ends the set-up early. */
  signal?: AbortSignal
}

export interface Fleet {
  /** The payload host's URL, without a slash at the end. */
  url: string
  /** Rejects when the fleet cannot go on, such as when its payload host can no longer listen. */
  broken: Promise<never>
  /** Ends everything within two seconds. Twice is once. */
  stop(): Promise<void>
}

/**
 * Starts the simulated fleet: its payload host at once, then what is missing on the chain, then twenty contributors that
 * submit, attest and expire until `stop`. Resolves when all are registered and the seed's example is submitted. A start
 * after a stop at any point goes on from what the chain has. Throws `PORT_BUSY`, `FLEET_HOST_FAILED`, `FLEET_STOPPED`
 * (by `signal`), and what a step of the set-up fails with again and again.
 */
export async function startFleet(options: FleetOptions): Promise<Fleet> {
  const { keys, progress } = options
  const files = new PayloadFiles(join(options.dir, 'payloads'))
  const host = await startHost(files, options)
  const stopping = new AbortController()
  /** Everything under way. */
  const work: Promise<unknown>[] = []
  const begin = <T>(task: Promise<T>): Promise<T> => {
    // Whoever awaits it gets its failure; that nobody does yet must not end the process.
    task.catch(() => {})
    work.push(task)
    return task
  }
  const loops: Promise<void>[] = []
  let ending: Promise<void> | null = null
  const end = async () => {
    stopping.abort()
    const done = new AbortController()
    await Promise.race([
      Promise.allSettled(work).finally(() => done.abort()),
      systemClock.sleep(STOP_MS, done.signal),
    ])
    // Last, as transactions under way may settle what an indexer then asks for.
    host.close()
  }
  const stop = () => {
    ending ??= end()
    return ending
  }
  const aborted = new Promise<never>((_, reject) => {
    const abort = () => {
      stopping.abort()
      reject(stopped())
    }
    options.signal?.addEventListener('abort', abort, { once: true, signal: stopping.signal })
    if (options.signal?.aborted) abort()
  })
  aborted.catch(() => {})

  const setUp = async (): Promise<void> => {
    const { signal } = stopping
    const chain = new FleetChain(options.rpcUrl, options.registry)
    const ttl = await insist({ ...options, signal }, 'registry', () => chain.ttl())
    const watch = new Watch(chain.client, options.registry, ttl + LOOK_BACK_BLOCKS)
    const ctx: FleetContext = {
      ...options,
      chain,
      watch,
      files,
      mlDsa,
      hostUrl: host.url,
      seed: options.seed ?? 1,
      submissionsPerSecond: options.pace?.submissionsPerSecond ?? DEFAULT_PACE,
      ttl,
      signal,
    }
    const steps = stepsOf(keys.contributors)
    let done = 0
    const step = () => progress?.(++done, steps)

    loops.push(begin(watch.follow(ctx)))
    const accounts = await Promise.all(keys.contributors.map((one) => openAccount(ctx, one)))
    // A validator has but one sensor, so it has the time to register the dataset first.
    const registrar = keys.contributors.findIndex(({ site }) => site.role === 'validator')
    const dataset = begin(ensureDatasets(ctx, accounts[registrar] as RegistryClient).then(step))
    const joining = keys.contributors.map(async (one, i) => {
      // One transaction of an account at a time.
      if (i === registrar) await dataset
      const member = await enrol(ctx, one, accounts[i] as RegistryClient, dataset, step)
      loops.push(begin(new Contributor(ctx, member).run()))
    })
    await Promise.all(joining.map(begin))
  }

  try {
    await Promise.race([begin(setUp()), aborted, host.broken])
  } catch (error) {
    await stop()
    throw error
  }
  // A loop that ends was stopped; one that fails has a fault that no retry mends.
  const failed = loops.map((loop) => loop.then(() => new Promise<never>(() => {})))
  const broken = Promise.race([host.broken, ...failed])
  broken.catch(() => {})
  return { url: host.url, broken, stop }
}
