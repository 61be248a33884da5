import type { ChainBlock, ChainEvent } from '../chain/source.ts'
import { type Hex, toHex } from '../core/bytes.ts'
import type { Db } from './cursor.ts'
import { OUTCOMES } from './schema.ts'

/** One thing that the chain says, with its values as text, so that what was read can be held against what is stored. */
export interface Statement {
  /** What it is about and where it stands: the same for no two. */
  readonly name: string
  readonly block: number
  readonly values: Readonly<Record<string, string>>
}

/** Where stored rows and the chain differ. Null stands for what is not there at all. */
export interface StatementDifference {
  readonly name: string
  readonly block: number
  readonly field: string
  readonly chain: string | null
  readonly stored: string | null
}

/** How the re-checks have gone since the start. */
export interface RecheckStatus {
  /** Ranges read again, and how many of them were the same. */
  ranges: number
  same: number
  /** Differences in which the header proved the endpoint wrong. */
  refuted: number
  /** Differences that nobody could decide, and ranges that could not be read. */
  unresolved: number
  failed: number
  last: { from: number; to: number; endpoint: string; at: number; result: string } | null
}

/** What blocks say, of all kinds that rows are made of. */
export const statementsOf = (blocks: readonly ChainBlock[]): Statement[] =>
  blocks.flatMap((block) => block.events.flatMap((event) => statementOf(event, block) ?? []))

function statementOf(event: ChainEvent, block: ChainBlock): Statement | null {
  const place = { block: `${block.number}`, log: `${event.logIndex}` }
  const make = (name: string, values: Record<string, string>): Statement => ({
    name,
    block: block.number,
    values: { ...place, ...values },
  })
  switch (event.type) {
    case 'submitted':
      return make(`submission ${event.id}`, {
        tx: event.tx,
        contributor: event.contributor,
        nonce: `${event.nonce}`,
        sensor: event.sensor,
        dataset: event.dataset,
        schema: event.schemaSha256,
        payload: event.payloadHash,
        bytes: `${event.payloadBytes}`,
        uri: toHex(event.uriBytes),
        key: event.keyId,
        quorum: `${event.quorum}`,
      })
    case 'settled':
      return make(`settlement ${event.id}`, {
        tx: event.tx,
        hash: block.hash,
        time: `${block.time}`,
        index: `${event.index}`,
        seq: `${event.seq}`,
        outcome: event.outcome,
        record: event.record,
        acc: event.acc,
      })
    case 'attested':
      return make(`attestation ${event.id} ${event.validator}`, { tx: event.tx, valid: `${event.valid}` })
    case 'anchored':
      return make(`anchor ${event.seq}`, {
        tx: event.tx,
        hash: block.hash,
        size: `${event.size}`,
        root: event.root,
        chain: event.chain,
      })
    case 'keyRegistered':
      return make(`key ${event.keyIndex} of ${event.contributor}`, { key: event.keyId })
    case 'datasetUpdated':
      return make(`version ${event.version} of ${event.name}`, { schema: event.schemaSha256 })
    default:
      return null
  }
}

