import { beforeAll, describe, expect, it } from 'vitest'
import { keyPossessionDigest } from '../../../src/chain/record.ts'
import { anchorSlots, registrySlots } from '../../../src/chain/slots.ts'
import { concat, decodeUtf8, toBase64, utf8 } from '../../../src/core/bytes.ts'
import { type Json, type JsonObject, jcsBytes } from '../../../src/core/json.ts'
import { mlDsa } from '../../../src/core/ml-dsa-native.ts'
import { provePossession } from '../../../src/maml/possession.ts'
import { assembleBundle } from '../../../src/proof/build.ts'
import {
  type AccountEvidence,
  BUNDLE_MAX_BYTES,
  decodeAnyBundle,
  decodeBundle,
  encodeBundle,
  ROWS_BUNDLE_MAX_BYTES,
  type RowsBundle,
} from '../../../src/proof/bundle.ts'
import { BundleError } from '../../../src/proof/error.ts'
import { MAX_ROWS, type Rows } from '../../../src/proof/rows.ts'
import { type ClaimName, objections, verifyBundle } from '../../../src/proof/verify.ts'
import {
  ANCHOR,
  account,
  CHAIN_ID,
  type ProofWorld,
  proofWorld,
  REGISTRY,
  type TestBlock,
} from '../../support/proof-world.ts'

let world: ProofWorld
/** A block whose head has 8 of the log's 12 leaves. */
let block: TestBlock
let good: RowsBundle
beforeAll(async () => {
  world = await proofWorld()
  block = await world.block({ anchoredSize: 8 })
  good = await world.rows(block, { indices: [1, 2, 3, 6], full: true })
})

const run = (bundle: RowsBundle, policy = world.policy) =>
  verifyBundle({ bundle: encodeBundle(bundle), policy, trustedBlockHash: block.hash, mlDsa })
const marks = (bundle: RowsBundle): string =>
  run(bundle)
    .claims.map(({ status }) => (status === 'proved' ? '+' : status === 'failed' ? '-' : '0'))
    .join('')
const claim = (name: ClaimName, bundle: RowsBundle) => run(bundle).claims.find((each) => each.name === name)!
const refusal = (attempt: () => unknown): string => {
  try {
    attempt()
  } catch (error) {
    expect(error).toBeInstanceOf(BundleError)
    return (error as BundleError).code
  }
  return 'read'
}
const withRows = (changes: Partial<Rows>, bundle = good): RowsBundle => ({
  ...bundle,
  rows: { ...bundle.rows!, ...changes },
})
const without = <T extends object>(value: T, ...names: (keyof T)[]): T =>
  Object.fromEntries(Object.entries(value).filter(([key]) => !names.includes(key as keyof T))) as T

describe('a bundle of many rows', () => {
  it('proves every claim about all of them', () => {
    expect(marks(good)).toBe('++++++0')
    expect(objections(run(good).claims)).toEqual([])
    expect(claim('included', good).reason).toBe('all 4 rows are leaves of the 8 under the signed checkpoint')
    const pure = verifyBundle({
      bundle: encodeBundle(good),
      policy: world.policy,
      trustedBlockHash: block.hash,
    })
    expect(pure).toEqual(run(good))
  })

  it('says which entries it is about', () => {
    const { facts } = run(good)
    expect(facts.entry).toBeNull()
    expect(facts.rows).toEqual([1, 2, 3, 6].map((i) => world.leaves[i]!.entry))
    expect(facts.checkpoint).toMatchObject({ size: 8 })
    expect(facts).not.toHaveProperty('completeness')
  })

  it('reads back as it was written, and is no bundle of one entry', () => {
    expect(decodeAnyBundle(encodeBundle(good))).toEqual(good)
    expect(decodeAnyBundle(concat(assembleBundle(good), utf8('\n')))).toEqual(good)
    expect(refusal(() => decodeBundle(encodeBundle(good)))).toBe('BUNDLE_MALFORMED')
  })

  it('may be of one row, of all rows, and through a smaller checkpoint', async () => {
    expect(marks(await world.rows(block, { indices: [5] }))).toBe('++++000')
    const all = await world.rows(block, { indices: [0, 1, 2, 3, 4, 5, 6, 7] })
    expect(all.rows!.nodes).toEqual([])
    expect(marks(all)).toBe('++++000')
    expect(marks(await world.rows(block, { indices: [0, 4], checkpointSize: 6 }))).toBe('++++000')
  })

  it('is anchored only as a whole', async () => {
    const beyond = await world.rows(block, { indices: [2, 8], checkpointSize: 12 })
    expect(marks(beyond)).toBe('++-+000')
    expect(claim('anchored', beyond).reason).toContain('index 8 is not below the anchored size 8')
    const newer = await world.rows(block, { indices: [2, 3], checkpointSize: 12 })
    expect(marks(newer)).toBe('++0+000')
  })

  it('shows each trie node once', () => {
    const nodes = good.evidence.accounts
      .flatMap(({ slots }) => slots.flatMap(({ proof }) => proof))
      .map(toBase64)
    expect(new Set(nodes).size).toBe(nodes.length)
  })
})

