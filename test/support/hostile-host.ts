import { createServer, type ServerResponse } from 'node:http'
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net'
import { gzipSync } from 'node:zlib'

/** What a payload host may do wrong; each is given the bytes that it should have served. */
const TRICKS = {
  absent: (response: ServerResponse) => response.writeHead(404).end(),
  broken: (response: ServerResponse) => response.writeHead(500).end('no'),
  truncated: (response: ServerResponse, bytes: Uint8Array) => response.end(bytes.subarray(0, -1)),
  brokenOff: (response: ServerResponse, bytes: Uint8Array) => {
    response.writeHead(200, { 'content-length': bytes.length })
    response.write(bytes.subarray(0, -1), () => response.destroy())
  },
  longer: (response: ServerResponse, bytes: Uint8Array) => {
    response.write(bytes)
    response.end('\n')
  },
  altered: (response: ServerResponse, bytes: Uint8Array) =>
    response.end(bytes.with(bytes.length >> 1, (bytes[bytes.length >> 1] as number) ^ 1)),
  hangs: () => {},
  hangsInBody: (response: ServerResponse, bytes: Uint8Array) => {
    response.writeHead(200, { 'content-length': bytes.length })
    response.write(bytes.subarray(0, 10))
  },
  /** Chunks as fast as they are taken, without an end. */
  streams: (response: ServerResponse) => {
    const more = () => {
      while (!response.destroyed && response.write('x'.repeat(65_536)));
    }
    response.on('drain', more)
    more()
  },
  /** A byte now and then, within every limit but the total one. */
  drips: (response: ServerResponse) => {
    const timer = setInterval(() => response.write('x'), 50)
    response.on('close', () => clearInterval(timer))
  },
  loops: (response: ServerResponse) => response.writeHead(302, { location: '?again' }).end(),
  /** 64 MiB of zeros in 64 KiB, said to be gzip. */
  bomb: (response: ServerResponse) => response.writeHead(200, { 'content-encoding': 'gzip' }).end(BOMB),
  /** The right bytes, but compressed although nobody asked for it. */
  gzip: (response: ServerResponse, bytes: Uint8Array) =>
    response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync(bytes)),
} satisfies Record<string, (response: ServerResponse, bytes: Uint8Array) => unknown>
const BOMB = gzipSync(new Uint8Array(64 << 20))

export type Trick = keyof typeof TRICKS

export interface HostileHost {
  /** `host:port`. */
  address: string
  /** A URL on which `trick` is played with `bytes`. */
  url(trick: Trick, bytes: Uint8Array): string
  /** A URL that redirects to `target`. */
  redirect(target: string): string
  stop(): Promise<void>
}

/** A host that plays tricks on whoever fetches from it. */
export async function startHostileHost(): Promise<HostileHost> {
  const paths = new Map<string, (response: ServerResponse) => unknown>()
  const server = createServer((request, response) => {
    response.on('error', () => {})
    const path = (request.url ?? '').split('?')[0] as string
    paths.get(path)?.(response)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`
  const add = (play: (response: ServerResponse) => unknown): string => {
    const path = `/${paths.size}`
    paths.set(path, play)
    return `http://${address}${path}`
  }
  return {
    address,
    url: (trick, bytes) => add((response) => TRICKS[trick](response, bytes)),
    redirect: (location) => add((response) => response.writeHead(302, { location }).end()),
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

export interface SilentHost {
  port: number
  /** How many connections were made to it. */
  connections(): number
  stop(): Promise<void>
}

/** A listener on 127.0.0.1 that counts who connects: one that nobody may reach. */
export async function startCanary(): Promise<SilentHost> {
  let count = 0
  const sockets = new Set<Socket>()
  const server = createTcpServer((socket) => {
    count++
    sockets.add(socket)
    socket.on('error', () => {})
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    connections: () => count,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        for (const socket of sockets) socket.destroy()
      }),
  }
}
