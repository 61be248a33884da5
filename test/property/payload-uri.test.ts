import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { judgeUri, parseUri } from '../../src/payload/uri.ts'

/** Strings that come near the grammar far more often than random ones do. */
const nearUri = fc
  .array(
    fc.constantFrom(
      'http',
      'https',
      'file',
      'ipfs',
      'HTTP',
      'ftp',
      ':',
      '/',
      '//',
      '://',
      '?',
      '#',
      '@',
      '[',
      ']',
      '::',
      '::1',
      '%',
      '%41',
      '%zz',
      '.',
      '127.0.0.1',
      'example.com',
      '80',
      '65536',
      ' ',
      '\\',
      'é',
      '\ufffd',
      '\n',
      'a',
    ),
    { maxLength: 14 },
  )
  .map((parts) => parts.join(''))

describe('judgeUri', () => {
  test('never throws, answers the same twice, and agrees with parseUri', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary', maxLength: 1100 }), nearUri), (uri) => {
        const verdict = judgeUri(uri)
        expect(judgeUri(uri)).toBe(verdict)
        expect(verdict === null).toBe(typeof parseUri(uri) === 'object')
        if (verdict !== null) expect(verdict).toMatch(/^[A-Z].*\.$/)
      }),
      { numRuns: 1000 },
    )
  })

  test('accepts nothing that holds an @ before the path, a foreign scheme or a byte outside printable ASCII', () => {
    fc.assert(
      fc.property(nearUri, (uri) => {
        if (judgeUri(uri) !== null) return
        expect(uri).toMatch(/^[\x21-\x7e]+$/)
        expect(uri).toMatch(/^(?:https?|file|ipfs):/i)
        expect(/^[a-z]+:\/\/([^/?#]*)/i.exec(uri)?.[1] ?? '').not.toContain('@')
      }),
      { numRuns: 5000 },
    )
  })

  test('what it accepts, rebuilt from its parts, is accepted with the same parts', () => {
    const label = fc.stringMatching(/^[a-z0-9]{1,10}$/)
    const host = fc.oneof(fc.ipV4(), fc.domain(), label)
    fc.assert(
      fc.property(
        fc.constantFrom('http', 'https'),
        host,
        fc.option(fc.integer({ min: 0, max: 65535 })),
        fc.webPath(),
        (scheme, name, port, path) => {
          const uri = `${scheme}://${name}${port === null ? '' : `:${port}`}${path}`
          fc.pre(uri.length <= 1024)
          expect(parseUri(uri)).toEqual({ scheme, host: name, ipv6: false, port, path, query: null })
        },
      ),
    )
  })

  test('every IPv6 address is a host in brackets, and an @ put before any host refuses it', () => {
    fc.assert(
      fc.property(fc.ipV6(), (ip) => {
        expect(judgeUri(`http://[${ip}]/`)).toBeNull()
        expect(judgeUri(`http://u@[${ip}]/`)).toBe('The URI holds credentials.')
      }),
    )
  })

  test('is linear: a thousand of the longest hostile strings take no time worth naming', () => {
    const hostile = ['%41', '%', '::', 'a.', '[', ':9', '@', '/%4'].map((unit) =>
      `http://${unit.repeat(1024)}`.slice(0, 1024),
    )
    const started = performance.now()
    for (let i = 0; i < 1000; i++) for (const uri of hostile) judgeUri(uri)
    // 8 MB of text: tens of milliseconds where each character is looked at a few times, minutes where it backtracks.
    expect(performance.now() - started).toBeLessThan(20_000)
  })
})
