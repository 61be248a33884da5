import { createHash } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { devPrivateKey } from '../../src/chain/dev-accounts.ts'
import { concat, fromHex, type Hex, toHex, utf8 } from '../../src/core/bytes.ts'
import type { JsonObject } from '../../src/core/json.ts'
import { mlDsa } from '../../src/core/ml-dsa-native.ts'
import { REASONS, type Reason } from '../../src/core/reason.ts'
import { readEntries, readLogHead } from '../../src/graph/log-store.ts'
import { getPayload } from '../../src/graph/payloads.ts'
import { buildMaml } from '../../src/maml/build.ts'
import type { FrontMatter } from '../../src/maml/container.ts'
import { MAML_CONTEXT, signatureSection } from '../../src/maml/sign.ts'
import type { What } from '../../src/payload/outcome.ts'
import { checkMu } from '../../src/receipt/check.ts'
import { parseEntry } from '../../src/receipt/entry.ts'
import { buildMu, parseMu } from '../../src/receipt/mu.ts'
import { DEVNET_POLICY } from '../../src/receipt/policy.ts'
import { RegistryClient, type SubmissionCall } from '../../src/service/registry-client.ts'
import { startApi } from '../support/api.ts'
import { type HostileHost, type SilentHost, startCanary, startHostileHost } from '../support/hostile-host.ts'
import { type TestDatabase, testDatabase } from '../support/postgres.ts'
import {
  type Indexer,
  reading,
  type Station,
  startIndexer,
  startWorld,
  until,
  type World,
} from '../support/world.ts'

/**
 * Every kind of bad input goes through the real pipeline, between good submissions: chain, hosts, database and log are
 * the real ones. STALE is missing because the devnet's leaf policy sets no age for any dataset, so that it cannot occur
 * there; the last good submissions below are as old and as new as a timestamp can be.
 */

let world: World
let database: TestDatabase
let indexer: Indexer
let hostile: HostileHost
let canary: SilentHost
/** An address on which nobody listens any more. */
let deserted: string

/** What must become of a submission; `what` is the note that is kept about the way to its bytes. */
interface Fate {
  reason: Reason | null
  what?: What
  id?: Hex
  bytes: Uint8Array
}
const fates = new Map<string, Fate>()
let settled = 0

const sha = (bytes: Uint8Array): Hex => toHex(new Uint8Array(createHash('sha256').update(bytes).digest()))

// ---- payloads, written by hand where our own writer refuses to

interface Draft {
  seed: Uint8Array
  frontMatter: FrontMatter
  readings: JsonObject[]
}
let air = 0
/** A draft that is accepted as it is, and unlike any other. */
const draft = (station: Station): Draft => ({
  seed: station.seed,
  frontMatter: {
    maml: '1.0',
    schema: 'iot_data.maml',
    dataset: 'helium_sensors',
    sensor: station.sensor,
    contributor: `eip155:31337:${station.client.account}`,
  },
  readings: [{ ...reading(station.sensor, air++ % 400), temperature: air / 100 }],
})
const unsigned = ({ frontMatter, readings }: Draft): Uint8Array => buildMaml({ frontMatter, readings })
/** Signs any bytes at all: the signature is in order, whatever it stands under. */
const sign = (bytes: Uint8Array, seed: Uint8Array, context = MAML_CONTEXT): Uint8Array =>
  concat(bytes, signatureSection(mlDsa.sign(65, seed, bytes, context)))
const signed = (plan: Draft): Uint8Array => sign(unsigned(plan), plan.seed)
/** The payload of a good draft with one piece of its text exchanged before it is signed. */
const edited = (station: Station, from: string | RegExp, to: string): Uint8Array => {
  const plan = draft(station)
  const text = new TextDecoder().decode(unsigned(plan))
  const changed = text.replace(from, () => to)
  if (changed === text) throw new Error(`${from} is not in the payload`)
  return sign(utf8(changed), plan.seed)
}

// ---- what is submitted, in one transaction for each contributor

const queues = new Map<RegistryClient, [name: string, call: SubmissionCall][]>()

