import { PassThrough } from 'node:stream'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { MAX_ANSWER_BYTES } from '../../src/mcp/result.ts'
import { serveMcpStreams } from '../../src/mcp/stdio.ts'
import type { ServiceContext } from '../../src/service/context.ts'
import { type Anchored, startAnchored } from '../support/anchored.ts'
import { startApi, type TestApi } from '../support/api.ts'

/** The MCP server over real HTTP in both eras, and over streams, with a real chain behind it. */

let anchored: Anchored
let api: TestApi
const clients: Client[] = []

beforeAll(async () => {
  anchored = await startAnchored()
  api = await startApi(anchored.settings)
}, 120_000)
afterAll(async () => {
  await Promise.all(clients.map((client) => client.close()))
  await api?.close()
  await anchored?.stop()
})

type Structured = Record<string, unknown>
interface Result {
  isError?: boolean
  structuredContent?: Structured
  content: { type: string; text?: string; uri?: string }[]
}

async function open(era: 'legacy' | 'modern'): Promise<Client> {
  const client = new Client(
    { name: 'test', version: '1.0.0' },
    era === 'modern' ? { versionNegotiation: { mode: { pin: '2026-07-28' } } } : {},
  )
  await client.connect(new StreamableHTTPClientTransport(new URL(`${api.url}/mcp`)))
  clients.push(client)
  return client
}
const call = async (client: Client, name: string, args: Structured): Promise<Result> => {
  const result = (await client.callTool({ name, arguments: args })) as unknown as Result
  expect(Buffer.byteLength(JSON.stringify(result))).toBeLessThanOrEqual(MAX_ANSWER_BYTES)
  return result
}
const text = ({ content }: Result) => content.map((part) => part.text ?? '').join('\n')
const SEED = { maml_schema: 'iot_data.maml', signature_verification: 'CRYSTALS-Dilithium' }

