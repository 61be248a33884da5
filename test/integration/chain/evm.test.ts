import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { EvmSourceSettings } from '../../../src/chain/evm.ts'
import type { Hex } from '../../../src/core/bytes.ts'
import { type Clock, systemClock } from '../../../src/core/clock.ts'
import { atHead, follow, followLive, Replay, sourceOf, truth } from '../../support/follow.ts'
import { startTraffic, type TrafficChain } from '../../support/traffic.ts'

let chain: TrafficChain

const start = async () => {
  chain = await startTraffic()
}
const toHead = async (settings: Partial<EvmSourceSettings> = {}, replay = new Replay()) => {
  const { source, reports } = sourceOf(chain, settings)
  await follow(source, replay, () => atHead(chain, replay))
  return { replay, reports, source }
}

describe('reading history', () => {
  beforeAll(async () => {
    await start()
    for (const [events, empty] of [
      [3, 40],
      [1, 0],
      [20, 0],
      [2, 1],
      [5, 90],
      [4, 2],
    ] as const) {
      await chain.submitBlock(events)
      if (empty > 0) await chain.emptyBlocks(empty)
    }
  })
  afterAll(() => chain.stop())

  it.each([1, 2, 7, 1_000])('gives the same events by ranges of %i blocks', async (blocks) => {
    const ranges = { firstBlocks: blocks, mostBlocks: blocks, wantedLogs: 1_000 }
    const { replay } = await toHead({ ranges })
    const expected = await truth(chain)
    expect(expected.length).toBeGreaterThan(40)
    expect(new Set(expected.map((event) => event.type))).toEqual(
      new Set([
        'validatorAdded',
        'quorumChanged',
        'leafPolicyAdded',
        'datasetUpdated',
        'keyRegistered',
        'sensorRegistered',
        'submitted',
      ]),
    )
    expect(replay.events()).toEqual(expected)
    expect(replay.of('rollback')).toEqual([])
    // Empty blocks in the middle of a range are left out; its ends are there.
    if (blocks === 1_000) expect(replay.blocks.length).toBeLessThan(30)
    else expect(replay.blocks.length).toBeGreaterThan(30)
  })

  it('gives the same by narrow ranges that follow the number of logs', async () => {
    const { replay } = await toHead({
      ranges: { firstBlocks: 5, mostBlocks: 50, wantedLogs: 4 },
      readAhead: 4,
    })
    expect(replay.events()).toEqual(await truth(chain))
  })

  it('gives the same block by block, with every block there', async () => {
    const { replay } = await toHead({ finality: { confirmations: 10_000 } })
    expect(replay.events()).toEqual(await truth(chain))
    expect(replay.blocks.map(({ number }) => number)).toEqual(
      Array.from({ length: (await chain.height()) - chain.block + 1 }, (_, i) => chain.block + i),
    )
    expect(replay.of('final')).toEqual([])
  })

  it('gives each block’s time, hash and parent as the chain has them', async () => {
    const { replay } = await toHead()
    for (const block of replay.blocks) {
      const raw = (await chain.rpc('eth_getBlockByNumber', [
        `0x${block.number.toString(16)}`,
        false,
      ])) as Record<string, Hex>
      expect(block).toMatchObject({
        hash: raw['hash'],
        parentHash: raw['parentHash'],
        time: Number(raw['timestamp']),
      })
    }
  })

  it('starts at block 0 when told to', async () => {
    const { replay } = await toHead({ startBlock: 0 })
    expect(replay.blocks[0]).toMatchObject({ number: 0 })
    expect(replay.events()).toEqual(await truth(chain))
  })

  it('goes on from wherever it was stopped', async () => {
    const replay = new Replay()
    const settings = { ranges: { firstBlocks: 9, mostBlocks: 9, wantedLogs: 100 } }
    for (let round = 0; round < 500 && !(await atHead(chain, replay)); round++) {
      const { source } = sourceOf(chain, settings)
      const before = replay.steps.length
      // Stops after the first thing that moves the cursor.
      await follow(source, replay, () => replay.steps.slice(before).some(({ kind }) => kind === 'append'))
    }
    expect(await atHead(chain, replay)).toBe(true)
    expect(replay.events()).toEqual(await truth(chain))
    expect(replay.of('rollback')).toEqual([])
  })

  it('says which chain it is and how it does', async () => {
    const { source, replay } = await toHead()
    const genesis = (await chain.rpc('eth_getBlockByNumber', ['0x0', false])) as { hash: Hex }
    expect(await source.identity()).toEqual({ chain: 'eip155:31337', genesisHash: genesis.hash })
    expect(await source.blockAt(replay.tip?.number ?? 0)).toEqual(replay.tip)
    expect(await source.blockAt(1_000_000)).toBeNull()
    expect(source.status()).toMatchObject({
      phase: 'stopped',
      tip: replay.tip,
      head: replay.tip,
      failures: 0,
      lastError: null,
    })
  })

  it('is followed by one at a time', async () => {
    const { source } = sourceOf(chain)
    const stop = new AbortController()
    const first = source.follow(null, stop.signal)[Symbol.asyncIterator]()
    await first.next()
    await expect(source.follow(null, stop.signal)[Symbol.asyncIterator]().next()).rejects.toThrow(
      'followed already',
    )
    await first.return?.()
    expect((await source.follow(null, stop.signal)[Symbol.asyncIterator]().next()).done).toBe(false)
  })
})

