import { evmChainId } from '../../chain/ids.ts'
import { recordHash, ZERO_WORD } from '../../chain/record.ts'
import { registrySlots } from '../../chain/slots.ts'
import { sha256, toHex, utf8 } from '../../core/bytes.ts'
import { ClaimError } from '../error.ts'
import { type Claim, proved } from './claim.ts'

/**
 * The registry's `record` slot of the submission holds the hash of the fields as the entry gives them. So the entry
 * agrees with the chain in every field that the hash covers, and in no other: docs/proofs.md lists both.
 */
export const onChain: Claim = {
  name: 'onChain',
  shows: 'The chain holds this submission as settled, with exactly the fields that the receipt gives.',
  prerequisites: [],
  check(context) {
    const { entry } = context.entry()
    const { number } = context.block()
    const stored = toHex(context.slot('registry', registrySlots.record(entry.submission)))
    if (stored === ZERO_WORD) throw new ClaimError('the registry holds no settled submission with this id')
    const record = recordHash({
      chainId: evmChainId(entry.chain),
      registry: entry.registry,
      id: entry.submission,
      contributor: entry.contributor,
      sensor: entry.sensor,
      dataset: entry.dataset,
      schemaSha256: entry.schemaSha256,
      payloadHash: entry.payload.sha256,
      payloadBytes: entry.payload.bytes,
      uriSha256: entry.uriSha256,
      keyId: entry.payloadSig.keyId,
      submittedBlock: entry.submitted.block,
      seq: entry.seq,
      index: entry.index,
      outcome: entry.outcome,
    })
    if (stored !== record) throw new ClaimError("the registry's record is not the hash of the entry's fields")
    if (context.has('uri') && toHex(sha256(utf8(context.take('uri')))) !== entry.uriSha256) {
      throw new ClaimError('the SHA-256 of the uri is not the one on the chain')
    }
    return proved(`the registry's record in block ${number} is the hash of the entry's fields`)
  },
}
