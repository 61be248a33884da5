import type { RecordFields } from '../chain/record.ts'
import { type Hex, toBase64 } from '../core/bytes.ts'
import type { Json, JsonObject } from '../core/json.ts'
import type { Outcome } from '../receipt/entry.ts'
import { OUTCOMES } from '../receipt/entry.ts'
import type { Fields } from './fields.ts'

/** The most rows of a bundle, and the most items of its `completeness`: a month of a reading every five minutes, and some. */
export const MAX_ROWS = 10_000

/** A contributor's public key (ML-DSA-65) with its proof of possession by an account, as its `keyIndex`th. */
export interface RowKey {
  publicKey: Uint8Array
  possession: { keyIndex: number; signature: Uint8Array }
}

/** Many entries under one checkpoint, by one multi-proof (docs/proofs.md). Lists run parallel to `indices`. */
export interface Rows {
  /** The signed checkpoint, verbatim; its size is the tree's. */
  checkpoint: string
  /** Leaf indices, ascending, 1 to {@link MAX_ROWS}. */
  indices: number[]
  entries: Uint8Array[]
  /** Nodes of the multi-proof, 32 bytes each. */
  nodes: Uint8Array[]
  /** MAML payloads; null where one is left out. Comes with `keys`. */
  payloads?: (Uint8Array | null)[]
  /** The keys that signed the payloads, found by their hash. */
  keys?: RowKey[]
  /** The indexer's signatures over the entries; null where one is left out. */
  receiptSigs?: (Uint8Array | null)[]
}

/** A settled submission as its record has it, without what the place among the items says: contributor and seq. */
export interface CompletenessItem extends Omit<RecordFields, 'chainId' | 'registry' | 'contributor' | 'seq'> {
  readonly payloadBytes: number
  readonly submittedBlock: number
  readonly index: number
}

/** Every settled submission of a contributor from seq `fromSeq` on, in order. */
export interface Completeness {
  /** 20 bytes. */
  contributor: Hex
  /** 0, or a multiple of 256: where the registry kept the contributor's accumulator. */
  fromSeq: number
  items: CompletenessItem[]
}

const orNull = <T>(value: T | null, encode: (value: T) => Json): Json =>
  value === null ? null : encode(value)

export const encodeRows = (rows: Rows): JsonObject => ({
  checkpoint: rows.checkpoint,
  indices: rows.indices,
  entries: rows.entries.map(toBase64),
  nodes: rows.nodes.map(toBase64),
  ...(rows.payloads && { payloads: rows.payloads.map((each) => orNull(each, toBase64)) }),
  ...(rows.keys && {
    keys: rows.keys.map(({ publicKey, possession: { keyIndex, signature } }) => ({
      publicKey: toBase64(publicKey),
      possession: { keyIndex, signature: toBase64(signature) },
    })),
  }),
  ...(rows.receiptSigs && { receiptSigs: rows.receiptSigs.map((each) => orNull(each, toBase64)) }),
})

export const encodeCompleteness = ({ contributor, fromSeq, items }: Completeness): JsonObject => ({
  contributor,
  fromSeq,
  items: items.map((item) => ({
    submission: item.id,
    sensor: item.sensor,
    dataset: item.dataset,
    schemaSha256: item.schemaSha256,
    payload: { sha256: item.payloadHash, bytes: item.payloadBytes },
    uriSha256: item.uriSha256,
    keyId: item.keyId,
    submittedBlock: item.submittedBlock,
    index: item.index,
    outcome: item.outcome,
  })),
})

const PATH = 'rows'
const ROWS_REQUIRED = ['checkpoint', 'indices', 'entries', 'nodes'] as const
const ROWS_OPTIONAL = ['payloads', 'keys', 'receiptSigs'] as const

