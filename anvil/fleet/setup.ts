import { readFileSync } from 'node:fs'
import { backoffMs } from '../../src/chain/backoff.ts'
import { keyPossessionDigest } from '../../src/chain/record.ts'
import { type Hex, sha256, toHex } from '../../src/core/bytes.ts'
import { provePossession } from '../../src/maml/possession.ts'
import { type PreparedCall, RegistryClient } from '../../src/service/registry-client.ts'
import { type Behaviour, behaviourNamed } from './behaviours.ts'
import type { FleetContext } from './context.ts'
import { FleetError } from './error.ts'
import type { ContributorKeys } from './keys.ts'
import { examplePayload, hostPayload } from './payload.ts'
import { EXAMPLE_SENSOR, FLEET_DATASETS, FLEET_SCHEMAS, type Station } from './stations.ts'

/** Failures of one step, one after another, that a set-up gives up at: about fifteen seconds. */
const ATTEMPTS = 8
/** Milliseconds between two looks for a receipt, or for one's own pending transaction. */
export const POLL_MS = 200
/** Milliseconds to wait for a receipt: a devnet mines every second, and a stop must not hang on one that never comes. */
const WAIT_MS = 15_000
/** Looks for a pending transaction of an earlier run before it is passed over: half a minute. */
const PENDING_LOOKS = 150

const SCHEMAS = new URL('../schemas/', import.meta.url)

/** A contributor that is registered and has what it needs to take part. */
export interface Member {
  readonly keys: ContributorKeys
  readonly client: RegistryClient
  /** Position of the key in force among the contributor's seeds. */
  readonly keyInForce: number
  /** The stations that are this contributor's on-chain. */
  readonly stations: readonly Station[]
  /** How many submissions it has made before. */
  readonly submitted: number
}

export const stopped = (): FleetError =>
  new FleetError('FLEET_STOPPED', 'the fleet was stopped while it was being set up', { retryable: true })

/** Carries `work` out, again and again where it fails, with back-off. Throws the last failure, or `FLEET_STOPPED`. */
export async function insist<T>(
  ctx: Pick<FleetContext, 'clock' | 'logger' | 'signal'>,
  what: string,
  work: () => Promise<T>,
): Promise<T> {
  for (let failures = 1; ; failures++) {
    if (ctx.signal.aborted) throw stopped()
    try {
      return await work()
    } catch (error) {
      if (ctx.signal.aborted) throw stopped()
      if (failures >= ATTEMPTS) throw error
      ctx.logger.debug({ what, error, failures }, 'Failed a step of the set-up')
      await ctx.clock.sleep(backoffMs(failures, Math.random), ctx.signal)
    }
  }
}

/**
 * One step of a set-up that may be repeated at any time: asks the chain whether it is done, and only then sends. A
 * transaction that an earlier run left behind is waited for first, or it would be sent twice.
 */
export async function ensure(
  ctx: FleetContext,
  account: Hex,
  what: string,
  done: () => Promise<boolean>,
  call: () => Promise<PreparedCall>,
): Promise<void> {
  await insist(ctx, what, async () => {
    if (await done()) return
    for (let looks = 0; looks < PENDING_LOOKS && (await ctx.chain.inFlight(account)); looks++) {
      await ctx.clock.sleep(POLL_MS, ctx.signal)
      if (ctx.signal.aborted) throw stopped()
    }
    if (await done()) return
    const prepared = await call()
    if (ctx.signal.aborted) throw stopped()
    await prepared.send()
  })
}

/** Registers each dataset with its schema, unless somebody has. */
export async function ensureDatasets(ctx: FleetContext, client: RegistryClient): Promise<void> {
  for (const dataset of FLEET_DATASETS) {
    const file = new URL(`${FLEET_SCHEMAS[dataset]}.md`, SCHEMAS)
    await ensure(
      ctx,
      client.account,
      dataset,
      async () => (await ctx.chain.datasetOwner(dataset)) !== null,
      () => client.setDataset(dataset, new Uint8Array(readFileSync(file)), false),
    )
  }
}

