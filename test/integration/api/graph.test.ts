import { afterAll, beforeAll, expect, test } from 'vitest'
import type { GraphPart } from '../../../src/service/graph.ts'
import { startApi, type TestApi } from '../../support/api.ts'
import { ALICE, BOB, CHAIN, deployment, fillGraph, submissionId } from '../../support/graph.ts'
import { type TestDatabase, testDatabase } from '../../support/postgres.ts'

// Even submissions are of Alice and her sensor alpha, odd ones of Bob and beta; each is attested by the other one.
const COUNT = 30

let database: TestDatabase
let api: TestApi

beforeAll(async () => {
  database = await testDatabase()
  await fillGraph(database.sql, { submitted: COUNT, settled: 20, final: 10, logged: 8, anchored: 6 })
  api = await startApi({ sql: database.sql, deployment })
})
afterAll(async () => {
  await api?.close()
  await database?.stop()
})

/** Nodes by what they are called, with their hops, and edges in words. */
async function read(query: string) {
  const part = await api.json<GraphPart>(`/v1/graph${query}`)
  const { nodes, edges } = part
  const named = nodes.id.map((id, i) => `${nodes.type[i]} ${id}`)
  expect(new Set(named).size).toBe(named.length)
  return {
    ...part,
    hops: new Map(named.map((name, i) => [name, nodes.hop[i]])),
    said: edges.kind.map(
      (kind, i) => `${named[edges.source[i] as number]} ${kind} ${named[edges.target[i] as number]}`,
    ),
  }
}
const alice = `contributor ${CHAIN}:${ALICE.account}`
const bob = `contributor ${CHAIN}:${BOB.account}`
const one = (i: number) => `submission ${submissionId(i)}`

test('lineage is what a submission comes from, and nothing else', async () => {
  const { hops, said, truncated, mode } = await read(`?submission=${submissionId(4)}&mode=lineage&hops=6`)
  expect(mode).toBe('lineage')
  expect(Object.fromEntries(hops)).toEqual({
    [one(4)]: 0,
    'sensor alpha': 1,
    [alice]: 1,
    [bob]: 1,
    'dataset helium_sensors': 2,
  })
  expect(said.sort()).toEqual(
    [
      `${one(4)} measured_by sensor alpha`,
      `${one(4)} submitted_by ${alice}`,
      `${bob} confirmed ${one(4)}`,
      'sensor alpha feeds dataset helium_sensors',
      `${alice} owns sensor alpha`,
    ].sort(),
  )
  expect(truncated).toBe(false)
})

test('a neighbourhood grows by hops and is cut at the limit, the newest kept', async () => {
  const near = await read('?sensor=alpha&hops=1&limit=1000')
  expect(near.hops.size).toBe(1 + 1 + 1 + COUNT / 2)
  expect(near.truncated).toBe(false)
  const far = await read('?sensor=alpha&hops=2&limit=1000')
  // The other contributor, her attested submissions and her sensor come within reach.
  expect(far.hops.get(bob)).toBe(2)
  expect(far.hops.get('sensor beta')).toBe(2)
  const cut = await read('?sensor=alpha&hops=1&limit=5')
  expect(cut.truncated).toBe(true)
  expect(cut.hops.size).toBe(5)
  expect([...cut.hops.keys()].filter((name) => name.startsWith('submission'))).toContain(one(COUNT - 2))
})

test('a window of time keeps the submissions that were made in it', async () => {
  // Submission i is in block 10 + i, whose time is 1,700,000,010 + i.
  const time = (i: number) => new Date((1_700_000_010 + i) * 1000).toISOString().replace('.000', '')
  const { hops, mode } = await read(`?from=${time(5)}&to=${time(8)}&hops=1`)
  expect(mode).toBe('window')
  expect([...hops.keys()].filter((name) => name.startsWith('submission')).sort()).toEqual(
    [5, 6, 7].map(one).sort(),
  )
  const around = await read(`?sensor=alpha&from=${time(5)}&to=${time(8)}`)
  expect([...around.hops.keys()].filter((name) => name.startsWith('submission'))).toEqual([one(6)])
  expect((await read(`?from=${time(COUNT)}`)).hops.size).toBe(0)
  expect((await read('?limit=3')).truncated).toBe(true)
})

test('what is not there, and what is no question, is refused', async () => {
  const status = async (query: string) => (await api.get(`/v1/graph${query}`)).status
  expect(await status('?sensor=nobody')).toBe(404)
  expect(await status(`?submission=0x${'00'.repeat(32)}`)).toBe(404)
  for (const bad of [
    '?submission=x',
    '?sensor=alpha&dataset=helium_sensors',
    '?hops=7',
    '?limit=1001',
    '?from=x',
    '?mode=all',
  ])
    expect(await status(bad), bad).toBe(400)
})
