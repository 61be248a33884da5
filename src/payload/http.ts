import http from 'node:http'
import https from 'node:https'
import type { LookupFunction, Socket } from 'node:net'
import type { Clock } from '../core/clock.ts'
import { parseIp, specialPurpose } from './address.ts'
import { Attempt, orAbort } from './attempt.ts'
import { type FetchOutcome, outcomeOfAbort, type Unavailable, unavailable, type What } from './outcome.ts'
import type { Resolve } from './resolve.ts'
import { type CheckedSettings, hostPort, isDnsName, portOf } from './settings.ts'
import type { Turns } from './turns.ts'
import { parseUri, type UriParts } from './uri.ts'

export interface HttpContext {
  settings: CheckedSettings
  clock: Clock
  turns: Turns
  resolve: Resolve
}

export interface Want {
  /** Bytes to read at most; one more ends the exchange. */
  maxBytes: number
  /** Whether fewer than `maxBytes` are a fault too. */
  exact: boolean
  /** The `Accept` header. */
  accept: string
}

interface Address {
  address: string
  family: 4 | 6
}

type Step = FetchOutcome | { kind: 'redirect'; location: string }

/** Longest redirect target in bytes. Signed URLs of object stores go beyond what we accept as a payload's URI. */
const MAX_LOCATION_BYTES = 8192
/** Addresses of one host that are tried, at most: a stranger's zone may list thousands. */
const MAX_ADDRESSES = 8
const MAX_HEADER_BYTES = 16_384
const NO_ANSWER: ReadonlySet<What> = new Set(['timeout', 'busy', 'aborted'])
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308])

// Agents of our own: the global ones may be told by the environment to use a proxy, and would keep connections open.
const httpAgent = new http.Agent({ keepAlive: false })
const httpsAgent = new https.Agent({ keepAlive: false, maxCachedSessions: 0 })

/**
 * GETs an http or https URI. Every host on the way, redirects included, is resolved once, its addresses are checked, and
 * the connection goes to a checked address and no other, so an answer of the DNS that changes in between (rebinding) gains
 * nothing. Takes a turn for each host, and starts the attempt's total deadline at the first. Never rejects.
 */
export async function httpGet(
  context: HttpContext,
  uri: UriParts,
  want: Want,
  attempt: Attempt,
): Promise<FetchOutcome> {
  const { settings, clock, turns } = context
  let at = uri
  for (let redirects = 0; ; redirects++) {
    const turn = await turns.acquire(hostPort(at), attempt.signal)
    if (turn === null) return outcomeOfAbort(attempt.signal)
    attempt.deadline(
      settings.totalMs,
      unavailable('timeout', `Not done within ${settings.totalMs} ms.`, true),
    )
    const hop = new Attempt(clock, attempt.signal, turn.evicted)
    let step: Step
    try {
      step = await visit(context, at, want, hop)
      turn.release(step.kind !== 'unavailable' || !NO_ANSWER.has(step.what))
    } finally {
      hop.close()
      turn.release()
    }
    if (step.kind !== 'redirect') return step
    if (redirects >= settings.maxRedirects)
      return unavailable('redirect', `The host redirected more than ${settings.maxRedirects} times.`, true)
    const next = follow(at, step.location)
    if (typeof next === 'string') return unavailable('redirect', next, false)
    at = next
  }
}

/** The target of a redirect, or one sentence why it is not followed. */
function follow(from: UriParts, location: string): UriParts | string {
  const authority = `${from.ipv6 ? `[${from.host}]` : from.host}:${portOf(from)}`
  let target: string
  try {
    // Only resolves the reference; what comes out is judged by our own grammar and connected to from its parts.
    target = new URL(location, `${from.scheme}://${authority}${from.path}${query(from)}`).href
  } catch {
    return 'The host redirected to something that is not a URI.'
  }
  const parts = parseUri(target, MAX_LOCATION_BYTES)
  if (typeof parts === 'string') return `The host redirected to a URI that is refused: ${parts}`
  if (parts.scheme !== 'http' && parts.scheme !== 'https')
    return `The host redirected to the scheme ${parts.scheme}, which is not followed.`
  return parts
}

const query = (parts: UriParts): string => (parts.query === null ? '' : `?${parts.query}`)

