import { evmChainId } from '../../chain/ids.ts'
import { keyPossessionDigest } from '../../chain/record.ts'
import { sha256, toHex } from '../../core/bytes.ts'
import { parseMaml } from '../../maml/parse.ts'
import { verifyPossession } from '../../maml/possession.ts'
import { verifyMaml } from '../../maml/sign.ts'
import type { OptionalField } from '../bundle.ts'
import { ClaimError } from '../error.ts'
import { type Claim, proved } from './claim.ts'

const NEEDED: readonly OptionalField[] = ['payload', 'publicKey', 'possession']

/**
 * The key that was in force at the submission signed the payload, and whoever registered it held it. The key's id and the
 * payload's hash are those of the record on the chain, which is why `onChain` comes first.
 */
export const contributorSigned: Claim = {
  name: 'contributorSigned',
  shows: 'The contributor signed exactly this payload, with a key that its account had proved to hold.',
  prerequisites: ['onChain'],
  missing(context) {
    const absent = NEEDED.filter((field) => !context.has(field))
    return absent.length === 0 ? null : `the bundle has no ${absent.join(', ')}`
  },
  check(context) {
    const { entry } = context.entry()
    const payload = context.take('payload')
    const publicKey = context.take('publicKey')
    const { keyIndex, signature } = context.take('possession')
    if (toHex(sha256(payload)) !== entry.payload.sha256) {
      throw new ClaimError('the SHA-256 of the payload is not the one on the chain')
    }
    if (payload.length !== entry.payload.bytes) {
      throw new ClaimError(`the payload has ${payload.length} bytes, the chain says ${entry.payload.bytes}`)
    }
    if (toHex(sha256(publicKey)) !== entry.payloadSig.keyId) {
      throw new ClaimError('the public key is not the one in force at the submission')
    }
    const digest = keyPossessionDigest({
      chainId: evmChainId(entry.chain),
      registry: entry.registry,
      account: entry.contributor,
      keyIndex,
    })
    if (!verifyPossession(publicKey, digest, signature, context.mlDsa)) {
      throw new ClaimError("the key's proof of possession does not verify")
    }
    const parsed = parseMaml(payload)
    if (parsed.signature.kind !== 'present') throw new ClaimError('the payload carries no signature in form')
    if (!verifyMaml(parsed, publicKey, context.mlDsa)) {
      throw new ClaimError("the payload's signature does not verify with the contributor's key")
    }
    return proved(`key ${keyIndex} of ${entry.contributor} signed these ${payload.length} bytes`)
  },
}
