import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { gzipSync } from 'node:zlib'
import { describe, expect, test, vi } from 'vitest'
import { utf8 } from '../../../src/core/bytes.ts'
import { permittedAddresses } from '../../../src/payload/http.ts'
import { checkSettings, type PayloadSettings } from '../../../src/payload/settings.ts'
import { parseUri, type UriParts } from '../../../src/payload/uri.ts'
import { fetcherFor, httpServer, PAYLOAD, tcpServer } from './servers.ts'

const got = { kind: 'bytes', bytes: PAYLOAD }
const not = (what: string, detail: string | RegExp, retryable: boolean) => ({
  kind: 'unavailable',
  what,
  detail: typeof detail === 'string' ? detail : expect.stringMatching(detail),
  retryable,
})

/** The outcome of asking a server that answers like `handler`. */
async function ask(
  handler: (request: IncomingMessage, response: ServerResponse) => void,
  settings: Partial<PayloadSettings> = {},
) {
  const port = await httpServer(handler)
  return fetcherFor([port], settings)(`http://127.0.0.1:${port}/p`)
}

describe('answers that are taken', () => {
  test('a plain one; the request is as meant', async () => {
    let seen: IncomingMessage | undefined
    const port = await httpServer((request, response) => {
      seen = request
      response.end(PAYLOAD)
    })
    expect(await fetcherFor([port])(`HTTP://127.0.0.1:${port}/a%20b?c=/?d#e`)).toEqual(got)
    expect(seen?.method).toBe('GET')
    expect(seen?.url).toBe('/a%20b?c=/?d')
    expect(seen?.headers).toEqual({
      host: `127.0.0.1:${port}`,
      accept: '*/*',
      'accept-encoding': 'identity',
      'user-agent': 'dunes',
      connection: 'close',
    })
  })
  test('one without a length, in chunks of one byte', async () => {
    expect(
      await ask((_, response) => {
        for (const byte of PAYLOAD) response.write(Uint8Array.of(byte))
        response.end()
      }),
    ).toEqual(got)
  })
  test('one of the largest size, byte for byte', async () => {
    const large = new Uint8Array(1 << 20).map((_, i) => (i * 31) ^ (i >> 8))
    const port = await httpServer((_, response) => {
      response.write(large.subarray(0, 1000))
      response.end(large.subarray(1000))
    })
    const outcome = await fetcherFor([port])(`http://127.0.0.1:${port}/`, large)
    expect(outcome.kind === 'bytes' && Buffer.from(outcome.bytes).equals(large)).toBe(true)
  })
  test('an empty one', async () => {
    const port = await httpServer((_, response) => response.end())
    const empty = new Uint8Array()
    expect(await fetcherFor([port])(`http://127.0.0.1:${port}`, empty)).toEqual({
      kind: 'bytes',
      bytes: empty,
    })
  })
  test('one that says that its encoding is identity', async () => {
    expect(
      await ask((_, response) => response.writeHead(200, { 'content-encoding': 'Identity' }).end(PAYLOAD)),
    ).toEqual(got)
  })
  test('one after as many redirects as allowed, absolute and relative', async () => {
    const port = await httpServer((request, response) => {
      if (request.url === '/p') response.writeHead(301, { location: '/a?b' }).end()
      else if (request.url === '/a?b') response.writeHead(307, { location: 'c' }).end()
      else if (request.url === '/c')
        response.writeHead(302, { location: `http://127.0.0.1:${port}/last#x` }).end()
      else response.end(PAYLOAD)
    })
    expect(await fetcherFor([port])(`http://127.0.0.1:${port}/p`)).toEqual(got)
    expect(await fetcherFor([port], { maxRedirects: 2 })(`http://127.0.0.1:${port}/p`)).toEqual(
      not('redirect', 'The host redirected more than 2 times.', true),
    )
  })
})

