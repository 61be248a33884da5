import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ChainBlock, ChainEvent } from '../../src/chain/source.ts'
import type { Hex } from '../../src/core/bytes.ts'
import { mlDsa } from '../../src/core/ml-dsa-native.ts'
import { applyBlocks } from '../../src/graph/apply.ts'
import { readPosition } from '../../src/graph/cursor.ts'
import { ALICE, BOB, deployment, fillGraph, hashOf, SCHEMA, submissionId } from '../support/graph.ts'
import { type TestDatabase, testDatabase } from '../support/postgres.ts'
import { startRpcProxy } from '../support/rpc-proxy.ts'
import { startIndexer, startWorld, until } from '../support/world.ts'

// The made-up graph holds 4 submissions, Alice's 0 and 2 and Bob's 1 and 3, of which the first three are settled.
let database: TestDatabase
beforeAll(async () => {
  database = await testDatabase()
  await fillGraph(database.sql, { submitted: 4, settled: 3, final: 2, logged: 1, anchored: 1 })
})
afterAll(() => database.stop())

const context = { chainId: 31337n, registry: deployment.registry, mlDsa }
const place = (logIndex: number) => ({ tx: hashOf(`tx of log ${logIndex}`), logIndex })
const submitted = (nonce: number, account = ALICE): ChainEvent => ({
  ...place(nonce),
  type: 'submitted',
  id: hashOf(`${account.sensor} ${nonce}`),
  contributor: account.account,
  nonce,
  sensor: account.sensor,
  dataset: 'helium_sensors',
  schemaSha256: hashOf('schema'),
  payloadHash: hashOf('payload'),
  payloadBytes: 1,
  uriBytes: new Uint8Array(),
  keyId: hashOf('key'),
  quorum: 1,
})
const settled = (index: number, seq: number, account = BOB, id = submissionId(3)): ChainEvent => ({
  ...place(100 + index),
  type: 'settled',
  id,
  contributor: account.account,
  index,
  seq,
  outcome: 'expired',
  record: hashOf('record'),
  acc: hashOf('acc'),
})
const anchored = (seq: number, previousSize: number): ChainEvent => ({
  ...place(200 + seq),
  type: 'anchored',
  seq,
  size: previousSize + 1,
  root: hashOf('root'),
  previousSize,
  previousRoot: hashOf('before'),
  chain: hashOf('chain'),
})
const updated = (version: number): ChainEvent => ({
  ...place(300 + version),
  type: 'datasetUpdated',
  name: 'helium_sensors',
  version,
  schemaSha256: hashOf('schema'),
  schema: SCHEMA,
})
const key = (keyIndex: number): ChainEvent => ({
  ...place(400 + keyIndex),
  type: 'keyRegistered',
  contributor: ALICE.account,
  keyIndex,
  keyId: hashOf(`key ${keyIndex}`),
  publicKey: new Uint8Array(1952),
  possession: new Uint8Array(3309),
})

const apply = async (events: ChainEvent[]): Promise<void> => {
  const head = (await readPosition(database.sql))?.head
  if (!head) throw new Error('the graph is empty')
  const number = head.number + 1
  const block: ChainBlock = {
    number,
    hash: hashOf(`later block ${number}`),
    parentHash: head.hash,
    time: head.time,
    events,
  }
  await applyBlocks(database.sql, [block], context)
}

describe('a run of events that leaves one out', () => {
  it.each<[string, ChainEvent[], string]>([
    ['a submission', [submitted(3)], 'submission 3 of 0x0a'],
    ['a submission within the run', [submitted(2), submitted(4)], 'submission 4 of 0x0a'],
    ['a submission, by one that comes again', [submitted(1)], 'submission 1 of 0x0a'],
    ['a settlement of the contributor', [settled(3, 2)], 'settlement 2 of 0x0b'],
    ['a settlement', [settled(4, 1)], 'settled index 4 came where 3 was due'],
    ['an anchor', [anchored(3, 2)], 'anchor 3 does not follow anchor 1'],
    ['an anchor, by its size', [anchored(2, 2)], 'anchor 2 does not follow anchor 1'],
    ['a version', [updated(2)], 'version 2 of helium_sensors came where number 1 was due'],
    ['a key', [key(2)], 'key 2 of 0x0a'],
  ])('%s is refused, and nothing is written', async (_, events, message) => {
    const before = await readPosition(database.sql)
    await expect(apply(events)).rejects.toMatchObject({ code: 'GRAPH_INCONSISTENT', retryable: true })
    await expect(apply(events)).rejects.toThrow(message)
    expect(await readPosition(database.sql)).toEqual(before)
  })

  it('is not what a whole one is', async () => {
    await apply([
      submitted(2),
      submitted(3),
      submitted(2, BOB),
      settled(3, 1),
      anchored(2, 1),
      anchored(3, 2),
    ])
    await apply([updated(1), updated(2), key(1)])
    await expect(apply([submitted(3)])).rejects.toThrow('number 4 was due')
  })
})

describe('an endpoint that leaves single logs out', () => {
  it('is found by the running numbers and left, and another one tells the rest', async () => {
    const world = await startWorld(3)
    const liar = await startRpcProxy(world.rpcUrl)
    const fresh = await testDatabase({ max: 8 })
    try {
      // All in one block each, so that its bloom says nothing of the one that is missing.
      await world.rpc('evm_setAutomine', [false])
      const ids: string[] = []
      const sent = world.stations.map((station, i) => world.submitReading(station, i))
      await until('all to be sent', async () => {
        const pool = await world.rpc<{ pending: string }>('txpool_status')
        return Number(pool.pending) === 3 ? true : undefined
      })
      await world.mine(1)
      await world.rpc('evm_setAutomine', [true])
      for (const id of await Promise.all(sent)) {
        ids.push(id)
        await world.attest(id as Hex)
      }
      await world.mine(3)
      let dropped = 0
      liar.fault = ({ method }, { result }) => {
        if (method !== 'eth_getLogs') return undefined
        const logs = result as { topics: Hex[] }[]
        // One of three: the second one's submission.
        const kept = logs.filter(
          (log) =>
            !(
              log.topics[1] === ids[1] &&
              log.topics.length === 3 &&
              log.topics[0] === logs.find((l) => l.topics[1] === ids[0])?.topics[0]
            ),
        )
        dropped += logs.length - kept.length
        return { result: kept }
      }
      const indexer = startIndexer(world, fresh.sql, { anchor: null, rpcUrls: [liar.url, world.rpcUrl] })
      await until(
        'three leaves',
        async () => {
          await world.mine(1)
          const [row] = await fresh.sql`select size from log_head`
          return row?.['size'] === 3 ? true : undefined
        },
        indexer,
      )
      await indexer.stop()
      expect(dropped).toBeGreaterThan(0)
      expect(await fresh.sql`select count(*) from submission`).toMatchObject([{ count: 3 }])
    } finally {
      await fresh.stop()
      await liar.stop()
      await world.stop()
    }
  })
})
