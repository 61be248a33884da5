import { beforeAll, describe, expect, it } from 'vitest'
import { keyPossessionDigest } from '../../../src/chain/record.ts'
import { anchorSlots, registrySlots } from '../../../src/chain/slots.ts'
import { concat, type Hex, sha256, toHex, utf8 } from '../../../src/core/bytes.ts'
import { nobleMlDsa } from '../../../src/core/ml-dsa.ts'
import { mlDsa } from '../../../src/core/ml-dsa-native.ts'
import { ed25519Signer } from '../../../src/log/checkpoint.ts'
import { formatTlogProof, parseTlogProof } from '../../../src/log/tlog-proof.ts'
import { formatVkey } from '../../../src/log/vkey.ts'
import { provePossession } from '../../../src/maml/possession.ts'
import { signMaml } from '../../../src/maml/sign.ts'
import { type AccountEvidence, type Bundle, encodeBundle } from '../../../src/proof/bundle.ts'
import { BundleError } from '../../../src/proof/error.ts'
import { CLAIM_NAMES, explainClaim } from '../../../src/proof/explain.ts'
import type { TrustPolicy } from '../../../src/proof/trust-policy.ts'
import { type ClaimName, objections, verifyBundle } from '../../../src/proof/verify.ts'
import type { Entry } from '../../../src/receipt/entry.ts'
import { signEntry } from '../../../src/receipt/sign.ts'
import {
  ANCHOR,
  CHAIN_ID,
  type ProofWorld,
  proofWorld,
  REGISTRY,
  type TestBlock,
  type WorldOptions,
} from '../../support/proof-world.ts'

let world: ProofWorld
/** A block whose head has 8 of the log's 12 leaves. */
let block: TestBlock
let good: Bundle
beforeAll(async () => {
  world = await proofWorld()
  block = await world.block({ anchoredSize: 8 })
  good = await world.bundle(block, { index: 3, full: true })
})

const run = (bundle: Bundle, policy: TrustPolicy = world.policy, hash: Hex = block.hash) =>
  verifyBundle({ bundle: encodeBundle(bundle), policy, trustedBlockHash: hash, mlDsa })

/** The claims about one entry by status: `+` proved, `-` failed, `0` not claimed, in the order of CLAIM_NAMES. */
const marks = (bundle: Bundle, policy?: TrustPolicy, hash?: Hex): string =>
  run(bundle, policy, hash)
    .claims.filter(({ name }) => name !== 'complete')
    .map(({ status }) => (status === 'proved' ? '+' : status === 'failed' ? '-' : '0'))
    .join('')
const claim = (name: ClaimName, bundle: Bundle, policy?: TrustPolicy, hash?: Hex) =>
  run(bundle, policy, hash).claims.find((each) => each.name === name)!
const refusal = (bundle: Bundle): string => {
  try {
    run(bundle)
  } catch (error) {
    expect(error).toBeInstanceOf(BundleError)
    return (error as BundleError).code
  }
  return 'read'
}
/** The claims that a bundle proves; none where it is refused. */
const provedBy = (bundle: Bundle): ClaimName[] => {
  try {
    return run(bundle).claims.flatMap(({ name, status }) => (status === 'proved' ? [name] : []))
  } catch (error) {
    expect(error).toBeInstanceOf(BundleError)
    return []
  }
}
const without = (bundle: Bundle, ...fields: (keyof Bundle)[]): Bundle =>
  Object.fromEntries(
    Object.entries(bundle).filter(([key]) => !fields.includes(key as keyof Bundle)),
  ) as unknown as Bundle
const withAccounts = (bundle: Bundle, accounts: Bundle['evidence']['accounts']): Bundle => ({
  ...bundle,
  evidence: { ...bundle.evidence, accounts },
})

