import { isIP } from 'node:net'
import type { MiddlewareHandler } from 'hono'
import { ApiError } from './problem.ts'
import type { ApiEnv } from './request.ts'

/**
 * Whether requests for this host name (lower case, no port, IPv6 in brackets or not) are meant for us. Addresses and
 * localhost always are: a page on a foreign site can only reach us under its own name (DNS rebinding), never under these.
 */
export function isOwnHost(name: string, allowed: ReadonlySet<string>): boolean {
  return name === 'localhost' || isIP(name.replace(/^\[(.*)\]$/, '$1')) !== 0 || allowed.has(name)
}

/** The host of an address where it is spelled as `URL` would spell it; any other is left to that, which takes longer. */
const PLAIN_HOST = /^http:\/\/([a-z0-9.-]+)(?::[0-9]+)?\//

/** Refuses requests whose host is neither ours nor one of `allowed` (names without ports). */
export function checkHost(allowed: readonly string[]): MiddlewareHandler<ApiEnv> {
  const names = new Set(allowed.map((name) => name.toLowerCase()))
  return async (c, next) => {
    // From the request's target if that is absolute, else from the Host header (RFC 9112 section 3.2.2).
    const plain = PLAIN_HOST.exec(c.req.url)?.[1]
    if (plain !== undefined && isOwnHost(plain, names)) return next()
    const { hostname } = new URL(c.req.url)
    if (!isOwnHost(hostname.replace(/\.$/, ''), names)) {
      throw new ApiError('HOST_REFUSED', `this server is not ${hostname}`, {
        hint: 'ask for it by address or localhost, or add the name to allowedHosts in the settings',
      })
    }
    await next()
  }
}

/** Names under which only programs of this machine can serve a page. */
const LOOPBACK = /^(localhost|127(\.[0-9]{1,3}){3}|\[::1\])$/

/**
 * What an Origin header (RFC 6454 section 7) says of whoever asks: `own`, a page of this server or of this machine; `allowed`, a
 * page of one of the `allowed` origins; `foreign`, any other page, an opaque origin (`null`) or no origin at all.
 */
export function judgeOrigin(
  origin: string,
  host: string,
  allowed: ReadonlySet<string>,
): 'own' | 'allowed' | 'foreign' {
  if (!URL.canParse(origin)) return 'foreign'
  const url = new URL(origin)
  if (allowed.has(url.origin)) return 'allowed'
  if (url.protocol !== 'http:' && url.protocol !== 'https:') return 'foreign'
  return url.host === host || LOOPBACK.test(url.hostname) ? 'own' : 'foreign'
}

/** Request headers that a page of an allowed origin may send, and answer headers that it may read. */
const REQUEST_HEADERS =
  'Accept, Content-Type, If-None-Match, Last-Event-ID, MCP-Protocol-Version, Mcp-Method, Mcp-Name, Mcp-Session-Id, X-Dunes-Contributor, X-Request-Id'
const ANSWER_HEADERS =
  'Dunes-Completeness, Dunes-Proof-Block, Dunes-Receipt-Signature, ETag, Mcp-Session-Id, Retry-After, X-Request-Id'
/** Seconds for which a browser may remember what a preflight said. */
const PREFLIGHT_SECONDS = 600

/**
 * Refuses requests that a page of a foreign site makes, on 127.0.0.1 as anywhere: programs send no Origin header, and browsers always
 * do where it matters. Pages of the `allowed` origins are let in with CORS headers; without any, no answer carries one.
 */
export function checkOrigin(allowed: readonly string[]): MiddlewareHandler<ApiEnv> {
  const origins = new Set(allowed.map((text) => (URL.canParse(text) ? new URL(text).origin : text)))
  return async (c, next) => {
    const origin = c.req.header('Origin')
    const pass = async () => {
      await next()
      // An answer without the headers must not be kept for a page that needs them.
      if (origins.size > 0) c.res.headers.append('Vary', 'Origin')
    }
    if (origin === undefined && origins.size === 0) return next()
    if (origin === undefined) return pass()
    const judged = judgeOrigin(origin, new URL(c.req.url).host, origins)
    if (judged === 'foreign') {
      throw new ApiError('ORIGIN_REFUSED', 'pages of other sites may not ask this server', {
        hint: 'ask from a program, or add the origin to allowedOrigins in the settings',
      })
    }
    if (judged === 'own') return pass()
    const preflight = c.req.method === 'OPTIONS' && c.req.header('Access-Control-Request-Method')
    if (preflight) {
      return c.body(null, 204, {
        'Access-Control-Allow-Origin': origin,
        'Access-Control-Allow-Methods': 'GET, HEAD, PUT, POST, DELETE',
        'Access-Control-Allow-Headers': REQUEST_HEADERS,
        'Access-Control-Max-Age': String(PREFLIGHT_SECONDS),
        Vary: 'Origin',
      })
    }
    await pass()
    c.res.headers.set('Access-Control-Allow-Origin', origin)
    c.res.headers.set('Access-Control-Expose-Headers', ANSWER_HEADERS)
    c.res.headers.set('Cross-Origin-Resource-Policy', 'cross-origin')
  }
}
