import { describe, expect, test } from 'vitest'
import { judgeUri, MAX_URI_BYTES, parseUri } from '../../../src/payload/uri.ts'

const CREDENTIALS = 'The URI holds credentials.'
const SCHEME = 'The URI scheme is not http, https, file or ipfs.'
const NO_SCHEME = 'The URI does not begin with a scheme.'
const CHARACTER = 'The URI holds a character that is not printable ASCII, or a space.'
const HOST = 'The host or port of the URI is malformed.'
const NO_HOST = 'The URI has no host.'
const PATH = 'The path of the URI is malformed.'

describe('URIs that are not refused', () => {
  test.each([
    'http://example.com',
    'http://example.com/a/b.maml.md',
    'https://example.com:8443/a?x=1&y=/?#frag/?',
    'HTTPS://Example.COM/A',
    'http://example.com:/a', // RFC 3986 section 3.2.3 allows an empty port
    'http://example.com:0080/a',
    'http://example.com:65535/',
    'http://example.com?q',
    'http://example.com#f',
    'http://ex%41mple.com/%00%ff',
    "http://a-b._~!$&'()*+,;=/x",
    'http://example.com/@user:pass/a:b', // @ and : are ordinary in a path
    'http://example.com/?u@v',
    'http://[2001:db8::1]:80/',
    'http://[::ffff:10.0.0.1]/',
    'file:///var/data/a.maml.md',
    'file:/var/data/a',
    'file://localhost/a',
    'file://server/a#f',
    'file:/',
    'ipfs://bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku',
    'ipfs://QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG/readme?filename=x',
    'ipfs://not-a-cid', // whether it is a CID is found out when it is fetched
    // Private and odd hosts are a matter of fetching, never of the verdict.
    'http://127.0.0.1:18080/a',
    'http://2130706433/',
    'http://0x7f.1/',
    'http://localhost/',
  ])('%s', (uri) => {
    expect(judgeUri(uri)).toBeNull()
  })

  test('a URI of exactly the longest length', () => {
    const uri = `http://h/${'a'.repeat(MAX_URI_BYTES - 9)}`
    expect(uri.length).toBe(1024)
    expect(judgeUri(uri)).toBeNull()
    expect(judgeUri(`${uri}a`)).toBe('The URI is longer than 1024 bytes.')
  })
})

describe('URIs that are refused', () => {
  test.each([
    ['', NO_SCHEME],
    ['example.com/a', NO_SCHEME],
    ['//example.com/a', NO_SCHEME],
    [':http://a', NO_SCHEME],
    ['1http://a', NO_SCHEME],
    ['ht%74p://a', NO_SCHEME],
    ['ftp://example.com/a', SCHEME],
    ['data:text/plain,hi', SCHEME],
    ['javascript:alert(1)', SCHEME],
    ['httpx://a', SCHEME],
    ['__proto__://a', NO_SCHEME],
    ['constructor://a', SCHEME],
    ['http://user:secret@example.com/', CREDENTIALS],
    ['http://user@example.com/', CREDENTIALS],
    ['https://@example.com/', CREDENTIALS],
    ['http://a@b@c/', CREDENTIALS],
    ['http://127.0.0.1:80@example.com/', CREDENTIALS],
    ['file://user@localhost/a', CREDENTIALS],
    ['ipfs://user@cid/a', CREDENTIALS],
    ['http://user@example.com?x', CREDENTIALS],
    ['http://exa mple.com/', CHARACTER],
    [' http://example.com/', CHARACTER],
    ['http://example.com/\n', CHARACTER],
    ['http://example.com/\t', CHARACTER],
    ['http://example.com/\u0000', CHARACTER],
    ['http://example.com/\u007f', CHARACTER],
    ['http://example.com/é', CHARACTER],
    ['http://example.com/\ufffd', CHARACTER],
    ['http://ｅxample.com/', CHARACTER],
    ['http:example.com', 'The http URI needs // after its scheme.'],
    ['http:/example.com', 'The http URI needs // after its scheme.'],
    ['https:\\\\example.com', 'The https URI needs // after its scheme.'],
    ['ipfs:bafk', 'The ipfs URI needs // after its scheme.'],
    ['http://', NO_HOST],
    ['http:///a', NO_HOST],
    ['http://:80/', NO_HOST],
    ['ipfs:///a', NO_HOST],
    ['http://example.com\\a', HOST],
    ['http://exa<mple.com/', HOST],
    ['http://ex%4/', HOST],
    ['http://ex%zz/', HOST],
    ['http://a:b/', HOST],
    ['http://a:80:80/', HOST],
    ['http://a:-1/', HOST],
    ['http://a:65536/', HOST],
    [`http://a:${'9'.repeat(400)}/`, HOST],
    ['http://::1/', HOST],
    ['http://[::1/', HOST],
    ['http://[::1]x/', HOST],
    ['http://[::1%25eth0]/', HOST],
    ['http://[v1.x]/', HOST],
    ['http://[127.0.0.1]/', HOST],
    ['http://[]/', HOST],
    ['http://[1:2:3:4:5:6:7:8:9]/', HOST],
    ['http://[12345::]/', HOST],
    ['http://a/%', PATH],
    ['http://a/%4g', PATH],
    ['http://a/[b]', PATH],
    ['http://a/"', PATH],
    ['http://a/\\b', PATH],
    ['http://a/?"', 'The query of the URI is malformed.'],
    ['http://a/#"', 'The fragment of the URI is malformed.'],
    ['http://a/#a#b', 'The fragment of the URI is malformed.'],
    ['file:a', 'A file URI needs an absolute path.'],
    ['file://localhost', 'A file URI needs an absolute path.'],
    ['file:////etc/passwd', 'A file URI needs an absolute path.'],
    ['file:', 'A file URI needs an absolute path.'],
    ['file://localhost:80/a', 'A file URI has no port.'],
    ['file:///a?b', 'A file URI has no query.'],
    ['ipfs://cid:80/', 'An ipfs URI names a CID, not a host and port.'],
    ['ipfs://[::1]/', 'An ipfs URI names a CID, not a host and port.'],
  ])('%j: %s', (uri, why) => {
    expect(judgeUri(uri)).toBe(why)
  })
})

describe('taking apart', () => {
  test('all parts of an http URI', () => {
    expect(parseUri('HTTPS://Example.com:8443/a%20b?x=1?#f')).toEqual({
      scheme: 'https',
      host: 'Example.com',
      ipv6: false,
      port: 8443,
      path: '/a%20b',
      query: 'x=1?',
    })
  })
  test('an IPv6 host loses its brackets; an empty port is none', () => {
    expect(parseUri('http://[::1]:')).toEqual({
      scheme: 'http',
      host: '::1',
      ipv6: true,
      port: null,
      path: '',
      query: null,
    })
  })
  test('file without an authority', () => {
    expect(parseUri('file:/a/b')).toMatchObject({ scheme: 'file', host: '', path: '/a/b' })
  })
})
