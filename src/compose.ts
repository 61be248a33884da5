import type { OpenAPIHono } from '@hono/zod-openapi'
import { evmAnchorPort } from './anchor/evm.ts'
import { createApi } from './api/app.ts'
import { type Listening, listen } from './api/listen.ts'
import type { ApiEnv } from './api/request.ts'
import { readDeployment } from './chain/deployment.ts'
import { refuseDevAccount } from './chain/dev-accounts.ts'
import { createEvmSource } from './chain/evm.ts'
import { HeadSocket } from './chain/head-socket.ts'
import { createRpc, type Rpc, type RpcReport } from './chain/rpc.ts'
import { type Hex, toHex } from './core/bytes.ts'
import type { Clock } from './core/clock.ts'
import type { Config } from './core/config.ts'
import { DunesError } from './core/error.ts'
import type { Logger } from './core/logger.ts'
import type { Metrics } from './core/metrics.ts'
import { mlDsa } from './core/ml-dsa-native.ts'
import { connect, type Sql } from './graph/connect.ts'
import { type Deployment, readDeployment as readIndexed } from './graph/cursor.ts'
import { RecheckStage } from './ingest/recheck.ts'
import { openKeyRing } from './key-ring.ts'
import { readKeys, requireKey } from './keys.ts'
import { createMcpEndpoint } from './mcp/http.ts'
import { createPayloadFetcher } from './payload/fetch.ts'
import { createPipeline, type Pipeline } from './pipeline.ts'
import { queryAccess } from './query-access.ts'
import { checkpointSigner } from './service/checkpoint.ts'
import { createServiceContext, type ServiceContext } from './service/context.ts'
import { createQuerySessions } from './service/query-sessions.ts'

/** Milliseconds after which the server ends a transaction that nobody goes on with: whatever went wrong, its stage begins anew. */
const IDLE_MS = 60_000

/** What every process is given by its command. */
export interface Common {
  config: Config
  env: Readonly<Record<string, string | undefined>>
  clock: Clock
  logger: Logger
  metrics: Metrics
}

export interface Running {
  service: ServiceContext
  /** Null in a process that serves no HTTP. */
  api: Listening | null
  /** Null in a process that does not index. */
  pipeline: Pipeline | null
  /** Rejects when indexing cannot go on; resolves after `stop`. */
  finished: Promise<void>
  /** Finishes requests and the running turns, then closes everything that was opened here. */
  stop(): Promise<void>
}

/**
 * Puts a process together from its settings: the indexer, the API, or both in one. The database must be there and migrated.
 * Throws what keeps it from starting, with everything closed again.
 */
