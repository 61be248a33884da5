import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { BEHAVIOURS, type Behaviour, choicesOf, type Draft } from '../../../anvil/fleet/behaviours.ts'
import { type PayloadHost, startHost } from '../../../anvil/fleet/host.ts'
import { frontMatterOf, hostPayload } from '../../../anvil/fleet/payload.ts'
import { PayloadFiles } from '../../../anvil/fleet/payload-files.ts'
import { Weather } from '../../../anvil/fleet/readings.ts'
import {
  ALL_SHARES,
  FLEET_SCHEMAS,
  FLEET_SITES,
  type FleetDataset,
  SHARES,
} from '../../../anvil/fleet/stations.ts'
import { fromHex, type Hex } from '../../../src/core/bytes.ts'
import { systemClock } from '../../../src/core/clock.ts'
import { nativeMlDsa } from '../../../src/core/ml-dsa-native.ts'
import { REASONS } from '../../../src/core/reason.ts'
import { createPayloadFetcher, type PayloadFetcher } from '../../../src/payload/fetch.ts'
import { judgeUri } from '../../../src/payload/uri.ts'
import { type JudgeFacts, judge, judgeDuplicate } from '../../../src/receipt/judge.ts'
import { DEVNET_POLICY } from '../../../src/receipt/policy.ts'

const schemaFile = (dataset: FleetDataset) =>
  new Uint8Array(
    readFileSync(new URL(`../../../anvil/schemas/${FLEET_SCHEMAS[dataset]}.md`, import.meta.url)),
  )
const SCHEMAS = {
  helium_sensors: schemaFile('helium_sensors'),
  weather_stations: schemaFile('weather_stations'),
}
const CONTRIBUTOR: Hex = `0x${'c0'.repeat(20)}`
const seedOf = (fill: number) => new Uint8Array(32).fill(fill)
const keyOf = (fill: number) => nativeMlDsa.publicKey(65, seedOf(fill))

/** What an attempt to obtain the payload comes to, where it comes to nothing. */
const WHATS: Readonly<Record<string, string>> = {
  uri_credentials: 'uri',
  private_address: 'refused-address',
  payload_missing: 'status',
  payload_truncated: 'too-short',
  payload_longer: 'too-long',
  wrong_hash: 'hash',
  host_hangs: 'timeout',
  host_streams: 'too-long',
  redirect_loop: 'redirect',
  gzip_bomb: 'encoding',
}
/** What exactly is found wrong, where the reason alone could have another cause. */
const DETAILS: Readonly<Record<string, RegExp>> = {
  not_utf8: /not UTF-8/,
  byte_order_mark: /byte order mark/,
  crlf: /carriage return/,
  duplicate_keys: /duplicate key "sensor_id"/,
  unsafe_integer: /integer is beyond/,
  deep_json: /nested deeper/,
  signature_twice: /after the signature line/,
  metadata_mismatch: /dataset is mars_sensors/,
  signature_malformed: /signature value/,
  foreign_key: /no registered key/,
  schema_violated: /reading 0, .*air_quality/,
}

let dir: string
let host: PayloadHost
let files: PayloadFiles
let fetcher: PayloadFetcher

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'dunes-fleet-'))
  files = new PayloadFiles(dir)
  host = await startHost(files, { host: '127.0.0.1', port: 0, clock: systemClock })
  fetcher = createPayloadFetcher({
    allowedPrivate: [host.url.slice('http://'.length)],
    firstByteMs: 1_500,
    totalMs: 5_000,
  })
})
afterAll(() => {
  host.close()
  rmSync(dir, { recursive: true })
})

const draft = (kind: Behaviour, dataset: FleetDataset): Draft => ({
  frontMatter: frontMatterOf('helium_007', CONTRIBUTOR, 31337, '2026-01-02T03:04:05Z', dataset),
  readings: new Weather('helium_007', 1, 0, false, dataset).read(1_767_323_045_000, kind.readings[1], 10_000),
  seed: seedOf(2),
  oldSeed: seedOf(1),
  foreignSeed: seedOf(3),
  mlDsa: nativeMlDsa,
})

