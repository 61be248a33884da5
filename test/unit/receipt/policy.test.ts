import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { toHex } from '../../../src/core/bytes.ts'
import { MAML_LIMITS } from '../../../src/maml/limits.ts'
import { DEVNET_POLICY, knownPolicy, policyHash } from '../../../src/receipt/policy.ts'
import { named } from './fixture.ts'

/** Written by hand: the hash of a policy in use must never change. */
const DEVNET_JSON =
  '{"ages":{},"formats":{"entry":1,"maml":"1.0","reasons":1,"uri":1},"graceSeconds":5,' +
  '"limits":{"jsonDepth":16,"names":32,"payloadBytes":1048576,"readings":10000,"schemaBytes":16384},' +
  '"maxLagSeconds":600,"v":1}'

describe('leaf policies', () => {
  it("hashes the devnet's canonical JSON", () => {
    const expected = `0x${createHash('sha256').update(DEVNET_JSON).digest('hex')}` as const
    expect(toHex(policyHash(DEVNET_POLICY))).toBe(expected)
    expect(knownPolicy(expected)).toBe(DEVNET_POLICY)
    expect(readFileSync(new URL('../../../docs/formats.md', import.meta.url), 'utf8')).toContain(DEVNET_JSON)
    expect(knownPolicy(named('another'))).toBeNull()
  })

  it('gives the parser its limits', () => {
    expect(DEVNET_POLICY.limits).toBe(MAML_LIMITS)
    expect(DEVNET_POLICY).toMatchObject({ graceSeconds: 5, ages: {} })
  })

  it('changes its hash with any setting', () => {
    const hashes = [
      DEVNET_POLICY,
      { ...DEVNET_POLICY, graceSeconds: 6 },
      { ...DEVNET_POLICY, ages: { d: { maxAgeSeconds: 1, maxAheadSeconds: 1 } } },
      { ...DEVNET_POLICY, limits: { ...MAML_LIMITS, names: 31 } },
    ].map((policy) => toHex(policyHash(policy)))
    expect(new Set(hashes).size).toBe(hashes.length)
  })
})