export async function compose(common: Common, parts: { index: boolean; serve: boolean }): Promise<Running> {
  const { config, env, clock, logger, metrics } = common
  const closing: (() => Promise<void>)[] = []
  const close = async () => {
    for (const undo of closing.splice(0).reverse()) await undo()
  }
  try {
    const sql = await connect(requireDatabase(config), {
      applicationName: parts.index ? 'dunes index' : 'dunes serve',
      idleInTransactionTimeout: IDLE_MS,
    })
    closing.push(() => sql.end({ timeout: 5 }))
    const serviceSql = config.apiDatabaseUrl
      ? await connect(config.apiDatabaseUrl, { applicationName: 'dunes api' })
      : sql
    if (serviceSql !== sql) closing.push(() => serviceSql.end({ timeout: 5 }))
    const rpc = createRpc(
      {
        urls: config.rpcUrls,
        chainId: config.chainId,
        perSecond: config.rpcPerSecond === 0 ? null : config.rpcPerSecond,
        inFlight: config.rpcInFlight,
      },
      { clock, report: (report) => measureRpc(metrics, report) },
    )
    const deployment = await findDeployment(config, rpc, sql, parts.index)
    const keys = readKeys(config, env)
    const ring = openKeyRing(config, env, deployment.origin, mlDsa)

    const source = parts.index
      ? createEvmSource(
          {
            registry: deployment.registry,
            anchor: deployment.anchor,
            startBlock: deployment.startBlock,
            finality:
              config.confirmations === undefined ? 'finalized' : { confirmations: config.confirmations },
            pollMs: config.pollMs,
          },
          {
            rpc,
            clock,
            report: (report) => {
              if (report.kind === 'retry')
                logger.warn(
                  { error: report.error.message, failures: report.failures, wait: report.waitMs },
                  'chain did not answer',
                )
              else if (report.kind === 'recovered')
                logger.info({ failures: report.failures }, 'chain answered again')
              else if (report.kind === 'split') {
                metrics.splits.inc()
                logger.debug(
                  { from: report.from, to: report.to, error: report.error.message },
                  'halved a range',
                )
              }
            },
          },
        )
      : null
    const recheck =
      source && config.recheckSeconds > 0
        ? new RecheckStage({
            rpc,
            contracts: { registry: deployment.registry, anchor: deployment.anchor },
            startBlock: deployment.startBlock,
            checkHashes: true,
            checkBlooms: true,
            sql,
            clock,
            logger,
            metrics,
            everySeconds: config.recheckSeconds,
          })
        : null
    const socket =
      source && config.wsUrl
        ? new HeadSocket({ url: config.wsUrl }, { wake: () => source.wake(), clock })
        : null
    let pipeline: Pipeline | null = null
    if (source) {
      for (const role of ['checkpointEd25519', 'checkpointMlDsa44', 'anchor'] as const)
        requireKey(keys, role, config)
      const port = evmAnchorPort({
        rpc,
        anchor: deployment.anchor,
        privateKey: toHex(requireKey(keys, 'anchor', config)),
        confirmations: config.confirmations ?? null,
      })
      refuseDevAccount(port.account, config.chainId)
      const { allowedPrivate, allowFile, ipfsGateways } = config
      pipeline = createPipeline({
        deployment,
        source,
        fetcher: createPayloadFetcher(
          { allowedPrivate, allowFile, ipfsGateways, perHost: 16, total: 512 },
          { clock, logger },
        ),
        sql,
        mlDsa,
        signers: () => ring().signers,
        anchor: {
          port,
          settings: {
            everyLeaves: config.anchorEveryLeaves,
            everySeconds: config.anchorEverySeconds,
            stuckSeconds: config.anchorStuckSeconds,
          },
        },
        recheck,
        changesKept: config.changesKept,
        clock,
        logger,
        metrics,
      })
    }
    const indexing = pipeline
    const queryUrl = parts.index && !parts.serve ? null : queryAccess(config)
    const queries = queryUrl === null ? null : createQuerySessions(queryUrl, logger)
    if (queries) closing.push(() => queries.end())
    const service = createServiceContext({
      queries,
      sql: serviceSql,
      logger,
      metrics,
      clock,
      mlDsa,
      deployment,
      rpc,
      get receiptKey() {
        return ring().receiptKey
      },
      get receiptKeys() {
        return ring().receiptKeys
      },
      get checkpointVkeys() {
        return ring().checkpointVkeys
      },
      get retiredCheckpointVkeys() {
        return ring().retiredCheckpointVkeys
      },
      signCheckpoint:
        ring().signers.length > 0
          ? checkpointSigner(serviceSql, deployment.origin, () => ring().signers, clock)
          : null,
      source: () => source?.status() ?? null,
      readiness: () => indexing?.readiness() ?? [],
      indexing: () =>
        indexing && {
          queues: indexing.queues(),
          recheck: recheck?.status ?? null,
          socket: socket?.status() ?? null,
        },
      payloadStored: () => indexing?.payloadStored(),
    })

    let api: Listening | null = null
    if (parts.serve) {
      const mcp = createMcpEndpoint(service)
      const app: OpenAPIHono<ApiEnv> = createApi(service, {
        allowedHosts: config.allowedHosts,
        allowedOrigins: config.allowedOrigins,
        mcp,
      })
      api = await listen(app, { host: config.host, port: config.port })
      closing.push(api.close)
      closing.push(mcp.close)
      closing.push(async () => service.changes.stop())
      logger.info({ url: api.url }, 'API listening')
    }
    const stopping = new AbortController()
    const finished = pipeline ? pipeline.run(stopping.signal) : Promise.resolve()
    finished.catch(() => {})
    const listening = socket?.run(stopping.signal)
    closing.push(async () => {
      stopping.abort()
      await finished.catch(() => {})
      await listening
    })
    return { service, api, pipeline, finished, stop: close }
  } catch (error) {
    await close()
    throw error
  }
}

/** Keeps the metrics of an endpoint as they are after each request. */
function measureRpc(metrics: Metrics, { endpoint, calls, ms, error, status }: RpcReport): void {
  const labels = { endpoint }
  metrics.rpcCalls.inc({ ...labels, outcome: error?.code ?? 'ok' }, calls)
  metrics.rpcSeconds.observe(labels, ms / 1000)
  metrics.rpcUp.set(labels, { closed: 1, 'half-open': 0.5, open: 0 }[status.state])
  metrics.rpcScore.set(labels, status.score)
  metrics.rpcInFlight.set(labels, status.inFlight)
  if (status.left !== null) metrics.rpcLeft.set(labels, status.left)
  if (status.head !== null) metrics.rpcHead.set(labels, status.head)
}

function requireDatabase(config: Config): string {
  if (config.databaseUrl) return config.databaseUrl
  throw new DunesError('DATABASE_URL_MISSING', 'no database is set', {
    hint: 'set DATABASE_URL, or run `dunes dev`, which brings its own',
  })
}

/** The deployment as the chain tells it; a process that only serves also takes the database's word while the chain is away. */
async function findDeployment(config: Config, rpc: Rpc, sql: Sql, indexes: boolean): Promise<Deployment> {
  const { registry, anchor, startBlock } = config
  if (registry && anchor) {
    return readDeployment(rpc, { registry: registry as Hex, anchor: anchor as Hex, startBlock })
  }
  const indexed = indexes ? null : await readIndexed(sql)
  if (indexed) return indexed
  throw new DunesError('CONTRACTS_MISSING', 'the addresses of the contracts are not set', {
    hint: 'set registry, anchor and startBlock (flags, DUNES_REGISTRY ..., or dunes.config.json)',
  })
}
