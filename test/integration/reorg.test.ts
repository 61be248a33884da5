import { afterAll, beforeAll, expect, it } from 'vitest'
import { dumpGraph } from '../support/dump.ts'
import { type TestDatabase, testDatabase } from '../support/postgres.ts'
import {
  type Indexer,
  reading,
  type Station,
  startIndexer,
  startWorld,
  until,
  type World,
} from '../support/world.ts'

let world: World
let database: TestDatabase

/** More blocks than this test makes: nothing becomes final, so every reorganisation is followed. */
const UNFINAL = { anchor: null, confirmations: 1_000 } as const

beforeAll(async () => {
  ;[world, database] = await Promise.all([startWorld(2), testDatabase({ max: 8 })])
}, 60_000)

afterAll(async () => {
  await database?.stop()
  await world?.stop()
})

/** Waits until the chain's newest block is applied and all that settled is judged. */
const caughtUp = (sql: TestDatabase['sql'], indexer: Indexer) =>
  until(
    'the index to catch up',
    async () => {
      const { hash } = await world.rpc<{ hash: string }>('eth_getBlockByNumber', ['latest', false])
      const [row] = await sql`
        select encode(head_hash, 'hex') as head,
               (select count(*) from submission where index is not null and verdict is null) as open from cursor`
      return row && `0x${row['head']}` === hash && row['open'] === 0 ? true : undefined
    },
    indexer,
  )

it('undoes what a reorganisation undid, and replays what took its place', async () => {
  const [first, second] = world.stations as [Station, Station]
  const send = async (station: Station, air: number, valid = true) => {
    const id = await world.submitReading(station, air)
    await world.attest(id, valid)
    return id
  }
  const indexer = startIndexer(world, database.sql, UNFINAL)
  await send(first, 10)
  const pending = await world.submit(first, world.payload(first, [reading(first.sensor, 11)]))
  await caughtUp(database.sql, indexer)

  const fork = await world.rpc('evm_snapshot')
  // On the branch that will go: the pending one settles, a new one is submitted and settled, a sensor and a key appear.
  await world.attest(pending)
  await send(second, 20)
  await (await second.client.registerSensor('helium_009', 'helium_sensors', 5n)).send()
  await (await second.client.prepare('revokeKey', [])).send()
  await caughtUp(database.sql, indexer)
  const abandoned = await dumpGraph(database.sql)
  expect(abandoned['sensor']).toHaveLength(3)

  await world.rpc('evm_revert', [fork])
  // On the branch that stays: the pending one is rejected, at other heights.
  await world.mine(2)
  await world.attest(pending, false)
  await send(second, 21)
  await send(first, 12)
  await world.mine(3)
  await caughtUp(database.sql, indexer)
  const followed = await dumpGraph(database.sql)
  await indexer.stop()

  const straight = await testDatabase({ max: 8 })
  try {
    const loader = startIndexer(world, straight.sql, UNFINAL)
    await caughtUp(straight.sql, loader)
    const expected = await dumpGraph(straight.sql)
    await loader.stop()
    expect(followed).toEqual(expected)
    expect(followed['sensor']).toHaveLength(2)
    expect(followed['submission']).toHaveLength(4)
    expect(followed['reading_helium_sensors']).toHaveLength(3)
    expect(followed).not.toEqual(abandoned)
  } finally {
    await straight.stop()
  }
})
