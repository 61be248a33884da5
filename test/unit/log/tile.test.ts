import { describe, expect, test } from 'vitest'
import { decodeEntryBundle, encodeEntryBundle } from '../../../src/log/entry-bundle.ts'
import { LogError } from '../../../src/log/error.ts'
import {
  entryBundlePath,
  levelCount,
  parseTilePath,
  partialTiles,
  tilePath,
  tilesAt,
  tileWidth,
} from '../../../src/log/tile.ts'

describe('tile paths', () => {
  test.each([
    [{ level: 0, index: 0, width: 256 }, 'tile/0/000'],
    [{ level: 0, index: 0, width: 1 }, 'tile/0/000.p/1'],
    [{ level: 0, index: 999, width: 255 }, 'tile/0/999.p/255'],
    [{ level: 1, index: 1000, width: 256 }, 'tile/1/x001/000'],
    [{ level: 0, index: 1234067, width: 256 }, 'tile/0/x001/x234/067'],
    [{ level: 63, index: 0, width: 256 }, 'tile/63/000'],
    [{ level: 0, index: Number.MAX_SAFE_INTEGER, width: 256 }, 'tile/0/x009/x007/x199/x254/x740/991'],
  ])('%o is %s', (tile, path) => {
    expect(tilePath(tile)).toBe(path)
    expect(parseTilePath(path)).toEqual({ kind: 'hashes', ...tile })
    const bundle = { index: tile.index, width: tile.width }
    const bundlePath = path.replace(/^tile\/\d+/, 'tile/entries')
    expect(entryBundlePath(bundle)).toBe(bundlePath)
    expect(parseTilePath(bundlePath)).toEqual({ kind: 'entries', ...bundle })
  })

  test.each([
    '',
    'tile',
    'tile/0',
    'tile/0/',
    '/tile/0/000',
    'tile/0/000/',
    'tile/0/000\n',
    'tile/00/000',
    'tile/01/000',
    'tile/-1/000',
    'tile/64/000',
    'tile/99/000',
    'tile/100/000',
    'tile/x/000',
    'tile/data/000',
    'tile/Entries/000',
    'tile/0/0',
    'tile/0/00',
    'tile/0/0000',
    'tile/0/x000',
    'tile/0/x000/001',
    'tile/0/x001/1',
    'tile/0/001/000',
    'tile/0/x001/x000',
    'tile/0/x001/y000/000',
    'tile/0/x001//000',
    'tile/0/X001/000',
    'tile/0/0x1',
    'tile/0/٠٠٠',
    'tile/0/000.p',
    'tile/0/000.p/',
    'tile/0/000.p/0',
    'tile/0/000.p/01',
    'tile/0/000.p/256',
    'tile/0/000.p/999',
    'tile/0/000.p/1000',
    'tile/0/000.p/-1',
    'tile/0/000.p/1/',
    'tile/0/000.P/1',
    'tile/0/000/p/1',
    'tile/0/../000',
    'tile/0/%30%30%30',
    'tile/0/000?x',
    'tile/0/x009/x007/x199/x254/x740/992',
    'tile/0/x999/x999/x999/x999/x999/999',
    'tile/0/x001/x000/x000/x000/x000/x000/000',
    'checkpoint',
  ])('%j is not a tile path', (path) => {
    expect(parseTilePath(path)).toBeNull()
  })

  test.each([
    { level: -1, index: 0, width: 1 },
    { level: 64, index: 0, width: 1 },
    { level: 0.5, index: 0, width: 1 },
    { level: 0, index: -1, width: 1 },
    { level: 0, index: 2 ** 53, width: 1 },
    { level: 0, index: 0, width: 0 },
    { level: 0, index: 0, width: 257 },
    { level: 0, index: 0, width: 1.5 },
  ])('%o has no path', (tile) => {
    expect(() => tilePath(tile)).toThrow(LogError)
    if (tile.level === 0) expect(() => entryBundlePath(tile)).toThrow(LogError)
  })
})