/** One request and its answer. */
async function visit(context: HttpContext, uri: UriParts, want: Want, hop: Attempt): Promise<Step> {
  const { settings, clock } = context
  const connecting = new Attempt(clock, hop.signal)
  connecting.deadline(
    settings.connectMs,
    unavailable('timeout', `No connection within ${settings.connectMs} ms.`, true),
  )
  try {
    const addresses = await permittedAddresses(context, uri, connecting.signal)
    if (!Array.isArray(addresses)) return addresses
    return await exchange(context, uri, addresses, want, hop, connecting)
  } finally {
    connecting.close()
  }
}

/**
 * The addresses of the URI's host that may be connected to, each in the form that was checked, or why there are none. A
 * private address beside public ones is left out.
 */
export async function permittedAddresses(
  context: Pick<HttpContext, 'settings' | 'resolve'>,
  uri: UriParts,
  signal: AbortSignal,
): Promise<Address[] | Unavailable> {
  const { settings, resolve } = context
  const literal = parseIp(uri.host)
  if (literal === null && !isDnsName(uri.host)) {
    // A name such as 2130706433 or 0x7f.1 is an address to some resolvers. None gets to see it.
    return unavailable('refused-address', 'The host is neither an IP address nor a name in the DNS.', false)
  }
  let texts: string[] | null = [uri.host]
  if (literal === null) {
    const answer = resolve(uri.host).catch(() => [])
    texts = await orAbort(answer, signal, () => null)
    if (texts === null) return outcomeOfAbort(signal)
    if (texts.length === 0) return unavailable('dns', 'The host has no address in the DNS.', true)
  }
  const mayBePrivate = settings.allowedPairs.has(hostPort(uri))
  const addresses: Address[] = []
  let refused = 'not an IP address'
  for (const address of texts) {
    const ip = parseIp(address)
    const special = ip === null ? refused : mayBePrivate ? null : specialPurpose(ip)
    if (special !== null) refused = special
    else addresses.push({ address, family: ip?.length === 16 ? 6 : 4 })
  }
  if (addresses.length > 0) return addresses.slice(0, MAX_ADDRESSES)
  return unavailable('refused-address', `The host's address is not public: ${refused}.`, false)
}

function exchange(
  context: HttpContext,
  uri: UriParts,
  addresses: readonly Address[],
  want: Want,
  hop: Attempt,
  connecting: Attempt,
): Promise<Step> {
  const { settings, clock } = context
  const answering = new Attempt(clock, hop.signal)
  return new Promise((resolve) => {
    let connected = false
    let done = false
    const finish = (step: Step) => {
      if (done) return
      done = true
      answering.close()
      connecting.signal.removeEventListener('abort', noConnection)
      answering.signal.removeEventListener('abort', noAnswer)
      resolve(step)
      request?.destroy()
    }
    const noConnection = () => finish(outcomeOfAbort(connecting.signal))
    const noAnswer = () => finish(outcomeOfAbort(answering.signal))

    // The only look-up that the socket gets to make: the addresses that were checked.
    const lookup: LookupFunction = (_host, options, callback) => {
      const [first] = addresses
      if (options.all) callback(null, [...addresses])
      else callback(null, first?.address ?? '', first?.family)
    }
    let request: http.ClientRequest | undefined
    const secure = uri.scheme === 'https'
    const host = uri.ipv6 ? `[${uri.host}]` : uri.host
    try {
      request = (secure ? https : http).request({
        agent: secure ? httpsAgent : httpAgent,
        host: uri.host,
        port: portOf(uri),
        path: `${uri.path === '' ? '/' : uri.path}${query(uri)}`,
        method: 'GET',
        lookup,
        maxHeaderSize: MAX_HEADER_BYTES,
        headers: {
          host: uri.port === null ? host : `${host}:${uri.port}`,
          accept: want.accept,
          // A compressed answer would not have the submitted bytes, and could be a bomb.
          'accept-encoding': 'identity',
          'user-agent': 'dunes',
          connection: 'close',
        },
        ...(secure ? { rejectUnauthorized: true } : {}),
      })
    } catch {
      return finish(unavailable('connect', 'The request could not be made.', false))
    }
    if (connecting.signal.aborted) return noConnection()
    connecting.signal.addEventListener('abort', noConnection, { once: true })
    answering.signal.addEventListener('abort', noAnswer, { once: true })

    let tcp = false
    request.on('socket', (socket: Socket) => {
      socket.once('connect', () => {
        tcp = true
      })
      socket.once(secure ? 'secureConnect' : 'connect', () => {
        connected = true
        connecting.signal.removeEventListener('abort', noConnection)
        answering.deadline(
          settings.firstByteMs,
          unavailable('timeout', `Connected, but no answer within ${settings.firstByteMs} ms.`, true),
        )
      })
    })
    request.on('error', (error: NodeJS.ErrnoException) => finish(faultOf(error, connected, tcp)))
    const closed = () =>
      finish(unavailable('connect', 'The host closed the connection without an answer.', true))
    request.on('close', closed)
    request.on('upgrade', (_, socket) => {
      // Node has let go of the socket here: left open, its next error would end the process.
      socket.destroy()
      finish(unavailable('protocol', 'The host asked to change the protocol.', true))
    })
    request.on('response', (response) => {
      request?.off('close', closed)
      answering.close()
      hop.signal.addEventListener('abort', () => finish(outcomeOfAbort(hop.signal)), { once: true })
      if (hop.signal.aborted) return finish(outcomeOfAbort(hop.signal))
      read(response, want, finish)
    })
    request.end()
  })
}

