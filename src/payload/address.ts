/**
 * IP addresses as bytes, and which of them a stranger may make us connect to. Pure; reads no settings.
 *
 * The text forms are exactly RFC 3986 section 3.2.2's `IPv4address` and `IPv6address`: four decimal octets without
 * leading zeros, hex groups of at most four digits, no zone. Every other spelling that some resolver might take for an
 * address (decimal, octal, hex, short) is not an address here, and {@link looksNumeric} finds it.
 */

const DEC_OCTET = /^(?:0|[1-9][0-9]?|1[0-9]{2}|2[0-4][0-9]|25[0-5])$/
const H16 = /^[0-9A-Fa-f]{1,4}$/

/** The 4 bytes of `a.b.c.d`, or null where `text` is no RFC 3986 `IPv4address`. */
export function parseIpv4(text: string): Uint8Array | null {
  const parts = text.split('.')
  if (parts.length !== 4 || !parts.every((part) => DEC_OCTET.test(part))) return null
  return Uint8Array.from(parts, Number)
}

/** The 2-byte groups of one side of `::`; an IPv4 tail, where allowed, gives two. Null where a group is malformed. */
function groups(text: string, mayEndInIpv4: boolean): number[] | null {
  if (text === '') return []
  const out: number[] = []
  const parts = text.split(':')
  for (const [i, part] of parts.entries()) {
    const ipv4 = mayEndInIpv4 && i === parts.length - 1 ? parseIpv4(part) : null
    if (ipv4) out.push(((ipv4[0] ?? 0) << 8) | (ipv4[1] ?? 0), ((ipv4[2] ?? 0) << 8) | (ipv4[3] ?? 0))
    else if (H16.test(part)) out.push(Number.parseInt(part, 16))
    else return null
  }
  return out
}

/** The 16 bytes of an RFC 3986 `IPv6address` (no brackets, no zone), or null. */
export function parseIpv6(text: string): Uint8Array | null {
  if (text.length > 45) return null
  const halves = text.split('::')
  if (halves.length > 2) return null
  const elided = halves.length === 2
  const left = groups(halves[0] ?? '', !elided)
  const right = groups(halves[1] ?? '', true)
  if (!left || !right) return null
  const count = left.length + right.length
  // `::` stands for at least one group (the RFC's productions allow at most seven beside it).
  if (elided ? count > 7 : count !== 8) return null
  const all = [...left, ...new Array<number>(8 - count).fill(0), ...right]
  return Uint8Array.from(all.flatMap((group) => [group >> 8, group & 0xff]))
}

/** The 4 or 16 bytes of an address in text, or null. */
export const parseIp = (text: string): Uint8Array | null => parseIpv4(text) ?? parseIpv6(text)

/** One text for each address: dotted decimal, or eight full lower-case hex groups. For comparison, not for display. */
export function ipText(ip: Uint8Array): string {
  if (ip.length === 4) return ip.join('.')
  const out: string[] = []
  for (let i = 0; i < 16; i += 2) out.push((((ip[i] ?? 0) << 8) | (ip[i + 1] ?? 0)).toString(16))
  return out.join(':')
}

/**
 * Whether a host name could be read as a number by some resolver: its last label is decimal or 0x hex. Covers
 * `2130706433`, `0x7f000001`, `017700000001`, `127.1` and `0x7f.1`, with or without a final dot. No top-level domain is
 * numeric (RFC 3696 section 2), so no real name is lost.
 */
export function looksNumeric(host: string): boolean {
  const labels = host.split('.')
  if (labels.length > 1 && labels.at(-1) === '') labels.pop()
  return /^(?:[0-9]+|0[xX][0-9A-Fa-f]*)$/.test(labels.at(-1) ?? '')
}

type Range = readonly [cidr: string, name: string]

