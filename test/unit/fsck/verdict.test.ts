import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { sha256, toHex, utf8 } from '../../../src/core/bytes.ts'
import { mlDsa } from '../../../src/core/ml-dsa-native.ts'
import { verdictOf } from '../../../src/fsck/verdict.ts'
import { buildMaml } from '../../../src/maml/build.ts'
import { parseSchemaFile } from '../../../src/maml/schema.ts'
import { signMaml } from '../../../src/maml/sign.ts'
import { judge } from '../../../src/receipt/judge.ts'
import { DEVNET_POLICY } from '../../../src/receipt/policy.ts'

// No policy that is in force anywhere limits ages, so what is too old or too early is judged here, by both of those who judge.

const SCHEMA = new Uint8Array(
  readFileSync(new URL('../../../anvil/schemas/iot_data.maml.md', import.meta.url)),
)
const SEED = new Uint8Array(32).fill(3)
const PUBLIC_KEY = mlDsa.publicKey(65, SEED)
const CONTRIBUTOR = `0x${'ab'.repeat(20)}` as const
const CHAIN = 'eip155:31337'
const SENSOR = 'helium_001'
const DATASET = 'helium_sensors'
/** 2025-10-01T12:00:00Z. */
const SUBMITTED = 1_759_320_000
const POLICY = { ...DEVNET_POLICY, ages: { [DATASET]: { maxAgeSeconds: 3_600, maxAheadSeconds: 60 } } }

function both(timestamp: string, policy = POLICY, second?: string) {
  const reading = (at: string) => ({ sensor_id: SENSOR, air_quality: 1, timestamp: at })
  const readings = [reading(timestamp), ...(second ? [reading(second)] : [])]
  const payload = signMaml(buildMaml({ readings }), SEED, mlDsa)
  const facts = {
    outcome: 'validated' as const,
    chain: CHAIN,
    contributor: CONTRIBUTOR,
    sensor: SENSOR,
    dataset: DATASET,
    payload: { sha256: toHex(sha256(payload)), bytes: payload.length },
    submittedTime: SUBMITTED,
  }
  const audited = verdictOf(
    {
      ...facts,
      uri: utf8('https://host.example/a'),
      keys: [{ publicKey: PUBLIC_KEY, proved: true }],
      schema: parseSchemaFile(SCHEMA),
      policy,
    },
    payload,
    mlDsa,
  )
  const judged = judge(
    {
      ...facts,
      uriRefused: false,
      bytes: payload,
      key: { publicKey: PUBLIC_KEY, possessionValid: true },
      earlierKeys: [],
      schema: SCHEMA,
      policy,
    },
    { mlDsa },
  )
  expect(audited.reason, timestamp).toBe(judged.reason)
  return audited.reason
}

it.each([
  ['2025-10-01T12:00:00Z', null],
  ['2025-10-01T11:00:00Z', null],
  ['2025-10-01T10:59:59Z', 'STALE'],
  ['2025-10-01T12:01:00Z', null],
  ['2025-10-01T12:01:01Z', 'STALE'],
  ['2025-10-01T12:01:00.5Z', undefined],
  ['2025-10-01T10:59:59.5Z', undefined],
  ['1970-01-01T00:00:00Z', 'STALE'],
  ['9999-12-31T23:59:59Z', 'STALE'],
])('the auditor and the indexer agree on how old a reading may be: %s', (timestamp, expected) => {
  const reason = both(timestamp)
  if (expected !== undefined) expect(reason).toBe(expected)
})

it('go by the first reading alone, and by no limit where the policy has none for the dataset', () => {
  expect(both('2025-10-01T12:00:00Z', POLICY, '1999-01-01T00:00:00Z')).toBeNull()
  expect(both('1999-01-01T00:00:00Z', POLICY, '2025-10-01T12:00:00Z')).toBe('STALE')
  expect(both('1999-01-01T00:00:00Z', { ...DEVNET_POLICY, ages: {} } as unknown as typeof POLICY)).toBeNull()
  const other = { other_sensors: { maxAgeSeconds: 1, maxAheadSeconds: 1 } }
  expect(
    both('1999-01-01T00:00:00Z', { ...DEVNET_POLICY, ages: other } as unknown as typeof POLICY),
  ).toBeNull()
})
