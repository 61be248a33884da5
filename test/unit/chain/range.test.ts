import { describe, expect, it } from 'vitest'
import { BACKOFF, backoffMs } from '../../../src/chain/backoff.ts'
import { RangeWidth } from '../../../src/chain/range.ts'

const limits = { firstBlocks: 100, mostBlocks: 1_000, wantedLogs: 500 }

describe('RangeWidth', () => {
  it('doubles over empty stretches up to the most', () => {
    const width = new RangeWidth(limits)
    const seen = [width.blocks]
    for (let i = 0; i < 5; i++) {
      width.answered(width.blocks, 0)
      seen.push(width.blocks)
    }
    expect(seen).toEqual([100, 200, 400, 800, 1_000, 1_000])
  })
  it('aims at the wanted number of logs', () => {
    const width = new RangeWidth(limits)
    width.answered(100, 5_000)
    expect(width.blocks).toBe(10)
    width.answered(10, 500)
    expect(width.blocks).toBe(10)
    width.answered(10, 250)
    expect(width.blocks).toBe(20)
  })
  it('stays at one block at least', () => {
    const width = new RangeWidth(limits)
    width.answered(1, 100_000)
    expect(width.blocks).toBe(1)
    width.refused(1)
    expect(width.blocks).toBe(1)
  })
  it('halves what was refused, does not try it again at once, and does later', () => {
    const width = new RangeWidth(limits)
    width.refused(100)
    expect(width.blocks).toBe(50)
    let answers = 0
    while (width.blocks < 100 && answers < 100) {
      width.answered(width.blocks, 0)
      answers++
      if (answers < 16) expect(width.blocks).toBeLessThan(100)
    }
    expect(width.blocks).toBeGreaterThanOrEqual(100)
  })
  it('does not learn narrowness from a short last range', () => {
    const width = new RangeWidth(limits)
    width.answered(3, 200)
    expect(width.blocks).toBe(100)
  })
})

describe('backoffMs', () => {
  it('doubles to a ceiling, with jitter over the upper half', () => {
    expect([1, 2, 3].map((n) => backoffMs(n, () => 0))).toEqual([50, 100, 200])
    expect([1, 2, 3].map((n) => backoffMs(n, () => 0.5))).toEqual([75, 150, 300])
    expect(backoffMs(1_000, () => 0)).toBe(BACKOFF.longestMs / 2)
  })
  it('waits at least as long as was asked for, within reason', () => {
    expect(backoffMs(1, () => 0, 3_000)).toBe(3_000)
    expect(backoffMs(1, () => 0, 86_400_000)).toBe(BACKOFF.longestAskedMs)
  })
})
