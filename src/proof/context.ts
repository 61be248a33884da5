import { anchorSlots, decodeAnchorCounts } from '../chain/slots.ts'
import type { Hex } from '../core/bytes.ts'
import type { MlDsa } from '../core/ml-dsa.ts'
import { type Checkpoint, checkSignerSets, openCheckpoint } from '../log/checkpoint.ts'
import { parseTlogProof, type TlogProof } from '../log/tlog-proof.ts'
import { type Entry, type ParsedEntry, parseEntry } from '../receipt/entry.ts'
import { type AnchoredEvent, readAnchoredEvent } from './anchored-event.ts'
import { type AnyBundle, type Bundle, isRowsBundle, OPTIONAL_FIELDS, type OptionalField } from './bundle.ts'
import { BundleError, ClaimError } from './error.ts'
import { openEvidence } from './evidence.ts'
import { type Fold, foldItems } from './fold.ts'
import { type BlockHeader, readTrustedHeader } from './header.ts'
import { once } from './once.ts'
import type { RowKey } from './rows.ts'
import { policyVkeys, retiredSigners, type TrustPolicy } from './trust-policy.ts'

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

/** One entry of the bundle, which is of the policy's chain, registry and log. */
export interface Row {
  readonly bytes: Uint8Array
  readonly entry: Entry
}

/** A row with what signs its payload. */
export interface SignedRow extends Row {
  readonly payload: Uint8Array
}

/** Where the bundle says that its entries stand in the tree of the checkpoint. */
export type Placement =
  | { readonly kind: 'one'; readonly proof: TlogProof }
  | { readonly kind: 'many'; readonly indices: readonly number[]; readonly nodes: readonly Uint8Array[] }

/** Parts that a bundle of many rows may leave out. */
const ROWS_FIELDS = ['payloads', 'receiptSigs'] as const

/**
 * What claims check against: each part of the bundle read once, when first asked for, and verified as far as its own
 * nature goes. Every method throws a `DunesError` where its part does not hold, the same at each call; the claim that asked
 * has then failed. It also keeps count of which parts were asked for, as a bundle may hold nothing without use.
 */
export interface Context {
  readonly policy: TrustPolicy
  readonly mlDsa: MlDsa
  /** How many entries the bundle has; null in a bundle of one entry. */
  readonly rowCount: number | null
  /** Whether the bundle has an optional field. Of a bundle of many rows it has `payload` where it has `payloads`, and so on. */
  has(field: OptionalField | 'completeness'): boolean
  /** The value of an optional field, which counts as used from then on. Throws where the bundle does not have it. */
  take<F extends 'consistency' | 'uri'>(field: F): NonNullable<Bundle[F]>
  /** The entries as they read, of whatever deployment. */
  parsedEntries(): ParsedEntry[]
  /** The entries, all of which are of the policy's chain, registry and log. */
  rows(): readonly Row[]
  /** The rows that come with a payload, and the keys to look for theirs in. A key counts as used once it was {@link use}d. */
  signedRows(): { rows: readonly SignedRow[]; keys: readonly RowKey[] }
  use(key: RowKey): void
  /** The rows that come with a receipt signature. */
  receiptRows(): readonly (Row & { readonly receiptSig: Uint8Array })[]
  placement(): Placement
  /** The checkpoint that the placement is under, signed by exactly the policy's keys, or by exactly a retired set of them. */
  checkpoint(): Checkpoint
  /** The header of the trusted block. */
  block(): BlockHeader
  /** The word in storage slot `slot` of a contract whose code is the pinned one, in the trusted block's state. */
  slot(contract: 'registry' | 'anchor', slot: Hex): Uint8Array
  /** ReceiptAnchor's head in the trusted block's state. */
  head(): AnchorHead
  /** The anchor's event that the bundle proves; null where it has no `anchoredEvent`. */
  anchoredEvent(): AnchoredEvent | null
  /** The contributor's settled submissions that the bundle shows to be whole; null where it has no `completeness`. */
  fold(): Fold | null
  /** What no claim has asked for, by name. */
  unused(): string[]
}