async function outcomeOf(kind: Behaviour, dataset: FleetDataset = 'helium_sensors') {
  const crafted = kind.craft(draft(kind, dataset))
  const claim = await hostPayload({ files, hostUrl: host.url }, kind, 'helium_007', crafted)
  const fetched = await fetcher.fetch({
    uri: claim.uri,
    sha256: fromHex(claim.payloadHash),
    bytes: claim.payloadBytes,
  })
  const facts: JudgeFacts = {
    outcome:
      kind.validators === 'reject' ? 'rejected' : kind.validators === 'ignore' ? 'expired' : 'validated',
    chain: 'eip155:31337',
    contributor: CONTRIBUTOR,
    sensor: 'helium_007',
    dataset,
    payload: { sha256: claim.payloadHash, bytes: claim.payloadBytes },
    uriRefused: judgeUri(claim.uri) !== null,
    bytes: fetched.kind === 'bytes' ? fetched.bytes : null,
    key: { publicKey: keyOf(2), possessionValid: kind.role !== 'unproved' },
    earlierKeys: [keyOf(1)],
    schema: SCHEMAS[dataset],
    submittedTime: 1_767_323_046,
    policy: DEVNET_POLICY,
  }
  const judgement = judgeDuplicate(judge(facts, { mlDsa: nativeMlDsa }), kind.repeats === true)
  return { fetched, judgement }
}

describe('each behaviour leads to the reason that it names', () => {
  it.each(BEHAVIOURS.map((kind) => [kind.name, kind] as const))('%s', async (name, kind) => {
    const { fetched, judgement } = await outcomeOf(kind)
    expect(judgement.reason).toBe(kind.reason)
    expect(fetched.kind === 'bytes' ? undefined : fetched.what).toBe(WHATS[name])
    const detail = DETAILS[name]
    if (detail) expect(judgement.detail).toMatch(detail)
  })
  it.each(
    BEHAVIOURS.filter(({ serving }) => serving === 'whole').map((kind) => [kind.name, kind] as const),
  )('%s, of a weather station', async (_name, kind) => {
    const { judgement } = await outcomeOf(kind, 'weather_stations')
    expect(judgement.reason).toBe(kind.reason)
  })
})

it('covers every reason but those of the dataset owner and of age limits, which the devnet does not have', () => {
  const covered = new Set(BEHAVIOURS.map(({ reason }) => reason))
  const missing = REASONS.filter((reason) => !covered.has(reason))
  expect(missing).toEqual(['SCHEMA_UNKNOWN', 'STALE'])
})

it('names each behaviour once, in a way that fits a path', () => {
  const names = BEHAVIOURS.map(({ name }) => name)
  expect(new Set(names).size).toBe(names.length)
  for (const name of names) expect(name).toMatch(/^[a-z0-9_]+$/)
})

it('makes 15 to 20 per cent of all submissions bad', () => {
  const sum = (kinds: readonly Behaviour[]) => kinds.reduce((total, { weight }) => total + weight, 0)
  const bad = FLEET_SITES.reduce((total, { role }) => {
    const choices = choicesOf(role, true)
    return total + (SHARES[role] * sum(choices.filter(({ reason }) => reason !== null))) / sum(choices)
  }, 0)
  expect(bad / ALL_SHARES).toBeGreaterThan(0.15)
  expect(bad / ALL_SHARES).toBeLessThan(0.2)
})

it('lets only the contributor without a proved key be without one, and only the rotator use an old one', () => {
  expect(choicesOf('unproved', true).map(({ name }) => name)).toEqual(['unproved_key'])
  const extra = choicesOf('rotator', true).filter((kind) => !choicesOf('ordinary', true).includes(kind))
  expect(extra.map(({ name }) => name)).toEqual(['rotated_key'])
  expect(choicesOf('ordinary', false).some(({ repeats }) => repeats)).toBe(false)
})
