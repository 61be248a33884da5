import { once } from 'node:events'
import { get } from 'node:http'
import { connect, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { OpenAPIHono } from '@hono/zod-openapi'
import { afterEach, describe, expect, test } from 'vitest'
import { createApi } from '../../../src/api/app.ts'
import { ListenError, type Listening, type ListenOptions, listen } from '../../../src/api/listen.ts'
import type { Problem } from '../../../src/api/problem.ts'
import type { ApiEnv } from '../../../src/api/request.ts'
import { systemClock } from '../../../src/core/clock.ts'
import { silentLogger } from '../../../src/core/logger.ts'
import { createMetrics } from '../../../src/core/metrics.ts'
import { mlDsa } from '../../../src/core/ml-dsa-native.ts'
import type { Sql } from '../../../src/graph/connect.ts'
import { createServiceContext } from '../../../src/service/context.ts'
import { deployment } from '../../support/graph.ts'

// /health asks no database, and nothing else is asked here.
const ctx = createServiceContext({
  sql: null as unknown as Sql,
  logger: silentLogger,
  metrics: createMetrics(),
  clock: systemClock,
  mlDsa,
  deployment,
})

const open: Listening[] = []
const start = async (
  options: ListenOptions = {},
  app = createApi(ctx, { allowedHosts: ['dunes.example'] }),
) => {
  const listening = await listen(app, { port: 0, ...options })
  open.push(listening)
  return listening
}
afterEach(async () => {
  await Promise.all(open.splice(0).map((listening) => listening.close()))
})

const statusFor = async ({ port }: Listening, host: string, path = '/health'): Promise<number> => {
  const request = get({ port, host: '127.0.0.1', path, headers: { Host: host } })
  const [response] = await once(request, 'response')
  response.resume()
  return response.statusCode
}

/** Sends raw bytes and answers all that comes back until the server ends the connection. */
async function raw({ port }: Listening, bytes: string): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  socket.write(bytes)
  return text(socket)
}

describe('hosts', () => {
  test.each([
    '127.0.0.1:8000',
    'localhost',
    'localhost.',
    '[::1]:80',
    '10.1.2.3',
    'dunes.example',
    'DUNES.example:8000',
  ])('serves %s', async (host) => {
    expect(await statusFor(await start(), host)).toBe(200)
  })
  test.each([
    'evil.example',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    'dunes.example.evil',
  ])('refuses %s', async (host) => {
    expect(await statusFor(await start(), host)).toBe(421)
  })
  test("takes a name before an @ for nobody's host", async () => {
    const answer = await raw(
      await start(),
      'GET http://localhost:80@evil.example/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n',
    )
    expect(answer).toMatch(/^HTTP\/1\.1 421 /)
  })

  test('goes by an absolute target before the Host header', async () => {
    const answer = await raw(
      await start(),
      'GET http://evil.example/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n',
    )
    expect(answer).toMatch(/^HTTP\/1.1 421 /)
  })
})

describe('requests that are none', () => {
  const problemIn = (answer: string): Problem => JSON.parse(answer.slice(answer.indexOf('\r\n\r\n') + 4))

  test.each<[string, string, number]>([
    ['no HTTP at all', 'hello\r\n\r\n', 400],
    ['a host that is none', 'GET / HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n', 400],
    [
      'headers beyond the limit',
      `GET / HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`,
      431,
    ],
  ])('%s', async (_, bytes, status) => {
    const answer = await raw(await start(), bytes)
    expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
    expect(answer.toLowerCase()).toContain('content-type: application/problem+json')
    expect(problemIn(answer.replace(/\r\n[0-9a-f]+\r\n(\{.*\})\r\n0\r\n\r\n$/s, '\r\n$1'))).toMatchObject({
      status,
      code: 'REQUEST_INVALID',
    })
  })

  test('a client that never ends its headers is cut off', async () => {
    const answer = await raw(
      await start({ headersMs: 50, requestMs: 100, checkMs: 20 }),
      'GET / HTTP/1.1\r\nHost: localhost\r\n',
    )
    expect(answer).toMatch(/^HTTP\/1.1 408 /)
    expect(problemIn(answer).status).toBe(408)
  })

  test('a client that never ends its body is cut off', async () => {
    const path = `/v1/payloads/0x${'00'.repeat(32)}`
    const answer = await raw(
      await start({ headersMs: 50, requestMs: 100, checkMs: 20 }),
      `PUT ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc`,
    )
    expect(answer).toMatch(/^HTTP\/1.1 408 /)
  })
})

