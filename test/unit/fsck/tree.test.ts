import { describe, expect, it } from 'vitest'
import { toHex, utf8 } from '../../../src/core/bytes.ts'
import { tileIndex } from '../../../src/fsck/published.ts'
import { hashLeaf, Tree, tileCount } from '../../../src/fsck/tree.ts'
import { appendLeaves, emptyState } from '../../../src/log/append.ts'
import { leafHash } from '../../../src/log/merkle.ts'
import { entryBundlePath } from '../../../src/log/tile.ts'

describe('the tree, written twice', () => {
  it('has the same roots and tiles at every size', () => {
    const tree = new Tree()
    let state = emptyState()
    const tiles = new Map<string, string>()
    const built = new Map<string, string>()
    expect(toHex(tree.root())).toBe('0xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855')
    for (let size = 1; size <= 1_100; size++) {
      const entry = utf8(`entry ${size}\n`)
      const grown = appendLeaves(state, [leafHash(entry)])
      state = grown.state
      for (const { level, index, hashes } of grown.tiles) tiles.set(`${level}/${index}`, toHex(hashes))
      tree.push(hashLeaf(entry))
      for (const { level, index, hashes } of [...tree.takeFull(), ...tree.partial()])
        built.set(`${level}/${index}`, toHex(hashes))
      expect(toHex(tree.root())).toBe(toHex(grown.root))
      expect(tileCount(size)).toBe(tiles.size)
    }
    expect(built).toEqual(tiles)
  })

  it('goes on from what was saved, across the boundary of a tile of the second level', () => {
    const start = 65_500
    const tree = new Tree()
    const leaves = Array.from({ length: 65_600 }, (_, i) => hashLeaf(utf8(String(i))))
    for (const leaf of leaves.slice(0, start)) tree.push(leaf)
    const again = new Tree(JSON.parse(JSON.stringify(tree.state())))
    tree.takeFull()
    for (const leaf of leaves.slice(start)) {
      tree.push(leaf)
      again.push(leaf)
    }
    const grown = appendLeaves(emptyState(), leaves)
    expect(toHex(again.root())).toBe(toHex(grown.root))
    expect(again.partial()).toEqual(tree.partial())
    expect(again.takeFull()).toEqual(tree.takeFull())
    expect(tileCount(65_600)).toBe(grown.tiles.length)
  })

  it('writes the index of a bundle as tlog-tiles does', () => {
    for (const index of [0, 1, 999, 1_000, 1_234_067, 999_999_999, 1_000_000_000])
      expect(`tile/entries/${tileIndex(index)}`).toBe(entryBundlePath({ index, width: 256 }))
  })
})
