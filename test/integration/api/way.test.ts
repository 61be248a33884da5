import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Problem } from '../../../src/api/problem.ts'
import { createRpc } from '../../../src/chain/rpc.ts'
import type { Hex } from '../../../src/core/bytes.ts'
import { mlDsa } from '../../../src/core/ml-dsa-native.ts'
import { parseMu } from '../../../src/receipt/mu.ts'
import { verifyEntry } from '../../../src/receipt/sign.ts'
import type { Lineage } from '../../../src/service/explain.ts'
import type { StageName } from '../../../src/service/stages.ts'
import type { SubmissionItem } from '../../../src/service/submissions.ts'
import { RECEIPT_KEY, startApi, type TestApi } from '../../support/api.ts'
import { type TestDatabase, testDatabase } from '../../support/postgres.ts'
import { type Indexer, reading, startIndexer, startWorld, until, type World } from '../../support/world.ts'

/** What the API tells of submissions on their way from a real chain to its anchor. */

let world: World
let database: TestDatabase
let indexer: Indexer
let api: TestApi
const ids: Record<string, Hex> = {}
const payloads: Record<string, Uint8Array> = {}

beforeAll(async () => {
  ;[world, database] = await Promise.all([startWorld(2), testDatabase({ max: 8 })])
  const [first, second] = world.stations as [World['stations'][0], World['stations'][0]]
  const send = async (
    name: string,
    station: World['stations'][0],
    bytes: Uint8Array,
    uri?: string,
    valid = true,
  ) => {
    payloads[name] = bytes
    ids[name] = await world.submit(station, bytes, uri)
    await world.attest(ids[name] as Hex, valid)
  }
  await send('good', first, world.payload(first, [reading('helium_001', 85)]))
  await send('repeated', first, payloads['good'] as Uint8Array)
  await send('disputed', second, world.payload(second, [reading('helium_002', 1)]), undefined, false)
  await send(
    'missing',
    second,
    world.payload(second, [reading('helium_002', 2)]),
    `${world.host.url}/nowhere`,
  )
  await send('broken', second, new TextEncoder().encode('no MAML\n'))
  await send('forged', second, world.payload({ ...second, seed: first.seed }, [reading('helium_002', 3)]))
  await send('schema', second, world.payload(second, [reading('helium_002', 9_999)]))
  indexer = startIndexer(world, database.sql)
  api = await startApi({
    sql: database.sql,
    deployment: world.deployment,
    rpc: createRpc({ urls: [world.rpcUrl], chainId: 31337 }),
    readiness: () => [],
  })
  await until(
    'all receipts to be anchored',
    async () => {
      const { items } = await api.json<{ items: SubmissionItem[] }>('/v1/submissions')
      if (items.length === Object.keys(ids).length && items.every((item) => item.state === 'anchored'))
        return true
      await world.mine(1)
      return undefined
    },
    indexer,
  )
  // The indexer has stopped: what is submitted now stays as it is.
  await indexer.stop()
}, 120_000)

afterAll(async () => {
  await api?.close()
  await database?.stop()
  await world?.stop()
})

const path = (name: string, rest = '') => `/v1/submissions/${ids[name]}${rest}`
const lineage = (name: string) => api.json<Lineage>(path(name, '/lineage'))

