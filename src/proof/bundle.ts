import { decodeUtf8, equalBytes, type Hex, toBase64, toHex } from '../core/bytes.ts'
import { DunesError } from '../core/error.ts'
import { type Json, type JsonObject, jcsBytes, parseJson } from '../core/json.ts'
import { BundleError } from './error.ts'
import { fieldReader } from './fields.ts'
import {
  type Completeness,
  encodeCompleteness,
  encodeRows,
  type Rows,
  readCompleteness,
  readRows,
} from './rows.ts'

/** The longest bundle of one entry. A payload has at most 1 MiB, a third more in base64; everything else is small beside it. */
export const BUNDLE_MAX_BYTES = 2 * 1024 * 1024
/** The longest bundle of many rows: 10,000 entries of 8 KiB do not fit, 10,000 of an ordinary length do, with their evidence. */
export const ROWS_BUNDLE_MAX_BYTES = 64 * 1024 * 1024
/** Arrays and objects open at once in the deepest place: a trie node of a slot. */
const MAX_DEPTH = 8
/** More than the longest bundle has where it is full of hashes, which are the shortest of what there are many of. */
const MAX_VALUES = 1_000_000

/** Proof of one storage slot, in the shape of EIP-1186. There is no value: it comes out of the trie. */
export interface SlotEvidence {
  /** The storage key, 32 bytes. */
  slot: Hex
  /** RLP of each node on the path, from the storage root down. */
  proof: Uint8Array[]
}

export interface AccountEvidence {
  /** 20 bytes. */
  address: Hex
  /** RLP of each node on the path, from the state root down. */
  accountProof: Uint8Array[]
  slots: SlotEvidence[]
}

/** What all slots are proved under: one header, and accounts in its state. */
export interface Evidence {
  /** RLP of the header of the block. */
  header: Uint8Array
  accounts: AccountEvidence[]
}

/** Proof of the event with which ReceiptAnchor took an anchor: a log in a transaction's receipt in a block. */
export interface AnchoredEventEvidence {
  /** RLP of the header of the event's block; absent where that is the trusted block. */
  header?: Uint8Array
  /** Place of the transaction in its block, which is its receipt's key in the trie. */
  transaction: number
  /** Place of the event among the logs of that receipt. */
  log: number
  /** RLP of each node on the path, from the receipts root down. */
  proof: Uint8Array[]
}

/** What one file holds in support of a set of claims about one entry (`dunes-proof/v1`, docs/proofs.md). Reading it verifies nothing. */
export interface Bundle {
  /** The log entry: the leaf's input. */
  entry: Uint8Array
  /** The MAML payload. */
  payload?: Uint8Array
  /** The contributor's ML-DSA-65 public key. */
  publicKey?: Uint8Array
  /** Proof that the contributor's account held the key when it was registered as its `keyIndex`th. */
  possession?: { keyIndex: number; signature: Uint8Array }
  /** The indexer's ML-DSA-65 signature over the entry. */
  receiptSig?: Uint8Array
  /** The payload's URI. Where the chain holds bytes that are not UTF-8, a bundle has none. */
  uri?: string
  /** C2SP tlog-proof: index, inclusion proof, checkpoint. */
  tlogProof: string
  /** RFC 6962 consistency proof between the checkpoint and the anchored head, from the smaller size; 32 bytes each. */
  consistency?: Uint8Array[]
  anchoredEvent?: AnchoredEventEvidence
  evidence: Evidence
}

/**
 * The same about many entries, or about a contributor's settled submissions, or both. In its evidence a slot's proof leaves
 * out the nodes that an earlier slot's proof of the same account has shown.
 */
export interface RowsBundle {
  /** Absent only where `completeness` has nothing that is in the anchored log yet. */
  rows?: Rows
  completeness?: Completeness
  /** RFC 6962 consistency proof between the rows' checkpoint and the anchored head, from the smaller size. */
  consistency?: Uint8Array[]
  anchoredEvent?: AnchoredEventEvidence
  evidence: Evidence
}

export type AnyBundle = Bundle | RowsBundle

const REQUIRED = ['entry', 'tlogProof', 'evidence'] as const
const OPTIONAL = [
  'payload',
  'publicKey',
  'possession',
  'receiptSig',
  'uri',
  'consistency',
  'anchoredEvent',
] as const
const OF_ROWS = ['rows', 'completeness'] as const
/** Fields of the format whose claims this verifier does not check. To pass over them would be to wave them through. */
const UNSUPPORTED: readonly string[] = ['epoch']

/** Whether a bundle is about many entries or a contributor, not about one entry. */
export const isRowsBundle = (bundle: AnyBundle): bundle is RowsBundle => !('entry' in bundle)

