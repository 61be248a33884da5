import { parseIpv6 } from './address.ts'

/**
 * The grammar of payload URIs, a strict subset of RFC 3986 that docs/payloads.md writes out. The verdict enters leaves,
 * so it is pure, reads no setting, never asks the runtime's URL parser, and must never change for a string that has once
 * been judged.
 */

/** The longest URI in bytes; the registry contract enforces the same. */
export const MAX_URI_BYTES = 1024

export type Scheme = 'http' | 'https' | 'file' | 'ipfs'

/** A URI taken apart. Nothing is decoded; `scheme` alone is lower-cased. */
export interface UriParts {
  scheme: Scheme
  /** As written, without the brackets of an IPv6 address. Empty only in file URIs. */
  host: string
  /** Whether `host` stood in brackets, and so is an IPv6 address. */
  ipv6: boolean
  /** 0 to 65535; null where none is written. */
  port: number | null
  /** Empty, or begins with `/`. */
  path: string
  /** Without the `?`; null where there is none. */
  query: string | null
}

// Each class's alternatives begin with different characters, so every match is linear in the length.
const SCHEME = /^[A-Za-z][A-Za-z0-9+.-]*$/
const REG_NAME = /^(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+$/
const PATH = /^(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*$/
const QUERY = /^(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*$/

const SCHEMES: ReadonlyMap<string, Scheme> = new Map([
  ['http', 'http'],
  ['https', 'https'],
  ['file', 'file'],
  ['ipfs', 'ipfs'],
])

/** `text` up to the first `mark`, and what follows it (null where there is no mark). */
function cut(text: string, mark: string): [string, string | null] {
  const at = text.indexOf(mark)
  return at < 0 ? [text, null] : [text.slice(0, at), text.slice(at + mark.length)]
}

/**
 * Takes a payload URI apart, or returns the one sentence that says why it is refused. Never throws, whatever the string;
 * linear in its length.
 */
export function parseUri(uri: string, maxBytes: number = MAX_URI_BYTES): UriParts | string {
  if (uri.length > maxBytes) return `The URI is longer than ${maxBytes} bytes.`
  for (let i = 0; i < uri.length; i++) {
    const c = uri.charCodeAt(i)
    if (c < 0x21 || c > 0x7e) return 'The URI holds a character that is not printable ASCII, or a space.'
  }
  const [schemeText, afterScheme] = cut(uri, ':')
  if (afterScheme === null || !SCHEME.test(schemeText)) return 'The URI does not begin with a scheme.'
  const scheme = SCHEMES.get(schemeText.toLowerCase())
  if (scheme === undefined) return 'The URI scheme is not http, https, file or ipfs.'

  const [beforeFragment, fragment] = cut(afterScheme, '#')
  const [hierarchy, query] = cut(beforeFragment, '?')
  if (fragment !== null && !QUERY.test(fragment)) return 'The fragment of the URI is malformed.'
  if (query !== null && scheme === 'file') return 'A file URI has no query.'
  if (query !== null && !QUERY.test(query)) return 'The query of the URI is malformed.'

  let authority = ''
  let path = hierarchy
  if (hierarchy.startsWith('//')) {
    const slash = hierarchy.indexOf('/', 2)
    authority = hierarchy.slice(2, slash < 0 ? undefined : slash)
    path = slash < 0 ? '' : hierarchy.slice(slash)
  } else if (scheme !== 'file') return `The ${scheme} URI needs // after its scheme.`
  if (authority.includes('@')) return 'The URI holds credentials.'
  if (!PATH.test(path)) return 'The path of the URI is malformed.'
  if (scheme === 'file' && (!path.startsWith('/') || path.startsWith('//')))
    return 'A file URI needs an absolute path.'

  const host = parseHost(authority)
  if (host === null) return 'The host or port of the URI is malformed.'
  if (host.host === '' && scheme !== 'file') return 'The URI has no host.'
  if ((host.portText !== null || host.ipv6) && scheme === 'ipfs')
    return 'An ipfs URI names a CID, not a host and port.'
  if (host.portText !== null && scheme === 'file') return 'A file URI has no port.'
  const port = host.portText === null || host.portText === '' ? null : Number(host.portText)
  return { scheme, host: host.host, ipv6: host.ipv6, port, path, query }
}

/** RFC 3986 `host [ ":" port ]`, also the empty host; null where malformed or the port is above 65535. */
function parseHost(authority: string): { host: string; ipv6: boolean; portText: string | null } | null {
  let host: string
  let portText: string | null
  const ipv6 = authority.startsWith('[')
  if (ipv6) {
    const [literal, rest] = cut(authority.slice(1), ']')
    if (rest === null || parseIpv6(literal) === null) return null
    if (rest !== '' && !rest.startsWith(':')) return null
    host = literal
    portText = rest === '' ? null : rest.slice(1)
  } else {
    ;[host, portText] = cut(authority, ':')
    if (host !== '' && !REG_NAME.test(host)) return null
  }
  if (portText !== null && (!/^[0-9]*$/.test(portText) || Number(portText) > 65535)) return null
  return { host, ipv6, portText }
}

/**
 * Whether the reason `URI_REFUSED` applies to a submission's URI: null when the URI is well formed, else one sentence
 * that says why not. Looks at the string alone: private addresses, a `file` URI that local settings do not allow or a
 * malformed CID are not refused here, but are `PAYLOAD_UNAVAILABLE` when fetched.
 */
export function judgeUri(uri: string): string | null {
  const parsed = parseUri(uri)
  return typeof parsed === 'string' ? parsed : null
}

const lenient = new TextDecoder('utf-8', { ignoreBOM: true })
/** A submission's URI, raw bytes on the chain, as text; what is not UTF-8 becomes U+FFFD, which no accepted URI holds. */
export const uriText = (uri: Uint8Array): string => lenient.decode(uri)