describe('answers that are not', () => {
  test.each([404, 500, 204, 206, 301, 304])('status %i', async (status) => {
    expect(await ask((_, response) => response.writeHead(status).end())).toEqual(
      not('status', `The host answered with ${status}.`, true),
    )
  })
  test('other bytes of the same length', async () => {
    const wrong = PAYLOAD.slice()
    wrong[7] = (wrong[7] ?? 0) ^ 1
    expect(await ask((_, response) => response.end(wrong))).toEqual(
      not('hash', 'The bytes do not have the submitted hash.', true),
    )
  })
  test('one byte fewer, announced or not', async () => {
    const short = PAYLOAD.slice(1)
    const wanted = not('too-short', 'The answer has fewer than 40 bytes.', true)
    expect(await ask((_, response) => response.end(short))).toEqual(wanted)
    expect(
      await ask((_, response) => {
        response.write(short)
        response.end()
      }),
    ).toEqual(wanted)
  })
  test('a body that breaks off', async () => {
    const port = await tcpServer((socket) => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\nabc')
      socket.end()
    })
    expect(await fetcherFor([port])(`http://127.0.0.1:${port}/`)).toEqual(
      not('too-short', 'The answer broke off.', true),
    )
  })
  test('one byte more, announced or not', async () => {
    const long = Buffer.concat([PAYLOAD, utf8('x')])
    const wanted = not('too-long', 'The answer has more than 40 bytes.', true)
    expect(await ask((_, response) => response.end(long))).toEqual(wanted)
    expect(
      await ask((_, response) => {
        response.write(long)
        response.end()
      }),
    ).toEqual(wanted)
  })
  test('an announced length that is far too long ends it before any body', async () => {
    expect(
      await ask((_, response) => {
        response.writeHead(200, { 'content-length': '99999999999' })
        response.flushHeaders()
      }),
    ).toEqual(not('too-long', 'The answer has more than 40 bytes.', true))
  })
  test('a stream without end is cut off, and its connection closed', async () => {
    let sent = 0
    let closed = false
    const port = await httpServer((_, response) => {
      const block = Buffer.alloc(65_536)
      const more = () => {
        while (!response.destroyed && response.write(block)) sent += block.length
      }
      response.on('drain', more)
      response.on('close', () => {
        closed = true
      })
      more()
    })
    expect(await fetcherFor([port])(`http://127.0.0.1:${port}/`)).toEqual(
      not('too-long', 'The answer has more than 40 bytes.', true),
    )
    await vi.waitFor(() => expect(closed).toBe(true))
    expect(sent).toBeLessThan(32 << 20)
  })
  test('a gzip bomb, and every other encoding', async () => {
    const bomb = gzipSync(new Uint8Array(10_000_000))
    const compressed = not('encoding', 'The answer is compressed, which was not asked for.', true)
    for (const encoding of ['gzip', 'br', 'identity, gzip', 'x-anything']) {
      expect(
        await ask((_, response) => response.writeHead(200, { 'content-encoding': encoding }).end(bomb)),
        encoding,
      ).toEqual(compressed)
    }
  })
  test('a coding hidden in Transfer-Encoding', async () => {
    const port = await tcpServer((socket) => {
      socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n')
    })
    expect(await fetcherFor([port])(`http://127.0.0.1:${port}/`)).toEqual(
      not('encoding', 'The answer is compressed, which was not asked for.', true),
    )
  })
  test('something that is not HTTP', async () => {
    const port = await tcpServer((socket) => void socket.write('SSH-2.0-OpenSSH_9.9\r\n'))
    expect(await fetcherFor([port])(`http://127.0.0.1:${port}/`)).toEqual(
      not('protocol', /^The answer is not HTTP \(HPE_[A-Z_]+\)\.$/, true),
    )
  })
  test('a head without end', async () => {
    const port = await tcpServer((socket) => {
      socket.write('HTTP/1.1 200 OK\r\n')
      const more = () => {
        while (!socket.destroyed && socket.write(`X-Filler: ${'x'.repeat(1000)}\r\n`));
      }
      socket.on('drain', more)
      more()
    })
    expect(await fetcherFor([port])(`http://127.0.0.1:${port}/`)).toEqual(
      not('protocol', 'The answer is not HTTP (HPE_HEADER_OVERFLOW).', true),
    )
  })
  test('a change of protocol', async () => {
    const port = await tcpServer((socket) => {
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n')
    })
    expect(await fetcherFor([port])(`http://127.0.0.1:${port}/`)).toEqual(
      not('protocol', 'The host asked to change the protocol.', true),
    )
  })
  test('a connection closed without a word, and nobody listening', async () => {
    const closing = await tcpServer((socket) => socket.end())
    expect(await fetcherFor([closing])(`http://127.0.0.1:${closing}/`)).toEqual(
      not('connect', 'The connection failed (ECONNRESET).', true),
    )
    // Port 1 is never given out as a free one.
    expect(await fetcherFor([1])('http://127.0.0.1:1/')).toEqual(
      not('connect', 'The connection failed (ECONNREFUSED).', true),
    )
  })
})

