import { beforeAll, describe, expect, it } from 'vitest'
import { decodeUtf8, type Hex, utf8 } from '../../../src/core/bytes.ts'
import { jcsBytes } from '../../../src/core/json.ts'
import { mlDsa } from '../../../src/core/ml-dsa-native.ts'
import {
  type AnyBundle,
  BUNDLE_MAX_BYTES,
  type Bundle,
  encodeBundle,
  ROWS_BUNDLE_MAX_BYTES,
} from '../../../src/proof/bundle.ts'
import { BundleError } from '../../../src/proof/error.ts'
import type { TrustPolicy } from '../../../src/proof/trust-policy.ts'
import { verifyBundle } from '../../../src/proof/verify.ts'
import { type ProofWorld, proofWorld, type TestBlock } from '../../support/proof-world.ts'

// Everything that somebody may hand to a verifier in bad faith: each is refused with its reason, none is a surprise.

let world: ProofWorld
/** Two blocks with 8 and 12 leaves anchored. */
let block: TestBlock
let later: TestBlock
let good: Bundle
let other: Bundle
beforeAll(async () => {
  world = await proofWorld()
  block = await world.block({ anchoredSize: 8 })
  later = await world.block({ anchoredSize: 12 })
  good = await world.bundle(block, { index: 3, full: true })
  other = await world.bundle(block, { index: 5, full: true })
})

interface Case {
  bundle: Uint8Array | AnyBundle
  policy?: Partial<TrustPolicy>
  hash?: Hex
}
const bytesOf = (bundle: Case['bundle']): Uint8Array =>
  bundle instanceof Uint8Array ? bundle : encodeBundle(bundle)

function run({ bundle, policy = {}, hash = block.hash }: Case) {
  return verifyBundle({
    bundle: bytesOf(bundle),
    policy: { ...world.policy, ...policy },
    trustedBlockHash: hash,
    mlDsa,
  }).claims
}
/** The code with which a bundle is refused. */
function refusal(given: Case): [code: string, message: string] {
  try {
    run(given)
  } catch (error) {
    if (!(error instanceof BundleError)) throw error
    return [error.code, error.message]
  }
  throw new Error('it was read')
}
/** The first claim that fails, with its reason. */
function failure(given: Case): string {
  const claim = run(given).find(({ status }) => status === 'failed')
  return claim ? `${claim.name}: ${claim.reason}` : 'nothing failed'
}
const text = () => decodeUtf8(encodeBundle(good))

it('starts from bundles of which nothing fails', () => {
  for (const bundle of [good, other]) expect(failure({ bundle })).toBe('nothing failed')
})

describe('a bundle that cannot be read', () => {
  it('truncated, at any place', () => {
    const bytes = encodeBundle(good)
    for (let n = 0; n < 200; n++) {
      const [code] = refusal({ bundle: bytes.subarray(0, Math.floor((n * bytes.length) / 200)) })
      expect(code).toBe('BUNDLE_MALFORMED')
    }
  })

  it('oversized, before it is decoded', () => {
    expect(refusal({ bundle: new Uint8Array(BUNDLE_MAX_BYTES + 1).fill(0x20) })[0]).toBe('BUNDLE_TOO_LARGE')
    expect(refusal({ bundle: new Uint8Array(ROWS_BUNDLE_MAX_BYTES + 1) })[0]).toBe('BUNDLE_TOO_LARGE')
  })

  it('of more values than a bundle of its length can use', () => {
    const bundle = utf8(`{"rows":{"indices":[${'0,'.repeat(1_000_000)}0]}}`)
    expect(refusal({ bundle })).toEqual([
      'BUNDLE_MALFORMED',
      expect.stringContaining('more than 1000000 values'),
    ])
  })

  it('deeply nested', () => {
    const nested = `${'['.repeat(100_000)}${']'.repeat(100_000)}`
    for (const bundle of [
      utf8(nested),
      utf8(text().replace(/"consistency":\[[^\]]*\]|"evidence":/, `"x":${nested},$&`)),
    ])
      expect(refusal({ bundle })).toEqual(['BUNDLE_MALFORMED', expect.stringContaining('nested deeper')])
  })

  it('with a key twice', () => {
    const bundle = utf8(text().replace('"entry":', '"entry":"","entry":'))
    expect(refusal({ bundle })).toEqual(['BUNDLE_MALFORMED', expect.stringContaining('duplicate')])
  })

  it('with a proof under two headers', () => {
    const { evidence, ...rest } = JSON.parse(text())
    const two = { ...rest, evidence: { ...evidence, headers: [evidence.header, evidence.header] } }
    expect(refusal({ bundle: jcsBytes(two) })).toEqual([
      'BUNDLE_MALFORMED',
      expect.stringContaining('headers'),
    ])
    // The accounts of another block under this block's header prove nothing of it.
    const mixed = {
      ...good,
      evidence: {
        ...good.evidence,
        accounts: [good.evidence.accounts[0]!, later.evidence(world.policy.anchor, [])],
      },
    }
    expect(failure({ bundle: mixed })).toMatch(
      /^anchored: node 0 of a trie proof is not the one that its parent names/,
    )
  })
})

