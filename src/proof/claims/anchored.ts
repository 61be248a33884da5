import { toHex } from '../../core/bytes.ts'
import type { Checkpoint } from '../../log/checkpoint.ts'
import { formatSeconds } from '../../maml/time.ts'
import type { AnchoredEvent } from '../anchored-event.ts'
import type { AnchorHead } from '../context.ts'
import { ClaimError } from '../error.ts'
import { type Claim, notClaimed, proved } from './claim.ts'
import { joinCheckpointToHead } from './join.ts'
import { ofRows } from './rows.ts'

/** The entry is among the leaves whose root the chain holds, so it existed no later than the anchor that put it there. */
export const anchored: Claim = {
  name: 'anchored',
  shows:
    'The receipt is under the root that the chain holds, so it was made no later than the block of that anchor.',
  prerequisites: ['included'],
  check(context) {
    const rows = context.rows()
    const index = Math.max(...rows.map(({ entry }) => entry.index))
    const checkpoint = context.checkpoint()
    const head = context.head()
    if (index >= head.size) {
      throw new ClaimError(
        `index ${index} is not below the anchored size ${head.size}: it is not anchored yet`,
      )
    }
    // A checkpoint beyond the head speaks for leaves that the chain knows nothing of. Whoever has the log can make the
    // proof at the head's own size, so nothing honest is lost by asking for one that ends at or below the head.
    if (checkpoint.size > head.size) {
      return notClaimed(
        `the checkpoint of size ${checkpoint.size} is newer than the anchored size ${head.size}; ` +
          'only one at or below it leads to the anchor',
      )
    }
    const gap = joinCheckpointToHead(context)
    if (gap !== null) return notClaimed(gap)
    const { number, timestamp } = context.block()
    // The contract's own note of its latest anchor, which is at most as late as the block that it is read in.
    const { blockNumber, time } = head
    if (blockNumber > number || time > timestamp)
      throw new ClaimError(
        `the anchor's head is of block ${blockNumber}, later than the trusted block ${number}`,
      )
    const what = context.rowCount === null ? `index ${index} is` : `${ofRows(rows.length, rows.length)} are`
    const event = context.anchoredEvent()
    if (event === null)
      return proved(
        `${what} below the anchored size ${head.size}: no later than block ${blockNumber}, ${formatSeconds(time)}`,
      )
    checkEvent(event, checkpoint, head)
    const first = rows.every(({ entry }) => entry.index >= event.previousSize)
    return proved(
      `${what} below the size ${event.size} of anchor ${event.seq}${first ? ', the first to cover that' : ''}: ` +
        `no later than block ${event.block}, ${formatSeconds(event.time)}`,
    )
  },
}

/**
 * The event must be about the very tree that the checkpoint signs and the entries are proved to be in. Then their bytes were fixed when it
 * was emitted, whatever else the contract did then.
 */
function checkEvent(event: AnchoredEvent, checkpoint: Checkpoint, head: AnchorHead): void {
  if (event.size !== checkpoint.size || event.root !== toHex(checkpoint.root))
    throw new ClaimError(
      `the anchored event is about another tree than the checkpoint: size ${event.size}, not ${checkpoint.size}`,
    )
  if (event.seq > head.seq || event.block > head.blockNumber)
    throw new ClaimError(
      `the anchored event is later than the anchor's head, which is of block ${head.blockNumber}`,
    )
}