describe('a good bundle', () => {
  it('proves every claim, natively and in pure JavaScript', () => {
    expect(CLAIM_NAMES).toEqual([
      'included',
      'onChain',
      'anchored',
      'appendOnly',
      'contributorSigned',
      'receiptSigned',
      'complete',
    ])
    expect(marks(good)).toBe('++++++')
    expect(claim('complete', good)).toEqual({
      name: 'complete',
      status: 'not claimed',
      reason: 'the bundle has no completeness',
    })
    expect(objections(run(good).claims)).toEqual([])
    const pure = verifyBundle({
      bundle: encodeBundle(good),
      policy: world.policy,
      trustedBlockHash: block.hash,
    })
    expect(pure).toEqual(run(good))
    expect(nobleMlDsa.name).toBe('noble')
  })

  it('says what it is about', () => {
    expect(run(good).facts).toEqual({
      entry: world.leaves[3]!.entry,
      block: { hash: block.hash, number: 300, time: 1_759_361_700 },
      anchor: { size: 8, root: expect.stringMatching(/^0x/), seq: 5, block: 290, time: 1_759_361_600 },
      checkpoint: { origin: world.policy.origin, size: 8, root: expect.stringMatching(/^0x/) },
    })
    for (const row of run(good).claims) expect(explainClaim(row)).toContain(row.reason)
  })

  it('is explained in plain words, whatever came of a claim', () => {
    const rows = run(good, world.policy, `0x${'12'.repeat(32)}`).claims
    expect(rows.map(explainClaim)).toEqual([
      expect.stringMatching(/^The receipt is in the log, .*leaf 3 of the 8/),
      "This does not hold: the bundle's header is not the header of the trusted block.",
      "This does not hold: the bundle's header is not the header of the trusted block.",
      "This does not hold: the bundle's header is not the header of the trusted block.",
      'Nothing is said about this: it needs onChain, which is failed.',
      expect.stringMatching(/^The indexer itself signed this receipt/),
      'Nothing is said about this: the bundle has no completeness.',
    ])
  })

  it('proves the default claims without payload, key and signatures, and says what it does not claim', () => {
    const bare = without(good, 'payload', 'publicKey', 'possession', 'receiptSig', 'uri')
    expect(marks(bare)).toBe('++++00')
    expect(claim('contributorSigned', bare).reason).toBe('the bundle has no payload, publicKey, possession')
    expect(objections(run(bare).claims)).toEqual([])
    expect(objections(run(bare).claims, ['receiptSigned']).map(({ name }) => name)).toEqual(['receiptSigned'])
  })

  it.each([
    0, 1, 2, 3, 4, 5, 6, 7,
  ])('proves leaf %i through every checkpoint up to the head', async (index) => {
    for (let size = index + 1; size <= 8; size++) {
      expect(marks(await world.bundle(block, { index, checkpointSize: size }))).toBe('++++00')
    }
  })
})

describe('the trusted block', () => {
  it('fails all that rests on the chain under another hash', () => {
    expect(marks(good, world.policy, `0x${'12'.repeat(32)}`)).toBe('+---0+')
    expect(claim('contributorSigned', good, world.policy, `0x${'12'.repeat(32)}`)).toMatchObject({
      prerequisite: 'onChain',
      reason: 'it needs onChain, which is failed',
    })
    expect(run(good, world.policy, `0x${'12'.repeat(32)}`).facts).toMatchObject({ block: null, anchor: null })
  })

  it('takes a malformed hash for a mistake of the caller', () => {
    expect(() => run(good, world.policy, '0x12')).toThrow('32 bytes of lower-case 0x hex')
  })

  it("does not take tries from under the bundle's own root", async () => {
    const forged = await proofWorld({ salt: 'forged' })
    const theirs = await forged.bundle(await forged.block({ anchoredSize: 8 }), { index: 3 })
    expect(marks({ ...theirs, evidence: { ...theirs.evidence, header: block.header } })).toBe('+---00')
  })
})

