import { beforeAll, describe, expect, it } from 'vitest'
import { anchorSlots, registrySlots } from '../../../src/chain/slots.ts'
import type { Hex } from '../../../src/core/bytes.ts'
import { type JsonObject, jcsBytes } from '../../../src/core/json.ts'
import { mlDsa } from '../../../src/core/ml-dsa-native.ts'
import { shareNodes } from '../../../src/proof/build.ts'
import {
  type AccountEvidence,
  decodeAnyBundle,
  encodeBundle,
  type RowsBundle,
} from '../../../src/proof/bundle.ts'
import { BundleError } from '../../../src/proof/error.ts'
import type { Completeness, CompletenessItem } from '../../../src/proof/rows.ts'
import { objections, verifyBundle } from '../../../src/proof/verify.ts'
import type { Entry } from '../../../src/receipt/entry.ts'
import {
  ANCHOR,
  account,
  type ProofWorld,
  proofWorld,
  REGISTRY,
  type TestBlock,
} from '../../support/proof-world.ts'

/** Contributor 0 has seq 0 to 5 at the indices 0, 2, ... 10; the head has 8 leaves, so the last two are not anchored. */
let world: ProofWorld
let block: TestBlock
let good: RowsBundle
/** 300 settled submissions of each contributor, 520 leaves anchored. */
let long: ProofWorld
let longBlock: TestBlock
beforeAll(async () => {
  world = await proofWorld({ unsigned: true })
  block = await world.block({ anchoredSize: 8 })
  good = await world.complete(block)
  long = await proofWorld({ leaves: 600, unsigned: true, pending: 1 })
  longBlock = await long.block({ anchoredSize: 560 })
}, 120_000)

const run = (bundle: RowsBundle, at = block, policy = world.policy) =>
  verifyBundle({ bundle: encodeBundle(bundle), policy, trustedBlockHash: at.hash, mlDsa })
const marks = (bundle: RowsBundle, at?: TestBlock): string =>
  run(bundle, at)
    .claims.map(({ status }) => (status === 'proved' ? '+' : status === 'failed' ? '-' : '0'))
    .join('')
const complete = (bundle: RowsBundle, at?: TestBlock) =>
  run(bundle, at).claims.find(({ name }) => name === 'complete')!
const refusal = (attempt: () => unknown): string => {
  try {
    attempt()
  } catch (error) {
    expect(error).toBeInstanceOf(BundleError)
    return (error as BundleError).code
  }
  return 'read'
}
const withItems = (
  items: readonly CompletenessItem[],
  changes: Partial<Completeness> = {},
  bundle = good,
): RowsBundle => ({
  ...bundle,
  completeness: { ...bundle.completeness!, ...changes, items: [...items] },
})

describe('a complete stretch', () => {
  it('is proved, with what is anchored and what is pending', () => {
    // Nothing but the fold speaks for the records, so onChain is proved without a record slot.
    expect(marks(good)).toBe('++++00+')
    expect(
      objections(run(good).claims, ['included', 'onChain', 'anchored', 'appendOnly', 'complete']),
    ).toEqual([])
    expect(complete(good).reason).toBe(
      `all 6 settled of 8 submitted by ${account(0)}, 2 pending, 4 of them anchored, as of block 300, 2025-10-01T23:35:00Z`,
    )
    expect(run(good).facts.completeness).toEqual({
      contributor: account(0),
      fromSeq: 0,
      endSeq: 6,
      settled: 6,
      submitted: 8,
      pending: 2,
      submissions: [0, 2, 4, 6, 8, 10].map((i) => world.leaves[i]!.entry.submission),
    })
  })

  it('is proved through a smaller checkpoint, and with rows of others beside it', async () => {
    const through = await world.complete(block, { checkpointSize: 7 })
    expect(through.consistency).toBeDefined()
    expect(marks(through)).toBe('++++00+')
    const beside = await world.rows(block, { indices: [0, 1, 2, 4, 6] })
    const [registry, anchor] = good.evidence.accounts as [AccountEvidence, AccountEvidence]
    const slots = [
      ...registry.slots.map(({ slot }) => slot),
      registrySlots.record(world.leaves[1]!.entry.submission),
    ]
    const accounts = [shareNodes(block.evidence(REGISTRY, slots)), anchor]
    expect(marks({ ...good, rows: beside.rows!, evidence: { ...good.evidence, accounts } })).toBe('++++00+')
  })

  it('is proved of an account that has settled nothing', async () => {
    const none = await proofWorld({ leaves: 1, unsigned: true })
    const at = await none.block()
    const empty = await none.complete(at, { who: 1 })
    expect(empty).not.toHaveProperty('rows')
    const { claims } = verifyBundle({
      bundle: encodeBundle(empty),
      policy: none.policy,
      trustedBlockHash: at.hash,
      mlDsa,
    })
    expect(claims.map(({ name, status }) => `${name} ${status}`)).toEqual([
      'included not claimed',
      'onChain not claimed',
      'anchored not claimed',
      'appendOnly not claimed',
      'contributorSigned not claimed',
      'receiptSigned not claimed',
      'complete proved',
    ])
    expect(claims.at(-1)!.reason).toContain('all 0 settled of 2 submitted')
  })

  it('is proved before anything is anchored, and fails for what is anchored and not there', async () => {
    const unanchored = await world.block({ anchoredSize: 0, anchoredRoot: new Uint8Array(32).fill(1) })
    const bundle = await world.complete(unanchored)
    expect(marks(bundle, unanchored)).toBe('000000+')
    const { rows: _, ...bare } = good
    expect(marks(bare)).toBe('000000-')
    expect(complete(bare).reason).toBe('the item of seq 0, leaf 0, is anchored and not among the rows')
  })
})

