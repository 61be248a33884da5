import { Agent, request } from 'node:http'
import { createApi } from '../src/api/app.ts'
import { listen } from '../src/api/listen.ts'
import { describeError } from '../src/core/error.ts'
import { loadParser } from '../src/query/parse.ts'
import { startQueries } from '../test/support/query.ts'
import { exact, type Figure, latency, rate } from './measure.ts'
import { startDatabases } from './parts.ts'
import type { Bench } from './scratch.ts'

/** Clients at once: every other one of the 2025 era. */
const CLIENTS = 1_000
/** Calls of each tool by one client alone. */
const ALONE = 300

const QUERY = {
  query: "SELECT air_quality FROM helium_sensors WHERE timestamp = '2025-10-01T00:05:00Z'",
  maml_schema: 'iot_data.maml',
  signature_verification: 'CRYSTALS-Dilithium',
}

const MODERN = '2026-07-28'
const LEGACY = '2025-11-25'
const CLIENT = { name: 'bench', version: '1.0.0' }

/** One client: what it sends is the protocol's, and nothing of it is checked, so that the server is measured and not a client library. */
export class BenchClient {
  readonly #url: URL
  readonly #modern: boolean
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 })
  #id = 0

  constructor(url: string, modern: boolean) {
    this.#url = new URL(`${url}/mcp`)
    this.#modern = modern
  }

  /** Greets the server as its revision wants it. */
  async open(): Promise<void> {
    if (this.#modern) {
      await this.ask('server/discover', {})
      return
    }
    await this.ask('initialize', { protocolVersion: LEGACY, capabilities: {}, clientInfo: CLIENT })
  }

  /** One request; throws where the answer is an error of HTTP, of the protocol or of a tool. */
  async ask(method: string, params: Record<string, unknown>): Promise<void> {
    const meta = {
      'io.modelcontextprotocol/protocolVersion': MODERN,
      'io.modelcontextprotocol/clientInfo': CLIENT,
      'io.modelcontextprotocol/clientCapabilities': {},
    }
    const body = JSON.stringify({
      jsonrpc: '2.0',
      id: ++this.#id,
      method,
      params: this.#modern ? { ...params, _meta: meta } : params,
    })
    const name = params['name'] ?? params['uri']
    const headers: Record<string, string> = {
      'Content-Type': 'application/json',
      'Content-Length': String(Buffer.byteLength(body)),
      Accept: 'application/json, text/event-stream',
      'MCP-Protocol-Version': this.#modern ? MODERN : LEGACY,
      ...(this.#modern && { 'Mcp-Method': method, ...(name !== undefined && { 'Mcp-Name': String(name) }) }),
    }
    const { status, text } = await new Promise<{ status: number; text: string }>((resolve, reject) => {
      const sent = request(this.#url, { method: 'POST', headers, agent: this.#agent }, (response) => {
        const parts: Buffer[] = []
        response.on('data', (part: Buffer) => parts.push(part))
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, text: Buffer.concat(parts).toString() }),
        )
        response.on('error', reject)
      })
      sent.on('error', reject)
      sent.end(body)
    })
    const [json = ''] = /\{.*\}/.exec(text) ?? []
    const answer = JSON.parse(json) as { result?: { isError?: boolean } }
    if (status !== 200 || !answer.result || answer.result.isError)
      throw new Error(`${method} was answered ${status}: ${text.slice(0, 300)}`)
  }

  close(): void {
    this.#agent.destroy()
  }
}

/** MCP over HTTP: one client alone, and a thousand at once, each of which connects, lists, calls and reads; server and clients share the machine. */
export async function benchMcp(bench: Bench): Promise<Figure[]> {
  const databases = await startDatabases(bench)
  const { sql, url, drop } = await databases.fresh()
  const { ctx, stop } = await startQueries({ sql, url, stop: drop })
  bench.closing(stop)
  await loadParser()
  const api = await listen(createApi(ctx), { port: 0 })
  bench.closing(api.close)

  const alone: Record<string, number[]> = { query: [], list: [] }
  const one = new BenchClient(api.url, true)
  for (let n = -20; n < ALONE; n++) {
    for (const [kind, name, args] of [
      ['query', 'query_sensor_data', QUERY],
      ['list', 'list_datasets', {}],
    ] as const) {
      const begun = performance.now()
      await one.ask('tools/call', { name, arguments: args })
      if (n >= 0) alone[kind]?.push(performance.now() - begun)
    }
  }
  one.close()

  bench.progress(`mcp: ${CLIENTS} clients at once`)
  bench.check()
  let errors = 0
  const waits: number[] = []
  const begun = performance.now()
  await Promise.all(
    Array.from({ length: CLIENTS }, async (_, i) => {
      const client = new BenchClient(api.url, i % 2 === 0)
      const timed = async (work: () => Promise<void>) => {
        const since = performance.now()
        await work()
        waits.push(performance.now() - since)
      }
      try {
        await timed(() => client.open())
        await timed(() => client.ask('tools/list', {}))
        await timed(() => client.ask('tools/call', { name: 'list_datasets', arguments: {} }))
        await timed(() => client.ask('tools/call', { name: 'query_sensor_data', arguments: QUERY }))
        await timed(() => client.ask('resources/read', { uri: 'dunes://datasets/helium_sensors' }))
      } catch (error) {
        errors++
        if (errors < 4) bench.progress(`mcp: ${describeError(error)}`)
      } finally {
        client.close()
      }
    }),
  )
  const seconds = (performance.now() - begun) / 1000
  return [
    latency('mcp_query', 'ms', alone['query'] ?? [], {
      note: 'one client, revision 2026-07-28, a small dataset',
    }),
    latency('mcp_list_datasets', 'ms', alone['list'] ?? []),
    exact('mcp_clients_errors', 'errors', errors, {
      samples: CLIENTS,
      note: `${CLIENTS} clients at once, each with five requests, SQL among them; every other one of 2025-11-25`,
    }),
    latency('mcp_clients_wait', 'ms', waits, {
      note: 'one request among them, its place in the line included',
    }),
    rate('mcp_clients_requests', '1/s', [waits.length / seconds], waits.length),
  ]
}
