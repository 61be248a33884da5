import type { SourceStatus } from '../chain/source.ts'
import type { Hex } from '../core/bytes.ts'
import type { Reason } from '../core/reason.ts'
import { type Position, readPosition } from '../graph/cursor.ts'
import { type Bounds, readBounds } from './bounds.ts'
import type { ServiceContext } from './context.ts'
import { typedError } from './error.ts'

/** A block by number, hash and chain time (seconds since 1970). */
export interface BlockItem {
  number: number
  hash: Hex
  time: number
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
  /** Submissions that have come so far: `logged` and `anchored` are tree sizes. */
  submitted: number
  pending: number
  settled: number
  logged: number
  anchored: number
  verdicts: {
    /** Settled but not judged yet. */
    unjudged: number
    accepted: number
    rejected: number
    reasons: Partial<Record<Reason, number>>
  }
  source: { phase: SourceStatus['phase']; failures: number; last_error: string | null } | null
  ready: boolean
  /** Why it is not ready, one sentence each. */
  reasons: string[]
}

interface Counts {
  pending: number
  unjudged: number
  reasons: Partial<Record<Reason, number>>
}

// Each count comes from an index that holds only what is counted, never from all submissions.
async function readCounts({ sql }: ServiceContext): Promise<Counts> {
  const [[row], reasons] = await Promise.all([
    sql`select (select count(*) from submission where index is null) as pending,
               (select count(*) from submission where verdict is null and index is not null) as unjudged`,
    sql`select reason, count(*) as count from submission where reason is not null group by reason order by reason`,
  ])
  return {
    pending: row?.['pending'] as number,
    unjudged: row?.['unjudged'] as number,
    reasons: Object.fromEntries(reasons.map((r) => [r['reason'], r['count']])),
  }
}

/** How far everything is. */
export async function readStatus(ctx: ServiceContext): Promise<Status> {
  const [position, bounds, counts] = await Promise.all([
    readPosition(ctx.sql),
    readBounds(ctx.sql),
    readCounts(ctx),
  ])
  const source = ctx.source()
  const head = source?.head ?? null
  const rejected = Object.values(counts.reasons).reduce((sum, count) => sum + count, 0)
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
    ...progress(bounds, counts),
    verdicts: {
      unjudged: counts.unjudged,
      accepted: Math.max(0, bounds.settled - counts.unjudged - rejected),
      rejected,
      reasons: counts.reasons,
    },
    source: source && {
      phase: source.phase,
      failures: source.failures,
      last_error: source.lastError && `${source.lastError.code}: ${source.lastError.message}`,
    },
    ready: reasons.length === 0,
    reasons,
  }
}

const progress = ({ settled, logged, anchored }: Bounds, { pending }: Counts) => ({
  submitted: settled + pending,
  pending,
  settled,
  logged,
  anchored,
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
