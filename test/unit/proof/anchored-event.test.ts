import { beforeAll, describe, expect, it } from 'vitest'
import { ANCHORED_TOPIC } from '../../../src/chain/anchored.ts'
import { BLOCK_HISTORY, blockHashSlot } from '../../../src/chain/block-history.ts'
import { concat, fromHex, type Hex, u256be } from '../../../src/core/bytes.ts'
import { type JsonObject, jcsBytes } from '../../../src/core/json.ts'
import { mlDsa } from '../../../src/core/ml-dsa-native.ts'
import { type AnyBundle, type Bundle, decodeBundle, encodeBundle } from '../../../src/proof/bundle.ts'
import { BundleError } from '../../../src/proof/error.ts'
import { verifyBundle } from '../../../src/proof/verify.ts'
import {
  anchorOf,
  type EventBlock,
  type EventOptions,
  eventBlock,
  withEvent,
} from '../../support/event-block.ts'
import { type ProofWorld, proofWorld, REGISTRY, type TestBlock } from '../../support/proof-world.ts'

let world: ProofWorld
/** The anchor of the log's first 6 leaves, in block 250; the head of the trusted block 300 has 8. */
let event: EventBlock
let block: TestBlock
let good: Bundle

beforeAll(async () => {
  world = await proofWorld()
  event = await anchorOf(world, 6, { previousSize: 3 })
  block = await world.block({ anchoredSize: 8, ancestors: [event] })
  good = withEvent(await world.bundle(block, { index: 3, checkpointSize: 6 }), block, event)
})

const verify = (bundle: AnyBundle, at: TestBlock = block) =>
  verifyBundle({
    bundle: encodeBundle(bundle),
    policy: world.policy,
    trustedBlockHash: at.hash as Hex,
    mlDsa,
  })
/** What came of `anchored`, or the code with which the bundle is refused. */
const anchored = (bundle: AnyBundle, at?: TestBlock): string => {
  try {
    const claim = verify(bundle, at).claims.find(({ name }) => name === 'anchored')!
    return `${claim.status}: ${claim.reason}`
  } catch (error) {
    expect(error).toBeInstanceOf(BundleError)
    return (error as BundleError).code
  }
}
/** The same bundle over another event block, which the trusted block knows as its ancestor. */
async function over(other: EventBlock, options: { index?: number; checkpointSize?: number } = {}) {
  const { index = 3, checkpointSize = 6 } = options
  const at = await world.block({ anchoredSize: 8, ancestors: [other] })
  return anchored(withEvent(await world.bundle(at, { index, checkpointSize }), at, other), at)
}
const codeOf = (read: () => unknown): string => {
  try {
    read()
  } catch (error) {
    return (error as BundleError).code
  }
  return 'read'
}
const withChanged = (change: Partial<NonNullable<Bundle['anchoredEvent']>>): Bundle => ({
  ...good,
  anchoredEvent: { ...event.evidence, ...change },
})

describe('the event of an anchor', () => {
  it("tells the time of the first anchor that covers an entry, which the head's is later than", () => {
    const { claims, facts } = verify(good)
    expect(claims.filter(({ status }) => status === 'failed')).toEqual([])
    expect(anchored(good)).toBe(
      'proved: index 3 is below the size 6 of anchor 4, the first to cover that: no later than block 250, 2025-10-01T23:23:20Z',
    )
    expect(facts.anchoredEvent).toEqual({ seq: 4, size: 6, block: 250, time: 1_759_361_000 })
    expect(facts.anchor).toMatchObject({ size: 8, block: 290 })
  })

  it('says no more than it shows where an earlier anchor covered the entry as well', async () => {
    const bundle = withEvent(await world.bundle(block, { index: 2, checkpointSize: 6 }), block, event)
    expect(anchored(bundle)).toMatch(
      /^proved: index 2 is below the size 6 of anchor 4: no later than block 250/,
    )
  })

  it('may stand in the trusted block itself, whose header is then there once', async () => {
    const own = await anchorOf(world, 8, { seq: 5, number: 300, previousSize: 6 })
    const at = await world.block({
      anchoredSize: 8,
      anchoredAt: { block: 300, time: 1_759_361_700 },
      receiptsRoot: own.receiptsRoot,
    })
    const { header, ...rest } = own.evidence
    const bundle = { ...(await world.bundle(at, { index: 7 })), anchoredEvent: rest }
    expect(anchored(bundle, at)).toMatch(/^proved: .*anchor 5, .*block 300, 2025-10-01T23:35:00Z$/)
    expect(anchored({ ...bundle, anchoredEvent: { ...rest, header } }, at)).toMatch(
      /^failed: .* is not one of the 8191 before/,
    )
    // The same event under a block that has other receipts.
    expect(anchored({ ...good, anchoredEvent: rest })).toMatch(/^failed: node 0 of a trie proof/)
  })

  it('covers the rows of a bundle of many, all or not at all', async () => {
    const rows = async (indices: number[]) =>
      anchored(withEvent(await world.rows(block, { indices, checkpointSize: 6 }), block, event))
    expect(await rows([3, 5])).toMatch(/^proved: all 2 rows are below the size 6 of anchor 4, the first/)
    expect(await rows([1, 5])).toMatch(/^proved: all 2 rows are below the size 6 of anchor 4: no later/)
    const whole = withEvent(await world.complete(block, { checkpointSize: 8 }), block, event)
    expect(anchored(whole)).toMatch(/^failed: the anchored event is about another tree/)
  })

  it.each([null, 1, 2, 3, 4, 0x7f])('is read behind the type of its transaction: %s', async (type) => {
    expect(await over(await anchorOf(world, 6, { type }))).toMatch(/^proved/)
  })

  it.each([
    [1, 0],
    [128, 127],
    [200, 128],
    [300, 299],
  ])('is found among %i transactions at place %i', async (transactions, transaction) => {
    expect(await over(await anchorOf(world, 6, { transactions, transaction }))).toMatch(/^proved/)
  })
})

