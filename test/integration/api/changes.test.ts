import { connect as dial } from 'node:net'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Change as ChangeSchema } from '../../../src/api/schemas.ts'
import { type Change, forgetChanges, renameFeed, tell } from '../../../src/graph/changes.ts'
import { connect, type Sql } from '../../../src/graph/connect.ts'
import { rollback } from '../../../src/graph/rollback.ts'
import type { ChangeItem, ChangePage } from '../../../src/service/changes.ts'
import { startApi, type TestApi } from '../../support/api.ts'
import { readEvents } from '../../support/changes.ts'
import { ALICE, BOB, CHAIN, deployment, fillGraph, hashOf, submissionId } from '../../support/graph.ts'
import { type TestDatabase, testDatabase } from '../../support/postgres.ts'
import { until } from '../../support/world.ts'

// Of 12 submissions 9 are settled, 7 final, 5 logged and 3 anchored.
const progress = { submitted: 12, settled: 9, final: 7, logged: 5, anchored: 3 }
const alice = `${CHAIN}:${ALICE.account}`

let database: TestDatabase
let api: TestApi

beforeEach(async () => {
  database = await testDatabase({ max: 12 })
  await fillGraph(database.sql, progress)
  api = await startApi(
    { sql: database.sql, deployment, following: { most: 3, heartbeatMs: 200, slowMs: 1_500 } },
    { graceMs: 200 },
  )
})
afterEach(async () => {
  api?.ctx.changes.stop()
  await api?.close()
  await database?.stop()
})

const page = (query = '') => api.json<ChangePage>(`/v1/changes${query}`)
/** Everything, in pages of `limit`. */
async function all(query = '', limit = 1000): Promise<ChangeItem[]> {
  const items: ChangeItem[] = []
  for (let after = ''; ; ) {
    const some = await page(`?limit=${limit}${query}${after}`)
    expect(some.items.length).toBeLessThanOrEqual(limit)
    items.push(...some.items)
    if (some.next_cursor === some.newest) return items
    after = `&cursor=${some.next_cursor}`
  }
}
const follow = async (query = '', headers: Record<string, string> = {}) => {
  const leave = new AbortController()
  const response = await fetch(`${api.url}/v1/changes${query}`, {
    headers: { Accept: 'text/event-stream', ...headers },
    signal: leave.signal,
  })
  const events = response.status === 200 ? readEvents(response.body as ReadableStream<Uint8Array>) : null
  return {
    response,
    leave: () => leave.abort(),
    /** The next `count` events that are no comments. */
    async take(count: number) {
      const items: { kind: string; id: string | null; item: ChangeItem }[] = []
      while (items.length < count) {
        const { value, done } = await (events as NonNullable<typeof events>).next()
        if (done) throw new Error(`the stream ended after ${items.length} events`)
        if (value.event !== ':') items.push({ kind: value.event, id: value.id, item: JSON.parse(value.data) })
      }
      return items
    },
    comment: async () => {
      for (;;) {
        const { value, done } = await (events as NonNullable<typeof events>).next()
        if (done) throw new Error('the stream ended')
        if (value.event === ':') return value
      }
    },
  }
}
const told = (index: number): Change => ({
  kind: 'judged',
  submission: submissionId(index),
  contributor: ALICE.account,
  sensor: 'alpha',
  dataset: 'helium_sensors',
  index,
  verdict: 'accepted',
  reason: null,
})
const tellOne = (sql: Sql, index = 0) => sql.begin((tx) => tell(tx, [told(index)]))

