import type { Findings } from './findings.ts'
import type { Snapshot } from './rows.ts'

/** Names of `edge.kind`, for reports. */
const KINDS = ['', 'owns', 'feeds', 'measured by', 'submitted by', 'confirmed', 'disputed', 'duplicates']
/** Differing edges that are fetched at once. */
const FETCH = 500

/**
 * Draws every edge anew from the rows that it joins and compares both sets. The server sorts them, so that neither has to fit
 * into memory.
 */
export async function checkEdges(db: Snapshot, findings: Findings): Promise<number> {
  const [total] = await db`select count(*)::text as count from edge`
  const query = db`
    with expected as (
      select contributor as src, 1 as kind, id as dst, block from sensor
      union all select id, 2, dataset, block from sensor
      union all select id, 3, sensor, submitted_block from submission
      union all select id, 4, contributor, submitted_block from submission
      union all select validator, case when valid then 5 else 6 end, submission, block from attestation
      union all
      select u.id, 7, (
        select e.id from submission e
        where e.sensor = u.sensor and (e.judgement -> 'read' ->> 'firstTimestamp') collate "C" = u.judgement -> 'read' ->> 'firstTimestamp'
          and e.signed_sha256 = u.signed_sha256 and e.contributor = u.contributor and e.verdict = 'accepted' and e.index < u.index
        order by e.index limit 1), u.settled_block
      from submission u where u.reason = 'DUPLICATE')
    select coalesce(e.src, g.src)::text as src, coalesce(e.kind, g.kind) as kind, coalesce(e.dst, g.dst)::text as dst,
      e.block::text as expected, g.block::text as found,
      encode(coalesce(s.submission_id, d.submission_id), 'hex') as submission
    from expected e full join edge g on g.src = e.src and g.kind = e.kind and g.dst = e.dst
    left join submission s on s.id = coalesce(e.src, g.src) left join submission d on d.id = coalesce(e.dst, g.dst)
    where e.src is null or g.src is null or e.block is distinct from g.block order by 1, 2, 3`
  await query.cursor(FETCH, (rows) => {
    for (const { src, kind, dst, expected, found, submission } of rows) {
      const name = `${src} ${KINDS[kind] ?? `kind ${kind}`} ${dst}`
      const row = submission ? `0x${submission} (${name})` : name
      const field = expected === null || found === null ? 'edge' : 'block'
      findings.add(
        'edge',
        row,
        field,
        expected === null ? 'nothing' : `block ${expected}`,
        found === null ? 'nothing' : `block ${found}`,
      )
    }
  })
  return Number(total?.['count'])
}
