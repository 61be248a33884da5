import { beforeAll, describe, expect, test } from 'vitest'
import { appendLeaves, emptyState, loadState } from '../../../src/log/append.ts'
import { LogError } from '../../../src/log/error.ts'
import { leafHash, nodeHash, verifyConsistency, verifyInclusion } from '../../../src/log/merkle.ts'
import {
  consistencyProof,
  inclusionProof,
  rootAt,
  tilesForConsistency,
  tilesForInclusion,
  tilesForRoot,
} from '../../../src/log/proof.ts'
import { type TileRange, tileWidth } from '../../../src/log/tile.ts'
import { hex, largestPowerOfTwoBelow, ReferenceTree, someLeaves, TileStore } from './reference.ts'

const SIZES = 600
const tree = new ReferenceTree(someLeaves(SIZES))
const store = new TileStore()

beforeAll(() => {
  store.put(appendLeaves(emptyState(), tree.leaves).tiles)
})

const texts = (hashes: readonly Uint8Array[]): string[] => hashes.map(hex)
const readAs = (tiles: readonly TileRange[]): string[] =>
  tiles.map(({ level, index, width }) => `${level}/${index}:${width}`)
/** A few places in 0..size: the last, and two that wander over the tiles as the size grows. */
const places = (size: number): number[] =>
  [size - 1, (181 * 7919) % size, (size * 89) % 513].filter((at) => at < size)

describe('proofs over tiles are those of RFC 6962 section 2.1', () => {
  test(`roots at every size up to ${SIZES}`, async () => {
    for (let size = 0; size <= SIZES; size++) {
      store.reads.length = 0
      expect(hex(await rootAt(size, store.read))).toBe(hex(tree.root(size)))
      expect(store.reads).toEqual(readAs(tilesForRoot(size)))
    }
  })

  test(`inclusion at every size up to ${SIZES}`, async () => {
    for (let size = 1; size <= SIZES; size++)
      for (const index of new Set(places(size))) {
        store.reads.length = 0
        const proof = await inclusionProof(index, size, store.read)
        expect(texts(proof), `${index} of ${size}`).toEqual(texts(tree.path(index, 0, size)))
        expect(store.reads).toEqual(readAs(tilesForInclusion(index, size)))
      }
  })

  test(`consistency at every size up to ${SIZES}`, async () => {
    for (let size2 = 1; size2 <= SIZES; size2++)
      for (const at of new Set(places(size2))) {
        const size1 = at + 1
        store.reads.length = 0
        const proof = await consistencyProof(size1, size2, store.read)
        expect(texts(proof), `${size1} to ${size2}`).toEqual(texts(tree.proof(size1, size2)))
        expect(store.reads).toEqual(readAs(tilesForConsistency(size1, size2)))
      }
  })

  test('every leaf and pair of sizes of small trees', async () => {
    for (let size = 1; size <= 40; size++)
      for (let at = 0; at < size; at++) {
        expect(texts(await inclusionProof(at, size, store.read))).toEqual(texts(tree.path(at, 0, size)))
        expect(texts(await consistencyProof(at + 1, size, store.read))).toEqual(
          texts(tree.proof(at + 1, size)),
        )
      }
  })

  test('are empty from size 0 and between equal sizes, and read nothing', async () => {
    const nothing = () => {
      throw new Error('read a tile')
    }
    expect(await consistencyProof(0, 0, nothing)).toEqual([])
    expect(await consistencyProof(0, 600, nothing)).toEqual([])
    expect(await consistencyProof(600, 600, nothing)).toEqual([])
    expect(await inclusionProof(0, 1, nothing)).toEqual([])
    expect(tilesForConsistency(600, 600)).toEqual([])
  })
})

describe('reading', () => {
  test('asks for each tile once and for all of them before the first answer', async () => {
    const asked: string[] = []
    let release = () => {}
    const gate = new Promise<void>((resolve) => {
      release = resolve
    })
    const proof = inclusionProof(5, 600, async (tile) => {
      asked.push(`${tile.level}/${tile.index}`)
      await gate
      return store.read(tile)
    })
    expect(asked.sort()).toEqual(['0/0', '0/2', '1/0'])
    release()
    expect(texts(await proof)).toEqual(texts(tree.path(5, 0, 600)))
  })

  test('names a tile that is missing or too short for the size', async () => {
    const short = (tile: TileRange) => store.read(tile)?.subarray(0, (tile.width - 1) * 32)
    for (const read of [() => undefined, short, async () => undefined]) {
      await expect(inclusionProof(300, 600, read)).rejects.toMatchObject({ code: 'TILE_MISSING' })
      await expect(consistencyProof(300, 600, read)).rejects.toMatchObject({ code: 'TILE_MISSING' })
      await expect(rootAt(600, read)).rejects.toMatchObject({ code: 'TILE_MISSING' })
    }
  })

  test('refuses places and sizes that no tree has', async () => {
    for (const [index, size] of [
      [0, 0],
      [5, 5],
      [-1, 5],
      [0.5, 5],
      [0, 2 ** 53],
      [Number.NaN, 5],
    ] as const) {
      await expect(inclusionProof(index, size, store.read)).rejects.toThrow(LogError)
      expect(() => tilesForInclusion(index, size)).toThrow(LogError)
    }
    for (const [size1, size2] of [
      [6, 5],
      [-1, 5],
      [0.5, 5],
      [1, 2 ** 53],
    ] as const) {
      await expect(consistencyProof(size1, size2, store.read)).rejects.toThrow(LogError)
      expect(() => tilesForConsistency(size1, size2)).toThrow(LogError)
    }
    await expect(rootAt(-1, store.read)).rejects.toThrow(LogError)
  })
})