describe('time', () => {
  test('a host that accepts and says nothing', async () => {
    const port = await tcpServer(() => {})
    expect(await fetcherFor([port], { firstByteMs: 200 })(`http://127.0.0.1:${port}/`)).toEqual(
      not('timeout', 'Connected, but no answer within 200 ms.', true),
    )
  })
  test('a host that says "100 Continue" for ever', async () => {
    const port = await tcpServer((socket) => {
      const timer = setInterval(() => socket.write('HTTP/1.1 100 Continue\r\n\r\n'), 20)
      socket.on('close', () => clearInterval(timer))
    })
    expect(await fetcherFor([port], { firstByteMs: 200 })(`http://127.0.0.1:${port}/`)).toEqual(
      not('timeout', 'Connected, but no answer within 200 ms.', true),
    )
  })
  test('a host that drips its body', async () => {
    expect(
      await ask(
        (_, response) => {
          const timer = setInterval(() => response.write('x'), 30)
          response.on('close', () => clearInterval(timer))
        },
        { totalMs: 500 },
      ),
    ).toEqual(not('timeout', 'Not done within 500 ms.', true))
  })
  test('a host that goes silent after the head', async () => {
    expect(await ask((_, response) => response.writeHead(200).flushHeaders(), { totalMs: 500 })).toEqual(
      not('timeout', 'Not done within 500 ms.', true),
    )
  })
  test('redirects share the one total', async () => {
    const port = await httpServer((_, response) => {
      setTimeout(() => response.writeHead(302, { location: '/' }).end(), 100)
    })
    expect(
      await fetcherFor([port], { maxRedirects: 1000, totalMs: 500 })(`http://127.0.0.1:${port}/`),
    ).toEqual(not('timeout', 'Not done within 500 ms.', true))
  })
  test('a name server that never answers', async () => {
    const fetch = fetcherFor([], { connectMs: 150 }, { resolve: () => new Promise(() => {}) })
    expect(await fetch('http://example.com/')).toEqual(not('timeout', 'No connection within 150 ms.', true))
  })
  test('a TLS handshake that never comes, and one that is none', async () => {
    const silent = await tcpServer(() => {})
    expect(await fetcherFor([silent], { connectMs: 150 })(`https://127.0.0.1:${silent}/`)).toEqual(
      not('timeout', 'No connection within 150 ms.', true),
    )
    const plain = await httpServer((_, response) => response.end(PAYLOAD))
    expect(await fetcherFor([plain])(`https://127.0.0.1:${plain}/`)).toEqual(
      not('tls', /^TLS could not be agreed on \([A-Z_]+\)\.$/, true),
    )
  })
  test('a caller who gives up: before, and while the host is silent', async () => {
    const sockets: Socket[] = []
    const port = await tcpServer((socket) => void sockets.push(socket))
    const fetch = fetcherFor([port])
    const aborted = not('aborted', 'The attempt was given up before it ended.', true)
    expect(await fetch(`http://127.0.0.1:${port}/`, PAYLOAD, AbortSignal.abort())).toEqual(aborted)
    expect(sockets).toHaveLength(0)
    const caller = new AbortController()
    const outcome = fetch(`http://127.0.0.1:${port}/`, PAYLOAD, caller.signal)
    await vi.waitFor(() => expect(sockets).toHaveLength(1))
    const closed = once(sockets[0] as Socket, 'close')
    sockets[0]?.resume()
    caller.abort()
    expect(await outcome).toEqual(aborted)
    await closed
  })
})

