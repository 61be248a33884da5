import { afterAll, beforeAll, expect, it } from 'vitest'
import type { Hex } from '../../src/core/bytes.ts'
import { fromHex, toHex } from '../../src/core/bytes.ts'
import { mlDsa } from '../../src/core/ml-dsa-native.ts'
import { type LogHead, readEntries, readLogHead } from '../../src/graph/log-store.ts'
import { parseEntry } from '../../src/receipt/entry.ts'
import { type TestDatabase, testDatabase } from '../support/postgres.ts'
import { type Indexer, reading, startIndexer, startWorld, until, type World } from '../support/world.ts'

let world: World
let database: TestDatabase
let indexer: Indexer
const ids: Record<string, Hex> = {}

beforeAll(async () => {
  ;[world, database] = await Promise.all([startWorld(3), testDatabase({ max: 8 })])
  const [first, second, third] = world.stations as [
    World['stations'][0],
    World['stations'][0],
    World['stations'][0],
  ]
  const good = world.payload(first, [reading('helium_001', 85)])
  ids['good'] = await world.submit(first, good)
  await world.attest(ids['good'])
  // The same signed bytes again: settled, validated, and a duplicate.
  ids['repeated'] = await world.submit(first, good)
  await world.attest(ids['repeated'])
  ids['disputed'] = await world.submit(second, world.payload(second, [reading('helium_002', 40)]))
  await world.attest(ids['disputed'], false)
  ids['many'] = await world.submit(
    second,
    world.payload(second, [reading('helium_002', 41), reading('helium_002', 42, '2025-10-01T23:31:00.5Z')]),
  )
  await world.attest(ids['many'])
  // Bytes of their own each: what the store already holds would be found there.
  let unique = 200
  const lost = () => world.payload(second, [reading('helium_002', unique++)])
  ids['missing'] = await world.submit(second, lost(), `${world.host.url}/not-there`)
  await world.attest(ids['missing'])
  world.host.hang.add('/hangs')
  ids['hanging'] = await world.submit(third, lost(), `${world.host.url}/hangs`)
  await world.attest(ids['hanging'])
  ids['refused'] = await world.submit(third, lost(), 'http://user:secret@example.org/x')
  await world.attest(ids['refused'])
  ids['private'] = await world.submit(third, lost(), 'http://127.0.0.1:1/x')
  await world.attest(ids['private'])
  ids['schema'] = await world.submit(third, world.payload(third, [reading('helium_003', 9_999)]))
  await world.attest(ids['schema'])
  ids['other'] = await world.submit(third, world.payload(first, [reading('helium_001', 3)]))
  await world.attest(ids['other'])
  const rotated = new Uint8Array(32).fill(200)
  const before = world.payload(third, [reading('helium_003', 7)])
  await (await third.client.registerKey(rotated, mlDsa)).send()
  ids['revoked'] = await world.submit(third, before)
  await world.attest(ids['revoked'])
  third.seed = rotated
  ids['rotated'] = await world.submit(third, world.payload(third, [reading('helium_003', 8)]))
  await world.attest(ids['rotated'])
  ids['waiting'] = await world.submit(first, world.payload(first, [reading('helium_001', 86)]))
  await world.mine(10)
  indexer = startIndexer(world, database.sql)
}, 120_000)

afterAll(async () => {
  await indexer?.stop()
  await database?.stop()
  await world?.stop()
})

const verdicts: Record<string, [string, string | null]> = {
  good: ['accepted', null],
  repeated: ['rejected', 'DUPLICATE'],
  disputed: ['rejected', 'QUORUM_REJECTED'],
  many: ['accepted', null],
  missing: ['rejected', 'PAYLOAD_UNAVAILABLE'],
  hanging: ['rejected', 'PAYLOAD_UNAVAILABLE'],
  refused: ['rejected', 'URI_REFUSED'],
  private: ['rejected', 'PAYLOAD_UNAVAILABLE'],
  schema: ['rejected', 'SCHEMA_INVALID'],
  other: ['rejected', 'METADATA_MISMATCH'],
  revoked: ['rejected', 'KEY_REVOKED'],
  rotated: ['accepted', null],
}
const settled = Object.keys(verdicts).length

