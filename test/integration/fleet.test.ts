import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createClient, http } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { Anvil } from '../../anvil/anvil.ts'
import { BEHAVIOURS } from '../../anvil/fleet/behaviours.ts'
import { behaviourOf } from '../../anvil/fleet/host.ts'
import { FLEET_SITES } from '../../anvil/fleet/stations.ts'
import { type Fleet, type FleetKeys, type FleetOptions, openFleet, startFleet } from '../../anvil/fleet.ts'
import { decodeLog, type RawLog } from '../../src/chain/decode.ts'
import { type Deployment, deployContracts } from '../../src/chain/deploy.ts'
import { devAccount, devPrivateKey } from '../../src/chain/dev-accounts.ts'
import { keyPossessionDigest } from '../../src/chain/record.ts'
import type { ChainEvent, ChainEventOf, ChainEventType } from '../../src/chain/source.ts'
import { decodeUtf8, fromHex, type Hex, sha256, toHex } from '../../src/core/bytes.ts'
import { systemClock } from '../../src/core/clock.ts'
import { silentLogger } from '../../src/core/logger.ts'
import { mlDsa } from '../../src/core/ml-dsa-native.ts'
import { parseMaml } from '../../src/maml/parse.ts'
import { verifyPossession } from '../../src/maml/possession.ts'
import { createPayloadFetcher } from '../../src/payload/fetch.ts'
import { testAnvil } from '../support/anvil.ts'
import { startRpcProxy } from '../support/rpc-proxy.ts'
import { until } from '../support/world.ts'

/** Blocks, of which instant mining makes one for each transaction: long enough for the validators, short for a test. */
const TTL = 120
const FUNDS = '0x3635c9adc5dea00000'

let dir: string
let anvil: Anvil
let contracts: Deployment
let keys: FleetKeys
let port: number
let rpc: <T>(method: string, params?: readonly unknown[]) => Promise<T>
const running: Fleet[] = []

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'dunes-fleet-'))
  keys = openFleet(dir)
  anvil = await testAnvil()
  const client = createClient({ transport: http(anvil.url), pollingInterval: 5 })
  rpc = <T>(method: string, params: readonly unknown[] = []) =>
    client.request({ method, params } as never) as Promise<T>
  contracts = await deployContracts({
    client,
    deployer: privateKeyToAccount(devPrivateKey(0)),
    admin: devAccount(0),
    anchorer: devAccount(1),
    validators: keys.validators,
    origin: 'test.example/fleet',
    policyHash: `0x${'00'.repeat(32)}`,
    quorum: 3,
    ttl: TTL,
    epochSeconds: 3_600,
  })
  // URIs hold the port, so it has to be the same after a restart.
  const probe = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => probe.once('listening', resolve))
  port = (probe.address() as AddressInfo).port
  await new Promise((resolve) => probe.close(resolve))
})
// A test that fails leaves the port to the next one all the same.
afterEach(async () => {
  await Promise.all(running.splice(0).map((fleet) => fleet.stop()))
})
afterAll(async () => {
  await anvil.stop()
  rmSync(dir, { recursive: true })
})

const options = (change: Partial<FleetOptions> = {}): FleetOptions => ({
  keys,
  dir,
  rpcUrl: anvil.url,
  registry: contracts.registry,
  host: '127.0.0.1',
  port,
  fund: async (account) => {
    await rpc('anvil_setBalance', [account, FUNDS])
  },
  clock: systemClock,
  logger: silentLogger,
  seed: 4,
  pace: { submissionsPerSecond: 40 },
  ...change,
})
const start = async (change: Partial<FleetOptions> = {}): Promise<Fleet> => {
  const fleet = await startFleet(options(change))
  running.push(fleet)
  return fleet
}

async function eventsOf<T extends ChainEventType>(type: T): Promise<ChainEventOf<T>[]> {
  const logs = await rpc<RawLog[]>('eth_getLogs', [{ address: contracts.registry, fromBlock: '0x0' }])
  const decoded = logs.flatMap((log) => decodeLog(log, contracts) ?? [])
  return decoded.filter((event: ChainEvent): event is ChainEventOf<T> => event.type === type)
}
const uriOf = ({ uriBytes }: ChainEventOf<'submitted'>) => decodeUtf8(uriBytes)

