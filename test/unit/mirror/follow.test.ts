import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { concat, utf8 } from '../../../src/core/bytes.ts'
import { mlDsa } from '../../../src/core/ml-dsa-native.ts'
import { ed25519Signer, mlDsa44Signer } from '../../../src/log/checkpoint.ts'
import { encodeEntryBundle } from '../../../src/log/entry-bundle.ts'
import { formatNote, parseNote } from '../../../src/log/note.ts'
import { entryBundlePath, tilePath, tilesAt } from '../../../src/log/tile.ts'
import { MirrorError } from '../../../src/mirror/error.ts'
import { LogFolder } from '../../../src/mirror/folder.ts'
import { followLog } from '../../../src/mirror/follow.ts'
import { MemoryLog, ORIGIN, SIGNED_AT, SIGNERS, TRUST } from '../../support/memory-log.ts'

let path: string
beforeEach(() => {
  path = mkdtempSync(join(tmpdir(), 'dunes-mirror-'))
})
afterEach(() => rmSync(path, { recursive: true, force: true }))

const clock = { now: () => SIGNED_AT * 1000, sleep: async () => {} }
const follow = (source: MemoryLog, more: Partial<Parameters<typeof followLog>[0]> = {}) =>
  followLog({
    source,
    folder: new LogFolder(path),
    trust: TRUST,
    clock,
    signal: new AbortController().signal,
    ...more,
  })
const files = () =>
  readdirSync(path, { recursive: true, encoding: 'utf8' })
    .filter((name) => statSync(join(path, name)).isFile())
    .sort()
const read = (name: string) => new Uint8Array(readFileSync(join(path, name)))
/** All that a tree of `size` entries needs, under its paths. */
const needed = (size: number) =>
  [
    'checkpoint',
    ...[...tilesAt(size)].map(tilePath),
    ...Array.from({ length: Math.ceil(size / 256) }, (_, index) =>
      entryBundlePath({ index, width: Math.min(256, size - index * 256) }),
    ),
  ].sort()
const code = (work: Promise<unknown>) =>
  work.then(
    () => 'followed',
    (error) => {
      if (error instanceof MirrorError) return error.code
      throw error
    },
  )
/** Nothing but bytes that the honest log has may be in the folder. */
const expectHonest = (log: MemoryLog) => {
  for (const name of files().filter((f) => f !== 'checkpoint' && !f.startsWith('refused/')))
    expect(read(name), name).toEqual(log.at(name))
}

describe('following', () => {
  test.each([1, 2, 255, 256, 257, 600])('a new log of %i entries stores each of its files', async (size) => {
    const log = new MemoryLog().grow(size)
    expect(await follow(log)).toMatchObject({ before: 0, size })
    expect(files()).toEqual(needed(size))
    for (const name of files()) expect(read(name)).toEqual(log.at(name))
  })

  test('goes on from what is held, and reads nothing twice', async () => {
    const log = new MemoryLog()
    for (const size of [3, 250, 300, 511, 512, 600, 601]) {
      log.grow(size)
      log.asked.length = 0
      await follow(log)
      expect(new Set(log.asked).size).toBe(log.asked.length)
      for (const name of needed(size)) expect(read(name)).toEqual(log.at(name))
    }
    expect(log.asked).not.toContain('tile/entries/000')
    // Partial tiles of earlier checkpoints stay until the full one is there.
    expect(files()).toContain('tile/entries/002.p/88')
    expect(
      files().filter((name) => name.startsWith('tile/0/000.p') || name.startsWith('tile/0/001.p')),
    ).toEqual([])
    log.asked.length = 0
    expect(await follow(log)).toMatchObject({ before: 601, size: 601 })
    expect(log.asked).toEqual(['checkpoint'])
  })

  test('takes an empty log, and then its first entries', async () => {
    const log = new MemoryLog().publish()
    expect(await follow(log)).toMatchObject({ size: 0 })
    expect(await follow(log.grow(5))).toMatchObject({ before: 0, size: 5 })
  })

  test('takes the full file where the partial one is gone', async () => {
    const log = new MemoryLog().grow(300)
    const { note } = log
    log.grow(600)
    log.note = note
    log.instead.set('tile/0/001.p/44', null)
    log.instead.set('tile/entries/001.p/44', null)
    expect(await follow(log)).toMatchObject({ size: 300 })
    expect(files()).toEqual(needed(300))
    expectHonest(log)
  })

  test('is taken up where it was broken off', async () => {
    const log = new MemoryLog().grow(256 * 30 + 7)
    const stop = new AbortController()
    log.onRead = (name) => {
      if (name === 'tile/entries/012') stop.abort()
    }
    expect(await code(follow(log, { signal: stop.signal }))).toBe('LOG_UNREACHABLE')
    expect(files()).not.toContain('checkpoint')
    const kept = files().filter((name) => name.startsWith('tile/entries/'))
    expect(kept.length).toBeGreaterThan(5)
    log.onRead = () => {}
    log.asked.length = 0
    const seen: [number, number][] = []
    await follow(log, { progress: (done, total) => seen.push([done, total]) })
    expect(log.asked.filter((name) => kept.includes(name))).toEqual([])
    expect(files()).toEqual(needed(256 * 30 + 7))
    expect(seen.at(-1)).toEqual([7687, 7687])
  })

  test('finds and replaces damaged files when asked to look again', async () => {
    const log = new MemoryLog().grow(600)
    await follow(log)
    for (const name of ['tile/0/000', 'tile/entries/001']) writeFileSync(join(path, name), 'rot')
    await follow(log)
    expect(read('tile/0/000').length).toBe(3)
    await follow(log, { recheck: true })
    expect(files()).toEqual(needed(600))
    expectHonest(log)
  })
})

