import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Anchored, startAnchored } from '../../support/anchored.ts'
import { startApi, type TestApi } from '../../support/api.ts'
import { type Document, Fuzzer } from '../../support/fuzz.ts'

/** `npm run fuzz:api` asks 10,000 times. */
const REQUESTS = Number(process.env['FUZZ_REQUESTS'] ?? 400)
const SEED = Number(process.env['FUZZ_SEED'] ?? 20_251_001)
/** Requests under way at once. */
const AT_ONCE = 8

let anchored: Anchored
let api: TestApi

beforeAll(async () => {
  anchored = await startAnchored()
  api = await startApi(anchored.settings)
}, 120_000)
afterAll(async () => {
  await api?.close()
  await anchored?.stop()
})

test(
  'no request made from the OpenAPI document gets what it does not describe',
  async () => {
    const document = await api.json<Document>('/openapi.json')
    const { ids, world } = anchored
    const all = Object.values(ids)
    const accounts = world.stations.map(({ client }) => client.account)
    const { items, next_cursor } = await api.json<{
      items: { payload: { sha256: string } }[]
      next_cursor: string
    }>('/v1/submissions?limit=2')
    const known = {
      id: all,
      'getContributor.id': accounts,
      'proveContributor.id': [...accounts, `eip155:31337:${accounts[0]}`],
      submission: all,
      contributor: accounts,
      sha256: items.map(({ payload }) => payload.sha256),
      name: ['helium_sensors', 'helium_001', 'helium_002'],
      cursor: [next_cursor],
      indices: ['0', '0-2', '1,3', '3-1', '0-2000', '9'],
      level: ['0', '1', 'x'],
      index: ['000.p/4', '000', '000.p/9'],
      include: ['all', 'payload,key', 'uri', 'x'],
      after: ['newest'],
    }
    const seed = { maml_schema: 'iot_data.maml', signature_verification: 'CRYSTALS-Dilithium' }
    const bodies = {
      proveMany: [
        { ids: [ids.good] },
        { indices: [0, 1], include: 'all' },
        { ids: [ids.waiting] },
        { indices: [99] },
      ],
      query: [
        "SELECT air_quality FROM helium_sensors WHERE timestamp = '2025-10-01T23:30:00Z'",
        'SELECT * FROM helium_sensors LIMIT 3',
        'SELECT count(*), avg(air_quality) FROM helium_sensors GROUP BY sensor_id',
        'SELECT pg_sleep(10)',
        'SELECT 1/0 FROM helium_sensors',
        'DROP TABLE submission',
        '--',
      ].map((query) => ({ query, ...seed })),
    }
    const fuzzer = new Fuzzer(document, SEED, known, bodies)
    const statuses = new Map<number, number>()
    const complaints: string[] = []
    let left = REQUESTS
    const work = async () => {
      while (left-- > 0 && complaints.length < 10) {
        const request = fuzzer.next()
        const { method, path, headers, body, pieces } = request
        const response = await fetch(api.url + path, {
          method,
          headers,
          ...(body !== undefined && { body: pieces ? new Blob([body]).stream() : body }),
          ...(pieces && { duplex: 'half' }),
          redirect: 'manual',
        })
        statuses.set(response.status, (statuses.get(response.status) ?? 0) + 1)
        const complaint = await fuzzer.complaint(request, response)
        if (complaint)
          complaints.push(`${method} ${path} ${JSON.stringify(headers)} ${body ?? ''}\n  ${complaint}`)
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, work))
    expect(complaints.join('\n'), `seed ${SEED}`).toBe('')
    // A fuzzer that is always refused at the door finds nothing.
    for (const status of [200, 400, 403, 404]) expect(statuses.get(status), String(status)).toBeGreaterThan(0)
    expect(statuses.get(200)).toBeGreaterThan(REQUESTS / 5)
    if (process.env['FUZZ_REQUESTS']) console.log(Object.fromEntries([...statuses].sort(([a], [b]) => a - b)))
  },
  30 * 60_000,
)
