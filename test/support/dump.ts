import type { Sql } from '../../src/graph/connect.ts'
import { readingTables } from '../../src/graph/readings.ts'

/**
 * Everything that the graph says, table by table, with natural keys in place of internal ids and in a fixed order: two databases
 * that index the same chain give the same dump, however each of them got there. What is merely observed (retrievals,
 * stored payloads) is left out.
 */
export async function dumpGraph(sql: Sql): Promise<Record<string, unknown[]>> {
  const rows = async (query: string): Promise<unknown[]> =>
    (await sql.unsafe(query)).map((row) =>
      Object.values(row).map((value) =>
        value instanceof Uint8Array
          ? Buffer.from(value).toString('hex')
          : value instanceof Date
            ? value.toISOString()
            : value,
      ),
    )
  const named = `
    (select id, 'contributor ' || encode(account, 'hex') as name from contributor
     union all select id, 'sensor ' || name from sensor union all select id, 'dataset ' || name from dataset
     union all select id, 'submission ' || encode(submission_id, 'hex') from submission)`
  const out: Record<string, unknown[]> = {
    contributor: await rows('select account, block from contributor order by account'),
    contributor_key: await rows(`
      select c.account, k.key_index, k.key_id, k.possession_valid, k.block, k.log_index, k.revoked_block
      from contributor_key k join contributor c on c.id = k.contributor order by c.account, k.key_index`),
    validator: await rows(`
      select c.account, v.since_block, v.until_block from validator v join contributor c on c.id = v.contributor order by 1, 2`),
    dataset_version: await rows(`
      select d.name, v.version, v.schema_sha256, v.schema_name, v.problem, v.block
      from dataset_version v join dataset d on d.id = v.dataset order by 1, 2`),
    sensor: await rows(`
      select s.name, d.name, c.account, s.h3::text, s.block
      from sensor s join dataset d on d.id = s.dataset join contributor c on c.id = s.contributor order by 1`),
    submission: await rows(`
      select u.submission_id, c.account, s.name, u.schema_sha256, u.payload_sha256, u.payload_bytes, u.uri, u.key_id, u.nonce,
             u.quorum, u.submitted_block, u.submitted_log, u.submitted_tx, u.submitted_time, u.index, u.seq, u.outcome, u.record,
             u.acc, u.settled_block, u.settled_hash, u.settled_log, u.settled_tx, u.settled_time, u.verdict, u.reason,
             u.observed, u.judgement::text, u.signed_sha256
      from submission u join contributor c on c.id = u.contributor join sensor s on s.id = u.sensor order by 1`),
    attestation: await rows(`
      select u.submission_id, c.account, a.valid, a.block, a.log_index, a.tx
      from attestation a join submission u on u.id = a.submission join contributor c on c.id = a.validator order by 1, 2`),
    edge: await rows(`
      select a.name, e.kind, b.name, e.block from edge e join ${named} a on a.id = e.src join ${named} b on b.id = e.dst
      order by 1, 2, 3`),
    edges: await rows('select count(*) from edge'),
    leaf: await rows(`
      select l.index, u.submission_id, l.entry from leaf l join submission u on u.id = l.submission order by 1`),
    tile: await rows('select level, index, hashes from tile order by 1, 2'),
    log_head: await rows('select size, root from log_head'),
    anchor: await rows(
      'select seq, size, root, previous_size, chain_hash, block, block_hash, time, tx, log_index from anchor order by 1',
    ),
    leaf_policy: await rows('select first_index, hash, block from leaf_policy order by 1'),
  }
  for (const table of await readingTables(sql)) {
    out[table] = await rows(`
      select u.submission_id, to_jsonb(r) - 'submission' as reading from "${table}" r join submission u on u.id = r.submission
      order by 1, r.position`)
  }
  return out
}
