import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Rpc } from '../../src/chain/rpc.ts'
import { run } from '../../src/cli/run.ts'
import { systemClock } from '../../src/core/clock.ts'
import { mlDsa } from '../../src/core/ml-dsa-native.ts'
import { ed25519Signer, mlDsa44Signer } from '../../src/log/checkpoint.ts'
import { formatVkey } from '../../src/log/vkey.ts'
import { exportLog } from '../../src/service/export.ts'
import { startApi, type TestApi } from '../support/api.ts'
import { deployment, fillGraph, ORIGIN } from '../support/graph.ts'
import { growLog } from '../support/log.ts'
import { type TestDatabase, testDatabase } from '../support/postgres.ts'
import { until } from '../support/world.ts'

/** A log in a database: exported to files, and mirrored from the API and from those files by the command line. */

const SIGNERS = [
  ed25519Signer(ORIGIN, new Uint8Array(32).fill(31)),
  mlDsa44Signer(ORIGIN, new Uint8Array(32).fill(32), mlDsa),
]
const VKEYS = SIGNERS.map(({ vkey }) => formatVkey(vkey))
/** A chain that has some code at every address: all that a trust policy asks it for. */
const rpc = { call: async () => '0x6001' } as unknown as Rpc

let database: TestDatabase
let api: TestApi
let cwd: string
/** Hosts the shell's folder as any file server does. */
let files: { url: string; close(): void }

const inShell = (name: string) => join(cwd, name)
/** Runs a command line in the folder; `signal` stops it as Ctrl-C does. */
const start = (args: string[], signal = new AbortController().signal) => {
  const ran = { code: 0, stdout: '', stderr: '' }
  // Files are read where the process runs; here they stand in the folder.
  const found = args.map((arg) => (existsSync(inShell(arg)) ? inShell(arg) : arg))
  const ended = run(found, {
    env: {},
    cwd,
    clock: systemClock,
    signal,
    out: (text) => {
      ran.stdout += text
    },
    note: (text) => {
      ran.stderr += text
    },
    interactive: false,
    stdin: () => Readable.from([]),
  }).then((code) => Object.assign(ran, { code }))
  return { ran, ended }
}
const dunes = (...args: string[]) => start(args).ended
const tree = (folder: string) =>
  Object.fromEntries(
    readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((name) => statSync(join(folder, name)).isFile())
      .map((name) => [name, readFileSync(join(folder, name), 'latin1')]),
  )
const mirrored = (folder: string) =>
  Object.fromEntries(
    Object.entries(tree(folder)).filter(([name]) => name === 'checkpoint' || name.startsWith('tile/')),
  )
// In a context of its own, as the command is a process of its own: one that serves remembers tiles.
const write = (folder: string) =>
  exportLog({ ...api.ctx }, { path: inShell(folder), signal: new AbortController().signal })

