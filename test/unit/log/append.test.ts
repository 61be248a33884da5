import { beforeAll, describe, expect, test } from 'vitest'
import { appendLeaves, emptyState, type LogState, loadState, rootOf } from '../../../src/log/append.ts'
import { LogError } from '../../../src/log/error.ts'
import { emptyRoot } from '../../../src/log/merkle.ts'
import { tilesAt } from '../../../src/log/tile.ts'
import { hex, ReferenceTree, someLeaves, TileStore } from './reference.ts'

const SIZES = 600
const tree = new ReferenceTree(someLeaves(SIZES))

/** Each size's state, from appending one leaf at a time; `store` is what a database would hold in the end. */
const states: LogState[] = [emptyState()]
const store = new TileStore()

beforeAll(() => {
  for (const leaf of tree.leaves) {
    const { state, tiles } = appendLeaves(states.at(-1) as LogState, [leaf])
    states.push(state)
    store.put(tiles)
  }
})

describe('appendLeaves', () => {
  test(`reaches the root of RFC 6962 at every size up to ${SIZES}, leaf by leaf`, () => {
    for (const [size, state] of states.entries()) {
      expect(state.size).toBe(size)
      expect(hex(rootOf(state))).toBe(hex(tree.root(size)))
    }
    expect(hex(rootOf(emptyState()))).toBe(hex(emptyRoot()))
  })

  test('writes exactly the hashes that C2SP tlog-tiles defines', () => {
    const expected = new Map<string, string>()
    for (const { level, index, width } of tilesAt(SIZES)) {
      const span = 256 ** level
      const hashes = Array.from({ length: width }, (_, i) => {
        const first = (index * 256 + i) * span
        return hex(tree.mth(first, first + span))
      })
      expected.set(`${level}/${index}`, hashes.join(''))
    }
    expect(new Map([...store.rows].map(([key, hashes]) => [key, hex(hashes)]))).toEqual(expected)
  })

  test('names each tile that is new or has grown, and no other', () => {
    for (const [size1, size2] of [
      [0, 1],
      [0, 600],
      [1, 2],
      [255, 256],
      [255, 257],
      [256, 257],
      [256, 512],
      [300, 600],
      [511, 513],
      [600, 600],
    ] as const) {
      const { tiles } = appendLeaves(states[size1] as LogState, tree.leaves.slice(size1, size2))
      const named = tiles.map(({ level, index, hashes }) => ({ level, index, width: hashes.length / 32 }))
      expect(named, `${size1} to ${size2}`).toEqual([...tilesAt(size2, size1)])
    }
  })

  // At 301 the last leaf waits on the edge itself, at 512 one subtree there is the root.
  test.each([300, 301, 512])('keeps the old state as it was and shares no memory, at size %i', (size) => {
    const leaves = someLeaves(size)
    const before = appendLeaves(emptyState(), leaves.slice(0, -1)).state
    const copy = structuredClone(before)
    const { state, tiles, root } = appendLeaves(before, leaves.slice(-1))
    for (const { hashes } of tiles) hashes.fill(0)
    for (const leaf of leaves) leaf.fill(0)
    root.fill(0)
    rootOf(state).fill(0)
    expect(before).toEqual(copy)
    expect(state).toEqual(states[size])
    expect(hex(rootOf(state))).toBe(hex(tree.root(size)))
  })

  test('appending nothing changes nothing', () => {
    const state = states[300] as LogState
    expect(appendLeaves(state, [])).toEqual({ state, root: tree.root(300), tiles: [] })
    expect(appendLeaves(emptyState(), [])).toEqual({ state: emptyState(), root: emptyRoot(), tiles: [] })
  })

  test('refuses what is not a leaf hash, and a tree beyond 2^53 - 1', () => {
    const leaf = tree.leaves[0] as Uint8Array
    for (const bad of [new Uint8Array(31), new Uint8Array(33), undefined, 'x', null])
      expect(() => appendLeaves(emptyState(), [leaf, bad as Uint8Array])).toThrow(LogError)
    const full: LogState = { size: Number.MAX_SAFE_INTEGER, edge: Array(53).fill(leaf), partial: [] }
    expect(() => appendLeaves(full, [leaf])).toThrow(LogError)
  })
})

describe('loadState', () => {
  test('finds the state of every size again, from tiles that have grown since', async () => {
    for (const [size, state] of states.entries()) {
      store.reads.length = 0
      expect(await loadState(size, store.read), `${size}`).toEqual(state)
      expect(store.reads.length).toBeLessThanOrEqual(2)
    }
  })

  test('names the tile that is missing, short or torn', async () => {
    const at = (hashes: Uint8Array | undefined) =>
      loadState(300, ({ level }) => (level === 0 ? hashes : new Uint8Array(32)))
    for (const hashes of [undefined, new Uint8Array(0), new Uint8Array(43 * 32), new Uint8Array(44 * 32 + 1)])
      await expect(at(hashes)).rejects.toMatchObject({
        code: 'TILE_MISSING',
        details: { level: 0, index: 1, width: 44 },
      })
    expect((await at(new Uint8Array(44 * 32))).size).toBe(300)
  })

  test('refuses a size that is none', async () => {
    for (const size of [-1, 1.5, 2 ** 53, Number.NaN])
      await expect(loadState(size, store.read)).rejects.toThrow(LogError)
  })
})
