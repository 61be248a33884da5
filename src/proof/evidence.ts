import { BLOCK_HISTORY } from '../chain/block-history.ts'
import { equalBytes, fromHex, type Hex } from '../core/bytes.ts'
import type { AccountEvidence } from './bundle.ts'
import { BundleError, ClaimError, TrieError } from './error.ts'
import { once } from './once.ts'
import { type KnownNodes, verifyAccount, verifySlot } from './trie.ts'
import type { TrustPolicy } from './trust-policy.ts'

/** The contracts whose slots a bundle may prove: the policy's two, and the protocol's own record of block hashes. */
export type PinnedContract = 'registry' | 'anchor' | 'block history'

/** Proved words of the contracts in one block's state. */
export interface StateEvidence {
  /** The word in storage slot `key` of a contract whose code is the pinned one. Throws a `DunesError` where that is not proved. */
  slot(contract: PinnedContract, key: Hex): Uint8Array
  /** Accounts and slots that nobody has asked for, by their place in the bundle. */
  unused(): string[]
}

/**
 * Reads `accounts` under the state root that `stateRoot` answers, each account and slot when first asked for. With `shared` a slot's
 * proof leaves out the nodes that an earlier slot's proof of the same account has shown.
 */
export function openEvidence(
  accounts: readonly AccountEvidence[],
  policy: TrustPolicy,
  stateRoot: () => Uint8Array,
  shared: boolean,
): StateEvidence {
  const used = new Set<unknown>()
  const account = (contract: PinnedContract) => {
    const { address, codeHash, name } = pinned(policy, contract)
    const evidence = accounts.find((each) => each.address === address)
    if (evidence === undefined) throw new ClaimError(`the bundle has no evidence about ${name} ${address}`)
    used.add(evidence)
    const root = stateRoot()
    const found = refusingUnused(() => verifyAccount(root, fromHex(address, 20), evidence.accountProof))
    if (found === null) throw new ClaimError(`there is no account at ${name} in the trusted block`)
    if (!equalBytes(found.codeHash, fromHex(codeHash, 32)))
      throw new ClaimError(`the code of the ${contract} is not the one that ${PINNED_BY[contract]} pins`)
    return readSlots(evidence, found.storageRoot)
  }
  /** Readers of the slots that `evidence` proves, by key; the first of two for one key. */
  const readSlots = (
    { slots }: AccountEvidence,
    storageRoot: Uint8Array,
  ): ReadonlyMap<Hex, () => Uint8Array> => {
    const known: KnownNodes | undefined = shared ? new Map() : undefined
    const readers = slots.map((each) =>
      once(() => refusingUnused(() => verifySlot(storageRoot, fromHex(each.slot, 32), each.proof, known))),
    )
    const out = new Map<Hex, () => Uint8Array>()
    let readBefore = 0
    slots.forEach((each, i) => {
      if (out.has(each.slot)) return
      out.set(each.slot, () => {
        used.add(each)
        // A proof that leans on those before it can be read only after them.
        if (known) for (const read of readers.slice(readBefore, i)) attempt(read)
        readBefore = Math.max(readBefore, i)
        return (readers[i] as () => Uint8Array)()
      })
    })
    return out
  }
  const slotsOf = {
    registry: once(() => account('registry')),
    anchor: once(() => account('anchor')),
    'block history': once(() => account('block history')),
  }
  return {
    slot(contract, key) {
      const read = slotsOf[contract]().get(key)
      if (read === undefined) throw new ClaimError(`the bundle does not prove slot ${key} of the ${contract}`)
      return read()
    },
    unused: () =>
      accounts.flatMap((each, i) => {
        const path = `evidence.accounts[${i}]`
        if (!used.has(each)) return [path]
        return each.slots.flatMap((slot, at) => (used.has(slot) ? [] : [`${path}.slots[${at}]`]))
      }),
  }
}

const PINNED_BY = {
  registry: 'the trust policy',
  anchor: 'the trust policy',
  'block history': 'EIP-2935',
} as const

const pinned = (
  policy: TrustPolicy,
  contract: PinnedContract,
): { address: Hex; codeHash: Hex; name: string } =>
  contract === 'block history'
    ? { ...BLOCK_HISTORY, name: 'the block history contract' }
    : { address: policy[contract], codeHash: policy.codeHashes[contract], name: `the policy's ${contract}` }

/** Runs `verify`. A trie proof with a node too many is a bundle with something in it that no claim uses. */
export function refusingUnused<T>(verify: () => T): T {
  try {
    return verify()
  } catch (error) {
    if (!(error instanceof TrieError) || error.code !== 'TRIE_NODE_UNUSED') throw error
    throw new BundleError('BUNDLE_FIELD_UNUSED', error.message)
  }
}

/** Runs `read` for what it leaves behind. Whatever it throws, it throws again for whoever asks for its value. */
function attempt(read: () => unknown): void {
  try {
    read()
  } catch {
    // Nobody has asked yet.
  }
}