describe('pages', () => {
  test('tell every transition, oldest first, with ids that run without holes', async () => {
    const { items, next_cursor, newest } = await page('?limit=1000')
    expect(next_cursor).toBe(newest)
    for (const item of items) ChangeSchema.strict().parse(item)
    const kinds = Map.groupBy(items, (item) => item.kind)
    expect(Object.fromEntries([...kinds].map(([kind, of]) => [kind, of.length]))).toEqual({
      submitted: 12,
      settled: 9,
      final: 1,
      logged: 1,
      anchored: 1,
    })
    expect(items[0]).toMatchObject({
      kind: 'submitted',
      submission: submissionId(0),
      contributor: alice,
      sensor: 'alpha',
      dataset: 'helium_sensors',
      block: 10,
    })
    expect(kinds.get('settled')?.[2]).toMatchObject({
      submission: submissionId(2),
      index: 2,
      outcome: 'rejected',
    })
    expect(kinds.get('final')).toMatchObject([{ first_index: 0, last_index: 6, block: 1060 }])
    expect(kinds.get('anchored')).toMatchObject([
      { first_index: 0, last_index: 2, anchor: { seq: 1, size: 3, root: hashOf('anchored root') } },
    ])
    // Its ids follow each other, a range taking one for each of its submissions.
    const widths = items.map((i) =>
      i.first_index === undefined ? 1 : Number(i.last_index) - i.first_index + 1,
    )
    const sums = widths.map((_, i) => widths.slice(0, i + 1).reduce((a, b) => a + b))
    expect(items.map((item) => Number(item.id.split('-')[1]))).toEqual(sums)
  })

  test('of any size tell the same', async () => {
    const whole = await all()
    for (const limit of [1, 2, 7]) expect(await all('', limit)).toEqual(whole)
    expect(await page(`?after=${whole[4]?.id}&limit=3`)).toMatchObject({ items: whole.slice(5, 8) })
    expect((await page(`?after=newest`)).items).toEqual([])
    expect((await page(`?after=newest`)).next_cursor).toBe(whole.at(-1)?.id)
  })

  test('tell ranges one by one where asked, with ids that lie within the range’s', async () => {
    const apart = await all('&expand=true', 4)
    expect(apart.filter((item) => item.kind === 'final').map((item) => item.index)).toEqual([
      0, 1, 2, 3, 4, 5, 6,
    ])
    expect(apart.map((item) => Number(item.id.split('-')[1]))).toEqual(apart.map((_, i) => i + 1))
    expect(apart.find((item) => item.kind === 'anchored')).toMatchObject({
      submission: submissionId(0),
      contributor: alice,
      index: 0,
      anchor: { seq: 1 },
    })
    // Whoever stops in the middle of a range and goes on with ranges hears of the rest of it.
    const third = apart.filter((item) => item.kind === 'final')[2] as ChangeItem
    expect((await page(`?after=${third.id}&limit=1`)).items).toMatchObject([
      { kind: 'final', first_index: 3, last_index: 6 },
    ])
  })

  test('can be cut to one submission, contributor, sensor, dataset and to kinds', async () => {
    const kindsOf = async (query: string) => (await all(query, 2)).map((item) => item.kind)
    expect(await kindsOf(`&submission=${submissionId(1)}`)).toEqual([
      'submitted',
      'settled',
      'final',
      'logged',
      'anchored',
    ])
    expect(await kindsOf(`&submission=${submissionId(4)}`)).toEqual([
      'submitted',
      'settled',
      'final',
      'logged',
    ])
    expect(await kindsOf(`&submission=${submissionId(11)}`)).toEqual(['submitted'])
    const bobs = await all(`&contributor=${BOB.account}&kind=final,settled`, 3)
    expect(bobs.map((item) => [item.kind, item.index])).toEqual([
      ...[1, 3, 5, 7].map((i) => ['settled', i]),
      ...[1, 3, 5].map((i) => ['final', i]),
    ])
    expect(await all('&sensor=beta&kind=final,settled')).toEqual(bobs)
    expect(await all(`&contributor=${CHAIN}:${BOB.account}&kind=final,settled`)).toEqual(bobs)
    expect((await all('&dataset=helium_sensors')).length).toBe(12 + 9 + 7 + 5 + 3)
    expect(await all('&dataset=others')).toEqual([])
    expect((await all('&kind=anchored')).map((item) => item.last_index)).toEqual([2])
  })

  test('tell what a rollback undid', async () => {
    const newest = (await page('?after=newest')).newest
    await rollback(database.sql, { number: 1065, hash: hashOf('block 1065'), time: 0 })
    const undone = (await page(`?after=${newest}`)).items
    expect(undone).toMatchObject([
      { kind: 'rolled_back', block: 1065, block_hash: hashOf('block 1065'), from_block: 9_000 },
      { kind: 'unsettled', submission: submissionId(8), index: 8, block: 1080 },
      {
        kind: 'unsettled',
        submission: submissionId(7),
        index: 7,
        block: 1070,
        contributor: `${CHAIN}:${BOB.account}`,
      },
    ])
    // One who follows a submission hears of it too, and of nothing else.
    expect((await page(`?after=${newest}&submission=${submissionId(7)}`)).items.map((i) => i.kind)).toEqual([
      'unsettled',
    ])
  })

  test('wait for something to tell', async () => {
    const { newest } = await page('?after=newest')
    const waiting = page(`?after=${newest}&wait=20`)
    await until('the client to wait', async () => (api.ctx.changes.followers === 1 ? true : undefined))
    await tellOne(database.sql, 3)
    const { items } = await waiting
    expect(items).toMatchObject([{ kind: 'judged', index: 3 }])
    expect(api.ctx.changes.followers).toBe(0)
    const before = Date.now()
    expect((await page(`?after=${items[0]?.id}&wait=1`)).items).toEqual([])
    expect(Date.now() - before).toBeGreaterThan(900)
  })

  test('refuse what is no id, and ids that cannot be gone on from', async () => {
    const { newest } = await page('?after=newest')
    const [name, last] = newest.split('-') as [string, string]
    const problem = async (query: string) => {
      const response = await api.get(`/v1/changes${query}`)
      return { status: response.status, ...((await response.json()) as { code: string; details?: unknown }) }
    }
    for (const after of ['x', '1', `${name}-`, `${name}-01`, `${name}--1`, `${name}-99999999999999999999`])
      expect(await problem(`?after=${after}`)).toMatchObject({ status: 400, code: 'BAD_CURSOR' })
    expect(await problem('?limit=1001')).toMatchObject({ status: 400, code: 'REQUEST_INVALID' })
    expect(await problem('?kind=nothing')).toMatchObject({ status: 400, code: 'REQUEST_INVALID' })
    expect(await problem('?submission=5')).toMatchObject({ status: 400, code: 'BAD_ID' })
    expect(await problem('?contributor=5')).toMatchObject({ status: 400, code: 'BAD_CHAIN_ID' })
    expect(await problem(`?after=${name}-1&cursor=${name}-2`)).toMatchObject({ code: 'REQUEST_INVALID' })
    expect(await problem(`?after=00000000-3`)).toMatchObject({ status: 410, code: 'CHANGES_GONE' })
    expect(await problem(`?after=${name}-${Number(last) + 1}`)).toMatchObject({
      status: 410,
      code: 'CHANGES_GONE',
      details: { newest, oldest: `${name}-0` },
    })
    // What was forgotten cannot be told; the newest and the beginning can.
    await forgetChanges(database.sql, 5)
    expect(await problem(`?after=${name}-1`)).toMatchObject({ status: 410, code: 'CHANGES_GONE' })
    expect(await problem(`?after=${name}-0`)).toMatchObject({ status: 410 })
    const kept = await page('?limit=1000')
    expect(kept.items.length).toBeGreaterThan(0)
    expect((await page(`?after=${newest}`)).items).toEqual([])
    await forgetChanges(database.sql, 0)
    expect((await page()).next_cursor).toBe(newest)
    expect(await problem(`?after=${name}-1`)).toMatchObject({ status: 410 })
    // A restored database has another feed.
    await renameFeed(database.sql)
    expect(await problem(`?after=${newest}`)).toMatchObject({ status: 410, code: 'CHANGES_GONE' })
    const refused = await follow(`?after=${newest}`)
    expect(refused.response.status).toBe(410)
    expect(refused.response.headers.get('content-type')).toBe('application/problem+json')
  })
})

