import { promises as dns } from 'node:dns'

/** All addresses of a host name as text, in the order in which to try them; empty or rejected where there are none. */
export type Resolve = (host: string) => Promise<string[]>

/**
 * Asks the system's name servers directly (c-ares), not through `getaddrinfo`: that runs on a few shared threads and
 * cannot be given up, so a handful of names whose servers never answer would hold up every other look-up of the process.
 * The price is that /etc/hosts is not read. `localhost` is always the loopback (RFC 6761 section 6.3).
 *
 * @param servers Addresses of name servers, with or without a port; default the system's.
 */
export function createResolve(servers?: readonly string[]): Resolve {
  // Two tries, 0.7 s and 1.4 s: a server that never answers AAAA costs less than the connect time-out.
  const resolver = new dns.Resolver({ timeout: 700, tries: 2 })
  if (servers) resolver.setServers(servers)
  return async (host) => {
    const name = host.toLowerCase().replace(/\.$/, '')
    if (name === 'localhost' || name.endsWith('.localhost')) return ['127.0.0.1', '::1']
    const answers = await Promise.allSettled([resolver.resolve4(name), resolver.resolve6(name)])
    const found = answers.map((answer) => (answer.status === 'fulfilled' ? answer.value : []))
    const [v4 = [], v6 = []] = found
    return Array.from({ length: Math.max(v4.length, v6.length) }, (_, i) => [v4[i], v6[i]])
      .flat()
      .filter((address) => address !== undefined)
  }
}
