import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { createRpc } from '../../src/chain/rpc.ts'
import type { Hex } from '../../src/core/bytes.ts'
import { systemClock } from '../../src/core/clock.ts'
import { silentLogger } from '../../src/core/logger.ts'
import { createMetrics } from '../../src/core/metrics.ts'
import { readPosition } from '../../src/graph/cursor.ts'
import { RecheckStage } from '../../src/ingest/recheck.ts'
import { type TestDatabase, testDatabase } from '../support/postgres.ts'
import { type RpcProxy, startRpcProxy } from '../support/rpc-proxy.ts'
import { type Station, startIndexer, startWorld, until, type World } from '../support/world.ts'

let world: World
let database: TestDatabase
let other: RpcProxy
let id: Hex
const NEVER = new AbortController().signal

beforeAll(async () => {
  ;[world, database] = await Promise.all([startWorld(1), testDatabase({ max: 8 })])
  const [station] = world.stations as [Station]
  const indexer = startIndexer(world, database.sql)
  for (let i = 0; i < 3; i++) {
    id = await world.submitReading(station, i)
    await world.attest(id)
  }
  await world.mine(5)
  await until(
    'all to be anchored and final',
    async () => {
      await world.mine(1)
      const [row] = await database.sql`
        select (select max(size) from anchor where block <= (select final_number from cursor)) as anchored`
      return row?.['anchored'] === 3 ? true : undefined
    },
    indexer,
  )
  await indexer.stop()
}, 60_000)
afterAll(async () => {
  await database?.stop()
  await world?.stop()
})
beforeEach(async () => {
  other = await startRpcProxy(world.rpcUrl)
})
afterEach(() => other.stop())

const stageOf = ({ checkHashes = true } = {}) => {
  const metrics = createMetrics()
  const rpc = createRpc({ urls: [world.rpcUrl, other.url], chainId: 31337 })
  const { registry, anchor, startBlock } = world.deployment
  const stage = new RecheckStage({
    rpc,
    contracts: { registry, anchor },
    startBlock,
    checkHashes,
    checkBlooms: true,
    sql: database.sql,
    clock: systemClock,
    logger: silentLogger,
    metrics,
    everySeconds: 1,
    random: () => 0,
  })
  return { stage, rpc }
}
const final = async () => (await readPosition(database.sql))?.final.number ?? -1

it('finds everything the same, at the other endpoint', async () => {
  const { stage } = stageOf()
  await stage.sample(NEVER)
  const host = new URL(other.url).host
  expect(stage.status).toMatchObject({ ranges: 1, same: 1, refuted: 0, unresolved: 0, failed: 0 })
  expect(stage.status.last).toMatchObject({
    from: world.deployment.startBlock,
    endpoint: host,
    result: 'same',
  })
  expect(stage.status.last?.to).toBeGreaterThan(world.deployment.startBlock + 10)
  expect(await final()).toBeGreaterThan(0)
  expect(other.calls).toContain('eth_getLogs')
})

it('proves an endpoint wrong that has other logs, and leaves it', async () => {
  // What it leaves out it leaves out in receipts too.
  other.fault = (request, { result }) => {
    if (request.method === 'eth_getLogs') return { result: [] }
    if (request.method === 'eth_getBlockReceipts')
      return { result: (result as object[]).map((r) => ({ ...r, logs: [] })) }
    return undefined
  }
  const { stage, rpc } = stageOf()
  await stage.sample(NEVER)
  // Its blooms say that there is more, and the other endpoint has it.
  expect(stage.status).toMatchObject({ ranges: 1, same: 1, failed: 0 })
  expect(rpc.endpoints()[1]).toMatchObject({ state: 'open' })
})

it('proves an endpoint wrong that tells another story of a log', async () => {
  other.fault = (request, { result }) => {
    if (request.method !== 'eth_getLogs') return undefined
    const logs = structuredClone(result) as { topics: Hex[]; data: Hex }[]
    // The outcome of a settlement: still well-formed, under the same topics.
    const settled = logs.find(({ data, topics }) => topics.length === 3 && data.length === 2 + 64 * 5)
    if (!settled) return undefined
    settled.data = `${settled.data.slice(0, 2 + 64 * 3 - 1)}2${settled.data.slice(2 + 64 * 3)}` as Hex
    return { result: logs }
  }
  const { stage, rpc } = stageOf()
  await stage.sample(NEVER)
  expect(stage.status).toMatchObject({ refuted: 1, unresolved: 0, failed: 0 })
  expect(rpc.endpoints()[1]).toMatchObject({ state: 'open', lies: 1 })
  expect(rpc.endpoints()[1]?.why).toMatch(/has other events in blocks .* than their headers/)
})

const spoilt = (set: number) =>
  database.sql`update submission set seq = ${set} where submission_id = ${Buffer.from(id.slice(2), 'hex')}`

it('says nothing where it cannot look', async () => {
  other.fault = () => ({ status: 500 })
  const { stage } = stageOf()
  await stage.sample(NEVER)
  expect(stage.status).toMatchObject({ ranges: 1, failed: 1, refuted: 0, unresolved: 0 })
})

it('decides nothing where endpoints disagree about a final block', async () => {
  await spoilt(77)
  // The range is read in truth; asked once more, each block has another hash.
  const seen = new Set<unknown>()
  other.fault = ({ method, params }, { result }) => {
    if (method !== 'eth_getBlockByNumber') return undefined
    if (!seen.has(params[0])) {
      seen.add(params[0])
      return undefined
    }
    return { result: { ...(result as object), hash: `0x${'ab'.repeat(32)}` } }
  }
  const { stage, rpc } = stageOf({ checkHashes: false })
  await stage.sample(NEVER)
  expect(stage.status).toMatchObject({ ranges: 1, unresolved: 1, refuted: 0 })
  expect(stage.status.last).toMatchObject({ result: 'unresolved' })
  expect(rpc.endpoints().map(({ lies }) => lies)).toEqual([0, 0])
  await spoilt(2)
})

it('stops where the rows are proved wrong', async () => {
  await spoilt(77)
  const { stage, rpc } = stageOf()
  await expect(stage.sample(NEVER)).rejects.toMatchObject({
    code: 'RECHECK_FAILED',
    retryable: false,
    exitCode: 3,
    message: expect.stringMatching(new RegExp(`settlement ${id} that its seq is 2, and 77 is stored here`)),
    details: { field: 'seq', chain: '2', stored: '77' },
  })
  // Nobody is blamed for telling the truth.
  expect(rpc.endpoints().map(({ lies }) => lies)).toEqual([0, 0])
  await spoilt(2)
  await stage.sample(NEVER)
  expect(stage.status).toMatchObject({ ranges: 2, same: 1 })
})

it('ends the indexer, and says why and what to do', async () => {
  await database.sql`update attestation set valid = not valid where submission = (select id from submission where submission_id = ${Buffer.from(id.slice(2), 'hex')})`
  const { stage } = stageOf()
  const indexer = startIndexer(world, database.sql, { anchor: null, recheck: stage })
  await expect(indexer.running).rejects.toMatchObject({
    code: 'RECHECK_FAILED',
    hint: expect.stringContaining('dunes fsck --from-chain'),
  })
  await database.sql`update attestation set valid = not valid where submission = (select id from submission where submission_id = ${Buffer.from(id.slice(2), 'hex')})`
})