/** Reads the field `rows`, refusing through `f`, and through `refuse` what the lists are to each other. */
export function readRows(
  json: Json | undefined,
  f: Fields,
  refuse: (path: string, message: string) => never,
): Rows {
  const root = f.object(json, PATH)
  f.only(root, PATH, ROWS_REQUIRED, ROWS_OPTIONAL)
  const at = (name: string) => `${PATH}.${name}`
  const list = <T>(name: string, read: (value: Json, path: string) => T): T[] =>
    f.array(root[name], at(name)).map((value, i) => read(value, `${at(name)}[${i}]`))
  const parallel = <T>(name: string, read: (value: Json, path: string) => T): T[] => {
    const out = list(name, read)
    return out.length === indices.length ? out : refuse(at(name), 'must be as long as rows.indices')
  }
  const bytesOrNull = (value: Json, path: string) => (value === null ? null : f.base64(value, path))
  const someOf = (name: string): (Uint8Array | null)[] => {
    const out = parallel(name, bytesOrNull)
    return out.some((each) => each !== null) ? out : refuse(at(name), 'holds nothing')
  }

  const count = f.array(root['indices'], at('indices')).length
  if (count < 1 || count > MAX_ROWS) refuse(at('indices'), `must be 1 to ${MAX_ROWS} indices`)
  const indices = list('indices', f.count)
  if (indices.some((index, i) => i > 0 && index <= (indices[i - 1] as number)))
    refuse(at('indices'), 'must be in ascending order, each once')
  const rows: Rows = {
    checkpoint: f.text(root['checkpoint'], at('checkpoint')),
    indices,
    entries: parallel('entries', f.base64),
    nodes: list('nodes', (value, path) => {
      const node = f.base64(value, path)
      return node.length === 32 ? node : refuse(path, 'must be 32 bytes')
    }),
  }
  if (Object.hasOwn(root, 'payloads') !== Object.hasOwn(root, 'keys'))
    refuse(PATH, 'must have payloads and keys together, or neither')
  if (Object.hasOwn(root, 'payloads')) {
    rows.payloads = someOf('payloads')
    rows.keys = list('keys', (value, path) => {
      const key = f.object(value, path)
      f.only(key, path, ['publicKey', 'possession'])
      const possession = f.object(key['possession'], `${path}.possession`)
      f.only(possession, `${path}.possession`, ['keyIndex', 'signature'])
      return {
        publicKey: f.base64(key['publicKey'], `${path}.publicKey`),
        possession: {
          keyIndex: f.count(possession['keyIndex'], `${path}.possession.keyIndex`),
          signature: f.base64(possession['signature'], `${path}.possession.signature`),
        },
      }
    })
  }
  if (Object.hasOwn(root, 'receiptSigs')) rows.receiptSigs = someOf('receiptSigs')
  return rows
}

const ITEM_FIELDS = [
  'submission',
  'sensor',
  'dataset',
  'schemaSha256',
  'payload',
  'uriSha256',
  'keyId',
  'submittedBlock',
  'index',
  'outcome',
] as const

/** Reads the field `completeness`, refusing through `f` and `refuse`. */
export function readCompleteness(
  json: Json | undefined,
  f: Fields,
  refuse: (path: string, message: string) => never,
): Completeness {
  const path = 'completeness'
  const root = f.object(json, path)
  f.only(root, path, ['contributor', 'fromSeq', 'items'])
  const items = f.array(root['items'], `${path}.items`)
  if (items.length > MAX_ROWS) refuse(`${path}.items`, `must be at most ${MAX_ROWS} items`)
  return {
    contributor: f.hex(root['contributor'], `${path}.contributor`, 20),
    fromSeq: f.count(root['fromSeq'], `${path}.fromSeq`),
    items: items.map((value, i) => readItem(value, `${path}.items[${i}]`)),
  }

  function readItem(value: Json, at: string): CompletenessItem {
    const item = f.object(value, at)
    f.only(item, at, ITEM_FIELDS)
    const payload = f.object(item['payload'], `${at}.payload`)
    f.only(payload, `${at}.payload`, ['sha256', 'bytes'])
    const outcome = f.text(item['outcome'], `${at}.outcome`)
    if (!OUTCOMES.includes(outcome as Outcome))
      refuse(`${at}.outcome`, `must be one of ${OUTCOMES.join(', ')}`)
    return {
      id: f.hex(item['submission'], `${at}.submission`, 32),
      sensor: f.text(item['sensor'], `${at}.sensor`),
      dataset: f.text(item['dataset'], `${at}.dataset`),
      schemaSha256: f.hex(item['schemaSha256'], `${at}.schemaSha256`, 32),
      payloadHash: f.hex(payload['sha256'], `${at}.payload.sha256`, 32),
      payloadBytes: f.count(payload['bytes'], `${at}.payload.bytes`),
      uriSha256: f.hex(item['uriSha256'], `${at}.uriSha256`, 32),
      keyId: f.hex(item['keyId'], `${at}.keyId`, 32),
      submittedBlock: f.count(item['submittedBlock'], `${at}.submittedBlock`),
      index: f.count(item['index'], `${at}.index`),
      outcome: outcome as Outcome,
    }
  }
}
