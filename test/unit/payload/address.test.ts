import { describe, expect, test } from 'vitest'
import {
  ipText,
  looksNumeric,
  parseIp,
  parseIpv4,
  parseIpv6,
  specialPurpose,
} from '../../../src/payload/address.ts'

const judge = (text: string): string | null => {
  const ip = parseIp(text)
  if (!ip) throw new Error(`${text} is no address`)
  return specialPurpose(ip)
}

describe('addresses in text', () => {
  test.each([
    '256.0.0.1',
    '1.2.3',
    '1.2.3.4.5',
    '01.2.3.4',
    '0x7f.0.0.1',
    '1.2.3.4 ',
    '',
    '1..2.3',
    '１.2.3.4',
  ])('%j is no IPv4 address', (text) => expect(parseIpv4(text)).toBeNull())
  test.each([
    '',
    ':',
    ':::',
    '1',
    '1::2::3',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4:5:6:7::8',
    '::1:2:3:4:5:6:7:8',
    '1.2.3.4::',
    '::1.2.3',
    '::1.2.3.4:5',
    'fe80::1%eth0',
    '12345::',
    'g::',
    '[::1]',
  ])('%j is no IPv6 address', (text) => expect(parseIpv6(text)).toBeNull())

  test.each([
    ['::', '0:0:0:0:0:0:0:0'],
    ['::1', '0:0:0:0:0:0:0:1'],
    ['2001:DB8::', '2001:db8:0:0:0:0:0:0'],
    ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0'],
    ['::2:3:4:5:6:7:8', '0:2:3:4:5:6:7:8'],
    ['1:2:3:4:5:6:1.2.3.4', '1:2:3:4:5:6:102:304'],
    ['::ffff:255.0.0.1', '0:0:0:0:0:ffff:ff00:1'],
  ])('%s is %s', (text, full) => expect(ipText(parseIpv6(text) as Uint8Array)).toBe(full))

  test.each([
    '2130706433',
    '0x7f000001',
    '0X7F000001',
    '017700000001',
    '127.1',
    '0x7f.1',
    'a.0x',
    '127.1.',
    '0',
  ])('%s looks like a number', (host) => expect(looksNumeric(host)).toBe(true))
  test.each([
    'example.com',
    'a1',
    '0x7g',
    '1.example',
    '127.0.0.1.nip.io',
    'abc',
    '',
  ])('%j does not', (host) => expect(looksNumeric(host)).toBe(false))
})

describe('special-purpose ranges: first and last address in, neighbours out', () => {
  test.each([
    ['0.0.0.0', '0.255.255.255', null, '1.0.0.0'],
    ['10.0.0.0', '10.255.255.255', '9.255.255.255', '11.0.0.0'],
    ['100.64.0.0', '100.127.255.255', '100.63.255.255', '100.128.0.0'],
    ['127.0.0.0', '127.255.255.255', '126.255.255.255', '128.0.0.0'],
    ['169.254.0.0', '169.254.255.255', '169.253.255.255', '169.255.0.0'],
    ['172.16.0.0', '172.31.255.255', '172.15.255.255', '172.32.0.0'],
    ['192.0.0.0', '192.0.0.255', '191.255.255.255', '192.0.1.0'],
    ['192.0.2.0', '192.0.2.255', '192.0.1.255', '192.0.3.0'],
    ['192.88.99.0', '192.88.99.255', '192.88.98.255', '192.88.100.0'],
    ['192.168.0.0', '192.168.255.255', '192.167.255.255', '192.169.0.0'],
    ['198.18.0.0', '198.19.255.255', '198.17.255.255', '198.20.0.0'],
    ['198.51.100.0', '198.51.100.255', '198.51.99.255', '198.51.101.0'],
    ['203.0.113.0', '203.0.113.255', '203.0.112.255', '203.0.114.0'],
    ['224.0.0.0', '255.255.255.255', '223.255.255.255', null],
    ['2001::', '2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff', null, '2001:200::'],
    ['2001:db8::', '2001:db8:ffff:ffff:ffff:ffff:ffff:ffff', '2001:db7:ffff::', '2001:db9::'],
    ['2002::', '2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff', '2001:ffff::', '2003::'],
    ['3fff::', '3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff', '3ffe:ffff::', '3fff:1000::'],
  ])('%s to %s', (first, last, before, after) => {
    expect(judge(first)).not.toBeNull()
    expect(judge(last)).not.toBeNull()
    if (before !== null) expect(judge(before)).toBeNull()
    if (after !== null) expect(judge(after)).toBeNull()
  })

  test.each([
    ['::', 'unspecified (RFC 4291)'],
    ['::1', 'loopback (RFC 4291)'],
    ['::127.0.0.1', 'outside global unicast (RFC 4291)'],
    ['::ffff:127.0.0.1', 'IPv4-mapped (RFC 4291)'],
    ['::ffff:8.8.8.8', 'IPv4-mapped (RFC 4291)'],
    ['64:ff9b::127.0.0.1', 'NAT64 of loopback (RFC 1122)'],
    ['64:ff9b::10.0.0.1', 'NAT64 of private use (RFC 1918)'],
    ['64:ff9b:1::8.8.8.8', 'local-use NAT64 (RFC 8215)'],
    ['100::1', 'discard-only (RFC 6666)'],
    ['fc00::1', 'unique-local (RFC 4193)'],
    ['fdff::1', 'unique-local (RFC 4193)'],
    ['fe80::1', 'link-local (RFC 4291)'],
    ['fec0::1', 'site-local (RFC 3879)'],
    ['ff02::1', 'multicast (RFC 4291)'],
    ['2002:7f00:1::', '6to4, which carries an IPv4 address (RFC 3056)'],
    ['2001:0:7f00:1::', 'IETF protocol assignments, Teredo among them (RFC 2928)'],
    ['4000::1', 'outside global unicast (RFC 4291)'],
    ['127.0.0.1', 'loopback (RFC 1122)'],
    ['169.254.169.254', 'link-local (RFC 3927)'],
  ])('%s: %s', (text, name) => expect(judge(text)).toBe(name))

  test.each([
    '8.8.8.8',
    '1.1.1.1',
    '2606:4700:4700::1111',
    '2a00:1450::1',
    '64:ff9b::8.8.8.8',
  ])('%s is public', (text) => expect(judge(text)).toBeNull())
})
