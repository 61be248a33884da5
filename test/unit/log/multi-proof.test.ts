import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { appendLeaves, emptyState } from '../../../src/log/append.ts'
import { LogError } from '../../../src/log/error.ts'
import { leafHash, nodeHash } from '../../../src/log/merkle.ts'
import {
  multiProof,
  rootFromMultiProof,
  tilesForMultiProof,
  verifyMultiProof,
} from '../../../src/log/multi-proof.ts'
import { inclusionProof } from '../../../src/log/proof.ts'
import { type TileRange, tileWidth } from '../../../src/log/tile.ts'
import { flip, hex, largestPowerOfTwoBelow, ReferenceTree, someLeaves, TileStore } from './reference.ts'

const LEAVES = 1_400
const tree = new ReferenceTree(someLeaves(LEAVES))
const store = new TileStore()
store.put(appendLeaves(emptyState(), tree.leaves).tiles)

type Span = readonly [begin: number, end: number]
const name = ([begin, end]: Span): string => `${begin}:${end}`

/** The spans whose roots make up PATH(m, D[begin:end]) of RFC 6962 section 2.1.1. */
function pathSpans(m: number, begin: number, end: number): Span[] {
  if (end - begin === 1) return []
  const middle = begin + largestPowerOfTwoBelow(end - begin)
  return m < middle
    ? [...pathSpans(m, begin, middle), [middle, end]]
    : [...pathSpans(m, middle, end), [begin, middle]]
}

/**
 * The smallest set of nodes by its plain definition: what the single inclusion proofs of all leaves hold between them, without
 * every node that covers one of the leaves, as that one can be computed.
 */
function minimalSet(indices: readonly number[], size: number): Map<string, Span> {
  const all = new Map(indices.flatMap((m) => pathSpans(m, 0, size)).map((span) => [name(span), span]))
  for (const [key, [begin, end]] of all) {
    // Ascending, so the first index from `begin` on decides.
    const next = indices.find((m) => m >= begin)
    if (next !== undefined && next < end) all.delete(key)
  }
  return all
}

const leavesAt = (indices: readonly number[]): Uint8Array[] =>
  indices.map((i) => tree.leaves[i] as Uint8Array)
const texts = (nodes: readonly Uint8Array[]): string[] => nodes.map(hex)
const subsets = (size: number) =>
  fc
    .uniqueArray(fc.nat({ max: size - 1 }), { minLength: 1, maxLength: Math.min(size, 40) })
    .map((a) => a.sort((x, y) => x - y))
const cases = fc.integer({ min: 1, max: LEAVES }).chain((size) => fc.tuple(fc.constant(size), subsets(size)))

describe('a multi-proof', () => {
  test('of one leaf is its inclusion proof, in the same order', async () => {
    for (let size = 1; size <= 70; size++)
      for (let index = 0; index < size; index++)
        expect(texts(await multiProof([index], size, store.read))).toEqual(
          texts(await inclusionProof(index, size, store.read)),
        )
  })

  test('of every set of leaves of small trees is the smallest set, and leads to the root', async () => {
    for (let size = 1; size <= 9; size++)
      for (let set = 1; set < 2 ** size; set++) {
        const indices = Array.from({ length: size }, (_, i) => i).filter((i) => (set >> i) & 1)
        const nodes = await multiProof(indices, size, store.read)
        const wanted = [...minimalSet(indices, size).values()].map(([begin, end]) =>
          hex(tree.mth(begin, end)),
        )
        expect(texts(nodes).sort(), `${indices} of ${size}`).toEqual(wanted.sort())
        expect(verifyMultiProof(indices, size, leavesAt(indices), nodes, tree.root(size))).toEqual({
          ok: true,
        })
      }
  })

  test('of any leaves is the smallest set, reads each tile once and leads to the root', async () => {
    await fc.assert(
      fc.asyncProperty(cases, async ([size, indices]) => {
        store.reads.length = 0
        const nodes = await multiProof(indices, size, store.read)
        expect(new Set(store.reads).size).toBe(store.reads.length)
        expect(store.reads).toEqual(
          tilesForMultiProof(indices, size).map(({ level, index, width }) => `${level}/${index}:${width}`),
        )
        const wanted = [...minimalSet(indices, size).values()].map(([begin, end]) =>
          hex(tree.mth(begin, end)),
        )
        expect(texts(nodes).sort()).toEqual(wanted.sort())
        expect(verifyMultiProof(indices, size, leavesAt(indices), nodes, tree.root(size))).toEqual({
          ok: true,
        })
      }),
      { numRuns: 150 },
    )
  })

  test('of all leaves has no node', async () => {
    for (const size of [1, 2, 3, 255, 256, 257, 600]) {
      const all = Array.from({ length: size }, (_, i) => i)
      expect(await multiProof(all, size, store.read)).toEqual([])
      expect(verifyMultiProof(all, size, leavesAt(all), [], tree.root(size))).toEqual({ ok: true })
    }
  })

  test('asks for all tiles before the first answer', async () => {
    const asked: string[] = []
    let release = () => {}
    const gate = new Promise<void>((resolve) => {
      release = resolve
    })
    const proof = multiProof([5, 300, 1_399], LEAVES, async (tile) => {
      asked.push(`${tile.level}/${tile.index}`)
      await gate
      return store.read(tile)
    })
    expect(asked.sort()).toEqual(['0/0', '0/1', '0/5', '1/0'])
    release()
    expect(
      verifyMultiProof([5, 300, 1_399], LEAVES, leavesAt([5, 300, 1_399]), await proof, tree.root(LEAVES)).ok,
    ).toBe(true)
  })
})