beforeAll(async () => {
  database = await testDatabase()
  await fillGraph(database.sql, { submitted: 600, settled: 600, final: 600, logged: 0, anchored: 5 })
  await growLog(database.sql, 300, SIGNERS)
  api = await startApi({ sql: database.sql, deployment, checkpointVkeys: VKEYS, rpc })
  cwd = mkdtempSync(join(tmpdir(), 'dunes-mirror-'))
  writeFileSync(inShell('vkeys.txt'), `${VKEYS.join('\n')}\n`)
  const server = createServer((request, response) => {
    try {
      response.end(readFileSync(join(cwd, request.url as string)))
    } catch {
      response.writeHead(404).end()
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  files = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () => {
      server.closeAllConnections()
      server.close()
    },
  }
})
afterAll(async () => {
  files?.close()
  if (cwd) rmSync(cwd, { recursive: true, force: true })
  await api?.close()
  await database?.stop()
})

describe('dunes mirror', () => {
  test('takes all of a log from its API, then what is new, and says what it has', async () => {
    const ran = await dunes('mirror', api.url, 'copy', '--vkeys', 'vkeys.txt', '--json')
    expect(ran.stderr).toMatch(/^Trusting .*vkeys.txt /)
    expect([ran.code, JSON.parse(ran.stdout)]).toMatchObject([
      0,
      { origin: ORIGIN, size: 300, new_entries: 300 },
    ])
    await growLog(database.sql, 400, SIGNERS)
    const more = await dunes('mirror', `${api.url}/`, 'copy', '--vkeys', 'vkeys.txt', '--json')
    expect(JSON.parse(more.stdout)).toMatchObject({ size: 400, new_entries: 100 })
    for (const [name, text] of Object.entries(mirrored(inShell('copy')))) {
      const served = await api.get(`/${name}`)
      expect(Buffer.from(await served.arrayBuffer()).toString('latin1'), name).toBe(text)
    }
  })

  test('takes the keys of a trust policy as well', async () => {
    const policy = await (await api.get('/trust-policy.json')).text()
    writeFileSync(inShell('policy.json'), policy)
    expect((await dunes('mirror', api.url, 'copy', '--policy', 'policy.json')).code).toBe(0)
  })

  test('says no, with exit code 1, to keys that did not sign', async () => {
    const other = ed25519Signer(ORIGIN, new Uint8Array(32).fill(33)).vkey
    writeFileSync(inShell('other.txt'), `${formatVkey(other)}\n`)
    const ran = await dunes('mirror', api.url, 'none', '--vkeys', 'other.txt')
    expect(ran).toMatchObject({ code: 1, stdout: '', stderr: expect.stringContaining('key id') })
    expect(readdirSync(cwd)).not.toContain('none')
  })

  test.each([
    [['--vkeys', 'vkeys.txt', '--policy', 'policy.json'], 2],
    [[], 2],
    [['--vkeys', 'missing.txt'], 2],
    [['--vkeys', 'vkeys.txt', '--every', 'soon'], 2],
    [['--vkeys', 'vkeys.txt', '--origin', 'another.example'], 1],
  ])('with %j ends with exit code %i', async (args, code) => {
    expect((await dunes('mirror', api.url, 'none', ...args)).code).toBe(code)
  })

  test('watches: takes what comes until it is asked to stop', async () => {
    const stop = new AbortController()
    const args = ['mirror', api.url, 'watched', '--vkeys', 'vkeys.txt', '--watch', '--every', '1', '--json']
    const { ran, ended } = start(args, stop.signal)
    const last = () => ran.stdout.trim().split('\n').at(-1)
    await until('the first 400', async () => last()?.includes('"size":400') || undefined)
    await growLog(database.sql, 450, SIGNERS)
    await until('the next 50', async () => last()?.includes('"new_entries":50') || undefined)
    stop.abort()
    expect((await ended).code).toBe(0)
  })
})

describe('an export', () => {
  test('is what the API serves, and can be mirrored from any file server', async () => {
    expect(await write('site')).toMatchObject({ before: 0, size: 450, anchors: 1 })
    for (const [name, text] of Object.entries(tree(inShell('site')))) {
      if (name.startsWith('anchors/')) continue
      const served = await api.get(`/${name}`)
      expect(Buffer.from(await served.arrayBuffer()).toString('latin1'), name).toBe(text)
    }
    const anchors = JSON.parse(readFileSync(inShell('site/anchors/0.json'), 'utf8'))
    expect(anchors.items).toEqual((await api.json<{ items: unknown[] }>('/v1/anchors')).items)
    expect(anchors.items).toHaveLength(1)
    const ran = await dunes('mirror', `${files.url}/site`, 'second', '--policy', 'site/trust-policy.json')
    expect(ran.code).toBe(0)
    expect(mirrored(inShell('second'))).toEqual(mirrored(inShell('site')))
  })

  test('grows by what is new, and is again a whole log', async () => {
    await growLog(database.sql, 600, SIGNERS)
    const before = statSync(inShell('site/tile/0/000')).mtimeMs
    expect(await write('site')).toMatchObject({ before: 450, size: 600 })
    expect(statSync(inShell('site/tile/0/000')).mtimeMs).toBe(before)
    const ran = await dunes('mirror', `${files.url}/site`, 'second', '--policy', 'site/trust-policy.json')
    expect(ran).toMatchObject({ code: 0, stdout: expect.stringContaining('600') })
  })

  test('of a stored log that was tampered with does not happen', async () => {
    const refuse = async (folder: string, codeExpected: string) => {
      await expect(write(folder)).rejects.toMatchObject({ exitCode: 1, code: codeExpected })
      expect(readdirSync(inShell(folder))).not.toContain('checkpoint')
    }
    const { sql } = database
    const [leaf] = await sql`select entry from leaf where index = 299`
    await sql`update leaf set entry = 'lie' where index = 299`
    await refuse('fresh', 'ENTRY_MISMATCH')
    await sql`update leaf set entry = ${leaf?.['entry']} where index = 299`
    await sql`update tile set hashes = set_byte(hashes, 0, 255 - get_byte(hashes, 0)) where level = 0 and index = 1`
    await refuse('again', 'TILE_MISMATCH')
  })

  test('without keys, or before the first checkpoint, says so and writes nothing', async () => {
    const signal = new AbortController().signal
    await expect(
      exportLog({ ...api.ctx, checkpointVkeys: [] }, { path: inShell('no'), signal }),
    ).rejects.toMatchObject({ code: 'NO_SIGNER' })
    await database.sql`delete from checkpoint`
    await expect(exportLog(api.ctx, { path: inShell('no'), signal })).rejects.toMatchObject({
      code: 'NOT_FOUND',
    })
    expect(readdirSync(cwd)).not.toContain('no')
  })
})
