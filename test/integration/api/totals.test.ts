import { afterAll, beforeAll, expect, test } from 'vitest'
import type { ContributorDetail, ContributorItem } from '../../../src/service/contributors.ts'
import type { Page } from '../../../src/service/page.ts'
import type { Status } from '../../../src/service/status.ts'
import type { SubmissionItem } from '../../../src/service/submissions.ts'
import { startApi, type TestApi } from '../../support/api.ts'
import { deployment, fillGraph } from '../../support/graph.ts'
import { type TestDatabase, testDatabase } from '../../support/postgres.ts'

/** Status, metrics, lists and exports tell the same numbers, and "none" is not "not yet". */

let database: TestDatabase
let api: TestApi

beforeAll(async () => {
  database = await testDatabase()
  await fillGraph(database.sql, { submitted: 31, settled: 23, final: 20, logged: 17, anchored: 11 })
  await database.sql`update submission set verdict = 'rejected', reason = 'QUORUM_REJECTED' where outcome = 2`
  await database.sql`update submission set verdict = 'accepted' where outcome = 1 and index < 19`
  api = await startApi({ sql: database.sql, deployment })
})
afterAll(async () => {
  await api?.close()
  await database?.stop()
})

const gauge = (metrics: string, state: string) =>
  Number(
    new RegExp(`^dunes_submissions\\{state="${state}"\\} ([0-9]+)$`, 'm').exec(metrics)?.[1] ?? Number.NaN,
  )

/** Rows of the list, of the CSV export and of the JSON lines export with a filter; they must be the same number. */
async function counted(query: string): Promise<number> {
  let items = 0
  let cursor: string | null = ''
  while (cursor !== null) {
    const page: Page<SubmissionItem> = await api.json(
      `/v1/submissions?limit=4${query && `&${query}`}${cursor && `&cursor=${cursor}`}`,
    )
    items += page.items.length
    cursor = page.next_cursor
  }
  const csv = await (await api.get(`/v1/submissions?format=csv${query && `&${query}`}`)).text()
  const jsonl = await (await api.get(`/v1/submissions?format=jsonl${query && `&${query}`}`)).text()
  expect(csv.split('\r\n').length - 2).toBe(items)
  expect(jsonl.split('\n').length - 1).toBe(items)
  return items
}

test('status, metrics, lists and exports agree', async () => {
  const status = await api.json<Status>('/v1/status')
  const metrics = await (await api.get('/metrics')).text()
  const [view] = await database.sql`select * from totals`
  expect(view).toMatchObject({ submitted: 31, pending: 8, settled: 23, logged: 17, anchored: 11 })
  for (const name of ['submitted', 'pending', 'settled', 'logged', 'anchored'] as const) {
    expect(status[name], name).toBe(view?.[name])
    expect(gauge(metrics, name), name).toBe(view?.[name])
  }
  for (const name of ['unjudged', 'accepted', 'rejected'] as const) {
    expect(status.verdicts[name], name).toBe(view?.[name])
    expect(gauge(metrics, name), name).toBe(view?.[name])
  }
  expect(gauge(metrics, 'final')).toBe(20)
  expect(status.verdicts.reasons).toEqual({ QUORUM_REJECTED: status.verdicts.rejected })
  expect(await counted('')).toBe(status.submitted)
  expect(await counted('verdict=accepted')).toBe(status.verdicts.accepted)
  expect(await counted('verdict=rejected')).toBe(status.verdicts.rejected)
  expect(await counted('state=pending')).toBe(status.pending)
  expect(await counted('state=anchored')).toBe(status.anchored)
  expect(await counted('state=logged')).toBe((status.logged as number) - (status.anchored as number))
  expect(await counted('state=final')).toBe(20 - (status.logged as number))
  const { items } = await api.json<Page<ContributorItem>>('/v1/contributors')
  const own = await Promise.all(items.map(({ id }) => api.json<ContributorDetail>(`/v1/contributors/${id}`)))
  expect(own.reduce((sum, { counts }) => sum + counts.submitted, 0)).toBe(status.submitted)
  expect(own.reduce((sum, { counts }) => sum + counts.accepted, 0)).toBe(status.verdicts.accepted)
})

test('before a block was indexed nobody knows, and after one there is none', async () => {
  const own = await testDatabase()
  const empty = await startApi({ sql: own.sql, deployment })
  try {
    const before = await empty.json<Status>('/v1/status')
    expect(before).toMatchObject({ indexed: null, submitted: null, settled: null, anchored: null })
    expect(before.verdicts).toMatchObject({ accepted: null, rejected: null })
    expect(await (await empty.get('/metrics')).text()).not.toContain('dunes_submissions{')
    await fillGraph(own.sql, { submitted: 0, settled: 0, final: 0, logged: 0, anchored: 0 })
    const after = await empty.json<Status>('/v1/status')
    expect(after).toMatchObject({ submitted: 0, settled: 0, anchored: 0 })
    expect(after.indexed).not.toBeNull()
  } finally {
    await empty.close()
    await own.stop()
  }
})
