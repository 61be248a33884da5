import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { createApi } from '../src/api/app.ts'
import { listen } from '../src/api/listen.ts'
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

async function open(url: string, modern: boolean): Promise<Client> {
  const client = new Client(
    { name: 'bench', version: '1.0.0' },
    modern ? { versionNegotiation: { mode: { pin: '2026-07-28' } } } : {},
  )
  await client.connect(new StreamableHTTPClientTransport(new URL(`${url}/mcp`)))
  return client
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
  const one = await open(api.url, true)
  for (let n = -20; n < ALONE; n++) {
    for (const [kind, name, args] of [
      ['query', 'query_sensor_data', QUERY],
      ['list', 'list_datasets', {}],
    ] as const) {
      const begun = performance.now()
      await one.callTool({ name, arguments: args })
      if (n >= 0) alone[kind]?.push(performance.now() - begun)
    }
  }
  await one.close()

  bench.progress(`mcp: ${CLIENTS} clients at once`)
  bench.check()
  let errors = 0
  let calls = 0
  const waits: number[] = []
  const timed = async (work: () => Promise<{ isError?: boolean | undefined } | object>) => {
    const begun = performance.now()
    calls++
    const result = await work()
    waits.push(performance.now() - begun)
    if ('isError' in result && result.isError) errors++
  }
  const begun = performance.now()
  await Promise.all(
    Array.from({ length: CLIENTS }, async (_, i) => {
      try {
        const client = await open(api.url, i % 2 === 0)
        await timed(() => client.listTools())
        await timed(() => client.callTool({ name: 'list_datasets', arguments: {} }))
        await timed(() => client.callTool({ name: 'query_sensor_data', arguments: QUERY }))
        await timed(() => client.readResource({ uri: 'dunes://datasets/helium_sensors' }))
        await client.close()
      } catch (error) {
        errors++
        if (errors < 4) bench.progress(`mcp: ${String(error)}`)
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
      note: `${CLIENTS} clients at once, each with four requests after it has connected; every other one of 2025-11-25`,
    }),
    latency('mcp_clients_wait', 'ms', waits, {
      note: 'one request among them, its place in the line included',
    }),
    rate('mcp_clients_requests', '1/s', [calls / seconds], calls),
  ]
}
