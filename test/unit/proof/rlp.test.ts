import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { fromHex, toHex, utf8 } from '../../../src/core/bytes.ts'
import { RlpError } from '../../../src/proof/error.ts'
import {
  decodeRlp,
  encodeRlp,
  minimalBytes,
  type RlpItem,
  rlpBytes,
  rlpList,
  rlpUint,
} from '../../../src/proof/rlp.ts'
import { minimal, rlp } from '../../support/trie.ts'

const lorem = 'Lorem ipsum dolor sit amet, consectetur adipisicing elit'

// The examples of the Ethereum documentation of RLP.
const examples: [string, RlpItem, string][] = [
  ['dog', utf8('dog'), '0x83646f67'],
  ['cat and dog', [utf8('cat'), utf8('dog')], '0xc88363617483646f67'],
  ['empty string', new Uint8Array(0), '0x80'],
  ['empty list', [], '0xc0'],
  ['byte 0', Uint8Array.of(0), '0x00'],
  ['byte 15', Uint8Array.of(15), '0x0f'],
  ['byte 128', Uint8Array.of(128), '0x8180'],
  ['1024', Uint8Array.of(4, 0), '0x820400'],
  ['set of three', [[], [[]], [[], [[]]]], '0xc7c0c1c0c3c0c1c0'],
  ['56 bytes', utf8(lorem), `0xb838${toHex(utf8(lorem)).slice(2)}`],
]

describe('decodeRlp', () => {
  it.each(examples)('%s', (_, item, hex) => {
    expect(decodeRlp(fromHex(hex))).toEqual(item)
    expect(toHex(encodeRlp(item))).toBe(hex)
  })

  it.each([
    ['nothing', '0x'],
    ['a byte after the item', '0x8000'],
    ['two items', '0xc0c0'],
    ['a cut string', '0x83646f'],
    ['a cut list', '0xc883636174'],
    ['a string cut inside its list', '0xc183'],
    ['a string that reaches beyond its list', '0xc2836161'],
    ['a byte below 0x80 with a prefix', '0x817f'],
    ['a long length below 56', '0xb801ff'],
    ['a long length of 55', `0xb837${'ff'.repeat(55)}`],
    ['a long list length below 56', '0xf800'],
    ['a length with a leading zero', `0xb90038${'ff'.repeat(56)}`],
    ['a length without bytes', '0xb9'],
    ['a length of 2^64 - 1', '0xbfffffffffffffffff'],
    ['a list length of 2^64 - 1', '0xffffffffffffffffff'],
    ['17 lists deep', `0x${Array.from({ length: 17 }, (_, i) => (0xc0 + 16 - i).toString(16)).join('')}`],
  ])('refuses %s', (_, hex) => {
    expect(() => decodeRlp(fromHex(hex))).toThrow(RlpError)
  })

  it('reads 16 lists deep', () => {
    const hex = `0x${Array.from({ length: 16 }, (_, i) => (0xc0 + 15 - i).toString(16)).join('')}`
    expect(toHex(encodeRlp(decodeRlp(fromHex(hex))))).toBe(hex)
  })

  const { tree } = fc.letrec<{ tree: RlpItem; leaf: Uint8Array; node: RlpItem[] }>((tie) => ({
    tree: fc.oneof({ maxDepth: 5 }, tie('leaf'), tie('node')),
    leaf: fc.uint8Array({ maxLength: 300 }),
    node: fc.array(tie('tree'), { maxLength: 8 }),
  }))

  it('inverts encoding, and agrees with the encoder of the tests', () => {
    fc.assert(
      fc.property(tree, (item) => {
        const bytes = encodeRlp(item)
        expect(bytes).toEqual(rlp(item))
        expect(decodeRlp(bytes)).toEqual(item)
      }),
      { numRuns: 500 },
    )
  })

  it('accepts no bytes but what it would write, and throws nothing but its own error', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
        let item: RlpItem
        try {
          item = decodeRlp(bytes)
        } catch (error) {
          expect(error).toBeInstanceOf(RlpError)
          return
        }
        expect(encodeRlp(item)).toEqual(bytes)
      }),
      { numRuns: 5_000 },
    )
  })
})

describe('shapes', () => {
  it('reads integers without leading zeros and of bounded width', () => {
    expect(rlpUint(new Uint8Array(0), 'n', 8)).toBe(0n)
    expect(rlpUint(Uint8Array.of(1, 0), 'n', 8)).toBe(256n)
    expect(() => rlpUint(Uint8Array.of(0), 'n', 8)).toThrow('n has a leading zero')
    expect(() => rlpUint(Uint8Array.of(0, 1), 'n', 8)).toThrow('n has a leading zero')
    expect(() => rlpUint(new Uint8Array(9).fill(1), 'n', 8)).toThrow('wider than 64 bits')
    expect(() => rlpUint([], 'n', 8)).toThrow(RlpError)
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 256n - 1n }), (value) => {
        expect(rlpUint(minimalBytes(value), 'n', 32)).toBe(value)
        expect(minimalBytes(value)).toEqual(minimal(value))
      }),
    )
  })

  it('tells lists from strings and counts', () => {
    expect(() => rlpList(new Uint8Array(2), 'x')).toThrow('x is not an RLP list')
    expect(() => rlpList([[], []], 'x', 3)).toThrow('x has 2 items instead of 3')
    expect(() => rlpBytes([], 'x')).toThrow('x is not an RLP byte string')
    expect(() => rlpBytes(undefined, 'x')).toThrow(RlpError)
    expect(() => rlpBytes(new Uint8Array(2), 'x', 3)).toThrow('x has 2 bytes instead of 3')
  })
})
