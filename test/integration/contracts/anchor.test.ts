import { type Log, parseEventLogs } from 'viem'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type AnchorOptions, deployAnchor } from '../../../src/chain/deploy.ts'
import { nextAnchorChain } from '../../../src/chain/record.ts'
import { anchorSlots, decodeAnchorCounts, decodeWord, registrySlots } from '../../../src/chain/slots.ts'
import type { Hex } from '../../../src/core/bytes.ts'
import { anchorAt, CHAIN_ID, type Chain, startChain, textHash, word } from '../../support/contracts.ts'
import { referenceTree } from '../../support/merkle-reference.ts'

const NOBODY: Hex = `0x${'00'.repeat(20)}`
const EMPTY_ROOT = textHash('')
const tree = referenceTree(word)

let chain: Chain
let snapshot: unknown
let admin: Hex
let anchorer: Hex
let stranger: Hex

beforeAll(async () => {
  chain = await startChain()
  admin = chain.accounts[0]!
  anchorer = chain.accounts[4]!
  stranger = chain.accounts[5]!
  await chain.send(admin, chain.anchor, 'grantRole', [await read('ANCHOR_ROLE'), anchorer])
  await setSettled(100)
})
afterAll(() => chain?.stop())
beforeEach(async () => {
  snapshot = await chain.snapshot()
})
afterEach(() => chain.revertTo(snapshot))

const read = (name: string, ...args: unknown[]) => chain.read(chain.anchor, name, args)
const send = (from: Hex, name: string, ...args: unknown[]) => chain.send(from, chain.anchor, name, args)
const revertOf = (from: Hex, name: string, ...args: unknown[]) =>
  chain.revertOf(from, chain.anchor, name, args)
const errorOf = async (from: Hex, name: string, ...args: unknown[]) =>
  (await revertOf(from, name, ...args))?.name

/** Writes the registry's settled count straight into its slot: settling that many would take minutes. */
const setSettled = (count: number) =>
  chain.rpc('anvil_setStorageAt', [chain.registry.address, registrySlots.settledCount(), word(count)])

/** Another ReceiptAnchor; over the same registry and with an origin of its own unless told. */
const another = async (options: Partial<AnchorOptions>) => {
  const { address } = await deployAnchor({
    client: chain.client,
    deployer: { address: admin, type: 'json-rpc' },
    admin,
    anchorer: admin,
    registry: chain.registry.address,
    policyHash: word(0),
    origin: 'example.org/2',
    ...options,
  })
  return anchorAt(address)
}

const anchor = (from: number, to: number) =>
  send(anchorer, 'anchor', BigInt(to), tree.root(to), tree.consistency(from, to))

