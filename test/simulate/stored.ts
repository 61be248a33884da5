import type { Sql } from '../../src/graph/connect.ts'
import { byJson, type Row } from './loader.ts'

/**
 * What the database holds, table for table, with the chain's names in place of internal ids and in the loader's order. Left out is what
 * nobody can foretell: how often a payload was asked for (`retrieval`), at which sizes checkpoints were signed, and transactions on
 * their way (`anchor_tx`).
 */
export async function readStored(
  sql: Sql,
): Promise<{ tables: Record<string, Row[]>; columns: Record<string, Record<string, string>> }> {
  const tables: Record<string, Row[]> = {}
  const read = async (table: string, query: string) => {
    const rows = await sql.unsafe(query)
    tables[table] = byJson(rows.map((row) => ({ ...row }) as Row))
  }
  const hex = (column: string, name = column.replace(/^.*\./, '')) => `encode(${column}, 'hex') as "${name}"`
  const digest = (column: string) =>
    `'0x' || encode(sha256(${column}), 'hex') as "${column.replace(/^.*\./, '')}"`
  const named = `
    (select id, 'contributor ' || encode(account, 'hex') as name from contributor
     union all select id, 'sensor ' || name from sensor union all select id, 'dataset ' || name from dataset
     union all select id, 'submission ' || encode(submission_id, 'hex') from submission)`
  await read(
    'deployment',
    `select chain, ${hex('registry')}, ${hex('anchor')}, origin, start_block, ${hex('start_hash')} from deployment`,
  )
  await read(
    'cursor',
    `select head_number, ${hex('head_hash')}, head_time, final_number, ${hex('final_hash')}, final_time from cursor`,
  )
  await read('block', `select number, ${hex('hash')}, ${hex('parent_hash')}, time from block`)
  await read('contributor', `select ${hex('account')}, block from contributor`)
  await read(
    'contributor_key',
    `select ${hex('c.account')}, k.key_index, ${hex('k.key_id')}, ${digest('k.public_key')}, ${digest('k.possession')},
            k.possession_valid, k.block, k.log_index, k.revoked_block
     from contributor_key k join contributor c on c.id = k.contributor`,
  )
  await read(
    'validator',
    `select ${hex('c.account')}, v.since_block, v.since_log, v.until_block
     from validator v join contributor c on c.id = v.contributor`,
  )
  await read('dataset', 'select name, block from dataset')
  await read(
    'dataset_version',
    `select d.name as dataset, v.version, ${hex('v.schema_sha256')}, ${digest('v.schema')}, v.schema_name, v.problem, v.block, v.log_index
     from dataset_version v join dataset d on d.id = v.dataset`,
  )
  await read(
    'sensor',
    `select s.name, d.name as dataset, ${hex('c.account')}, s.h3::text as h3, s.block
     from sensor s join dataset d on d.id = s.dataset join contributor c on c.id = s.contributor`,
  )
  await read(
    'submission',
    `select ${hex('u.submission_id', 'submission')}, ${hex('c.account')}, s.name as sensor, d.name as dataset,
            ${hex('u.schema_sha256')}, ${hex('u.payload_sha256')}, u.payload_bytes, ${hex('u.uri')}, ${hex('u.key_id')},
            u.nonce, u.quorum, u.submitted_block, u.submitted_log, ${hex('u.submitted_tx')}, u.submitted_time, u.index, u.seq,
            u.outcome, ${hex('u.record')}, ${hex('u.acc')}, u.settled_block, ${hex('u.settled_hash')}, u.settled_log,
            ${hex('u.settled_tx')}, u.settled_time, u.verdict, u.reason, u.observed, ${hex('u.signed_sha256')},
            u.judgement -> 'read' as read
     from submission u join contributor c on c.id = u.contributor join sensor s on s.id = u.sensor
       join dataset d on d.id = u.dataset`,
  )
  await read(
    'attestation',
    `select ${hex('u.submission_id', 'submission')}, ${hex('c.account')}, a.valid, a.block, a.log_index, ${hex('a.tx')}
     from attestation a join submission u on u.id = a.submission join contributor c on c.id = a.validator`,
  )
  await read(
    'edge',
    `select coalesce(a.name, 'nothing') as src, e.kind, coalesce(b.name, 'nothing') as dst, e.block
     from edge e left join ${named} a on a.id = e.src left join ${named} b on b.id = e.dst`,
  )
  await read('payload', `select ${hex('sha256')}, ${digest('bytes')} from payload`)
  await read(
    'leaf',
    `select l.index, ${hex('u.submission_id', 'submission')}, ${hex('l.entry')}
     from leaf l join submission u on u.id = l.submission`,
  )
  await read('tile', `select level, index, ${hex('hashes')} from tile`)
  await read('log_head', `select size, ${hex('root')} from log_head`)
  await read(
    'anchor',
    `select seq, size, ${hex('root')}, previous_size, ${hex('chain_hash')}, block, ${hex('block_hash')}, time, ${hex('tx')}, log_index
     from anchor`,
  )
  await read('leaf_policy', `select first_index, ${hex('hash')}, block from leaf_policy`)

  const columns: Record<string, Record<string, string>> = {}
  const found = await sql`
    select table_name as table, column_name as name, data_type as type from information_schema.columns
    where table_schema = current_schema() and table_name like 'reading\\_%' order by 1, 2`
  for (const { table, name, type } of found) {
    columns[table] ??= {}
    if ((name as string).startsWith('v_')) (columns[table] as Record<string, string>)[name] = type
  }
  for (const table of Object.keys(columns)) {
    const values = Object.keys(columns[table] as Record<string, string>)
    await read(
      table,
      `select ${hex('u.submission_id', 'submission')}, r.position, r.sensor_id,
              to_char(r.timestamp at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as timestamp
              ${values.map((name) => `, r."${name}"`).join('')}
       from "${table}" r join submission u on u.id = r.submission`,
    )
  }
  return { tables, columns }
}

/** Tables of the schema that the comparison knows; one that nobody has thought of fails the set. */
export const KNOWN_TABLES: ReadonlySet<string> = new Set([
  ...[
    'deployment',
    'cursor',
    'block',
    'contributor',
    'contributor_key',
    'validator',
    'dataset',
    'dataset_version',
  ],
  ...[
    'sensor',
    'submission',
    'attestation',
    'edge',
    'payload',
    'leaf',
    'tile',
    'log_head',
    'anchor',
    'leaf_policy',
  ],
  // Checked by rules of their own, in check.ts.
  ...[
    'checkpoint',
    'change',
    'retrieval',
    'receipt_signature',
    'anchor_tx',
    'feed',
    'restored_checkpoint',
    'restored_leaf',
  ],
])
