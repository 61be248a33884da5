import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createClient, http } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { evmAnchorPort } from '../../src/anchor/evm.ts'
import type { AnchorSettings } from '../../src/anchor/writer.ts'
import { type Deployment as Contracts, deployContracts } from '../../src/chain/deploy.ts'
import { devAccount, devPrivateKey } from '../../src/chain/dev-accounts.ts'
import { createEvmSource } from '../../src/chain/evm.ts'
import { createRpc } from '../../src/chain/rpc.ts'
import { type Hex, sha256, toHex } from '../../src/core/bytes.ts'
import { systemClock } from '../../src/core/clock.ts'
import type { JsonObject } from '../../src/core/json.ts'
import { silentLogger } from '../../src/core/logger.ts'
import { createMetrics, type Metrics } from '../../src/core/metrics.ts'
import { mlDsa } from '../../src/core/ml-dsa-native.ts'
import type { Sql } from '../../src/graph/connect.ts'
import type { Deployment } from '../../src/graph/cursor.ts'
import type { RecheckStage } from '../../src/ingest/recheck.ts'
import { ed25519Signer, mlDsa44Signer } from '../../src/log/checkpoint.ts'
import { buildMaml } from '../../src/maml/build.ts'
import { signMaml } from '../../src/maml/sign.ts'
import { createPayloadFetcher } from '../../src/payload/fetch.ts'
import { createPipeline, type Pipeline } from '../../src/pipeline.ts'
import { DEVNET_POLICY, policyHash } from '../../src/receipt/policy.ts'
import { payloadClaim, RegistryClient } from '../../src/service/registry-client.ts'
import { testAnvil } from './anvil.ts'

export const ORIGIN = 'test.example/dunes'
export const SCHEMA_FILE = new Uint8Array(
  readFileSync(new URL('../../anvil/schemas/iot_data.maml.md', import.meta.url)),
)
export const SIGNERS = [
  ed25519Signer(ORIGIN, new Uint8Array(32).fill(21)),
  mlDsa44Signer(ORIGIN, new Uint8Array(32).fill(22), mlDsa),
]
/** Anchors at once, so that a test need not wait. */
export const EAGER: AnchorSettings = { everyLeaves: 1, everySeconds: 1, stuckSeconds: 5 }

export interface Station {
  client: RegistryClient
  /** ML-DSA-65 seed. */
  seed: Uint8Array
  sensor: string
}

/** A chain with both contracts, a dataset, stations (accounts 4 and up) and two validators (accounts 2 and 3). */
export interface World {
  rpcUrl: string
  deployment: Deployment
  contracts: Contracts
  stations: Station[]
  validators: RegistryClient[]
  /** Serves whatever is put into `files` by path; paths in `hang` never answer. */
  host: { url: string; files: Map<string, Uint8Array>; hang: Set<string> }
  rpc<T = unknown>(method: string, params?: readonly unknown[]): Promise<T>
  mine(blocks: number): Promise<void>
  /** A signed payload of one station, with front matter. */
  payload(station: Station, readings: JsonObject[]): Uint8Array
  /** Hosts the bytes and submits them; answers the id. */
  submit(station: Station, bytes: Uint8Array, uri?: string): Promise<Hex>
  /** {@link World.submit} of one reading with this value of `air_quality`. */
  submitReading(station: Station, airQuality: number): Promise<Hex>
  /** Lets both validators attest. */
  attest(id: Hex, valid?: boolean): Promise<void>
  stop(): Promise<void>
}

