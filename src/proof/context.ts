import { anchorSlots, decodeAnchorCounts } from '../chain/slots.ts'
import { equalBytes, fromHex, type Hex } from '../core/bytes.ts'
import type { MlDsa } from '../core/ml-dsa.ts'
import { type Checkpoint, checkSigners, openCheckpoint } from '../log/checkpoint.ts'
import { parseTlogProof, type TlogProof } from '../log/tlog-proof.ts'
import { type ParsedEntry, parseEntry } from '../receipt/entry.ts'
import { type AccountEvidence, type Bundle, OPTIONAL_FIELDS, type OptionalField } from './bundle.ts'
import { BundleError, ClaimError, TrieError } from './error.ts'
import { type BlockHeader, readTrustedHeader } from './header.ts'
import { verifyAccount, verifySlot } from './trie.ts'
import { policyVkeys, type TrustPolicy } from './trust-policy.ts'

/** The anchored head, read from ReceiptAnchor's storage. */
export interface AnchorHead {
  /** 32 bytes; that of the empty tree before the first anchor. */
  root: Uint8Array
  /** Leaves of the anchored tree. */
  size: number
  /** How many anchors there were. */
  seq: number
  /** Block and time (seconds) of the latest anchor. */
  blockNumber: number
  time: number
}

/**
 * What claims check against: each part of the bundle read once, when first asked for, and verified as far as its own
 * nature goes. Every method throws a `DunesError` where its part does not hold, the same at each call; the claim that asked
 * has then failed. It also keeps count of which parts were asked for, as a bundle may hold nothing without use.
 */
export interface Context {
  readonly policy: TrustPolicy
  readonly mlDsa: MlDsa
  /** The entry's bytes, as they are in the bundle. */
  readonly entryBytes: Uint8Array
  /** Whether the bundle has an optional field. */
  has(field: OptionalField): boolean
  /** The value of an optional field, which counts as used from then on. Throws where the bundle does not have it. */
  take<F extends OptionalField>(field: F): NonNullable<Bundle[F]>
  /** The entry as it reads, of whatever deployment. */
  parsedEntry(): ParsedEntry
  /** The entry, which is of the policy's chain, registry and log. */
  entry(): ParsedEntry
  tlogProof(): TlogProof
  /** The checkpoint of the tlog-proof, signed by exactly the policy's keys. */
  checkpoint(): Checkpoint
  /** The header of the trusted block. */
  block(): BlockHeader
  /** The word in storage slot `slot` of a contract whose code is the pinned one, in the trusted block's state. */
  slot(contract: 'registry' | 'anchor', slot: Hex): Uint8Array
  /** ReceiptAnchor's head in the trusted block's state. */
  head(): AnchorHead
  /** What no claim has asked for, by name. */
  unused(): string[]
}

/** The value of `make`, made at the first call; what it throws is thrown again at every call. */
function once<T>(make: () => T): () => T {
  let outcome: { value: T } | { error: unknown } | undefined
  return () => {
    if (outcome === undefined) {
      try {
        outcome = { value: make() }
      } catch (error) {
        outcome = { error }
      }
    }
    if ('error' in outcome) throw outcome.error
    return outcome.value
  }
}

