import { decodeLog, type RawLog } from '../../src/chain/decode.ts'
import { keyPossessionDigest } from '../../src/chain/record.ts'
import type { ChainEvent } from '../../src/chain/source.ts'
import { concat, type Hex, sha256, toHex } from '../../src/core/bytes.ts'
import { type Json, type JsonObject, jcs } from '../../src/core/json.ts'
import { mlDsa } from '../../src/core/ml-dsa-native.ts'
import { parseMaml } from '../../src/maml/parse.ts'
import { verifyPossession } from '../../src/maml/possession.ts'
import { parseSchemaFile, type Schema, type SchemaFile, validateReading } from '../../src/maml/schema.ts'
import { verifyMaml } from '../../src/maml/sign.ts'
import { formatSeconds } from '../../src/maml/time.ts'
import { judgeUri } from '../../src/payload/uri.ts'
import { type Entry, encodeEntry, readLines, unreadLines } from '../../src/receipt/entry.ts'
import { mirrorBytes } from '../../src/receipt/mirror.ts'
import { REGISTRY } from './contracts.ts'

/**
 * What the database must hold, made a second time and in the plainest way: the final chain's events one after the other, into rows
 * named by what the chain calls things. It shares with the engine only the codecs (events, MAML, schema files, signatures, entries),
 * and neither its queries nor its stages.
 */

export interface LoadedBlock {
  number: number
  hash: Hex
  parentHash: Hex
  time: number
  logs: readonly RawLog[]
}

export interface LoadInput {
  blocks: readonly LoadedBlock[]
  contracts: { registry: Hex; anchor: Hex }
  chain: string
  chainId: number
  origin: string
  startBlock: number
  /** Number of the last final block. */
  final: number
  /** The payload with this SHA-256, where its host gives it. */
  payload: (sha256: Hex) => Uint8Array | null
}

export type Row = Record<string, Json>
export interface Loaded {
  tables: Record<string, Row[]>
  root: Hex
  size: number
  /** Tables of readings, with their columns' types. */
  columns: Record<string, Record<string, string>>
  /** What was found of each settled submission. */
  verdicts: Map<Hex, Verdict>
}
export interface Verdict {
  verdict: 'accepted' | 'rejected'
  reason: string | null
  /** Before it was found to repeat another. */
  alone: string | null
}

interface Submission {
  event: Extract<ChainEvent, { type: 'submitted' }>
  block: LoadedBlock
  settled: { event: Extract<ChainEvent, { type: 'settled' }>; block: LoadedBlock } | null
}
interface Key {
  contributor: Hex
  index: number
  keyId: Hex
  publicKey: Uint8Array
  possession: Uint8Array
  valid: boolean
  block: number
  log: number
  revoked: number | null
}

const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const hash = (bytes: Uint8Array): Hex => toHex(sha256(bytes))
const bare = (hex: string): string => hex.slice(2)
/** Rows in the order of their canonical JSON. */
export const byJson = (rows: Row[]): Row[] => {
  const keyed = rows.map((row) => [jcs(row), row] as const)
  return keyed.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)).map(([, row]) => row)
}

/** RFC 6962 section 2.1, as it stands there. */
export function treeHash(leaves: readonly Uint8Array[]): Uint8Array {
  if (leaves.length === 0) return sha256(new Uint8Array())
  if (leaves.length === 1) return leaves[0] as Uint8Array
  let k = 1
  while (k * 2 < leaves.length) k *= 2
  return sha256(concat(Uint8Array.of(1), treeHash(leaves.slice(0, k)), treeHash(leaves.slice(k))))
}

// Checks of signatures are the same in every run over the same bytes.
const possessions = new Map<string, boolean>()
const signatures = new Map<string, boolean>()
const once = (memory: Map<string, boolean>, key: string, check: () => boolean): boolean => {
  const known = memory.get(key)
  if (known !== undefined) return known
  if (memory.size > 20_000) memory.clear()
  const answer = check()
  memory.set(key, answer)
  return answer
}

