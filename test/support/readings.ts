import type { TransactionSql } from 'postgres'
import type { JsonObject } from '../../src/core/json.ts'
import type { Sql } from '../../src/graph/connect.ts'
import {
  ensureReadingTable,
  holdReadingTable,
  insertReadings,
  type SubmissionReadings,
} from '../../src/graph/readings.ts'
import { parseSchemaFile } from '../../src/maml/schema.ts'
import { SCHEMA } from './graph.ts'

/** Adds readings to a dataset's table as it is now. */
export const addReadings = async (
  tx: TransactionSql,
  dataset: string,
  items: readonly SubmissionReadings[],
): Promise<void> => insertReadings(tx, dataset, await holdReadingTable(tx, dataset), items)

/** Adds readings of `helium_sensors` to a graph that `fillGraph` has filled, by the index of their submission. */
export async function fillReadings(
  sql: Sql,
  readings: ReadonlyMap<number, readonly JsonObject[]>,
): Promise<void> {
  const file = parseSchemaFile(SCHEMA)
  await sql.begin(async (tx) => {
    await ensureReadingTable(tx, 'helium_sensors', file)
    for (const [index, own] of readings) {
      const [row] = await tx`select id from submission where index = ${index}`
      await addReadings(tx, 'helium_sensors', [{ submission: row?.['id'], file, readings: own }])
    }
  })
}
