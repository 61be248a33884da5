import { type Claim, notClaimed, proved } from './claim.ts'
import { joinCheckpointToHead } from './join.ts'

/**
 * The anchored head stands in a contract whose pinned code takes nothing but extensions of the head before, and the tree
 * that the entry is in is of the same history as that head.
 */
export const appendOnly: Claim = {
  name: 'appendOnly',
  shows:
    'The log that the receipt is in is the one that the anchor contract guards, and that contract lets nobody rewrite it.',
  prerequisites: ['included'],
  check(context) {
    const { size } = context.checkpoint()
    const head = context.head()
    const gap = joinCheckpointToHead(context)
    if (gap !== null) return notClaimed(gap)
    const beyond = size > head.size ? '; the leaves beyond the head are not guarded by it yet' : ''
    return proved(
      `the checkpoint of size ${size} is consistent with the head of size ${head.size} in the pinned contract${beyond}`,
    )
  },
}
