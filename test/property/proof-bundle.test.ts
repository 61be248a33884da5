import fc from 'fast-check'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import type { Hex } from '../../src/core/bytes.ts'
import { mlDsa } from '../../src/core/ml-dsa-native.ts'
import { type Bundle, encodeBundle } from '../../src/proof/bundle.ts'
import { BundleError } from '../../src/proof/error.ts'
import { type ClaimName, verifyBundle } from '../../src/proof/verify.ts'
import { type ProofWorld, proofWorld, type TestBlock } from '../support/proof-world.ts'

// Thousands of verifications: quick on a machine of their own, and not always on one.
vi.setConfig({ testTimeout: 240_000 })

let world: ProofWorld
/** A block whose head has 8 of the log's 12 leaves. */
let block: TestBlock
/** Same place, same size, another log and other contracts' state, signed by keys that nobody trusts. */
let forged: { world: ProofWorld; block: TestBlock }
beforeAll(async () => {
  world = await proofWorld()
  block = await world.block({ anchoredSize: 8 })
  const other = await proofWorld({ salt: 'forged', forge: true })
  forged = { world: other, block: await other.block({ anchoredSize: 8 }) }
})

/** The claims that bytes prove under the honest world's policy and block: none where they are refused, with the right error. */
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

describe('bundles put together from parts of others', () => {
  /** Where a part may come from, and what is true of the entry that comes from there. */
  const all: ClaimName[] = [
    'included',
    'onChain',
    'anchored',
    'appendOnly',
    'contributorSigned',
    'receiptSigned',
  ]
  const beyondHead = all.filter((name) => name !== 'anchored')

  it('never prove what is not true of their entry', async () => {
    const sources: { bundle: Bundle; truth: ClaimName[] }[] = [
      { bundle: await world.bundle(block, { index: 3, full: true }), truth: all },
      { bundle: await world.bundle(block, { index: 5, checkpointSize: 6, full: true }), truth: all },
      { bundle: await world.bundle(block, { index: 5, checkpointSize: 12, full: true }), truth: all },
      { bundle: await world.bundle(block, { index: 8, checkpointSize: 12, full: true }), truth: beyondHead },
      {
        bundle: await forged.world.bundle(forged.block, { index: 3, full: true }),
        // Whoever runs the forged log signs receipts with a key of the same seed in this test, so that much is true.
        truth: ['receiptSigned'],
      },
    ]
    const accountOf = (i: number, n: number) => sources[i]!.bundle.evidence.accounts[n]!
    // Mostly one source, so that most of a bundle hangs together; null leaves an optional part out.
    const pick = (main: number) =>
      fc.oneof(
        { weight: 4, arbitrary: fc.constant(main) },
        { weight: 1, arbitrary: fc.nat(sources.length - 1) },
      )
    const optional = (main: number) => fc.option(pick(main), { freq: 8 })
    const splice = fc.nat(sources.length - 1).chain((main) =>
      fc.record({
        entry: pick(main),
        tlogProof: pick(main),
        header: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, pick(main)),
        registry: pick(main),
        anchor: pick(main),
        consistency: optional(main),
        payload: optional(main),
        publicKey: optional(main),
        possession: optional(main),
        receiptSig: optional(main),
        uri: optional(main),
      }),
    )
    const seen = new Set<ClaimName>()
    fc.assert(
      fc.property(splice, (from) => {
        const take = <K extends keyof Bundle>(field: K, i: number | null): Pick<Bundle, K> | object =>
          i === null || sources[i]!.bundle[field] === undefined ? {} : { [field]: sources[i]!.bundle[field] }
        const bundle: Bundle = {
          entry: sources[from.entry]!.bundle.entry,
          tlogProof: sources[from.tlogProof]!.bundle.tlogProof,
          ...take('consistency', from.consistency),
          ...take('payload', from.payload),
          ...take('publicKey', from.publicKey),
          ...take('possession', from.possession),
          ...take('receiptSig', from.receiptSig),
          ...take('uri', from.uri),
          evidence: {
            header: sources[from.header]!.bundle.evidence.header,
            accounts: [accountOf(from.registry, 0), accountOf(from.anchor, 1)],
          },
        }
        for (const name of provedBy(encodeBundle(bundle))) {
          seen.add(name)
          expect(sources[from.entry]!.truth).toContain(name)
        }
      }),
      { numRuns: 1_500 },
    )
    // Had nothing been proved at all, this would have tested nothing.
    expect([...seen].sort()).toEqual([...all].sort())
  })
})

describe('any bytes at all', () => {
  it('are refused with the one error of reading a bundle', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(provedBy(bytes)).toEqual([])
      }),
      { numRuns: 1_000 },
    )
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(provedBy(new TextEncoder().encode(JSON.stringify(value)))).toEqual([])
      }),
      { numRuns: 1_000 },
    )
  })
})
