import type { Socket } from 'node:net'
import { describe, expect, test, vi } from 'vitest'
import { sha256 } from '../../../src/core/bytes.ts'
import { createPayloadFetcher } from '../../../src/payload/fetch.ts'
import { fetcherFor, httpServer, PAYLOAD, tcpServer } from './servers.ts'

const got = { kind: 'bytes', bytes: PAYLOAD }

describe('slow hosts hold up nobody else', () => {
  test('a host that hangs, with far more fetches than places, and a good one', async () => {
    const sockets: Socket[] = []
    const hanging = await tcpServer((socket) => void sockets.push(socket))
    const good = await httpServer((_, response) => response.end(PAYLOAD))
    const fetch = fetcherFor([hanging, good], { total: 8, perHost: 4, patienceMs: 60_000 })
    const caller = new AbortController()
    const hung = Array.from({ length: 100 }, () =>
      fetch(`http://127.0.0.1:${hanging}/`, PAYLOAD, caller.signal),
    )
    await vi.waitFor(() => expect(sockets).toHaveLength(4))
    expect(await fetch(`http://127.0.0.1:${good}/`)).toEqual(got)
    expect(sockets).toHaveLength(4)
    caller.abort()
    for (const outcome of await Promise.all(hung)) expect(outcome).toMatchObject({ what: 'aborted' })
  })

  test('more hosts that hang than there are places at all, and a good one', async () => {
    const ports = await Promise.all(Array.from({ length: 6 }, () => tcpServer(() => {})))
    const good = await httpServer((_, response) => response.end(PAYLOAD))
    const fetch = fetcherFor([...ports, good], { total: 4, patienceMs: 50 })
    const hung = ports.map((port) => fetch(`http://127.0.0.1:${port}/`))
    expect(await fetch(`http://127.0.0.1:${good}/`)).toEqual(got)
    expect(await Promise.race(hung)).toMatchObject({ what: 'busy', retryable: true })
  })

  test('paths that hang, and a good one on the same host', async () => {
    const port = await httpServer((request, response) => {
      if (request.url === '/good') response.end(PAYLOAD)
    })
    const fetch = fetcherFor([port], { perHost: 2, patienceMs: 50 })
    const hung = [1, 2].map((i) => fetch(`http://127.0.0.1:${port}/hang${i}`))
    expect(await fetch(`http://127.0.0.1:${port}/good`)).toEqual(got)
    expect(await hung[0]).toMatchObject({ what: 'busy', retryable: true })
  })
})

test('what the grammar refuses is not fetched', async () => {
  const outcome = { kind: 'unavailable', what: 'uri', detail: 'The URI holds credentials.', retryable: false }
  expect(await fetcherFor([])('http://u:p@127.0.0.1/')).toEqual(outcome)
})

test('a length beyond what a payload may have reaches nobody', async () => {
  const fetcher = createPayloadFetcher({})
  expect(
    await fetcher.fetch({ uri: 'http://127.0.0.1/', sha256: sha256(PAYLOAD), bytes: (1 << 20) + 1 }),
  ).toMatchObject({ what: 'too-long', retryable: false })
})

test('each attempt leaves one line', async () => {
  const lines: unknown[] = []
  const logger = { debug: (fields: object, message: string) => void lines.push({ ...fields, message }) }
  const port = await httpServer((_, response) => response.end(PAYLOAD))
  const fetch = fetcherFor([port], {}, { logger })
  await fetch(`http://127.0.0.1:${port}/a`)
  await fetch('http://127.0.0.1:1/')
  const message = 'Fetched a payload'
  const duration = expect.any(Number)
  expect(lines).toEqual([
    { uri: `http://127.0.0.1:${port}/a`, what: 'bytes', duration, message },
    { uri: 'http://127.0.0.1:1/', what: 'refused-address', duration, message },
  ])
})
