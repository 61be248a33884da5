import { fromHex, type Hex, toHex } from '../core/bytes.ts'
import { type AccountEvidence, type AnyBundle, decodeAnyBundle, encodeBundle } from './bundle.ts'

/** The members of an `eth_getProof` answer (EIP-1186) that evidence takes; its values are left behind. */
export interface RpcAccountProof {
  readonly address: string
  readonly accountProof: readonly string[]
  readonly storageProof: readonly { readonly key: string; readonly proof: readonly string[] }[]
}

/** What some nodes answer for the proof of an empty trie: the RLP of nothing, where a bundle has no node. */
const EMPTY_NODE = '0x80'

const nodes = (proof: readonly string[]): Uint8Array[] =>
  proof.length === 1 && proof[0] === EMPTY_NODE ? [] : proof.map((node) => fromHex(node.toLowerCase()))

/**
 * The evidence about one account from what `eth_getProof` answered, slots in the same order. Keys may come without their
 * leading zeros, as some nodes answer them. Throws `BAD_HEX` where the answer is malformed.
 */
export const accountEvidence = (answer: RpcAccountProof): AccountEvidence => ({
  address: answer.address.toLowerCase() as Hex,
  accountProof: nodes(answer.accountProof),
  slots: answer.storageProof.map(({ key, proof }) => ({
    slot: `0x${key.toLowerCase().replace(/^0x/, '').padStart(64, '0')}`,
    proof: nodes(proof),
  })),
})

/**
 * The same evidence as a bundle of many rows carries it: each slot's proof without the nodes that an earlier slot's has shown.
 */
export function shareNodes(evidence: AccountEvidence): AccountEvidence {
  const shown = new Set<Hex>()
  const isNew = (node: Uint8Array): boolean => {
    const name = toHex(node)
    if (shown.has(name)) return false
    shown.add(name)
    return true
  }
  return {
    ...evidence,
    slots: evidence.slots.map(({ slot, proof }) => ({ slot, proof: proof.filter(isNew) })),
  }
}

/**
 * The bytes of the bundle made of `parts`, read back once, so that nothing is handed out which a verifier could not read.
 * Put in `payload`, `publicKey` and `possession` together or not at all, and `consistency` only where the checkpoint's size
 * and the anchored size differ: a verifier refuses what no claim uses. Throws `BundleError`.
 */
export function assembleBundle(parts: AnyBundle): Uint8Array {
  const bytes = encodeBundle(parts)
  decodeAnyBundle(bytes)
  return bytes
}
