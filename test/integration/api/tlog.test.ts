import { execFile, execFileSync } from 'node:child_process'
import { get, type IncomingMessage } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { gunzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { mlDsa } from '../../../src/core/ml-dsa-native.ts'
import { ed25519Signer, mlDsa44Signer, openCheckpoint } from '../../../src/log/checkpoint.ts'
import { encodeEntryBundle } from '../../../src/log/entry-bundle.ts'
import { formatVkey, parseVkey } from '../../../src/log/vkey.ts'
import { startApi, type TestApi } from '../../support/api.ts'
import { deployment, entryOf, fillGraph, ORIGIN } from '../../support/graph.ts'
import { growLog } from '../../support/log.ts'
import { type TestDatabase, testDatabase } from '../../support/postgres.ts'

/** What the log serves, held against C2SP tlog-tiles to the letter, and read by a program that was written for other logs. */

const SIZE = 600
const SIGNERS = [
  ed25519Signer(ORIGIN, new Uint8Array(32).fill(31)),
  mlDsa44Signer(ORIGIN, new Uint8Array(32).fill(32), mlDsa),
]
const VKEYS = SIGNERS.map(({ vkey }) => formatVkey(vkey))

let database: TestDatabase
let api: TestApi
let note: string

beforeAll(async () => {
  database = await testDatabase()
  await fillGraph(database.sql, { submitted: SIZE, settled: SIZE, final: SIZE, logged: 0, anchored: 0 })
  await growLog(database.sql, 300, SIGNERS)
  note = await growLog(database.sql, SIZE, SIGNERS)
  api = await startApi({ sql: database.sql, deployment, checkpointVkeys: VKEYS })
})
afterAll(async () => {
  await api?.close()
  await database?.stop()
})

/** Asks without the decoding and the headers that `fetch` adds. */
async function raw(path: string, headers: Record<string, string> = {}) {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    get(api.url + path, { headers }, resolve).on('error', reject)
  })
  return {
    status: response.statusCode,
    headers: response.headers,
    bytes: new Uint8Array(await buffer(response)),
  }
}

const entries = (from: number, to: number) =>
  encodeEntryBundle(Array.from({ length: to - from }, (_, i) => entryOf(from + i)))

