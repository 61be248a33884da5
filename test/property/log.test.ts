import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { nobleMlDsa } from '../../src/core/ml-dsa.ts'
import { appendLeaves, emptyState, loadState } from '../../src/log/append.ts'
import { openCheckpoint, parseCheckpointBody } from '../../src/log/checkpoint.ts'
import { decodeEntryBundle, encodeEntryBundle } from '../../src/log/entry-bundle.ts'
import { LogError } from '../../src/log/error.ts'
import { verifyConsistency, verifyInclusion } from '../../src/log/merkle.ts'
import { formatNote, parseNote } from '../../src/log/note.ts'
import { consistencyProof, inclusionProof } from '../../src/log/proof.ts'
import { entryBundlePath, parseTilePath, tilePath } from '../../src/log/tile.ts'
import { formatTlogProof, parseTlogProof } from '../../src/log/tlog-proof.ts'
import { formatVkey, parseVkey } from '../../src/log/vkey.ts'
import { hex, ReferenceTree, someLeaves, TileStore } from '../unit/log/reference.ts'

const LEAVES = 1400
const tree = new ReferenceTree(someLeaves(LEAVES))

/** Runs a parser that may throw only `LogError`; undefined where it did. */
function tried<T>(parse: () => T): T | undefined {
  try {
    return parse()
  } catch (error) {
    expect(error).toBeInstanceOf(LogError)
    return undefined
  }
}

describe('appending', () => {
  test('any split into batches, with any reload between, gives the same state, root and tiles', async () => {
    const batches = fc.array(fc.tuple(fc.nat({ max: 300 }), fc.boolean()), { maxLength: 12 })
    await fc.assert(
      fc.asyncProperty(batches, async (splits) => {
        const store = new TileStore()
        let state = emptyState()
        let root = tree.root(0)
        for (const [count, reload] of splits) {
          const next = appendLeaves(state, tree.leaves.slice(state.size, state.size + count))
          store.put(next.tiles)
          root = next.root
          state = reload ? await loadState(next.state.size, store.read) : next.state
        }
        const whole = appendLeaves(emptyState(), tree.leaves.slice(0, state.size))
        const expected = new TileStore()
        expected.put(whole.tiles)
        expect(state).toEqual(whole.state)
        expect(hex(root)).toBe(hex(tree.root(state.size)))
        expect(store.rows).toEqual(expected.rows)
      }),
      { numRuns: 60 },
    )
  })
})

describe('proofs', () => {
  const store = new TileStore()
  store.put(appendLeaves(emptyState(), tree.leaves).tiles)
  const sizes = fc
    .integer({ min: 1, max: LEAVES })
    .chain((size) => fc.tuple(fc.nat({ max: size - 1 }), fc.constant(size)))

  test('of any leaf at any size verify, and no longer do after any one bit is turned', async () => {
    await fc.assert(
      fc.asyncProperty(sizes, fc.nat(), fc.nat({ max: 7 }), async ([index, size], where, bit) => {
        const proof = await inclusionProof(index, size, store.read)
        const bytes = [tree.leaves[index] as Uint8Array, tree.root(size), ...proof].map((hash) =>
          hash.slice(),
        )
        const holds = () => {
          const [leaf, root, ...path] = bytes as [Uint8Array, Uint8Array, ...Uint8Array[]]
          return verifyInclusion(index, size, leaf, path, root).ok
        }
        expect(holds()).toBe(true)
        const at = where % (32 * bytes.length)
        const hash = bytes[Math.floor(at / 32)] as Uint8Array
        hash[at % 32] = (hash[at % 32] as number) ^ (1 << bit)
        expect(holds()).toBe(false)
      }),
    )
  })

  test('from any size to any larger one verify, and no longer do after any one bit is turned', async () => {
    await fc.assert(
      fc.asyncProperty(sizes, fc.nat(), fc.nat({ max: 7 }), async ([before, size2], where, bit) => {
        const size1 = before + 1
        const proof = await consistencyProof(size1, size2, store.read)
        const bytes = [tree.root(size1), tree.root(size2), ...proof].map((hash) => hash.slice())
        const holds = () => {
          const [root1, root2, ...path] = bytes as [Uint8Array, Uint8Array, ...Uint8Array[]]
          return verifyConsistency(size1, size2, path, root1, root2).ok
        }
        expect(holds()).toBe(true)
        const at = where % (32 * bytes.length)
        const hash = bytes[Math.floor(at / 32)] as Uint8Array
        hash[at % 32] = (hash[at % 32] as number) ^ (1 << bit)
        expect(holds()).toBe(false)
      }),
    )
  })

  test('between a log and another history never verify', async () => {
    await fc.assert(
      fc.asyncProperty(sizes, fc.nat(), async ([before, size2], where) => {
        const size1 = before + 1
        const changed = where % size1
        const fork = new ReferenceTree(tree.leaves.with(changed, tree.root(7)))
        for (const proof of [tree.proof(size1, size2), fork.proof(size1, size2)]) {
          expect(verifyConsistency(size1, size2, proof, tree.root(size1), fork.root(size2)).ok).toBe(false)
          expect(verifyConsistency(size1, size2, proof, fork.root(size1), tree.root(size2)).ok).toBe(false)
        }
      }),
      { numRuns: 40 },
    )
  })

  test('made up of any hashes never verify and never throw', () => {
    const hashes = fc.array(fc.uint8Array({ minLength: 31, maxLength: 33 }), { maxLength: 14 })
    fc.assert(
      fc.property(fc.double(), fc.nat({ max: LEAVES }), hashes, (a, b, proof) => {
        const root = tree.root(b)
        const leaf = tree.leaves[0] as Uint8Array
        for (const at of [a, Math.floor(a), b, b - 1]) {
          const inclusion = verifyInclusion(at, b, leaf, proof, root)
          if (!(proof.length === 0 && b === 1 && at === 0)) expect(inclusion.ok).toBe(false)
          if (proof.length > 0) expect(verifyConsistency(at, b, proof, root, tree.root(3)).ok).toBe(false)
        }
      }),
    )
  })
})

