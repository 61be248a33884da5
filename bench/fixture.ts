import { readFileSync } from 'node:fs'
import { type Hex, sha256, toHex, utf8 } from '../src/core/bytes.ts'
import type { JsonObject } from '../src/core/json.ts'
import { mlDsa } from '../src/core/ml-dsa-native.ts'
import { buildMaml } from '../src/maml/build.ts'
import { signMaml } from '../src/maml/sign.ts'
import type { JudgeFacts } from '../src/receipt/judge.ts'
import type { SettledFacts } from '../src/receipt/make.ts'
import { DEVNET_POLICY } from '../src/receipt/policy.ts'

/** Readings in a payload: one, what a station sends in about an hour, and a bulk upload. */
export const SIZES = [1, 64, 1000] as const

export const SCHEMA = new Uint8Array(
  readFileSync(new URL('../anvil/schemas/iot_data.maml.md', import.meta.url)),
)
const SEED = new Uint8Array(32).fill(7)
export const PUBLIC_KEY = mlDsa.publicKey(65, SEED)
const ACCOUNT: Hex = `0x${'c0'.repeat(20)}`
const SENSOR = 'helium_001'
const CHAIN = 'eip155:31337'

const hash = (text: string): Hex => toHex(sha256(utf8(text)))

/** Reading number `n` of a sensor: five values, and no two alike. */
export const reading = (sensor: string, n: number): JsonObject => ({
  sensor_id: sensor,
  air_quality: n % 500,
  temperature: Math.round((15 + 10 * Math.sin(n / 100)) * 100) / 100,
  humidity: Math.round((50 + 30 * Math.cos(n / 70)) * 100) / 100,
  timestamp: new Date(Date.UTC(2025, 9, 1) + n * 1000).toISOString().replace('.000', ''),
})

/** A signed payload with front matter, as contributors of the devnet send it. */
export function signedPayload(count: number): Uint8Array {
  const unsigned = buildMaml({
    frontMatter: {
      maml: '1.0',
      schema: 'iot_data.maml',
      dataset: 'helium_sensors',
      sensor: SENSOR,
      contributor: `${CHAIN}:${ACCOUNT}`,
      created: '2025-10-01T23:30:00Z',
    },
    readings: Array.from({ length: count }, (_, n) => reading(SENSOR, n)),
  })
  return signMaml(unsigned, SEED, mlDsa)
}

/** What the verdict on an accepted payload depends on. */
export const judgeFacts = (bytes: Uint8Array): JudgeFacts => ({
  outcome: 'validated',
  chain: CHAIN,
  contributor: ACCOUNT,
  sensor: SENSOR,
  dataset: 'helium_sensors',
  payload: { sha256: toHex(sha256(bytes)), bytes: bytes.length },
  uriRefused: false,
  bytes,
  key: { publicKey: PUBLIC_KEY, possessionValid: true },
  earlierKeys: [],
  schema: SCHEMA,
  submittedTime: 1_759_361_400,
  policy: DEVNET_POLICY,
})

/** What the chain says of the same submission once it is settled. */
export const settledFacts = (bytes: Uint8Array): SettledFacts => ({
  origin: 'bench.example/31337/log',
  chain: CHAIN,
  registry: `0x${'11'.repeat(20)}`,
  index: 123_456,
  submission: hash('submission'),
  contributor: ACCOUNT,
  seq: 4_321,
  acc: hash('acc'),
  sensor: SENSOR,
  dataset: 'helium_sensors',
  schemaSha256: toHex(sha256(SCHEMA)),
  uriSha256: hash('uri'),
  payload: { sha256: toHex(sha256(bytes)), bytes: bytes.length },
  keyId: toHex(sha256(PUBLIC_KEY)),
  submitted: { block: 1_000_000, logIndex: 3 },
  settled: { tx: hash('tx'), block: 1_000_002, blockHash: hash('block'), logIndex: 5, time: 1_759_361_460 },
  outcome: 'validated',
})