describe('streams', () => {
  test('tell what was and what comes, and go on where they were left', async () => {
    const whole = await all()
    const first = await follow()
    expect(first.response.headers.get('content-type')).toMatch(/^text\/event-stream/)
    const some = await first.take(5)
    expect(some.map(({ item }) => item)).toEqual(whole.slice(0, 5))
    expect(some.map(({ id }) => id)).toEqual(some.map(({ item }) => item.id))
    expect(some.map(({ kind }) => kind)).toEqual(some.map(({ item }) => item.kind))
    first.leave()

    const second = await follow('?after=newest', { 'Last-Event-ID': some[4]?.id as string })
    expect((await second.take(whole.length - 5)).map(({ item }) => item)).toEqual(whole.slice(5))
    await tellOne(database.sql, 3)
    expect(await second.take(1)).toMatchObject([{ kind: 'judged', item: { index: 3 } }])
    second.leave()
    await until('both to be gone', async () => (api.ctx.changes.followers === 0 ? true : undefined))
  })

  test('send comments while there is nothing to tell, which move a filtered reader on', async () => {
    const stream = await follow('?sensor=none')
    const { id } = await stream.comment()
    expect(id).toBe((await page('?after=newest')).newest)
    stream.leave()
  })

  test('are bounded in number', async () => {
    const streams = [await follow(), await follow(), await follow()]
    const refused = await follow()
    expect(refused.response.status).toBe(503)
    expect(await refused.response.json()).toMatchObject({ code: 'BUSY' })
    expect(refused.response.headers.get('retry-after')).toBe('5')
    // A HEAD takes no place.
    expect(
      (await fetch(`${api.url}/v1/changes`, { method: 'HEAD', headers: { Accept: 'text/event-stream' } }))
        .status,
    ).toBe(200)
    streams[0]?.leave()
    await until('a place', async () => (api.ctx.changes.followers === 2 ? true : undefined))
    expect((await follow()).response.status).toBe(200)
  })

  test('of clients that do not read are cut off, and hold up nobody', async () => {
    const { port } = api
    const socket = dial(port, '127.0.0.1')
    const closed = new Promise<void>((resolve) =>
      socket.once('close', () => resolve()).once('error', () => {}),
    )
    socket.pause()
    socket.write('GET /v1/changes HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n')
    await until('it to follow', async () => (api.ctx.changes.followers === 1 ? true : undefined))
    const quick = await follow('?after=newest')
    const reading = quick.take(30_000)
    // More than the buffers of both ends hold.
    for (let i = 0; i < 60; i++) {
      await database.sql.begin((tx) =>
        tell(
          tx,
          Array.from({ length: 500 }, () => told(i)),
        ),
      )
    }
    const got = await reading
    expect(got.at(-1)?.item.index).toBe(59)
    await until('it to be cut off', async () => (api.ctx.changes.followers === 1 ? true : undefined))
    socket.resume()
    await closed
  })

  test('end when the process stops', async () => {
    const stream = await follow('?after=newest')
    await until('it to follow', async () => (api.ctx.changes.followers === 1 ? true : undefined))
    const end = stream.take(1)
    api.ctx.changes.stop()
    await expect(end).rejects.toThrow('the stream ended after 0 events')
    expect((await api.get('/v1/changes?wait=5')).status).toBe(503)
  })
})

