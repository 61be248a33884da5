import { verifyEntry } from '../../receipt/sign.ts'
import { ClaimError } from '../error.ts'
import { receiptKeysAt } from '../trust-policy.ts'
import { type Claim, proved } from './claim.ts'
import { checkEach, ofRows } from './rows.ts'

/**
 * The indexer signed the entry with a receipt key that the policy holds valid at its index. Of many rows it speaks of those
 * that come with a signature.
 */
export const receiptSigned: Claim = {
  name: 'receiptSigned',
  shows: 'The indexer itself signed this receipt, with a key that you trust for receipts of that index.',
  prerequisites: [],
  missing: (context) => (context.has('receiptSig') ? null : 'the bundle has no receiptSig'),
  check(context) {
    const rows = context.receiptRows()
    checkEach(context, rows, ({ entry: { index }, bytes, receiptSig }) => {
      const keys = receiptKeysAt(context.policy, index)
      if (keys.length === 0)
        throw new ClaimError(`the trust policy holds no receipt key valid at index ${index}`)
      if (!keys.some((key) => verifyEntry(bytes, receiptSig, key, context.mlDsa))) {
        throw new ClaimError(`no receipt key valid at index ${index} has made this signature`)
      }
    })
    return proved(
      context.rowCount === null
        ? `a receipt key valid at index ${rows[0]?.entry.index} signed the entry`
        : `receipt keys valid at their indices signed the entries of ${ofRows(rows.length, context.rows().length)}`,
    )
  },
}
