import http from 'node:http'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'
import { sha256, utf8 } from '../../../src/core/bytes.ts'
import { createPayloadFetcher, type PayloadDeps } from '../../../src/payload/fetch.ts'
import type { PayloadSettings } from '../../../src/payload/settings.ts'

/** Listens on a free loopback port until the test ends; gives the port. */
async function listen(server: Server): Promise<number> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(async () => {
    const closed = new Promise((resolve) => server.close(resolve))
    for (const socket of sockets) socket.destroy()
    await closed
  })
  return (server.address() as AddressInfo).port
}

export const httpServer = (handler: http.RequestListener): Promise<number> =>
  listen(http.createServer(handler))
export const tcpServer = (handler: (socket: Socket) => void): Promise<number> => listen(createServer(handler))
export const listenOn = listen

export const PAYLOAD = utf8('a payload of forty bytes, more or less..')

/** A fetcher that is allowed the given loopback ports, with time-outs that no busy machine reaches. */
export function fetcherFor(
  ports: readonly number[],
  settings: Partial<PayloadSettings> = {},
  deps: PayloadDeps = {},
) {
  const fetcher = createPayloadFetcher(
    {
      allowedPrivate: ports.map((port) => `127.0.0.1:${port}`),
      connectMs: 20_000,
      firstByteMs: 20_000,
      totalMs: 40_000,
      ...settings,
    },
    deps,
  )
  return (uri: string, payload: Uint8Array = PAYLOAD, signal?: AbortSignal) =>
    fetcher.fetch({ uri, sha256: sha256(payload), bytes: payload.length, signal })
}