describe('is refused', () => {
  test('with any node changed, dropped, doubled, moved or added', async () => {
    await fc.assert(
      fc.asyncProperty(cases, fc.nat(), fc.nat({ max: 255 }), async ([size, indices], at, bit) => {
        const nodes = await multiProof(indices, size, store.read)
        const verify = (bad: readonly Uint8Array[]) =>
          verifyMultiProof(indices, size, leavesAt(indices), bad, tree.root(size)).ok
        const where = at % (nodes.length + 1)
        expect(verify(nodes.toSpliced(where, 0, leafHash(Uint8Array.of(bit))))).toBe(false)
        // The root of what the leaves give already: the derivable node of all.
        expect(verify(nodes.toSpliced(where, 0, tree.root(size)))).toBe(false)
        if (nodes.length === 0) return
        const i = at % nodes.length
        expect(verify(nodes.with(i, flip(nodes[i] as Uint8Array, bit % 32)))).toBe(false)
        expect(verify(nodes.toSpliced(i, 1))).toBe(false)
        expect(verify(nodes.toSpliced(i, 0, nodes[i] as Uint8Array))).toBe(false)
        if (i > 0)
          expect(verify(nodes.with(i, nodes[i - 1] as Uint8Array).with(i - 1, nodes[i] as Uint8Array))).toBe(
            false,
          )
      }),
      { numRuns: 150 },
    )
  })

  test('with a node that the leaves give, in place of what it stands for', async () => {
    // Leaves 2 and 3 give node 2:4, so a proof that carries it instead of nothing is another proof, and a longer one.
    const nodes = await multiProof([2, 3], 8, store.read)
    expect(texts(nodes)).toEqual([hex(tree.mth(0, 2)), hex(tree.mth(4, 8))])
    const with24 = [tree.mth(2, 4), ...nodes]
    expect(verifyMultiProof([2, 3], 8, leavesAt([2, 3]), with24, tree.root(8))).toEqual({
      ok: false,
      reason: 'the multi-proof has 1 node(s) too many',
    })
    expect(verifyMultiProof([2, 3], 8, leavesAt([2, 3]), nodes.slice(1), tree.root(8))).toEqual({
      ok: false,
      reason: 'the multi-proof has too few nodes',
    })
  })

  test('with another leaf, leaves swapped, an index moved, or another size', async () => {
    await fc.assert(
      fc.asyncProperty(cases, fc.nat(), async ([size, indices], at) => {
        const nodes = await multiProof(indices, size, store.read)
        const leaves = leavesAt(indices)
        const i = at % indices.length
        const ok = (by: readonly number[], n: number, l: readonly Uint8Array[]) =>
          verifyMultiProof(by, n, l, nodes, tree.root(size)).ok
        expect(ok(indices, size, leaves.with(i, flip(leaves[i] as Uint8Array, at % 32)))).toBe(false)
        expect(ok(indices, size, leaves.slice(1))).toBe(false)
        if (i > 0) {
          const swapped = leaves.with(i, leaves[i - 1] as Uint8Array).with(i - 1, leaves[i] as Uint8Array)
          expect(ok(indices, size, swapped)).toBe(false)
        }
        const moved = (indices[i] as number) + 1
        if (moved < size && !indices.includes(moved))
          expect(ok(indices.with(i, moved), size, leaves)).toBe(false)
      }),
      { numRuns: 150 },
    )
  })

  test('for indices that are no set of leaves, without an exception', async () => {
    const bad: [unknown, number][] = [
      [[], 5],
      [[5], 5],
      [[-1], 5],
      [[0.5], 5],
      [[1, 1], 5],
      [[2, 1], 5],
      [[0], 0],
      [[0], 2 ** 53],
      [['0'], 5],
      [null, 5],
      [[0, undefined], 5],
    ]
    for (const [indices, size] of bad) {
      expect(rootFromMultiProof(indices as number[], size, [leafHash(new Uint8Array())], []).ok).toBe(false)
      await expect(multiProof(indices as number[], size, store.read)).rejects.toThrow(LogError)
      expect(() => tilesForMultiProof(indices as number[], size)).toThrow(LogError)
    }
    const leaf = tree.leaves[0] as Uint8Array
    const notHashes: unknown[] = [[new Uint8Array(31)], [undefined], ['a'], null, new Array(1)]
    for (const nodes of notHashes)
      expect(rootFromMultiProof([0], 2, [leaf], nodes as Uint8Array[]).ok).toBe(false)
    for (const leaves of notHashes)
      expect(rootFromMultiProof([0], 1, leaves as Uint8Array[], []).ok).toBe(false)
    expect(verifyMultiProof([0], 1, [leaf], [], leaf.subarray(1)).ok).toBe(false)
    expect(verifyMultiProof([0], 1, [leaf], [], leaf)).toEqual({ ok: true })
  })

  test('where a tile is missing', async () => {
    await expect(multiProof([3, 700], LEAVES, () => undefined)).rejects.toMatchObject({
      code: 'TILE_MISSING',
    })
  })
})

