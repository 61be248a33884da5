import { leafHash, verifyInclusion } from '../../log/merkle.ts'
import { ClaimError } from '../error.ts'
import { type Claim, proved } from './claim.ts'

/** The entry is the leaf that its index names, in a tree that the log has signed for (RFC 9162 section 2.1.3.2). */
export const included: Claim = {
  name: 'included',
  shows:
    'The receipt is in the log, at its own index, under a checkpoint signed by every key that you trust for it.',
  prerequisites: [],
  check(context) {
    const { index } = context.entry().entry
    const proof = context.tlogProof()
    if (proof.index !== index) {
      throw new ClaimError(`the entry's index is ${index}, the inclusion proof's is ${proof.index}`)
    }
    const { size, root } = context.checkpoint()
    const check = verifyInclusion(index, size, leafHash(context.entryBytes), proof.hashes, root)
    if (!check.ok) throw new ClaimError(check.reason)
    return proved(`the entry is leaf ${index} of the ${size} under the signed checkpoint`)
  },
}
