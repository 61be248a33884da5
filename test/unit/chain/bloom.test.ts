import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { bloomBits, bloomFill, bloomHas, bloomOf } from '../../../src/chain/bloom.ts'
import { type Hex, toHex } from '../../../src/core/bytes.ts'

const hex = (size: number) => fc.uint8Array({ minLength: size, maxLength: size }).map(toHex)

describe('logs bloom', () => {
  it('sets the bits of go-ethereum’s bloom test', () => {
    // core/types/bloom9_test.go: positive items are found, the others are not.
    const text = (value: string): Hex => toHex(new TextEncoder().encode(value))
    const bloom = bloomOf(
      ['testtest', 'test', 'hallo', 'other'].map((value) => ({ address: text(value), topics: [] })),
    )
    for (const value of ['testtest', 'test', 'hallo', 'other'])
      expect(bloomHas(bloom, bloomBits(text(value)))).toBe(true)
    for (const value of ['tes', 'lo']) expect(bloomHas(bloom, bloomBits(text(value)))).toBe(false)
  })

  it('is as full as it has bits', () => {
    expect(bloomFill(`0x${'00'.repeat(256)}`)).toBe(0)
    expect(bloomFill(`0x${'ff'.repeat(256)}`)).toBe(1)
    expect(bloomFill(`0x${'10'.repeat(255)}03`)).toBe(257 / 2048)
    expect(bloomFill(bloomOf([{ address: `0x${'11'.repeat(20)}`, topics: [] }]))).toBe(3 / 2048)
  })

  it('has every address and topic put in, and nothing when empty', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ address: hex(20), topics: fc.array(hex(32), { maxLength: 4 }) }), {
          maxLength: 5,
        }),
        hex(20),
        (logs, other) => {
          const bloom = bloomOf(logs)
          expect(bloom).toHaveLength(514)
          for (const log of logs)
            for (const item of [log.address, ...log.topics])
              expect(bloomHas(bloom, bloomBits(item))).toBe(true)
          expect(bloomHas(bloomOf([]), bloomBits(other))).toBe(false)
        },
      ),
      { numRuns: 50 },
    )
  })
})
