import fc from 'fast-check'
import { encodeAbiParameters, keccak256, parseAbiParameters } from 'viem'
import { describe, expect, it } from 'vitest'
import anchorArtifact from '../../../contracts/artifacts/ReceiptAnchor.json' with { type: 'json' }
import registryArtifact from '../../../contracts/artifacts/SensorRegistry.json' with { type: 'json' }
import {
  anchorSlots,
  decodeAnchorCounts,
  decodeHeadCounts,
  decodeTotals,
  decodeWord,
  LAYOUT_VERSION,
  registrySlots,
} from '../../../src/chain/slots.ts'
import { type Hex, toHex, u256be } from '../../../src/core/bytes.ts'

const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 }).map(toHex)
const address = fc.uint8Array({ minLength: 20, maxLength: 20 }).map(toHex)
const word = (value: bigint): Hex => toHex(u256be(value))

const mapped = (type: string, key: unknown, slot: Hex): Hex =>
  keccak256(encodeAbiParameters(parseAbiParameters(`${type}, bytes32`), [key, slot] as never))

describe('slots', () => {
  it("follow Solidity's rules for mappings", () => {
    fc.assert(
      fc.property(bytes32, address, fc.maxSafeNat(), (id, account, k) => {
        expect(registrySlots.record(id)).toBe(mapped('bytes32', id, word(0n)))
        const head = mapped('address', account, word(1n))
        expect(registrySlots.acc(account)).toBe(head)
        expect(registrySlots.headCounts(account)).toBe(word(BigInt(head) + 1n))
        expect(registrySlots.accAt(account, k)).toBe(
          mapped('uint64', BigInt(k), mapped('address', account, word(2n))),
        )
        expect(registrySlots.epochTotals(k)).toBe(mapped('uint64', BigInt(k), word(4n)))
      }),
    )
    expect(registrySlots.settledCount()).toBe(word(3n))
    expect([anchorSlots.root(), anchorSlots.counts(), anchorSlots.chain()]).toEqual([0n, 1n, 2n].map(word))
  })

  it('are where the compiler puts the published variables', () => {
    const places = (layout: readonly { label: string; slot: string; offset: number }[], count: number) =>
      layout.slice(0, count).map(({ label, slot, offset }) => `${label} ${slot} ${offset}`)
    expect(LAYOUT_VERSION).toBe(1)
    expect(places(registryArtifact.storageLayout, 5)).toEqual([
      '_record 0 0',
      '_contributors 1 0',
      '_accAt 2 0',
      '_totals 3 0',
      '_epochTotals 4 0',
    ])
    expect(places(anchorArtifact.storageLayout, 7)).toEqual([
      '_root 0 0',
      '_size 1 0',
      '_seq 1 8',
      '_blockNumber 1 16',
      '_time 1 22',
      '_status 1 28',
      '_chain 2 0',
    ])
  })

  it('refuse malformed ids and accounts', () => {
    expect(() => registrySlots.record('0x12')).toThrow('32 bytes')
    expect(() => registrySlots.acc('0x12')).toThrow('20 bytes')
    expect(() => registrySlots.accAt(`0x${'11'.repeat(20)}`, -1)).toThrow(RangeError)
  })
})

/** A value with and without its leading zeros, as hex and as bytes. */
function forms(value: bigint): (Hex | Uint8Array)[] {
  const full = u256be(value)
  const first = full.findIndex((byte) => byte !== 0)
  const short = first < 0 ? new Uint8Array(0) : full.slice(first)
  return [toHex(full), full, short, toHex(short)]
}

describe('values', () => {
  const u53 = fc.maxSafeNat()
  const u48 = fc.nat(2 ** 31 - 1).map((n) => n * 2 ** 17 + (n % 2 ** 17))
  const rest = fc.bigInt({ min: 0n, max: 2n ** 32n - 1n })

  it('come out as they were packed, whatever shares their slot', () => {
    fc.assert(
      fc.property(u53, u53, u53, u48, u48, rest, (a, b, c, d, e, high) => {
        const [x, y, z] = [BigInt(a), BigInt(b), BigInt(c)]
        for (const form of forms(x | (y << 64n) | (high << 128n)))
          expect(decodeHeadCounts(form)).toEqual({ seq: a, submitted: b })
        for (const form of forms(x | (y << 64n) | (z << 128n) | (high << 192n)))
          expect(decodeTotals(form)).toEqual({ settled: a, validated: b, rejected: c })
        for (const form of forms(
          x | (y << 64n) | (BigInt(d) << 128n) | (BigInt(e) << 176n) | ((high & 3n) << 224n),
        ))
          expect(decodeAnchorCounts(form)).toEqual({ size: a, seq: b, blockNumber: d, time: e })
      }),
    )
  })

  it('are words of 32 bytes where they are hashes', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 256n - 1n }), (value) => {
        for (const form of forms(value)) expect(decodeWord(form)).toBe(word(value))
      }),
    )
  })

  it('are refused when longer than a slot or beyond any real count', () => {
    expect(() => decodeWord(new Uint8Array(33))).toThrow(RangeError)
    expect(() => decodeWord(`0x${'00'.repeat(33)}`)).toThrow(RangeError)
    expect(() => decodeWord('0xzz')).toThrow(RangeError)
    expect(() => decodeWord('12' as Hex)).toThrow(RangeError)
    expect(() => decodeTotals(word(2n ** 53n))).toThrow(RangeError)
    expect(decodeTotals(word(2n ** 53n - 1n)).settled).toBe(Number.MAX_SAFE_INTEGER)
  })
})
