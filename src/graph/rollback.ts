import type { Sql, TransactionSql } from 'postgres'
import type { BlockRef } from '../chain/source.ts'
import { fromHex } from '../core/bytes.ts'
import { DunesError } from '../core/error.ts'
import { parseSchemaFile } from '../maml/schema.ts'
import { readUndone, tell } from './changes.ts'
import { behindDatasetView } from './dataset-view.ts'
import { narrowReadingTable, readingTable } from './readings.ts'

/**
 * Undoes every block above `to` and moves the cursor back, in one transaction: afterwards the graph is what it would be
 * had those blocks never been seen. Throws `GRAPH_INCONSISTENT` where that would undo what is final.
 */
export async function rollback(sql: Sql, to: BlockRef): Promise<void> {
  await sql.begin(async (tx) => {
    const [position] = await tx`select final_number from cursor for update`
    if (position && to.number < position['final_number']) {
      throw new DunesError(
        'GRAPH_INCONSISTENT',
        `a rollback to block ${to.number} would undo final block ${position['final_number']}`,
        {
          hint: 'the chain was reorganised beyond its own finality; see docs/operating.md',
          exitCode: 3,
        },
      )
    }
    const above = to.number
    const undone = await readUndone(tx, to)
    // Unsettle first: the row locks make a judgement that is being written finish, so that the next lines see its readings.
    const unsettled = await tx`
      update submission set index = null, seq = null, outcome = null, record = null, acc = null, settled_block = null,
        settled_hash = null, settled_log = null, settled_tx = null, settled_time = null, verdict = null, reason = null,
        observed = false, judgement = null, signed_sha256 = null
      where settled_block > ${above} returning id, dataset`
    const ids = unsettled.map((row) => row['id'] as number)
    const touched = await tx`
      select name from dataset d where id = any(${unsettled.map((row) => row['dataset'])}::bigint[])
        and to_regclass(quote_ident('reading_' || name)) is not null`
    for (const { name } of touched) {
      await tx`delete from ${tx(readingTable(name))} where submission = any(${ids}::bigint[])`
    }
    await tx`delete from retrieval where submission = any(${ids}::bigint[])`
    await tx`delete from edge where block > ${above}`
    await tx`delete from attestation where block > ${above}`
    await tx`delete from submission where submitted_block > ${above}`
    await tx`delete from sensor where block > ${above}`
    await undoSchemas(tx, above)
    await tx`delete from dataset where block > ${above}`
    await tx`update contributor_key set revoked_block = null where revoked_block > ${above}`
    await tx`delete from contributor_key where block > ${above}`
    await tx`update validator set until_block = null where until_block > ${above}`
    await tx`delete from validator where since_block > ${above}`
    await tx`delete from contributor where block > ${above}`
    await tx`delete from anchor where block > ${above}`
    await tx`delete from leaf_policy where block > ${above}`
    await tx`delete from block where number > ${above}`
    await tx`
      update cursor set head_number = ${to.number}, head_hash = ${fromHex(to.hash)}, head_time = ${to.time}`
    await tell(tx, undone)
  })
}

/** Forgets schema versions above a block, and what they made of the tables of readings. */
async function undoSchemas(tx: TransactionSql, above: number): Promise<void> {
  const undone = await tx`
    with gone as (delete from dataset_version where block > ${above} returning dataset)
    select distinct d.id, d.name from gone join dataset d on d.id = gone.dataset order by d.name`
  for (const { id, name } of undone) {
    const rows = await tx`
      select schema from dataset_version where dataset = ${id} and problem is null order by version`
    const files = rows.map((row) => parseSchemaFile(new Uint8Array(row['schema'])))
    await behindDatasetView(tx, name, () => narrowReadingTable(tx, name, files))
  }
}