interface Change {
  uri?: string
  what?: What
  sensor?: string
  /** What the chain is told instead of the truth. */
  declared?: { sha256?: Hex; bytes?: number }
}
function plan(
  station: Pick<Station, 'client' | 'sensor'>,
  name: string,
  reason: Reason | null,
  bytes: Uint8Array,
  change: Change = {},
): void {
  if (fates.has(name)) throw new Error(`there are two cases called ${name}`)
  const path = `/${sha(bytes)}`
  if (change.uri === undefined) world.host.files.set(path, bytes)
  fates.set(name, { reason, bytes, ...(change.what && { what: change.what }) })
  const call = {
    sensor: change.sensor ?? station.sensor,
    payloadHash: change.declared?.sha256 ?? sha(bytes),
    payloadBytes: change.declared?.bytes ?? bytes.length,
    uri: change.uri ?? `${world.host.url}${path}`,
  }
  queues.set(station.client, [...(queues.get(station.client) ?? []), [name, call]])
}
const good = (station: Station, name: string): void => plan(station, name, null, signed(draft(station)))

/** A URI of bytes that are no UTF-8, which only a caller with tools of its own can submit. */
async function submitRawUri(station: Station): Promise<void> {
  const bytes = signed(draft(station))
  const { data, from, to } = await station.client.submit({
    sensor: station.sensor,
    payloadHash: sha(bytes),
    payloadBytes: bytes.length,
    uri: 'http://example.org/\x01\x02\x03',
  })
  const hash = await world.rpc<Hex>('eth_sendTransaction', [
    { from, to, data: data.replace('010203', 'fffec0'), gas: '0x100000' },
  ])
  const receipt = await until('its receipt', async () => {
    const found = await world.rpc<{ logs: { topics: Hex[] }[] } | null>('eth_getTransactionReceipt', [hash])
    return found ?? undefined
  })
  fates.set('a URI that is not UTF-8', {
    reason: 'URI_REFUSED',
    bytes,
    id: receipt.logs[0]?.topics[1] as Hex,
  })
}

/** Sends what is queued. */
async function flush(): Promise<void> {
  for (const [client, queue] of queues) {
    const { events } = await (await client.submitBatch(queue.map(([, call]) => call))).send()
    const ids = events.flatMap((event) => (event.type === 'submitted' ? [event.id] : []))
    for (const [i, [name]] of queue.entries()) (fates.get(name) as Fate).id = ids[i] as Hex
  }
  queues.clear()
}

const idOf = (name: string): Hex => fates.get(name)?.id as Hex
const GOOD_BEFORE = 'good, before all others'
const GOOD_BETWEEN = 'good, between them'
const GOOD_AFTER = 'good, after all others'

beforeAll(async () => {
  ;[world, database, hostile, canary] = await Promise.all([
    startWorld(4),
    testDatabase({ max: 8 }),
    startHostileHost(),
    startCanary(),
  ])
  const left = await startCanary()
  deserted = `127.0.0.1:${left.port}`
  await left.stop()
  const [first, second, third, fourth] = world.stations as [Station, Station, Station, Station]
  await planPayloads(first)
  await planHosts(second)
  await planKeys(third)
  await planDatasets(fourth)
  good(second, GOOD_BETWEEN)
  good(fourth, GOOD_AFTER)
  await flush()
  await submitRawUri(second)

  // Settled in an order that begins, goes on and ends with a good one.
  const names = [...fates.keys()].filter((name) => !name.startsWith('good, '))
  const middle = names.length >> 1
  const order = [GOOD_BEFORE, ...names.slice(0, middle), GOOD_BETWEEN, ...names.slice(middle), GOOD_AFTER]
  const votes = order
    .filter((name) => fates.get(name)?.reason !== 'EXPIRED')
    .map((name) => ({ id: idOf(name), valid: fates.get(name)?.reason !== 'QUORUM_REJECTED' }))
  // In two transactions each, as a block does not hold so many settlements at once.
  for (const half of [votes.slice(0, votes.length >> 1), votes.slice(votes.length >> 1)])
    for (const validator of world.validators) await (await validator.attestBatch(half)).send()
  await world.mine(60)
  for (const [, fate] of fates)
    if (fate.reason === 'EXPIRED') await (await first.client.prepare('expire', [fate.id as Hex])).send()
  settled = fates.size
  await world.mine(10)
  indexer = startIndexer(world, database.sql, { hosts: [hostile.address, deserted] })
}, 60_000)

afterAll(async () => {
  await indexer?.stop()
  await Promise.all([hostile?.stop(), canary?.stop(), database?.stop(), world?.stop()])
})