describe('a checkpoint is refused', () => {
  const stranger = ed25519Signer('stranger.example', new Uint8Array(32).fill(50))
  const [first, second] = SIGNERS as [(typeof SIGNERS)[0], (typeof SIGNERS)[0]]
  const otherKey = ed25519Signer(ORIGIN, new Uint8Array(32).fill(51))
  const changed = (
    log: MemoryLog,
    change: (note: ReturnType<typeof parseNote>) => ReturnType<typeof parseNote>,
  ) => {
    log.note = formatNote(change(parseNote(log.note)))
  }

  const respell = (log: MemoryLog, from: string, to: string) => {
    log.note = log.note.replace(from, to)
  }

  test.each([
    ['without one of its signatures', (log: MemoryLog) => log.publish({ signers: [first] })],
    ['signed by nobody known', (log: MemoryLog) => log.publish({ signers: [stranger] })],
    ['signed by a stranger too', (log: MemoryLog) => log.publish({ signers: [...SIGNERS, stranger] })],
    ['signed by another key of that name', (log: MemoryLog) => log.publish({ signers: [otherKey, second] })],
    [
      'with a wrong key id',
      (log: MemoryLog) =>
        changed(log, (note) => ({
          ...note,
          signatures: note.signatures.map((line, i) => (i === 0 ? { ...line, keyId: line.keyId ^ 1 } : line)),
        })),
    ],
    [
      'with a line of an unknown signature type',
      (log: MemoryLog) =>
        changed(log, (note) => ({
          ...note,
          signatures: [
            ...note.signatures,
            { name: ORIGIN, keyId: 0xfa_ce_00_07, signature: new Uint8Array(99) },
          ],
        })),
    ],
    [
      'with a signature that was changed',
      (log: MemoryLog) =>
        changed(log, (note) => ({
          ...note,
          signatures: note.signatures.map((line) => ({
            ...line,
            signature: line.signature.map((b) => b ^ 1),
          })),
        })),
    ],
    ['of another size than was signed', (log: MemoryLog) => respell(log, '\n600\n', '\n601\n')],
    ['of another origin', (log: MemoryLog) => respell(log, ORIGIN, 'other.example/log')],
    ['that is no note', (log: MemoryLog) => respell(log, log.note, '<html>')],
    [
      'whose signer is ahead',
      (log: MemoryLog) => log.publish({ timestamp: SIGNED_AT + 301 }),
      'CHECKPOINT_FROM_FUTURE',
    ],
  ] as [
    string,
    (log: MemoryLog) => unknown,
    string?,
  ][])('%s', async (_, spoil, expected = 'CHECKPOINT_REFUSED') => {
    const log = new MemoryLog().grow(600)
    spoil(log)
    expect(await code(follow(log))).toBe(expected)
    expect(files()).toEqual([])
  })

  test('with the reason: which line, and which key id it has', async () => {
    const log = new MemoryLog().grow(9).publish({ signers: [otherKey, second] })
    const id = otherKey.vkey.keyId.toString(16).padStart(8, '0')
    await expect(follow(log)).rejects.toThrow(`a line of ${ORIGIN} has the key id ${id}`)
  })

  test('and taken within the allowance for clocks', async () => {
    const log = new MemoryLog().grow(9, { timestamp: SIGNED_AT + 300 })
    expect(await code(follow(log))).toBe('followed')
    log.grow(10, { timestamp: SIGNED_AT + 3600 })
    expect(await code(follow(log, { trust: { ...TRUST, allowanceSeconds: 3600 } }))).toBe('followed')
  })
})

