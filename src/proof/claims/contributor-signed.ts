import { evmChainId } from '../../chain/ids.ts'
import { keyPossessionDigest } from '../../chain/record.ts'
import { type Hex, sha256, toHex } from '../../core/bytes.ts'
import { parseMaml } from '../../maml/parse.ts'
import { verifyPossession } from '../../maml/possession.ts'
import { verifyMaml } from '../../maml/sign.ts'
import type { Entry } from '../../receipt/entry.ts'
import type { OptionalField } from '../bundle.ts'
import type { Context } from '../context.ts'
import { ClaimError } from '../error.ts'
import type { RowKey } from '../rows.ts'
import { type Claim, proved } from './claim.ts'
import { checkEach, ofRows } from './rows.ts'

const NEEDED: readonly OptionalField[] = ['payload', 'publicKey', 'possession']

/**
 * The key that was in force at the submission signed the payload, and whoever registered it held it. The key's id and the
 * payload's hash are those of the record on the chain, which is why `onChain` comes first. Of many rows it speaks of those
 * that come with a payload.
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
    const { rows, keys } = context.signedRows()
    const findKey = keyFinder(context, keys)
    checkEach(context, rows, ({ entry, payload }) => {
      if (toHex(sha256(payload)) !== entry.payload.sha256) {
        throw new ClaimError('the SHA-256 of the payload is not the one on the chain')
      }
      if (payload.length !== entry.payload.bytes) {
        throw new ClaimError(`the payload has ${payload.length} bytes, the chain says ${entry.payload.bytes}`)
      }
      const { publicKey } = findKey(entry)
      const parsed = parseMaml(payload)
      if (parsed.signature.kind !== 'present')
        throw new ClaimError('the payload carries no signature in form')
      if (!verifyMaml(parsed, publicKey, context.mlDsa)) {
        throw new ClaimError("the payload's signature does not verify with the contributor's key")
      }
    })
    const [row, key] = [rows[0], keys[0]]
    if (context.rowCount === null && row && key)
      return proved(
        `key ${key.possession.keyIndex} of ${row.entry.contributor} signed these ${row.payload.length} bytes`,
      )
    return proved(`their contributors signed the payloads of ${ofRows(rows.length, context.rows().length)}`)
  },
}

/** Finds the key with the id in an entry whose proof of possession by the entry's contributor verifies: each looked at once. */
function keyFinder(context: Context, keys: readonly RowKey[]): (entry: Entry) => RowKey {
  const byId = new Map<Hex, RowKey[]>()
  for (const key of keys) {
    const id = toHex(sha256(key.publicKey))
    byId.set(id, [...(byId.get(id) ?? []), key])
  }
  const found = new Map<string, RowKey>()
  return ({ chain, registry, contributor: account, payloadSig: { keyId } }) => {
    const name = `${keyId} ${account}`
    const known = found.get(name)
    if (known) return known
    const candidates = byId.get(keyId) ?? []
    if (candidates.length === 0)
      throw new ClaimError('the public key is not the one in force at the submission')
    const key = candidates.find(({ publicKey, possession: { keyIndex, signature } }) => {
      const digest = keyPossessionDigest({ chainId: evmChainId(chain), registry, account, keyIndex })
      return verifyPossession(publicKey, digest, signature, context.mlDsa)
    })
    if (!key) throw new ClaimError("the key's proof of possession does not verify")
    context.use(key)
    found.set(name, key)
    return key
  }
}