async function planPayloads(station: Station): Promise<void> {
  good(station, GOOD_BEFORE)
  const text = new TextDecoder().decode(unsigned(draft(station)))
  const utf = (bytes: number[]) => {
    const [head, tail] = text.split('"air_quality"') as [string, string]
    return sign(
      concat(utf8(`${head}"note": "`), new Uint8Array(bytes), utf8(`", "air_quality"${tail}`)),
      station.seed,
    )
  }
  const malformed = (name: string, bytes: Uint8Array) => plan(station, name, 'MAML_MALFORMED', bytes)
  malformed('one byte that is nothing', utf8('x'))
  malformed('random bytes', new Uint8Array(createHash('sha512').update('noise').digest()))
  malformed('not UTF-8: a stray byte', utf([0xff]))
  malformed('not UTF-8: an overlong form', utf([0xc0, 0xaf]))
  malformed('not UTF-8: a surrogate', utf([0xed, 0xa0, 0x80]))
  malformed('a byte order mark', sign(concat(utf8('\ufeff'), unsigned(draft(station))), station.seed))
  malformed('CRLF', sign(utf8(text.replaceAll('\n', '\r\n')), station.seed))
  malformed('CRLF at one line end', edited(station, '## Data_Block\n', '## Data_Block\r\n'))
  malformed('a NUL byte', edited(station, '## Data_Block', 'a\0b\n## Data_Block'))
  malformed('a duplicate JSON key', edited(station, '"air_quality"', '"air_quality": 1, "air_quality"'))
  malformed(
    'a duplicate key by its escape',
    edited(station, '"air_quality"', '"\\u0061ir_quality": 1, "air_quality"'),
  )
  malformed('a duplicate front matter key', edited(station, 'maml: 1.0\n', 'maml: 1.0\nmaml: 1.0\n'))
  malformed(
    'arrays nested 10,000 deep',
    edited(station, /"temperature": [0-9.]+/, `"temperature": ${'['.repeat(10_000)}${']'.repeat(10_000)}`),
  )
  malformed(
    'objects nested 10,000 deep',
    edited(
      station,
      /"temperature": [0-9.]+/,
      `"temperature": ${'{"a":'.repeat(10_000)}1${'}'.repeat(10_000)}`,
    ),
  )
  malformed('the integer 2^53', edited(station, /"temperature": [0-9.]+/, '"temperature": 9007199254740992'))
  malformed(
    'an integer beyond 2^53, as a float',
    edited(station, /"temperature": [0-9.]+/, '"temperature": 1e300'),
  )
  malformed('a number beyond a double', edited(station, /"temperature": [0-9.]+/, '"temperature": 1e999'))
  malformed('NaN', edited(station, /"temperature": [0-9.]+/, '"temperature": NaN'))
  malformed(
    'a lone surrogate by its escape',
    edited(station, '"air_quality"', '"note": "\\ud800", "air_quality"'),
  )
  malformed('## Signature twice', concat(signed(draft(station)), signatureSection(new Uint8Array(3309))))
  malformed('## Signature inside the JSON', edited(station, '"air_quality"', '\n## Signature\n"air_quality"'))
  malformed('## Data_Block twice', edited(station, '## Data_Block', '## Data_Block\n## Data_Block'))
  malformed('a byte after the end', concat(signed(draft(station)), utf8('\n')))
  malformed('no reading', edited(station, /\{[^}]*\}/, '[]'))
  malformed('a reading without a sensor_id', edited(station, /"sensor_id": "[a-z0-9_]+",/, ''))
  malformed('a timestamp that is no date', edited(station, '2025-10-01', '2025-02-30'))
  const tiny = (count: number) =>
    `[${Array.from({ length: count }, (_, i) => `{"sensor_id":"${station.sensor}","air_quality":${i % 400},"timestamp":"2025-10-01T23:30:00Z"}`).join(',')}]`
  malformed('10,001 readings', edited(station, /\{[^}]*\}/, tiny(10_001)))
  plan(station, '10,000 readings', null, edited(station, /\{[^}]*\}/, tiny(10_000)))

  const mismatch = (name: string, change: Partial<FrontMatter>) => {
    const good = draft(station)
    plan(
      station,
      name,
      'METADATA_MISMATCH',
      signed({ ...good, frontMatter: { ...good.frontMatter, ...change } }),
    )
  }
  const other = world.stations[1] as Station
  mismatch('the contributor of another', { contributor: `eip155:31337:${other.client.account}` })
  mismatch('the contributor on another chain', { contributor: `eip155:1:${station.client.account}` })
  mismatch('the contributor in upper case', {
    contributor: `eip155:31337:0x${station.client.account.slice(2).toUpperCase()}`,
  })
  mismatch('the sensor of another', { sensor: other.sensor })
  mismatch('another dataset', { dataset: 'odd_names' })
  mismatch('another schema', { schema: 'other.maml' })
  // Random, so that no compression makes it fit where a database keeps short keys.
  const noise = Array.from({ length: 200 }, (_, i) => sha(utf8(String(i)))).join('')
  plan(
    station,
    'a sensor_id of 13,200 characters',
    'METADATA_MISMATCH',
    signed({ ...draft(station), readings: [reading(noise, 1)] }),
  )
  const three = (odd: string): JsonObject[] =>
    [station.sensor, station.sensor, odd].map((name, i) => reading(name, i))
  plan(
    station,
    'the sensor_id of another',
    'METADATA_MISMATCH',
    edited(station, `"sensor_id": "${station.sensor}"`, `"sensor_id": "${other.sensor}"`),
  )
  plan(
    station,
    'the sensor_id of another in the third reading',
    'METADATA_MISMATCH',
    signed({ ...draft(station), readings: three(other.sensor) }),
  )
  plan(
    station,
    'a NUL escape in the sensor_id',
    'METADATA_MISMATCH',
    signed({ ...draft(station), readings: three(`${station.sensor}\0`) }),
  )

  const invalid = (name: string, readings: JsonObject[]) =>
    plan(station, name, 'SCHEMA_INVALID', signed({ ...draft(station), readings }))
  invalid('a value beyond its maximum', [reading(station.sensor, 501)])
  invalid('a value that is no integer', [reading(station.sensor, 1.5)])
  invalid('a text for a number', [{ ...reading(station.sensor, 1), air_quality: '85' }])
  invalid('a value that the schema does not name', [{ ...reading(station.sensor, 1), xmin: 1 }])
  invalid('a missing value', [{ sensor_id: station.sensor, timestamp: '2025-10-01T23:30:00Z' }])
  invalid('a NUL escape in a value', [{ ...reading(station.sensor, 1), temperature: 'a\0b' }])
  invalid('the second reading alone', [reading(station.sensor, 1), reading(station.sensor, -1)])

  const once = draft(station)
  const bytes = signed(once)
  plan(station, 'said once', null, bytes)
  plan(station, 'the same bytes again', 'DUPLICATE', bytes)
  const blank = new TextDecoder().decode(bytes).replace('## Signature\n', '## Signature\n\n')
  plan(station, 'the same signed bytes in another file', 'DUPLICATE', utf8(blank))
  const late = signed(draft(station))
  plan(station, 'shorter on-chain than it is', 'PAYLOAD_UNAVAILABLE', late, {
    what: 'too-long',
    declared: { bytes: late.length - 1 },
  })
  plan(station, 'the same with its true length', null, late)
  plan(station, 'longer on-chain than it is', 'PAYLOAD_UNAVAILABLE', late, {
    what: 'too-short',
    declared: { bytes: late.length + 1 },
  })

  plan(station, 'rejected by the quorum', 'QUORUM_REJECTED', signed(draft(station)))
  plan(station, 'rejected by the quorum, with a bad URI', 'QUORUM_REJECTED', signed(draft(station)), {
    uri: 'ftp://x/',
  })
  plan(station, 'expired', 'EXPIRED', signed(draft(station)))
  for (const [name, timestamp] of [
    ['a reading of the year 1', '0001-01-01T00:00:00Z'],
    ['a reading of the year 9999', '9999-12-31T23:59:59.999999999Z'],
  ] as const)
    plan(
      station,
      name,
      null,
      signed({ ...draft(station), readings: [reading(station.sensor, 1, timestamp)] }),
    )
}

