import { keccak_256 } from '@noble/hashes/sha3.js'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { fromHex, toHex, utf8 } from '../../../src/core/bytes.ts'
import { ProofError } from '../../../src/proof/error.ts'
import { EMPTY_TRIE_ROOT, verifyAccount, verifySlot, verifyTrieProof } from '../../../src/proof/trie.ts'
import { accountRlp, buildStorage, buildTrie, rlp } from '../../support/trie.ts'

const none = new Uint8Array(0)

const trieOf = (pairs: Record<string, string>) =>
  buildTrie(Object.entries(pairs).map(([key, value]) => [utf8(key), utf8(value)]))

// Ethereum's own test vectors (tests/TrieTests/trieanyorder.json): roots that any trie must reach.
const known: [string, Record<string, string>, string][] = [
  [
    'puppy',
    { do: 'verb', horse: 'stallion', doge: 'coin', dog: 'puppy' },
    '0x5991bb8c6514148a29db676a14ac506cd2cd5775ace63c30a4fe457715e9ac84',
  ],
  [
    'dogs',
    { doe: 'reindeer', dog: 'puppy', dogglesworth: 'cat' },
    '0x8aad789dff2f538bca5d8ea56e8abe10f4c7ba3a5dea95fea4cd6e7c3a1168d3',
  ],
  [
    'singleItem',
    { A: 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' },
    '0xd23786fb4a010da3ce639d66d5e904a11dbc02746d1ce25029e53290cabf28ab',
  ],
]

describe('verifyTrieProof', () => {
  it.each(
    known,
  )('proves each key of %s, with embedded nodes and branch values, and no other', (_, pairs, root) => {
    const trie = trieOf(pairs)
    expect(toHex(trie.root)).toBe(root)
    for (const [key, value] of Object.entries(pairs)) {
      expect(verifyTrieProof(fromHex(root), utf8(key), trie.prove(utf8(key)))).toEqual(utf8(value))
    }
    for (const key of ['', 'd', 'dot', 'dogs', 'horses', 'hors', 'zebra', 'dogglesworthy', 'B', 'AA']) {
      expect(verifyTrieProof(fromHex(root), utf8(key), trie.prove(utf8(key)))).toBeNull()
    }
  })

  it('proves absence in an empty trie, by no node', () => {
    expect(toHex(buildTrie([]).root)).toBe(toHex(EMPTY_TRIE_ROOT))
    expect(verifyTrieProof(EMPTY_TRIE_ROOT, utf8('a'), [])).toBeNull()
    expect(() => verifyTrieProof(EMPTY_TRIE_ROOT, utf8('a'), [Uint8Array.of(0x80)])).toThrow('without use')
  })

  it('takes the root from the caller, never from the first node', () => {
    const mine = trieOf({ dog: 'puppy', cat: 'kitten' })
    const theirs = trieOf({ dog: 'wolf', cat: 'kitten' })
    expect(() => verifyTrieProof(mine.root, utf8('dog'), theirs.prove(utf8('dog')))).toThrow(
      'not the one that its parent names',
    )
    expect(() => verifyTrieProof(mine.root.subarray(1), utf8('dog'), [])).toThrow('32 bytes')
  })

  const secure = (n: number) =>
    buildTrie(Array.from({ length: n }, (_, i) => [keccak_256(Uint8Array.of(i >> 8, i)), utf8(`value ${i}`)]))

  it('refuses a node too many, too few, out of order, and a proof without bound', () => {
    const trie = secure(300)
    const key = keccak_256(Uint8Array.of(0, 7))
    const proof = trie.prove(key)
    expect(proof.length).toBeGreaterThanOrEqual(3)
    expect(verifyTrieProof(trie.root, key, proof)).toEqual(utf8('value 7'))
    expect(() => verifyTrieProof(trie.root, key, [...proof, proof[1]!])).toThrow('1 node(s) without use')
    expect(() => verifyTrieProof(trie.root, key, proof.slice(0, -1))).toThrow(
      'ends before its key is decided',
    )
    expect(() => verifyTrieProof(trie.root, key, [])).toThrow('ends before its key is decided')
    expect(() => verifyTrieProof(trie.root, key, [...proof].reverse())).toThrow(ProofError)
    expect(() => verifyTrieProof(trie.root, key, Array(66).fill(proof[0]))).toThrow('too many nodes')
  })

  it('answers for its key alone: the path of another key proves nothing about it', () => {
    const trie = secure(300)
    const [a, b] = [keccak_256(Uint8Array.of(0, 7)), keccak_256(Uint8Array.of(0, 8))]
    expect(() => verifyTrieProof(trie.root, a, trie.prove(b))).toThrow(ProofError)
  })

  /** A trie whose root is `node`, whatever it says: only somebody who can choose a root could do this. */
  const forged = (node: Parameters<typeof rlp>[0], key = Uint8Array.of(0x12)) => {
    const bytes = rlp(node)
    return () => verifyTrieProof(keccak_256(bytes), key, [bytes])
  }
  const filler = new Uint8Array(40).fill(1)
  it.each([
    ['a node of 3 items', forged([none, none, none])],
    ['a byte string for a node', forged(filler)],
    ['a path with flag 4', forged([Uint8Array.of(0x40, 0x12), filler])],
    ['an even path with a padding nibble that is not 0', forged([Uint8Array.of(0x21, 0x12), filler])],
    ['an empty path', forged([none, filler])],
    ['an extension without path', forged([Uint8Array.of(0x00), new Uint8Array(32)])],
    ['a leaf without value', forged([Uint8Array.of(0x20, 0x12), none])],
    ['a leaf whose value is a list', forged([Uint8Array.of(0x20, 0x12), [none]])],
    ['an extension to a leaf', forged([Uint8Array.of(0x11), [Uint8Array.of(0x32), Uint8Array.of(5)]])],
    [
      'a child named by 31 bytes',
      forged([...Array(1).fill(none), new Uint8Array(31), ...Array(15).fill(none)]),
    ],
    [
      'a child embedded though 32 bytes long',
      forged([none, [Uint8Array.of(0x32), new Uint8Array(29)], ...Array(15).fill(none)]),
    ],
    ['an empty list for an empty slot', forged([none, [], ...Array(15).fill(none)])],
  ])('refuses %s', (_, attempt) => {
    expect(attempt).toThrow(ProofError)
  })

  it('refuses a child named by hash though it would fit in its parent', () => {
    const small = rlp([Uint8Array.of(0x32), Uint8Array.of(5)])
    const branch = rlp([none, keccak_256(small), ...Array(15).fill(none)])
    expect(() => verifyTrieProof(keccak_256(branch), Uint8Array.of(0x12), [branch, small])).toThrow(
      'fits in its parent',
    )
  })

  it('agrees with a plain map on random tries, for keys in it and others', () => {
    const keys = fc.uint8Array({ minLength: 1, maxLength: 4 }).map((bytes) => bytes.map((b) => b & 0x33))
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.tuple(keys, fc.uint8Array({ minLength: 1, maxLength: 40 })), {
          selector: ([key]) => toHex(key),
          maxLength: 30,
        }),
        fc.array(keys, { maxLength: 10 }),
        (pairs, others) => {
          const trie = buildTrie(pairs)
          const map = new Map(pairs.map(([key, value]) => [toHex(key), value]))
          for (const key of [...pairs.map(([k]) => k), ...others]) {
            expect(verifyTrieProof(trie.root, key, trie.prove(key))).toEqual(map.get(toHex(key)) ?? null)
          }
        },
      ),
      { numRuns: 400 },
    )
  })

  it('never gives another answer when one bit of the proof is flipped', () => {
    const trie = secure(200)
    fc.assert(
      fc.property(fc.nat(199), fc.nat(), fc.nat(), fc.nat(7), (i, n, at, bit) => {
        const key = keccak_256(Uint8Array.of(i >> 8, i))
        const proof = trie.prove(key).map((node) => node.slice())
        const node = proof[n % proof.length]!
        node[at % node.length]! ^= 1 << bit
        expect(() => verifyTrieProof(trie.root, key, proof)).toThrow(ProofError)
      }),
      { numRuns: 1_000 },
    )
  })
})

