import { formatSeconds } from '../../maml/time.ts'
import type { Context } from '../context.ts'
import { ClaimError } from '../error.ts'
import { entryRecord } from '../record.ts'
import { type Claim, proved } from './claim.ts'

/**
 * Nothing settled of a contributor was left out of a stretch of its submissions: the items fold to what the registry's slots
 * hold, and the log has each of them that it is anchored for, as it is on the chain.
 */
export const complete: Claim = {
  name: 'complete',
  shows:
    'These are all the submissions of one contributor that were settled in this stretch: none is left out, added, moved or altered.',
  // Without rows there is nothing to include: then no item may be below the anchored size.
  prerequisites: (context) => (context.rowCount ? ['included', 'anchored'] : []),
  missing: (context) => (context.has('completeness') ? null : 'the bundle has no completeness'),
  check(context) {
    const fold = context.fold()
    if (fold === null) throw new ClaimError('the bundle has no completeness')
    const anchored = checkItems(context, fold)
    const { fromSeq, endSeq, settled, submitted, contributor } = fold
    const { number, timestamp } = context.block()
    const what =
      endSeq - fromSeq === settled
        ? `all ${settled} settled`
        : `all from seq ${fromSeq} to ${endSeq - 1} of ${settled} settled`
    return proved(
      `${what} of ${submitted} submitted by ${contributor}, ${submitted - settled} pending, ` +
        `${anchored} of them anchored, as of block ${number}, ${formatSeconds(timestamp)}`,
    )
  },
}

/** Compares each item below the anchored size with the row of its index; answers how many there are. */
function checkItems(context: Context, { steps, fromSeq }: NonNullable<ReturnType<Context['fold']>>): number {
  const { size } = context.head()
  const rows = new Map(context.rows().map(({ entry }) => [entry.index, entry]))
  let anchored = 0
  steps.forEach(({ item, record, acc }, i) => {
    if (item.index >= size) return
    anchored++
    const seq = fromSeq + i
    const entry = rows.get(item.index)
    if (!entry)
      throw new ClaimError(`the item of seq ${seq}, leaf ${item.index}, is anchored and not among the rows`)
    if (entryRecord(entry) !== record)
      throw new ClaimError(`the item of seq ${seq} and the entry of leaf ${item.index} differ`)
    if (entry.acc !== acc)
      throw new ClaimError(
        `the entry of leaf ${item.index} gives another accumulator than the chain after seq ${seq}`,
      )
  })
  return anchored
}