describe('at the head', () => {
  beforeEach(async () => {
    await start()
    return () => chain.stop()
  })

  it('gives while they are mined the same events as reading them later', async () => {
    const live = followLive(sourceOf(chain).source)
    for (let i = 0; i < 20; i++) {
      await chain.submitBlock(i % 4)
      await chain.emptyBlocks(1)
    }
    await live.caughtUp(chain)
    await live.stop()
    const { replay: later } = await toHead()
    expect(later.events()).toEqual(await truth(chain))
    expect(live.replay.events()).toEqual(later.events())
    expect(live.replay.of('rollback')).toEqual([])
    expect(live.replay.of('head').at(-1)?.head).toEqual(live.replay.tip)
  })

  it.each([
    ['the chain’s own tag', 'finalized', null],
    ['three confirmations', { confirmations: 3 }, 3],
    ['none', { confirmations: 0 }, 0],
  ] as const)('moves finality by %s', async (_, finality, behind) => {
    const { source } = sourceOf(chain, { finality })
    const live = followLive(source)
    for (let i = 0; i < 5; i++) {
      await chain.submitBlock(1)
      await live.caughtUp(chain)
      const tag = behind === null ? 'finalized' : `0x${((await chain.height()) - behind).toString(16)}`
      const raw = (await chain.rpc('eth_getBlockByNumber', [tag, false])) as Record<string, Hex>
      const final = { number: Number(raw['number']), hash: raw['hash'], time: Number(raw['timestamp']) }
      await live.until(() => live.replay.final?.number === final.number)
      expect(live.replay.final).toEqual(final)
      expect(source.status().final).toEqual(final)
    }
    await live.stop()
    expect(live.replay.of('final').length).toBeGreaterThanOrEqual(5)
  })

  it('looks at once when woken', async () => {
    let sleeping: AbortSignal | undefined
    const clock: Clock = {
      now: systemClock.now,
      sleep: (ms, signal) => {
        sleeping = signal
        return systemClock.sleep(ms, signal)
      },
    }
    const { source } = sourceOf(chain, { pollMs: 3_600_000 }, {}, clock)
    const live = followLive(source)
    await live.until(() => source.status().lastSuccess !== null)
    await chain.submitBlock(1)
    source.wake()
    await live.caughtUp(chain)
    expect(live.replay.events()).toEqual(await truth(chain))
    await live.until(() => sleeping?.aborted === false)
    // It waits for an hour now, and stops at once all the same.
    await live.stop()
    expect(source.status().phase).toBe('stopped')
  })
})