describe('rows are refused or fail', () => {
  it('with entries that are not the leaves of their indices', async () => {
    const other = world.leaves[4]!.bytes
    const entries = good.rows!.entries
    expect(marks(withRows({ entries: entries.with(1, other) }))).toBe('--000-0')
    expect(claim('included', withRows({ entries: entries.with(1, other) })).reason).toBe(
      "leaf 4: the entry's index is 4, the inclusion proof's is 2",
    )
    const swapped = entries.with(1, entries[2]!).with(2, entries[1]!)
    expect(marks(withRows({ entries: swapped }))[0]).toBe('-')
    const lying = utf8(decodeUtf8(entries[1]!).replace('"logIndex":0', '"logIndex":7'))
    expect(marks(withRows({ entries: entries.with(1, lying) }))).toBe('-+00+-0')
    expect(marks(withRows({ entries: entries.with(1, utf8('nonsense')) }))).toBe('--000-0')
  })

  it('with a node missing, added, moved or changed', () => {
    const { nodes } = good.rows!
    expect(nodes.length).toBeGreaterThan(1)
    for (const bad of [
      nodes.slice(1),
      nodes.slice(0, -1),
      [...nodes, nodes[0]!],
      [world.leaves[0]!.bytes.subarray(0, 32), ...nodes],
      [...nodes].reverse(),
    ]) {
      expect(marks(withRows({ nodes: bad })).slice(0, 4)).toBe('-+00')
    }
  })

  it('under a checkpoint of other keys, of another size, or of a deployment that is not the policy', async () => {
    const forged = await proofWorld({ forge: true })
    const theirs = await forged.rows(await forged.block({ anchoredSize: 8 }), { indices: [1, 2, 3, 6] })
    expect(marks(withRows({ checkpoint: theirs.rows!.checkpoint }))).toBe('-+00++0')
    const smaller = await world.rows(block, { indices: [1, 2, 3, 6], checkpointSize: 7 })
    expect(marks(withRows({ checkpoint: smaller.rows!.checkpoint }))).toBe('-+00++0')
    const policy = { ...world.policy, origin: 'other.example/log' }
    expect(run(good, policy).claims.map(({ status }) => status)).not.toContain('proved')
  })

  it("without one row's record, or with another's", () => {
    const [registry, anchor] = good.evidence.accounts as [AccountEvidence, AccountEvidence]
    const slots = block.evidence(
      REGISTRY,
      [1, 2, 3].map((i) => registrySlots.record(world.leaves[i]!.entry.submission)),
    )
    expect(marks({ ...good, evidence: { ...good.evidence, accounts: [anchor] } })).toBe('+-++0+0')
    const result = claim('onChain', {
      ...good,
      evidence: { ...good.evidence, accounts: [{ ...registry, slots: registry.slots.slice(0, 3) }, anchor] },
    })
    expect(result).toMatchObject({
      status: 'failed',
      reason: expect.stringMatching(/^leaf 6: .*does not prove slot/),
    })
    // Nodes that an earlier proof has shown must not come again.
    expect(slots.slots).toHaveLength(3)
    const unshared = block.evidence(
      REGISTRY,
      registry.slots.map(({ slot }) => slot),
    )
    expect(marks({ ...good, evidence: { ...good.evidence, accounts: [unshared, anchor] } })).toBe('+-++0+0')
  })

  it('where a slot leans on nodes that only a later proof shows', () => {
    const [registry, anchor] = good.evidence.accounts as [AccountEvidence, AccountEvidence]
    const slots = [...registry.slots].reverse()
    expect(
      marks({ ...good, evidence: { ...good.evidence, accounts: [{ ...registry, slots }, anchor] } })[1],
    ).toBe('-')
  })

  it('with slots, accounts, keys or lists that no claim uses', () => {
    const [registry, anchor] = good.evidence.accounts as [AccountEvidence, AccountEvidence]
    const more = block.evidence(ANCHOR, [anchorSlots.chain()]).slots[0]!
    const { keys, payloads } = good.rows!
    const spare = { publicKey: new Uint8Array(1952), possession: keys![0]!.possession }
    for (const bad of [
      withRows({ keys: [...keys!, spare] }),
      withRows({ keys: [...keys!, keys![0]!] }),
      {
        ...good,
        evidence: { ...good.evidence, accounts: [registry, { ...anchor, slots: [...anchor.slots, more] }] },
      },
      { ...good, evidence: { ...good.evidence, accounts: [registry, anchor, anchor] } },
      { ...good, consistency: [] },
      // A row left out takes its key with it.
      withRows({ payloads: payloads!.map((each, i) => (i === 1 || i === 3 ? null : each)) }),
    ])
      expect(refusal(() => run(bad))).toBe('BUNDLE_FIELD_UNUSED')
  })
})