/** The parts of `bundle` for claims to check. `trustedBlockHash` is 32 bytes. */
export function openContext(
  bundle: Bundle,
  policy: TrustPolicy,
  trustedBlockHash: Uint8Array,
  mlDsa: MlDsa,
): Context {
  const used = new Set<unknown>()
  const vkeys = policyVkeys(policy)

  const parsedEntry = once(() => parseEntry(bundle.entry))
  const entry = once(() => {
    const parsed = parsedEntry()
    for (const field of ['chain', 'registry', 'origin'] as const) {
      if (parsed.entry[field] !== policy[field]) {
        throw new ClaimError(
          `the entry's ${field} is ${parsed.entry[field]}, the trust policy's is ${policy[field]}`,
        )
      }
    }
    return parsed
  })
  const tlogProof = once(() => {
    const proof = parseTlogProof(bundle.tlogProof)
    if (proof.extra !== null)
      throw new BundleError('BUNDLE_FIELD_UNUSED', 'the tlog-proof carries extra data')
    return proof
  })
  const checkpoint = once(() => {
    const opened = openCheckpoint(tlogProof().checkpoint, { origin: policy.origin, vkeys, mlDsa })
    if (!opened.ok) throw new ClaimError(opened.reason)
    const signers = checkSigners(opened, vkeys)
    if (!signers.ok) throw new ClaimError(signers.reason)
    return opened.checkpoint
  })
  const block = once(() => readTrustedHeader(bundle.evidence.header, trustedBlockHash))

  /** A trie proof with a node too many is a bundle with something in it that no claim uses. */
  const refusingUnused = <T>(verify: () => T): T => {
    try {
      return verify()
    } catch (error) {
      if (!(error instanceof TrieError) || error.code !== 'TRIE_NODE_UNUSED') throw error
      throw new BundleError('BUNDLE_FIELD_UNUSED', error.message)
    }
  }
  const account = (contract: 'registry' | 'anchor') => {
    const evidence = bundle.evidence.accounts.find(({ address }) => address === policy[contract])
    if (evidence === undefined) {
      throw new ClaimError(`the bundle has no evidence about the policy's ${contract} ${policy[contract]}`)
    }
    used.add(evidence)
    const { stateRoot } = block()
    const address = fromHex(evidence.address, 20)
    const found = refusingUnused(() => verifyAccount(stateRoot, address, evidence.accountProof))
    if (found === null)
      throw new ClaimError(`there is no account at the policy's ${contract} in the trusted block`)
    if (!equalBytes(found.codeHash, fromHex(policy.codeHashes[contract], 32))) {
      throw new ClaimError(`the code of the ${contract} is not the one that the trust policy pins`)
    }
    return { evidence, storageRoot: found.storageRoot }
  }
  const accounts = { registry: once(() => account('registry')), anchor: once(() => account('anchor')) }
  const slot = (contract: 'registry' | 'anchor', key: Hex): Uint8Array => {
    const { evidence, storageRoot } = accounts[contract]()
    const proved = evidence.slots.find((each) => each.slot === key)
    if (proved === undefined) throw new ClaimError(`the bundle does not prove slot ${key} of the ${contract}`)
    used.add(proved)
    return refusingUnused(() => verifySlot(storageRoot, fromHex(key, 32), proved.proof))
  }
  const head = once((): AnchorHead => {
    const root = slot('anchor', anchorSlots.root())
    const word = slot('anchor', anchorSlots.counts())
    try {
      return { root, ...decodeAnchorCounts(word) }
    } catch {
      throw new ClaimError("the anchor's head holds a count that no contract of the pinned code could reach")
    }
  })

  return {
    policy,
    mlDsa,
    entryBytes: bundle.entry,
    has: (field) => bundle[field] !== undefined,
    take(field) {
      const value = bundle[field]
      if (value === undefined) throw new ClaimError(`the bundle has no ${field}`)
      used.add(field)
      return value as NonNullable<Bundle[typeof field]>
    },
    parsedEntry,
    entry,
    tlogProof,
    checkpoint,
    block,
    slot,
    head,
    unused: () => [
      ...OPTIONAL_FIELDS.filter((field) => bundle[field] !== undefined && !used.has(field)),
      ...bundle.evidence.accounts.flatMap((each, i) => unusedIn(each, `evidence.accounts[${i}]`)),
    ],
  }

  function unusedIn(evidence: AccountEvidence, path: string): string[] {
    if (!used.has(evidence)) return [path]
    return evidence.slots.flatMap((each, i) => (used.has(each) ? [] : [`${path}.slots[${i}]`]))
  }
}
