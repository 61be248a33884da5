import { createServer, type Server, type ServerResponse } from 'node:http'
import { isIPv6, type Socket } from 'node:net'
import { getRequestListener } from '@hono/node-server'
import type { Hono } from 'hono'
import { DunesError } from '../core/error.ts'
import { PROBLEM_TYPE, type Problem, rawProblem } from './problem.ts'
import type { ApiEnv } from './request.ts'

export const DEFAULT_HOST = '127.0.0.1'
export const DEFAULT_PORT = 8000
/** Milliseconds that a client may take for its headers, for its whole request, and between two packets of an answer. */
export const HEADERS_MS = 10_000
export const REQUEST_MS = 30_000
export const IDLE_MS = 60_000
/**
 * Milliseconds that an unused connection is kept. Longer than a busy machine lets an honest client wait between two requests: one that is
 * closed while the next request is on its way looks to the client like a server that broke down.
 */
export const KEEP_ALIVE_MS = 30_000
/** Milliseconds that a stop waits for requests under way. */
export const GRACE_MS = 5_000
/** Connections that may wait to be taken: more than come in the moment in which the process does something else. The system may cap it. */
const BACKLOG = 4_096
/** How often clients are looked at for being too slow, in milliseconds. */
const CHECK_MS = 1_000

export interface ListenOptions {
  host?: string
  /** 0 takes any free port. */
  port?: number
  headersMs?: number
  requestMs?: number
  graceMs?: number
  checkMs?: number
}

export interface Listening {
  /** `http://host:port`, without a slash at the end. */
  url: string
  host: string
  port: number
  /** Takes no new connections, finishes what is under way or cuts it off after the grace. Twice is once. */
  close(): Promise<void>
}

/** The port or address that the API cannot have. Codes: PORT_BUSY, PORT_REFUSED, HOST_UNAVAILABLE. */
export class ListenError extends DunesError {
  override readonly name = 'ListenError'
}

/** What every answer carries unless its handler says otherwise: nothing here is a page that may load or frame anything. */
const HEADERS: readonly (readonly [string, string])[] = [
  ['X-Content-Type-Options', 'nosniff'],
  ['Referrer-Policy', 'no-referrer'],
  ['Cross-Origin-Resource-Policy', 'same-origin'],
  ['Content-Security-Policy', "default-src 'none'; frame-ancestors 'none'"],
  ['Cache-Control', 'no-cache'],
]

/** Serves `app` over HTTP/1.1. Rejects with {@link ListenError}. */
export async function listen(app: Hono<ApiEnv>, options: ListenOptions = {}): Promise<Listening> {
  const { host = DEFAULT_HOST, port = DEFAULT_PORT, graceMs = GRACE_MS } = options
  // The process's Request and Response become lighter ones of the same form: an answer's text goes to the socket as it is, where the
  // runtime's own Response would make a stream of it that has to be read again.
  const handle = getRequestListener((request, env) => app.fetch(request, env as never), {
    errorHandler: () =>
      new Response(JSON.stringify(NO_HOST), { status: 400, headers: { 'Content-Type': PROBLEM_TYPE } }),
  })
  const server = createServer(
    {
      headersTimeout: options.headersMs ?? HEADERS_MS,
      requestTimeout: options.requestMs ?? REQUEST_MS,
      connectionsCheckingInterval: options.checkMs ?? CHECK_MS,
      keepAliveTimeout: KEEP_ALIVE_MS,
      noDelay: true,
      // Ours to refuse, with a problem document: Node would answer an empty 400.
      requireHostHeader: false,
    },
    (request, response) => {
      for (const [name, value] of HEADERS) response.setHeader(name, value)
      // More than one is refused, not chosen from (RFC 9112 section 3.2).
      if ((request.headersDistinct['host']?.length ?? 0) > 1) refuse(response, NO_HOST)
      else void handle(request, response)
    },
  )
  server.on('checkExpectation', (_request, response: ServerResponse) =>
    refuse(response, rawProblem(417, 'only the expectation 100-continue can be met', 'leave Expect out')),
  )
  server.timeout = IDLE_MS
  server.on('clientError', answerRaw)
  await bind(server, host, port)
  const address = server.address()
  const bound = typeof address === 'object' && address ? address.port : port
  let closed: Promise<void> | null = null
  return {
    url: `http://${urlHost(host)}:${bound}`,
    host,
    port: bound,
    close: () => {
      closed ??= stop(server, graceMs)
      return closed
    },
  }
}

/** What a browser on this machine can write: the wildcard addresses are none to connect to. */
const urlHost = (host: string): string => {
  if (host === '0.0.0.0') return '127.0.0.1'
  if (host === '::') return '[::1]'
  return isIPv6(host) ? `[${host}]` : host
}

function bind(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(listenError(error, host, port)))
    server.listen({ host, port, backlog: BACKLOG }, () => resolve())
  })
}

function listenError(error: NodeJS.ErrnoException, host: string, port: number): unknown {
  if (error.code === 'EADDRINUSE') {
    return new ListenError('PORT_BUSY', `port ${port} on ${host} is in use by another process`, {
      hint: 'stop that process, or choose another port with --port or PORT',
      details: { host, port },
      cause: error,
    })
  }
  if (error.code === 'EACCES') {
    return new ListenError('PORT_REFUSED', `this user may not listen on port ${port}`, {
      hint: 'choose a port from 1024 up with --port or PORT',
      details: { host, port },
      cause: error,
    })
  }
  if (error.code === 'EADDRNOTAVAIL' || error.code === 'ENOTFOUND') {
    return new ListenError('HOST_UNAVAILABLE', `${host} is no address of this machine`, {
      hint: 'choose another address with --host or HOST; 127.0.0.1 serves this machine, 0.0.0.0 everybody',
      details: { host, port },
      cause: error,
    })
  }
  return error
}

const NO_HOST = rawProblem(
  400,
  'the request has no usable target or Host header',
  "send one Host header with this server's name or address, and a path that begins with /",
)

/** Answers a request that no handler sees, and ends its connection. */
function refuse(response: ServerResponse, problem: Problem): void {
  response.writeHead(problem.status, { 'Content-Type': PROBLEM_TYPE, Connection: 'close' })
  response.end(JSON.stringify(problem))
}

/** Answers what never became a request: Node hands over the socket and leaves the rest to us. */
function answerRaw(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy()
    return
  }
  const [status, phrase, detail, hint] =
    error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
      ? ([408, 'Request Timeout', 'the request took too long to arrive', 'send it whole, sooner'] as const)
      : error.code === 'HPE_HEADER_OVERFLOW'
        ? ([
            431,
            'Request Header Fields Too Large',
            'target and headers are too large',
            'keep them within 16 KiB',
          ] as const)
        : ([400, 'Bad Request', 'not an HTTP/1.1 request', 'use an HTTP/1.1 client'] as const)
  const body = JSON.stringify(rawProblem(status, detail, hint))
  const head = `HTTP/1.1 ${status} ${phrase}\r\nContent-Type: ${PROBLEM_TYPE}\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n`
  socket.end(head + body)
}

function stop(server: Server, graceMs: number): Promise<void> {
  return new Promise((resolve) => {
    // A connection that was busy at the stop becomes idle with its answer, and would stay open for the next request.
    const sweep = setInterval(() => server.closeIdleConnections(), 20)
    const cut = setTimeout(() => server.closeAllConnections(), graceMs)
    server.close(() => {
      clearInterval(sweep)
      clearTimeout(cut)
      resolve()
    })
  })
}
