import { BlockList, isIPv4, isIPv6 } from 'node:net'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ipText, parseIp, parseIpv4, parseIpv6, specialPurpose } from '../../src/payload/address.ts'

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length })
/** IPv4 addresses of which many fall into or beside small ranges. */
const ipv4 = fc.oneof(
  bytes(4),
  fc
    .tuple(fc.constantFrom(0, 10, 100, 127, 169, 172, 192, 198, 203, 224, 240), bytes(3))
    .map(([first, rest]) => Uint8Array.of(first, ...rest)),
)

test('IPv4 verdicts agree with an independent list of the ranges', () => {
  const list = new BlockList()
  for (const range of [
    '0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24',
    '192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/3',
  ].flatMap((line) => line.split(' '))) {
    const [net = '', bits = ''] = range.split('/')
    list.addSubnet(net, Number(bits), 'ipv4')
  }
  fc.assert(
    fc.property(ipv4, (ip) => {
      expect(specialPurpose(ip) !== null).toBe(list.check(ipText(ip), 'ipv4'))
    }),
    { numRuns: 5000 },
  )
})

test('no form of IPv6 that carries an IPv4 address is public when that address is not', () => {
  fc.assert(
    fc.property(ipv4, (ip) => {
      if (specialPurpose(ip) === null) return
      const text = ip.join('.')
      const [a, b, c, d] = Array.from(ip, (byte) => byte.toString(16).padStart(2, '0'))
      for (const form of [`::${text}`, `::ffff:${text}`, `64:ff9b::${text}`, `2002:${a}${b}:${c}${d}::1`])
        expect(specialPurpose(parseIpv6(form) as Uint8Array), form).not.toBeNull()
    }),
  )
})

test('IPv6 outside 2000::/3 is public only as NAT64', () => {
  fc.assert(
    fc.property(bytes(16), (ip) => {
      if ((ip[0] as number) >> 5 === 1) return
      expect(specialPurpose(ip)).not.toBeNull()
    }),
  )
})

test('text and bytes: a round trip, and never an address that Node does not take for one', () => {
  fc.assert(
    fc.property(fc.oneof(bytes(4), bytes(16)), (ip) => {
      expect(parseIp(ipText(ip))).toEqual(ip)
    }),
  )
  const near = fc
    .array(fc.constantFrom(':', '::', '.', '0', '1', '255', '256', 'ffff', '12345', '%', '1.2.3.4'), {
      maxLength: 18,
    })
    .map((parts) => parts.join(''))
  fc.assert(
    fc.property(fc.oneof(near, fc.ipV4(), fc.ipV6()), (text) => {
      expect(parseIpv4(text) !== null, text).toBe(isIPv4(text))
      expect(parseIpv6(text) !== null, text).toBe(isIPv6(text) && !text.includes('%'))
    }),
    { numRuns: 5000 },
  )
})
