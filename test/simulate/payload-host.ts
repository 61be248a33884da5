import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Hex } from '../../src/core/bytes.ts'
import type { Faults } from './faults.ts'

/**
 * Where contributors keep their payloads. `steady` never misbehaves, `shaky` does for a while, and `bad` never gives what was submitted:
 * so the verdict on each payload is fixed by its host, whenever it is asked for.
 */
export type HostKind = 'steady' | 'shaky' | 'bad'

export class PayloadHosts {
  readonly #faults: Faults
  readonly #files = new Map<string, Uint8Array>()
  readonly #servers: Server[] = []
  readonly #hanging = new Set<ServerResponse>()
  readonly #ports = new Map<HostKind, number>()

  constructor(faults: Faults) {
    this.#faults = faults
  }

  async start(): Promise<void> {
    for (const kind of ['steady', 'shaky', 'bad'] as const) {
      const server = createServer((request, response) => {
        request.resume()
        const bytes = this.#files.get(request.url ?? '')
        if (kind === 'bad') this.#serveBadly(bytes, request.url ?? '', response)
        else this.#serve(kind, bytes, response)
      })
      await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
      this.#servers.push(server)
      this.#ports.set(kind, (server.address() as AddressInfo).port)
    }
  }

  stop(): void {
    for (const response of this.#hanging) response.destroy()
    for (const server of this.#servers) {
      server.close()
      server.closeAllConnections()
    }
  }

  /** `host:port` of every host. */
  pairs(): string[] {
    return [...this.#ports.values()].map((port) => `127.0.0.1:${port}`)
  }

  /** Puts a payload up; answers its URI. */
  keep(kind: HostKind, sha256: Hex, bytes: Uint8Array): string {
    this.#files.set(`/${sha256}`, bytes)
    return `http://127.0.0.1:${this.#ports.get(kind)}/${sha256}`
  }

  #serve(kind: HostKind, bytes: Uint8Array | undefined, response: ServerResponse): void {
    if (!bytes) return void response.writeHead(404).end()
    if (kind === 'steady') return void response.writeHead(200).end(bytes)
    const strikes = this.#faults.strikes.bind(this.#faults)
    if (strikes('payload 500')) return void response.writeHead(500).end('no')
    if (strikes('payload lie')) return void response.writeHead(200).end(bytes.map((byte) => byte ^ 1))
    if (strikes('payload short')) return void response.writeHead(200).end(bytes.subarray(0, bytes.length - 1))
    if (strikes('payload hang')) return void this.#hanging.add(response)
    if (strikes('payload cut')) {
      response.writeHead(200, { 'content-length': bytes.length })
      response.write(bytes.subarray(0, bytes.length >> 1), () => response.destroy())
      return
    }
    if (strikes('payload slow')) return void setTimeout(() => response.writeHead(200).end(bytes), 30)
    response.writeHead(200).end(bytes)
  }

  #serveBadly(bytes: Uint8Array | undefined, url: string, response: ServerResponse): void {
    if (!bytes) return void response.writeHead(404).end()
    switch (url.charCodeAt(3) % 4) {
      case 0:
        return void response.writeHead(404).end()
      case 1:
        return void response.writeHead(200).end(bytes.map((byte) => byte ^ 1))
      case 2:
        return void this.#hanging.add(response)
      default:
        return void response.writeHead(503).end()
    }
  }
}