describe('a receipt', () => {
  test('is signed once it is anchored, the same for everybody who asks', async () => {
    const answers = await Promise.all(Array.from({ length: 5 }, () => api.get(path('good', '/receipt'))))
    const files = await Promise.all(answers.map(async (a) => new Uint8Array(await a.arrayBuffer())))
    for (const file of files) expect(file).toEqual(files[0])
    const mu = parseMu(files[0] as Uint8Array)
    expect(mu).toMatchObject({
      original: 'air_quality_data',
      data: 'atad_ytilauq_ria',
      timestamp: '2025-10-01T23:30:00Z',
    })
    expect(verifyEntry(mu.entryBytes, mu.signature as Uint8Array, RECEIPT_KEY.publicKey, mlDsa)).toBe(true)
    const [answer] = answers as [Response]
    expect(answer.headers.get('dunes-receipt-signature')).toMatch(/^present; key-id=0x[0-9a-f]{64}$/)
    expect(answer.headers.get('cache-control')).toContain('immutable')
    const etag = answer.headers.get('etag') as string
    expect((await api.get(path('good', '/receipt'), { 'If-None-Match': etag })).status).toBe(304)
  })

  test('exists for what was rejected, with an empty mirror', async () => {
    const answer = await api.get(path('missing', '/receipt'))
    const mu = parseMu(new Uint8Array(await answer.arrayBuffer()))
    expect(mu.entry).toMatchObject({ verdict: 'rejected', reason: 'PAYLOAD_UNAVAILABLE', observed: true })
    expect(mu.mirror.length).toBe(0)
  })

  test('is unsigned, and says so, while no final anchor covers it', async () => {
    await database.sql`update anchor set block = block + 1000000`
    await database.sql`update receipt_signature set signature = 'never read'::bytea`
    try {
      const answer = await api.get(path('good', '/receipt'))
      expect(answer.headers.get('dunes-receipt-signature')).toBe('absent; not anchored yet')
      expect(parseMu(new Uint8Array(await answer.arrayBuffer())).signature).toBeNull()
      const { items } = await api.json<{ items: SubmissionItem[] }>('/v1/submissions?state=logged')
      expect(items).toHaveLength(Object.keys(ids).length)
      const { obstacle } = await lineage('good')
      expect(obstacle).toMatchObject({ stage: 'anchor', status: 'pending', fault: 'operator' })
    } finally {
      await database.sql`update anchor set block = block - 1000000`
      await database.sql`delete from receipt_signature`
    }
  })

  test('needs its payload, and says whose bytes are gone', async () => {
    const { items } = await api.json<{ items: SubmissionItem[] }>('/v1/submissions?reason=SCHEMA_INVALID')
    const hash = Buffer.from((items[0] as SubmissionItem).payload.sha256.slice(2), 'hex')
    const [kept] = await database.sql`delete from payload where sha256 = ${hash} returning bytes`
    try {
      const answer = await api.get(path('schema', '/receipt'))
      expect(answer.status).toBe(404)
      expect(((await answer.json()) as Problem).code).toBe('PAYLOAD_NOT_HELD')
    } finally {
      await database.sql`insert into payload (sha256, bytes) values (${hash}, ${kept?.['bytes']})`
    }
  })
})

test('a payload comes back byte for byte, and only for a submission that declares its length', async () => {
  const answer = await api.get(path('good', '/payload'))
  expect(new Uint8Array(await answer.arrayBuffer())).toEqual(payloads['good'])
  expect(answer.headers.get('content-disposition')).toBe(`attachment; filename="${ids['good']}.maml.md"`)
  expect((await api.get(path('missing', '/payload'))).status).toBe(404)
  await database.sql`update submission set payload_bytes = payload_bytes + 1`
  try {
    expect((await api.get(path('good', '/payload'))).status).toBe(404)
  } finally {
    await database.sql`update submission set payload_bytes = payload_bytes - 1`
  }
})

test('a bundle with everything leaves out a key whose possession was never proved, whatever else was wrong', async () => {
  const all = async () => Object.keys(await api.json<object>(path('schema', '/proof?include=all')))
  expect(await all()).toEqual(
    expect.arrayContaining(['payload', 'possession', 'publicKey', 'receiptSig', 'uri']),
  )
  await database.sql`update contributor_key set possession_valid = not possession_valid`
  try {
    const without = await all()
    for (const part of ['payload', 'possession', 'publicKey']) expect(without).not.toContain(part)
    expect(without).toEqual(expect.arrayContaining(['receiptSig', 'uri']))
  } finally {
    await database.sql`update contributor_key set possession_valid = not possession_valid`
  }
})