describe('redirects', () => {
  const redirectTo = async (location: string, deps = {}) => {
    const port = await httpServer((_, response) => response.writeHead(302, { location }).end())
    return fetcherFor([port], {}, deps)(`http://127.0.0.1:${port}/`)
  }
  test('a loop', async () => {
    let visits = 0
    expect(
      await ask((_, response) => {
        visits++
        response.writeHead(302, { location: '/p' }).end()
      }),
    ).toEqual(not('redirect', 'The host redirected more than 3 times.', true))
    expect(visits).toBe(4)
  })
  test.each([
    ['http://127.0.0.1:1/', 'loopback (RFC 1122)'],
    ['http://169.254.169.254/latest/meta-data/', 'link-local (RFC 3927)'],
    ['http://[::1]/', 'loopback (RFC 4291)'],
    ['http://[::ffff:7f00:1]/', 'IPv4-mapped (RFC 4291)'],
    ['http://2130706433/', 'loopback (RFC 1122)'],
    ['http://0x7f.1/', 'loopback (RFC 1122)'],
    ['//10.0.0.1/', 'private use (RFC 1918)'],
    ['http://localhost/', 'loopback (RFC 1122)'],
  ])('to %s', async (location, range) => {
    const resolve = async () => ['127.0.0.1']
    expect(await redirectTo(location, { resolve })).toEqual(
      not('refused-address', `The host's address is not public: ${range}.`, false),
    )
  })
  test.each([
    ['file:///etc/passwd', 'The host redirected to the scheme file, which is not followed.'],
    ['ipfs://bafk/', 'The host redirected to the scheme ipfs, which is not followed.'],
    [
      'gopher://example.com/',
      'The host redirected to a URI that is refused: The URI scheme is not http, https, file or ipfs.',
    ],
    [
      'http://user:pass@127.0.0.1/',
      'The host redirected to a URI that is refused: The URI holds credentials.',
    ],
    ['http://', 'The host redirected to something that is not a URI.'],
    [
      `/${'x'.repeat(9000)}`,
      'The host redirected to a URI that is refused: The URI is longer than 8192 bytes.',
    ],
  ])('to %.30s', async (location, detail) => {
    expect(await redirectTo(location)).toEqual(not('redirect', detail, false))
  })
})

