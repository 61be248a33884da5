import { expect } from 'vitest'
import type { Sql } from '../../src/graph/connect.ts'
import { dumpGraph } from './dump.ts'
import { testDatabase } from './postgres.ts'
import { startIndexer, until, type World } from './world.ts'

const TABLES = ['submission', 'attestation', 'edge', 'leaf', 'tile', 'log_head', 'reading_helium_sensors']

/** Expects of a database whose log has `size` leaves that an indexer which nothing befell comes to the same rows. */
export async function expectStraightLoad(world: World, sql: Sql, size: number): Promise<void> {
  const found = await dumpGraph(sql)
  const fresh = await testDatabase({ max: 8 })
  try {
    const straight = startIndexer(world, fresh.sql, { anchor: null })
    await until(
      'the whole log',
      async () => {
        await world.mine(1)
        const [row] = await fresh.sql`select size from log_head`
        return row?.['size'] === size ? true : undefined
      },
      straight,
    )
    await straight.stop()
    const expected = await dumpGraph(fresh.sql)
    expect(found['leaf']).toHaveLength(size)
    for (const table of TABLES) expect(found[table], table).toEqual(expected[table])
  } finally {
    await fresh.stop()
  }
}
