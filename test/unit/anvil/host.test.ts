import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { behaviourOf, hostedUri, type PayloadHost, startHost } from '../../../anvil/fleet/host.ts'
import { PayloadFiles } from '../../../anvil/fleet/payload-files.ts'
import { sha256, toHex, utf8 } from '../../../src/core/bytes.ts'
import { systemClock } from '../../../src/core/clock.ts'

let dir: string
const hosts: PayloadHost[] = []
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'dunes-fleet-'))
})
afterEach(() => {
  for (const host of hosts.splice(0)) host.close()
  rmSync(dir, { recursive: true })
})

async function start(files: PayloadFiles, port = 0): Promise<PayloadHost> {
  const host = await startHost(files, { host: '127.0.0.1', port, clock: systemClock })
  hosts.push(host)
  return host
}
const portOf = (host: PayloadHost) => Number(new URL(host.url).port)
const get = async (url: string) => {
  const response = await fetch(url, { redirect: 'manual' })
  return { status: response.status, text: await response.text() }
}

describe('the payload host', () => {
  it('serves the same payloads at the same place after a restart', async () => {
    const first = await start(new PayloadFiles(dir))
    const name = await new PayloadFiles(dir).put(utf8('one payload\n'))
    first.close()
    const second = await start(new PayloadFiles(dir), portOf(first))
    expect(await get(hostedUri(second.url, 'reading', name))).toEqual({ status: 200, text: 'one payload\n' })
    expect(second.url).toBe(first.url)
  })

  it('says which port is taken, in a way that a command can tell', async () => {
    const first = await start(new PayloadFiles(dir))
    await expect(start(new PayloadFiles(dir), portOf(first))).rejects.toMatchObject({
      code: 'PORT_BUSY',
      exitCode: 2,
      message: expect.stringContaining(String(portOf(first))),
    })
  })

  it('answers 404 for what it does not have, and reads nothing outside its folder', async () => {
    const files = new PayloadFiles(join(dir, 'inner'))
    const name = await files.put(utf8('kept\n'))
    writeFileSync(join(dir, `${'a'.repeat(64)}.maml.md`), 'secret\n')
    const { url } = await start(files)
    const paths = [
      '/',
      `/reading/${'b'.repeat(64)}.maml.md`,
      `/no_such_behaviour/${name}.maml.md`,
      `/payload_missing/${name}.maml.md`,
      `/reading/..%2f${'a'.repeat(64)}.maml.md`,
      `/reading/${'a'.repeat(64)}.maml.md`,
      `/reading/../${'a'.repeat(64)}.maml.md`,
    ]
    for (const path of paths) expect((await get(url + path)).status, path).toBe(404)
    expect((await get(`${hostedUri(url, 'reading', name)}?x=1`)).status).toBe(200)
  })

  it('cuts those off who still wait when it closes', async () => {
    const files = new PayloadFiles(dir)
    const name = await files.put(utf8('x\n'))
    const host = await start(files)
    const ends = ['host_hangs', 'host_streams'].map((kind) => {
      const socket = connect(portOf(host), '127.0.0.1')
      const ended = new Promise<void>((resolve) => {
        socket.on('error', () => {}).on('close', () => resolve())
      })
      const connected = new Promise<void>((resolve) => socket.once('connect', () => resolve()))
      socket.on('data', () => {})
      socket.write(`GET /${kind}/${name}.maml.md HTTP/1.1\r\nhost: x\r\n\r\n`)
      return { connected, ended }
    })
    await Promise.all(ends.map(({ connected }) => connected))
    host.close()
    await Promise.all(ends.map(({ ended }) => ended))
  })

  it('survives what is not HTTP', async () => {
    const files = new PayloadFiles(dir)
    const name = await files.put(utf8('x\n'))
    const host = await start(files)
    const socket = connect(portOf(host), '127.0.0.1')
    const closed = new Promise<void>((resolve) => socket.on('error', () => {}).on('close', () => resolve()))
    socket.on('data', () => {})
    socket.write('\u0000\u0001 nonsense\r\n\r\n')
    await closed
    expect((await get(hostedUri(host.url, 'reading', name))).status).toBe(200)
  })
})

it('finds the behaviour in its own URIs and in no others', () => {
  const url = 'http://127.0.0.1:18080'
  expect(behaviourOf(url, hostedUri(url, 'crlf', 'a'.repeat(64)))).toBe('crlf')
  expect(behaviourOf(url, hostedUri(`${url}1`, 'crlf', 'a'.repeat(64)))).toBeNull()
  expect(behaviourOf(url, `${url}/crlf/short.maml.md`)).toBeNull()
  expect(behaviourOf(url, 'ipfs://x')).toBeNull()
})

describe('the payload files', () => {
  it('forget the oldest beyond their number, and beyond their bytes, on disk too', async () => {
    const files = new PayloadFiles(dir, { files: 3, bytes: 10 })
    const names: string[] = []
    for (const text of ['1', '2', '3', '4', '5555555']) names.push(await files.put(utf8(text)))
    // 4 (one byte) and 5555555 (seven) stay with 3; a sixth of three bytes pushes out 3 and 4.
    expect(await Promise.all(names.map((name) => files.get(name)))).toEqual([
      null,
      null,
      utf8('3'),
      utf8('4'),
      utf8('5555555'),
    ])
    const last = await files.put(utf8('666'))
    expect(readdirSync(dir).sort()).toEqual([names[4], last].map((name) => `${name}.maml.md`).sort())
  })

  it('name a payload by its SHA-256, and keep it once', async () => {
    const files = new PayloadFiles(dir)
    const bytes = utf8('twice')
    expect(await files.put(bytes)).toBe(toHex(sha256(bytes)).slice(2))
    await files.put(bytes)
    expect(files.count).toBe(1)
  })

  it('prune when they are opened, and clear away what a crash left half-written', async () => {
    const all = new PayloadFiles(dir)
    await all.put(utf8('a'))
    await all.put(utf8('b'))
    const half = join(dir, `${'c'.repeat(64)}.maml.md.new`)
    writeFileSync(half, 'ha')
    expect(new PayloadFiles(dir, { files: 1, bytes: 100 }).count).toBe(1)
    expect(existsSync(half)).toBe(false)
    expect(readdirSync(dir)).toHaveLength(1)
  })
})