describe('included', () => {
  it('fails where proof index, leaf or size are others', async () => {
    const other = await world.bundle(block, { index: 4 })
    expect(claim('included', { ...good, tlogProof: other.tlogProof }).reason).toContain(
      "inclusion proof's is 4",
    )
    expect(marks({ ...good, tlogProof: other.tlogProof })).toBe('-+00++')
    const proof = parseTlogProof(good.tlogProof)
    for (const hashes of [
      proof.hashes.slice(1),
      [...proof.hashes, proof.hashes[0]!],
      [...proof.hashes].reverse(),
    ]) {
      expect(marks({ ...good, tlogProof: formatTlogProof({ ...proof, hashes }) })).toBe('-+00++')
    }
    const short = parseTlogProof(await world.tlogProof(1, 2)).checkpoint
    expect(marks({ ...good, tlogProof: formatTlogProof({ ...proof, checkpoint: short }) })).toBe('-+00++')
  })

  it('wants exactly the signature lines of the policy', async () => {
    const [ed25519, mlDsa44] = world.signers as [
      ReturnType<typeof ed25519Signer>,
      ReturnType<typeof ed25519Signer>,
    ]
    const extra = ed25519Signer('witness.example', new Uint8Array(32).fill(9))
    const signedBy = async (...by: (typeof extra)[]) => ({
      ...good,
      tlogProof: await world.tlogProof(3, 8, by),
    })
    expect(marks(await signedBy(mlDsa44, ed25519))).toBe('++++++')
    expect(marks(await signedBy(ed25519))).toBe('-+00++')
    expect(marks(await signedBy(mlDsa44))).toBe('-+00++')
    expect(marks(await signedBy(ed25519, ed25519))).toBe('-+00++')
    expect(marks(await signedBy(extra))).toBe('-+00++')
    expect(marks(await signedBy(ed25519, mlDsa44, extra))).toBe('-+00++')
    const policy = {
      ...world.policy,
      checkpointVkeys: [...world.policy.checkpointVkeys, formatVkey(extra.vkey)],
    }
    expect(marks(await signedBy(ed25519, mlDsa44, extra), policy)).toBe('++++++')
    expect(marks(good, policy)).toBe('-+00++')
  })

  it('takes the lines of keys that were replaced, whole and up to the size that they signed', async () => {
    const forged = await proofWorld({ forge: true })
    const vkeys = world.policy.checkpointVkeys
    const rotated = (toSize: number | null, by = vkeys) => ({
      ...world.policy,
      checkpointVkeys: forged.signers.map(({ vkey }) => formatVkey(vkey)),
      retiredCheckpointVkeys: [{ vkeys: by, toSize }],
    })
    expect(marks(good, rotated(8))).toBe('++++++')
    expect(marks(good, rotated(null))).toBe('++++++')
    expect(marks({ ...good, tlogProof: await world.tlogProof(3, 8, forged.signers) }, rotated(8))).toBe(
      '++++++',
    )
    expect(marks(good, rotated(7))).toBe('-+00++')
    expect(claim('included', good, rotated(7)).reason).toContain('retired at size 7')
    expect(marks(good, rotated(8, [vkeys[0] as string]))).toBe('-+00++')
    const mixed = [world.signers[0]!, forged.signers[1]!]
    expect(marks({ ...good, tlogProof: await world.tlogProof(3, 8, mixed) }, rotated(8))).toBe('-+00++')
  })

  it('fails for keys of the same names that the policy does not know', async () => {
    const forged = await proofWorld({ forge: true })
    expect(marks({ ...good, tlogProof: await forged.tlogProof(3, 8) })).toBe('-+00++')
  })

  it('refuses extra data, which nothing signs', () => {
    const proof = parseTlogProof(good.tlogProof)
    expect(refusal({ ...good, tlogProof: formatTlogProof({ ...proof, extra: utf8('x') }) })).toBe(
      'BUNDLE_FIELD_UNUSED',
    )
  })

  it('fails what reads an entry that cannot be read', () => {
    expect(marks({ ...good, entry: utf8('nonsense') })).toBe('--000-')
    expect(run({ ...good, entry: utf8('nonsense') }).facts.entry).toBeNull()
  })
})

describe('the deployment', () => {
  it.each([
    ['chain', { chain: 'eip155:1' }],
    ['registry', { registry: `0x${'99'.repeat(20)}` as Hex }],
    ['origin', { origin: 'other.example/log' }],
  ])('fails every claim about an entry of another %s', (_, changes) => {
    expect(marks(good, { ...world.policy, ...changes })).toBe('--000-')
  })

  it.each([
    ['registry', '+-++0+'],
    ['anchor', '++--++'],
  ] as const)('fails what the %s says when its code is not the pinned one', (contract, expected) => {
    const codeHashes = { ...world.policy.codeHashes, [contract]: `0x${'00'.repeat(32)}` as Hex }
    expect(marks(good, { ...world.policy, codeHashes })).toBe(expected)
  })

  it('fails where the proof shows that there is no such account', () => {
    const anchor = `0x${'05'.repeat(20)}` as const
    const absent = block.evidence(anchor, [])
    const bundle = withAccounts(good, [good.evidence.accounts[0]!, absent])
    expect(marks(bundle, { ...world.policy, anchor })).toBe('++--++')
    expect(claim('anchored', bundle, { ...world.policy, anchor }).reason).toContain('there is no account')
  })

  it('fails on evidence about other accounts', () => {
    expect(marks(good, { ...world.policy, anchor: `0x${'99'.repeat(20)}` })).toBe('++--++')
    expect(marks(withAccounts(good, good.evidence.accounts.slice(0, 1)))).toBe('++--++')
    expect(marks(withAccounts(good, good.evidence.accounts.slice(1)))).toBe('+-++0+')
    expect(marks(withAccounts(good, []))).toBe('+---0+')
  })
})