describe('resources', () => {
  test('the checkpoint is a text that caches keep for seconds at most', async () => {
    const { status, headers, bytes } = await raw('/checkpoint')
    expect(status).toBe(200)
    expect(headers['content-type']).toBe('text/plain; charset=utf-8')
    expect(Number(/max-age=(\d+)/.exec(headers['cache-control'] as string)?.[1])).toBeLessThanOrEqual(5)
    expect(new TextDecoder().decode(bytes)).toBe(note)
    const opened = openCheckpoint(bytes, { origin: ORIGIN, vkeys: SIGNERS.map((s) => s.vkey), mlDsa })
    expect(opened).toMatchObject({ ok: true, checkpoint: { size: SIZE }, lines: 2 })
  })

  // 600 leaves: two full tiles of level 0 and a partial one of 88, and a partial one of 2 above them.
  test.each([
    ['/tile/0/000', 8192],
    ['/tile/0/001', 8192],
    ['/tile/0/002.p/88', 88 * 32],
    ['/tile/1/000.p/2', 64],
    // Partial tiles of an earlier checkpoint, of 300 leaves.
    ['/tile/0/001.p/44', 44 * 32],
    ['/tile/1/000.p/1', 32],
  ])('%s has %i bytes and may be kept for good', async (path, length) => {
    const { status, headers, bytes } = await raw(path, { 'Accept-Encoding': 'gzip' })
    expect(status).toBe(200)
    expect(headers['content-type']).toBe('application/octet-stream')
    expect(headers['cache-control']).toContain('immutable')
    expect(headers['content-encoding']).toBeUndefined()
    expect(bytes.length).toBe(length)
  })

  test.each([
    ['/tile/entries/000', entries(0, 256)],
    ['/tile/entries/001', entries(256, 512)],
    ['/tile/entries/002.p/88', entries(512, 600)],
    ['/tile/entries/001.p/44', entries(256, 300)],
  ])('%s holds its entries, plain or compressed as the client asks', async (path, expected) => {
    const plain = await raw(path)
    expect(plain).toMatchObject({ status: 200, bytes: expected })
    expect(plain.headers['content-encoding']).toBeUndefined()
    const packed = await raw(path, { 'Accept-Encoding': 'br, gzip;q=0.5' })
    expect(packed.headers['content-encoding']).toBe('gzip')
    expect(new Uint8Array(gunzipSync(packed.bytes))).toEqual(expected)
    for (const { headers } of [plain, packed]) {
      expect(headers['content-type']).toBe('application/octet-stream')
      expect(headers['cache-control']).toContain('immutable')
      expect(headers['vary']).toBe('Accept-Encoding')
    }
    expect(packed.headers['etag']).not.toBe(plain.headers['etag'])
    const again = { 'Accept-Encoding': 'gzip', 'If-None-Match': packed.headers['etag'] as string }
    expect((await raw(path, again)).status).toBe(304)
    expect(
      (await raw(path, { 'Accept-Encoding': 'gzip;q=0, *' })).headers['content-encoding'],
    ).toBeUndefined()
  })

  test.each([
    '/tile/0/002', // not full yet
    '/tile/0/002.p/89', // beyond the checkpoint
    '/tile/0/003.p/1',
    '/tile/0/002.p/0', // empty tiles are not served
    '/tile/1/000.p/3',
    '/tile/2/000.p/1',
    '/tile/64/000.p/1',
    '/tile/0/000.p/256', // a full tile has one address
    '/tile/0/0',
    '/tile/0/x000/000',
    '/tile/00/000',
    '/tile/-1/000',
    '/tile/0/000/',
    '/tile/0/000.p/',
    '/tile/entries/002',
    '/tile/entries/002.p/89',
    '/tile/0/x999/x999/x999/x999/x999/999',
  ])('%s is not found, and that is not kept', async (path) => {
    const { status, headers } = await raw(path)
    expect(status).toBe(404)
    expect(headers['cache-control']).toBe('no-store')
  })

  test('verifier keys are text lines, and absent where nobody has told them', async () => {
    const { headers, bytes } = await raw('/vkeys')
    expect(headers['content-type']).toBe('text/plain; charset=utf-8')
    const lines = new TextDecoder().decode(bytes).split('\n')
    expect(lines).toEqual([...VKEYS, ''])
    expect(lines.slice(0, -1).map((line) => parseVkey(line).type)).toEqual([1, 6])
    const keyless = await startApi({ sql: database.sql, deployment })
    try {
      expect((await keyless.get('/vkeys')).status).toBe(503)
    } finally {
      await keyless.close()
    }
  })
})

/** Where Debian's golang-golang-x-mod-dev puts its sources. */
const GOPATH = '/usr/share/gocode'
const hasGo = (() => {
  try {
    execFileSync('go', ['list', 'golang.org/x/mod/sumdb/tlog'], {
      env: { ...process.env, GOPATH, GO111MODULE: 'off', GOFLAGS: '' },
      stdio: 'ignore',
    })
    return true
  } catch {
    return false
  }
})()
const NOTICE = hasGo ? '' : ' (SKIPPED: needs Go; apt-get install golang-go golang-golang-x-mod-dev)'

describe.skipIf(!hasGo)(`Go's sumdb/note and sumdb/tlog${NOTICE}`, () => {
  const read = (url: string, vkey = VKEYS[0] as string) =>
    promisify(execFile)(
      'go',
      ['run', fileURLToPath(new URL('../../go/read.go', import.meta.url)), url, vkey],
      {
        env: { ...process.env, GOPATH, GO111MODULE: 'off', GOFLAGS: '' },
      },
    )

  test('verify the checkpoint, every tile, every entry and every prefix of the log', async () => {
    const root = note.split('\n')[2]
    expect((await read(api.url)).stdout).toBe(`verified ${ORIGIN} ${SIZE} of ${SIZE} ${root}\n`)
  }, 120_000)

  test('refuse another key, and an entry that was changed', async () => {
    const other = formatVkey(ed25519Signer(ORIGIN, new Uint8Array(32).fill(33)).vkey)
    await expect(read(api.url, other)).rejects.toMatchObject({
      stderr: expect.stringContaining('no verifiable'),
    })
    await database.sql`update leaf set entry = 'lie' where index = 599`
    try {
      await expect(read(api.url)).rejects.toMatchObject({
        stderr: expect.stringContaining('invalid transparency proof'),
      })
    } finally {
      await database.sql`update leaf set entry = ${entryOf(599)} where index = 599`
    }
  }, 120_000)
})