describe('of a wrong version', () => {
  it('an entry, a tlog-proof, a policy', () => {
    const entry = utf8(decodeUtf8(good.entry).replace('"v":1', '"v":2'))
    expect(failure({ bundle: { ...good, entry } })).toMatch(/^included: .*\bv\b/)
    const tlogProof = good.tlogProof.replace('@v1', '@v2')
    expect(failure({ bundle: { ...good, tlogProof } })).toMatch(/^included: .*tlog-proof/)
    expect(() => run({ bundle: good, policy: { layoutVersion: 2 } })).not.toThrow(TypeError)
  })
})

describe('of another deployment', () => {
  const address: Hex = `0x${'99'.repeat(20)}`
  it.each([
    [
      'another chain',
      { chain: 'eip155:1' },
      /^included: the entry's chain is eip155:31337, the trust policy's is eip155:1/,
    ],
    ['another registry', { registry: address }, /^included: the entry's registry is 0x/],
    [
      'another anchor contract',
      { anchor: address },
      /^anchored: the bundle has no evidence about the policy's anchor/,
    ],
    ['another log', { origin: 'other.example/log' }, /^included: the entry's origin is/],
  ])('%s', (_, policy, reason) => {
    expect(failure({ bundle: good, policy })).toMatch(reason)
  })

  it('other code at the right address', () => {
    const hash: Hex = `0x${'77'.repeat(32)}`
    const { codeHashes } = world.policy
    expect(failure({ bundle: good, policy: { codeHashes: { ...codeHashes, registry: hash } } })).toBe(
      'onChain: the code of the registry is not the one that the trust policy pins',
    )
    expect(failure({ bundle: good, policy: { codeHashes: { ...codeHashes, anchor: hash } } })).toBe(
      'anchored: the code of the anchor is not the one that the trust policy pins',
    )
  })

  it('another block than the trusted one', () => {
    expect(failure({ bundle: good, hash: later.hash })).toMatch(
      /header is not the header of the trusted block/,
    )
  })
})

describe('put together from two good ones', () => {
  it('with their evidence swapped', () => {
    const swapped = { ...good, evidence: other.evidence }
    expect(failure({ bundle: swapped })).toMatch(/^onChain: the bundle does not prove slot 0x/)
    const [registry, anchor] = good.evidence.accounts
    const crossed = {
      ...good,
      evidence: {
        ...good.evidence,
        accounts: [
          { ...registry!, accountProof: anchor!.accountProof },
          { ...anchor!, accountProof: registry!.accountProof },
        ],
      },
    }
    expect(failure({ bundle: crossed })).toMatch(/^onChain: .*(?:node|account)/)
  })

  it.each([
    'entry',
    'tlogProof',
    'payload',
    'publicKey',
    'possession',
    'receiptSig',
    'uri',
  ] as const)('with the %s of the other', (field) => {
    const bundle = { ...good, [field]: other[field] } as Bundle
    // Both are of one contributor: its key and the possession of it are the same.
    if (field === 'publicKey' || field === 'possession') expect(failure({ bundle })).toBe('nothing failed')
    else expect(failure({ bundle })).toMatch(/^(?:included|onChain|contributorSigned|receiptSigned): /)
  })

  it('and anchored through a checkpoint that is newer than the anchor', async () => {
    const beyond = await world.bundle(block, { index: 8, checkpointSize: 12, full: true })
    expect(failure({ bundle: beyond })).toBe(
      'anchored: index 8 is not below the anchored size 8: it is not anchored yet',
    )
    // Nor with the consistency proof of another bundle, nor with the head of a later block.
    expect(failure({ bundle: { ...beyond, consistency: await world.consistency(6, 8) } })).toMatch(
      /^anchored: /,
    )
    const head = later.evidence(world.policy.anchor, [])
    expect(
      failure({
        bundle: {
          ...beyond,
          evidence: { ...beyond.evidence, accounts: [beyond.evidence.accounts[0]!, head] },
        },
      }),
    ).toMatch(/^anchored: node 0/)
  })
})

describe('whose chain contradicts itself', () => {
  it('names an anchor that is later than the trusted block', async () => {
    const early = await world.block({ anchoredSize: 8, anchoredAt: { block: 301, time: 1_759_361_600 } })
    expect(failure({ bundle: await world.bundle(early, { index: 3 }), hash: early.hash })).toBe(
      "anchored: the anchor's head is of block 301, later than the trusted block 300",
    )
    const late = await world.block({ anchoredSize: 8, anchoredAt: { block: 290, time: 1_759_361_701 } })
    expect(failure({ bundle: await world.bundle(late, { index: 3 }), hash: late.hash })).toMatch(
      /^anchored: .*later/,
    )
  })

  it('and says when the anchor was made, not when it was looked at', () => {
    const claim = run({ bundle: good }).find(({ name }) => name === 'anchored')
    expect(claim?.reason).toBe(
      'index 3 is below the anchored size 8: no later than block 290, 2025-10-01T23:33:20Z',
    )
  })
})

it('spelled otherwise than its one canonical way', () => {
  const spaced = utf8(text().replace(',', ', '))
  expect(refusal({ bundle: spaced })[0]).toBe('BUNDLE_NOT_CANONICAL')
})
