import { describe, expect, test } from 'vitest'
import { DunesError } from '../../../src/core/error.ts'
import { createPayloadFetcher } from '../../../src/payload/fetch.ts'
import { checkSettings, DEFAULT_PAYLOAD_SETTINGS, hostPort } from '../../../src/payload/settings.ts'
import { parseUri, type UriParts } from '../../../src/payload/uri.ts'

const refusal = (settings: Parameters<typeof createPayloadFetcher>[0]): string => {
  try {
    createPayloadFetcher(settings)
  } catch (error) {
    if (error instanceof DunesError && error.code === 'PAYLOAD_SETTINGS') return error.message
    throw error
  }
  return 'taken'
}

test('by default nothing private, no file and no gateway', () => {
  expect(checkSettings({})).toMatchObject({ allowedPrivate: [], allowFile: [], ipfsGateways: [] })
  expect(checkSettings({ totalMs: 5 })).toMatchObject({ ...DEFAULT_PAYLOAD_SETTINGS, totalMs: 5 })
})

describe('allowed pairs', () => {
  test.each(['127.0.0.1:18080', '[::1]:80', 'fleet:8080', 'Fleet.Example:1', 'a_b.c:65535'])('%s', (pair) => {
    expect(refusal({ allowedPrivate: [pair] })).toBe('taken')
  })
  test.each([
    '*',
    '*:*',
    '*:80',
    '127.0.0.1',
    '127.0.0.1:',
    '127.0.0.1:0',
    '127.0.0.1:65536',
    '127.0.0.1:80-90',
    '127.0.0.0/8:80',
    '127.1:80',
    '2130706433:80',
    'http://127.0.0.1:80',
    'user@127.0.0.1:80',
    '127.0.0.1:80/path',
    '::1:80',
    '*.example.com:80',
    '',
  ])('%j matches no one host and port', (pair) => {
    expect(refusal({ allowedPrivate: [pair] })).toBe(`allowedPrivate does not take ${JSON.stringify(pair)}`)
  })
  test('one spelling for each host and port', () => {
    const of = (uri: string) => hostPort(parseUri(uri) as UriParts)
    expect(of('http://EXAMPLE.com/')).toBe('example.com:80')
    expect(of('https://example.com:/')).toBe('example.com:443')
    expect(of('http://example.com:0080/')).toBe('example.com:80')
    expect(of('http://[::1]:8080/')).toBe(of('http://[0:0:0:0:0:0:0:1]:8080/'))
    expect(of('http://[::1]/')).not.toBe(of('http://[::ffff:0.0.0.1]/'))
  })
})

test('other entries that make no sense', () => {
  expect(refusal({ allowFile: ['data'] })).toBe('allowFile does not take "data"')
  for (const url of ['127.0.0.1:8080', 'ftp://a', 'ipfs://a', 'http://u:p@a', 'http://a/?x', ''])
    expect(refusal({ ipfsGateways: [url] })).toBe(`ipfsGateways does not take ${JSON.stringify(url)}`)
  for (const name of ['connectMs', 'firstByteMs', 'totalMs', 'perHost', 'total', 'patienceMs'] as const)
    for (const value of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY])
      expect(refusal({ [name]: value })).toBe(`${name} does not take "${value}"`)
  expect(refusal({ maxRedirects: -1 })).toBe('maxRedirects does not take "-1"')
  expect(refusal({ maxRedirects: 0 })).toBe('taken')
})