describe('the event is refused', () => {
  const wrong: [string, Partial<EventOptions>, RegExp][] = [
    [
      'of another contract',
      { address: REGISTRY },
      /^failed: .* is a log of 0x1111.*, not of the policy's anchor/,
    ],
    ['of another name', { signature: 'Closed(address,uint64,bytes32)' }, /^failed: .* is another event/],
    ['without topics', { topics: [] }, /^failed: .* is another event/],
    ['of a tree of another root', { root: new Uint8Array(32).fill(1) }, /^failed: .* is about another tree/],
    ['of a tree of another size', { size: 5 }, /^failed: .* is about another tree .* size 5, not 6/],
    ['of an anchor that the head does not count', { seq: 6 }, /^failed: .* later than the anchor's head/],
    ['of a block after the head', { number: 291 }, /^failed: .* later than the anchor's head/],
    [
      'with a word too few',
      { data: new Uint8Array(128) },
      /^failed: .* does not decode: the data are too short/,
    ],
    ['with a word too many', { data: new Uint8Array(192) }, /^failed: .* does not decode: .* left over/],
    [
      'with a size beyond 2^53 - 1',
      { data: concat(u256be(2n ** 53n), new Uint8Array(128)) },
      /^failed: .* does not decode: an integer is beyond/,
    ],
    [
      'in a receipt of five fields',
      { fields: (all) => [...all, all[0]!] },
      /^failed: .* 5 items instead of 4/,
    ],
    [
      'in a receipt without a list of logs',
      { fields: (all) => [...all.slice(0, 3), all[2]!] },
      /^failed: .* not an RLP list/,
    ],
  ]
  it.each(wrong)('%s', async (_, options, reason) => {
    expect(await over(await anchorOf(world, 6, options))).toMatch(reason)
  })

  it('with a topic too many or too few', async () => {
    const signature = fromHex(ANCHORED_TOPIC)
    for (const topics of [[signature], [signature, u256be(4n), u256be(4n)]])
      expect(await over(await anchorOf(world, 6, { topics }))).toMatch(/^failed: .* does not decode: it has/)
  })

  it('of another anchor than the one of the checkpoint', async () => {
    const later = await anchorOf(world, 8, { seq: 5, number: 290 })
    expect(await over(later)).toMatch(/^failed: .* about another tree .* size 8, not 6/)
    expect(await over(later, { checkpointSize: 8 })).toMatch(/^proved/)
  })

  it('at another place: log, transaction, proof', () => {
    expect(anchored(withChanged({ log: 0 }))).toMatch(/^failed: .* is a log of 0x7777/)
    expect(anchored(withChanged({ log: 2 }))).toBe('failed: the receipt has no log 2')
    expect(anchored(withChanged({ log: Number.MAX_SAFE_INTEGER }))).toMatch(/^failed: the receipt has no log/)
    // Another transaction's receipt under this one's nodes, and with its own.
    expect(anchored(withChanged({ transaction: 4 }))).toMatch(
      /^failed: a trie proof|^BUNDLE_FIELD_UNUSED|^failed: node/,
    )
    expect(anchored(withChanged({ transaction: 4, proof: event.prove(4) }))).toBe(
      'failed: the receipt has no log 1',
    )
    expect(anchored(withChanged({ transaction: 20, proof: event.prove(20) }))).toBe(
      'failed: block 250 has no transaction 20 with a receipt',
    )
    expect(anchored(withChanged({ transaction: Number.MAX_SAFE_INTEGER }))).toMatch(
      /^failed|^BUNDLE_FIELD_UNUSED/,
    )
  })

  it('with a node too many or too few', () => {
    const { proof } = event.evidence
    expect(anchored(withChanged({ proof: [...proof, proof[0]!] }))).toBe('BUNDLE_FIELD_UNUSED')
    expect(anchored(withChanged({ proof: proof.slice(0, -1) }))).toMatch(/^failed: a trie proof ends/)
    expect(anchored(withChanged({ proof: [] }))).toMatch(/^failed: a trie proof ends/)
  })

  it("under another block's header: of another branch, too old, or no header", async () => {
    const fork = await anchorOf(world, 6, { time: 1_759_360_999 })
    expect(anchored({ ...good, anchoredEvent: fork.evidence })).toMatch(
      /^failed: .* is not the block 250 of the trusted block's chain/,
    )
    // A block of the same slot, one round of the history earlier.
    const old = eventBlock({ size: 6, root: await world.root(6), number: 0 })
    expect(await over(old)).toMatch(/^proved/)
    const future = await anchorOf(world, 6, { number: 250 + BLOCK_HISTORY.window })
    expect(anchored({ ...good, anchoredEvent: future.evidence })).toMatch(
      /^failed: .* is not one of the 8191/,
    )
    expect(anchored(withChanged({ header: Uint8Array.of(0xc0) }))).toMatch(
      /^failed: a block header has 0 fields/,
    )
    expect(anchored(withChanged({ header: new Uint8Array() }))).toMatch(/^failed: an RLP item is cut short/)
  })

  it('without the history that ties its block to the trusted one, and with another', async () => {
    const { accounts } = good.evidence
    const under = (changed: typeof accounts): Bundle => ({
      ...good,
      evidence: { ...good.evidence, accounts: changed },
    })
    expect(anchored(under(accounts.slice(0, 2)))).toMatch(/^failed: .* no evidence about the block history/)
    const other = block.evidence(BLOCK_HISTORY.address, [blockHashSlot(251)])
    expect(anchored(under([...accounts.slice(0, 2), other]))).toMatch(
      /^failed: the bundle does not prove slot/,
    )
    const both = block.evidence(BLOCK_HISTORY.address, [blockHashSlot(250), blockHashSlot(251)])
    expect(anchored(under([...accounts.slice(0, 2), both]))).toBe('BUNDLE_FIELD_UNUSED')
    // A state that never wrote it, and one in which somebody else's code could have.
    const silent = await world.block({ anchoredSize: 8 })
    const bare = await world.bundle(silent, { index: 3, checkpointSize: 6 })
    expect(anchored(withEvent(bare, silent, event), silent)).toMatch(/^failed: .* is not the block 250/)
    const foreign = await world.block({
      anchoredSize: 8,
      ancestors: [event],
      historyCode: new Uint8Array(32).fill(7),
    })
    const bundle = withEvent(await world.bundle(foreign, { index: 3, checkpointSize: 6 }), foreign, event)
    expect(anchored(bundle, foreign)).toMatch(/^failed: the code of the block history .* EIP-2935 pins/)
  })

  it('where no claim uses it, and history without an event', async () => {
    const newer = withEvent(await world.bundle(block, { index: 3, checkpointSize: 12 }), block, event)
    expect(anchored(newer)).toBe('BUNDLE_FIELD_UNUSED')
    const { anchoredEvent: _, ...rest } = good
    expect(anchored(rest)).toBe('BUNDLE_FIELD_UNUSED')
    // Nothing of the history is below the anchored size: there are no rows.
    const empty = await world.block({ anchoredSize: 0, ancestors: [event] })
    const whole = withEvent(await world.complete(empty), empty, event)
    expect(anchored(whole, empty)).toBe('BUNDLE_FIELD_UNUSED')
  })

  it('in any other form', () => {
    const forms: unknown[] = [
      {},
      null,
      [],
      { transaction: 0, log: 0 },
      { transaction: 0, log: 0, proof: [], more: 1 },
      { transaction: -1, log: 0, proof: [] },
      { transaction: 0, log: 0.5, proof: [] },
      { transaction: 0, log: 0, proof: ['00'] },
      { transaction: 0, log: 0, proof: [], header: null },
    ]
    for (const anchoredEvent of forms) {
      const json = JSON.parse(new TextDecoder().decode(encodeBundle(good)))
      const bytes = jcsBytes({ ...json, anchoredEvent } as JsonObject)
      expect(
        codeOf(() => decodeBundle(bytes)),
        JSON.stringify(anchoredEvent),
      ).toBe('BUNDLE_MALFORMED')
    }
  })
})