describe('the fleet', () => {
  it('keeps its keys, with five validators among twenty contributors', () => {
    expect(openFleet(dir)).toEqual(keys)
    expect(new Set(keys.contributors.map(({ account }) => account)).size).toBe(20)
    expect(keys.validators).toHaveLength(5)
    const seeds = keys.contributors.flatMap((one) => one.seeds.map(toHex))
    expect(new Set(seeds).size).toBe(21)
  })

  it('goes on where a set-up was stopped in the middle, and registers everything once', async () => {
    const stop = new AbortController()
    const stopped = startFleet(
      options({ signal: stop.signal, progress: (done) => done === 25 && stop.abort() }),
    )
    await expect(stopped).rejects.toMatchObject({ code: 'FLEET_STOPPED' })
    const half = await eventsOf('sensorRegistered')
    expect(half.length).toBeLessThan(52)
    // Its port is free again at once, or this start would fail.
    const seen: number[] = []
    const fleet = await start({
      progress: (done, of) => {
        seen.push(done)
        expect(of).toBe(74)
      },
    })
    expect(seen).toEqual(Array.from({ length: 74 }, (_, i) => i + 1))
    await fleet.stop()
    await (await start()).stop()

    const sensors = await eventsOf('sensorRegistered')
    const wanted = FLEET_SITES.flatMap(({ stations }, i) =>
      stations.map(({ sensor, dataset, h3Cell }) => ({
        contributor: keys.contributors[i]?.account,
        name: sensor,
        dataset,
        h3Cell,
      })),
    )
    const found = sensors.map(({ contributor, name, dataset, h3Cell }) => ({
      contributor,
      name,
      dataset,
      h3Cell,
    }))
    const byName = (a: { name: string }, b: { name: string }) => (a.name < b.name ? -1 : 1)
    expect(found.sort(byName)).toEqual(wanted.sort(byName))
    expect((await eventsOf('datasetUpdated')).map(({ name }) => name)).toEqual([
      'helium_sensors',
      'weather_stations',
    ])
    const first = (await eventsOf('keyRegistered')).filter(({ keyIndex }) => keyIndex === 0)
    expect(new Set(first.map(({ contributor }) => contributor)).size).toBe(20)
    expect(first).toHaveLength(20)
  })

  it('proves possession of every key but the one that is there to be found unproved', async () => {
    const unproved = (await eventsOf('keyRegistered')).filter(
      ({ contributor, keyIndex, publicKey, possession }) => {
        const digest = keyPossessionDigest({
          chainId: 31337n,
          registry: contracts.registry,
          account: contributor,
          keyIndex,
        })
        return !verifyPossession(publicKey, digest, possession, mlDsa)
      },
    )
    const [wanted] = keys.contributors.filter(({ site }) => site.role === 'unproved')
    expect(unproved.map(({ contributor }) => contributor)).toEqual([wanted?.account])
  })

  it("submits the seed's own example once, first, and has it validated", async () => {
    const fleet = await start()
    const [first] = (await eventsOf('submitted')).filter(({ sensor }) => sensor === 'helium_001')
    if (!first) throw new Error('helium_001 submitted nothing')
    const settled = await until('the example to settle', async () =>
      (await eventsOf('settled')).find(({ id }) => id === first.id),
    )
    expect(settled.outcome).toBe('validated')
    expect(first.nonce).toBe(0)
    const fetched = await createPayloadFetcher({ allowedPrivate: [`127.0.0.1:${port}`] }).fetch({
      uri: uriOf(first),
      sha256: fromHex(first.payloadHash),
      bytes: first.payloadBytes,
    })
    if (fetched.kind !== 'bytes') throw new Error(fetched.detail)
    const { readings, names } = parseMaml(fetched.bytes)
    expect(readings).toEqual([
      { sensor_id: 'helium_001', air_quality: 85, timestamp: '2025-10-01T23:30:00Z' },
    ])
    expect(names).toEqual(['air_quality', 'sensor_id', 'timestamp'])
    await fleet.stop()

    const again = await start()
    await until('more of helium_001', async () =>
      (await eventsOf('submitted')).filter(({ sensor }) => sensor === 'helium_001').length > 3
        ? true
        : undefined,
    )
    const hashes = await Promise.all(
      (await eventsOf('submitted')).map(async (event) => {
        if (event.sensor !== 'helium_001' || behaviourOf(again.url, uriOf(event)) !== 'reading') return 0
        const response = await fetch(uriOf(event))
        const bytes = new Uint8Array(await response.arrayBuffer())
        expect(toHex(sha256(bytes))).toBe(event.payloadHash)
        return decodeUtf8(bytes).includes('2025-10-01T23:30:00Z') ? 1 : 0
      }),
    )
    expect(hashes.reduce<number>((a, b) => a + b, 0)).toBe(1)
    await again.stop()
  })

  it('settles in every way, by validators that never attest to their own', async () => {
    const fleet = await start()
    const outcomes = await until('all outcomes', async () => {
      const settled = await eventsOf('settled')
      return new Set(settled.map(({ outcome }) => outcome)).size === 3 ? settled : undefined
    })
    await fleet.stop()
    const submitted = new Map((await eventsOf('submitted')).map((event) => [event.id, event]))
    for (const { id, outcome } of outcomes) {
      const event = submitted.get(id) as ChainEventOf<'submitted'>
      const kind = BEHAVIOURS.find(({ name }) => name === behaviourOf(fleet.url, uriOf(event)))
      const wanted =
        kind?.validators === 'reject' ? 'rejected' : kind?.validators === 'ignore' ? 'expired' : 'validated'
      expect(outcome, kind?.name).toBe(wanted)
    }
    for (const { id, validator } of await eventsOf('attested')) {
      expect(keys.validators).toContain(validator)
      expect(submitted.get(id)?.contributor).not.toBe(validator)
    }
  })

  it('submits badly in every way that it knows, among many good ones', async () => {
    const fleet = await start()
    const wanted = new Set(BEHAVIOURS.map(({ name }) => name))
    // The URIs of these two say no host of ours.
    const elsewhere = ['http://10.0.0.1/private_address/', 'http://fleet:secret@127.0.0.1:']
    wanted.delete('uri_credentials')
    wanted.delete('private_address')
    const submitted = await until(
      'every behaviour',
      async () => {
        const events = await eventsOf('submitted')
        const uris = events.map(uriOf)
        const names = new Set(uris.map((uri) => behaviourOf(fleet.url, uri)))
        const all =
          [...wanted].every((name) => names.has(name)) &&
          elsewhere.every((start) => uris.some((uri) => uri.startsWith(start)))
        return all ? events : undefined
      },
      undefined,
      150_000,
    )
    const good = submitted.filter((event) =>
      ['reading', 'readings'].includes(behaviourOf(fleet.url, uriOf(event)) ?? ''),
    )
    expect(good.length / submitted.length).toBeGreaterThan(0.7)
    await fleet.stop()

    const rotator = keys.contributors.find(({ site }) => site.role === 'rotator')
    const rotated = (await eventsOf('keyRegistered')).filter(({ keyIndex }) => keyIndex > 0)
    expect(rotated.map(({ contributor }) => contributor)).toEqual([rotator?.account])
    const used = submitted.filter((event) => behaviourOf(fleet.url, uriOf(event)) === 'rotated_key')
    for (const { keyId } of used) expect(keyId).toBe(rotated[0]?.keyId)
    // A duplicate repeats bytes of the same contributor that were submitted and settled before.
    const settled = await eventsOf('settled')
    const duplicates = submitted.filter((event) => behaviourOf(fleet.url, uriOf(event)) === 'duplicate')
    for (const event of duplicates) {
      const earlier = good.filter(
        ({ contributor, payloadHash }) =>
          contributor === event.contributor && payloadHash === event.payloadHash,
      )
      expect(earlier.map(({ keyId }) => keyId)).toEqual([event.keyId])
      const index = (id: Hex | undefined) => settled.find((one) => one.id === id)?.index
      const repeated = index(event.id)
      if (repeated !== undefined) expect(index(earlier[0]?.id)).toBeLessThan(repeated)
    }
  }, 180_000)

  it('lives through an endpoint that fails, and goes on', async () => {
    const proxy = await startRpcProxy(anvil.url)
    const fleet = await start({ rpcUrl: proxy.url })
    let broken: unknown = null
    fleet.broken.catch((error) => {
      broken = error
    })
    proxy.fault = () => ({ status: 503 })
    const calls = proxy.calls.length
    await until('failing calls', async () => (proxy.calls.length > calls + 60 ? true : undefined))
    const before = (await eventsOf('submitted')).length
    proxy.fault = () => undefined
    await until('more submissions', async () =>
      (await eventsOf('submitted')).length > before + 10 ? true : undefined,
    )
    expect(broken).toBeNull()
    await fleet.stop()
    await proxy.stop()
  })

  it('stops within two seconds, also when the endpoint no longer answers', async () => {
    const proxy = await startRpcProxy(anvil.url)
    const fleet = await start({ rpcUrl: proxy.url })
    proxy.fault = () => ({ hang: true })
    const calls = proxy.calls.length
    await until('hanging calls', async () => (proxy.calls.length > calls ? true : undefined))
    const begun = performance.now()
    await fleet.stop()
    expect(performance.now() - begun).toBeLessThan(2_500)
    await fleet.stop()
    await proxy.stop()
  })

  it('gives up a set-up that cannot succeed, with the reason, and frees its port', async () => {
    const nothing: Hex = `0x${'11'.repeat(20)}`
    // No time passes between attempts, or this would take a quarter of a minute.
    const hasty = { now: () => Date.now(), sleep: () => Promise.resolve() }
    await expect(startFleet(options({ registry: nothing, clock: hasty }))).rejects.toThrow()
    const fleet = await start()
    await expect(startFleet(options())).rejects.toMatchObject({ code: 'PORT_BUSY', exitCode: 2 })
    await fleet.stop()
  })
})