describe('signatures over rows', () => {
  it('speak of the rows that carry them, and say how many those are', () => {
    const { payloads, receiptSigs } = good.rows!
    const some = withRows({
      payloads: payloads!.with(1, null),
      receiptSigs: receiptSigs!.with(0, null).with(3, null),
    })
    expect(marks(some)).toBe('++++++0')
    expect(claim('contributorSigned', some).reason).toContain('3 of the 4 rows')
    expect(claim('receiptSigned', some).reason).toContain('2 of the 4 rows')
  })

  it('fail with the first row that does not hold', () => {
    const { payloads, receiptSigs, keys } = good.rows!
    expect(
      claim('receiptSigned', withRows({ receiptSigs: receiptSigs!.with(2, receiptSigs![1]!) })),
    ).toMatchObject({
      status: 'failed',
      reason: 'leaf 3: no receipt key valid at index 3 has made this signature',
    })
    expect(
      claim('contributorSigned', withRows({ payloads: payloads!.with(2, payloads![1]!) })),
    ).toMatchObject({
      status: 'failed',
      reason: 'leaf 3: the SHA-256 of the payload is not the one on the chain',
    })
    expect(claim('contributorSigned', withRows({ keys: keys!.slice(1) })).reason).toContain(
      'is not the one in force',
    )
    const wrong = { ...keys![0]!, possession: { ...keys![0]!.possession, keyIndex: 9 } }
    expect(claim('contributorSigned', withRows({ keys: keys!.with(0, wrong) })).reason).toContain(
      'possession',
    )
  })

  it('take one key that two accounts hold, with a proof of possession by each', () => {
    const [first] = good.rows!.keys!
    const digest = keyPossessionDigest({
      chainId: CHAIN_ID,
      registry: REGISTRY,
      account: account(0),
      keyIndex: 8,
    })
    const seed = new Uint8Array(32).fill(0x41)
    const other = {
      publicKey: first!.publicKey,
      possession: { keyIndex: 8, signature: provePossession(seed, digest, mlDsa) },
    }
    // The other account's proof counts for none of these rows: it is found, looked at, and has no use.
    expect(refusal(() => run(withRows({ keys: [other, ...good.rows!.keys!] })))).toBe('BUNDLE_FIELD_UNUSED')
  })
})