/** A chain with the contracts, registered stations and validators; `args` are further arguments of anvil. */
export async function startWorld(stationCount = 2, args: readonly string[] = []): Promise<World> {
  const anvil = await testAnvil({ accounts: 12, args })
  const client = createClient({ transport: http(anvil.url), pollingInterval: 5 })
  const rpc = <T>(method: string, params: readonly unknown[] = []) =>
    client.request({ method, params } as never) as Promise<T>
  const contracts = await deployContracts({
    client,
    deployer: privateKeyToAccount(devPrivateKey(0)),
    admin: devAccount(0),
    anchorer: devAccount(1),
    validators: [devAccount(2), devAccount(3)],
    origin: ORIGIN,
    policyHash: toHex(policyHash(DEVNET_POLICY)),
    quorum: 2,
    ttl: 50,
    epochSeconds: 3600,
  })
  const start = await rpc<{ hash: Hex }>('eth_getBlockByNumber', [`0x${contracts.block.toString(16)}`, false])
  const open = (index: number) =>
    RegistryClient.open({
      rpcUrl: anvil.url,
      registry: contracts.registry,
      privateKey: devPrivateKey(index),
      pollMs: 5,
    })
  const admin = await open(0)
  await (await admin.setDataset('helium_sensors', SCHEMA_FILE, false)).send()
  const stations: Station[] = []
  for (let i = 0; i < stationCount; i++) {
    const station = {
      client: await open(4 + i),
      seed: new Uint8Array(32).fill(100 + i),
      sensor: `helium_00${i + 1}`,
    }
    await (await station.client.registerKey(station.seed, mlDsa)).send()
    await (await station.client.registerSensor(station.sensor, 'helium_sensors', 0x8928308280fffffn)).send()
    stations.push(station)
  }
  const validators = [await open(2), await open(3)]

  const files = new Map<string, Uint8Array>()
  const hang = new Set<string>()
  const server = createServer((request, response) => {
    if (hang.has(request.url ?? '')) return
    const bytes = files.get(request.url ?? '')
    response.writeHead(bytes ? 200 : 404).end(bytes)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const host = { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, files, hang }

  const world: World = {
    rpcUrl: anvil.url,
    contracts,
    deployment: {
      chain: 'eip155:31337',
      registry: contracts.registry,
      anchor: contracts.anchor,
      origin: ORIGIN,
      startBlock: contracts.block,
      startHash: start.hash,
    },
    stations,
    validators,
    host,
    rpc,
    mine: (blocks) => rpc('anvil_mine', [`0x${blocks.toString(16)}`, '0x1']),
    payload: (station, readings) =>
      signMaml(
        buildMaml({
          frontMatter: {
            maml: '1.0',
            schema: 'iot_data.maml',
            dataset: 'helium_sensors',
            sensor: station.sensor,
            contributor: `eip155:31337:${station.client.account}`,
          },
          readings,
        }),
        station.seed,
        mlDsa,
      ),
    async submit(station, bytes, uri) {
      const path = `/${toHex(sha256(bytes))}`
      if (uri === undefined) host.files.set(path, bytes)
      const call = await station.client.submit(
        payloadClaim(station.sensor, bytes, uri ?? `${host.url}${path}`),
      )
      const { events } = await call.send()
      const event = events.find((e) => e.type === 'submitted')
      if (!event) throw new Error('the submission emitted no event')
      return event.id
    },
    submitReading: (station, airQuality) =>
      world.submit(station, world.payload(station, [reading(station.sensor, airQuality)])),
    async attest(id, valid = true) {
      for (const validator of validators) await (await validator.attest(id, valid)).send()
    },
    async stop() {
      server.closeAllConnections()
      server.close()
      await anvil.stop()
    },
  }
  return world
}

/** A reading that the dataset's schema accepts. */
export const reading = (sensor: string, air: number, timestamp = '2025-10-01T23:30:00Z'): JsonObject => ({
  sensor_id: sensor,
  air_quality: air,
  timestamp,
})

export interface Indexer {
  pipeline: Pipeline
  metrics: Metrics
  /** Rejects when the pipeline fails for good. */
  running: Promise<void>
  stop(): Promise<void>
}

export interface IndexerOptions {
  anchor?: AnchorSettings | null
  /** Blocks until one is final; the chain's own tag unless told. */
  confirmations?: number
  recheck?: RecheckStage
  /** The chain's endpoints; the world's own unless told. */
  rpcUrls?: readonly string[]
  /** Most blocks of one historical range. */
  rangeBlocks?: number
  /** Further `host:port` pairs on private addresses that payloads may be fetched from. */
  hosts?: readonly string[]
}

/** The whole pipeline over a world's chain and a database. */
export function startIndexer(world: World, sql: Sql, options: IndexerOptions = {}): Indexer {
  const metrics = createMetrics()
  const stop = new AbortController()
  const rpc = createRpc({ urls: options.rpcUrls ?? [world.rpcUrl], chainId: 31337 })
  const blocks = options.rangeBlocks ?? 1_000
  const source = createEvmSource(
    {
      registry: world.deployment.registry,
      anchor: world.deployment.anchor,
      startBlock: world.deployment.startBlock,
      finality: options.confirmations === undefined ? 'finalized' : { confirmations: options.confirmations },
      shorterMs: 100,
      pollMs: 20,
      ranges: { firstBlocks: blocks, mostBlocks: blocks, wantedLogs: 3_000 },
    },
    { rpc },
  )
  const anchor = options.anchor === undefined ? EAGER : options.anchor
  const pipeline = createPipeline({
    deployment: world.deployment,
    source,
    fetcher: createPayloadFetcher({
      allowedPrivate: [world.host.url.slice('http://'.length), ...(options.hosts ?? [])],
      connectMs: 500,
      firstByteMs: 500,
      totalMs: 1_000,
    }),
    sql,
    mlDsa,
    signers: () => SIGNERS,
    anchor: anchor && {
      port: evmAnchorPort({
        rpc,
        anchor: world.deployment.anchor,
        privateKey: devPrivateKey(1),
        confirmations: null,
      }),
      settings: anchor,
    },
    recheck: options.recheck ?? null,
    clock: systemClock,
    logger: silentLogger,
    metrics,
  })
  const running = pipeline.run(stop.signal)
  running.catch(() => {})
  return {
    pipeline,
    metrics,
    running,
    async stop() {
      stop.abort()
      await running
    },
  }
}

/**
 * Polls `look` until it answers something other than undefined; fails after `ms` with what was waited for, or at once
 * with the error of `indexer`.
 */
export async function until<T>(
  what: string,
  look: () => Promise<T | undefined>,
  indexer?: Indexer,
  ms = 30_000,
): Promise<T> {
  const end = Date.now() + ms
  let failure: { error: unknown } | null = null
  indexer?.running.catch((error) => {
    failure = { error }
  })
  for (;;) {
    if (failure) throw (failure as { error: unknown }).error
    const value = await look()
    if (value !== undefined) return value
    if (Date.now() > end) throw new Error(`waited ${ms} ms in vain for ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
