import { leafHash, verifyInclusion } from '../../log/merkle.ts'
import { verifyMultiProof } from '../../log/multi-proof.ts'
import { ClaimError } from '../error.ts'
import { type Claim, proved } from './claim.ts'
import { checkEach, ofRows, withoutRows } from './rows.ts'

/** The entry is the leaf that its index names, in a tree that the log has signed for (RFC 9162 section 2.1.3.2). */
export const included: Claim = {
  name: 'included',
  shows:
    'The receipt is in the log, at its own index, under a checkpoint signed by every key that you trust for it.',
  prerequisites: [],
  missing: withoutRows,
  check(context) {
    const rows = context.rows()
    const placement = context.placement()
    const indices = placement.kind === 'one' ? [placement.proof.index] : placement.indices
    let i = 0
    checkEach(context, rows, ({ entry: { index } }) => {
      const named = indices[i++]
      if (named !== index)
        throw new ClaimError(`the entry's index is ${index}, the inclusion proof's is ${named}`)
    })
    const { size, root } = context.checkpoint()
    const leaves = rows.map(({ bytes }) => leafHash(bytes))
    const check =
      placement.kind === 'one'
        ? verifyInclusion(placement.proof.index, size, leaves[0] as Uint8Array, placement.proof.hashes, root)
        : verifyMultiProof(indices, size, leaves, placement.nodes, root)
    if (!check.ok) throw new ClaimError(check.reason)
    return proved(
      placement.kind === 'one'
        ? `the entry is leaf ${indices[0]} of the ${size} under the signed checkpoint`
        : `${ofRows(rows.length, rows.length)} are leaves of the ${size} under the signed checkpoint`,
    )
  },
}
