import { equalBytes } from '../../core/bytes.ts'
import { verifyConsistency } from '../../log/merkle.ts'
import type { Context } from '../context.ts'
import { ClaimError } from '../error.ts'

/**
 * Joins the signed checkpoint and the anchored head into one history: the same root at the same size, or a consistency
 * proof (RFC 9162 section 2.1.4.2) from the smaller to the larger. Answers null when they are joined, or why the bundle
 * does not say; throws {@link ClaimError} where it says and is wrong.
 */
export function joinCheckpointToHead(context: Context): string | null {
  const checkpoint = context.checkpoint()
  const head = context.head()
  if (head.size === 0) return 'nothing is anchored in the trusted block'
  if (checkpoint.size === head.size) {
    // A proof between equal sizes would prove nothing; it stays untaken, and the bundle is refused for carrying it.
    if (equalBytes(checkpoint.root, head.root)) return null
    throw new ClaimError(`the checkpoint and the anchor name different roots at size ${head.size}`)
  }
  const [older, newer] = checkpoint.size < head.size ? [checkpoint, head] : [head, checkpoint]
  if (!context.has('consistency')) {
    return `the bundle has no consistency proof from size ${older.size} to size ${newer.size}`
  }
  const check = verifyConsistency(older.size, newer.size, context.take('consistency'), older.root, newer.root)
  if (!check.ok) throw new ClaimError(check.reason)
  return null
}
