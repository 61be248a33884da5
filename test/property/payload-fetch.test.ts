import fc from 'fast-check'
import { expect, test } from 'vitest'
import { equalBytes, sha256, utf8 } from '../../src/core/bytes.ts'
import { parseCid } from '../../src/payload/cid.ts'
import { createPayloadFetcher } from '../../src/payload/fetch.ts'
import { parseUnixFs } from '../../src/payload/unixfs.ts'
import { fetcherFor, PAYLOAD, tcpServer } from '../unit/payload/servers.ts'

/** What a hostile server may write: whole and broken pieces of HTTP in any order. */
const answer = fc.array(
  fc.oneof(
    fc.constantFrom(
      'HTTP/1.1 200 OK\r\n',
      'HTTP/1.1 100 Continue\r\n\r\n',
      'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n',
      'HTTP/1.1 302 Found\r\n',
      'HTTP/1.0 200\r\n',
      'Location: /\r\n',
      'Location: http://[::1\r\n',
      'Location: \u0000\r\n',
      'Content-Length: 40\r\n',
      'Content-Length: 39\r\n',
      'Content-Length: 4e1\r\n',
      'Content-Length: -1\r\n',
      'Content-Encoding: gzip\r\n',
      'Transfer-Encoding: chunked\r\n',
      'Connection: close\r\n',
      '28\r\n',
      '0\r\n\r\n',
      '\r\n',
    ),
    fc.constant(PAYLOAD),
    fc.uint8Array({ maxLength: 60 }),
  ),
  { maxLength: 8 },
)

test('whatever a host writes, the answer is an outcome, and bytes only if they are those submitted', async () => {
  let pieces: (string | Uint8Array)[] = []
  let ending: 'end' | 'reset' | 'hold' = 'end'
  const port = await tcpServer((socket) => {
    socket.once('data', () => {
      for (const piece of pieces) socket.write(piece)
      if (ending === 'end') socket.end()
      else if (ending === 'reset') socket.resetAndDestroy()
    })
  })
  const fetch = fetcherFor([port], { connectMs: 1000, firstByteMs: 30, totalMs: 60 })
  await fc.assert(
    fc.asyncProperty(answer, fc.constantFrom('end', 'reset', 'hold'), async (written, how) => {
      pieces = written
      ending = how
      const outcome = await fetch(`http://127.0.0.1:${port}/`)
      if (outcome.kind === 'bytes') expect(outcome.bytes).toEqual(PAYLOAD)
      else expect(outcome.detail).toMatch(/^[\x20-\x7e]{1,200}$/)
    }),
    { numRuns: 400 },
  )
  // The harness itself can succeed.
  pieces = ['HTTP/1.1 200 OK\r\n', 'Content-Length: 40\r\n', '\r\n', PAYLOAD]
  ending = 'end'
  expect(await fetcherFor([port])(`http://127.0.0.1:${port}/`)).toEqual({ kind: 'bytes', bytes: PAYLOAD })
})

test('whatever the URI and the name server, nothing is connected to and nothing throws', async () => {
  const piece = fc.constantFrom(
    'http',
    'https',
    'ipfs',
    'file',
    '://',
    '/',
    'a',
    '.',
    '%41',
    '[',
    '::1',
    ']',
    ':',
    '80',
  )
  const uri = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 80 }),
    fc.array(piece, { maxLength: 12 }).map((parts) => parts.join('')),
    fc.webUrl({ validSchemes: ['http', 'https'], withFragments: true, withQueryParameters: true }),
  )
  const answers = fc.array(fc.oneof(fc.ipV4(), fc.string(), fc.constantFrom('::1', '127.0.0.1', 'fe80::1%1')))
  await fc.assert(
    fc.asyncProperty(uri, answers, async (text, addresses) => {
      // Only special-purpose answers, so that nothing leaves this machine.
      const resolve = async () => addresses.map((address) => address.replace(/^\d+\./, '10.'))
      const fetcher = createPayloadFetcher({ allowFile: ['/nonexistent'] }, { resolve })
      const literal = /^https?:\/\/(?:\d|\[[^:])/i.test(text)
      fc.pre(!literal)
      const outcome = await fetcher.fetch({ uri: text, sha256: sha256(PAYLOAD), bytes: 40 })
      if (outcome.kind === 'bytes') throw new Error('bytes out of nowhere')
      expect(['uri', 'dns', 'refused-address', 'not-allowed', 'missing', 'cid']).toContain(outcome.what)
    }),
    { numRuns: 1000 },
  )
})

test('CIDs and UnixFS nodes: any text and any bytes are read or refused', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 80 }), (text) => {
      const cid = parseCid(text)
      if (cid) expect(cid.digest).toHaveLength(32)
    }),
  )
  fc.assert(
    fc.property(fc.stringMatching(/^(?:b[a-z2-7]{50,60}|[zQ][a-km-zA-HJ-NP-Z1-9]{44,52})$/), (text) => {
      const cid = parseCid(text)
      if (cid) expect(cid.digest).toHaveLength(32)
    }),
  )
  const node = utf8('\n\u0006\b\u0002\u0012\u0002hi')
  expect(parseUnixFs(node)).toMatchObject({ type: 'file', links: [] })
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat(7), (bytes, at) => {
      parseUnixFs(bytes)
      const changed = node.slice()
      changed.set(bytes.subarray(0, node.length - at), at)
      const read = parseUnixFs(changed)
      if (read && equalBytes(changed, node)) expect(read.data).toEqual(utf8('hi'))
    }),
  )
})