async function planHosts(station: Station): Promise<void> {
  const lost = (name: string, what: What, uri: (bytes: Uint8Array) => string) => {
    const bytes = signed(draft(station))
    plan(station, name, 'PAYLOAD_UNAVAILABLE', bytes, { what, uri: uri(bytes) })
  }
  lost('missing', 'status', (bytes) => hostile.url('absent', bytes))
  lost('a host that fails', 'status', (bytes) => hostile.url('broken', bytes))
  lost('nobody listens', 'connect', () => `http://${deserted}/x`)
  lost('truncated', 'too-short', (bytes) => hostile.url('truncated', bytes))
  lost('broken off', 'too-short', (bytes) => hostile.url('brokenOff', bytes))
  lost('longer than declared', 'too-long', (bytes) => hostile.url('longer', bytes))
  lost('wrong hash', 'hash', (bytes) => hostile.url('altered', bytes))
  lost('hangs', 'timeout', (bytes) => hostile.url('hangs', bytes))
  lost('hangs in the body', 'timeout', (bytes) => hostile.url('hangsInBody', bytes))
  lost('streams for ever', 'too-long', (bytes) => hostile.url('streams', bytes))
  lost('drips for ever', 'timeout', (bytes) => hostile.url('drips', bytes))
  lost('redirect loop', 'redirect', (bytes) => hostile.url('loops', bytes))
  lost('gzip bomb', 'encoding', (bytes) => hostile.url('bomb', bytes))
  lost('gzip', 'encoding', (bytes) => hostile.url('gzip', bytes))
  const inside = `127.0.0.1:${canary.port}`
  lost('redirect to a private address', 'refused-address', () => hostile.redirect(`http://${inside}/x`))
  lost('redirect to a private name', 'refused-address', () =>
    hostile.redirect(`http://localhost:${canary.port}/x`),
  )
  lost('redirect to a file', 'redirect', () => hostile.redirect('file:///etc/hostname'))
  lost('redirect to credentials', 'redirect', () => hostile.redirect(`http://a:b@${hostile.address}/x`))
  lost('a loopback address', 'refused-address', () => `http://${inside}/x`)
  lost('a loopback address as a number', 'refused-address', () => `http://2130706433:${canary.port}/x`)
  lost('a loopback address in IPv6', 'refused-address', () => `http://[::ffff:127.0.0.1]:${canary.port}/x`)
  lost('a private name', 'refused-address', () => `http://localhost:${canary.port}/x`)
  lost('a private address', 'refused-address', () => 'http://10.0.0.1/x')
  lost('a link-local address', 'refused-address', () => 'http://169.254.169.254/latest/meta-data/')
  lost('a file that is not allowed', 'not-allowed', () => 'file:///etc/hostname')
  lost('an ipfs URI without a CID', 'cid', () => 'ipfs://nothing/x')

  const refused = (name: string, uri: string) =>
    plan(station, name, 'URI_REFUSED', signed(draft(station)), { uri })
  refused('a URI with credentials', `http://user:secret@${hostile.address}/x`)
  refused('a URI with an empty user', `http://@${hostile.address}/x`)
  refused('an unknown scheme', 'ftp://example.org/x')
  refused('a script', 'javascript:alert(1)')
  refused('a data URI', 'data:text/plain,hello')
  refused('no scheme', 'example.org/x')
  refused('a space in a URI', 'http://example.org/a b')
  refused('a NUL in a URI', 'http://example.org/\0')
  refused('a URI that is not ASCII', 'http://exämple.org/x')
}