/**
 * A log too large to hold: all leaves are the same but a few. A subtree without one of those is the same everywhere, so
 * any hash of RFC 6962 can be had from its definition in a few steps.
 */
class VastTree {
  readonly leafAt: ReadonlyMap<number, Uint8Array>
  private readonly plain: Uint8Array[] = [leafHash(new Uint8Array(0))]
  private readonly known = new Map<string, Uint8Array>()

  constructor(special: readonly number[]) {
    this.leafAt = new Map(special.map((at) => [at, leafHash(new TextEncoder().encode(`special ${at}`))]))
    for (let height = 1; height <= 53; height++) {
      const below = this.plain[height - 1] as Uint8Array
      this.plain.push(nodeHash(below, below))
    }
  }

  leaf(at: number): Uint8Array {
    return this.leafAt.get(at) ?? (this.plain[0] as Uint8Array)
  }

  mth(begin: number, end: number): Uint8Array {
    const height = Math.log2(end - begin)
    const special = [...this.leafAt.keys()].some((at) => at >= begin && at < end)
    if (!special && Number.isInteger(height) && 2 ** height === end - begin)
      return this.plain[height] as Uint8Array
    if (end - begin === 1) return this.leaf(begin)
    const key = `${begin}:${end}`
    let hash = this.known.get(key)
    if (hash === undefined) {
      const middle = begin + largestPowerOfTwoBelow(end - begin)
      hash = nodeHash(this.mth(begin, middle), this.mth(middle, end))
      this.known.set(key, hash)
    }
    return hash
  }

  /** A reader of this log as it stands at `size`, which insists on being asked for existing tiles only. */
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

describe('large trees', () => {
  const boundaries = [256, 65_536, 256 ** 3, 2 ** 30, 256 ** 4, 2 ** 40, 256 ** 6, 2 ** 53 - 8]
  const around = boundaries.flatMap((at) => [-2, -1, 0, 1, 2, 255, 256, 257].map((by) => at + by))
  const sizes = around.filter((size) => size <= Number.MAX_SAFE_INTEGER)
  const vast = new VastTree([0, 1, 77, 12_345_678, ...around.filter((at) => at < Number.MAX_SAFE_INTEGER)])

  test.each(sizes)('proofs and roots of a log of %i leaves verify', async (size) => {
    const read = vast.reader(size)
    const root = vast.mth(0, size)
    expect(hex(await rootAt(size, read))).toBe(hex(root))
    for (const index of [0, 77, size - 1, size - 2, size >= 300 ? size - 258 : 3, 2 ** 30 - 1].filter(
      (at) => at < size,
    )) {
      const proof = await inclusionProof(index, size, read)
      expect(verifyInclusion(index, size, vast.leaf(index), proof, root), `${index}`).toEqual({ ok: true })
      expect(tilesForInclusion(index, size).length).toBeLessThanOrEqual(14)
    }
    for (const size1 of [1, 256, 65_537, 2 ** 30, 2 ** 30 + 1, size - 1, size].filter((at) => at <= size)) {
      const proof = await consistencyProof(size1, size, read)
      expect(verifyConsistency(size1, size, proof, vast.mth(0, size1), root), `${size1}`).toEqual({
        ok: true,
      })
    }
  })

  test.each(boundaries)('appending across %i reaches the same root and tiles', async (boundary) => {
    const size = boundary - 2
    const added = Array.from({ length: 7 }, (_, i) => vast.leaf(size + i))
    const { state, root, tiles } = appendLeaves(await loadState(size, vast.reader(size)), added)
    expect(hex(root)).toBe(hex(vast.mth(0, size + 7)))
    const read = vast.reader(size + 7)
    for (const { level, index, hashes } of tiles)
      expect(hex(hashes)).toBe(hex(read({ level, index, width: tileWidth(level, index, size + 7) })))
    expect(state).toEqual(await loadState(size + 7, read))
  })
})