describe('the way', () => {
  test('of an accepted reading is complete', async () => {
    const { status, obstacle, stages, submission } = await lineage('good')
    expect(status).toBe('complete')
    expect(obstacle).toBeNull()
    expect(stages.map((stage) => [stage.name, stage.status])).toEqual(
      ['event', 'payload', 'signature', 'schema', 'receipt', 'leaf', 'anchor'].map((name) => [name, 'ok']),
    )
    expect(submission.id).toBe(ids['good'])
    const facts = Object.fromEntries(stages.map((stage) => [stage.name, stage.facts]))
    expect(facts['event']).toMatchObject({ attestations: { valid: 2, invalid: 0 }, quorum: 2 })
    expect(facts['signature']).toMatchObject({ key_index: 0, possession_valid: true })
    expect(facts['schema']).toMatchObject({ schema: 'iot_data.maml', version: 0, readings: 1 })
    expect(facts['leaf']?.['leaf_hash']).toMatch(/^0x[0-9a-f]{64}$/)
  })

  test.each<[string, StageName, string, string]>([
    ['disputed', 'event', 'QUORUM_REJECTED', 'validators'],
    ['missing', 'payload', 'PAYLOAD_UNAVAILABLE', 'payload host'],
    ['broken', 'payload', 'MAML_MALFORMED', 'contributor'],
    ['forged', 'signature', 'SIGNATURE_INVALID', 'contributor'],
    ['schema', 'schema', 'SCHEMA_INVALID', 'contributor'],
    ['repeated', 'receipt', 'DUPLICATE', 'contributor'],
  ])('of what is %s ends at %s, by whose fault, and goes on to a receipt', async (name, stage, reason, fault) => {
    const { status, obstacle, stages } = await lineage(name)
    expect(status).toBe('failed')
    expect(obstacle).toMatchObject({ stage, status: 'failed', reason, fault })
    expect(obstacle?.todo.length).toBeGreaterThan(5)
    const at = stages.findIndex((s) => s.name === stage)
    expect(stages.slice(0, at).every((s) => s.status === 'ok')).toBe(true)
    expect(
      stages
        .slice(at + 1)
        .filter((s) => ['payload', 'signature', 'schema'].includes(s.name))
        .every((s) => s.status === 'skipped'),
    ).toBe(true)
    expect(stages.slice(-2).map((s) => s.status)).toEqual(['ok', 'ok'])
  })

  test('says in words what was seen, and leaves the code to its own field', async () => {
    const sentences = async (name: string) => {
      const { obstacle, stages } = await lineage(name)
      return { said: obstacle?.sentence ?? '', all: stages.map((s) => s.sentence) }
    }
    expect((await sentences('missing')).said).toMatch(
      /The last of \d+ attempts? ended so: The host answered with 404\.$/,
    )
    expect((await sentences('disputed')).said).toMatch(
      /0 voted for it and 2 against; it takes 2 of one side\.$/,
    )
    expect((await sentences('repeated')).said).toContain(`It is ${ids['good']}.`)
    expect((await sentences('good')).all).toContain(
      '1 reading conforms to iot_data.maml, version 0 of helium_sensors.',
    )
    for (const name of ['missing', 'broken', 'forged', 'schema']) {
      const { said } = await sentences(name)
      expect(said).not.toMatch(/[A-Z]+_[A-Z]+/)
      expect(said).toMatch(/\.$/)
    }
    const missing = await api.json<SubmissionItem>(path('missing'))
    expect(missing.reason_detail?.found).toBe('The host answered with 404.')
  })

  test('names what exactly was found', async () => {
    expect((await lineage('schema')).obstacle?.sentence).toContain('air_quality')
    expect((await lineage('broken')).obstacle?.sentence).toContain('line 2, column 1')
  })

  test('shows the edges around it', async () => {
    const { edges } = await lineage('repeated')
    const account = `eip155:31337:${world.stations[0]?.client.account}`
    expect(edges).toContainEqual({
      kind: 'measured_by',
      type: 'sensor',
      id: 'helium_001',
      block: expect.any(Number),
    })
    expect(edges).toContainEqual({
      kind: 'submitted_by',
      type: 'contributor',
      id: account,
      block: expect.any(Number),
    })
    expect(edges.filter((edge) => edge.kind === 'confirmed_by')).toHaveLength(2)
    expect(edges.filter((edge) => edge.kind === 'duplicates')).toMatchObject([
      { type: 'submission', id: ids['good'] },
    ])
    expect((await lineage('good')).edges.filter((e) => e.kind === 'duplicated_by')).toMatchObject([
      { id: ids['repeated'] },
    ])
    expect((await lineage('disputed')).edges.filter((e) => e.kind === 'disputed_by')).toHaveLength(2)
  })
})
