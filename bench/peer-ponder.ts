import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { cpSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { CALM_BLOCKS } from './chain/generate.ts'
import type { BenchChain } from './chain/process.ts'
import { must } from './measure.ts'
import type { Bench } from './scratch.ts'

const SOURCE = fileURLToPath(new URL('./peers/ponder', import.meta.url))
/** Milliseconds of one run before something is taken to be broken. */
const PATIENCE_MS = 600_000

/** Ponder, installed into the bench's scratch folder. */
export interface Ponder {
  /** Indexes the chain into a schema of the database; answers seconds from its first request for logs until it is ready. */
  index(chain: BenchChain, database: string, schema: string, addresses: number): Promise<number>
}

/** Installs the peer from its lockfile; null, with the reason on stderr, where that cannot be done. */
export async function installPonder(bench: Bench): Promise<Ponder | null> {
  const folder = join(bench.folder(), 'ponder')
  cpSync(SOURCE, folder, { recursive: true })
  bench.progress('peer: installing Ponder')
  try {
    await promisify(execFile)('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: folder })
  } catch (error) {
    bench.progress(`peer: Ponder could not be installed: ${(error as Error).message.split('\n')[0]}`)
    return null
  }
  return {
    async index(chain, database, schema, addresses) {
      const port = await freePort()
      const urls = Array.from({ length: addresses }, (_, i) => `${chain.url}/${i}`)
      const before = (await chain.calls())['eth_getLogs'] ?? 0
      const child: ChildProcess = spawn(
        process.execPath,
        [
          join(folder, 'node_modules/ponder/dist/esm/bin/ponder.js'),
          ...['start', '--schema', schema, '--port', String(port), '--log-level', 'error'],
        ],
        {
          cwd: folder,
          stdio: ['ignore', 'ignore', 'inherit'],
          env: {
            ...process.env,
            DATABASE_URL: database,
            BENCH_RPC_URLS: urls.join(','),
            BENCH_REGISTRY: chain.deployment.registry,
            BENCH_END_BLOCK: String(chain.head - CALM_BLOCKS),
            PONDER_TELEMETRY_DISABLED: 'true',
          },
        },
      )
      let ended = false
      const exit = new Promise<void>((resolve) =>
        child.once('exit', () => {
          ended = true
          resolve()
        }),
      )
      try {
        let started: number | null = null
        const spawned = performance.now()
        for (;;) {
          bench.check()
          must(!ended, 'the peer ended early')
          must(performance.now() - spawned < PATIENCE_MS, 'the peer did not finish in time')
          const answer = await fetch(`http://127.0.0.1:${port}/ready`).catch(() => null)
          if (answer?.status === 200) break
          // What is cached is not asked for: then all that it does counts, from its first answer on.
          if (started === null && (((await chain.calls())['eth_getLogs'] ?? 0) > before || answer))
            started = performance.now()
          await delay(20)
        }
        return (performance.now() - (started ?? spawned)) / 1000
      } finally {
        child.kill('SIGTERM')
        const killer = setTimeout(() => child.kill('SIGKILL'), 5_000)
        await exit
        clearTimeout(killer)
      }
    },
  }
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}