describe('decoding rows', () => {
  const json = () => JSON.parse(decodeUtf8(encodeBundle(good))) as JsonObject & { rows: JsonObject }
  const code = (value: unknown) => refusal(() => decodeAnyBundle(jcsBytes(value)))
  const changed = (changes: JsonObject) => code({ ...json(), rows: { ...json().rows, ...changes } })

  it.each<[string, JsonObject]>([
    ['no index', { indices: [], entries: [] }],
    ['indices out of order', { indices: [2, 1, 3, 6] }],
    ['an index twice', { indices: [1, 1, 3, 6] }],
    ['a negative index', { indices: [-1, 2, 3, 6] }],
    ['a text for an index', { indices: ['1', 2, 3, 6] }],
    ['fewer entries than indices', { entries: [] }],
    ['an entry of null', { entries: [null, null, null, null] }],
    ['a short node', { nodes: ['YQ=='] }],
    ['a node in hex', { nodes: [`0x${'00'.repeat(32)}`] }],
    ['fewer payloads than indices', { payloads: [null] }],
    ['no payload at all', { payloads: [null, null, null, null] }],
    ['no receipt signature at all', { receiptSigs: [null, null, null, null] }],
    ['a key without possession', { keys: [{ publicKey: 'YQ==' }] }],
    ['a key index that is none', { keys: [{ publicKey: '', possession: { keyIndex: -1, signature: '' } }] }],
    ['a field too many', { size: 8 }],
    ['no list', { nodes: {} }],
  ])('refuses %s', (_, changes) => {
    expect(changed(changes)).toBe('BUNDLE_MALFORMED')
  })

  it('refuses payloads without keys, keys without payloads, and what belongs to a bundle of one entry', () => {
    const { rows, ...rest } = json()
    expect(code({ ...rest, rows: without(rows, 'keys') })).toBe('BUNDLE_MALFORMED')
    expect(code({ ...rest, rows: without(rows, 'payloads') })).toBe('BUNDLE_MALFORMED')
    expect(code({ ...rest, rows: without(rows, 'checkpoint') })).toBe('BUNDLE_MALFORMED')
    for (const field of ['entry', 'payload', 'publicKey', 'possession', 'receiptSig', 'uri', 'tlogProof'])
      expect(code({ ...json(), [field]: '' })).toBe('BUNDLE_MALFORMED')
    expect(code(without(json(), 'evidence'))).toBe('BUNDLE_MALFORMED')
    for (const value of [null, [], 1, 'rows'] as Json[])
      expect(code({ ...json(), rows: value })).toBe('BUNDLE_MALFORMED')
  })

  it('refuses more rows than a bundle may have', () => {
    const many = Array.from({ length: MAX_ROWS + 1 }, (_, i) => i)
    expect(changed({ indices: many, entries: many.map(() => '') })).toBe('BUNDLE_MALFORMED')
  })

  it('lets bundles of rows alone be longer than a bundle of one entry', async () => {
    const big = withRows({ payloads: good.rows!.payloads!.with(0, new Uint8Array(BUNDLE_MAX_BYTES)) })
    expect(encodeBundle(big).length).toBeGreaterThan(BUNDLE_MAX_BYTES)
    expect(marks(big)).toBe('++++-+0')
    const one = await world.bundle(block, { index: 3, full: true })
    const long = encodeBundle({ ...one, uri: `"rows":{${'x'.repeat(BUNDLE_MAX_BYTES)}` })
    expect(refusal(() => decodeAnyBundle(long))).toBe('BUNDLE_TOO_LARGE')
    expect(refusal(() => decodeAnyBundle(new Uint8Array(ROWS_BUNDLE_MAX_BYTES + 1)))).toBe('BUNDLE_TOO_LARGE')
  })
})
