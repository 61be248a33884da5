import type { Reason } from '../core/reason.ts'
import type { Db } from '../graph/cursor.ts'

/** Counts of all submissions as of one moment. `final`, `logged` and `anchored` are how far the indices have come. */
export interface Totals {
  submitted: number
  pending: number
  settled: number
  final: number
  logged: number
  anchored: number
  /** Settled but not judged yet. */
  unjudged: number
  accepted: number
  rejected: number
  reasons: Partial<Record<Reason, number>>
}

/**
 * Every total that is told anywhere, from the one view `totals`; null before any block was indexed, when nobody knows. Each count comes
 * from an index that holds only what is counted, never from all submissions.
 */
export async function readTotals({ sql }: { sql: Db }): Promise<Totals | null> {
  const [row] = await sql`select * from totals where exists (select 1 from cursor)`
  return row ? ({ ...row } as Totals) : null
}