/** What is stored of the blocks from `from` to `to`, both included: the rows that {@link statementsOf} speaks of. */
export async function readStatements(sql: Db, from: number, to: number): Promise<Statement[]> {
  const [submitted, settled, attested, anchors, keys, versions] = await Promise.all([
    sql`select u.submission_id, u.submitted_block, u.submitted_log, u.submitted_tx, c.account, u.nonce, s.name as sensor, d.name as dataset,
               u.schema_sha256, u.payload_sha256, u.payload_bytes, u.uri, u.key_id, u.quorum
        from submission u join contributor c on c.id = u.contributor join sensor s on s.id = u.sensor join dataset d on d.id = u.dataset
        where u.submitted_block between ${from} and ${to}`,
    sql`select submission_id, settled_block, settled_log, settled_tx, settled_hash, settled_time, index, seq, outcome, record, acc
        from submission where settled_block between ${from} and ${to}`,
    sql`select u.submission_id, c.account, a.block, a.log_index, a.tx, a.valid
        from attestation a join submission u on u.id = a.submission join contributor c on c.id = a.validator
        where a.block between ${from} and ${to}`,
    sql`select seq, block, log_index, tx, block_hash, size, root, chain_hash from anchor where block between ${from} and ${to}`,
    sql`select k.key_index, c.account, k.block, k.log_index, k.key_id
        from contributor_key k join contributor c on c.id = k.contributor where k.block between ${from} and ${to}`,
    sql`select v.version, d.name, v.block, v.log_index, v.schema_sha256
        from dataset_version v join dataset d on d.id = v.dataset where v.block between ${from} and ${to}`,
  ])
  const hex = (value: unknown): Hex => toHex(value as Uint8Array)
  const make = (name: string, block: number, log: number, values: Record<string, string>): Statement => ({
    name,
    block,
    values: { block: `${block}`, log: `${log}`, ...values },
  })
  return [
    ...submitted.map((r) =>
      make(`submission ${hex(r['submission_id'])}`, r['submitted_block'], r['submitted_log'], {
        tx: hex(r['submitted_tx']),
        contributor: hex(r['account']),
        nonce: `${r['nonce']}`,
        sensor: r['sensor'],
        dataset: r['dataset'],
        schema: hex(r['schema_sha256']),
        payload: hex(r['payload_sha256']),
        bytes: `${r['payload_bytes']}`,
        uri: hex(r['uri']),
        key: hex(r['key_id']),
        quorum: `${r['quorum']}`,
      }),
    ),
    ...settled.map((r) =>
      make(`settlement ${hex(r['submission_id'])}`, r['settled_block'], r['settled_log'], {
        tx: hex(r['settled_tx']),
        hash: hex(r['settled_hash']),
        time: `${r['settled_time']}`,
        index: `${r['index']}`,
        seq: `${r['seq']}`,
        outcome: OUTCOMES[r['outcome'] - 1] ?? `${r['outcome']}`,
        record: hex(r['record']),
        acc: hex(r['acc']),
      }),
    ),
    ...attested.map((r) =>
      make(`attestation ${hex(r['submission_id'])} ${hex(r['account'])}`, r['block'], r['log_index'], {
        tx: hex(r['tx']),
        valid: `${r['valid']}`,
      }),
    ),
    ...anchors.map((r) =>
      make(`anchor ${r['seq']}`, r['block'], r['log_index'], {
        tx: hex(r['tx']),
        hash: hex(r['block_hash']),
        size: `${r['size']}`,
        root: hex(r['root']),
        chain: hex(r['chain_hash']),
      }),
    ),
    ...keys.map((r) =>
      make(`key ${r['key_index']} of ${hex(r['account'])}`, r['block'], r['log_index'], {
        key: hex(r['key_id']),
      }),
    ),
    ...versions.map((r) =>
      make(`version ${r['version']} of ${r['name']}`, r['block'], r['log_index'], {
        schema: hex(r['schema_sha256']),
      }),
    ),
  ]
}

/** Every difference between what the chain says and what is stored, by block. */
export function compareStatements(
  chain: readonly Statement[],
  stored: readonly Statement[],
): StatementDifference[] {
  const byName = new Map(stored.map((statement) => [statement.name, statement]))
  const out: StatementDifference[] = []
  for (const { name, block, values } of chain) {
    const row = byName.get(name)
    byName.delete(name)
    if (!row) {
      out.push({ name, block, field: 'it', chain: 'there', stored: null })
      continue
    }
    for (const field of Object.keys(values)) {
      const [is, was] = [values[field] as string, row.values[field] ?? null]
      if (is !== was) out.push({ name, block, field, chain: is, stored: was })
    }
  }
  for (const { name, block } of byName.values())
    out.push({ name, block, field: 'it', chain: null, stored: 'there' })
  return out.sort((a, b) => a.block - b.block)
}
