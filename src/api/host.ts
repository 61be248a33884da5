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

/** Refuses requests whose host is neither ours nor one of `allowed` (names without ports). */
export function checkHost(allowed: readonly string[]): MiddlewareHandler<ApiEnv> {
  const names = new Set(allowed.map((name) => name.toLowerCase()))
  return async (c, next) => {
    // From the request's target if that is absolute, else from the Host header (RFC 9112 section 3.2.2).
    const { hostname } = new URL(c.req.url)
    if (!isOwnHost(hostname.replace(/\.$/, ''), names)) {
      throw new ApiError('HOST_REFUSED', `this server is not ${hostname}`, {
        hint: 'ask for it by address or localhost, or add the name to allowedHosts in the settings',
      })
    }
    await next()
  }
}
