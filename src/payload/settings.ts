import { DunesError } from '../core/error.ts'
import { ipText, looksNumeric, parseIp } from './address.ts'
import { parseUri, type UriParts } from './uri.ts'

/** What the operator decides about fetching. None of it can change a leaf, except through "unavailable". */
export interface PayloadSettings {
  /**
   * `host:port` pairs (IPv6 in brackets) that may be on private addresses. Matched exactly against the host and port
   * of a URI as written; there is no wildcard and no switch for all. Default none.
   */
  allowedPrivate: readonly string[]
  /** Absolute paths of folders below which `file:` URIs are read. Default none, which turns `file:` off. */
  allowFile: readonly string[]
  /** Base URLs of IPFS gateways, asked in turn. Default none, which turns `ipfs:` off. */
  ipfsGateways: readonly string[]
  /** Milliseconds for DNS, TCP and TLS together. */
  connectMs: number
  /** Milliseconds from the connection to the whole head of the answer. */
  firstByteMs: number
  /** Milliseconds for everything, redirects and gateways included, from the first connection on. */
  totalMs: number
  /** Redirects followed, at most. */
  maxRedirects: number
  /** Connections to one host and port at once. */
  perHost: number
  /** Connections at once. */
  total: number
  /** Milliseconds after which a fetch without an answer makes room when others wait for its place. */
  patienceMs: number
}

export const DEFAULT_PAYLOAD_SETTINGS: PayloadSettings = {
  allowedPrivate: [],
  allowFile: [],
  ipfsGateways: [],
  connectMs: 3_000,
  firstByteMs: 5_000,
  totalMs: 10_000,
  maxRedirects: 3,
  perHost: 4,
  total: 64,
  patienceMs: 1_000,
}

/** The largest payload in bytes; the registry contract enforces the same. */
export const MAX_PAYLOAD_BYTES = 1 << 20

/** Settings in the form that the fetcher uses. */
export interface CheckedSettings extends PayloadSettings {
  /** The `allowedPrivate` pairs as {@link hostPort} writes them. */
  allowedPairs: ReadonlySet<string>
  gateways: readonly UriParts[]
}

export const portOf = (parts: UriParts): number => parts.port ?? (parts.scheme === 'https' ? 443 : 80)

/** `host:port` with one spelling for each: lower case, IPv6 in full, the scheme's port filled in. */
export function hostPort(parts: UriParts): string {
  const ip = parts.ipv6 ? parseIp(parts.host) : null
  const host = ip ? `[${ipText(ip)}]` : parts.host.toLowerCase()
  return `${host}:${portOf(parts)}`
}

const HOST_NAME = /^[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?$/

/** Whether a host written without brackets can be a name in the DNS, and could not be read as a number. */
export const isDnsName = (host: string): boolean =>
  host.length <= 253 && HOST_NAME.test(host) && !looksNumeric(host)

function refuse(setting: string, value: string, hint: string): never {
  throw new DunesError('PAYLOAD_SETTINGS', `${setting} does not take ${JSON.stringify(value)}`, { hint })
}

/**
 * Fills in {@link DEFAULT_PAYLOAD_SETTINGS} and checks what the operator gave. Throws `PAYLOAD_SETTINGS` on an entry that
 * could never match or would match more than one host and port.
 */
export function checkSettings(given: Partial<PayloadSettings>): CheckedSettings {
  const settings = { ...DEFAULT_PAYLOAD_SETTINGS, ...given }
  for (const name of ['connectMs', 'firstByteMs', 'totalMs', 'perHost', 'total', 'patienceMs'] as const) {
    if (!Number.isSafeInteger(settings[name]) || settings[name] < 1)
      refuse(name, String(settings[name]), 'give a whole number of at least 1')
  }
  if (!Number.isSafeInteger(settings.maxRedirects) || settings.maxRedirects < 0)
    refuse('maxRedirects', String(settings.maxRedirects), 'give a whole number of at least 0')
  for (const root of settings.allowFile)
    if (!root.startsWith('/')) refuse('allowFile', root, 'give the absolute path of a folder')

  const allowedPairs = settings.allowedPrivate.map((pair) => {
    const parts = parseUri(`http://${pair}/`)
    const exact =
      typeof parts !== 'string' &&
      parts.path === '/' &&
      parts.port !== null &&
      parts.port > 0 &&
      (parts.ipv6 || parseIp(parts.host) !== null || isDnsName(parts.host))
    if (!exact) return refuse('allowedPrivate', pair, 'give one host and port, such as 127.0.0.1:18080')
    return hostPort(parts)
  })
  const gateways = settings.ipfsGateways.map((url) => {
    const parts = parseUri(url)
    const usable =
      typeof parts !== 'string' &&
      (parts.scheme === 'http' || parts.scheme === 'https') &&
      parts.query === null
    return usable ? parts : refuse('ipfsGateways', url, 'give a base URL, such as http://127.0.0.1:8080')
  })
  return { ...settings, allowedPairs: new Set(allowedPairs), gateways }
}