describe('reorganisations', () => {
  const finality = { confirmations: 30 }
  beforeEach(async () => {
    await start()
    for (let i = 0; i < 3; i++) await chain.submitBlock(2)
    return () => chain.stop()
  })

  it.each([1, 4, 12])('takes back %i blocks and follows the new branch', async (depth) => {
    const { source, reports } = sourceOf(chain, { finality })
    const live = followLive(source)
    const fork = await chain.height()
    const snapshot = await chain.snapshot()
    for (let i = 0; i < depth; i++) await chain.submitBlock(1)
    await live.caughtUp(chain)
    const abandoned = live.replay.tip
    await chain.revertTo(snapshot)
    for (let i = 0; i < depth; i++) await chain.submitBlock(2)
    await live.caughtUp(chain)
    await live.stop()
    expect(live.replay.events()).toEqual(await truth(chain))
    // The old branch is longer than the new one for a while, so it may be taken back in more than one step.
    const rollbacks = live.replay.of('rollback')
    expect(rollbacks.length).toBeGreaterThan(0)
    expect(rollbacks.map(({ to }) => to.number)).toContain(fork)
    expect(live.replay.blocks.map(({ hash }) => hash)).not.toContain(abandoned?.hash)
    expect(reports.filter(({ kind }) => kind === 'reorg')).toHaveLength(rollbacks.length)
  })

  it('survives many of random depth while events go on', async () => {
    const live = followLive(sourceOf(chain, { finality }).source)
    const depths = [3, 1, 7, 2, 5]
    for (const depth of depths) {
      for (let i = 0; i < depth + 2; i++) await chain.submitBlock(i % 3)
      if (depth % 2 === 1) await live.caughtUp(chain)
      await chain.rpc('anvil_reorg', [depth, []])
      if (depth > 2) await live.caughtUp(chain)
    }
    await chain.submitBlock(0)
    await live.caughtUp(chain)
    await live.stop()
    expect(live.replay.events()).toEqual(await truth(chain))
    expect(live.replay.of('rollback').length).toBeGreaterThan(0)
  })

  it('is found at the start, at the same height, after having been away', async () => {
    const snapshot = await chain.snapshot()
    const fork = await chain.height()
    for (let i = 0; i < 4; i++) await chain.submitBlock(1)
    const { replay } = await toHead({ finality })
    const height = replay.tip?.number
    const seen = replay.steps.length
    await chain.revertTo(snapshot)
    for (let i = 0; i < 4; i++) await chain.submitBlock(3)
    expect(await chain.height()).toBe(height)
    await toHead({ finality }, replay)
    expect(replay.events()).toEqual(await truth(chain))
    const since = replay.steps.slice(seen).filter(({ kind }) => kind !== 'head')
    expect(since[0]).toMatchObject({ kind: 'rollback', to: { number: fork } })
  })

  it('falls back over the gaps of a cursor that keeps few blocks', async () => {
    const kept = await chain.height()
    await chain.submitBlock(1)
    const snapshot = await chain.snapshot()
    for (let i = 0; i < 4; i++) await chain.submitBlock(1)
    const { replay } = await toHead({ finality })
    await chain.revertTo(snapshot)
    for (let i = 0; i < 4; i++) await chain.submitBlock(3)
    replay.blocks = replay.blocks.filter(({ number }) => number <= kept || number === replay.tip?.number)
    const { source } = sourceOf(chain, { finality })
    await follow(source, replay, () => atHead(chain, replay))
    expect(replay.of('rollback').map(({ to }) => to.number)).toEqual([kept])
    expect(replay.events()).toEqual(await truth(chain))
  })

  it('to a shorter chain is believed after a while, and not at once', async () => {
    const fork = await chain.height()
    const snapshot = await chain.snapshot()
    await chain.submitBlock(1)
    await chain.submitBlock(1)
    let now = 1_000_000
    const clock = { ...systemClock, now: () => now }
    const settings = { pollMs: 2, shorterMs: 5_000, finality }
    const { source } = sourceOf(chain, settings, {}, clock)
    const live = followLive(source)
    await live.caughtUp(chain)
    const tip = live.replay.tip
    await chain.revertTo(snapshot)
    await live.until(() => source.status().head?.number === fork)
    now += 4_000
    // Two more looks at the shorter chain, each a success with the time of its end.
    for (let i = 0; i < 2; i++) {
      now += 1
      const later = now
      await live.until(() => (source.status().lastSuccess ?? 0) >= later)
    }
    expect(live.replay.tip).toEqual(tip)
    now += 2_000
    await live.caughtUp(chain)
    expect(live.replay.of('rollback').map(({ to }) => to.number)).toEqual([fork])
    await live.stop()
  })

  it('below a final block ends the walk with what to do', async () => {
    const snapshot = await chain.snapshot()
    for (let i = 0; i < 6; i++) await chain.submitBlock(1)
    const { replay } = await toHead({ finality: { confirmations: 2 } })
    const final = await chain.height()
    await chain.revertTo(snapshot)
    for (let i = 0; i < 8; i++) await chain.submitBlock(2)
    await expect(toHead({ finality: { confirmations: 2 } }, replay)).rejects.toMatchObject({
      code: 'REORG_BEYOND_FINALITY',
      retryable: false,
      hint: expect.stringContaining('--fresh'),
      details: { number: replay.final?.number },
    })
    expect(replay.final?.number).toBeLessThanOrEqual(final - 2)
    expect(replay.of('rollback')).toEqual([])
  })

  it('of all that was read before anything was final goes back to the block before the start', async () => {
    const startBlock = await chain.height()
    const snapshot = await chain.snapshot()
    for (let i = 0; i < 2; i++) await chain.submitBlock(1)
    const settings = { startBlock: startBlock + 1, finality }
    const { replay } = await toHead(settings)
    expect(replay.final).toBeNull()
    await chain.revertTo(snapshot)
    for (let i = 0; i < 2; i++) await chain.submitBlock(3)
    await toHead(settings, replay)
    expect(replay.of('rollback').map(({ to }) => to.number)).toEqual([startBlock])
    expect(replay.events()).toHaveLength(6)
    expect(replay.events()).toEqual((await truth(chain)).slice(-6))
  })

  it('of the start itself begins anew above the block that took its place', async () => {
    const snapshot = await chain.snapshot()
    await chain.submitBlock(1)
    const startBlock = (await chain.height()) + 1
    await chain.submitBlock(2)
    const live = followLive(sourceOf(chain, { startBlock, finality }).source)
    await live.caughtUp(chain)
    expect(live.replay.events()).toHaveLength(2)
    await chain.revertTo(snapshot)
    for (const events of [3, 4, 5]) await chain.submitBlock(events)
    await live.caughtUp(chain)
    await live.stop()
    expect(live.replay.of('rollback').map(({ to }) => to.number)).toEqual([startBlock - 1])
    expect(live.replay.events()).toEqual((await truth(chain)).slice(-9))
  })
})