describe('a range', () => {
  const slotsOf = (bundle: RowsBundle) => bundle.evidence.accounts[0]!.slots.map(({ slot }) => slot)

  it('costs its own length: it begins and ends where the registry keeps an accumulator', async () => {
    const first = await long.complete(longBlock, { fromSeq: 0, endSeq: 256 })
    expect(marks(first, longBlock)).toBe('++++00+')
    expect(complete(first, longBlock).reason).toContain(
      'all from seq 0 to 255 of 300 settled of 301 submitted',
    )
    expect(slotsOf(first)).toEqual([registrySlots.headCounts(account(0)), registrySlots.accAt(account(0), 1)])
    const rest = await long.complete(longBlock, { fromSeq: 256 })
    expect(marks(rest, longBlock)).toBe('++++00+')
    expect(rest.completeness!.items).toHaveLength(44)
    expect(slotsOf(rest)).toEqual([
      registrySlots.headCounts(account(0)),
      registrySlots.accAt(account(0), 1),
      registrySlots.acc(account(0)),
    ])
    const all = await long.complete(longBlock, { who: 1 })
    expect(marks(all, longBlock)).toBe('++++00+')
    expect(complete(all, longBlock).reason).toContain('all 300 settled of 301 submitted')
  })

  it('must begin and end there', async () => {
    const rest = await long.complete(longBlock, { fromSeq: 256 })
    const { items } = rest.completeness!
    const reasonOf = (bundle: RowsBundle) => complete(bundle, longBlock)
    expect(marks(withItems(items.slice(1), { fromSeq: 257 }, rest), longBlock)).toMatch(/-$/)
    expect(reasonOf(withItems(items.slice(1), { fromSeq: 257 }, rest)).reason).toContain('begin at seq 257')
    expect(reasonOf(withItems(items.slice(0, -1), {}, rest)).reason).toContain(
      'end at seq 299, before the 300',
    )
    expect(reasonOf(withItems([...items, items[0]!], {}, rest)).reason).toContain('end at seq 301')
    expect(reasonOf(withItems([], {}, rest)).reason).toContain('there is no item')
    expect(reasonOf(withItems(items, { fromSeq: 0 }, rest)).reason).toContain('end at seq 44, before')
    expect(reasonOf(withItems(items, { fromSeq: 512 }, rest)).reason).toContain('end at seq 556')
  })

  it('of nothing at all between two points proves nothing', async () => {
    const nothing = await long.complete(longBlock, { fromSeq: 256, endSeq: 256 })
    expect(marks(nothing, longBlock)).toBe('000000-')
    expect(complete(nothing, longBlock).reason).toBe('there is no item, though submissions are settled')
  })
})

