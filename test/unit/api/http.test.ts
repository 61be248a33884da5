import { Hono } from 'hono'
import { describe, expect, test } from 'vitest'
import { etagOf, matches, sendBytes } from '../../../src/api/conditional.ts'
import { isOwnHost } from '../../../src/api/host.ts'
import { allowedMethods } from '../../../src/api/methods.ts'
import { type Problem, problemResponse } from '../../../src/api/problem.ts'
import type { ApiEnv } from '../../../src/api/request.ts'
import { utf8 } from '../../../src/core/bytes.ts'
import { DunesError } from '../../../src/core/error.ts'
import { type Logger, silentLogger } from '../../../src/core/logger.ts'
import { ServiceError } from '../../../src/service/error.ts'

describe('If-None-Match', () => {
  const tag = '"abc"'
  test.each(['"abc"', ' "abc" ', '"x", "abc"', 'W/"abc"', '*', '"x",W/"abc"'])('%s matches', (header) => {
    expect(matches(header, tag)).toBe(true)
  })
  test.each([undefined, '', '"x"', 'abc', '"abc', '"ABC"', '"abcd"'])('%s does not', (header) => {
    expect(matches(header, tag)).toBe(false)
  })
  test('tags differ where bytes differ', () => {
    expect(etagOf(utf8('a'))).not.toBe(etagOf(utf8('b')))
  })
  test('an answer carries its length, its tag and how long to keep it', async () => {
    const app = new Hono().get('/', (c) => sendBytes(c, 'é', { type: 'text/plain', caching: 'immutable' }))
    const response = await app.request('/')
    expect(response.headers.get('content-length')).toBe('2')
    expect(response.headers.get('cache-control')).toContain('immutable')
    expect(await response.text()).toBe('é')
  })
})

describe('hosts', () => {
  const allowed = new Set(['dunes.example'])
  test.each([
    'localhost',
    '127.0.0.1',
    '[::1]',
    '::1',
    '192.168.0.7',
    'dunes.example',
  ])('%s is ours', (name) => {
    expect(isOwnHost(name, allowed)).toBe(true)
  })
  test.each([
    'example',
    'dunes.example.org',
    'x.localhost',
    '127.0.0.1.nip.io',
    '1.2.3',
    '',
    '[]',
  ])('%s is not', (name) => {
    expect(isOwnHost(name, allowed)).toBe(false)
  })
})

describe('methods', () => {
  const nothing = (c: { text: (text: string) => Response }) => c.text('')
  const app = new Hono<ApiEnv>()
  app.use(async (_, next) => next())
  app.get('/a/:id', nothing).put('/a/:id', nothing).get('/tile/*', nothing).post('/a.b', nothing)
  const at = allowedMethods(app)
  test.each<[string, string[]]>([
    ['/a/1', ['GET', 'PUT', 'HEAD']],
    ['/a/1/2', []],
    ['/a/', []],
    ['/tile/0/x001/000', ['GET', 'HEAD']],
    ['/tile', []],
    ['/a.b', ['POST']],
    ['/axb', []],
  ])('%s', (path, methods) => expect(at(path)).toEqual(methods))
})

describe('problems', () => {
  const answer = async (error: unknown, logger: Logger = silentLogger) => {
    const app = new Hono<ApiEnv>()
    app.use(async (c, next) => {
      c.set('requestId', 'r1')
      await next()
    })
    app.get('/', () => {
      throw error
    })
    app.onError((e, c) => problemResponse(e, c, logger))
    const response = await app.request('/')
    return { response, body: (await response.json()) as Problem }
  }

  test('say what is wrong, what to do, and when to ask again', async () => {
    const { response, body } = await answer(
      new ServiceError('NOT_ANCHORED', 'not yet', { hint: 'wait', retryAfter: 9, details: { size: 3 } }),
    )
    expect(response.headers.get('retry-after')).toBe('9')
    expect(body).toEqual({
      type: 'urn:dunes:problem:not-anchored',
      title: 'Not anchored yet',
      status: 409,
      detail: 'not yet',
      code: 'NOT_ANCHORED',
      hint: 'wait',
      request_id: 'r1',
      details: { size: 3 },
    })
  })

  test.each([
    new Error('secret'),
    new DunesError('LOG_MOVED', 'secret'),
    new TypeError('secret'),
  ])('tell nothing of what only we can mend: %s', async (error) => {
    const logged: unknown[] = []
    const { response, body } = await answer(error, {
      ...silentLogger,
      error: (facts) => logged.push(facts),
    })
    expect(response.status).toBe(500)
    expect(JSON.stringify(body)).not.toContain('secret')
    expect(logged).toEqual([{ err: error, requestId: 'r1' }])
  })

  test('a statement that the database cancelled is no fault of the request', async () => {
    const { response, body } = await answer(
      Object.assign(new Error('canceling statement'), { code: '57014' }),
    )
    expect(response.status).toBe(503)
    expect(body.code).toBe('DATABASE_BUSY')
  })
})