describe.each(['legacy', 'modern'] as const)('in the %s era', (era) => {
  let client: Client
  beforeAll(async () => {
    client = await open(era)
  })
  const ok = async (name: string, args: Structured) => {
    const result = await call(client, name, args)
    expect(result.isError, text(result)).toBeFalsy()
    return { ...result, structured: result.structuredContent as Structured }
  }

  test('every tool is described whole', async () => {
    const { tools } = await client.listTools()
    expect(tools.map(({ name }) => name)).toEqual([
      'list_datasets',
      'describe_dataset',
      'get_readings',
      'query_sensor_data',
      'get_inclusion_proof',
      'verify_record',
    ])
    for (const { description, annotations, inputSchema, outputSchema } of tools) {
      expect(description).toBeTruthy()
      expect(annotations).toMatchObject({
        readOnlyHint: true,
        destructiveHint: false,
        idempotentHint: true,
        openWorldHint: false,
      })
      expect(inputSchema['additionalProperties']).toBe(false)
      expect(outputSchema?.['type']).toBe('object')
    }
  })

  test('datasets and readings', async () => {
    const datasets = await ok('list_datasets', {})
    expect(datasets.structured).toMatchObject({
      datasets: [{ name: 'helium_sensors', maml_schema: 'iot_data.maml', problem: null }],
      truncated: false,
      complete: false,
      superset: null,
      pending: 0,
    })
    const described = await ok('describe_dataset', { dataset: 'helium_sensors' })
    expect(described.structured).toMatchObject({
      sensors: 2,
      newest_reading: '2025-10-02T00:00:00Z',
      schema_truncated: false,
    })
    const columns = described.structured['columns'] as { name: string; type: string }[]
    expect(columns).toContainEqual(expect.objectContaining({ name: 'air_quality', type: 'bigint' }))
    const first = await ok('get_readings', { limit: 2 })
    expect(first.structured).toMatchObject({ complete: false, pending: expect.any(Number) })
    expect(first.structured['superset']).toMatch(
      /^the log, leaves 0 to [0-9]+, under the checkpoint: GET \/checkpoint$/,
    )
    expect(first.structured).toMatchObject({
      readings: [
        {
          sensor: 'helium_002',
          timestamp: '2025-10-02T00:00:00Z',
          values: { air_quality: 40 },
          state: 'anchored',
        },
        { sensor: 'helium_001', values: { air_quality: 86 } },
      ],
      truncated: true,
      untrusted: { fields: expect.arrayContaining(['readings[].values']) },
    })
    const rest = await ok('get_readings', { limit: 2, cursor: first.structured['next_cursor'] })
    expect(rest.structured).toMatchObject({
      readings: [{ values: { air_quality: 85 }, submission: anchored.ids.good, position: 0 }],
      next_cursor: null,
    })
  })

  test("the seed's query, unchanged", async () => {
    const query = "SELECT air_quality FROM helium_sensors WHERE timestamp = '2025-10-01T23:30:00Z'"
    const result = await ok('query_sensor_data', { query, ...SEED })
    expect(result.structured).toMatchObject({
      rows: [{ air_quality: 85 }],
      signature: { requested: 'CRYSTALS-Dilithium', algorithm: 'ML-DSA-65' },
      truncated: false,
      untrusted: { fields: ['rows[]'] },
    })
    const provenance = result.structured['provenance'] as { sources: { submission: string }[] }[]
    expect(provenance[0]?.sources[0]?.submission).toBe(anchored.ids.good)
  })

  test('proofs, and what verifying them says of whom one trusts', async () => {
    const proof = await ok('get_inclusion_proof', { id: anchored.ids.good, bundle: true })
    expect(proof.structured).toMatchObject({ submission: anchored.ids.good, leaf_index: 0, tree_size: 4 })
    expect(proof.content.some(({ uri }) => uri === `dunes://bundles/${anchored.ids.good}`)).toBe(true)
    const bundle = JSON.stringify(proof.structured['bundle'])
    const verified = await ok('verify_record', { bundle, require: ['included'] })
    expect(verified.structured).toMatchObject({ ok: true, objections: [] })
    expect(text(verified)).toContain('trusts this server: its computation, its word for which contracts')
    const whole = await ok('verify_record', { id: anchored.ids.good, require: ['contributorSigned'] })
    expect(whole.structured).toMatchObject({ ok: true, about: [{ verdict: 'accepted' }] })
    const policy = await (await api.get('/trust-policy.json')).text()
    const own = await ok('verify_record', {
      bundle,
      trust_policy: policy,
      block_hash: `0x${'12'.repeat(32)}`,
    })
    expect(own.structured).toMatchObject({
      ok: false,
      trusting: { trust_policy: 'the caller', block_hash: 'the caller' },
    })
    const forged = JSON.parse(bundle) as { entry: string }
    forged.entry = Buffer.from(
      Buffer.from(forged.entry, 'base64').toString().replace('"helium_001"', '"helium_002"'),
    ).toString('base64')
    const no = await ok('verify_record', { bundle: JSON.stringify(forged) })
    expect(no.structured).toMatchObject({ ok: false, objections: expect.arrayContaining(['included']) })
    expect(text(no)).toMatch(/^NO: /)
  })

  test('errors are answers with a hint', async () => {
    const refused: [string, Structured, RegExp][] = [
      ['describe_dataset', { dataset: 'nothing' }, /NOT_FOUND: .*\nHint: /],
      [
        'get_readings',
        { colour: 'red' },
        /Unrecognized key: "colour".*Hint: this tool takes dataset, sensor/,
      ],
      ['get_readings', { h3: 'zz' }, /BAD_CELL: .*\nHint: /],
      ['query_sensor_data', { query: 'SELECT 1', ...SEED, nope: 1 }, /Unrecognized key: "nope"/],
      ['query_sensor_data', { query: 'DROP TABLE submission', ...SEED }, /QUERY_REFUSED: .*\nHint: /],
      ['query_sensor_data', { query: 'SELECT 1' }, /maml_schema/],
      [
        'get_inclusion_proof',
        { id: anchored.ids.waiting },
        /NOT_ANCHORED: .*\nHint: .*\nThe same call may succeed/,
      ],
      ['get_inclusion_proof', { id: 'x' }, /BAD_ID/],
      ['verify_record', {}, /BAD_BUNDLE: either id or bundle/],
      ['verify_record', { bundle: '{}' }, /BAD_BUNDLE: the bundle cannot be used/],
      ['verify_record', { bundle: 'x', trust_policy: '{}' }, /BAD_BUNDLE/],
    ]
    for (const [name, args, words] of refused) {
      const result = await call(client, name, args)
      expect(result.isError, `${name} ${JSON.stringify(args)}`).toBe(true)
      expect(text(result)).toMatch(words)
    }
  })

  test('resources, their completion, and prompts', async () => {
    const { resources } = await client.listResources()
    expect(resources.map(({ uri }) => uri)).toEqual([
      'dunes://guide',
      'dunes://status',
      'dunes://datasets/helium_sensors',
    ])
    const { resourceTemplates } = await client.listResourceTemplates()
    expect(resourceTemplates.map(({ uriTemplate }) => uriTemplate)).toEqual([
      'dunes://datasets/{name}',
      'dunes://submissions/{id}',
      'dunes://receipts/{id}',
      'dunes://bundles/{id}',
    ])
    const { good, waiting } = anchored.ids
    const read = async (uri: string) => {
      const [content] = (await client.readResource({ uri })).contents
      return (content as { text: string }).text
    }
    expect(await read('dunes://guide')).toContain('does not show that a sensor told the truth')
    expect(JSON.parse(await read('dunes://status'))).toMatchObject({ settled: 4, anchored: 4, submitted: 5 })
    expect(JSON.parse(await read(`dunes://submissions/${good}`))).toMatchObject({ id: good, index: 0 })
    expect(await read(`dunes://receipts/${good}`)).toContain('## Mirror')
    expect(JSON.parse(await read(`dunes://bundles/${good}`))).toHaveProperty('tlogProof')
    for (const gone of ['dunes://datasets/nothing', `dunes://bundles/0x${'00'.repeat(32)}`, 'dunes://else'])
      await expect(read(gone)).rejects.toMatchObject({ code: -32602, data: { uri: gone } })
    await expect(read(`dunes://bundles/${waiting}`)).rejects.toMatchObject({ data: { code: 'NOT_ANCHORED' } })

    const complete = async (ref: Parameters<Client['complete']>[0]['ref'], name: string, value: string) =>
      (await client.complete({ ref, argument: { name, value } })).completion.values
    const bundles = { type: 'ref/resource', uri: 'dunes://bundles/{id}' } as const
    expect(await complete(bundles, 'id', good.slice(0, 9))).toEqual([good])
    expect(await complete(bundles, 'id', '')).toHaveLength(5)
    expect(await complete(bundles, 'id', "0x' or")).toEqual([])
    expect(await complete({ type: 'ref/resource', uri: 'dunes://datasets/{name}' }, 'name', 'hel')).toEqual([
      'helium_sensors',
    ])
    expect(await complete({ type: 'ref/prompt', name: 'sensor_report' }, 'sensor', 'helium_002')).toEqual([
      'helium_002',
    ])
    expect(await complete({ type: 'ref/prompt', name: 'another' }, 'x', '')).toEqual([])

    const { prompts } = await client.listPrompts()
    expect(
      prompts.map(({ name, arguments: given }) => [name, given?.[0]?.name, given?.[0]?.required]),
    ).toEqual([
      ['explain_submission', 'id', true],
      ['sensor_report', 'sensor', true],
    ])
    const { messages } = await client.getPrompt({ name: 'explain_submission', arguments: { id: good } })
    expect(messages[0]).toMatchObject({ role: 'user', content: { text: expect.stringContaining(good) } })
    await expect(client.getPrompt({ name: 'explain_submission', arguments: { id: 'x' } })).rejects.toThrow()
  })

  test('long answers are cut to what a model can take, and a cursor leads on', async () => {
    const query =
      "SELECT sensor_id, n, repeat('x', 1000) AS filler FROM helium_sensors CROSS JOIN generate_series(1, 200) AS n ORDER BY n, sensor_id, air_quality"
    const seen: unknown[] = []
    let cursor: unknown
    for (let pages = 0; pages < 60; pages++) {
      const { structured } = await ok('query_sensor_data', {
        query,
        ...SEED,
        ...(cursor !== undefined && { cursor }),
      })
      seen.push(...(structured['rows'] as { n: unknown }[]).map(({ n }) => n))
      cursor = structured['next_cursor']
      expect(structured['truncated']).toBe(cursor !== null)
      if (cursor === null) break
    }
    expect(seen).toEqual(Array.from({ length: 600 }, (_, i) => Math.floor(i / 3) + 1))
  })
})

