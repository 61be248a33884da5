import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'
import { concat, utf8 } from '../../src/core/bytes.ts'
import type { Clock } from '../../src/core/clock.ts'
import { behaviourNamed, type Serving } from './behaviours.ts'
import { FleetError } from './error.ts'
import type { PayloadFiles } from './payload-files.ts'

/** Connections at once; more are refused. */
const MAX_CONNECTIONS = 256
/** Milliseconds that the paths that never end go on, if the client is as patient. */
const NEVER_MS = 60_000
const STREAM_CHUNK = new Uint8Array(4_096).fill(0x2e)
const STREAM_PAUSE_MS = 20
/** Bytes that the gzip bomb unpacks to: far more than any payload may have. */
const BOMB_BYTES = 16 << 20

const PATH = /^\/([a-z0-9_]+)\/([0-9a-f]{64})\.maml\.md$/

/** The fleet's payload host. */
export interface PayloadHost {
  /** `http://host:port`, without a slash at the end. */
  readonly url: string
  /** Rejects when the host can no longer listen. */
  readonly broken: Promise<never>
  /** Cuts every connection. Twice is once. */
  close(): void
}

/** Where the host serves the payload of that name (64 hex digits) for a behaviour. */
export const hostedUri = (url: string, behaviour: string, name: string): string =>
  `${url}/${behaviour}/${name}.maml.md`

/** The behaviour that a URI below `url` names; null for anybody else's URI. */
export function behaviourOf(url: string, uri: string): string | null {
  if (!uri.startsWith(`${url}/`)) return null
  return PATH.exec(uri.slice(url.length))?.[1] ?? null
}

/**
 * Serves payloads on `host:port` (0 takes any free port): `/<behaviour>/<sha256>.maml.md`, each served as its behaviour asks,
 * so that a host that starts again needs no memory. Throws `PORT_BUSY` or `FLEET_HOST_FAILED`.
 */
export async function startHost(
  files: PayloadFiles,
  { host, port, clock }: { host: string; port: number; clock: Clock },
): Promise<PayloadHost> {
  const closing = new AbortController()
  const server = createServer({ headersTimeout: 10_000, requestTimeout: 10_000 }, (request, response) => {
    const [path = ''] = (request.url ?? '').split('?')
    answer(path, response).catch(() => response.destroy())
  })
  server.maxConnections = MAX_CONNECTIONS

  const answer = async (path: string, response: ServerResponse): Promise<void> => {
    response.on('error', () => {})
    const [, name = '', payload = ''] = PATH.exec(path) ?? []
    const serving = behaviourNamed(name)?.serving ?? 'missing'
    const bytes = await files.get(payload)
    await serve(serving, bytes, path, response)
  }

  const serve = async (
    serving: Serving,
    bytes: Uint8Array | null,
    path: string,
    response: ServerResponse,
  ): Promise<void> => {
    const body = (content: Uint8Array) =>
      response
        .writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': content.length })
        .end(content)
    if (serving === 'hangs') {
      await untilGone(response, NEVER_MS)
      response.destroy()
    } else if (serving === 'streams') await stream(response)
    else if (serving === 'redirects') response.writeHead(302, { location: path }).end()
    else if (serving === 'gzip bomb') {
      const packed = bomb()
      response.writeHead(200, { 'content-encoding': 'gzip', 'content-length': packed.length }).end(packed)
    } else if (serving === 'missing' || bytes === null) {
      response.writeHead(404, { 'content-type': 'text/plain' }).end('no such payload\n')
    } else if (serving === 'truncated') body(bytes.subarray(0, bytes.length >> 1))
    else if (serving === 'longer') body(concat(bytes, utf8('one line more than was submitted\n')))
    else if (serving === 'altered') {
      const altered = new Uint8Array(bytes)
      altered[altered.length - 2] = (altered.at(-2) as number) ^ 1
      body(altered)
    } else body(bytes)
  }

  /** Resolves when the client has gone, the host closes, or `ms` have passed. */
  const untilGone = async (response: ServerResponse, ms: number): Promise<void> => {
    const gone = new AbortController()
    const leave = () => gone.abort()
    response.once('close', leave)
    closing.signal.addEventListener('abort', leave, { once: true })
    if (response.destroyed || closing.signal.aborted) leave()
    await clock.sleep(ms, gone.signal)
    response.off('close', leave)
    closing.signal.removeEventListener('abort', leave)
  }

  const stream = async (response: ServerResponse): Promise<void> => {
    response.writeHead(200, { 'content-type': 'application/octet-stream' })
    const end = clock.now() + NEVER_MS
    while (!response.destroyed && !closing.signal.aborted && clock.now() < end) {
      // A reader that does not read gets nothing more, so that nothing piles up here.
      if (!response.writableNeedDrain) response.write(STREAM_CHUNK)
      await untilGone(response, STREAM_PAUSE_MS)
    }
    response.destroy()
  }

  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) =>
      reject(
        cause.code === 'EADDRINUSE'
          ? new FleetError('PORT_BUSY', `port ${port}, which the fleet's payload host needs, is taken`, {
              hint: 'stop what listens there; URIs on the chain name this port, so the fleet takes no other',
              cause,
            })
          : new FleetError('FLEET_HOST_FAILED', `the payload host cannot listen: ${cause.message}`, {
              exitCode: 3,
              cause,
            }),
      ),
    )
    server.listen(port, host, resolve)
  })
  const broken = new Promise<never>((_, reject) => {
    server.on('error', (cause) =>
      reject(new FleetError('FLEET_HOST_FAILED', `the payload host failed: ${cause.message}`, { cause })),
    )
  })
  broken.catch(() => {})
  return {
    url: `http://${host}:${(server.address() as AddressInfo).port}`,
    broken,
    close() {
      closing.abort()
      server.close()
      server.closeAllConnections()
    },
  }
}

let packedBomb: Uint8Array | null = null
function bomb(): Uint8Array {
  packedBomb ??= gzipSync(new Uint8Array(BOMB_BYTES))
  return packedBomb
}