/** The names of the fields that a bundle may leave out. */
export type OptionalField = (typeof OPTIONAL)[number]
export const OPTIONAL_FIELDS: readonly OptionalField[] = OPTIONAL

/** The bundle's one encoding: its canonical JSON (RFC 8785), without a final LF. */
export function encodeBundle(bundle: AnyBundle): Uint8Array {
  const { consistency, anchoredEvent, evidence } = bundle
  return jcsBytes({
    ...(isRowsBundle(bundle) ? encodeManyParts(bundle) : encodeOneEntry(bundle)),
    ...(consistency && { consistency: consistency.map(toHex) }),
    ...(anchoredEvent && { anchoredEvent: encodeAnchoredEvent(anchoredEvent) }),
    evidence: {
      header: toHex(evidence.header),
      accounts: evidence.accounts.map(({ address, accountProof, slots }) => ({
        address,
        accountProof: accountProof.map(toHex),
        slots: slots.map(({ slot, proof }) => ({ slot, proof: proof.map(toHex) })),
      })),
    },
  })
}

const encodeManyParts = ({ rows, completeness }: RowsBundle): JsonObject => ({
  ...(rows && { rows: encodeRows(rows) }),
  ...(completeness && { completeness: encodeCompleteness(completeness) }),
})

const encodeAnchoredEvent = ({ header, transaction, log, proof }: AnchoredEventEvidence): JsonObject => ({
  ...(header && { header: toHex(header) }),
  transaction,
  log,
  proof: proof.map(toHex),
})

function encodeOneEntry({ payload, publicKey, possession, receiptSig, uri, ...bundle }: Bundle): JsonObject {
  return {
    entry: toBase64(bundle.entry),
    tlogProof: bundle.tlogProof,
    ...(payload && { payload: toBase64(payload) }),
    ...(publicKey && { publicKey: toBase64(publicKey) }),
    ...(possession && {
      possession: { keyIndex: possession.keyIndex, signature: toBase64(possession.signature) },
    }),
    ...(receiptSig && { receiptSig: toBase64(receiptSig) }),
    ...(uri !== undefined && { uri }),
  }
}

/**
 * Reads a bundle: at most {@link BUNDLE_MAX_BYTES}, or {@link ROWS_BUNDLE_MAX_BYTES} where it has `rows` or `completeness`;
 * strict JSON, exactly its own canonical encoding with or without one final LF, known fields alone. Throws only
 * {@link BundleError}.
 */
export function decodeAnyBundle(bytes: Uint8Array): AnyBundle {
  const value = readJson(bytes)
  const body = bytes.at(-1) === 0x0a ? bytes.subarray(0, -1) : bytes
  if (!equalBytes(jcsBytes(value), body)) {
    throw new BundleError('BUNDLE_NOT_CANONICAL', 'the bundle is not in canonical JSON (RFC 8785)', {
      hint: 'verify the file as it was made; editors and formatters change bundles',
    })
  }
  return readBundle(value)
}

/** Reads a bundle of one entry, as {@link decodeAnyBundle} does; one of many rows is refused. */
export function decodeBundle(bytes: Uint8Array): Bundle {
  const bundle = decodeAnyBundle(bytes)
  if (!isRowsBundle(bundle)) return bundle
  throw new BundleError('BUNDLE_MALFORMED', 'the bundle is about many rows, not about one entry')
}

const tooLarge = (most: number): BundleError =>
  new BundleError('BUNDLE_TOO_LARGE', `a bundle of this kind has at most ${most} bytes`)

function readJson(bytes: Uint8Array): Json {
  if (bytes.length > ROWS_BUNDLE_MAX_BYTES) throw tooLarge(ROWS_BUNDLE_MAX_BYTES)
  let text: string
  try {
    text = decodeUtf8(bytes)
  } catch {
    throw new BundleError('BUNDLE_MALFORMED', 'the bundle is not UTF-8')
  }
  // Only a bundle of rows may be longer. Within a string these characters stand escaped, so no text looks like the field.
  if (bytes.length > BUNDLE_MAX_BYTES && !OF_ROWS.some((field) => text.includes(`"${field}":{`)))
    throw tooLarge(BUNDLE_MAX_BYTES)
  try {
    return parseJson(text, { maxDepth: MAX_DEPTH, maxValues: MAX_VALUES })
  } catch (error) {
    if (!(error instanceof DunesError)) throw error
    throw new BundleError('BUNDLE_MALFORMED', `the bundle is not strict JSON: ${error.message}`, {
      details: error.details,
    })
  }
}

