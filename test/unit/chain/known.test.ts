import { describe, expect, it } from 'vitest'
import { KnownBlocks } from '../../../src/chain/known.ts'
import type { BlockRef } from '../../../src/chain/source.ts'

const block = (number: number): BlockRef => ({
  number,
  hash: `0x${number.toString(16).padStart(64, '0')}`,
  time: number,
})
const [a, b, c, d] = [block(10), block(12), block(13), block(20)] as const

describe('KnownBlocks', () => {
  it('knows floor, tip and what lies between', () => {
    const known = new KnownBlocks([a, b, c], true)
    expect([known.floor, known.tip, known.final]).toEqual([a, c, a])
    expect([...known.newestFirst()]).toEqual([c, b, a])
    expect(known.at(12)).toBe(b)
    expect(known.at(11)).toBeUndefined()
    expect([9, 10, 11, 12, 13, 99].map((number) => known.newestUpTo(number))).toEqual([
      undefined,
      undefined,
      undefined,
      b,
      c,
      c,
    ])
  })
  it('grows, is cut, settles and begins anew', () => {
    const known = new KnownBlocks([a], false)
    expect(known.final).toBeNull()
    for (const next of [b, c, d]) known.append(next)
    known.cutAbove(c)
    expect(known.tip).toBe(c)
    known.settle(b)
    expect([known.floor, known.final, known.tip]).toEqual([b, b, c])
    known.settle(c)
    expect([...known.newestFirst()]).toEqual([c])
    known.restart(d)
    expect([known.floor, known.tip, known.final]).toEqual([d, d, null])
  })
})
