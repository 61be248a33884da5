import { evmAnchorPort } from '../../src/anchor/evm.ts'
import { createEvmSource, type SourceReport } from '../../src/chain/evm.ts'
import { createRpc } from '../../src/chain/rpc.ts'
import type { ChainSource } from '../../src/chain/source.ts'
import type { Hex } from '../../src/core/bytes.ts'
import type { Clock } from '../../src/core/clock.ts'
import { describeError } from '../../src/core/error.ts'
import type { Logger } from '../../src/core/logger.ts'
import { createMetrics, type Metrics } from '../../src/core/metrics.ts'
import { mlDsa } from '../../src/core/ml-dsa-native.ts'
import { openPool, type Sql } from '../../src/graph/connect.ts'
import type { Deployment } from '../../src/graph/cursor.ts'
import { ed25519Signer, mlDsa44Signer } from '../../src/log/checkpoint.ts'
import { createPayloadFetcher } from '../../src/payload/fetch.ts'
import { createPipeline, type Pipeline } from '../../src/pipeline.ts'
import { ANCHOR, CHAIN_ID, REGISTRY } from './contracts.ts'
import { type DatabaseProxy, startDatabaseProxy } from './database-proxy.ts'
import type { Coverage, Faults } from './faults.ts'
import { MAX_BODY_BYTES, RPC_TIMEOUT_MS } from './node.ts'
import type { Random } from './random.ts'

export const ORIGIN = 'simulation.example/log'
export const SIGNERS = [
  ed25519Signer(ORIGIN, new Uint8Array(32).fill(31)),
  mlDsa44Signer(ORIGIN, new Uint8Array(32).fill(32), mlDsa),
]
const ANCHOR_KEY: Hex = `0x${'5a'.repeat(32)}`

export interface EngineDeps {
  name: string
  urls: readonly string[]
  hosts: readonly string[]
  deployment: Deployment
  socket: string
  urlAt: (directory: string) => string
  clock: Clock
  faults: Faults
  coverage: Coverage
  random: Random
  batchSize: number
  trace: (line: string) => void
}

/** One indexer: the real pipeline over its own pool, RPC client and fetcher. */
export interface Engine {
  readonly name: string
  readonly source: ChainSource
  readonly pipeline: Pipeline
  readonly metrics: Metrics
  readonly alive: boolean
  /** Why it ended by itself; null while it runs or when it was ended from outside. */
  readonly failure: Error | null
  /** As kill -9: its connections are gone, and whatever it still does reaches nothing. */
  kill(): void
  /** An orderly end. */
  stop(): Promise<void>
  /** Resolves when nothing of it runs any more. */
  gone(): Promise<void>
}

export async function startEngine(deps: EngineDeps): Promise<Engine> {
  const { clock, coverage, faults, trace, name } = deps
  const abort = new AbortController()
  let alive = true
  let failure: Error | null = null
  let proxy: DatabaseProxy
  let sql: Sql
  const kill = () => {
    if (!alive) return
    alive = false
    trace(`${name} killed`)
    proxy.sever()
    abort.abort()
    void sql.end({ timeout: 0 }).catch(() => {})
  }
  proxy = await startDatabaseProxy({ target: deps.socket, urlAt: deps.urlAt, faults, kill })
  sql = openPool(proxy.url, { max: 6, applicationName: name })
  const random = () => deps.random.next()
  const rpc = createRpc(
    {
      urls: deps.urls,
      chainId: CHAIN_ID,
      timeoutMs: RPC_TIMEOUT_MS,
      maxBodyBytes: MAX_BODY_BYTES,
      batchSize: deps.batchSize,
    },
    { clock, random },
  )
  const report = (report: SourceReport) => {
    if (report.kind === 'split') coverage.hit('range split')
    if (report.kind === 'retry') trace(`${name} rpc ${report.error.code}: ${report.error.message}`)
    if (report.kind === 'reorg') trace(`${name} reorg ${report.from.number} -> ${report.to.number}`)
    if (report.kind === 'reorg') coverage.hit('rollback applied')
  }
  const source = createEvmSource(
    {
      registry: REGISTRY,
      anchor: ANCHOR,
      startBlock: deps.deployment.startBlock,
      pollMs: 400,
      shorterMs: 4_000,
      ranges: { firstBlocks: 24, mostBlocks: 48, wantedLogs: 200 },
    },
    { rpc, clock, random, report },
  )
  const metrics = createMetrics()
  const log = (level: string) => (fields: object, message?: string) =>
    trace(`${name} ${level}: ${message ?? ''} ${JSON.stringify(fields)}`)
  const logger = {
    debug: () => {},
    info: log('info'),
    warn: log('warn'),
    error: log('error'),
  } as unknown as Logger
  const pipeline = createPipeline({
    deployment: deps.deployment,
    source,
    fetcher: createPayloadFetcher(
      {
        allowedPrivate: deps.hosts,
        connectMs: 2_500,
        firstByteMs: 2_500,
        totalMs: 4_000,
        perHost: 8,
        patienceMs: 1_000,
      },
      { clock },
    ),
    sql,
    mlDsa,
    signers: () => SIGNERS,
    anchor: {
      port: evmAnchorPort({
        // The simulated nodes have no state to prove, so that two of them could not be told apart.
        rpc: createRpc({ urls: deps.urls.slice(0, 1), chainId: CHAIN_ID }, { clock, random: () => 0.5 }),
        anchor: ANCHOR,
        privateKey: ANCHOR_KEY,
        confirmations: null,
      }),
      settings: { everyLeaves: 4, everySeconds: 5, stuckSeconds: 20 },
    },
    clock,
    logger,
    metrics,
  })
  const running = pipeline.run(abort.signal).then(
    () => {},
    (error: unknown) => {
      if (!alive) return
      trace(`${name} ended by itself: ${describeError(error)}`)
      failure = error instanceof Error ? error : new Error(String(error))
    },
  )
  const end = async () => {
    await running
    await sql.end({ timeout: 1 }).catch(() => {})
    proxy.stop()
  }
  return {
    name,
    source,
    pipeline,
    metrics,
    get alive() {
      return alive && failure === null
    },
    get failure() {
      return failure
    },
    kill,
    async stop() {
      abort.abort()
      await end()
      alive = false
    },
    gone: end,
  }
}