function readBundle(value: Json): AnyBundle {
  const refuse = (path: string, message: string): never => {
    throw new BundleError('BUNDLE_MALFORMED', `${path || 'the bundle'} ${message}`, { details: { path } })
  }
  const f = fieldReader(refuse)
  const root = f.object(value, '')
  for (const key of Object.keys(root)) {
    if (UNSUPPORTED.includes(key)) {
      throw new BundleError('BUNDLE_FIELD_UNSUPPORTED', `this verifier does not know how to check ${key}`, {
        hint: 'use a verifier that does',
        details: { field: key },
      })
    }
    if (!([...REQUIRED, ...OPTIONAL, ...OF_ROWS] as string[]).includes(key)) {
      throw new BundleError(
        'BUNDLE_FIELD_UNKNOWN',
        'the bundle has a field that this verifier does not know',
        {
          details: { field: key.slice(0, 64) },
        },
      )
    }
  }
  if (OF_ROWS.some((field) => Object.hasOwn(root, field))) {
    f.only(root, '', ['evidence'], [...OF_ROWS, 'consistency', 'anchoredEvent'])
    const evidence = readEvidence()
    return {
      ...(Object.hasOwn(root, 'rows') && { rows: readRows(root['rows'], f, refuse) }),
      ...(Object.hasOwn(root, 'completeness') && {
        completeness: readCompleteness(root['completeness'], f, refuse),
      }),
      ...(Object.hasOwn(root, 'consistency') && { consistency: readConsistency() }),
      ...(Object.hasOwn(root, 'anchoredEvent') && { anchoredEvent: readAnchoredEvent() }),
      evidence,
    }
  }
  f.only(root, '', REQUIRED, OPTIONAL)
  const bundle: Bundle = {
    entry: f.base64(root['entry'], 'entry'),
    tlogProof: f.text(root['tlogProof'], 'tlogProof'),
    evidence: readEvidence(),
  }
  if (Object.hasOwn(root, 'payload')) bundle.payload = f.base64(root['payload'], 'payload')
  if (Object.hasOwn(root, 'publicKey')) bundle.publicKey = f.base64(root['publicKey'], 'publicKey')
  if (Object.hasOwn(root, 'receiptSig')) bundle.receiptSig = f.base64(root['receiptSig'], 'receiptSig')
  if (Object.hasOwn(root, 'uri')) bundle.uri = f.text(root['uri'], 'uri')
  if (Object.hasOwn(root, 'consistency')) bundle.consistency = readConsistency()
  if (Object.hasOwn(root, 'anchoredEvent')) bundle.anchoredEvent = readAnchoredEvent()
  if (Object.hasOwn(root, 'possession')) {
    const possession = f.object(root['possession'], 'possession')
    f.only(possession, 'possession', ['keyIndex', 'signature'])
    bundle.possession = {
      keyIndex: f.count(possession['keyIndex'], 'possession.keyIndex'),
      signature: f.base64(possession['signature'], 'possession.signature'),
    }
  }
  return bundle

  function readConsistency(): Uint8Array[] {
    return f
      .array(root['consistency'], 'consistency')
      .map((hash, i) => f.hexBytes(hash, `consistency[${i}]`, 32))
  }

  function readAnchoredEvent(): AnchoredEventEvidence {
    const path = 'anchoredEvent'
    const event = f.object(root[path], path)
    f.only(event, path, ['transaction', 'log', 'proof'], ['header'])
    return {
      ...(Object.hasOwn(event, 'header') && { header: f.hexBytes(event['header'], `${path}.header`) }),
      transaction: f.count(event['transaction'], `${path}.transaction`),
      log: f.count(event['log'], `${path}.log`),
      proof: readNodes(event['proof'], `${path}.proof`),
    }
  }

  function readEvidence(): Evidence {
    const evidence = f.object(root['evidence'], 'evidence')
    f.only(evidence, 'evidence', ['header', 'accounts'])
    return {
      header: f.hexBytes(evidence['header'], 'evidence.header'),
      accounts: f
        .array(evidence['accounts'], 'evidence.accounts')
        .map((account, i) => readAccount(account, `evidence.accounts[${i}]`)),
    }
  }

  function readAccount(json: Json, path: string): AccountEvidence {
    const account = f.object(json, path)
    f.only(account, path, ['address', 'accountProof', 'slots'])
    return {
      address: f.hex(account['address'], `${path}.address`, 20),
      accountProof: readNodes(account['accountProof'], `${path}.accountProof`),
      slots: f.array(account['slots'], `${path}.slots`).map((slotJson, i) => {
        const slotPath = `${path}.slots[${i}]`
        const slot = f.object(slotJson, slotPath)
        f.only(slot, slotPath, ['slot', 'proof'])
        return {
          slot: f.hex(slot['slot'], `${slotPath}.slot`, 32),
          proof: readNodes(slot['proof'], `${slotPath}.proof`),
        }
      }),
    }
  }

  function readNodes(json: Json | undefined, path: string): Uint8Array[] {
    return f.array(json, path).map((node, i) => f.hexBytes(node, `${path}[${i}]`))
  }
}
