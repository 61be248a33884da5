import type { Row } from 'postgres'
import { accountId } from '../chain/ids.ts'
import { type Hex, sha256, toHex } from '../core/bytes.ts'
import type { Json } from '../core/json.ts'
import type { Reason } from '../core/reason.ts'
import { readPosition } from '../graph/cursor.ts'
import { EDGE, type StoredJudgement } from '../graph/schema.ts'
import { leafHash } from '../log/merkle.ts'
import { formatSeconds } from '../maml/time.ts'
import type { Bounds } from './bounds.ts'
import type { ServiceContext } from './context.ts'
import { findSubmission, type SubmissionItem } from './submissions.ts'

/** The stations of a reading's way, in order. */
export const STAGES = ['event', 'payload', 'signature', 'schema', 'receipt', 'leaf', 'anchor'] as const
export type StageName = (typeof STAGES)[number]

/** One station. `skipped`: a failure before it left nothing to check here. */
export interface Stage {
  name: StageName
  status: 'ok' | 'failed' | 'pending' | 'skipped'
  sentence: string
  facts: Record<string, Json>
}

/** The first station that failed or is pending, whose side that lies on, and what to do. */
export interface Obstacle {
  stage: StageName
  status: 'failed' | 'pending'
  reason: Reason | null
  fault: string
  sentence: string
  todo: string
}

/** An edge of the graph at this submission. `id` is what the API calls the other end. */
export interface LineageEdge {
  kind: 'measured_by' | 'submitted_by' | 'confirmed_by' | 'disputed_by' | 'duplicates' | 'duplicated_by'
  type: 'sensor' | 'contributor' | 'submission'
  id: string
  block: number
}

/** A submission's way from the chain to the anchor, in plain words. */
export interface Lineage {
  submission: SubmissionItem
  /** `complete` when every station is ok. */
  status: 'complete' | 'failed' | 'pending'
  obstacle: Obstacle | null
  stages: Stage[]
  edges: LineageEdge[]
}

/** The station at which a reason is found. Reasons come in the checks' order, so every station before it is ok. */
const STAGE_OF: Readonly<Record<Reason, StageName>> = {
  QUORUM_REJECTED: 'event',
  EXPIRED: 'event',
  URI_REFUSED: 'payload',
  PAYLOAD_UNAVAILABLE: 'payload',
  MAML_MALFORMED: 'payload',
  METADATA_MISMATCH: 'payload',
  KEY_UNKNOWN: 'signature',
  KEY_REVOKED: 'signature',
  SIGNATURE_MISSING: 'signature',
  SIGNATURE_INVALID: 'signature',
  SCHEMA_UNKNOWN: 'schema',
  SCHEMA_INVALID: 'schema',
  STALE: 'receipt',
  DUPLICATE: 'receipt',
}

/** Everything that the sentences are made from. */
interface Facts {
  item: SubmissionItem
  bounds: Bounds
  finalBlock: number | null
  quorum: number
  votes: { valid: number; invalid: number }
  judgement: StoredJudgement | null
  retrieval: { attempts: number; what: string | null; detail: string | null } | null
  held: boolean
  schema: { name: string | null; version: number } | null
  key: { index: number; possessionValid: boolean } | null
  entry: Uint8Array | null
  anchor: { seq: number; size: number; block: number; tx: Hex; time: number } | null
}