async function planKeys(station: Station): Promise<void> {
  plan(station, 'signature missing', 'SIGNATURE_MISSING', unsigned(draft(station)))
  const withLine = (line: string) =>
    concat(unsigned(draft(station)), utf8(`## Signature\nCRYSTALS-Dilithium: ${line}\n`))
  const malformed = (name: string, line: string) => plan(station, name, 'SIGNATURE_INVALID', withLine(line))
  malformed("signature malformed: the seed's placeholder", '0x1234...')
  malformed('signature malformed: empty', '')
  malformed('signature malformed: upper case', `0x${'AB'.repeat(3309)}`)
  malformed('signature malformed: a digit short', `0x${'ab'.repeat(3309).slice(1)}`)
  malformed('signature of zeros', `0x${'00'.repeat(3309)}`)
  const stranger = new Uint8Array(32).fill(250)
  plan(
    station,
    'signature by another key',
    'SIGNATURE_INVALID',
    signed({ ...draft(station), seed: stranger }),
  )
  plan(
    station,
    'signature with another context',
    'SIGNATURE_INVALID',
    sign(unsigned(draft(station)), station.seed, utf8('dunes.mu/v1')),
  )
  const moved = signed(draft(station))
  const borrowed = concat(
    unsigned(draft(station)),
    moved.subarray(-signatureSection(new Uint8Array(3309)).length),
  )
  plan(station, 'signature of other bytes', 'SIGNATURE_INVALID', borrowed)
  const old = station.seed
  plan(station, 'signature by the key in force', null, signed(draft(station)))
  const later = new Uint8Array(32).fill(201)
  plan(
    station,
    'signature by a key that is registered later',
    'SIGNATURE_INVALID',
    signed({ ...draft(station), seed: later }),
  )
  await flush()

  station.seed = later
  await (await station.client.registerKey(station.seed, mlDsa)).send()
  plan(station, 'signature by a rotated-out key', 'KEY_REVOKED', signed({ ...draft(station), seed: old }))
  plan(station, 'signature by the new key', null, signed(draft(station)))
  await flush()

  // The first key once more, with the proof of its first registration: what was submitted before stays as it is.
  const first = await possessionOf({ ...station, seed: old })
  await (await station.client.prepare('rotateKey', [toHex(first.publicKey), toHex(first.possession)])).send()
  plan(
    station,
    'key taken up again with its old proof of possession',
    'KEY_UNKNOWN',
    signed({ ...draft(station), seed: old }),
  )
  await flush()

  // The wrong proof of possession is the account's own, somebody else's, or noise.
  const world_ = world.stations[0] as Station
  const noise = new Uint8Array(3309).fill(7)
  const copied = await possessionOf(world_)
  for (const [i, name, publicKey, possession, seed] of [
    [8, 'noise', mlDsa.publicKey(65, stranger), noise, stranger],
    [9, "copied from another's registration", copied.publicKey, copied.possession, world_.seed],
  ] as const) {
    const client = await openClient(i)
    await (await client.prepare('registerKey', [toHex(publicKey), toHex(possession)])).send()
    const sensor = `unproved_${i}`
    await (await client.registerSensor(sensor, 'helium_sensors', 0n)).send()
    const unproved = { client, sensor, seed }
    plan(unproved, `key with a proof of possession that is ${name}`, 'KEY_UNKNOWN', signed(draft(unproved)))
    plan(unproved, `the same, ${name}, without a signature`, 'KEY_UNKNOWN', unsigned(draft(unproved)))
  }
}

