import type { Sql, TransactionSql } from 'postgres'
import { keyPossessionDigest } from '../chain/record.ts'
import type { BlockRef, ChainBlock, ChainEvent, ChainEventType } from '../chain/source.ts'
import { fromHex, type Hex, sha256, toHex } from '../core/bytes.ts'
import { DunesError } from '../core/error.ts'
import type { MlDsa } from '../core/ml-dsa.ts'
import { verifyPossession } from '../maml/possession.ts'
import { parseSchemaFile, type SchemaFile } from '../maml/schema.ts'
import { applySubmissions, inconsistent, type Placed, type SettledNames } from './apply-submissions.ts'
import { type Change, tell, tellProgress } from './changes.ts'
import { numbered, requireNoHoles } from './continuity.ts'
import { behindDatasetView } from './dataset-view.ts'
import { type Columns, insertRows, isCopied, sendTogether } from './insert.ts'
import { ensureReadingTable } from './readings.ts'
import { EDGE } from './schema.ts'

/** What applying needs to know besides the blocks. */
export interface ApplyContext {
  chainId: bigint
  registry: Hex
  mlDsa: MlDsa
}

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
    await Promise.all([requireContinuation(tx, blocks[0] as ChainBlock), requireNoHoles(tx, numbered(of))])
    // Registrations first and in order: submissions of the same run refer to them, and never the other way round.
    for (const event of events) await applyRegistration(tx, event, event.block, context)
    const settled = await applySubmissions(tx, of('submitted'), of('attested'), of('settled'))
    await insertAnchors(tx, of('anchored'))
    const rows = blocks.map((b) => [b.number, b.hash, b.parentHash, b.time])
    // What is told comes last, as it is held until the commit.
    await sendTogether(isCopied(rows), [
      () => insertRows(tx, 'block', BLOCK, rows),
      () => moveHead(tx, last),
      () => tell(tx, changesOf(events, settled)),
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
    const [head] = await tx`select head_number from cursor for update`
    const [block] = await tx`select hash from block where number = ${upTo.number}`
    if (upTo.number > (head?.['head_number'] ?? -1) || (block && toHex(block['hash']) !== upTo.hash))
      throw inconsistent(`block ${upTo.number} became final as ${upTo.hash}, which is not applied`)
    await tx`
      update cursor set final_number = ${upTo.number}, final_hash = ${fromHex(upTo.hash)}, final_time = ${upTo.time}
      where final_number < ${upTo.number}`
    await tx`delete from block where number < ${upTo.number}`
    await tellProgress(tx)
  })
}

async function contributorId(tx: TransactionSql, account: Hex, block: number): Promise<number> {
  const bytes = fromHex(account, 20)
  await tx`insert into contributor (account, block) values (${bytes}, ${block}) on conflict do nothing`
  const [row] = await tx`select id from contributor where account = ${bytes}`
  return row?.['id'] as number
}

async function applyRegistration(
  tx: TransactionSql,
  event: ChainEvent,
  block: ChainBlock,
  context: ApplyContext,
): Promise<void> {
  switch (event.type) {
    case 'keyRegistered': {
      const contributor = await contributorId(tx, event.contributor, block.number)
      const digest = keyPossessionDigest({
        chainId: context.chainId,
        registry: context.registry,
        account: event.contributor,
        keyIndex: event.keyIndex,
      })
      const valid = verifyPossession(event.publicKey, digest, event.possession, context.mlDsa)
      await tx`
        insert into contributor_key (contributor, key_index, key_id, public_key, possession, possession_valid, block, log_index)
        values (${contributor}, ${event.keyIndex}, ${fromHex(event.keyId)}, ${event.publicKey}, ${event.possession},
                ${valid}, ${block.number}, ${event.logIndex})`
      return
    }
    case 'keyRevoked': {
      const contributor = await contributorId(tx, event.contributor, block.number)
      await tx`
        update contributor_key set revoked_block = ${block.number}
        where contributor = ${contributor} and key_index = ${event.keyIndex}`
      return
    }
    case 'datasetUpdated': {
      if (event.version === 0) {
        await tx`insert into dataset (name, block) values (${event.name}, ${block.number})`
      }
      const { file, problem } = readSchema(event.schema)
      await tx`
        insert into dataset_version (dataset, version, schema_sha256, schema, schema_name, problem, block, log_index)
        select id, ${event.version}, ${sha256(event.schema)}, ${event.schema}, ${file?.name ?? null}, ${problem},
               ${block.number}, ${event.logIndex}
        from dataset where name = ${event.name}`
      if (file) await behindDatasetView(tx, event.name, () => ensureReadingTable(tx, event.name, file))
      return
    }
    case 'sensorRegistered': {
      const contributor = await contributorId(tx, event.contributor, block.number)
      const [row] = await tx`
        insert into sensor (name, dataset, contributor, h3, block)
        select ${event.name}, id, ${contributor}, ${BigInt.asIntN(64, event.h3Cell).toString()}::numeric::bigint, ${block.number}
        from dataset where name = ${event.dataset}
        returning id, dataset`
      if (!row) throw inconsistent(`sensor ${event.name} belongs to the unknown dataset ${event.dataset}`)
      await tx`
        insert into edge (src, kind, dst, block) values
          (${contributor}, ${EDGE.owns}, ${row['id']}, ${block.number}),
          (${row['id']}, ${EDGE.feeds}, ${row['dataset']}, ${block.number})`
      return
    }
    case 'validatorAdded': {
      const contributor = await contributorId(tx, event.account, block.number)
      await tx`insert into validator (contributor, since_block, since_log) values (${contributor}, ${block.number}, ${event.logIndex})`
      return
    }
    case 'validatorRemoved': {
      const contributor = await contributorId(tx, event.account, block.number)
      await tx`update validator set until_block = ${block.number} where contributor = ${contributor} and until_block is null`
      return
    }
    case 'leafPolicyAdded':
      await tx`
        insert into leaf_policy (first_index, hash, block)
        values (${event.firstIndex}, ${fromHex(event.policyHash)}, ${block.number})`
      return
    default:
      return
  }
}

/** The schema file, or why the bytes are none. */
function readSchema(bytes: Uint8Array): { file: SchemaFile | null; problem: string | null } {
  try {
    return { file: parseSchemaFile(bytes), problem: null }
  } catch (error) {
    if (error instanceof DunesError) return { file: null, problem: error.message }
    throw error
  }
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

async function insertAnchors(tx: TransactionSql, events: Placed<'anchored'>[]): Promise<void> {
  for (const e of events) {
    await tx`
      insert into anchor (seq, size, root, previous_size, chain_hash, block, block_hash, time, tx, log_index)
      values (${e.seq}, ${e.size}, ${fromHex(e.root)}, ${e.previousSize}, ${fromHex(e.chain)}, ${e.block.number},
              ${fromHex(e.block.hash)}, ${e.block.time}, ${fromHex(e.tx)}, ${e.logIndex})`
  }
}