/** The contract's head, once it covers `size` leaves. */
const anchored = (size: number): Promise<LogHead> =>
  until(
    `an anchor of ${size} leaves`,
    async () => {
      const rows =
        await database.sql`select size, root from anchor where size >= ${size} order by seq desc limit 1`
      if (rows[0]) return { size: rows[0]['size'], root: rows[0]['root'] }
      await world.mine(1)
      return undefined
    },
    indexer,
  )

it('takes every submission to an anchored receipt with the right verdict', async () => {
  const head = await anchored(settled)
  expect(head.size).toBe(settled)
  const log = await readLogHead(database.sql)
  expect(toHex(head.root)).toBe(toHex(log.root))
  const entries = (await readEntries(database.sql, 0, settled)).map((bytes) => parseEntry(bytes))
  const found = Object.fromEntries(
    Object.keys(verdicts).map((name) => {
      const { entry } = entries.find((e) => e.entry.submission === ids[name])!
      return [name, [entry.verdict, entry.reason]]
    }),
  )
  expect(found).toEqual(verdicts)
  expect(entries.map(({ entry }) => entry.index)).toEqual(entries.map((_, i) => i))
})

it("stores readings in the dataset's own table, and leaves a pending submission pending", async () => {
  const rows = await database.sql`
    select r.v_air_quality, r.timestamp, s.submission_id from reading_helium_sensors r join submission s on s.id = r.submission
    where s.submission_id = ${fromHex(ids['many'] as Hex)} order by r.position`
  expect(rows.map((row) => [row['v_air_quality'], (row['timestamp'] as Date).toISOString()])).toEqual([
    [41, '2025-10-01T23:30:00.000Z'],
    [42, '2025-10-01T23:31:00.500Z'],
  ])
  const [waiting] =
    await database.sql`select index from submission where submission_id = ${fromHex(ids['waiting'] as Hex)}`
  expect(waiting?.['index']).toBeNull()
})

it('notes beside the leaf what happened to payloads that were not obtained', async () => {
  const rows = await database.sql`
    select s.submission_id, r.what from retrieval r join submission s on s.id = r.submission where r.what is not null`
  const what = new Map(rows.map((row) => [toHex(row['submission_id']), row['what']]))
  expect(what.get(ids['missing'] as Hex)).toBe('status')
  expect(what.get(ids['hanging'] as Hex)).toBe('timeout')
  expect(what.get(ids['private'] as Hex)).toBe('refused-address')
})

it('reaches the same root from another database, other range sizes and a stop in the middle', async () => {
  const head = await anchored(settled)
  const second = await testDatabase({ max: 8 })
  try {
    const halting = startIndexer(world, second.sql, { anchor: null, rangeBlocks: 7 })
    await until(
      'a first leaf or block',
      async () => {
        const [row] = await second.sql`select head_number from cursor`
        return row ? true : undefined
      },
      halting,
    )
    await halting.stop()
    const resumed = startIndexer(world, second.sql, { anchor: null, rangeBlocks: 3 })
    const again = await until(
      'the whole log',
      async () => {
        const log = await readLogHead(second.sql)
        if (log.size >= settled) return log
        await world.mine(1)
        return undefined
      },
      resumed,
    )
    expect(toHex(again.root)).toBe(toHex(head.root))
    await resumed.stop()
    const entries = await readEntries(second.sql, 0, settled)
    expect(entries).toEqual(await readEntries(database.sql, 0, settled))
  } finally {
    await second.stop()
  }
})

it('stops with its reason when a leaf policy is in force that this version cannot execute', async () => {
  const third = await testDatabase({ max: 8 })
  try {
    const first = startIndexer(world, third.sql, { anchor: null })
    await until('leaf policies', async () => {
      const [row] = await third.sql`select 1 from leaf_policy`
      return row ? true : undefined
    })
    await first.stop()
    await third.sql`update leaf_policy set hash = ${new Uint8Array(32).fill(7)}`
    const second = startIndexer(world, third.sql, { anchor: null })
    await expect(second.running).rejects.toMatchObject({ code: 'LEAF_POLICY_UNKNOWN' })
  } finally {
    await third.stop()
  }
})