const openClient = (index: number) =>
  RegistryClient.open({
    rpcUrl: world.rpcUrl,
    registry: world.deployment.registry,
    privateKey: devPrivateKey(index),
    pollMs: 5,
  })

/** Key and proof as a station's registration published them. */
async function possessionOf(station: Station): Promise<{ publicKey: Uint8Array; possession: Uint8Array }> {
  const digest = createHash('sha256')
    .update('dunes.key/v1\0')
    .update(Buffer.from((31337).toString(16).padStart(64, '0'), 'hex'))
    .update(fromHex(world.deployment.registry))
    .update(fromHex(station.client.account))
    .update(new Uint8Array(8))
    .digest()
  return {
    publicKey: mlDsa.publicKey(65, station.seed),
    possession: mlDsa.sign(65, station.seed, new Uint8Array(digest), utf8('dunes.key/v1')),
  }
}

const schemaFile = (schema: string, dataset: string, json: JsonObject): Uint8Array =>
  utf8(
    `---\nmaml: 1.0\nschema: ${schema}\ndataset: ${dataset}\n---\n## Schema\n\`\`\`json\n${JSON.stringify(json)}\n\`\`\`\n`,
  )
const ODD = {
  submission: 7,
  position: -3,
  xmin: 1.5,
  order: 'by; drop table submission --',
  select: true,
  v_xmin: 2,
  note: 'NUL \0 and \u202e and "\'',
  any: {
    'a\0b': { '\\u0000': 1 },
    a: ['\0', { order: null }],
    ['__proto__']: 1,
  },
}

async function planDatasets(station: Station): Promise<void> {
  const add = async (dataset: string, schema: Uint8Array): Promise<string> => {
    await (await station.client.setDataset(dataset, schema, false)).send()
    const sensor = `${dataset}_1`.slice(-32)
    await (await station.client.registerSensor(sensor, dataset, 0n)).send()
    return sensor
  }
  const within = (
    name: string,
    reason: Reason | null,
    dataset: string,
    schema: string,
    sensor: string,
    values: JsonObject,
  ) => {
    const good = draft(station)
    const frontMatter = { ...good.frontMatter, dataset, schema, sensor }
    const readings = [{ sensor_id: sensor, timestamp: '2025-10-01T23:30:00Z', ...values }]
    plan(station, name, reason, signed({ ...good, frontMatter, readings }), { sensor })
  }
  // The chain takes any 64 bits for a cell.
  await (await station.client.registerSensor('nowhere', 'helium_sensors', 2n ** 64n - 1n)).send()
  const broken = await add('broken', utf8('{"type":"object"}'))
  within('a schema that is none', 'SCHEMA_UNKNOWN', 'broken', 'iot_data.maml', broken, { air_quality: 1 })
  const binary = await add('binary', new Uint8Array([0xff, 0x00, 0xfe]))
  within('a schema that is not even text', 'SCHEMA_UNKNOWN', 'binary', 'x', binary, { air_quality: 1 })
  const foreign = await add('foreign', schemaFile('foreign.maml', 'foreign', { $ref: '#' }))
  within('a schema with a keyword that is not ours', 'SCHEMA_UNKNOWN', 'foreign', 'foreign.maml', foreign, {
    air_quality: 1,
  })

  // Names that a database may need for itself, and more properties than a table has columns.
  const wide = Object.fromEntries(Array.from({ length: 1_650 }, (_, i) => [`a${i.toString(36)}`, {}]))
  for (const [dataset, json] of [
    ['name', {}],
    ['name_time', {}],
    ['name_sensor', {}],
    ['name_pkey', {}],
    ['wide', { properties: wide }],
  ] as const) {
    const sensor = await add(dataset, schemaFile('any.maml', dataset, json as JsonObject))
    within(`a dataset called ${dataset}`, null, dataset, 'any.maml', sensor, { a1: 1, a19t: 2 })
  }

  const properties = {
    sensor_id: { type: 'string' },
    timestamp: { type: 'string' },
    submission: { type: 'integer' },
    position: { type: 'integer' },
    xmin: { type: 'number' },
    order: { type: 'string' },
    select: { type: 'boolean' },
    v_xmin: { type: 'number' },
    note: { type: 'string' },
    any: {},
  }
  const odd = await add(
    'odd_names',
    schemaFile('odd.maml', 'odd_names', { type: 'object', properties, additionalProperties: false }),
  )
  within('value names that a database might mistake', null, 'odd_names', 'odd.maml', odd, ODD)
}