describe('anchor', () => {
  it('starts as the empty tree', async () => {
    expect(await read('head')).toEqual([EMPTY_ROOT, 0n, 0n, 0n, 0n, word(0)])
    expect((await send(anchorer, 'anchor', 0n, EMPTY_ROOT, [])).events).toEqual([])
    expect(await revertOf(anchorer, 'anchor', 0n, word(1), [])).toEqual({ name: 'RootConflict', args: [0n] })
  })

  it('keeps head, event, hash chain and slots over several anchors', async () => {
    let previous = { size: 0, root: EMPTY_ROOT, chain: word(0) }
    for (const [i, size] of [1, 2, 5, 8, 13, 100].entries()) {
      const { events, block, time } = await anchor(previous.size, size)
      const fields = {
        chainId: CHAIN_ID,
        anchor: chain.anchor.address,
        seq: i + 1,
        size,
        root: tree.root(size),
      }
      const next = nextAnchorChain(previous.chain, { ...fields, blockNumber: block, time })
      expect(events).toEqual([
        {
          name: 'Anchored',
          args: {
            seq: BigInt(i + 1),
            size: BigInt(size),
            root: tree.root(size),
            previousSize: BigInt(previous.size),
            previousRoot: previous.root,
            chain: next,
          },
        },
      ])
      const head = [tree.root(size), BigInt(size), BigInt(i + 1), BigInt(block), BigInt(time), next]
      expect(await read('head')).toEqual(head)
      expect(decodeWord(await chain.slot(chain.anchor, anchorSlots.root()))).toBe(tree.root(size))
      expect(decodeWord(await chain.slot(chain.anchor, anchorSlots.chain()))).toBe(next)
      expect(decodeAnchorCounts(await chain.slot(chain.anchor, anchorSlots.counts()))).toEqual({
        size,
        seq: i + 1,
        blockNumber: block,
        time,
      })
      previous = { size, root: tree.root(size), chain: next }
    }
  })

  it('takes the anchored size and root again as a no-op', async () => {
    await anchor(0, 7)
    const head = await read('head')
    expect((await anchor(7, 7)).events).toEqual([])
    expect(await read('head')).toEqual(head)
  })

  it('refuses a smaller size, another root, more than is settled, and a wrong proof', async () => {
    await anchor(0, 7)
    const args = (to: number) => [BigInt(to), tree.root(to), tree.consistency(7, to)] as const
    expect(await revertOf(anchorer, 'anchor', 6n, tree.root(6), [])).toEqual({
      name: 'SizeShrinks',
      args: [7n, 6n],
    })
    expect(await revertOf(anchorer, 'anchor', 7n, tree.root(6), [])).toEqual({
      name: 'RootConflict',
      args: [7n],
    })
    expect(await revertOf(anchorer, 'anchor', ...args(101))).toEqual({
      name: 'SizeAboveSettled',
      args: [100n, 101n],
    })
    expect(await revertOf(anchorer, 'anchor', ...args(100))).toBeNull()
    expect(await errorOf(anchorer, 'anchor', 8n, tree.root(8), [])).toBe('BadConsistencyProof')
    expect(await errorOf(anchorer, 'anchor', 8n, tree.root(9), tree.consistency(7, 8))).toBe(
      'BadConsistencyProof',
    )
    expect(await errorOf(anchorer, 'anchor', 8n, tree.root(8), [...tree.consistency(7, 8), word(1)])).toBe(
      'BadConsistencyProof',
    )
  })

  it('refuses a proof from size 0', async () => {
    expect(await errorOf(anchorer, 'anchor', 3n, tree.root(3), [word(1)])).toBe('BadConsistencyProof')
  })

  it('is for the role only, which the admin rotates', async () => {
    expect(await errorOf(stranger, 'anchor', 1n, tree.root(1), [])).toBe('AccessControlUnauthorizedAccount')
    const role = await read('ANCHOR_ROLE')
    await send(admin, 'grantRole', role, stranger)
    await send(admin, 'revokeRole', role, anchorer)
    expect(await errorOf(anchorer, 'anchor', 1n, tree.root(1), [])).toBe('AccessControlUnauthorizedAccount')
    expect(await errorOf(stranger, 'anchor', 1n, tree.root(1), [])).toBeUndefined()
    expect(await errorOf(stranger, 'grantRole', role, anchorer)).toBe('AccessControlUnauthorizedAccount')
  })
})

describe('leaf policies', () => {
  it('begin at 0 and are appended for indices that are not settled', async () => {
    expect(await read('leafPolicyCount')).toBe(1n)
    expect(await read('leafPolicy', 0n)).toEqual([0n, word(0)])
    expect(await revertOf(admin, 'addLeafPolicy', 99n, word(5))).toEqual({
      name: 'BadFirstIndex',
      args: [99n],
    })
    const { events } = await send(admin, 'addLeafPolicy', 100n, word(5))
    expect(events).toEqual([{ name: 'LeafPolicyAdded', args: { firstIndex: 100n, policyHash: word(5) } }])
    expect(await errorOf(admin, 'addLeafPolicy', 100n, word(6))).toBe('BadFirstIndex')
    await send(admin, 'addLeafPolicy', 101n, word(6))
    expect(await read('leafPolicyCount')).toBe(3n)
    expect(await read('leafPolicy', 1n)).toEqual([100n, word(5)])
    expect(await read('leafPolicy', 2n)).toEqual([101n, word(6)])
    expect(await chain.revertOf(admin, chain.anchor, 'leafPolicy', [3n])).toEqual({
      name: 'UnknownLeafPolicy',
      args: [3n],
    })
    expect(await errorOf(anchorer, 'addLeafPolicy', 200n, word(7))).toBe('AccessControlUnauthorizedAccount')
  })

  it('never begin again at 0', async () => {
    await setSettled(0)
    expect(await errorOf(admin, 'addLeafPolicy', 0n, word(5))).toBe('BadFirstIndex')
    expect(await errorOf(admin, 'addLeafPolicy', 1n, word(5))).toBeUndefined()
  })
})