/** A log of any size whose leaves are all the same but for those `at` (ascending): its hashes from their definition. */
class SparseTree {
  private readonly at: readonly number[]
  private readonly plain: Uint8Array[] = [leafHash(new Uint8Array(0))]
  private readonly known = new Map<string, Uint8Array>()

  constructor(at: readonly number[]) {
    this.at = at
    for (let height = 1; height <= 53; height++) {
      const below = this.plain[height - 1] as Uint8Array
      this.plain.push(nodeHash(below, below))
    }
  }

  private holds(begin: number, end: number): boolean {
    let [low, high] = [0, this.at.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.at[middle] as number) < begin) low = middle + 1
      else high = middle
    }
    return low < this.at.length && (this.at[low] as number) < end
  }

  mth(begin: number, end: number): Uint8Array {
    const width = end - begin
    const height = Math.round(Math.log2(width))
    if (2 ** height === width && !this.holds(begin, end)) return this.plain[height] as Uint8Array
    if (width === 1) return leafHash(new TextEncoder().encode(`special ${begin}`))
    const key = `${begin}:${end}`
    let hash = this.known.get(key)
    if (hash === undefined) {
      const middle = begin + largestPowerOfTwoBelow(width)
      hash = nodeHash(this.mth(begin, middle), this.mth(middle, end))
      this.known.set(key, hash)
    }
    return hash
  }

  reader(size: number) {
    return ({ level, index, width }: TileRange): Uint8Array => {
      expect(width).toBe(tileWidth(level, index, size))
      const span = 256 ** level
      const out = new Uint8Array(width * 32)
      for (let i = 0; i < width; i++) {
        const first = (index * 256 + i) * span
        out.set(this.mth(first, first + span), i * 32)
      }
      return out
    }
  }
}

describe('a log of 10 million leaves', () => {
  const SIZE = 10_000_000
  const COUNT = 1_000
  const neighbours = (first: number) => Array.from({ length: COUNT }, (_, i) => first + i)

  // The last of them lie across the middle of the tree, where the two sides share least.
  test.each([
    0,
    1,
    12_345,
    5_000_001,
    SIZE - COUNT,
    2 ** 22 - 500,
    2 ** 23 - 500,
    2 ** 23 - 341,
  ])('1,000 neighbours from %i cost less than 2 bytes of path each', async (first) => {
    const indices = neighbours(first)
    const sparse = new SparseTree(indices)
    const nodes = await multiProof(indices, SIZE, sparse.reader(SIZE))
    expect(nodes.length * 32).toBeLessThan(2 * COUNT)
    expect(nodes.length).toBe(minimalSet(indices, SIZE).size)
    const leaves = indices.map((i) => sparse.mth(i, i + 1))
    expect(verifyMultiProof(indices, SIZE, leaves, nodes, sparse.mth(0, SIZE))).toEqual({ ok: true })
  })

  test('1,000 random leaves carry exactly the smallest set', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.nat({ max: SIZE - 1 }), { minLength: COUNT, maxLength: COUNT, size: 'max' }),
        fc.nat(),
        async (chosen, at) => {
          const indices = chosen.sort((a, b) => a - b)
          const sparse = new SparseTree(indices)
          const nodes = await multiProof(indices, SIZE, sparse.reader(SIZE))
          const wanted = [...minimalSet(indices, SIZE).values()].map(([b, e]) => hex(sparse.mth(b, e)))
          expect(texts(nodes).sort()).toEqual(wanted.sort())
          const leaves = indices.map((i) => sparse.mth(i, i + 1))
          const root = sparse.mth(0, SIZE)
          expect(verifyMultiProof(indices, SIZE, leaves, nodes, root)).toEqual({ ok: true })
          const i = at % nodes.length
          for (const bad of [nodes.toSpliced(i, 1), nodes.toSpliced(i, 0, nodes[i] as Uint8Array)])
            expect(verifyMultiProof(indices, SIZE, leaves, bad, root).ok).toBe(false)
        },
      ),
      { numRuns: 1 },
    )
  })
})
