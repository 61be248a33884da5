import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { toHex } from '../../src/core/bytes.ts'
import { type Config, loadConfig } from '../../src/core/config.ts'
import { createKey } from '../../src/core/key-file.ts'
import { mlDsa } from '../../src/core/ml-dsa-native.ts'
import { readHistory, writeHistory } from '../../src/key-history.ts'
import { openKeyRing } from '../../src/key-ring.ts'
import { type Rotation, rotateKey } from '../../src/key-rotation.ts'
import { createKeys, keyFolder, type Role } from '../../src/keys.ts'
import { isSignedBy, signCheckpoint } from '../../src/log/checkpoint.ts'
import { emptyRoot } from '../../src/log/merkle.ts'

const ORIGIN = 'keys.example/log'
let folder: string
let config: Config
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'dunes-keys-'))
  config = loadConfig({ flags: { dataDir: folder }, env: {}, cwd: folder })
  createKeys(config, {})
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const rotation = (size: number, more: Partial<Rotation> = {}): Rotation => ({
  config,
  env: {},
  mlDsa,
  origin: ORIGIN,
  logged: async () => size,
  ...more,
})
const ring = () => openKeyRing(config, {}, ORIGIN, mlDsa)
const periods = (get = ring()) => get().receiptKeys.map(({ fromIndex, toIndex }) => [fromIndex, toIndex])

describe('replacing a key', () => {
  it('keeps each old one for what is logged then, and signs with the new one at once', async () => {
    const get = ring()
    const first = get().receiptKey
    await rotateKey('receipt', rotation(5))
    const second = get().receiptKey
    expect(second).not.toEqual(first)
    await rotateKey('receipt', rotation(9))
    expect(periods(get)).toEqual([
      [0, 4],
      [0, 8],
      [0, null],
    ])
    expect(
      get()
        .receiptKeys.map(({ publicKey }) => publicKey)
        .slice(0, 2),
    ).toEqual([first?.publicKey, second?.publicKey])
    expect(readdirSync(keyFolder(config)).filter((name) => name.startsWith('receipt'))).toEqual([
      'receipt.1.key',
      'receipt.2.key',
      'receipt.key',
    ])
  })

  it('remembers nothing of a key that has signed nothing', async () => {
    expect(await rotateKey('receipt', rotation(0))).toMatchObject({ upTo: null })
    expect(await rotateKey('checkpointEd25519', rotation(0))).toMatchObject({ upTo: null })
    expect(readHistory(keyFolder(config))).toMatchObject({ receipt: [], checkpoint: [] })
  })

  it('trusts the old key without an end until it is known, and ends it in the next run, wherever one breaks off', async () => {
    const failing = rotation(5, { logged: () => Promise.reject(new Error('the database is gone')) })
    await expect(rotateKey('receipt', failing)).rejects.toThrow('gone')
    expect(periods()).toEqual([
      [0, null],
      [0, null],
    ])
    await rotateKey('receipt', rotation(7))
    expect(periods()).toEqual([
      [0, 6],
      [0, 6],
      [0, null],
    ])
  })

  it('takes up the key that a broken-off run had made', async () => {
    const next = createKey(join(keyFolder(config), 'receipt.key.next'))
    await rotateKey('receipt', rotation(5))
    expect(toHex(ring()().receiptKey?.seed as Uint8Array)).toBe(toHex(next))
    expect(existsSync(join(keyFolder(config), 'receipt.key.next'))).toBe(false)
  })

  it.each([
    'receipt',
    'checkpointEd25519',
    'checkpointMlDsa44',
    'anchor',
  ] as Role[])('leaves no file of %s open to others', async (role) => {
    await rotateKey(role, rotation(5))
    for (const name of readdirSync(keyFolder(config)))
      expect(statSync(join(keyFolder(config), name)).mode & 0o077, name).toBe(0)
    expect(
      readHistory(keyFolder(config))[role.startsWith('checkpoint') ? 'checkpoint' : (role as 'anchor')],
    ).toHaveLength(1)
  })

  it('puts checkpoint keys away as the set that signed together', async () => {
    const get = ring()
    const before = get().checkpointVkeys
    const note = signCheckpoint({ origin: ORIGIN, size: 0, root: emptyRoot(), timestamp: 1 }, get().signers)
    expect(isSignedBy(note, get().signers)).toBe(true)
    await rotateKey('checkpointMlDsa44', rotation(5))
    expect(get().retiredCheckpointVkeys).toEqual([{ vkeys: before, toSize: 5 }])
    expect(get().checkpointVkeys[0]).toBe(before[0])
    expect(get().checkpointVkeys[1]).not.toBe(before[1])
    expect(isSignedBy(note, get().signers)).toBe(false)
    expect(isSignedBy(note, get().signers.slice(0, 1))).toBe(false)
  })

  it('refuses a key that stands in the environment, and a history that cannot be read', async () => {
    const env = { DUNES_RECEIPT_KEY: '11'.repeat(32) }
    await expect(rotateKey('receipt', rotation(5, { env }))).rejects.toMatchObject({
      code: 'KEY_IN_ENVIRONMENT',
      message: 'the receipt key is the variable DUNES_RECEIPT_KEY',
      hint: expect.stringContaining('set DUNES_RECEIPT_KEY_FILE to its path, and rotate again'),
    })
    rmSync(join(keyFolder(config), 'anchor.key'))
    await expect(rotateKey('anchor', rotation(5))).rejects.toMatchObject({ code: 'KEY_MISSING' })
    const path = join(keyFolder(config), 'history.json')
    for (const bad of [
      '',
      '{',
      '{}',
      '{"v":2,"receipt":[],"checkpoint":[],"anchor":[]}',
      '{"v":1,"receipt":[{}],"checkpoint":[],"anchor":[]}',
    ]) {
      writeFileSync(path, bad)
      expect(() => readHistory(keyFolder(config)), bad).toThrow('history.json cannot be read')
      await expect(rotateKey('receipt', rotation(5))).rejects.toMatchObject({ code: 'KEY_HISTORY_INVALID' })
    }
    writeHistory(keyFolder(config), { v: 1, receipt: [], checkpoint: [], anchor: [] })
    expect(JSON.parse(readFileSync(path, 'utf8'))).toEqual({ v: 1, receipt: [], checkpoint: [], anchor: [] })
  })
})