const entries = async (count: number) =>
  (await readEntries(database.sql, 0, count)).map((bytes) => ({ bytes, ...parseEntry(bytes) }))
const logged = (size: number) =>
  until(
    `a log of ${size} leaves`,
    async () => {
      if ((await readLogHead(database.sql)).size >= size) return true
      await world.mine(1)
      return undefined
    },
    indexer,
  )

describe('bad input', () => {
  it('gets its reason, each of it, and nothing of it stops the rest', async () => {
    await logged(settled)
    const found = new Map((await entries(settled)).map(({ entry }) => [entry.submission, entry]))
    const verdict = (reason: Reason | null | undefined) => ({
      verdict: reason ? 'rejected' : 'accepted',
      reason,
    })
    const became = [...fates].map(([name, { id }]) => {
      const entry = found.get(id as Hex)
      return [name, { verdict: entry?.verdict, reason: entry?.reason }]
    })
    expect(Object.fromEntries(became)).toEqual(
      Object.fromEntries([...fates].map(([name, { reason }]) => [name, verdict(reason)])),
    )
  })

  it('comes in every kind that there is a reason for, but STALE', () => {
    const tried = new Set([...fates.values()].map(({ reason }) => reason))
    expect(REASONS.filter((reason) => !tried.has(reason))).toEqual(['STALE'])
    expect(DEVNET_POLICY.ages).toEqual({})
  })

  it('has a well-formed receipt, with the mirror of what was read', async () => {
    const byId = new Map([...fates.values()].map((fate) => [fate.id, fate]))
    for (const { bytes, entry } of await entries(settled)) {
      const fate = byId.get(entry.submission) as Fate
      const stored = await getPayload(database.sql, fromHex(entry.payload.sha256))
      const mu = buildMu(bytes, stored, null)
      expect(parseMu(mu).entry).toEqual(entry)
      expect(entry.observed).toBe(fate.reason === 'PAYLOAD_UNAVAILABLE')
      if (entry.readings !== null) expect(checkMu(fate.bytes, mu)).toEqual([])
    }
  })

  it('leaves a note of what happened to the bytes', async () => {
    const rows = await database.sql`
      select s.submission_id, r.what, r.detail from retrieval r join submission s on s.id = r.submission where r.what is not null`
    const notes = new Map(rows.map((row) => [toHex(row['submission_id']), row['what']]))
    const expected = [...fates].filter(([, fate]) => fate.what)
    expect(Object.fromEntries(expected.map(([name, { id }]) => [name, notes.get(id as Hex)]))).toEqual(
      Object.fromEntries(expected.map(([name, { what }]) => [name, what])),
    )
  })

  it('never led to a private address', () => {
    expect(canary.connections()).toBe(0)
  })

  it('stores odd names and NUL escapes as data', async () => {
    const [row] = await database.sql`
      select r.* from reading_odd_names r join submission s on s.id = r.submission
      where s.submission_id = ${fromHex(idOf('value names that a database might mistake'))}`
    expect(row).toMatchObject({
      position: 0,
      v_submission: ODD.submission,
      v_position: ODD.position,
      v_xmin: ODD.xmin,
      v_order: ODD.order,
      v_select: true,
      v_v_xmin: 2,
      v_note: ODD.note.replaceAll('\0', '\ufffd'),
      v_any: { 'a\ufffdb': { '\\u0000': 1 }, a: ['\ufffd', { order: null }], ['__proto__']: 1 },
    })
    const [many] = await database.sql`
      select count(*)::int as n from reading_helium_sensors r join submission s on s.id = r.submission
      where s.submission_id = ${fromHex(idOf('10,000 readings'))}`
    expect(many?.['n']).toBe(10_000)
  })

  it('may be a sensor at any 64 bits', async () => {
    const [row] = await database.sql`select h3::text as h3 from sensor where name = 'nowhere'`
    expect(BigInt.asUintN(64, BigInt(row?.['h3']))).toBe(2n ** 64n - 1n)
  })

  it('is followed by a good submission that is accepted, logged and anchored', async () => {
    const [first] = world.stations as [Station]
    const bytes = signed(draft(first))
    const id = await world.submit(first, bytes)
    await world.attest(id)
    await logged(settled + 1)
    const last = (await entries(settled + 1)).at(-1)
    expect(last?.entry).toMatchObject({ submission: id, verdict: 'accepted', index: settled })
    await until(
      'its anchor',
      async () => {
        await world.mine(1)
        const [row] = await database.sql`select max(size) as size from anchor`
        return Number(row?.['size']) > settled ? true : undefined
      },
      indexer,
    )
  })
})