export function load(input: LoadInput): Loaded {
  const { contracts, chain, origin } = input
  const contributors = new Map<Hex, number>()
  const keys: Key[] = []
  const validators: { account: Hex; since: number; log: number; until: number | null }[] = []
  const datasets = new Map<string, number>()
  const versions: {
    name: string
    version: number
    bytes: Uint8Array
    file: SchemaFile | null
    problem: string | null
    block: number
    log: number
  }[] = []
  const sensors = new Map<string, { dataset: string; owner: Hex; h3: bigint; block: number }>()
  const submissions = new Map<Hex, Submission>()
  const attestations: { event: Extract<ChainEvent, { type: 'attested' }>; block: number }[] = []
  const anchors: Row[] = []
  const policies: Row[] = []
  const edges: Row[] = []
  const meet = (account: Hex, block: number) => {
    if (!contributors.has(account)) contributors.set(account, block)
  }
  const edge = (src: string, kind: number, dst: string, block: number) =>
    edges.push({ src, kind, dst, block })

  for (const block of input.blocks) {
    if (block.number < input.startBlock) continue
    for (const log of block.logs) {
      const event = decodeLog(log, contracts)
      if (!event) continue
      switch (event.type) {
        case 'keyRegistered': {
          meet(event.contributor, block.number)
          const digest = keyPossessionDigest({
            chainId: input.chainId,
            registry: contracts.registry,
            account: event.contributor,
            keyIndex: event.keyIndex,
          })
          const valid = once(possessions, `${toHex(digest)} ${event.keyId} ${hash(event.possession)}`, () =>
            verifyPossession(event.publicKey, digest, event.possession, mlDsa),
          )
          keys.push({
            contributor: event.contributor,
            index: event.keyIndex,
            keyId: event.keyId,
            publicKey: event.publicKey,
            possession: event.possession,
            valid,
            block: block.number,
            log: event.logIndex,
            revoked: null,
          })
          break
        }
        case 'keyRevoked': {
          meet(event.contributor, block.number)
          const key = keys.find((k) => k.contributor === event.contributor && k.index === event.keyIndex)
          if (key) key.revoked = block.number
          break
        }
        case 'datasetUpdated': {
          if (event.version === 0) datasets.set(event.name, block.number)
          let file: SchemaFile | null = null
          let problem: string | null = null
          try {
            file = parseSchemaFile(event.schema)
          } catch (error) {
            problem = (error as Error).message
          }
          const { name, version, schema: bytes } = event
          versions.push({ name, version, bytes, file, problem, block: block.number, log: event.logIndex })
          break
        }
        case 'sensorRegistered': {
          meet(event.contributor, block.number)
          const { dataset, contributor: owner, h3Cell: h3 } = event
          sensors.set(event.name, { dataset, owner, h3, block: block.number })
          edge(`contributor ${bare(owner)}`, 1, `sensor ${event.name}`, block.number)
          edge(`sensor ${event.name}`, 2, `dataset ${dataset}`, block.number)
          break
        }
        case 'validatorAdded':
          meet(event.account, block.number)
          validators.push({ account: event.account, since: block.number, log: event.logIndex, until: null })
          break
        case 'validatorRemoved': {
          meet(event.account, block.number)
          const held = validators.find((v) => v.account === event.account && v.until === null)
          if (held) held.until = block.number
          break
        }
        case 'submitted':
          submissions.set(event.id, { event, block, settled: null })
          edge(`submission ${bare(event.id)}`, 3, `sensor ${event.sensor}`, block.number)
          edge(`submission ${bare(event.id)}`, 4, `contributor ${bare(event.contributor)}`, block.number)
          break
        case 'attested':
          attestations.push({ event, block: block.number })
          edge(
            `contributor ${bare(event.validator)}`,
            event.valid ? 5 : 6,
            `submission ${bare(event.id)}`,
            block.number,
          )
          break
        case 'settled': {
          const submission = submissions.get(event.id)
          if (submission) submission.settled = { event, block }
          break
        }
        case 'anchored':
          anchors.push({
            seq: event.seq,
            size: event.size,
            root: bare(event.root),
            previous_size: event.previousSize,
            chain_hash: bare(event.chain),
            block: block.number,
            block_hash: bare(block.hash),
            time: block.time,
            tx: bare(event.tx),
            log_index: event.logIndex,
          })
          break
        case 'leafPolicyAdded':
          policies.push({ first_index: event.firstIndex, hash: bare(event.policyHash), block: block.number })
      }
    }
  }

  // Verdicts in index order, as the last check looks at what came before.
  const settled = [...submissions.values()]
    .filter((s): s is Submission & { settled: NonNullable<Submission['settled']> } => s.settled !== null)
    .sort((a, b) => a.settled.event.index - b.settled.event.index)
  const accepted = new Map<string, Submission>()
  const verdicts = new Map<Hex, Verdict>()
  const rows = new Map<Hex, Row>()
  const leaves: Row[] = []
  const leafHashes: Uint8Array[] = []
  const readings = new Map<
    string,
    { submission: Hex; version: SchemaFile; readings: readonly JsonObject[] }[]
  >()
  const kept = new Map<Hex, Uint8Array>()

  for (const [place, submission] of settled.entries()) {
    const { event } = submission
    if (submission.settled.event.index !== place) throw new Error(`the chain's index ${place} is missing`)
    const found = examine(input, submission, keys, versions)
    const { read } = found
    let { reason } = found
    const signer = `${event.contributor} ${read?.signedSha256}`
    const earlier = accepted.get(signer)
    if (reason === null && earlier) {
      reason = 'DUPLICATE'
      edge(
        `submission ${bare(event.id)}`,
        7,
        `submission ${bare(earlier.event.id)}`,
        submission.settled.block.number,
      )
    } else if (reason === null) accepted.set(signer, submission)
    const verdict = reason === null ? 'accepted' : 'rejected'
    verdicts.set(event.id, { verdict, reason, alone: found.reason })
    if (found.bytes) kept.set(event.payloadHash, found.bytes)
    rows.set(event.id, {
      verdict,
      reason,
      observed: reason === 'PAYLOAD_UNAVAILABLE',
      signed_sha256: read ? bare(read.signedSha256) : null,
      read: read
        ? {
            readings: read.payload.readings.length,
            names: [...read.payload.names],
            firstTimestamp: String(read.payload.readings[0]?.['timestamp']),
            signatureSha256: read.signatureSha256,
            signedBytesSha256: read.signedSha256,
            mirrorSha256: read.mirrorSha256,
          }
        : null,
    })
    if (read && found.file) {
      const list = readings.get(event.dataset) ?? []
      list.push({ submission: event.id, version: found.file, readings: read.payload.readings })
      readings.set(event.dataset, list)
    }
    if (submission.settled.block.number > input.final) continue
    const entry = entryOf(input, submission as never, verdict, reason, read)
    leaves.push({ index: place, submission: bare(event.id), entry: bare(toHex(entry)) })
    leafHashes.push(sha256(concat(Uint8Array.of(0), entry)))
  }

  const columns: Loaded['columns'] = {}
  const tables: Record<string, Row[]> = {}
  for (const name of datasets.keys()) {
    const files = versions.filter((v) => v.name === name && v.file).map((v) => v.file as SchemaFile)
    if (files.length === 0) continue
    const types = files.reduce(widened, {})
    columns[`reading_${name}`] = { ...types }
    tables[`reading_${name}`] = byJson(
      (readings.get(name) ?? []).flatMap((item) =>
        item.readings.map((reading, position): Row => {
          const own = widened({}, item.version)
          const row: Row = {
            submission: bare(item.submission),
            position,
            sensor_id: String(reading['sensor_id']),
            timestamp: new Date(String(reading['timestamp'])).toISOString(),
          }
          for (const [column, type] of Object.entries(types)) {
            const value = reading[column.slice(2)]
            const mine = own[column]
            row[column] = value === undefined || mine === undefined || !holds(mine, value) ? null : value
            if (type === 'text' && typeof row[column] !== 'string') row[column] = null
          }
          return row
        }),
      ),
    )
  }

  const head = input.blocks.at(-1) as LoadedBlock
  const final = input.blocks.find((block) => block.number === input.final)
  const start = input.blocks.find((block) => block.number === input.startBlock) as LoadedBlock
  Object.assign(tables, {
    deployment: [
      {
        chain,
        registry: bare(contracts.registry),
        anchor: bare(contracts.anchor),
        origin,
        start_block: input.startBlock,
        start_hash: bare(start.hash),
      },
    ],
    cursor: [
      {
        head_number: head.number,
        head_hash: bare(head.hash),
        head_time: head.time,
        final_number: input.final,
        final_hash: bare(final?.hash ?? '0x'),
        final_time: final?.time ?? 0,
      },
    ],
    block: byJson(
      input.blocks
        .filter((block) => block.number >= input.final)
        .map(({ number, hash: own, parentHash, time }) => ({
          number,
          hash: bare(own),
          parent_hash: bare(parentHash),
          time,
        })),
    ),
    contributor: byJson([...contributors].map(([account, block]) => ({ account: bare(account), block }))),
    contributor_key: byJson(
      keys.map((key) => ({
        account: bare(key.contributor),
        key_index: key.index,
        key_id: bare(key.keyId),
        public_key: hash(key.publicKey),
        possession: hash(key.possession),
        possession_valid: key.valid,
        block: key.block,
        log_index: key.log,
        revoked_block: key.revoked,
      })),
    ),
    validator: byJson(
      validators.map((v) => ({
        account: bare(v.account),
        since_block: v.since,
        since_log: v.log,
        until_block: v.until,
      })),
    ),
    dataset: byJson([...datasets].map(([name, block]) => ({ name, block }))),
    dataset_version: byJson(
      versions.map((v) => ({
        dataset: v.name,
        version: v.version,
        schema_sha256: bare(hash(v.bytes)),
        schema: hash(v.bytes),
        schema_name: v.file?.name ?? null,
        problem: v.problem,
        block: v.block,
        log_index: v.log,
      })),
    ),
    sensor: byJson(
      [...sensors].map(([name, s]) => ({
        name,
        dataset: s.dataset,
        account: bare(s.owner),
        h3: BigInt.asIntN(64, s.h3).toString(),
        block: s.block,
      })),
    ),
    submission: byJson(
      [...submissions.values()].map((s): Row => {
        const { event, block } = s
        const at = s.settled
        return {
          submission: bare(event.id),
          account: bare(event.contributor),
          sensor: event.sensor,
          dataset: event.dataset,
          schema_sha256: bare(event.schemaSha256),
          payload_sha256: bare(event.payloadHash),
          payload_bytes: event.payloadBytes,
          uri: bare(toHex(event.uriBytes)),
          key_id: bare(event.keyId),
          nonce: event.nonce,
          quorum: event.quorum,
          submitted_block: block.number,
          submitted_log: event.logIndex,
          submitted_tx: bare(event.tx),
          submitted_time: block.time,
          index: at?.event.index ?? null,
          seq: at?.event.seq ?? null,
          outcome: at ? { validated: 1, rejected: 2, expired: 3 }[at.event.outcome] : null,
          record: at ? bare(at.event.record) : null,
          acc: at ? bare(at.event.acc) : null,
          settled_block: at?.block.number ?? null,
          settled_hash: at ? bare(at.block.hash) : null,
          settled_log: at?.event.logIndex ?? null,
          settled_tx: at ? bare(at.event.tx) : null,
          settled_time: at?.block.time ?? null,
          verdict: null,
          reason: null,
          observed: false,
          signed_sha256: null,
          read: null,
          ...rows.get(event.id),
        }
      }),
    ),
    attestation: byJson(
      attestations.map(({ event, block }) => ({
        submission: bare(event.id),
        account: bare(event.validator),
        valid: event.valid,
        block,
        log_index: event.logIndex,
        tx: bare(event.tx),
      })),
    ),
    edge: byJson(edges),
    payload: byJson([...kept].map(([sha, bytes]) => ({ sha256: bare(sha), bytes: hash(bytes) }))),
    leaf: byJson(leaves),
    tile: byJson(tilesOf(leafHashes)),
    log_head:
      leafHashes.length === 0 ? [] : [{ size: leafHashes.length, root: bare(toHex(treeHash(leafHashes))) }],
    anchor: byJson(anchors),
    leaf_policy: byJson(policies),
  })
  return { tables, columns, root: toHex(treeHash(leafHashes)), size: leafHashes.length, verdicts }
}

