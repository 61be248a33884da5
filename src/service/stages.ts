import { type Hex, sha256, toHex } from '../core/bytes.ts'
import type { Json } from '../core/json.ts'
import type { Reason } from '../core/reason.ts'
import type { StoredJudgement } from '../graph/schema.ts'
import { leafHash } from '../log/merkle.ts'
import { formatSeconds } from '../maml/time.ts'
import type { StateBounds } from './bounds.ts'
import type { ReasonDetail, SubmissionItem } from './submissions.ts'

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

/** Everything that the sentences are made from. */
export interface WayFacts {
  item: SubmissionItem
  bounds: StateBounds
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
  /** The accepted submission that this one repeats. */
  repeats: string | null
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

/** What happened at each station, in order. */
export function walk(facts: WayFacts): Stage[] {
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
    if (failedAt === name) return { ...make(), status: 'failed', sentence: failure(facts) }
    return make()
  }
  return [
    check('event', () => eventStage(facts)),
    check('payload', () => payloadStage(facts)),
    check('signature', () => signatureStage(facts)),
    check('schema', () => schemaStage(facts)),
    failedAt === 'receipt'
      ? { ...receiptStage(facts), status: 'failed', sentence: failure(facts) }
      : receiptStage(facts),
    leafStage(facts),
    anchorStage(facts),
  ]
}

/** The reason's own sentence, then what exactly was found here. The code stands beside the sentence, not in it. */
function failure(facts: WayFacts): string {
  const { sentence, found } = facts.item.reason_detail as ReasonDetail
  const more = found === null ? counted(facts) : `${introduction(facts)}: ${found}`
  return more === null ? sentence : `${sentence} ${ended(more)}`
}

const introduction = ({ item: { reason }, retrieval }: WayFacts): string =>
  reason === 'PAYLOAD_UNAVAILABLE' && retrieval !== null && retrieval.attempts > 0
    ? `The last of ${plural(retrieval.attempts, 'attempt')} ended so`
    : 'Found'

/** What the graph adds to a reason that no check had more to say about. */
function counted({ item: { reason }, votes, quorum, repeats }: WayFacts): string | null {
  if (reason === 'QUORUM_REJECTED' || reason === 'EXPIRED') return voted(votes, quorum)
  return reason === 'DUPLICATE' && repeats !== null ? `It is ${repeats}.` : null
}

const voted = ({ valid, invalid }: WayFacts['votes'], quorum: number): string =>
  `${valid} voted for it and ${invalid} against; it takes ${quorum} of one side.`

const ended = (text: string): string => (text.endsWith('.') ? text : `${text}.`)

const plural = (count: number, one: string): string => `${count} ${one}${count === 1 ? '' : 's'}`

function eventStage({ item, votes, quorum }: WayFacts): Stage {
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
    const sentence = `Submitted in block ${submitted.block}; so far ${voted(votes, quorum)}`
    return { name, status: 'pending', sentence, facts }
  }
  const sentence = `Submitted in block ${submitted.block} and ${item.outcome} in block ${settled.block} as number ${item.index}.`
  return { name, status: 'ok', sentence, facts }
}

function payloadStage({ item, retrieval, held }: WayFacts): Stage {
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
      ? `Not obtained in ${plural(retrieval.attempts, 'attempt')}; the last ended so: ${ended(retrieval.detail ?? retrieval.what)} It is sought until the grace ends.`
      : 'It is being fetched.'
  return { name, status: 'pending', sentence, facts }
}

function signatureStage({ item, key, judgement }: WayFacts): Stage {
  const facts = {
    key_id: item.key_id,
    key_index: key?.index ?? null,
    possession_valid: key?.possessionValid ?? null,
    signature_sha256: judgement?.read?.signatureSha256 ?? null,
  }
  const name = 'signature'
  if (item.verdict === null)
    return { name, status: 'pending', sentence: 'It is verified once the payload is here.', facts }
  return {
    name,
    status: 'ok',
    sentence: `Valid: made with ML-DSA-65 by key ${key?.index} of ${item.contributor}.`,
    facts,
  }
}

function schemaStage({ item, schema, judgement }: WayFacts): Stage {
  const facts = {
    dataset: item.dataset,
    schema: schema?.name ?? null,
    version: schema?.version ?? null,
    readings: judgement?.read?.readings ?? null,
  }
  const name = 'schema'
  if (item.verdict === null)
    return { name, status: 'pending', sentence: 'The readings are checked once the payload is here.', facts }
  const count = judgement?.read?.readings ?? 0
  const sentence = `${plural(count, 'reading')} ${count === 1 ? 'conforms' : 'conform'} to ${schema?.name}, version ${schema?.version} of ${item.dataset}.`
  return { name, status: 'ok', sentence, facts }
}

function receiptStage({ item, entry, bounds }: WayFacts): Stage {
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
function waiting(item: SubmissionItem, bounds: StateBounds): string {
  if (item.index === null) return 'It is written once the submission is settled and final.'
  if (item.verdict === null) return 'It is written once the payload is checked, or its grace has ended.'
  if (item.index >= bounds.final) return 'It is written once the settling block is final.'
  return bounds.logged === item.index
    ? 'It is about to be written.'
    : `Receipts are written in order; number ${bounds.logged} comes next, this is number ${item.index}.`
}

function leafStage({ item, entry, bounds, finalBlock }: WayFacts): Stage {
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

function anchorStage({ item, anchor, finalBlock }: WayFacts): Stage {
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

/** What a station that failed or is pending stands for. */
export function obstacleOf(
  { name, status, sentence }: Stage,
  { reason, reason_detail }: SubmissionItem,
): Obstacle {
  if (status === 'failed' && reason_detail) {
    const { fault, todo } = reason_detail
    return { stage: name, status, reason, fault, sentence, todo }
  }
  return { stage: name, status: 'pending', reason: null, ...PENDING[name], sentence }
}