describe('onChain', () => {
  const covered: [string, (entry: Entry) => Entry][] = [
    ['contributor', (e) => ({ ...e, contributor: `0x${'77'.repeat(20)}` })],
    ['seq', (e) => ({ ...e, seq: e.seq + 1 })],
    ['sensor', (e) => ({ ...e, sensor: 'other' })],
    ['dataset', (e) => ({ ...e, dataset: 'other' })],
    ['schemaSha256', (e) => ({ ...e, schemaSha256: `0x${'77'.repeat(32)}` })],
    ['uriSha256', (e) => ({ ...e, uriSha256: `0x${'77'.repeat(32)}` })],
    ['payload.sha256', (e) => ({ ...e, payload: { ...e.payload, sha256: `0x${'77'.repeat(32)}` } })],
    ['payload.bytes', (e) => ({ ...e, payload: { ...e.payload, bytes: e.payload.bytes + 1 } })],
    ['payloadSig.keyId', (e) => ({ ...e, payloadSig: { ...e.payloadSig, keyId: `0x${'77'.repeat(32)}` } })],
    ['submitted.block', (e) => ({ ...e, submitted: { ...e.submitted, block: 1 } })],
    [
      'outcome',
      (e) => ({
        ...e,
        outcome: 'rejected',
        verdict: 'rejected',
        reason: 'QUORUM_REJECTED',
        readings: null,
        mirrorSha256: null,
        payloadSig: { ...e.payloadSig, alg: null, sha256: null },
      }),
    ],
    ['index', (e) => ({ ...e, index: e.index === 3 ? 4 : e.index === 4 ? 3 : e.index })],
  ]
  it.each(covered)('fails, though the log includes it, when the entry lies about %s', async (_, lie) => {
    const lying = await proofWorld({ lie })
    const at = await lying.block({ anchoredSize: 8 })
    expect(marks(await lying.bundle(at, { index: 3, full: true }), lying.policy, at.hash)).toBe('+-++0+')
  })

  it("takes no other submission's record, under its own slot or under a wrong label", () => {
    const [registry, anchor] = good.evidence.accounts as [AccountEvidence, AccountEvidence]
    const other = block.evidence(REGISTRY, [registrySlots.record(world.leaves[4]!.entry.submission)])
    const unlabelled = claim('onChain', withAccounts(good, [other, anchor]))
    expect(unlabelled).toMatchObject({
      status: 'failed',
      reason: expect.stringContaining('does not prove slot'),
    })
    const slots = [{ slot: registry.slots[0]!.slot, proof: other.slots[0]!.proof }]
    expect(provedBy(withAccounts(good, [{ ...registry, slots }, anchor]))).not.toContain('onChain')
  })

  // What the record does not cover is the indexer's word: docs/proofs.md says so, and this keeps it honest.
  const uncovered: [string, (entry: Entry) => Entry][] = [
    ['acc', (e) => ({ ...e, acc: `0x${'77'.repeat(32)}` })],
    ['settled', (e) => ({ ...e, settled: { ...e.settled, block: 999, tx: `0x${'77'.repeat(32)}` } })],
    ['submitted.logIndex', (e) => ({ ...e, submitted: { ...e.submitted, logIndex: 99 } })],
    ['verdict and reason', (e) => ({ ...e, verdict: 'rejected', reason: 'STALE' })],
    ['readings', (e) => ({ ...e, readings: 2 })],
    ['payloadSig.sha256', (e) => ({ ...e, payloadSig: { ...e.payloadSig, sha256: `0x${'77'.repeat(32)}` } })],
    ['mirrorSha256', (e) => ({ ...e, mirrorSha256: `0x${'77'.repeat(32)}` })],
  ]
  it.each(uncovered)('does not see a lie about %s', async (_, lie) => {
    const lying = await proofWorld({ lie })
    const at = await lying.block({ anchoredSize: 8 })
    expect(marks(await lying.bundle(at, { index: 3 }), lying.policy, at.hash)).toBe('++++00')
  })

  it('fails for an id that was never settled: an exclusion proof is no record', async () => {
    const lying = await proofWorld({
      lie: (e) => (e.index === 3 ? { ...e, submission: `0x${'66'.repeat(32)}` } : e),
    })
    const at = await world.block({ anchoredSize: 8 })
    const bundle = await lying.bundle(await lying.block({ anchoredSize: 8 }), { index: 3 })
    const absent = at.evidence(REGISTRY, [registrySlots.record(`0x${'66'.repeat(32)}`)])
    const anchor = at.evidence(ANCHOR, [anchorSlots.root(), anchorSlots.counts()])
    const result = claim('onChain', {
      ...bundle,
      evidence: { header: at.header, accounts: [absent, anchor] },
    })
    expect(result).toMatchObject({
      status: 'failed',
      reason: 'the registry holds no settled submission with this id',
    })
  })

  it('checks the uri against its hash on the chain', () => {
    expect(marks(without(good, 'uri'))).toBe('++++++')
    expect(marks({ ...good, uri: `${good.uri}/` })).toBe('+-++0+')
    expect(marks({ ...good, uri: '' })).toBe('+-++0+')
  })
})