describe('addresses', () => {
  const answering = async (answers: string[] | ((host: string) => Promise<string[]>)) => {
    const resolve = typeof answers === 'function' ? answers : async () => answers
    return fetcherFor([], {}, { resolve })('http://example.com:8080/')
  }
  const refused = (range: string) =>
    not('refused-address', `The host's address is not public: ${range}.`, false)

  test.each([
    ['http://127.0.0.1/', 'loopback (RFC 1122)'],
    ['http://10.1.2.3:8080/', 'private use (RFC 1918)'],
    ['https://[fd00::1]/', 'unique-local (RFC 4193)'],
    ['http://[::ffff:127.0.0.1]/', 'IPv4-mapped (RFC 4291)'],
    ['http://[64:ff9b::7f00:1]/', 'NAT64 of loopback (RFC 1122)'],
    ['http://0.0.0.0/', 'this network (RFC 791)'],
  ])('%s is refused without asking anybody', async (uri, range) => {
    const resolve = vi.fn(async () => ['8.8.8.8'])
    expect(await fetcherFor([], {}, { resolve })(uri)).toEqual(refused(range))
    expect(resolve).not.toHaveBeenCalled()
  })

  test.each([
    'http://2130706433/',
    'http://0x7f000001/',
    'http://017700000001/',
    'http://127.1/',
    'http://0177.0.0.1/',
    'http://127.0.0.1./',
    'http://127.0.0.01/',
    'http://256.256.256.256/',
    'http://0x7f.0x0.0x0.0x1/',
    'http://%31%32%37.0.0.1/',
    'http://a%00b/',
    'http://a..b/',
    "http://a'b/",
    `http://${'a'.repeat(64)}.com/`,
  ])('%s is no name that anybody gets to resolve', async (uri) => {
    const resolve = vi.fn(async () => ['127.0.0.1'])
    expect(await fetcherFor([], {}, { resolve })(uri)).toEqual(
      not('refused-address', 'The host is neither an IP address nor a name in the DNS.', false),
    )
    expect(resolve).not.toHaveBeenCalled()
  })

  test('names that resolve to private addresses', async () => {
    expect(await answering(['127.0.0.1'])).toEqual(refused('loopback (RFC 1122)'))
    expect(await answering(['::1', '192.168.0.1'])).toEqual(refused('private use (RFC 1918)'))
    expect(await answering(['fe80::1%eth0'])).toEqual(refused('not an IP address'))
    expect(await answering(['gibberish'])).toEqual(refused('not an IP address'))
  })
  test('names that do not resolve', async () => {
    const none = not('dns', 'The host has no address in the DNS.', true)
    expect(await answering([])).toEqual(none)
    expect(await answering(() => Promise.reject(new Error('ENOTFOUND')))).toEqual(none)
  })
  test('localhost is the loopback, also with the look-up that is used by default', async () => {
    const fetch = fetcherFor([])
    for (const name of ['localhost', 'LOCALHOST.', 'a.localhost'])
      expect(await fetch(`http://${name}/`)).toEqual(refused('loopback (RFC 4291)'))
  })
  test('a private address beside public ones is left out, and a flood of them is cut', async () => {
    const uri = parseUri('http://example.com/') as UriParts
    const of = (...answers: string[]) =>
      permittedAddresses(
        { settings: checkSettings({}), resolve: async () => answers },
        uri,
        new AbortController().signal,
      )
    expect(await of('127.0.0.1', '8.8.8.8', '::1', '2606:4700::1', 'x')).toEqual([
      { address: '8.8.8.8', family: 4 },
      { address: '2606:4700::1', family: 6 },
    ])
    expect(await of(...Array.from({ length: 1000 }, (_, i) => `8.8.${i >> 8}.${i & 255}`))).toHaveLength(8)
  })

  test('an allowed pair counts for exactly that host and port', async () => {
    const port = await httpServer((_, response) => response.end(PAYLOAD))
    const resolve = vi.fn(async () => ['127.0.0.1'])
    const allow = (...allowedPrivate: string[]) => fetcherFor([], { allowedPrivate }, { resolve })
    const uri = `http://fleet.example:${port}/`
    expect(await allow(`fleet.example:${port}`)(uri)).toEqual(got)
    expect(await allow(`Fleet.Example:${port}`)(`http://FLEET.example:${port}/`)).toEqual(got)
    expect(await allow(`fleet.example:${port + 1}`)(uri)).toMatchObject({ what: 'refused-address' })
    expect(await allow(`127.0.0.1:${port}`)(uri)).toMatchObject({ what: 'refused-address' })
    expect(await allow(`127.0.0.1:${port}`)(`http://localhost:${port}/`)).toMatchObject({
      what: 'refused-address',
    })
    expect(await allow(`127.0.0.1:${port}`)(`http://[::ffff:127.0.0.1]:${port}/`)).toMatchObject({
      what: 'refused-address',
    })
  })

  test('one look-up a host: a second answer (DNS rebinding) is never asked for, nor connected to', async () => {
    let port = 0
    const hosts: string[] = []
    port = await httpServer((request, response) => {
      hosts.push(request.headers.host ?? '')
      response.end(PAYLOAD)
    })
    const answers = [['127.0.0.1'], ['127.0.0.2']]
    const resolve = vi.fn(async () => answers.shift() ?? [])
    const fetch = fetcherFor([], { allowedPrivate: [`rebind.example:${port}`] }, { resolve })
    expect(await fetch(`http://rebind.example:${port}/`)).toEqual(got)
    expect(resolve).toHaveBeenCalledTimes(1)
    expect(resolve).toHaveBeenCalledWith('rebind.example')
    expect(hosts).toEqual([`rebind.example:${port}`])
    // The next exchange resolves anew: now to an address where nobody listens.
    expect(await fetch(`http://rebind.example:${port}/`)).toMatchObject({ what: 'connect' })
  })

  test('a host is checked again at each redirect, by its answer then', async () => {
    const port = await httpServer((request, response) => {
      if (request.url === '/p') response.writeHead(302, { location: `http://turn.example:${port}/q` }).end()
      else response.end(PAYLOAD)
    })
    const resolve = vi.fn(async () => ['127.0.0.1'])
    const fetch = fetcherFor([port], {}, { resolve })
    expect(await fetch(`http://127.0.0.1:${port}/p`)).toEqual(refused('loopback (RFC 1122)'))
    expect(resolve).toHaveBeenCalledWith('turn.example')
  })

  test('several addresses: one that refuses the connection leaves the next its chance', async () => {
    const port = await httpServer((_, response) => response.end(PAYLOAD))
    const resolve = async () => ['::1', '127.0.0.1']
    const fetch = fetcherFor([], { allowedPrivate: [`two.example:${port}`] }, { resolve })
    expect(await fetch(`http://two.example:${port}/`)).toEqual(got)
  })
})