describe('a log that contradicts itself is refused, and what is held stays', () => {
  const setUp = async (size = 300) => {
    const log = new MemoryLog().grow(size)
    await follow(log)
    return { log, held: read('checkpoint') }
  }

  test('shrunken', async () => {
    const { held, log } = await setUp()
    expect(await code(follow(new MemoryLog().grow(299)))).toBe('LOG_SHRUNK')
    expect(read('checkpoint')).toEqual(held)
    expectHonest(log)
  })

  test('with a second root at the same size, and the evidence is kept', async () => {
    const { held, log } = await setUp()
    const other = new MemoryLog().grow(300, { salt: '!' })
    expect(await code(follow(other))).toBe('LOG_FORKED')
    expect(read('checkpoint')).toEqual(held)
    const refused = files().filter((name) => name.startsWith('refused/'))
    expect(refused.map(read)).toEqual([utf8(other.note)])
    expectHonest(log)
  })

  test.each([
    [300, 301],
    [300, 600],
    [256, 257],
    [255, 70_000],
  ])('rewritten: %i entries held, %i shown', async (size, shown) => {
    const { held } = await setUp(size)
    const other = new MemoryLog().grow(size - 1).grow(shown, { salt: '!' })
    expect(await code(follow(other))).toBe('LOG_REWRITTEN')
    expect(read('checkpoint')).toEqual(held)
    expect(
      files()
        .filter((name) => name.startsWith('refused/'))
        .map(read),
    ).toEqual([utf8(other.note)])
  })

  test('another log than the folder holds', async () => {
    await setUp()
    const trust = { ...TRUST, origin: 'other.example/log' }
    const other = new MemoryLog().grow(5)
    other.note = other.note.replace(ORIGIN, trust.origin)
    expect(await code(follow(other, { trust }))).toBe('FOLDER_UNUSABLE')
  })
})

describe('what does not make the root is not kept', () => {
  const flip = (bytes: Uint8Array, at: number) => bytes.map((byte, i) => (i === at ? byte ^ 1 : byte))

  test.each([
    'tile/0/000',
    'tile/0/001',
    'tile/0/002.p/88',
    'tile/1/000.p/2',
  ])('%s, with one bit changed, cut short or grown', async (name) => {
    const log = new MemoryLog().grow(600)
    const good = log.at(name) as Uint8Array
    for (const bad of [
      flip(good, good.length - 1),
      good.subarray(32),
      good.subarray(0, -1),
      new Uint8Array(0),
    ]) {
      log.instead.set(name, bad)
      expect(await code(follow(log))).toBe('TILE_MISMATCH')
    }
    expect(files()).not.toContain('checkpoint')
    expectHonest(log)
  })

  test.each(['tile/entries/000', 'tile/entries/002.p/88'])('%s in other words', async (name) => {
    const log = new MemoryLog().grow(600)
    const good = log.at(name) as Uint8Array
    const from = name.endsWith('88') ? 512 : 0
    const some = log.entries.slice(from, from + 256)
    const swapped = [some[1], some[0], ...some.slice(2)] as Uint8Array[]
    for (const bad of [
      flip(good, 2),
      flip(good, 1),
      good.subarray(0, -1),
      concat(good, good.subarray(0, 0), new Uint8Array([0])),
      encodeEntryBundle(swapped),
      encodeEntryBundle(some.slice(1)),
      encodeEntryBundle(some.slice(0, -1)),
      new Uint8Array(0),
    ]) {
      log.instead.set(name, bad)
      expect(await code(follow(log))).toBe('ENTRY_MISMATCH')
      expect(files()).not.toContain(name)
    }
    expect(files()).not.toContain('checkpoint')
    expectHonest(log)
  })

  test('a signed root that the tiles do not have, also of no entries at all', async () => {
    expect(await code(follow(new MemoryLog().grow(600).publish({ root: new Uint8Array(32) })))).toBe(
      'TILE_MISMATCH',
    )
    expect(await code(follow(new MemoryLog().publish({ root: new Uint8Array(32) })))).toBe('LOG_FORKED')
  })

  test('what the log does not have', async () => {
    for (const name of ['checkpoint', 'tile/0/000', 'tile/1/000.p/2', 'tile/entries/001']) {
      const log = new MemoryLog().grow(600)
      log.instead.set(name, null)
      rmSync(path, { recursive: true, force: true })
      expect(await code(follow(log)), name).toBe('RESOURCE_MISSING')
    }
  })
})

test('a signer without a timestamp, and one that claims none, are fine', async () => {
  const pq = mlDsa44Signer(ORIGIN, new Uint8Array(32).fill(60), mlDsa)
  const log = new MemoryLog().grow(3).publish({ signers: [pq], timestamp: 0 })
  expect(await code(follow(log, { trust: { ...TRUST, vkeys: [pq.vkey] } }))).toBe('followed')
})