describe('what never gets on-chain', () => {
  const call = (change: Partial<SubmissionCall> = {}): SubmissionCall => ({
    sensor: 'helium_001',
    payloadHash: `0x${'11'.repeat(32)}`,
    payloadBytes: 100,
    uri: 'https://example.org/x',
    ...change,
  })
  const station = (index: number) => world.stations[index] as Station

  it.each<[string, string, () => Promise<unknown>]>([
    ['an empty payload', 'BadPayloadLength', () => station(0).client.submit(call({ payloadBytes: 0 }))],
    [
      'a payload beyond 1 MiB',
      'BadPayloadLength',
      () => station(0).client.submit(call({ payloadBytes: (1 << 20) + 1 })),
    ],
    ['an empty URI', 'BadUriLength', () => station(0).client.submit(call({ uri: '' }))],
    [
      'a URI of 1,025 bytes',
      'BadUriLength',
      () => station(0).client.submit(call({ uri: `${'é'.repeat(512)}x` })),
    ],
    [
      'a sensor that nobody registered',
      'UnknownSensor',
      () => station(0).client.submit(call({ sensor: 'nobody' })),
    ],
    ['a name with a quote', 'UnknownSensor', () => station(0).client.submit(call({ sensor: "x'--" }))],
    ["another's sensor", 'NotSensorOwner', () => station(1).client.submit(call())],
    [
      'one of many',
      'UnknownSensor',
      () => station(0).client.submitBatch([call(), call({ sensor: 'nobody' })]),
    ],
  ])('%s is refused as %s', async (_, error, submit) => {
    await expect(submit()).rejects.toMatchObject({ code: 'CALL_REFUSED', details: { error } })
  })

  it('bytes that are no payload of their contributor are refused by the payload store', async () => {
    const api = await startApi({ sql: database.sql, deployment: world.deployment })
    try {
      // The keys of the others are in order; the last one's is without a valid proof of possession by now.
      const refusable = [...fates].filter(
        ([name, { reason }]) =>
          reason === 'MAML_MALFORMED' ||
          name === 'the contributor of another' ||
          name === 'signature missing',
      )
      expect(refusable.length).toBeGreaterThan(25)
      for (const [name, { bytes }] of refusable) {
        const answer = await fetch(`${api.url}/v1/payloads/${sha(bytes)}`, {
          method: 'PUT',
          body: bytes as Uint8Array<ArrayBuffer>,
        })
        const { code } = (await answer.json()) as { code: string }
        expect([name, answer.status, code]).toEqual(
          name === 'signature missing'
            ? [name, 403, 'CONTRIBUTOR_KEY_REFUSED']
            : [name, 422, 'PAYLOAD_REFUSED'],
        )
      }
    } finally {
      await api.close()
    }
  })

  it('a submission without a key in force is refused', async () => {
    await (await station(2).client.prepare('revokeKey', [])).send()
    await expect(station(2).client.submit(call({ sensor: station(2).sensor }))).rejects.toMatchObject({
      details: { error: 'NoKey' },
    })
  })
})
