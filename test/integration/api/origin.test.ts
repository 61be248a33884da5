import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startApi, type TestApi } from '../../support/api.ts'
import { deployment, fillGraph } from '../../support/graph.ts'
import { type TestDatabase, testDatabase } from '../../support/postgres.ts'

/** What web pages may do here, and what a client may send before anybody reads it. */

let database: TestDatabase
let closed: TestApi
let open: TestApi
const PAGE = 'https://maps.example'

beforeAll(async () => {
  database = await testDatabase()
  await fillGraph(database.sql, { submitted: 3, settled: 2, final: 2, logged: 2, anchored: 1 })
  closed = await startApi({ sql: database.sql, deployment })
  open = await startApi({ sql: database.sql, deployment }, { allowedOrigins: [`${PAGE}/`] })
})
afterAll(async () => {
  await closed?.close()
  await open?.close()
  await database?.stop()
})

describe('pages of other sites', () => {
  test.each([
    PAGE,
    'null',
    'http://',
    'file://',
    'http://localhost.evil.example',
    'https://127.0.0.1.nip.io',
  ])('are refused: %s', async (Origin) => {
    for (const path of ['/v1/status', '/mcp', '/openapi.json', '/v1/nothing']) {
      const response = await closed.get(path, { Origin })
      expect(response.status, path).toBe(403)
      expect(await response.json()).toMatchObject({ code: 'ORIGIN_REFUSED', hint: expect.any(String) })
      expect(response.headers.get('access-control-allow-origin')).toBeNull()
    }
  })

  test('of this server and of this machine are let in, without CORS', async () => {
    for (const Origin of [closed.url, 'http://localhost:5173', 'http://[::1]:1', 'https://127.0.0.1']) {
      const response = await closed.get('/v1/status', { Origin })
      expect(response.status, Origin).toBe(200)
      expect([...response.headers.keys()].filter((name) => name.startsWith('access-control'))).toEqual([])
    }
  })

  test('that the settings name are let in with CORS, and no others', async () => {
    const response = await open.get('/v1/submissions', { Origin: PAGE })
    expect(response.status).toBe(200)
    expect(response.headers.get('access-control-allow-origin')).toBe(PAGE)
    expect(response.headers.get('access-control-expose-headers')).toContain('ETag')
    expect(response.headers.get('vary')).toContain('Origin')
    expect(response.headers.get('access-control-allow-credentials')).toBeNull()
    // An answer to a program must not be kept for the page.
    expect((await open.get('/v1/submissions')).headers.get('vary')).toContain('Origin')
    const refused = await open.get('/v1/nothing', { Origin: PAGE })
    expect(refused.status).toBe(404)
    expect(refused.headers.get('access-control-allow-origin')).toBe(PAGE)
    const preflight = await fetch(`${open.url}/v1/proofs`, {
      method: 'OPTIONS',
      headers: {
        Origin: PAGE,
        'Access-Control-Request-Method': 'POST',
        'Access-Control-Request-Headers': 'content-type',
      },
    })
    expect(preflight.status).toBe(204)
    expect(preflight.headers.get('access-control-allow-methods')).toContain('POST')
    expect(preflight.headers.get('access-control-allow-headers')?.toLowerCase()).toContain('content-type')
    expect((await open.get('/v1/status', { Origin: 'https://evil.example' })).status).toBe(403)
    const other = await fetch(`${open.url}/v1/proofs`, {
      method: 'OPTIONS',
      headers: { Origin: 'http://localhost:1' },
    })
    expect(other.status).toBe(405)
  })
})

test('headers of more than 16 KiB are refused', async () => {
  const { port } = new URL(closed.url)
  const socket = connect(Number(port), '127.0.0.1')
  socket.write(`GET /v1/status HTTP/1.1\r\nHost: localhost\r\nX-Long: ${'x'.repeat(20_000)}\r\n\r\n`)
  const answer = await text(socket)
  expect(answer).toMatch(/^HTTP\/1.1 431 /)
  expect(answer).toContain('application/problem+json')
})

describe('bodies', () => {
  const send = (path: string, init: RequestInit) => fetch(closed.url + path, init)
  const inPieces = (text: string): RequestInit => ({
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: new ReadableStream({
      start(controller) {
        for (let at = 0; at < text.length; at += 1_000)
          controller.enqueue(new TextEncoder().encode(text.slice(at, at + 1_000)))
        controller.close()
      },
    }),
    duplex: 'half',
  })

  test.each([
    '/v1/proofs',
    '/v1/query',
  ])('that come in pieces are read like any other, at %s', async (path) => {
    const whole = await send(path, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: '{"x":1}',
    })
    const pieces = await send(path, inPieces('{"x":1}'))
    expect(whole.status).toBe(400)
    expect(pieces.status).toBe(400)
    expect(((await pieces.json()) as { detail: string }).detail).toBe(
      ((await whole.json()) as { detail: string }).detail,
    )
    const long = await send(path, inPieces(`{"x":"${'y'.repeat(200_000)}"}`))
    expect([413, 422]).toContain(long.status)
    expect((await send(path, { method: 'POST' })).status).toBe(400)
    expect((await send(path, { method: 'DELETE' })).status).toBe(405)
  })
})