describe('fails', () => {
  const items = () => good.completeness!.items

  it('with an item dropped, added, doubled or moved', () => {
    for (let i = 0; i < items().length; i++) {
      expect(complete(withItems(items().toSpliced(i, 1))).status).toBe('failed')
      expect(complete(withItems(items().toSpliced(i, 1, items()[(i + 1) % 6]!))).status).toBe('failed')
      expect(complete(withItems(items().toSpliced(i, 0, items()[i]!))).status).toBe('failed')
      if (i > 0) {
        const moved = withItems(
          items()
            .with(i, items()[i - 1]!)
            .with(i - 1, items()[i]!),
        )
        expect(complete(moved).reason).toContain('do not fold')
        expect(marks(moved)).toBe('+-++00-')
      }
    }
  })

  const zero: Hex = `0x${'00'.repeat(32)}`
  it.each<[string, Partial<CompletenessItem>]>([
    ['id', { id: zero }],
    ['sensor', { sensor: 'other' }],
    ['dataset', { dataset: 'other' }],
    ['schemaSha256', { schemaSha256: zero }],
    ['payloadHash', { payloadHash: zero }],
    ['payloadBytes', { payloadBytes: 1 }],
    ['uriSha256', { uriSha256: zero }],
    ['keyId', { keyId: zero }],
    ['submittedBlock', { submittedBlock: 1 }],
    ['index', { index: 11 }],
    ['outcome', { outcome: 'expired' }],
  ])('with another %s in an item', (_, change) => {
    for (const i of [0, 3, 5])
      expect(complete(withItems(items().with(i, { ...items()[i]!, ...change }))).reason).toContain(
        'do not fold',
      )
  })

  it("with another contributor's name, or another's items", async () => {
    const theirs = await world.complete(block, { who: 1 })
    expect(complete(withItems(items(), { contributor: account(1) })).status).toBe('failed')
    expect(complete(withItems(theirs.completeness!.items)).status).toBe('failed')
    expect(complete({ ...good, completeness: theirs.completeness! }).reason).toContain('does not prove slot')
  })

  it('with slots of another point, another account, or another block', async () => {
    const [registry, anchor] = good.evidence.accounts as [AccountEvidence, AccountEvidence]
    const theirs = block.evidence(REGISTRY, [
      registrySlots.headCounts(account(1)),
      registrySlots.acc(account(1)),
    ])
    const relabelled = {
      ...theirs,
      slots: theirs.slots.map((each, i) => ({ ...each, slot: registry.slots[i]!.slot })),
    }
    const swapped = { ...good, evidence: { ...good.evidence, accounts: [shareNodes(relabelled), anchor] } }
    expect(complete(swapped).status).toBe('failed')
    const other = await world.block({ anchoredSize: 7 })
    expect(marks(good, other)).toBe('+---000')
  })

  it('where an anchored item is not among the rows', async () => {
    const others = await world.rows(block, { indices: [0, 2, 6] })
    expect(complete({ ...good, rows: others.rows! }).reason).toBe(
      'the item of seq 2, leaf 4, is anchored and not among the rows',
    )
  })

  it('where an entry gives another accumulator than the chain, though the record does not cover it', async () => {
    const lie = (e: Entry): Entry => (e.index === 4 ? { ...e, acc: zero } : e)
    const lying = await proofWorld({ unsigned: true, lie })
    const at = await lying.block({ anchoredSize: 8 })
    const bundle = await lying.complete(at)
    expect(marks(bundle, at)).toBe('++++00-')
    expect(complete(bundle, at).reason).toContain('another accumulator')
  })

  it('where the entry of an item says something else, and the log has it so', async () => {
    const lie = (e: Entry): Entry => (e.index === 4 ? { ...e, sensor: 'other' } : e)
    const lying = await proofWorld({ unsigned: true, lie })
    const at = await lying.block({ anchoredSize: 8 })
    expect(marks(await lying.complete(at), at)).toBe('+-++00-')
  })

  it('names the claim that it needs where the rows are not included', () => {
    const bad = { ...good, rows: { ...good.rows!, nodes: good.rows!.nodes.slice(1) } }
    expect(complete(bad)).toMatchObject({ status: 'not claimed', prerequisite: 'included' })
  })
})

describe('a bundle is refused', () => {
  it('with a slot that the fold does not use', () => {
    const slots = [registrySlots.headCounts(account(0)), registrySlots.acc(account(0))]
    const refused = (more: Hex[]) =>
      refusal(() =>
        run({
          ...good,
          evidence: {
            header: block.header,
            accounts: [
              shareNodes(block.evidence(REGISTRY, [...slots, ...more])),
              block.evidence(ANCHOR, [anchorSlots.root(), anchorSlots.counts()]),
            ].map(shareNodes),
          },
        }),
      )
    expect(refused([])).toBe('read')
    // A record slot says nothing that the fold does not say already.
    expect(refused([registrySlots.record(world.leaves[0]!.entry.submission)])).toBe('BUNDLE_FIELD_UNUSED')
    expect(refused([registrySlots.acc(account(1))])).toBe('BUNDLE_FIELD_UNUSED')
  })

  const json = () =>
    JSON.parse(new TextDecoder().decode(encodeBundle(good))) as {
      completeness: JsonObject & { items: JsonObject[] }
    }
  it.each<[string, (completeness: JsonObject & { items: JsonObject[] }) => unknown]>([
    ['a field too many', (c) => ({ ...c, toSeq: 6 })],
    ['no contributor', ({ contributor: _, ...c }) => c],
    ['a CAIP-10 id for an address', (c) => ({ ...c, contributor: 'eip155:1:0x' })],
    ['a negative fromSeq', (c) => ({ ...c, fromSeq: -256 })],
    ['items that are no list', (c) => ({ ...c, items: {} })],
    ['too many items', (c) => ({ ...c, items: Array.from({ length: 10_001 }, () => c.items[0]) })],
    ['an item with a field too many', (c) => ({ ...c, items: [{ ...c.items[0], seq: 0 }] })],
    ['an item with an outcome by number', (c) => ({ ...c, items: [{ ...c.items[0], outcome: 1 }] })],
    ['an item with an unknown outcome', (c) => ({ ...c, items: [{ ...c.items[0], outcome: 'pending' }] })],
    ['an item with a short id', (c) => ({ ...c, items: [{ ...c.items[0], submission: '0x00' }] })],
    ['an item with an index of null', (c) => ({ ...c, items: [{ ...c.items[0], index: null }] })],
    ['null', () => null],
  ])('with %s', (_, change) => {
    expect(
      refusal(() => decodeAnyBundle(jcsBytes({ ...json(), completeness: change(json().completeness) }))),
    ).toBe('BUNDLE_MALFORMED')
  })
})
