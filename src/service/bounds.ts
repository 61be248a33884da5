import type { Row } from 'postgres'
import type { Db } from '../graph/cursor.ts'

/** The states of a submission, in the order in which it passes them. */
export const STATES = ['pending', 'settled', 'final', 'logged', 'anchored'] as const
export type State = (typeof STATES)[number]

/**
 * Where the states begin and end. Indices run in settling order, so each state but `pending` is one range of them:
 * anchored [0, anchored), logged [anchored, logged), final [logged, final), settled [final, settled).
 */
export interface Bounds {
  /** Settled submissions: the index that comes next. */
  settled: number
  /** The first index whose settling block is not final; `settled` where all are. */
  final: number
  /** Leaves in the log. */
  logged: number
  /** Leaves here that an anchor in a final block covers. */
  anchored: number
}

/** What of them the state of a given submission hangs on. */
export type StateBounds = Omit<Bounds, 'settled'>

/** Reads the bounds in one statement, so that they belong together. */
export async function readBounds(sql: Db): Promise<Bounds> {
  // `offset 0` keeps the planner from walking the index of all submissions in search of the first unfinal one.
  const [row] = await sql`
    select coalesce((select max(index) + 1 from submission), 0)::bigint as settled,
           (select min(index) from (
              select index from submission where settled_block > coalesce((select final_number from cursor), -1) offset 0
            ) as unfinal) as unfinal,
           coalesce((select size from log_head), 0)::bigint as logged,
           coalesce((select max(size) from anchor where block <= (select final_number from cursor)), 0)::bigint as anchored`
  const settled = row?.['settled'] as number
  return {
    settled,
    final: (row?.['unfinal'] as number | null) ?? settled,
    ...heldBounds(row?.['logged'], row?.['anchored']),
  }
}

/**
 * The bounds as they hold for one submission, from its own row with `index` and `settled_block`, and `final_number`, `logged` and
 * `anchored` of the same moment, each null where there is none: no other submission is looked at.
 */
export function boundsOf(row: Row): StateBounds {
  const index = row['index'] as number | null
  const isFinal = index !== null && row['settled_block'] <= (row['final_number'] ?? -1)
  return {
    final: (index ?? 0) + (isFinal ? 1 : 0),
    ...heldBounds(row['logged'] ?? 0, row['anchored'] ?? 0),
  }
}

/** A database that was restored may still be behind the chain's anchors. */
const heldBounds = (logged: number, anchored: number): Pick<Bounds, 'logged' | 'anchored'> => ({
  logged,
  anchored: Math.min(anchored, logged),
})

/** The state of the submission with this index, null for one that is not settled. */
export function stateOf(index: number | null, bounds: StateBounds): State {
  if (index === null) return 'pending'
  if (index < bounds.anchored) return 'anchored'
  if (index < bounds.logged) return 'logged'
  return index < bounds.final ? 'final' : 'settled'
}

/** The indices [from, to) that are in a state; may be empty. */
export function indexRange(state: Exclude<State, 'pending'>, bounds: Bounds): { from: number; to: number } {
  const { anchored, logged, final, settled } = bounds
  switch (state) {
    case 'anchored':
      return { from: 0, to: anchored }
    case 'logged':
      return { from: anchored, to: logged }
    case 'final':
      return { from: logged, to: Math.max(final, logged) }
    case 'settled':
      return { from: Math.max(final, logged), to: settled }
  }
}