describe('anchored and appendOnly', () => {
  it('never proves an item beyond the head anchored, whatever newer checkpoint it comes with', async () => {
    const beyond = await world.bundle(block, { index: 8, checkpointSize: 12, full: true })
    expect(marks(beyond)).toBe('++-+++')
    expect(claim('anchored', beyond).reason).toContain('index 8 is not below the anchored size 8')
    expect(objections(run(beyond).claims).map(({ name }) => name)).toEqual(['anchored'])
    expect(marks(without(beyond, 'consistency'))).toBe('++-0++')
  })

  it('leads to the anchor through a smaller checkpoint alone', async () => {
    const newer = await world.bundle(block, { index: 3, checkpointSize: 12 })
    expect(marks(newer)).toBe('++0+00')
    expect(claim('anchored', newer).reason).toContain('newer than the anchored size 8')
    expect(claim('appendOnly', newer).reason).toContain('not guarded by it yet')
    expect(objections(run(newer).claims).map(({ name }) => name)).toEqual(['anchored'])
  })

  it('wants a consistency proof where sizes differ', async () => {
    const smaller = await world.bundle(block, { index: 3, checkpointSize: 6 })
    expect(marks(smaller)).toBe('++++00')
    expect(marks(without(smaller, 'consistency'))).toBe('++0000')
    const hashes = smaller.consistency!
    for (const consistency of [
      hashes.slice(1),
      [...hashes, hashes[0]!],
      [...hashes].reverse(),
      [],
      await world.consistency(5, 8),
      await world.consistency(6, 12),
    ]) {
      expect(marks({ ...smaller, consistency })).toBe('++--00')
    }
  })

  it('refuses a consistency proof where sizes are equal', async () => {
    expect(refusal({ ...good, consistency: await world.consistency(6, 8) })).toBe('BUNDLE_FIELD_UNUSED')
    expect(refusal({ ...good, consistency: [] })).toBe('BUNDLE_FIELD_UNUSED')
  })

  it('fails when the chain holds another root at the same size, or at another', async () => {
    const fork = await world.block({ anchoredSize: 8, anchoredRoot: sha256(utf8('fork')) })
    expect(marks(await world.bundle(fork, { index: 3 }), world.policy, fork.hash)).toBe('++--00')
    for (const checkpointSize of [6, 12]) {
      const expected = checkpointSize === 6 ? '++--00' : '++0-00'
      const bundle = await world.bundle(fork, { index: 3, checkpointSize })
      expect(marks(bundle, world.policy, fork.hash)).toBe(expected)
    }
  })

  it('says that nothing is anchored before the first anchor', async () => {
    const empty = await world.block({ anchoredSize: 0 })
    const bundle = without(await world.bundle(empty, { index: 3, checkpointSize: 8 }), 'consistency')
    expect(marks(bundle, world.policy, empty.hash)).toBe('++-000')
    // Every tree extends the empty one, so the proof from size 0 is empty and says nothing.
    expect(marks({ ...bundle, consistency: [] }, world.policy, empty.hash)).toBe('++-000')
  })

  it("takes no head from another block's state", async () => {
    const other = await world.block({ anchoredSize: 7 })
    const evidence = other.evidence(ANCHOR, [anchorSlots.root(), anchorSlots.counts()])
    expect(marks(withAccounts(good, [good.evidence.accounts[0]!, evidence]))).toBe('++--++')
  })

  it('fails on counts that no anchor could reach', async () => {
    const huge = await world.block({ anchoredSize: 2 ** 60, anchoredRoot: sha256(utf8('huge')) })
    const accounts = [
      huge.evidence(REGISTRY, [registrySlots.record(world.leaves[3]!.entry.submission)]),
      huge.evidence(ANCHOR, [anchorSlots.root(), anchorSlots.counts()]),
    ]
    expect(marks({ ...good, evidence: { header: huge.header, accounts } }, world.policy, huge.hash)).toBe(
      '++--++',
    )
  })
})