describe('which tiles exist', () => {
  test('the example of C2SP tlog-tiles: 70,000 leaves', () => {
    const tiles = [...tilesAt(70_000)]
    const at = (level: number) => tiles.filter((tile) => tile.level === level)
    expect(at(0).filter((tile) => tile.width === 256)).toHaveLength(273)
    expect(at(0).at(-1)).toEqual({ level: 0, index: 273, width: 112 })
    expect(at(1)).toEqual([
      { level: 1, index: 0, width: 256 },
      { level: 1, index: 1, width: 17 },
    ])
    expect(at(2)).toEqual([{ level: 2, index: 0, width: 1 }])
    expect(tiles).toHaveLength(277)
    expect(partialTiles(70_000)).toEqual([
      { level: 0, index: 273, width: 112 },
      { level: 1, index: 1, width: 17 },
      { level: 2, index: 0, width: 1 },
    ])
  })

  test('256 leaves are a full tile and one hash above it', () => {
    expect([...tilesAt(256)]).toEqual([
      { level: 0, index: 0, width: 256 },
      { level: 1, index: 0, width: 1 },
    ])
    expect(partialTiles(256)).toEqual([{ level: 1, index: 0, width: 1 }])
    expect([...tilesAt(255)]).toEqual([{ level: 0, index: 0, width: 255 }])
    expect([...tilesAt(0)]).toEqual([])
    expect([levelCount(0), levelCount(1), levelCount(255), levelCount(256), levelCount(65_536)]).toEqual([
      0, 1, 1, 2, 3,
    ])
  })

  test('widths agree with the list, and there is nothing beyond it', () => {
    for (const size of [1, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537]) {
      for (const { level, index, width } of tilesAt(size)) expect(tileWidth(level, index, size)).toBe(width)
      for (let level = 0; level <= 63; level++) {
        const count = [...tilesAt(size)].filter((tile) => tile.level === level).length
        expect(tileWidth(level, count, size)).toBe(0)
      }
    }
    expect(levelCount(Number.MAX_SAFE_INTEGER)).toBe(7)
    expect(tileWidth(6, 0, Number.MAX_SAFE_INTEGER)).toBe(31)
  })

  test('`since` leaves out what was there before', () => {
    expect([...tilesAt(70_000, 70_000)]).toEqual([])
    expect([...tilesAt(513, 511)]).toEqual([
      { level: 0, index: 1, width: 256 },
      { level: 0, index: 2, width: 1 },
      { level: 1, index: 0, width: 2 },
    ])
    expect([...tilesAt(257, 256)]).toEqual([{ level: 0, index: 1, width: 1 }])
  })

  test.each([-1, 0.5, Number.NaN, 2 ** 53, '3'])('%j is not a tree size', (size) => {
    expect(() => levelCount(size as number)).toThrow(LogError)
    expect(() => tileWidth(0, 0, size as number)).toThrow(LogError)
    expect(() => [...tilesAt(size as number)]).toThrow(LogError)
    expect(() => partialTiles(size as number)).toThrow(LogError)
  })
})

describe('entry bundles', () => {
  test('put a big-endian uint16 length before each entry', () => {
    const entries = [Uint8Array.of(1, 2, 3), new Uint8Array(0), new Uint8Array(258).fill(7)]
    const bundle = encodeEntryBundle(entries)
    expect([...bundle.subarray(0, 9)]).toEqual([0, 3, 1, 2, 3, 0, 0, 1, 2])
    expect(bundle).toHaveLength(3 * 2 + 3 + 258)
    expect(decodeEntryBundle(bundle)).toEqual(entries)
  })

  test('hold 1 to 256 entries of at most 65,535 bytes', () => {
    const long = new Uint8Array(65_535).fill(1)
    expect(decodeEntryBundle(encodeEntryBundle([long]))).toEqual([long])
    expect(() => encodeEntryBundle([new Uint8Array(65_536)])).toThrow(LogError)
    const empty = Array.from({ length: 257 }, () => new Uint8Array(0))
    expect(decodeEntryBundle(encodeEntryBundle(empty.slice(1)))).toHaveLength(256)
    expect(() => encodeEntryBundle(empty)).toThrow(LogError)
    expect(() => encodeEntryBundle([])).toThrow(LogError)
    expect(() => decodeEntryBundle(new Uint8Array(2 * 257))).toThrow(LogError)
    expect(() => decodeEntryBundle(new Uint8Array(0))).toThrow(LogError)
  })

  test('end only where an entry ends', () => {
    const bundle = encodeEntryBundle([Uint8Array.of(1, 2, 3), Uint8Array.of(4)])
    expect(() => decodeEntryBundle(bundle.subarray(0, 6))).toThrow('the bundle ends within a length')
    expect(() => decodeEntryBundle(bundle.subarray(0, 7))).toThrow('the bundle ends within an entry')
    for (let length = 0; length < bundle.length; length++) {
      if (length === 5) expect(decodeEntryBundle(bundle.subarray(0, length))).toHaveLength(1)
      else expect(() => decodeEntryBundle(bundle.subarray(0, length)), `${length}`).toThrow(LogError)
    }
  })
})