/** Opens a contributor's account with enough currency on it. */
export async function openAccount(ctx: FleetContext, { account, privateKey }: ContributorKeys) {
  await insist(ctx, 'funds', () => ctx.fund(account))
  return insist(ctx, 'account', () =>
    RegistryClient.open({
      rpcUrl: ctx.rpcUrl,
      registry: ctx.registry,
      privateKey,
      pollMs: POLL_MS,
      waitMs: WAIT_MS,
    }),
  )
}

/** Registers the contributor's key unless one of its keys is in force; answers which of them is. */
export async function ensureKey(
  ctx: FleetContext,
  client: RegistryClient,
  { site, seeds, account }: ContributorKeys,
): Promise<number> {
  const ids = seeds.map((seed) => toHex(sha256(ctx.mlDsa.publicKey(65, seed))))
  let inForce = 0
  await ensure(
    ctx,
    account,
    'key',
    async () => {
      const current = await client.currentKey()
      inForce = Math.max(0, current?.active ? ids.indexOf(current.keyId) : -1)
      return current?.active === true && ids.includes(current.keyId)
    },
    () =>
      site.role === 'unproved'
        ? registerUnproved(ctx, client, seeds[0])
        : client.registerKey(seeds[0], ctx.mlDsa),
  )
  return inForce
}

/** Registers a key with a proof that was made for another account, as somebody who copies keys would. */
async function registerUnproved(
  { registry, mlDsa }: FleetContext,
  client: RegistryClient,
  seed: Uint8Array,
): Promise<PreparedCall> {
  const digest = keyPossessionDigest({
    chainId: BigInt(client.chainId),
    registry,
    account: registry,
    keyIndex: 0,
  })
  const publicKey = toHex(mlDsa.publicKey(65, seed))
  const possession = toHex(provePossession(seed, digest, mlDsa))
  const current = await client.currentKey()
  return client.prepare(current ? 'rotateKey' : 'registerKey', [publicKey, possession])
}

/** Registers a station; answers whether it is this contributor's (somebody may have taken its name). */
export async function ensureStation(
  ctx: FleetContext,
  client: RegistryClient,
  { sensor, dataset, h3Cell }: Station,
): Promise<boolean> {
  let owner: Hex | null = null
  await ensure(
    ctx,
    client.account,
    sensor,
    async () => {
      owner = await ctx.chain.sensorOwner(sensor)
      return owner !== null
    },
    () => client.registerSensor(sensor, dataset, h3Cell),
  )
  return owner === null || owner === client.account
}

/**
 * Registers a contributor and its stations, each step only where the chain does not have it yet, and makes the seed's own
 * example the first submission of its sensor. `dataset` settles when the dataset is there, `step` is told of each step done.
 */
export async function enrol(
  ctx: FleetContext,
  keys: ContributorKeys,
  client: RegistryClient,
  dataset: Promise<void>,
  step: () => void,
): Promise<Member> {
  const keyInForce = await ensureKey(ctx, client, keys)
  step()
  await dataset
  const stations: Station[] = []
  for (const station of keys.site.stations) {
    if (await ensureStation(ctx, client, station)) stations.push(station)
    else ctx.logger.warn({ sensor: station.sensor }, "Left out a sensor: its name is somebody else's")
    step()
  }
  if (stations.some(({ sensor }) => sensor === EXAMPLE_SENSOR)) {
    const bytes = examplePayload(ctx, client.account, client.chainId, keys.seeds[keyInForce] ?? keys.seeds[0])
    const claim = await hostPayload(ctx, behaviourNamed('reading') as Behaviour, EXAMPLE_SENSOR, bytes)
    await ensure(
      ctx,
      client.account,
      'example',
      async () => (await ctx.chain.submitted(client.account)) > 0,
      () => client.submit(claim),
    )
    step()
  }
  return {
    keys,
    client,
    keyInForce,
    stations,
    submitted: await insist(ctx, 'count', () => ctx.chain.submitted(client.account)),
  }
}

/** How many steps a whole set-up has, the dataset included. */
export const stepsOf = (contributors: readonly ContributorKeys[]): number =>
  contributors.reduce((sum, { site }) => sum + 1 + site.stations.length, 2)