describe('contributorSigned', () => {
  it('fails for another payload, key or possession', async () => {
    const other = world.leaves[4]!
    const sibling = world.leaves[5]!
    expect(marks({ ...good, payload: sibling.payload })).toBe('++++-+')
    expect(marks({ ...good, payload: good.payload!.slice(0, -1) })).toBe('++++-+')
    expect(marks({ ...good, publicKey: other.publicKey })).toBe('++++-+')
    expect(marks({ ...good, possession: other.possession })).toBe('++++-+')
    expect(marks({ ...good, possession: { ...good.possession!, keyIndex: 2 } })).toBe('++++-+')
    expect(marks({ ...good, possession: { ...good.possession!, signature: new Uint8Array(0) } })).toBe(
      '++++-+',
    )
    expect(marks({ ...good, publicKey: new Uint8Array(0) })).toBe('++++-+')
  })

  /** A world in which the chain says something else of its payloads, and a full bundle of it. */
  const otherwise = async (options: WorldOptions) => {
    const other = await proofWorld(options)
    const at = await other.block({ anchoredSize: 8 })
    return { bundle: await other.bundle(at, { index: 3, full: true }), policy: other.policy, hash: at.hash }
  }

  it("fails where the declared length is not the payload's", async () => {
    const { bundle, policy, hash } = await otherwise({ declaredBytes: 7 })
    expect(claim('contributorSigned', bundle, policy, hash)).toMatchObject({
      status: 'failed',
      reason: 'the payload has 6785 bytes, the chain says 7',
    })
    expect(marks(bundle, policy, hash)).toBe('++++-+')
  })

  it('takes no key but the one in force at the submission, be it the one that signed', async () => {
    const thief = new Uint8Array(32).fill(0x99)
    const { bundle, policy, hash } = await otherwise({ sign: (bytes) => signMaml(bytes, thief, mlDsa) })
    expect(claim('contributorSigned', bundle, policy, hash).reason).toContain('signature does not verify')
    const digest = keyPossessionDigest({
      chainId: CHAIN_ID,
      registry: REGISTRY,
      account: world.leaves[3]!.entry.contributor,
      keyIndex: 3,
    })
    const stolen = {
      ...bundle,
      publicKey: mlDsa.publicKey(65, thief),
      possession: { keyIndex: 3, signature: provePossession(thief, digest, mlDsa) },
    }
    expect(claim('contributorSigned', stolen, policy, hash)).toMatchObject({
      status: 'failed',
      reason: 'the public key is not the one in force at the submission',
    })
  })

  it('fails on a payload without a signature, with one out of form, and on what is no MAML', async () => {
    for (const [sign, reason] of [
      [(bytes: Uint8Array) => bytes, 'no signature in form'],
      [
        (bytes: Uint8Array) => concat(bytes, utf8('## Signature\nCRYSTALS-Dilithium: 0x1234\n')),
        'no signature in form',
      ],
      [() => utf8('hello'), 'line 1'],
    ] as const) {
      // The mirror of what is no MAML is still a mirror, so the entry stays in form.
      const { bundle, policy, hash } = await otherwise({ sign })
      expect(marks(bundle, policy, hash)).toBe('++++-+')
      expect(claim('contributorSigned', bundle, policy, hash).reason).toContain(reason)
    }
  })

  it.each([
    ['chain', { chainId: 1 }],
    ['registry', { registry: ANCHOR }],
    ['account', { account: `0x${'a0'.repeat(20)}` as Hex }],
    ['key index', { keyIndex: 4 }],
  ])('takes no proof of possession made for another %s', (_, changes) => {
    const { entry } = world.leaves[3]!
    const fields = { chainId: CHAIN_ID, registry: REGISTRY, account: entry.contributor, keyIndex: 3 }
    const seed = new Uint8Array(32).fill(0x41)
    const possession = (digest: Uint8Array) => ({
      keyIndex: 3,
      signature: provePossession(seed, digest, mlDsa),
    })
    expect(marks({ ...good, possession: possession(keyPossessionDigest(fields)) })).toBe('++++++')
    expect(marks({ ...good, possession: possession(keyPossessionDigest({ ...fields, ...changes })) })).toBe(
      '++++-+',
    )
  })

  it.each(['payload', 'publicKey', 'possession'] as const)('refuses the other two without %s', (field) => {
    expect(refusal(without(good, field))).toBe('BUNDLE_FIELD_UNUSED')
  })
})

