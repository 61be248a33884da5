import type { SourceStatus } from '../chain/source.ts'
import type { Hex } from '../core/bytes.ts'
import type { Reason } from '../core/reason.ts'
import { type Position, readPosition } from '../graph/cursor.ts'
import type { RecheckStatus } from '../graph/statements.ts'
import type { ServiceContext } from './context.ts'
import { typedError } from './error.ts'
import { readTotals } from './totals.ts'

/** A block by number, hash and chain time (seconds since 1970). */
export interface BlockItem {
  number: number
  hash: Hex
  time: number
}

/** One endpoint of the chain: its budget, how it does, and why it is left alone. */
export interface EndpointItem {
  /** Host and port. */
  endpoint: string
  state: 'closed' | 'open' | 'half-open'
  why: string | null
  retry_ms: number
  score: number
  latency_ms: number | null
  calls: number
  errors: number
  lies: number
  /** Null without a limit. */
  per_second: number | null
  left: number | null
  in_flight: number
  most_in_flight: number
  waiting: number
  head: number | null
  lagging: boolean
  /** Blocks of history asked for at once, null before the first time. */
  range_blocks: number | null
}

/** How far everything is: what the status screen shows. */
export interface Status {
  chain: string
  registry: Hex
  anchor: Hex
  origin: string
  start_block: number
  /** The newest block that the source has seen; null in a process that only serves. */
  head: BlockItem | null
  /** The last block applied here. */
  indexed: BlockItem | null
  final: BlockItem | null
  /** How far `indexed` is behind `head`, in blocks and in seconds between their times; null without a head. */
  lag: { blocks: number; seconds: number } | null
  /** Submissions that have come so far: `logged` and `anchored` are tree sizes. All counts are null before a block was indexed. */
  submitted: number | null
  pending: number | null
  settled: number | null
  logged: number | null
  anchored: number | null
  verdicts: {
    /** Settled but not judged yet. */
    unjudged: number | null
    accepted: number | null
    rejected: number | null
    reasons: Partial<Record<Reason, number>>
  }
  source: { phase: SourceStatus['phase']; failures: number; last_error: string | null } | null
  /** The chain's endpoints in their order; null in a process that only serves. */
  endpoints: EndpointItem[] | null
  /** What waits in this process. */
  queues: { searches: number; held_bytes: number } | null
  /** Ranges that were read again since the start. */
  recheck: {
    ranges: number
    same: number
    refuted: number
    unresolved: number
    failed: number
    last: { from: number; to: number; endpoint: string; at: string; result: string } | null
  } | null
  /** The WebSocket that tells of new heads. */
  socket: { endpoint: string; connected: boolean; wakes: number; failures: number } | null
  ready: boolean
  /** Why it is not ready, one sentence each. */
  reasons: string[]
}

/** How far everything is. */
export async function readStatus(ctx: ServiceContext): Promise<Status> {
  // From one snapshot, so that the counts are those of the block that is named.
  const [position, totals] = await ctx.sql.begin('isolation level repeatable read read only', (sql) =>
    Promise.all([readPosition(sql), readTotals({ sql })]),
  )
  const source = ctx.source()
  const indexing = ctx.indexing()
  const head = source?.head ?? null
  const reasons = [...ctx.readiness()]
  const { chain, registry, anchor, origin, startBlock } = ctx.deployment
  return {
    chain,
    registry,
    anchor,
    origin,
    start_block: startBlock,
    head,
    indexed: position?.head ?? null,
    final: position && position.final.number >= 0 ? position.final : null,
    lag: lagOf(head, position),
    submitted: totals?.submitted ?? null,
    pending: totals?.pending ?? null,
    settled: totals?.settled ?? null,
    logged: totals?.logged ?? null,
    anchored: totals?.anchored ?? null,
    verdicts: {
      unjudged: totals?.unjudged ?? null,
      accepted: totals?.accepted ?? null,
      rejected: totals?.rejected ?? null,
      reasons: totals?.reasons ?? {},
    },
    source: source && {
      phase: source.phase,
      failures: source.failures,
      last_error: source.lastError && `${source.lastError.code}: ${source.lastError.message}`,
    },
    endpoints: source?.endpoints.map(endpointItem) ?? null,
    queues: indexing?.queues ?? null,
    recheck: indexing?.recheck ? recheckItem(indexing.recheck) : null,
    socket: indexing?.socket ?? null,
    ready: reasons.length === 0,
    reasons,
  }
}

const recheckItem = ({ last, ...counts }: RecheckStatus): Status['recheck'] => ({
  ...counts,
  last: last && { ...last, at: new Date(last.at).toISOString() },
})

const endpointItem = (e: SourceStatus['endpoints'][number]): EndpointItem => ({
  endpoint: e.endpoint,
  state: e.state,
  why: e.why,
  retry_ms: e.retryMs,
  score: e.score,
  latency_ms: e.latencyMs,
  calls: e.calls,
  errors: e.errors,
  lies: e.lies,
  per_second: e.perSecond,
  left: e.left,
  in_flight: e.inFlight,
  most_in_flight: e.mostInFlight,
  waiting: e.waiting,
  head: e.head,
  lagging: e.lagging,
  range_blocks: e.rangeBlocks,
})

function lagOf(head: BlockItem | null, position: Position | null): Status['lag'] {
  if (!head) return null
  if (!position) return { blocks: head.number + 1, seconds: 0 }
  return {
    blocks: Math.max(0, head.number - position.head.number),
    seconds: Math.max(0, head.time - position.head.time),
  }
}

/** Why this process cannot serve as it should, one sentence each; empty when it can. Never throws. */
export async function readReadiness(ctx: ServiceContext): Promise<string[]> {
  const reasons = [...ctx.readiness()]
  try {
    await ctx.sql`select 1`
  } catch (error) {
    ctx.logger.warn({ error: String(typedError(error)) }, 'asked the database for a sign of life in vain')
    reasons.push('the database does not answer')
  }
  return reasons
}