/** The parts of `bundle` for claims to check. `trustedBlockHash` is 32 bytes. */
export function openContext(
  bundle: AnyBundle,
  policy: TrustPolicy,
  trustedBlockHash: Uint8Array,
  mlDsa: MlDsa,
): Context {
  const used = new Set<unknown>()
  const vkeys = policyVkeys(policy)
  const retired = retiredSigners(policy)
  const known = [...vkeys, ...retired.flatMap((set) => set.vkeys)]
  const one = isRowsBundle(bundle) ? null : bundle
  const many = isRowsBundle(bundle) ? bundle : null

  const entries = one ? [one.entry] : (many?.rows?.entries ?? [])
  const parsedEntries = once(() => entries.map((bytes) => parseEntry(bytes)))
  const rows = once(() =>
    parsedEntries().map(({ entry }, i): Row => {
      for (const field of ['chain', 'registry', 'origin'] as const) {
        if (entry[field] !== policy[field]) {
          throw new ClaimError(
            `the entry's ${field} is ${entry[field]}, the trust policy's is ${policy[field]}`,
          )
        }
      }
      return { bytes: entries[i] as Uint8Array, entry }
    }),
  )
  const tlogProof = once(() => {
    if (one === null) throw new ClaimError('the bundle has no entry')
    const proof = parseTlogProof(one.tlogProof)
    if (proof.extra !== null)
      throw new BundleError('BUNDLE_FIELD_UNUSED', 'the tlog-proof carries extra data')
    return proof
  })
  const checkpoint = once(() => {
    const note = many?.rows ? many.rows.checkpoint : tlogProof().checkpoint
    const opened = openCheckpoint(note, { origin: policy.origin, vkeys: known, mlDsa })
    if (!opened.ok) throw new ClaimError(opened.reason)
    const signers = checkSignerSets(opened, vkeys, retired)
    if (!signers.ok) throw new ClaimError(signers.reason)
    return opened.checkpoint
  })
  const block = once(() => readTrustedHeader(bundle.evidence.header, trustedBlockHash))

  const state = openEvidence(bundle.evidence.accounts, policy, () => block().stateRoot, many !== null)
  const head = once((): AnchorHead => {
    const root = state.slot('anchor', anchorSlots.root())
    const word = state.slot('anchor', anchorSlots.counts())
    try {
      return { root, ...decodeAnchorCounts(word) }
    } catch {
      throw new ClaimError("the anchor's head holds a count that no contract of the pinned code could reach")
    }
  })
  const fold = once(() => {
    if (!many?.completeness) return null
    used.add('completeness')
    return foldItems(many.completeness, policy, (key) => state.slot('registry', key))
  })
  const anchoredEvent = once(() => {
    if (bundle.anchoredEvent === undefined) return null
    used.add('anchoredEvent')
    return readAnchoredEvent(bundle.anchoredEvent, policy.anchor, block(), state)
  })

  const partOf = (field: OptionalField | 'completeness'): unknown => {
    if (one) return field === 'completeness' ? undefined : one[field]
    switch (field) {
      case 'payload':
        return many?.rows?.payloads
      case 'publicKey':
      case 'possession':
        return many?.rows?.keys
      case 'receiptSig':
        return many?.rows?.receiptSigs
      case 'uri':
        return undefined
      default:
        return many?.[field]
    }
  }
  const take = <T>(field: OptionalField, value: T | undefined): T => {
    if (value === undefined) throw new ClaimError(`the bundle has no ${field}`)
    used.add(field)
    return value
  }
  /** The rows beside which `values`, a list parallel to them, has something. */
  const rowsWith = <K extends string>(
    name: K,
    values: readonly (Uint8Array | null)[],
  ): (Row & Record<K, Uint8Array>)[] =>
    rows().flatMap((row, i) =>
      values[i] ? [{ ...row, [name]: values[i] } as Row & Record<K, Uint8Array>] : [],
    )

  return {
    policy,
    mlDsa,
    rowCount: many && entries.length,
    has: (field) => partOf(field) !== undefined,
    take: (field) =>
      take(field, field === 'uri' ? one?.uri : bundle.consistency) as NonNullable<Bundle[typeof field]>,
    parsedEntries,
    rows,
    signedRows() {
      if (one) {
        const payload = take('payload', one.payload)
        const publicKey = take('publicKey', one.publicKey)
        const possession = take('possession', one.possession)
        return { rows: rowsWith('payload', [payload]), keys: [{ publicKey, possession }] }
      }
      const payloads = take('payload', many?.rows?.payloads)
      return { rows: rowsWith('payload', payloads), keys: many?.rows?.keys ?? [] }
    },
    use: (key) => used.add(key),
    receiptRows: () =>
      rowsWith(
        'receiptSig',
        take('receiptSig', one ? one.receiptSig && [one.receiptSig] : many?.rows?.receiptSigs),
      ),
    placement: () =>
      many?.rows
        ? { kind: 'many', indices: many.rows.indices, nodes: many.rows.nodes }
        : { kind: 'one', proof: tlogProof() },
    checkpoint,
    block,
    slot: state.slot,
    head,
    anchoredEvent,
    fold,
    unused: () => [
      ...OPTIONAL_FIELDS.filter(
        (field) => field in bundle && partOf(field) !== undefined && !used.has(field),
      ),
      ...(many ? unusedOfRows() : []),
      ...state.unused(),
    ],
  }

  function unusedOfRows(): string[] {
    const { rows: given, completeness } = many ?? {}
    return [
      ...(completeness && !used.has('completeness') ? ['completeness'] : []),
      ...ROWS_FIELDS.filter((field) => given?.[field] && !used.has(field.slice(0, -1))).map(
        (f) => `rows.${f}`,
      ),
      ...(given?.keys ?? []).flatMap((key, i) => (used.has(key) ? [] : [`rows.keys[${i}]`])),
    ]
  }
}
