import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { parentPort, Worker, workerData } from 'node:worker_threads'

/** A payload host on a thread of its own, so that serving does not count as indexing. */
export interface PayloadHost {
  url: string
  /** The path under which the bytes are served. */
  add(name: string, bytes: Uint8Array): string
  stop(): Promise<void>
}

const ROLE = 'payload host'

export async function startPayloadHost(): Promise<PayloadHost> {
  const worker = new Worker(new URL(import.meta.url), { workerData: ROLE })
  const url = await new Promise<string>((resolve, reject) => {
    worker.once('message', resolve)
    worker.once('error', reject)
  })
  return {
    url,
    add(name, bytes) {
      worker.postMessage([`/${name}`, bytes])
      return `${url}/${name}`
    },
    async stop() {
      await worker.terminate()
    },
  }
}

function serve(): void {
  const files = new Map<string, Uint8Array>()
  parentPort?.on('message', ([path, bytes]: [string, Uint8Array]) => files.set(path, bytes))
  const server = createServer((request, response) => {
    const bytes = files.get(request.url ?? '')
    response.writeHead(bytes ? 200 : 404).end(bytes)
  })
  server.listen(0, '127.0.0.1', () => {
    parentPort?.postMessage(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  })
}

if (workerData === ROLE) serve()