/** C2SP tlog-tiles: tile n of level l holds the hashes of complete subtrees of 256^l leaves, 256 of them at most. */
function tilesOf(leaves: readonly Uint8Array[]): Row[] {
  const out: Row[] = []
  for (let level = 0, span = 1; span <= leaves.length; level++, span *= 256) {
    const nodes = Array.from({ length: Math.floor(leaves.length / span) }, (_, n) =>
      treeHash(leaves.slice(n * span, (n + 1) * span)),
    )
    for (let index = 0; index * 256 < nodes.length; index++)
      out.push({ level, index, hashes: bare(toHex(concat(...nodes.slice(index * 256, index * 256 + 256)))) })
  }
  return out
}

interface ReadPayload {
  payload: ReturnType<typeof parseMaml>
  signedSha256: Hex
  signatureSha256: Hex | null
  mirrorSha256: Hex
}
interface Finding {
  reason: string | null
  bytes: Uint8Array | null
  read: ReadPayload | null
  file: SchemaFile | null
}

/** The reasons of docs/formats.md in their order, but for the last. */
function examine(
  input: LoadInput,
  { event, settled }: Submission,
  keys: readonly Key[],
  versions: readonly { name: string; bytes: Uint8Array; file: SchemaFile | null }[],
): Finding {
  const none = { bytes: null, read: null, file: null }
  const outcome = settled?.event.outcome
  if (outcome === 'rejected') return { reason: 'QUORUM_REJECTED', ...none }
  if (outcome === 'expired') return { reason: 'EXPIRED', ...none }
  let uri: string | null = null
  try {
    uri = text.decode(event.uriBytes)
  } catch {
    uri = null
  }
  if (uri === null || judgeUri(uri) !== null) return { reason: 'URI_REFUSED', ...none }
  const bytes = input.payload(event.payloadHash)
  if (!bytes || bytes.length !== event.payloadBytes) return { reason: 'PAYLOAD_UNAVAILABLE', ...none }
  let payload: ReturnType<typeof parseMaml>
  try {
    payload = parseMaml(bytes)
  } catch {
    return { reason: 'MAML_MALFORMED', ...none, bytes }
  }
  const file = versions.find((v) => hash(v.bytes) === event.schemaSha256)?.file ?? null
  const { signature, frontMatter } = payload
  const read: ReadPayload = {
    payload,
    signedSha256: hash(payload.signedBytes),
    signatureSha256: signature.kind === 'present' ? hash(signature.bytes) : null,
    mirrorSha256: hash(mirrorBytes(bytes)),
  }
  const found = (reason: string | null): Finding => ({ reason, bytes, read, file })
  const agrees = (key: 'contributor' | 'sensor' | 'dataset' | 'schema', said: string) =>
    frontMatter[key] === undefined || frontMatter[key] === said
  if (
    !agrees('contributor', `${input.chain}:${event.contributor}`) ||
    !agrees('sensor', event.sensor) ||
    !agrees('dataset', event.dataset) ||
    (file && !agrees('schema', file.name)) ||
    payload.readings.some((reading) => reading['sensor_id'] !== event.sensor)
  )
    return found('METADATA_MISMATCH')
  // The keys that the contributor had before the submission.
  const mine = keys.filter((key) => key.contributor === event.contributor && isBefore(key, event, input))
  const place = mine.findLastIndex((key) => key.keyId === event.keyId)
  const key = mine[place]
  if (!key?.valid) return found('KEY_UNKNOWN')
  const verifies = (publicKey: Uint8Array) =>
    once(signatures, `${event.payloadHash} ${hash(publicKey)}`, () => verifyMaml(payload, publicKey, mlDsa))
  if (!verifies(key.publicKey)) {
    if (mine.slice(0, place).some((earlier) => verifies(earlier.publicKey))) return found('KEY_REVOKED')
    return found(signature.kind === 'missing' ? 'SIGNATURE_MISSING' : 'SIGNATURE_INVALID')
  }
  if (!file) return found('SCHEMA_UNKNOWN')
  if (payload.readings.some((reading) => validateReading(file, reading).length > 0))
    return found('SCHEMA_INVALID')
  return found(null)
}