describe('tile paths', () => {
  const index = fc.oneof(fc.nat({ max: 2000 }), fc.maxSafeNat())
  const width = fc.integer({ min: 1, max: 256 })

  test('round-trip', () => {
    fc.assert(
      fc.property(fc.nat({ max: 63 }), index, width, (level, n, w) => {
        const tile = { level, index: n, width: w }
        expect(parseTilePath(tilePath(tile))).toEqual({ kind: 'hashes', ...tile })
        expect(parseTilePath(entryBundlePath(tile))).toEqual({ kind: 'entries', index: n, width: w })
      }),
    )
  })

  test('have one spelling: whatever is read is written the same', () => {
    const piece = fc.constantFrom(
      'tile',
      '/',
      'x',
      '0',
      '1',
      '00',
      '000',
      '001',
      '255',
      '256',
      '.p/',
      'entries',
      '64',
    )
    const near = fc.array(piece, { maxLength: 14 }).map((pieces) => `tile/${pieces.join('')}`)
    fc.assert(
      fc.property(near, (path) => {
        const read = parseTilePath(path)
        if (read?.kind === 'hashes') expect(tilePath(read)).toBe(path)
        if (read?.kind === 'entries') expect(entryBundlePath(read)).toBe(path)
      }),
      { numRuns: 3000 },
    )
  })
})

test('entry bundles round-trip, and any bytes that are read are written the same', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 400 }), { minLength: 1, maxLength: 256 }), (entries) => {
      expect(decodeEntryBundle(encodeEntryBundle(entries))).toEqual(entries)
    }),
  )
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 64 }).map((bytes) => bytes.map((byte, i) => (i % 3 ? byte % 4 : 0))),
      (bytes) => {
        const read = tried(() => decodeEntryBundle(bytes))
        if (read) expect(encodeEntryBundle(read)).toEqual(bytes)
      },
    ),
  )
})

describe('text formats', () => {
  const name = fc
    .string({ unit: 'grapheme', minLength: 1, maxLength: 20 })
    .filter((s) => /^[^\p{White_Space}+\p{Cc}]+$/u.test(s))
  const text = fc
    .array(
      fc.string({ unit: 'grapheme', maxLength: 20 }).filter((s) => !/\p{Cc}/u.test(s)),
      { maxLength: 5 },
    )
    .map((lines) => lines.map((line) => `${line}\n`).join('') || '\n')
  const signature = fc.record({
    name,
    keyId: fc.nat({ max: 0xffffffff }),
    signature: fc.uint8Array({ minLength: 1, maxLength: 80 }),
  })
  const note = fc.record({ text, signatures: fc.array(signature, { minLength: 1, maxLength: 5 }) })

  test('notes round-trip', () => {
    fc.assert(
      fc.property(note, (value) => {
        const written = formatNote(value)
        expect(parseNote(written)).toEqual(value)
        expect(parseNote(new TextEncoder().encode(written))).toEqual(value)
      }),
    )
  })

  test('tlog-proofs round-trip', () => {
    const hash = fc.uint8Array({ minLength: 32, maxLength: 32 })
    const proof = fc.record({
      index: fc.maxSafeNat(),
      hashes: fc.array(hash, { maxLength: 53 }),
      checkpoint: note.map(formatNote),
      extra: fc.option(fc.uint8Array({ minLength: 1, maxLength: 50 })),
    })
    fc.assert(
      fc.property(proof, (value) => {
        expect(parseTlogProof(formatTlogProof(value))).toEqual(value)
      }),
    )
  })

  test('on any text and bytes the parsers throw nothing but their own error, and re-encode what they accept', () => {
    const piece = fc.constantFrom(
      '\n',
      '\n\n',
      '\u2014 ',
      ' ',
      'a.example/log',
      '+',
      '0',
      '17',
      'AAAAAAA=',
      '47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=',
      'c2sp.org/tlog-proof@v1\n',
      'index ',
      'extra ',
      '\u0000',
      '\r',
      '\ud800',
      '\ufeff',
    )
    const near = fc.oneof(
      fc.array(piece, { maxLength: 20 }).map((pieces) => pieces.join('')),
      fc.string({ unit: 'binary' }),
    )
    fc.assert(
      fc.property(near, fc.uint8Array(), (value, bytes) => {
        const read = tried(() => parseNote(value))
        if (read) expect(formatNote(read)).toBe(value)
        const proof = tried(() => parseTlogProof(value))
        if (proof) expect(formatTlogProof(proof)).toBe(value)
        const vkey = tried(() => parseVkey(value))
        if (vkey) expect(formatVkey(vkey)).toBe(value)
        tried(() => parseNote(bytes))
        tried(() => parseCheckpointBody(value))
        expect(openCheckpoint(value, { origin: 'a.example/log', vkeys: [], mlDsa: nobleMlDsa }).ok).toBe(
          false,
        )
      }),
      { numRuns: 3000 },
    )
  })
})
