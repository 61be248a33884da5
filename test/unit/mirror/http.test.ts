import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'
import { afterEach, describe, expect, test } from 'vitest'
import { ATTEMPTS, httpSource } from '../../../src/mirror/http.ts'

const open: Server[] = []
afterEach(() => {
  for (const server of open.splice(0)) {
    server.closeAllConnections()
    server.close()
  }
})

async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener)
  open.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}
const waits: number[] = []
const clock = { now: Date.now, sleep: async (ms: number) => void waits.push(ms) }
const signal = new AbortController().signal
const source = (url: string, requestMs?: number) =>
  httpSource(url, { clock, signal, ...(requestMs !== undefined && { requestMs }) })

describe('reading a log over HTTP', () => {
  test('asks under its prefix, with or without a slash at the end', async () => {
    const asked: string[] = []
    const url = await serve((request, response) => {
      asked.push(request.url as string)
      response.end('x')
    })
    await source(`${url}/some/log`).read('tile/0/000', 9)
    await source(`${url}/some/log//`).read('checkpoint', 9)
    await source(url).read('checkpoint', 9)
    expect(asked).toEqual(['/some/log/tile/0/000', '/some/log/checkpoint', '/checkpoint'])
  })

  test('takes compressed answers, up to the limit after decompression', async () => {
    const url = await serve((_, response) => {
      response.writeHead(200, { 'Content-Encoding': 'gzip' }).end(gzipSync(new Uint8Array(10_000_000)))
    })
    expect((await source(url).read('x', 10_000_000))?.length).toBe(10_000_000)
    await expect(source(url).read('x', 9_999_999)).rejects.toMatchObject({ code: 'RESOURCE_TOO_LARGE' })
  })

  test('stops reading what never ends', async () => {
    const url = await serve((_, response) => {
      const more = () => {
        while (response.write(new Uint8Array(65_536)));
      }
      response.on('drain', more)
      more()
    })
    await expect(source(url).read('x', 1_000_000)).rejects.toMatchObject({
      code: 'RESOURCE_TOO_LARGE',
      exitCode: 1,
    })
  })

  test('gives up on what hangs, and says that a later try may help', async () => {
    const url = await serve(() => {})
    await expect(source(url, 50).read('x', 9)).rejects.toMatchObject({
      code: 'LOG_UNREACHABLE',
      retryable: true,
      exitCode: 3,
    })
  })

  test('tries again what may come back, with longer and longer waits', async () => {
    let asked = 0
    const url = await serve((request, response) => {
      asked++
      if (asked === 1) request.socket.destroy()
      else response.writeHead(asked < 4 ? [503, 429][asked % 2]! : 200).end('ok')
    })
    waits.length = 0
    expect(new TextDecoder().decode((await source(url).read('x', 9)) as Uint8Array)).toBe('ok')
    expect(waits).toEqual([500, 1000, 2000])
  })

  test('in the end gives up', async () => {
    let asked = 0
    const url = await serve((_, response) => {
      asked++
      response.writeHead(500).end()
    })
    await expect(source(url).read('x', 9)).rejects.toMatchObject({ code: 'LOG_UNREACHABLE', retryable: true })
    expect(asked).toBe(ATTEMPTS)
  })

  test('takes 404 and 410 for "not there", and other refusals for good', async () => {
    let asked = 0
    const url = await serve((request, response) => {
      asked++
      response.writeHead(Number(request.url?.slice(1))).end()
    })
    expect(await source(url).read('404', 9)).toBeNull()
    expect(await source(url).read('410', 9)).toBeNull()
    await expect(source(url).read('403', 9)).rejects.toMatchObject({
      code: 'LOG_UNREACHABLE',
      retryable: false,
    })
    expect(asked).toBe(3)
  })

  test.each([
    '',
    'log.example',
    'ftp://log.example',
    'file:///log',
    'https://log.example/?x=1',
  ])('%j is no address of a log', (url) => {
    expect(() => source(url)).toThrow(/not an http or https URL/)
  })
})