describe('pause', () => {
  it('stops anchors until the admin unpauses', async () => {
    expect(await errorOf(admin, 'unpause')).toBe('NotPaused')
    expect(await errorOf(anchorer, 'pause')).toBe('AccessControlUnauthorizedAccount')
    expect((await send(admin, 'pause')).events).toEqual([{ name: 'Paused', args: { account: admin } }])
    expect(await read('paused')).toBe(true)
    expect(await errorOf(admin, 'pause')).toBe('LogPaused')
    expect(await errorOf(anchorer, 'anchor', 1n, tree.root(1), [])).toBe('LogPaused')
    expect(await errorOf(anchorer, 'unpause')).toBe('AccessControlUnauthorizedAccount')
    expect((await send(admin, 'unpause')).events).toEqual([{ name: 'Unpaused', args: { account: admin } }])
    expect(await read('paused')).toBe(false)
    await anchor(0, 1)
  })

  it('leaves the head in its slot as it was', async () => {
    await anchor(0, 9)
    const before = decodeAnchorCounts(await chain.slot(chain.anchor, anchorSlots.counts()))
    await send(admin, 'pause')
    expect(decodeAnchorCounts(await chain.slot(chain.anchor, anchorSlots.counts()))).toEqual(before)
  })
})

describe('close', () => {
  it('ends the log for good', async () => {
    await anchor(0, 9)
    const { events } = await send(admin, 'close', NOBODY, 9n, tree.root(9))
    expect(events).toEqual([
      { name: 'Closed', args: { successor: NOBODY, lastGoodSize: 9n, lastGoodRoot: tree.root(9) } },
    ])
    expect(await read('closure')).toEqual([true, NOBODY, 9n, tree.root(9)])
    expect(await read('paused')).toBe(false)
    expect(await errorOf(anchorer, 'anchor', 10n, tree.root(10), tree.consistency(9, 10))).toBe('LogClosed')
    expect(await errorOf(anchorer, 'anchor', 9n, tree.root(9), [])).toBe('LogClosed')
    for (const [name, ...args] of [
      ['pause'],
      ['unpause'],
      ['addLeafPolicy', 200n, word(1)],
      ['close', NOBODY, 9n, tree.root(9)],
    ] as const)
      expect(await errorOf(admin, name, ...args)).toBe('LogClosed')
    expect((await read('head')) as unknown[]).toContain(tree.root(9))
  })

  it('also ends a paused log', async () => {
    await send(admin, 'pause')
    await send(admin, 'close', NOBODY, 0n, EMPTY_ROOT)
    expect(await errorOf(admin, 'unpause')).toBe('LogClosed')
  })

  it('refuses a last good tree that contradicts the anchored one', async () => {
    await anchor(0, 9)
    expect(await errorOf(anchorer, 'close', NOBODY, 9n, tree.root(9))).toBe(
      'AccessControlUnauthorizedAccount',
    )
    for (const [size, root] of [
      [10n, tree.root(10)],
      [9n, tree.root(8)],
      [0n, word(0)],
    ] as const)
      expect(await errorOf(admin, 'close', NOBODY, size, root)).toBe('BadLastGood')
    expect(await errorOf(admin, 'close', NOBODY, 5n, tree.root(5))).toBeUndefined()
    expect(await errorOf(admin, 'close', NOBODY, 0n, EMPTY_ROOT)).toBeUndefined()
  })

  it('names a successor only when that one commits to the same place', async () => {
    await anchor(0, 9)
    const predecessor = { log: chain.anchor.address, size: 5, root: tree.root(5) }
    const next = await another({ predecessor })
    expect(await chain.read(next, 'predecessor')).toBe(chain.anchor.address)
    expect(await chain.read(next, 'predecessorSize')).toBe(5n)
    expect(await chain.read(next, 'predecessorRoot')).toBe(tree.root(5))
    expect(await errorOf(admin, 'close', next.address, 6n, tree.root(6))).toBe('BadSuccessor')
    expect(await errorOf(admin, 'close', next.address, 5n, tree.root(6))).toBe('BadSuccessor')
    expect(await errorOf(admin, 'close', stranger, 5n, tree.root(5))).toBe('BadSuccessor')
    const foreign = await another({ predecessor: { ...predecessor, log: next.address }, origin: 'c' })
    expect(await errorOf(admin, 'close', foreign.address, 5n, tree.root(5))).toBe('BadSuccessor')
    await send(admin, 'close', next.address, 5n, tree.root(5))
    expect(await read('closure')).toEqual([true, next.address, 5n, tree.root(5)])
    expect(await chain.read(next, 'head')).toEqual([EMPTY_ROOT, 0n, 0n, 0n, 0n, word(0)])
    await chain.send(admin, next, 'anchor', [4n, tree.root(4), []])
  })

  it('a successor has a new origin and the same registry', async () => {
    const predecessor = { log: chain.anchor.address, size: 0, root: EMPTY_ROOT }
    await expect(another({ predecessor, origin: 'example.org/log' })).rejects.toThrow('OriginReused')
    const { registry } = await chain.deploy()
    await expect(another({ predecessor, registry })).rejects.toThrow('RegistryMismatch')
    for (const nothing of [
      { size: 1, root: word(0) },
      { size: 0, root: word(1) },
    ])
      await expect(another({ predecessor: { log: NOBODY, ...nothing } })).rejects.toThrow('BadPredecessor')
    const next = await another({ predecessor })
    const created = await chain.rpc('eth_getLogs', [{ address: next.address, fromBlock: '0x0' }])
    const names = parseEventLogs({ abi: next.abi, logs: created as Log[] }).map(
      (e) => (e as never)['eventName'],
    )
    expect(names.filter((name) => name === 'Succeeded')).toHaveLength(1)
  })
})