describe('verifyAccount and verifySlot', () => {
  const slot = (n: number) => new Uint8Array(32).fill(n, 31)
  const storage = buildStorage([
    [slot(0), 1n],
    [slot(1), 0x00ff00n],
    [slot(2), 2n ** 256n - 1n],
  ])
  const address = new Uint8Array(20).fill(0xaa)
  const code = keccak_256(utf8('code'))
  const state = buildTrie([
    [keccak_256(address), accountRlp(1n, 0n, storage.root, code)],
    [keccak_256(new Uint8Array(20)), accountRlp(0n, 10n ** 18n, EMPTY_TRIE_ROOT, keccak_256(none))],
  ])

  it('reads the account, and null for one that is not there', () => {
    expect(verifyAccount(state.root, address, state.prove(keccak_256(address)))).toEqual({
      storageRoot: storage.root,
      codeHash: code,
    })
    const other = new Uint8Array(20).fill(0xbb)
    expect(verifyAccount(state.root, other, state.prove(keccak_256(other)))).toBeNull()
  })

  it('pads keys and values to 32 bytes, and reads an absent slot as zero', () => {
    const word = (n: number, key = slot(n)) =>
      toHex(verifySlot(storage.root, key, storage.proveSlot(slot(n))))
    expect(word(0)).toBe(`0x${'00'.repeat(31)}01`)
    expect(word(1)).toBe(`0x${'00'.repeat(30)}ff00`)
    expect(word(2)).toBe(`0x${'ff'.repeat(32)}`)
    expect(word(3)).toBe(`0x${'00'.repeat(32)}`)
    // Slot 2 written without its leading zeros is slot 2.
    expect(word(2, Uint8Array.of(2))).toBe(`0x${'ff'.repeat(32)}`)
    expect(() => verifySlot(storage.root, new Uint8Array(33), [])).toThrow('wider than 32 bytes')
  })

  const stored = (value: Uint8Array) => {
    const trie = buildTrie([[keccak_256(slot(0)), value]])
    return () => verifySlot(trie.root, slot(0), trie.prove(keccak_256(slot(0))))
  }
  it('refuses values that no state holds', () => {
    expect(stored(rlp(Uint8Array.of(1)))()).toEqual(slot(1))
    expect(stored(rlp(none))).toThrow('zero')
    expect(stored(rlp(Uint8Array.of(0, 1)))).toThrow('leading zero')
    expect(stored(rlp(new Uint8Array(33).fill(1)))).toThrow('wider')
    expect(stored(rlp([Uint8Array.of(1)]))).toThrow(ProofError)
  })

  const accountHeld = (value: Uint8Array) => {
    const trie = buildTrie([[keccak_256(address), value]])
    return () => verifyAccount(trie.root, address, trie.prove(keccak_256(address)))
  }
  it('refuses accounts of another shape', () => {
    expect(accountHeld(rlp([none, none, storage.root, code]))()).not.toBeNull()
    expect(accountHeld(rlp([none, none, storage.root]))).toThrow(ProofError)
    expect(accountHeld(rlp([none, none, storage.root, code, none]))).toThrow(ProofError)
    expect(accountHeld(rlp([none, none, storage.root.subarray(1), code]))).toThrow(ProofError)
    expect(accountHeld(rlp([none, Uint8Array.of(0), storage.root, code]))).toThrow(ProofError)
  })
})
