import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface RpcRequest {
  readonly id: number
  readonly method: string
  readonly params: readonly unknown[]
}
export interface RpcAnswer {
  readonly id: number
  readonly result?: unknown
  readonly error?: { readonly code: number; readonly message: string }
}

/** What to do with a call instead of passing on what the chain answers; undefined passes it on. */
export type Fault =
  | { readonly result: unknown }
  | { readonly error: { readonly code: number; readonly message: string } }
  | { readonly status: number; readonly headers?: Readonly<Record<string, string>>; readonly body?: string }
  /** Never answers. */
  | { readonly hang: true }
  /** Sends so many spaces after the answer. */
  | { readonly pad: number }

export interface RpcProxy {
  readonly url: string
  /** Decides about each call, with the chain's own answer at hand. */
  fault: (request: RpcRequest, answer: RpcAnswer) => Fault | undefined
  /** Methods of all calls so far. */
  readonly calls: string[]
  /** Methods that are not passed on to the chain: `fault` answers them. */
  readonly withheld: Set<string>
  stop(): Promise<void>
}

/** A JSON-RPC endpoint in front of another one, that misbehaves as it is told to. */
export async function startRpcProxy(target: string): Promise<RpcProxy> {
  const hanging = new Set<ServerResponse>()
  const proxy: Pick<RpcProxy, 'fault' | 'calls' | 'withheld'> = {
    fault: () => undefined,
    calls: [],
    withheld: new Set(),
  }
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const parsed: unknown = JSON.parse(Buffer.concat(chunks).toString())
    const requests = (Array.isArray(parsed) ? parsed : [parsed]) as RpcRequest[]
    const passed = requests.filter(({ method }) => !proxy.withheld.has(method))
    const forwarded =
      passed.length > 0 &&
      (await fetch(target, {
        method: 'POST',
        body: JSON.stringify(passed),
        headers: { 'content-type': 'application/json' },
      }))
    const answers = (forwarded ? await forwarded.json() : []) as RpcAnswer[]
    let padding = 0
    const out: unknown[] = []
    for (const call of requests) {
      proxy.calls.push(call.method)
      const answer = answers.find(({ id }) => id === call.id) as RpcAnswer
      const fault = proxy.fault(call, answer)
      if (fault && 'hang' in fault) return void hanging.add(response)
      if (fault && 'status' in fault) {
        response.writeHead(fault.status, fault.headers)
        return void response.end(fault.body ?? 'no')
      }
      if (fault && 'pad' in fault) padding += fault.pad
      out.push(fault && !('pad' in fault) ? { jsonrpc: '2.0', id: call.id, ...fault } : answer)
    }
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(JSON.stringify(Array.isArray(parsed) ? out : out[0]) + ' '.repeat(padding))
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  return Object.assign(proxy, {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    stop: () =>
      new Promise<void>((done) => {
        for (const response of hanging) response.destroy()
        server.close(() => done())
        server.closeAllConnections()
      }),
  })
}