describe('deployment', () => {
  it.each([
    '',
    'a b',
    'a+b',
    'a\n',
    '\u007f',
    'é',
    'a'.repeat(129),
    'a\0',
  ])('refuses the origin %j', async (origin) => {
    await expect(another({ origin })).rejects.toThrow('BadOrigin')
  })

  it.each(['a', '!~', 'a'.repeat(128), 'example.org/log-1_(2)'])('takes the origin %j', async (origin) => {
    expect(await chain.read(await another({ origin }), 'origin')).toBe(origin)
  })

  it('refuses what is no registry, and no admin', async () => {
    await expect(another({ registry: stranger })).rejects.toThrow()
    await expect(another({ registry: chain.anchor.address })).rejects.toThrow()
    await expect(another({ admin: NOBODY })).rejects.toThrow('AccessControlInvalidDefaultAdmin')
  })

  it('starts with what it was given', async () => {
    expect(await read('registry')).toBe(chain.registry.address)
    expect(await read('origin')).toBe('example.org/log')
    expect(await read('predecessor')).toBe(NOBODY)
    expect(await read('closure')).toEqual([false, NOBODY, 0n, word(0)])
    expect(await read('defaultAdmin')).toBe(admin)
    expect(await read('defaultAdminDelay')).toBe(86_400)
  })
})