describe('addresses', () => {
  test('a busy port is named, with what to do', async () => {
    const { port } = await start()
    const failure = await listen(createApi(ctx), { port }).catch((error) => error)
    expect(failure).toBeInstanceOf(ListenError)
    expect(failure).toMatchObject({ code: 'PORT_BUSY', exitCode: 2 })
    expect(failure.message).toContain(String(port))
    expect(failure.hint).toContain('--port')
  })
  test('an address of another machine is named', async () => {
    const failure = await listen(createApi(ctx), { host: '192.0.2.1', port: 0 }).catch((error) => error)
    expect(failure).toMatchObject({ code: 'HOST_UNAVAILABLE', exitCode: 2 })
  })
  test('the URL can be opened', async () => {
    const { url } = await start({ host: '0.0.0.0' })
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/)
    expect((await fetch(`${url}/health`)).status).toBe(200)
  })
})

describe('closing', () => {
  /** An app whose /slow answers when told to. */
  const slowApp = () => {
    const app = new OpenAPIHono<ApiEnv>()
    const { promise: asked, resolve: ask } = Promise.withResolvers<void>()
    const { promise: released, resolve: release } = Promise.withResolvers<void>()
    app.get('/slow', async (c) => {
      ask()
      await released
      return c.text('done')
    })
    return { app, asked, release }
  }

  test('finishes what is under way, then takes nothing more', async () => {
    const { app, asked, release } = slowApp()
    const server = await start({}, app)
    const answer = fetch(`${server.url}/slow`)
    await asked
    const closed = server.close()
    release()
    expect(await (await answer).text()).toBe('done')
    await closed
    await expect(fetch(`${server.url}/slow`)).rejects.toThrow()
    await server.close()
  })

  test('does not wait for a client that keeps its connection after the answer', async () => {
    const { app, asked, release } = slowApp()
    const server = await start({ graceMs: 60_000 }, app)
    const socket: Socket = connect(server.port, '127.0.0.1')
    socket.write('GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n')
    await asked
    const begun = Date.now()
    const closed = server.close()
    release()
    await once(socket, 'data')
    await closed
    expect(Date.now() - begun).toBeLessThan(3_000)
    socket.destroy()
  })

  test('cuts off what outlasts the grace', async () => {
    const { app, asked } = slowApp()
    const server = await start({ graceMs: 50 }, app)
    const answer = fetch(`${server.url}/slow`).catch(() => 'cut off')
    await asked
    await server.close()
    expect(await answer).toBe('cut off')
  })

  test('does not wait for connections that are idle', async () => {
    const server = await start({ graceMs: 60_000 })
    const socket: Socket = connect(server.port, '127.0.0.1')
    socket.write('GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n')
    await once(socket, 'data')
    const ended = once(socket, 'close')
    await server.close()
    await ended
  })
})

describe('what never becomes a request is refused with a problem and a hint', () => {
  test.each([
    ['no HTTP at all', 'BLAH\r\n\r\n', 400],
    ['no Host', 'GET /health HTTP/1.1\r\nConnection: close\r\n\r\n', 400],
    ['two Hosts', 'GET /health HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n', 400],
    ['a foreign expectation', 'GET /health HTTP/1.1\r\nHost: localhost\r\nExpect: tea\r\n\r\n', 417],
    [
      'headers without end',
      `GET /health HTTP/1.1\r\nHost: localhost\r\nA: ${'a'.repeat(20_000)}\r\n\r\n`,
      431,
    ],
  ])('%s', async (_, bytes, status) => {
    const answer = await raw(await start(), bytes)
    expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
    expect(answer).toContain('application/problem+json')
    expect(answer).toMatch(/"hint":"[^"]+"/)
  })
})
