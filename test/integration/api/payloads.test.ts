import { request } from 'node:http'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Problem } from '../../../src/api/problem.ts'
import { fromBase64, sha256, toHex, utf8 } from '../../../src/core/bytes.ts'
import { jcsBytes } from '../../../src/core/json.ts'
import { silentLogger } from '../../../src/core/logger.ts'
import { mlDsa } from '../../../src/core/ml-dsa-native.ts'
import { connect } from '../../../src/graph/connect.ts'
import { buildMaml } from '../../../src/maml/build.ts'
import { signMaml } from '../../../src/maml/sign.ts'
import { MAX_PAYLOAD_BYTES, STORAGE_CONTEXT, type StorageReceipt } from '../../../src/service/payloads.ts'
import { RECEIPT_KEY, startApi, type TestApi } from '../../support/api.ts'
import { ALICE, BOB, CHAIN, deployment, fillGraph, STRANGER } from '../../support/graph.ts'
import { type TestDatabase, testDatabase } from '../../support/postgres.ts'
import { until } from '../../support/world.ts'

let database: TestDatabase
let api: TestApi
const told: string[] = []

beforeAll(async () => {
  database = await testDatabase()
  await fillGraph(database.sql, { submitted: 0, settled: 0, final: 0, logged: 0, anchored: 0 })
  api = await startApi({ sql: database.sql, deployment, payloadStored: (hash) => told.push(hash) })
})
afterAll(async () => {
  await api?.close()
  await database?.stop()
})

let air = 0
type Sender = typeof ALICE
/** A new signed payload; with `named`, its front matter says whose it is. */
const payload = (sender: Sender, { named = true, signer = sender } = {}): Uint8Array =>
  signMaml(
    buildMaml({
      ...(named ? { frontMatter: { contributor: `${CHAIN}:${sender.account}` } } : {}),
      readings: [{ sensor_id: sender.sensor, air_quality: air++, timestamp: '2025-10-01T23:30:00Z' }],
    }),
    signer.seed,
    mlDsa,
  )
const hashOf = (bytes: Uint8Array): string => toHex(sha256(bytes))
const put = (at: TestApi, hash: string, body: Uint8Array, headers: Record<string, string> = {}) =>
  fetch(`${at.url}/v1/payloads/${hash}`, { method: 'PUT', body: body as Uint8Array<ArrayBuffer>, headers })
const refused = async (response: Response): Promise<Problem> => {
  expect(response.headers.get('content-type')).toBe('application/problem+json')
  return (await response.json()) as Problem
}
const stored = async () => Number((await database.sql`select count(*) as n from payload`)[0]?.['n'])

describe('a payload is kept', () => {
  test('with a storage receipt that its signer cannot deny, and served back byte for byte', async () => {
    const bytes = payload(ALICE)
    const hash = hashOf(bytes)
    const before = Date.now()
    const response = await put(api, hash, bytes)
    expect(response.status).toBe(201)
    const receipt = (await response.json()) as StorageReceipt
    expect(receipt.statement).toMatchObject({
      v: 1,
      chain: CHAIN,
      contributor: `${CHAIN}:${ALICE.account}`,
      origin: deployment.origin,
      sha256: hash,
      bytes: bytes.length,
    })
    expect(Math.abs(Date.parse(receipt.statement.stored_at) - before)).toBeLessThan(60_000)
    expect(receipt.key_id).toBe(hashOf(RECEIPT_KEY.publicKey))
    const verify = (statement: object) =>
      mlDsa.verify(
        65,
        RECEIPT_KEY.publicKey,
        jcsBytes(statement),
        fromBase64(receipt.signature),
        STORAGE_CONTEXT,
      )
    expect(verify(receipt.statement)).toBe(true)
    expect(verify({ ...receipt.statement, bytes: 1 })).toBe(false)
    expect(told).toContain(hash)

    for (const path of [hash, hash.slice(2)]) {
      const got = await api.get(`/v1/payloads/${path}`)
      expect(new Uint8Array(await got.arrayBuffer())).toEqual(bytes)
      expect(got.headers.get('content-type')).toBe('application/octet-stream')
      expect(got.headers.get('content-disposition')).toMatch(/^attachment/)
      expect(got.headers.get('content-security-policy')).toContain('sandbox')
      expect(got.headers.get('x-content-type-options')).toBe('nosniff')
    }
    expect((await api.get(`/v1/payloads/${hash}`, { 'If-None-Match': `"${hash.slice(2)}"` })).status).toBe(
      304,
    )

    const again = await put(api, hash, bytes)
    expect(again.status).toBe(200)
    expect(((await again.json()) as StorageReceipt).statement).toEqual(receipt.statement)
    expect(told.filter((h) => h === hash)).toHaveLength(1)
  })

  test('by a role that may read everything and insert payloads, and nothing else', async () => {
    const role = `uploads_${Date.now()}`
    const { sql } = database
    await sql`create role ${sql(role)}`
    await sql`grant usage on schema public to ${sql(role)}`
    await sql`grant select on all tables in schema public to ${sql(role)}`
    await sql`grant insert on payload to ${sql(role)}`
    const weak = await connect(`${database.url}&role=${role}`)
    const upload = await startApi({ sql: weak, deployment })
    try {
      await expect(weak`delete from payload`).rejects.toThrow('permission denied')
      const bytes = payload(ALICE)
      expect((await put(upload, hashOf(bytes), bytes)).status).toBe(201)
    } finally {
      await upload.close()
      await weak.end({ timeout: 5 })
      await sql`drop owned by ${sql(role)}`
      await sql`drop role ${sql(role)}`
    }
  })

  test('for the contributor that a header names, where the front matter names none', async () => {
    const bytes = payload(BOB, { named: false })
    expect((await refused(await put(api, hashOf(bytes), bytes))).code).toBe('PAYLOAD_REFUSED')
    const response = await put(api, hashOf(bytes), bytes, { 'X-Dunes-Contributor': BOB.account })
    expect(response.status).toBe(201)
  })
})

