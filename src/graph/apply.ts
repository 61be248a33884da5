import type { Sql, TransactionSql } from 'postgres'
import type { BlockRef, ChainBlock, ChainEvent, ChainEventType } from '../chain/source.ts'
import { fromHex, toHex } from '../core/bytes.ts'
import { type ApplyContext, applyRegistrations, isRegistration } from './apply-registrations.ts'
import {
  ATTESTATION,
  EDGE_COLUMNS,
  inconsistent,
  type Placed,
  readKnown,
  type SettledNames,
  SUBMISSION,
  settleEarlier,
  submissionRows,
} from './apply-submissions.ts'
import { type Change, tell, tellProgress } from './changes.ts'
import { numbered, requireNoHoles } from './continuity.ts'
import { type Cell, type Columns, insertRows, isCopied, planOnce, sendTogether } from './insert.ts'

/**
 * Applies a run of blocks that continues the cursor, and moves the cursor, in one transaction. Nothing is written when
 * anything throws: `GRAPH_INCONSISTENT` where the run does not continue what is here, or where one of the contracts' running
 * numbers has a hole.
 */
export async function applyBlocks(
  sql: Sql,
  blocks: readonly ChainBlock[],
  context: ApplyContext,
): Promise<void> {
  const last = blocks.at(-1)
  if (!last) return
  await sql.begin(async (tx) => {
    const events = blocks.flatMap((block) => block.events.map((event) => ({ ...event, block })))
    const of = <T extends ChainEventType>(type: T) =>
      events.filter((event) => event.type === type) as unknown as Placed<T>[]
    const run = { submitted: of('submitted'), attested: of('attested'), settled: of('settled') }
    const registers = events.some(isRegistration)
    // Sent together: they wait for one answer. The cursor is held before the others look.
    const [, , , before] = await Promise.all([
      planOnce(tx),
      requireContinuation(tx, blocks[0] as ChainBlock),
      requireNoHoles(tx, numbered(of)),
      registers ? null : readKnown(tx, run),
    ])
    // Registrations first: submissions of the same run refer to them, and never the other way round.
    if (registers) await applyRegistrations(tx, events, context)
    const rows = submissionRows(before ?? (await readKnown(tx, run)), run)
    const blockRows = blocks.map((b) => [b.number, b.hash, b.parentHash, b.time])
    const { submissions, attestations, edges, earlier, names } = rows
    const anchors = of('anchored').map(anchorRow)
    await sendTogether([submissions, attestations, edges, anchors, blockRows].some(isCopied), [
      () => settleEarlier(tx, earlier),
      () => insertRows(tx, 'submission', SUBMISSION, submissions),
      () => insertRows(tx, 'attestation', ATTESTATION, attestations),
      () => insertRows(tx, 'edge', EDGE_COLUMNS, edges),
      () => insertRows(tx, 'anchor', ANCHOR, anchors),
      () => insertRows(tx, 'block', BLOCK, blockRows),
      () => moveHead(tx, last),
      // What is told comes last, as it is held until the commit.
      () => tell(tx, changesOf(events, names)),
    ])
  })
}

const BLOCK: Columns = { number: 'int8', hash: 'hex', parent_hash: 'hex', time: 'int8' }

/** What the events change for submissions, in their order. */
function changesOf(events: readonly (ChainEvent & { block: ChainBlock })[], settled: SettledNames): Change[] {
  const changes: Change[] = []
  for (const event of events) {
    const block = event.block.number
    if (event.type === 'submitted') {
      const { id: submission, contributor, sensor, dataset } = event
      changes.push({ kind: 'submitted', submission, contributor, sensor, dataset, block })
    } else if (event.type === 'settled') {
      const { id: submission, contributor, index, outcome } = event
      const names = settled.get(index)
      if (names) changes.push({ kind: 'settled', submission, contributor, ...names, block, index, outcome })
    }
  }
  return changes
}

async function requireContinuation(tx: TransactionSql, first: ChainBlock): Promise<void> {
  const [head] = await tx`select head_number, head_hash from cursor for update`
  if (!head) return
  const number = head['head_number'] as number
  if (first.number !== number + 1 || first.parentHash !== toHex(head['head_hash'])) {
    throw inconsistent(`block ${first.number} does not continue the applied block ${number}`)
  }
}

async function moveHead(tx: TransactionSql, head: BlockRef): Promise<void> {
  await tx`
    insert into cursor (head_number, head_hash, head_time, final_number, final_hash, final_time)
    values (${head.number}, ${fromHex(head.hash)}, ${head.time}, -1, ${new Uint8Array(32)}, 0)
    on conflict (singleton) do update set head_number = excluded.head_number, head_hash = excluded.head_hash, head_time = excluded.head_time`
}

/**
 * Moves finality up to `upTo`, which was applied before, and forgets the older blocks that no reorg can reach. Throws
 * `GRAPH_INCONSISTENT` where another block is applied at its height, or none so high.
 */
export async function applyFinal(sql: Sql, upTo: BlockRef): Promise<void> {
  await sql.begin(async (tx) => {
    // Sent together, as in all that live events wait for. The cursor is held before the other looks.
    const [[head], [block]] = await Promise.all([
      tx`select head_number from cursor for update`,
      tx`select hash from block where number = ${upTo.number}`,
    ])
    if (upTo.number > (head?.['head_number'] ?? -1) || (block && toHex(block['hash']) !== upTo.hash))
      throw inconsistent(`block ${upTo.number} became final as ${upTo.hash}, which is not applied`)
    await sendTogether(false, [
      async () =>
        tx`
        update cursor set final_number = ${upTo.number}, final_hash = ${fromHex(upTo.hash)}, final_time = ${upTo.time}
        where final_number < ${upTo.number}`.execute(),
      async () => tx`delete from block where number < ${upTo.number}`.execute(),
      () => tellProgress(tx),
    ])
  })
}

interface EdgeRow {
  src: number
  kind: number
  dst: number
  block: number
}

/** Adds edges in bulk; an edge that exists stays as it is. */
export async function insertEdges(tx: TransactionSql, edges: EdgeRow[]): Promise<void> {
  if (edges.length === 0) return
  await tx`
    insert into edge (src, kind, dst, block)
    select * from unnest(${edges.map((e) => e.src)}::bigint[], ${edges.map((e) => e.kind)}::smallint[],
                         ${edges.map((e) => e.dst)}::bigint[], ${edges.map((e) => e.block)}::bigint[])
    on conflict do nothing`
}

const ANCHOR: Columns = {
  seq: 'int8',
  size: 'int8',
  root: 'hex',
  previous_size: 'int8',
  chain_hash: 'hex',
  block: 'int8',
  block_hash: 'hex',
  time: 'int8',
  tx: 'hex',
  log_index: 'int4',
}

const anchorRow = (e: Placed<'anchored'>): Cell[] => [
  e.seq,
  e.size,
  e.root,
  e.previousSize,
  e.chain,
  e.block.number,
  e.block.hash,
  e.block.time,
  e.tx,
  e.logIndex,
]