function isBefore(key: Key, event: { id: Hex; logIndex: number }, input: LoadInput): boolean {
  const block = placeOf(input, event.id)
  return key.block < block || (key.block === block && key.log < event.logIndex)
}

const places = new WeakMap<LoadInput, Map<Hex, number>>()
function placeOf(input: LoadInput, id: Hex): number {
  let map = places.get(input)
  if (!map) {
    map = new Map()
    for (const block of input.blocks)
      for (const log of block.logs) {
        const event = decodeLog(log, input.contracts)
        if (event?.type === 'submitted') map.set(event.id, block.number)
      }
    places.set(input, map)
  }
  return map.get(id) as number
}

function entryOf(
  input: LoadInput,
  { event, block, settled }: Submission & { settled: NonNullable<Submission['settled']> },
  verdict: 'accepted' | 'rejected',
  reason: string | null,
  read: ReadPayload | null,
): Uint8Array {
  const time = formatSeconds(settled.block.time)
  const entry: Entry = {
    v: 1,
    origin: input.origin,
    chain: input.chain,
    registry: REGISTRY,
    index: settled.event.index,
    submission: event.id,
    contributor: event.contributor,
    seq: settled.event.seq,
    acc: settled.event.acc,
    sensor: event.sensor,
    dataset: event.dataset,
    schemaSha256: event.schemaSha256,
    uriSha256: hash(event.uriBytes),
    payload: { sha256: event.payloadHash, bytes: event.payloadBytes },
    payloadSig: {
      alg: read?.signatureSha256 ? 'ML-DSA-65' : null,
      keyId: event.keyId,
      sha256: read?.signatureSha256 ?? null,
    },
    readings: read ? read.payload.readings.length : null,
    submitted: { block: block.number, logIndex: event.logIndex },
    settled: {
      tx: settled.event.tx,
      block: settled.block.number,
      blockHash: settled.block.hash,
      logIndex: settled.event.logIndex,
      time,
    },
    outcome: settled.event.outcome,
    verdict,
    reason: reason as Entry['reason'],
    observed: reason === 'PAYLOAD_UNAVAILABLE',
    mirrorSha256: read?.mirrorSha256 ?? null,
  }
  const lines = read
    ? readLines(read.payload.names, String(read.payload.readings[0]?.['timestamp']))
    : unreadLines(time)
  return encodeEntry(entry, lines)
}