/** Walks one submission's way. Throws `BAD_ID` or `NOT_FOUND`. */
export async function explain(ctx: ServiceContext, id: string): Promise<Lineage> {
  const { key, item, bounds } = await findSubmission(ctx, id)
  const [facts, edges] = await Promise.all([readFacts(ctx, key, item, bounds), readEdges(ctx, key)])
  const stages = walk(facts)
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
  bounds: Bounds,
): Promise<Facts> {
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

function walk(facts: Facts): Stage[] {
  const { item } = facts
  const failedAt = item.reason === null ? null : STAGE_OF[item.reason]
  const at = (name: StageName): number => STAGES.indexOf(name)
  // The checks end at the first reason; receipt, leaf and anchor go on, as rejected submissions get receipts too.
  const check = (name: StageName, make: () => Stage): Stage => {
    if (failedAt !== null && at(name) > at(failedAt))
      return {
        name,
        status: 'skipped',
        sentence: `Not looked at, as the ${failedAt} stage failed.`,
        facts: {},
      }
    if (failedAt === name) return { ...make(), status: 'failed', sentence: failure(item) }
    return make()
  }
  return [
    check('event', () => eventStage(facts)),
    check('payload', () => payloadStage(facts)),
    check('signature', () => signatureStage(facts)),
    check('schema', () => schemaStage(facts)),
    failedAt === 'receipt'
      ? { ...receiptStage(facts), status: 'failed', sentence: failure(item) }
      : receiptStage(facts),
    leafStage(facts),
    anchorStage(facts),
  ]
}

const failure = ({ reason, reason_detail }: SubmissionItem): string =>
  `${reason}: ${reason_detail?.sentence}${reason_detail?.found ? ` Found: ${reason_detail.found}` : ''}`

const plural = (count: number, one: string): string => `${count} ${one}${count === 1 ? '' : 's'}`

function eventStage({ item, votes, quorum }: Facts): Stage {
  const { submitted, settled } = item
  const facts = {
    submitted_block: submitted.block,
    submitted_tx: submitted.tx,
    submitted_time: submitted.time,
    quorum,
    attestations: { valid: votes.valid, invalid: votes.invalid },
    outcome: item.outcome,
    settled_block: settled?.block ?? null,
    settled_tx: settled?.tx ?? null,
    index: item.index,
  }
  const name = 'event'
  if (!settled) {
    const sentence = `Submitted in block ${submitted.block}; ${votes.valid} for and ${votes.invalid} against so far, ${quorum} of one side settle it.`
    return { name, status: 'pending', sentence, facts }
  }
  const sentence = `Submitted in block ${submitted.block} and ${item.outcome} in block ${settled.block} as number ${item.index}.`
  return { name, status: 'ok', sentence, facts }
}

function payloadStage({ item, retrieval, held }: Facts): Stage {
  const { sha256: hash, bytes } = item.payload
  const facts = {
    uri: item.uri,
    sha256: hash,
    bytes,
    held,
    attempts: retrieval?.attempts ?? 0,
    last_failure: retrieval?.what ?? null,
    last_failure_detail: retrieval?.detail ?? null,
  }
  const name = 'payload'
  if (item.verdict !== null)
    return {
      name,
      status: 'ok',
      sentence: `The ${plural(bytes, 'byte')} with the submitted hash were obtained and read.`,
      facts,
    }
  if (item.settled === null)
    return { name, status: 'pending', sentence: 'It is fetched once the submission is settled.', facts }
  const sentence = held
    ? 'The bytes are here and about to be checked.'
    : retrieval?.what
      ? `Not obtained in ${plural(retrieval.attempts, 'attempt')} (${retrieval.what}); it is sought until the grace ends.`
      : 'It is being fetched.'
  return { name, status: 'pending', sentence, facts }
}

function signatureStage({ item, key, judgement }: Facts): Stage {
  const facts = {
    key_id: item.key_id,
    key_index: key?.index ?? null,
    possession_valid: key?.possessionValid ?? null,
    signature_sha256: judgement?.read?.signatureSha256 ?? null,
  }
  const name = 'signature'
  if (item.verdict === null)
    return { name, status: 'pending', sentence: 'It is verified once the payload is here.', facts }
  return { name, status: 'ok', sentence: `ML-DSA-65 by key ${key?.index} of ${item.contributor}.`, facts }
}

function schemaStage({ item, schema, judgement }: Facts): Stage {
  const facts = {
    dataset: item.dataset,
    schema: schema?.name ?? null,
    version: schema?.version ?? null,
    readings: judgement?.read?.readings ?? null,
  }
  const name = 'schema'
  if (item.verdict === null)
    return { name, status: 'pending', sentence: 'The readings are checked once the payload is here.', facts }
  const sentence = `${plural(judgement?.read?.readings ?? 0, 'reading')} conform to ${schema?.name}, version ${schema?.version} of ${item.dataset}.`
  return { name, status: 'ok', sentence, facts }
}

function receiptStage({ item, entry, bounds }: Facts): Stage {
  const facts = {
    verdict: item.verdict,
    reason: item.reason,
    observed: item.observed,
    entry_sha256: entry && toHex(sha256(entry)),
  }
  const name = 'receipt'
  if (entry) {
    const verdict = item.reason === null ? 'accepted' : `rejected, ${item.reason}`
    return {
      name,
      status: 'ok',
      sentence: `The receipt says ${verdict}. It is at ${item.links.receipt}.`,
      facts,
    }
  }
  return { name, status: 'pending', sentence: waiting(item, bounds), facts }
}

/** Why there is no receipt yet. */
function waiting(item: SubmissionItem, bounds: Bounds): string {
  if (item.index === null) return 'It is written once the submission is settled and final.'
  if (item.verdict === null) return 'It is written once the payload is checked, or its grace has ended.'
  if (item.index >= bounds.final) return 'It is written once the settling block is final.'
  return bounds.logged === item.index
    ? 'It is about to be written.'
    : `Receipts are written in order; number ${bounds.logged} comes next, this is number ${item.index}.`
}

function leafStage({ item, entry, bounds, finalBlock }: Facts): Stage {
  const facts = {
    index: item.index,
    tree_size: bounds.logged,
    leaf_hash: entry && toHex(leafHash(entry)),
    settled_block: item.settled?.block ?? null,
    final_block: finalBlock,
  }
  const name = 'leaf'
  if (entry)
    return { name, status: 'ok', sentence: `Leaf ${item.index} of ${bounds.logged} in the log.`, facts }
  return { name, status: 'pending', sentence: 'It joins the log together with its receipt.', facts }
}

function anchorStage({ item, anchor, finalBlock }: Facts): Stage {
  const name = 'anchor'
  const facts = {
    seq: anchor?.seq ?? null,
    size: anchor?.size ?? null,
    block: anchor?.block ?? null,
    tx: anchor?.tx ?? null,
    time: anchor ? formatSeconds(anchor.time) : null,
    final_block: finalBlock,
  }
  if (item.state === 'anchored')
    return {
      name,
      status: 'ok',
      sentence: `On-chain since block ${anchor?.block}, in anchor ${anchor?.seq} over ${anchor?.size} leaves.`,
      facts,
    }
  const sentence = anchor
    ? `Anchor ${anchor.seq} in block ${anchor.block} covers it once that block is final.`
    : 'The next anchor will cover it.'
  return { name, status: 'pending', sentence, facts }
}

/** Who has to act while a station is pending, and what there is to do. */
const PENDING: Readonly<Record<StageName, { fault: string; todo: string }>> = {
  event: { fault: 'validators', todo: 'Wait for the validators, or ask them to attest.' },
  payload: {
    fault: 'payload host',
    todo: 'Make sure that the URI serves exactly the bytes that were submitted, or PUT them to /v1/payloads.',
  },
  signature: { fault: 'indexer', todo: 'Wait a moment.' },
  schema: { fault: 'indexer', todo: 'Wait a moment.' },
  receipt: { fault: 'indexer', todo: 'Wait; if it takes minutes, look at /ready.' },
  leaf: { fault: 'indexer', todo: 'Wait; if it takes minutes, look at /ready.' },
  anchor: {
    fault: 'operator',
    todo: 'Wait for the next anchor; if it takes longer than the leaf policy allows, that is evidence against the operator.',
  },
}

function obstacleOf({ name, status, sentence }: Stage, { reason, reason_detail }: SubmissionItem): Obstacle {
  if (status === 'failed' && reason_detail) {
    const { fault, todo } = reason_detail
    return { stage: name, status, reason, fault, sentence, todo }
  }
  return { stage: name, status: 'pending', reason: null, ...PENDING[name], sentence }
}

const EDGE_KINDS: Readonly<Record<string, LineageEdge['kind']>> = {
  [`out${EDGE.measuredBy}`]: 'measured_by',
  [`out${EDGE.submittedBy}`]: 'submitted_by',
  [`out${EDGE.duplicates}`]: 'duplicates',
  [`in${EDGE.confirmed}`]: 'confirmed_by',
  [`in${EDGE.disputed}`]: 'disputed_by',
  [`in${EDGE.duplicates}`]: 'duplicated_by',
}

/** Edges shown at most; a submission has one a validator, and one a repetition. */
const MAX_EDGES = 200

async function readEdges({ sql, deployment }: ServiceContext, key: number): Promise<LineageEdge[]> {
  const rows = await sql`
    select e.side, e.kind, e.block, se.name as sensor, c.account, s.submission_id
    from (
      select 'out' as side, kind, dst as other, block from edge where src = ${key}
      union all
      select 'in' as side, kind, src as other, block from edge where dst = ${key}
    ) e
    left join sensor se on se.id = e.other
    left join contributor c on c.id = e.other
    left join submission s on s.id = e.other
    order by e.block, e.kind, e.other limit ${MAX_EDGES}`
  return rows.flatMap((row): LineageEdge[] => {
    const kind = EDGE_KINDS[`${row['side']}${row['kind']}`]
    return kind ? [{ kind, ...endOf(row, deployment.chain), block: row['block'] }] : []
  })
}

function endOf(row: Row, chain: string): Pick<LineageEdge, 'type' | 'id'> {
  if (row['sensor'] !== null) return { type: 'sensor', id: row['sensor'] }
  if (row['account'] !== null) return { type: 'contributor', id: accountId(chain, toHex(row['account'])) }
  return { type: 'submission', id: toHex(row['submission_id']) }
}
