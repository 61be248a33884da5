import { toHex } from '../core/bytes.ts'
import { readPosition } from '../graph/cursor.ts'
import type { StateBounds } from './bounds.ts'
import type { ServiceContext } from './context.ts'
import { type LineageEdge, readEdges } from './edges.ts'
import { type Obstacle, obstacleOf, type Stage, type WayFacts, walk } from './stages.ts'
import { findSubmission, type SubmissionItem } from './submissions.ts'

/** A submission's way from the chain to the anchor, in plain words. */
export interface Lineage {
  submission: SubmissionItem
  /** `complete` when every station is ok. */
  status: 'complete' | 'failed' | 'pending'
  obstacle: Obstacle | null
  stages: Stage[]
  edges: LineageEdge[]
}

/** Walks one submission's way. Throws `BAD_ID` or `NOT_FOUND`. */
export async function explain(ctx: ServiceContext, id: string): Promise<Lineage> {
  const { key, item, bounds } = await findSubmission(ctx, id)
  const [facts, edges] = await Promise.all([readFacts(ctx, key, item, bounds), readEdges(ctx, key)])
  const repeats = edges.find(({ kind }) => kind === 'duplicates')?.id ?? null
  const stages = walk({ ...facts, repeats })
  const first = stages.find((stage) => stage.status === 'failed' || stage.status === 'pending')
  return {
    submission: item,
    status: first ? (first.status as 'failed' | 'pending') : 'complete',
    obstacle: first ? obstacleOf(first, item) : null,
    stages,
    edges,
  }
}

async function readFacts(
  ctx: ServiceContext,
  key: number,
  item: SubmissionItem,
  bounds: StateBounds,
): Promise<Omit<WayFacts, 'repeats'>> {
  const { sql } = ctx
  const [[row], [votes], position, [anchor]] = await Promise.all([
    sql`
      select s.quorum, s.judgement, r.attempts, r.what, r.detail, l.entry, k.key_index, k.possession_valid,
             v.version, v.schema_name,
             exists (select 1 from payload where sha256 = s.payload_sha256 and length(bytes) = s.payload_bytes) as held
      from submission s
      left join retrieval r on r.submission = s.id
      left join leaf l on l.submission = s.id
      left join lateral (select key_index, possession_valid from contributor_key
        where contributor = s.contributor and key_id = s.key_id order by key_index desc limit 1) k on true
      left join lateral (select version, schema_name from dataset_version
        where dataset = s.dataset and schema_sha256 = s.schema_sha256 order by version desc limit 1) v on true
      where s.id = ${key}`,
    sql`select count(*) filter (where valid) as valid, count(*) filter (where not valid) as invalid
        from attestation where submission = ${key}`,
    readPosition(sql),
    item.index === null
      ? []
      : sql`select seq, size, block, tx, time from anchor where size > ${item.index} order by size, seq limit 1`,
  ])
  const has = (name: string): boolean => row?.[name] !== null && row?.[name] !== undefined
  return {
    item,
    bounds,
    finalBlock: position && position.final.number >= 0 ? position.final.number : null,
    quorum: row?.['quorum'],
    votes: { valid: votes?.['valid'] ?? 0, invalid: votes?.['invalid'] ?? 0 },
    judgement: row?.['judgement'] ?? null,
    retrieval: has('attempts')
      ? { attempts: row?.['attempts'], what: row?.['what'], detail: row?.['detail'] }
      : null,
    held: row?.['held'] ?? false,
    schema: has('version') ? { version: row?.['version'], name: row?.['schema_name'] } : null,
    key: has('key_index') ? { index: row?.['key_index'], possessionValid: row?.['possession_valid'] } : null,
    entry: has('entry') ? new Uint8Array(row?.['entry']) : null,
    anchor: anchor
      ? {
          seq: anchor['seq'],
          size: anchor['size'],
          block: anchor['block'],
          tx: toHex(anchor['tx']),
          time: anchor['time'],
        }
      : null,
  }
}