describe('receiptSigned', () => {
  const seed = new Uint8Array(32).fill(0x70)
  const policyWith = (...receiptKeys: TrustPolicy['receiptKeys']) => ({ ...world.policy, receiptKeys })
  it('holds from the first to the last index of the key, both included', () => {
    const { pub } = world.policy.receiptKeys[0]!
    expect(marks(good, policyWith({ pub, fromIndex: 3, toIndex: 3 }))).toBe('++++++')
    expect(marks(good, policyWith({ pub, fromIndex: 4, toIndex: null }))).toBe('+++++-')
    expect(marks(good, policyWith({ pub, fromIndex: 0, toIndex: 2 }))).toBe('+++++-')
    expect(marks(good, policyWith())).toBe('+++++-')
    expect(claim('receiptSigned', good, policyWith()).reason).toContain('no receipt key valid at index 3')
  })

  it('takes any of several keys valid at the index, after a rotation', () => {
    const [old] = world.policy.receiptKeys
    const next = { pub: toHex(mlDsa.publicKey(65, seed)), fromIndex: 0, toIndex: null }
    const rotated = policyWith({ ...old!, toIndex: 5 }, next)
    expect(marks(good, rotated)).toBe('++++++')
    expect(marks({ ...good, receiptSig: signEntry(good.entry, seed, mlDsa) }, rotated)).toBe('++++++')
    expect(marks({ ...good, receiptSig: signEntry(good.entry, seed, mlDsa) })).toBe('+++++-')
  })

  it('stands in the way of a yes where it fails, though nobody asked for it', () => {
    const { claims } = run({ ...good, receiptSig: world.leaves[4]!.receiptSig })
    expect(objections(claims).map(({ name }) => name)).toEqual(['receiptSigned'])
  })

  it("fails with another entry's signature, and with one of the wrong length", () => {
    expect(marks({ ...good, receiptSig: world.leaves[4]!.receiptSig })).toBe('+++++-')
    expect(marks({ ...good, receiptSig: new Uint8Array(0) })).toBe('+++++-')
  })
})

describe('what no claim uses', () => {
  it('is refused: accounts, slots, trie nodes', () => {
    const [registry, anchor] = good.evidence.accounts as [AccountEvidence, AccountEvidence]
    const more = (slot: Hex, address: Hex) => block.evidence(address, [slot]).slots[0]!
    const refused: Bundle['evidence']['accounts'][] = [
      [registry, anchor, block.evidence(`0x${'90'.repeat(20)}`, [])],
      [registry, anchor, registry],
      [registry, { ...anchor, slots: [...anchor.slots, more(anchorSlots.chain(), ANCHOR)] }],
      [registry, { ...anchor, slots: [...anchor.slots, anchor.slots[0]!] }],
      [{ ...registry, slots: [...registry.slots, more(registrySlots.settledCount(), REGISTRY)] }, anchor],
      [{ ...registry, accountProof: [...registry.accountProof, anchor.accountProof.at(-1)!] }, anchor],
      [
        { ...registry, slots: [{ ...registry.slots[0]!, proof: [...registry.slots[0]!.proof, utf8('x')] }] },
        anchor,
      ],
    ]
    for (const accounts of refused) expect(refusal(withAccounts(good, accounts))).toBe('BUNDLE_FIELD_UNUSED')
    expect(refusal(withAccounts(good, [registry, anchor]))).toBe('read')
    expect(refusal(withAccounts(good, [anchor, registry]))).toBe('read')
  })
})