describe('writers at once', () => {
  test('tell in the order of their commits: nothing is missed and nothing told twice', async () => {
    const { sql } = database
    const stream = await follow('?after=newest')
    await until('it to follow', async () => (api.ctx.changes.followers === 1 ? true : undefined))
    const { newest } = await page('?after=newest')
    // The first one began first and ends last. The second must not be seen before it, as a reader would never look back.
    const order: string[] = []
    let release = () => {}
    const held = new Promise<void>((resolve) => {
      release = resolve
    })
    let began = () => {}
    const hasBegun = new Promise<void>((resolve) => {
      began = resolve
    })
    const first = sql.begin(async (tx) => {
      await tell(tx, [told(1)])
      began()
      await held
    })
    first.then(() => order.push('first'))
    await hasBegun
    const second = tellOne(sql, 2).then(() => order.push('second'))
    await until('the second to stand in line', async () => {
      const [row] =
        await sql`select count(*) as waiting from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()`
      return row?.['waiting'] === 1 ? true : undefined
    })
    expect((await page(`?after=${newest}`)).items).toEqual([])
    release()
    await Promise.all([first, second])
    expect(order).toEqual(['first', 'second'])
    expect((await page(`?after=${newest}`)).items.map((item) => item.index)).toEqual([1, 2])
    expect((await stream.take(2)).map(({ item }) => item.index)).toEqual([1, 2])

    // Many, of which some take back what they said.
    const start = (await page('?after=newest')).newest
    const pools = await Promise.all(Array.from({ length: 4 }, () => connect(database.url, { max: 1 })))
    const said: number[] = []
    await Promise.all(
      pools.map(async (pool, who) => {
        for (let i = 0; i < 30; i++) {
          const index = who * 100 + i
          await pool
            .begin(async (tx) => {
              await tx`select 1`
              await tell(tx, [told(index), told(index)])
              if (i % 5 === 4) throw new Error('taken back')
            })
            .then(
              () => said.push(index, index),
              () => {},
            )
        }
      }),
    )
    await Promise.all(pools.map((pool) => pool.end()))
    const live = (await stream.take(said.length)).map(({ item }) => item)
    expect(live.map((item) => item.index).sort()).toEqual(said.sort())
    const from = Number(start.split('-')[1])
    expect(live.map((item) => Number(item.id.split('-')[1]))).toEqual(live.map((_, i) => from + 1 + i))
    expect((await page(`?after=${start}&limit=1000`)).items).toEqual(live)
  })
})