const tooLong = (want: Want): Unavailable =>
  unavailable('too-long', `The answer has more than ${want.maxBytes} bytes.`, true)
const tooShort = (want: Want): Unavailable =>
  unavailable('too-short', `The answer has fewer than ${want.maxBytes} bytes.`, true)

/** What the head of an answer alone decides; null where the body has to be read. */
function judgeHead({ statusCode = 0, headers }: http.IncomingMessage, want: Want): Step | null {
  if (REDIRECTS.has(statusCode) && headers.location !== undefined)
    return { kind: 'redirect', location: headers.location }
  if (statusCode !== 200) return unavailable('status', `The host answered with ${statusCode}.`, true)
  const coding = headers['content-encoding']?.trim().toLowerCase() ?? ''
  const transfer = headers['transfer-encoding']?.trim().toLowerCase() ?? 'chunked'
  if ((coding !== 'identity' && coding !== '') || transfer !== 'chunked')
    return unavailable('encoding', 'The answer is compressed, which was not asked for.', true)
  const announced = headers['content-length']
  if (announced !== undefined && Number(announced) > want.maxBytes) return tooLong(want)
  if (announced !== undefined && want.exact && Number(announced) < want.maxBytes) return tooShort(want)
  return null
}

/** Reads the answer's body as far as it can still be what is wanted. */
function read(response: http.IncomingMessage, want: Want, finish: (step: Step) => void): void {
  const brokeOff = () => finish(unavailable('too-short', 'The answer broke off.', true))
  response.on('error', brokeOff)
  response.on('close', brokeOff)
  const decided = judgeHead(response, want)
  if (decided !== null) {
    finish(decided)
    return
  }
  // One growing buffer, because a list of a million one-byte chunks takes a hundred times the memory of its bytes.
  let buffer = new Uint8Array(Math.min(want.maxBytes, 16_384))
  let length = 0
  response.on('data', (chunk: Buffer) => {
    if (length + chunk.length > want.maxBytes) return finish(tooLong(want))
    if (length + chunk.length > buffer.length) {
      const grown = new Uint8Array(
        Math.min(want.maxBytes, Math.max(2 * buffer.length, length + chunk.length)),
      )
      grown.set(buffer.subarray(0, length))
      buffer = grown
    }
    buffer.set(chunk, length)
    length += chunk.length
  })
  response.on('end', () => {
    if (!response.complete) return brokeOff()
    if (want.exact && length < want.maxBytes) return finish(tooShort(want))
    finish({ kind: 'bytes', bytes: buffer.slice(0, length) })
  })
}

/** What an error of the connection means. Only Node's own code goes into the sentence, nothing that the host wrote. */
function faultOf(error: NodeJS.ErrnoException, connected: boolean, tcp: boolean): Unavailable {
  const code = error.code ?? error.name
  if (connected && code.startsWith('HPE_'))
    return unavailable('protocol', `The answer is not HTTP (${code}).`, true)
  if (tcp && !connected) return unavailable('tls', `TLS could not be agreed on (${code}).`, true)
  return unavailable('connect', `The connection failed (${code}).`, true)
}
