import { ZERO_WORD } from '../../chain/record.ts'
import { registrySlots } from '../../chain/slots.ts'
import { type Hex, sha256, toHex, utf8 } from '../../core/bytes.ts'
import type { Entry } from '../../receipt/entry.ts'
import type { Context } from '../context.ts'
import { ClaimError } from '../error.ts'
import { entryRecord } from '../record.ts'
import { type Claim, proved } from './claim.ts'
import { checkEach, ofRows, withoutRows } from './rows.ts'

/**
 * The registry holds the hash of the fields as the entry gives them. So the entry agrees with the chain in every field that
 * the hash covers, and in no other: docs/proofs.md lists both. The hash stands in the submission's `record` slot, or in
 * the contributor's hash chain where the bundle shows that whole: settling puts it into both.
 */
export const onChain: Claim = {
  name: 'onChain',
  shows: 'The chain holds this submission as settled, with exactly the fields that the receipt gives.',
  prerequisites: [],
  missing: withoutRows,
  check(context) {
    const rows = context.rows()
    const { number } = context.block()
    checkEach(context, rows, ({ entry }) => {
      if (storedRecord(context, entry) !== entryRecord(entry))
        throw new ClaimError("the registry's record is not the hash of the entry's fields")
    })
    const [row] = rows
    if (row && context.has('uri') && toHex(sha256(utf8(context.take('uri')))) !== row.entry.uriSha256) {
      throw new ClaimError('the SHA-256 of the uri is not the one on the chain')
    }
    return proved(
      context.rowCount === null
        ? `the registry's record in block ${number} is the hash of the entry's fields`
        : `the registry's records in block ${number} are the hashes of the fields of ${ofRows(rows.length, rows.length)}`,
    )
  },
}

function storedRecord(context: Context, { submission, contributor, seq }: Entry): Hex {
  const fold = context.fold()
  const step = fold?.contributor === contributor ? fold.steps[seq - fold.fromSeq] : undefined
  if (step) return step.record
  const stored = toHex(context.slot('registry', registrySlots.record(submission)))
  if (stored === ZERO_WORD) throw new ClaimError('the registry holds no settled submission with this id')
  return stored
}
