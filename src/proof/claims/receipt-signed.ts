import { verifyEntry } from '../../receipt/sign.ts'
import { ClaimError } from '../error.ts'
import { receiptKeysAt } from '../trust-policy.ts'
import { type Claim, proved } from './claim.ts'

/** The indexer signed the entry with a receipt key that the policy holds valid at its index. */
export const receiptSigned: Claim = {
  name: 'receiptSigned',
  shows: 'The indexer itself signed this receipt, with a key that you trust for receipts of that index.',
  prerequisites: [],
  missing: (context) => (context.has('receiptSig') ? null : 'the bundle has no receiptSig'),
  check(context) {
    const { index } = context.entry().entry
    const signature = context.take('receiptSig')
    const keys = receiptKeysAt(context.policy, index)
    if (keys.length === 0)
      throw new ClaimError(`the trust policy holds no receipt key valid at index ${index}`)
    if (!keys.some((key) => verifyEntry(context.entryBytes, signature, key, context.mlDsa))) {
      throw new ClaimError(`no receipt key valid at index ${index} has made this signature`)
    }
    return proved(`a receipt key valid at index ${index} signed the entry`)
  },
}