test('pages of foreign sites are refused, also by an address of this machine', async () => {
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'ping' })
  const ask = (headers: Record<string, string>) =>
    fetch(`${api.url}/mcp`, {
      method: 'POST',
      headers: {
        'Content-Type': 'application/json',
        Accept: 'application/json, text/event-stream',
        ...headers,
      },
      body,
    })
  expect((await ask({})).status).toBe(200)
  expect((await ask({ Origin: 'http://localhost:6274' })).status).toBe(200)
  for (const Origin of ['https://evil.example', 'null', 'http://127.0.0.1.evil.example'])
    expect((await ask({ Origin })).status, Origin).toBe(403)
  expect((await ask({ 'Content-Type': 'text/plain' })).status).toBe(415)
  const large = await fetch(`${api.url}/mcp`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream' },
    body: `{"x":"${'x'.repeat(3_000_000)}"}`,
  })
  expect(large.status).toBe(413)
})

test('serves the same over streams, one message a line, and ends with its input', async () => {
  const ctx: ServiceContext = api.ctx
  const input = new PassThrough()
  const output = new PassThrough()
  const lines: string[] = []
  let rest = ''
  const waiting = new Map<number, (message: Structured) => void>()
  output.on('data', (chunk: Buffer) => {
    rest += chunk
    for (let end = rest.indexOf('\n'); end >= 0; end = rest.indexOf('\n')) {
      const line = rest.slice(0, end)
      rest = rest.slice(end + 1)
      lines.push(line)
      const message = JSON.parse(line) as Structured
      waiting.get(message['id'] as number)?.(message)
    }
  })
  const served = serveMcpStreams(ctx, input, output, new AbortController().signal)
  let id = 0
  const ask = (method: string, params: Structured) =>
    new Promise<Structured>((resolve) => {
      waiting.set(++id, resolve)
      input.write(`${JSON.stringify({ jsonrpc: '2.0', id, method, params })}\n`)
    })
  const hello = await ask('initialize', {
    protocolVersion: '2025-06-18',
    capabilities: {},
    clientInfo: { name: 'test', version: '1' },
  })
  expect(hello['result']).toMatchObject({ protocolVersion: '2025-06-18', serverInfo: { name: 'dunes' } })
  input.write(`${JSON.stringify({ jsonrpc: '2.0', method: 'notifications/initialized' })}\n`)
  const called = await ask('tools/call', { name: 'list_datasets', arguments: {} })
  expect(called['result']).toMatchObject({ structuredContent: { datasets: [{ name: 'helium_sensors' }] } })
  input.end()
  await served
  expect(rest).toBe('')
  expect(lines.every((line) => (JSON.parse(line) as Structured)['jsonrpc'] === '2.0')).toBe(true)
})
