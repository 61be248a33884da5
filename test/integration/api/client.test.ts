import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createClient } from '../../../src/client/client.ts'
import { ADDRESSES } from '../../../src/client/routes.ts'
import { startApi, type TestApi } from '../../support/api.ts'
import { ALICE, deployment, fillGraph, submissionId } from '../../support/graph.ts'
import { type TestDatabase, testDatabase } from '../../support/postgres.ts'

let database: TestDatabase
let api: TestApi

beforeAll(async () => {
  database = await testDatabase()
  await fillGraph(database.sql, { submitted: 6, settled: 5, final: 4, logged: 3, anchored: 2 })
  api = await startApi({ sql: database.sql, deployment })
})
afterAll(async () => {
  await api?.close()
  await database?.stop()
})

describe('the typed client', () => {
  test('calls operations with their own parameters and answers their own types', async () => {
    const client = createClient(`${api.url}/`)
    const page = await client.call('listSubmissions', { state: 'anchored', limit: 1 })
    expect(page.items.map(({ id }) => id)).toEqual([submissionId(1)])
    const next = await client.call('listSubmissions', {
      state: 'anchored',
      ...(page.next_cursor !== null && { cursor: page.next_cursor }),
    })
    expect(next.items.map(({ id }) => id)).toEqual([submissionId(0)])
    expect((await client.call('getSubmission', { id: submissionId(0) })).index).toBe(0)
    expect((await client.call('getContributor', { id: ALICE.account })).sensors).toEqual(['alpha'])
    expect((await client.call('getGraph', { sensor: 'alpha', hops: 1 })).nodes.id[0]).toBe('alpha')
    const checkpoint: Uint8Array = await client.call('getCheckpoint', {})
    expect(new TextDecoder().decode(checkpoint).split('\n')[1]).toBe('3')
  })

  test('throws the problem that the API answers, and tells a server that is not there', async () => {
    const client = createClient(api.url)
    await expect(client.call('getSubmission', { id: '../status' })).rejects.toMatchObject({
      code: 'BAD_ID',
      exitCode: 2,
      details: { status: 400 },
      hint: expect.any(String),
    })
    await expect(client.call('getSensor', { name: 'nobody' })).rejects.toMatchObject({ code: 'NOT_FOUND' })
    await expect(createClient('http://127.0.0.1:1').call('getHealth', {})).rejects.toMatchObject({
      code: 'API_UNREACHABLE',
      exitCode: 3,
      retryable: true,
    })
  })

  test('knows every operation by the address that the OpenAPI document gives it', async () => {
    const document = await api.json<{ paths: Record<string, Record<string, { operationId: string }>> }>(
      '/openapi.json',
    )
    const described = new Map(
      Object.entries(document.paths).flatMap(([path, item]) =>
        Object.entries(item).map(([method, { operationId }]) => [
          operationId,
          `${method.toUpperCase()} ${path}`,
        ]),
      ),
    )
    for (const [id, address] of Object.entries(ADDRESSES)) expect(described.get(id), id).toBe(address)
  })
})
