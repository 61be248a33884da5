import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { utf8 } from '../../../src/core/bytes.ts'
import { isUriRefused } from '../../../src/fsck/uri.ts'
import { judgeUri } from '../../../src/payload/uri.ts'

const pieces = [
  'http',
  'HTTPS',
  'file',
  'ipfs',
  'ftp',
  ':',
  '//',
  '/',
  '?',
  '#',
  '@',
  '[',
  ']',
  '::1',
  '1:2:3:4:5:6:7:8',
  '::ffff:1.2.3.4',
  '1.2.3.256',
  'example.org',
  'user:pass',
  '%41',
  '%4',
  ':80',
  ':65536',
  ':',
  'a',
  ' ',
  'é',
  '\n',
  "!$&'()*+,;=",
  '~._-',
  '..',
  '|',
]

describe('the grammar of payload URIs, written twice', () => {
  it('refuses the same strings both times', () => {
    let accepted = 0
    const uri = fc.tuple(
      fc.constantFrom('', 'http://', 'https://', 'file:', 'file:///', 'ipfs://', 'http://[', 'http://a'),
      fc.array(fc.constantFrom(...pieces), { maxLength: 8 }),
    )
    fc.assert(
      fc.property(uri, ([start, rest]) => {
        const text = start + rest.join('')
        const refused = judgeUri(text) !== null
        if (!refused) accepted++
        expect(isUriRefused(utf8(text)), text).toBe(refused)
      }),
      { numRuns: 20_000 },
    )
    expect(accepted).toBeGreaterThan(500)
  })

  it.each([
    ['http://example.org/x', false],
    ['http://example.org:65535/x', false],
    ['http://example.org:65536/x', true],
    ['http://user@example.org/', true],
    ['http://[::1]:8080/x?y#z', false],
    ['http://[::1%25eth0]/', true],
    ['file:/a/b', false],
    ['file://host/a', false],
    ['file:////a', true],
    ['ipfs://bafy/a b', true],
    ['', true],
    [`http://a/${'x'.repeat(1015)}`, false],
    [`http://a/${'x'.repeat(1016)}`, true],
  ])('judges %s', (uri, refused) => {
    expect(isUriRefused(utf8(uri))).toBe(refused)
    expect(judgeUri(uri) !== null).toBe(refused)
  })

  it('refuses bytes that are not text', () => {
    expect(isUriRefused(Uint8Array.of(0x68, 0xff))).toBe(true)
  })
})