/** The column type of a property, by docs/formats.md. */
function typeOf(schema: Schema | boolean): string {
  const types = typeof schema === 'boolean' ? [] : (schema.type ?? []).filter((type) => type !== 'null')
  const sorted = [...types].sort().join()
  if (sorted === 'integer') return 'bigint'
  if (sorted === 'number' || sorted === 'integer,number') return 'double precision'
  if (sorted === 'boolean') return 'boolean'
  return sorted === 'string' ? 'text' : 'jsonb'
}

/** The columns after one more version of the schema. */
function widened(columns: Record<string, string>, file: SchemaFile): Record<string, string> {
  const out = { ...columns }
  for (const [name, schema] of file.schema.properties ?? []) {
    if (name === 'sensor_id' || name === 'timestamp') continue
    const type = typeOf(schema)
    const now = out[`v_${name}`] ?? type
    const numbers = [now, type].every((one) => one === 'bigint' || one === 'double precision')
    out[`v_${name}`] = now === type ? type : numbers ? 'double precision' : 'jsonb'
  }
  return out
}

function holds(type: string, value: Json): boolean {
  if (value === null) return false
  if (type === 'bigint') return Number.isSafeInteger(value)
  if (type === 'double precision') return typeof value === 'number'
  if (type === 'boolean') return typeof value === 'boolean'
  return type === 'jsonb' || typeof value === 'string'
}