describe('a payload is refused, and not kept,', () => {
  test.each<[string, string, number, () => Response | Promise<Response>]>([
    ['at an address that is no hash', 'BAD_ID', 400, () => put(api, '0x12', payload(ALICE))],
    [
      'at the address of other bytes',
      'PAYLOAD_HASH_MISMATCH',
      422,
      () => put(api, hashOf(utf8('other')), payload(ALICE)),
    ],
    ['when it is no MAML', 'PAYLOAD_REFUSED', 422, () => put(api, hashOf(utf8('hello')), utf8('hello'))],
    ['when it is empty', 'PAYLOAD_REFUSED', 422, () => put(api, hashOf(utf8('')), utf8(''))],
    ['from somebody without a key', 'CONTRIBUTOR_NOT_REGISTERED', 403, () => putNew(payload(STRANGER))],
    ["under another's signature", 'PAYLOAD_REFUSED', 422, () => putNew(payload(ALICE, { signer: BOB }))],
    ['without a signature', 'PAYLOAD_REFUSED', 422, () => putNew(unsigned())],
    [
      'when header and front matter disagree',
      'PAYLOAD_REFUSED',
      422,
      () => putNew(payload(ALICE), { 'X-Dunes-Contributor': BOB.account }),
    ],
    [
      'when the header names nobody',
      'PAYLOAD_REFUSED',
      422,
      () => putNew(payload(ALICE, { named: false }), { 'X-Dunes-Contributor': 'me' }),
    ],
    ['with a query', 'REQUEST_INVALID', 400, () => put(api, `${hashOf(utf8('x'))}?a=1`, utf8('x'))],
  ])('%s', async (_, code, status, send) => {
    const before = await stored()
    const response = await send()
    expect(response.status).toBe(status)
    expect((await refused(response)).code).toBe(code)
    expect(await stored()).toBe(before)
  })

  test('when the current key is revoked or its possession not proved', async () => {
    const bytes = payload(ALICE)
    await database.sql`update contributor_key set revoked_block = 5`
    expect((await refused(await putNew(bytes))).code).toBe('CONTRIBUTOR_KEY_REFUSED')
    await database.sql`update contributor_key set revoked_block = null, possession_valid = false`
    expect((await refused(await putNew(bytes))).code).toBe('CONTRIBUTOR_KEY_REFUSED')
    await database.sql`update contributor_key set possession_valid = true`
    expect((await putNew(bytes)).status).toBe(201)
  })

  test('when its declared length is beyond the limit, before it is read', async () => {
    const status = await new Promise<number>((resolve, reject) => {
      const headers = { 'Content-Length': String(MAX_PAYLOAD_BYTES + 1) }
      const sent = request(
        `${api.url}/v1/payloads/${hashOf(utf8('x'))}`,
        { method: 'PUT', headers },
        (response) => {
          resolve(response.statusCode ?? 0)
          sent.destroy()
        },
      )
      sent.on('error', reject)
      sent.flushHeaders()
    })
    expect(status).toBe(413)
  })

  test('when its sender goes away in the middle, which is no fault of ours', async () => {
    const logged: string[] = []
    const note = (_: object, message: string) => void logged.push(message)
    const { promise: answered, resolve: answer } = Promise.withResolvers<void>()
    const debug = (facts: object) => 'status' in facts && facts.status === 400 && answer()
    const own = await startApi({
      sql: database.sql,
      deployment,
      logger: { ...silentLogger, error: note, warn: note, debug },
    })
    try {
      const sent = request(`${own.url}/v1/payloads/${hashOf(utf8('x'))}`, {
        method: 'PUT',
        headers: { 'Content-Length': '100' },
      })
      sent.on('error', () => {})
      sent.write('abc', () => sent.destroy())
      await answered
      expect(logged).toEqual([])
    } finally {
      await own.close()
    }
  })

  test('when it is longer than the limit without having said so', async () => {
    const part = new Uint8Array(65_536).fill(0x61)
    let parts = 0
    const body = new ReadableStream({
      pull(c) {
        if (parts++ > 64) c.close()
        else c.enqueue(part)
      },
    })
    const response = await fetch(`${api.url}/v1/payloads/${hashOf(utf8('x'))}`, {
      method: 'PUT',
      body,
      duplex: 'half',
    } as RequestInit)
    expect(response.status).toBe(413)
    expect(parts).toBeLessThan(64)
  })

  test('beyond the quota, until what is here is settled', async () => {
    const first = payload(BOB)
    const own = await testDatabase({ max: 12 })
    await fillGraph(own.sql, { submitted: 1, settled: 1, final: 0, logged: 0, anchored: 0 })
    const small = await startApi({ sql: own.sql, deployment, quotaBytes: first.length + 10 })
    try {
      const others = [payload(BOB), payload(BOB)]
      // All at once, held up where they are about to be stored: they must not pass a quota together that fits only one.
      const { promise: held, resolve: hold } = Promise.withResolvers<void>()
      const { promise: released, resolve: release } = Promise.withResolvers<void>()
      const lock = own.sql.begin(async (tx) => {
        await tx`lock table payload in share mode`
        hold()
        await released
      })
      await held
      const sent = Promise.all([first, ...others].map((bytes) => put(small, hashOf(bytes), bytes)))
      await until('all to wait', async () => {
        const [row] =
          await own.sql`select count(*) as n from pg_locks where not granted and pid <> pg_backend_pid()`
        return row?.['n'] >= 3 || undefined
      })
      release()
      await lock
      const answers = await sent
      expect(answers.map((a) => a.status).sort()).toEqual([201, 429, 429])
      const late = answers.find((a) => a.status === 429) as Response
      expect(Number(late.headers.get('retry-after'))).toBeGreaterThan(0)
      expect((await refused(late)).code).toBe('QUOTA_EXCEEDED')
      // Another contributor has a quota of its own.
      const hers = payload(ALICE)
      expect((await put(small, hashOf(hers), hers)).status).toBe(201)
      await own.sql`update submission set payload_sha256 = (select sha256 from payload where contributor = ${Buffer.from(BOB.account.slice(2), 'hex')})`
      const next = payload(BOB)
      expect((await put(small, hashOf(next), next)).status).toBe(201)
    } finally {
      await small.close()
      await own.stop()
    }
  })

  test('by a process that has no key to answer for it with', async () => {
    const keyless = await startApi({ sql: database.sql, deployment, receiptKey: null })
    try {
      const bytes = payload(ALICE)
      expect((await put(keyless, hashOf(bytes), bytes)).status).toBe(503)
    } finally {
      await keyless.close()
    }
  })
})

const putNew = (bytes: Uint8Array, headers: Record<string, string> = {}) =>
  put(api, hashOf(bytes), bytes, headers)
const unsigned = () =>
  buildMaml({
    frontMatter: { contributor: `${CHAIN}:${ALICE.account}` },
    readings: [{ sensor_id: 'alpha', timestamp: '2025-10-01T23:30:00Z' }],
  })

test('what is not held is 404', async () => {
  const response = await api.get(`/v1/payloads/${hashOf(utf8('never sent'))}`)
  expect(response.status).toBe(404)
  expect((await refused(response)).code).toBe('NOT_FOUND')
})
