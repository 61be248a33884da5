import type { Sql } from '../../src/graph/connect.ts'
import { loadLogState, writeCheckpoint, writeLeaves } from '../../src/graph/log-store.ts'
import { type CheckpointSigner, signCheckpoint } from '../../src/log/checkpoint.ts'
import { entryOf, ORIGIN } from './graph.ts'

/** Adds the entries of submissions that are final to the log of a filled graph, up to `size`, and publishes a checkpoint. */
export async function growLog(
  sql: Sql,
  size: number,
  signers: readonly CheckpointSigner[],
  timestamp = 1_700_000_000,
): Promise<string> {
  const head = await sql.begin(async (tx) => {
    const state = await loadLogState(tx)
    const rows = await tx`
      select id, index from submission where index >= ${state.size} and index < ${size} order by index`
    if (rows.length !== size - state.size) throw new Error(`there are no submissions up to ${size}`)
    const leaves = rows.map((row) => ({ submission: row['id'] as number, entry: entryOf(row['index']) }))
    return (await writeLeaves(tx, state, leaves)).head
  })
  const note = signCheckpoint({ origin: ORIGIN, ...head, timestamp }, signers)
  await writeCheckpoint(sql, head.size, head.root, note)
  return note
}