/** IANA IPv4 special-purpose registry (RFC 6890) and multicast. Rows inside a refused block are not repeated. */
const REFUSED_V4: readonly Range[] = [
  ['0.0.0.0/8', 'this network (RFC 791)'],
  ['10.0.0.0/8', 'private use (RFC 1918)'],
  ['100.64.0.0/10', 'carrier-grade NAT (RFC 6598)'],
  ['127.0.0.0/8', 'loopback (RFC 1122)'],
  ['169.254.0.0/16', 'link-local (RFC 3927)'],
  ['172.16.0.0/12', 'private use (RFC 1918)'],
  ['192.0.0.0/24', 'IETF protocol assignments (RFC 6890)'],
  ['192.0.2.0/24', 'documentation (RFC 5737)'],
  ['192.88.99.0/24', '6to4 relay anycast (RFC 7526)'],
  ['192.168.0.0/16', 'private use (RFC 1918)'],
  ['198.18.0.0/15', 'benchmarking (RFC 2544)'],
  ['198.51.100.0/24', 'documentation (RFC 5737)'],
  ['203.0.113.0/24', 'documentation (RFC 5737)'],
  ['224.0.0.0/4', 'multicast (RFC 5771)'],
  ['240.0.0.0/4', 'reserved (RFC 1112)'],
]

/**
 * IANA IPv6 special-purpose registry. Only names matter outside 2000::/3: everything there is refused, because global
 * unicast is allocated from 2000::/3 alone.
 */
const REFUSED_V6: readonly Range[] = [
  ['::/128', 'unspecified (RFC 4291)'],
  ['::1/128', 'loopback (RFC 4291)'],
  ['::ffff:0:0/96', 'IPv4-mapped (RFC 4291)'],
  ['64:ff9b:1::/48', 'local-use NAT64 (RFC 8215)'],
  ['100::/64', 'discard-only (RFC 6666)'],
  ['fc00::/7', 'unique-local (RFC 4193)'],
  ['fe80::/10', 'link-local (RFC 4291)'],
  ['fec0::/10', 'site-local (RFC 3879)'],
  ['ff00::/8', 'multicast (RFC 4291)'],
  ['2001::/23', 'IETF protocol assignments, Teredo among them (RFC 2928)'],
  ['2001:db8::/32', 'documentation (RFC 3849)'],
  ['2002::/16', '6to4, which carries an IPv4 address (RFC 3056)'],
  ['3fff::/20', 'documentation (RFC 9637)'],
]

interface Block {
  ip: Uint8Array
  bits: number
  name: string
}

const compile = ([cidr, name]: Range): Block => {
  const [text = '', bits = ''] = cidr.split('/')
  return { ip: parseIp(text) as Uint8Array, bits: Number(bits), name }
}
const V4 = REFUSED_V4.map(compile)
const V6 = REFUSED_V6.map(compile)
const GLOBAL_UNICAST = compile(['2000::/3', 'global unicast'])
const NAT64 = compile(['64:ff9b::/96', 'NAT64 (RFC 6052)'])

const inside = (ip: Uint8Array, block: Block): boolean => {
  for (let i = 0, left = block.bits; left > 0; i++, left -= 8) {
    const mask = left >= 8 ? 0xff : (0xff << (8 - left)) & 0xff
    if ((((ip[i] ?? 0) ^ (block.ip[i] ?? 0)) & mask) !== 0) return false
  }
  return true
}

/**
 * Null when `ip` (4 or 16 bytes) is globally reachable unicast; else the name of the special-purpose range that it is
 * in. A NAT64 address is judged by the IPv4 address that it carries; IPv4-mapped and 6to4 ones are refused outright, since
 * no public host needs them.
 */
export function specialPurpose(ip: Uint8Array): string | null {
  if (ip.length === 4) return V4.find((block) => inside(ip, block))?.name ?? null
  if (inside(ip, NAT64)) {
    const carried = specialPurpose(ip.subarray(12))
    return carried === null ? null : `NAT64 of ${carried}`
  }
  const block = V6.find((candidate) => inside(ip, candidate))
  if (block) return block.name
  return inside(ip, GLOBAL_UNICAST) ? null : 'outside global unicast (RFC 4291)'
}
