import fc from 'fast-check'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { equalBytes, type Hex } from '../../src/core/bytes.ts'
import { mlDsa } from '../../src/core/ml-dsa-native.ts'
import { decodeAnyBundle, encodeBundle, isRowsBundle, type RowsBundle } from '../../src/proof/bundle.ts'
import { BundleError } from '../../src/proof/error.ts'
import type { CompletenessItem } from '../../src/proof/rows.ts'
import { type ClaimName, verifyBundle } from '../../src/proof/verify.ts'
import { type ProofWorld, proofWorld, type TestBlock } from '../support/proof-world.ts'

// Thousands of verifications: quick on a machine of their own, and not always on one.
vi.setConfig({ testTimeout: 240_000 })

let world: ProofWorld
let block: TestBlock
/** Rows of many with every claim but `complete`, and a contributor's whole history with every claim but the signatures. */
let rows: Uint8Array
let whole: Uint8Array
/** The same history by others: keys that nobody trusts, and other submissions. */
let forged: RowsBundle
beforeAll(async () => {
  world = await proofWorld()
  block = await world.block({ anchoredSize: 8 })
  rows = encodeBundle(await world.rows(block, { indices: [0, 3, 4], checkpointSize: 6, full: true }))
  whole = encodeBundle(await world.complete(block))
  const other = await proofWorld({ salt: 'forged', forge: true })
  forged = await other.complete(await other.block({ anchoredSize: 8 }))
})

/** The claims that bytes prove: none where they are refused, with the right error. */
const provedBy = (bytes: Uint8Array): ClaimName[] => {
  try {
    const { claims } = verifyBundle({
      bundle: bytes,
      policy: world.policy,
      trustedBlockHash: block.hash as Hex,
      mlDsa,
    })
    return claims.flatMap(({ name, status }) => (status === 'proved' ? [name] : []))
  } catch (error) {
    expect(error).toBeInstanceOf(BundleError)
    return []
  }
}
const decode = (bytes: Uint8Array): RowsBundle => {
  const bundle = decodeAnyBundle(bytes)
  if (!isRowsBundle(bundle)) throw new Error('a bundle of one entry')
  return bundle
}
describe('a list of items that was tampered with', () => {
  const hash = fc
    .uint8Array({ minLength: 32, maxLength: 32 })
    .map((bytes): Hex => `0x${Buffer.from(bytes).toString('hex')}`)
  const change: fc.Arbitrary<Partial<CompletenessItem>> = fc.oneof(
    hash.map((id) => ({ id })),
    hash.map((payloadHash) => ({ payloadHash })),
    hash.map((schemaSha256) => ({ schemaSha256 })),
    hash.map((uriSha256) => ({ uriSha256 })),
    hash.map((keyId) => ({ keyId })),
    fc.string({ maxLength: 8 }).map((sensor) => ({ sensor })),
    fc.string({ maxLength: 8 }).map((dataset) => ({ dataset })),
    fc.nat().map((payloadBytes) => ({ payloadBytes })),
    fc.nat().map((submittedBlock) => ({ submittedBlock })),
    fc.nat().map((index) => ({ index })),
    fc.constantFrom('rejected' as const, 'expired' as const).map((outcome) => ({ outcome })),
  )
  const item = fc.nat({ max: 11 }).map((i) => world.leaves[i]!.item)
  type Step =
    | { kind: 'drop'; at: number }
    | { kind: 'add'; at: number; item: CompletenessItem }
    | { kind: 'swap'; at: number; by: number }
    | { kind: 'alter'; at: number; change: Partial<CompletenessItem> }
  /** What somebody who wants to hide or slip something in may do to the list. */
  const step: fc.Arbitrary<Step> = fc.oneof(
    fc.record({ kind: fc.constant('drop' as const), at: fc.nat() }),
    fc.record({ kind: fc.constant('add' as const), at: fc.nat(), item }),
    fc.record({ kind: fc.constant('swap' as const), at: fc.nat(), by: fc.nat() }),
    fc.record({ kind: fc.constant('alter' as const), at: fc.nat(), change }),
  )
  const apply = (items: readonly CompletenessItem[], by: Step): CompletenessItem[] => {
    const at = by.at % Math.max(items.length, 1)
    switch (by.kind) {
      case 'drop':
        return items.toSpliced(at, 1)
      case 'add':
        return items.toSpliced(by.at % (items.length + 1), 0, by.item)
      case 'swap': {
        if (items.length === 0) return []
        const other = by.by % items.length
        return items.with(at, items[other]!).with(other, items[at]!)
      }
      case 'alter':
        return items.length === 0 ? [] : items.with(at, { ...items[at]!, ...by.change })
    }
  }

  it('is complete only where the tampering cancels out', () => {
    const seen = new Set<boolean>()
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 3 }), (steps) => {
        const bundle = decode(whole)
        const completeness = bundle.completeness!
        const items = steps.reduce(apply, completeness.items)
        const tampered = encodeBundle({ ...bundle, completeness: { ...completeness, items } })
        const proved = provedBy(tampered).includes('complete')
        seen.add(proved)
        expect(proved).toBe(equalBytes(tampered, whole))
      }),
      { numRuns: 500 },
    )
    expect(seen.has(false)).toBe(true)
  })
})

describe('bundles put together from parts of others', () => {
  it('never prove what is not true of their rows', async () => {
    const history = decode(whole)
    const sources: RowsBundle[] = [
      history,
      decode(rows),
      forged,
      await world.complete(block, { who: 1 }),
      await world.complete(block, { checkpointSize: 7 }),
    ]
    const pick = fc.oneof(
      { weight: 3, arbitrary: fc.constant(0) },
      { weight: 2, arbitrary: fc.nat(sources.length - 1) },
    )
    let complete = 0
    fc.assert(
      fc.property(
        fc.record({
          rows: pick,
          completeness: pick,
          consistency: pick,
          header: pick,
          registry: pick,
          anchor: pick,
        }),
        (from) => {
          const take = <K extends keyof RowsBundle>(field: K, i: number) =>
            sources[i]![field] === undefined ? {} : { [field]: sources[i]![field] }
          const bundle: RowsBundle = {
            ...take('rows', from.rows),
            ...take('completeness', from.completeness),
            ...take('consistency', from.consistency),
            evidence: {
              header: sources[from.header]!.evidence.header,
              accounts: [
                sources[from.registry]!.evidence.accounts[0]!,
                sources[from.anchor]!.evidence.accounts[1]!,
              ],
            },
          }
          const proved = provedBy(encodeBundle(bundle))
          // The log, the chain and the histories of the forged world are true in no part.
          if (from.rows === 2) expect(proved.filter((name) => name !== 'receiptSigned')).toEqual([])
          if (from.completeness === 2) expect(proved).not.toContain('complete')
          if (!proved.includes('complete')) return
          complete++
          const indices = bundle.completeness!.items.map(({ index }) => index).filter((index) => index < 8)
          for (const index of indices) expect(bundle.rows!.indices).toContain(index)
        },
      ),
      { numRuns: 400 },
    )
    expect(complete).toBeGreaterThan(0)
  })
})
