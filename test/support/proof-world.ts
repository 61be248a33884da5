import { keccak_256 } from '@noble/hashes/sha3.js'
import { BLOCK_HISTORY, blockHashSlot } from '../../src/chain/block-history.ts'
import { ACC_STRIDE, keyPossessionDigest, nextAcc, recordHash, ZERO_WORD } from '../../src/chain/record.ts'
import { anchorSlots, registrySlots } from '../../src/chain/slots.ts'
import { fromHex, type Hex, sha256, toHex, utf8 } from '../../src/core/bytes.ts'
import { mlDsa } from '../../src/core/ml-dsa-native.ts'
import { appendLeaves, emptyState } from '../../src/log/append.ts'
import {
  type CheckpointSigner,
  ed25519Signer,
  mlDsa44Signer,
  signCheckpoint,
} from '../../src/log/checkpoint.ts'
import { leafHash } from '../../src/log/merkle.ts'
import { multiProof } from '../../src/log/multi-proof.ts'
import { consistencyProof, inclusionProof, rootAt } from '../../src/log/proof.ts'
import type { ReadTile } from '../../src/log/read.ts'
import { formatTlogProof } from '../../src/log/tlog-proof.ts'
import { formatVkey } from '../../src/log/vkey.ts'
import { buildMaml } from '../../src/maml/build.ts'
import { provePossession } from '../../src/maml/possession.ts'
import { signMaml } from '../../src/maml/sign.ts'
import { shareNodes } from '../../src/proof/build.ts'
import type { AccountEvidence, Bundle, RowsBundle } from '../../src/proof/bundle.ts'
import type { CompletenessItem } from '../../src/proof/rows.ts'
import type { TrustPolicy } from '../../src/proof/trust-policy.ts'
import { type Entry, encodeEntry, readLines, unreadLines } from '../../src/receipt/entry.ts'
import { mirrorBytes } from '../../src/receipt/mirror.ts'
import { signEntry } from '../../src/receipt/sign.ts'
import { accountRlp, buildHeader, buildStorage, buildTrie } from './trie.ts'

const fill = (byte: number, size: number): Hex => toHex(new Uint8Array(size).fill(byte))
const seedOf = (byte: number) => new Uint8Array(32).fill(byte)

export const CHAIN_ID = 31337
export const REGISTRY = fill(0x11, 20)
export const ANCHOR = fill(0x22, 20)
export const ORIGIN = 'proof.example/log'
const REGISTRY_CODE = keccak_256(utf8('registry code'))
const ANCHOR_CODE = keccak_256(utf8('anchor code'))
export const RECEIPT_SEED = seedOf(0x33)

/** A settled submission with all that a bundle may say of it. */
export interface WorldLeaf {
  entry: Entry
  bytes: Uint8Array
  record: Hex
  /** The record's fields, whatever the entry says. */
  item: CompletenessItem
  payload: Uint8Array
  uri: string
  publicKey: Uint8Array
  possession: { keyIndex: number; signature: Uint8Array }
  receiptSig: Uint8Array
}

export interface WorldOptions {
  /** Leaves in the log, 12 unless told. */
  leaves?: number
  /** Tells one world from another: its payloads, and with `forge` its keys too. */
  salt?: string
  /** Makes a world whose checkpoints are signed by other keys under the same names. */
  forge?: boolean
  /** Changes an entry after its record was made, and its place in the log: an indexer that lies about the chain. */
  lie?: (entry: Entry) => Entry
  /** Makes the payload of its unsigned bytes, where it is not signed by the contributor's key. */
  sign?: (unsigned: Uint8Array) => Uint8Array
  /** Payload length as the contributor declared it, where that is wrong. */
  declaredBytes?: number
  /** Leaves no payload, key or receipt signed, for worlds of many leaves. */
  unsigned?: boolean
  /** Submissions of each contributor that are not settled, 2 unless told. */
  pending?: number
  /** Code hash of the anchor account, where it is not the pinned one. */
  anchorCode?: Uint8Array
}

export interface BlockOptions {
  /** Leaves under the anchored root, all unless told. */
  anchoredSize?: number
  /** Root of the anchored tree, where it is not the log's. */
  anchoredRoot?: Uint8Array
  /** Block and time of the latest anchor as the contract notes them; a little before the trusted block unless told. */
  anchoredAt?: { block: number; time: number }
  /** Ancestors whose hashes the state holds. */
  ancestors?: readonly { number: number; hash: Uint8Array }[]
  /** Code hash of the contract that holds them, where it is not EIP-2935's. */
  historyCode?: Uint8Array
  receiptsRoot?: Uint8Array
}

export interface TestBlock {
  hash: Hex
  header: Uint8Array
  anchoredSize: number
  evidence(address: Hex, slots: Hex[]): AccountEvidence
}

/** A whole deployment made of real parts in memory: contributors, receipts, log, contracts' storage, blocks. */
export interface ProofWorld {
  /** By their place in the log. */
  leaves: WorldLeaf[]
  policy: TrustPolicy
  signers: CheckpointSigner[]
  block(options?: BlockOptions): Promise<TestBlock>
  tlogProof(index: number, size: number, signers?: CheckpointSigner[], root?: Uint8Array): Promise<string>
  consistency(from: number, to: number): Promise<Uint8Array[]>
  /** Root of the tree of the first `size` leaves. */
  root(size: number): Promise<Uint8Array>
  /** A bundle with every default claim, and all others with `full`. */
  bundle(
    block: TestBlock,
    options: { index: number; checkpointSize?: number; full?: boolean },
  ): Promise<Bundle>
  /** A bundle of many rows with every default claim, and all others with `full`. */
  rows(
    block: TestBlock,
    options: { indices: number[]; checkpointSize?: number; full?: boolean },
  ): Promise<RowsBundle>
  /** A bundle of a contributor's (0 or 1) settled submissions from seq `fromSeq` up to but without `endSeq`. */
  complete(
    block: TestBlock,
    options?: { who?: number; fromSeq?: number; endSeq?: number; checkpointSize?: number },
  ): Promise<RowsBundle>
}

/** Address of contributor 0 or 1. */
export const account = (who: number): Hex => fill(0xa0 + who, 20)

export async function proofWorld(options: WorldOptions = {}): Promise<ProofWorld> {
  const { leaves: count = 12, salt = 'a', forge = false, lie = (entry) => entry } = options
  const { unsigned: light = false, pending = 2 } = options
  const keySeed = (n: number) => seedOf(0x40 + n)
  const publicKeys = [0, 1].map((n) => mlDsa.publicKey(65, keySeed(n)))
  const leaves: WorldLeaf[] = []
  const seqs = [0, 0]
  const accs: Hex[] = [ZERO_WORD, ZERO_WORD]
  const accAt: [Uint8Array, bigint][] = []
  for (let index = 0; index < count; index++) {
    const who = index % 2
    const contributor = account(who)
    const publicKey = publicKeys[who]!
    const unsigned = buildMaml({
      readings: [
        {
          sensor_id: `sensor_${who}`,
          air_quality: 80 + index,
          note: salt,
          timestamp: '2025-10-01T23:30:00Z',
        },
      ],
    })
    const payload = options.sign?.(unsigned) ?? (light ? unsigned : signMaml(unsigned, keySeed(who), mlDsa))
    const uri = `https://payloads.example/${salt}/${index}`
    const keyIndex = 3 * who
    const fields = {
      chainId: CHAIN_ID,
      registry: REGISTRY,
      id: toHex(sha256(utf8(`submission ${salt} ${index}`))),
      contributor,
      sensor: `sensor_${who}`,
      dataset: 'helium_sensors',
      schemaSha256: fill(0x51, 32),
      payloadHash: toHex(sha256(payload)),
      payloadBytes: options.declaredBytes ?? payload.length,
      uriSha256: toHex(sha256(utf8(uri))),
      keyId: toHex(sha256(publicKey)),
      submittedBlock: 100 + index,
      seq: seqs[who]!++,
      index,
      outcome: 'validated' as const,
    }
    const record = recordHash(fields)
    accs[who] = nextAcc(accs[who]!, record)
    if (seqs[who]! % ACC_STRIDE === 0) {
      const slot = registrySlots.accAt(contributor, seqs[who]! / ACC_STRIDE)
      accAt.push([fromHex(slot), BigInt(accs[who]!)])
    }
    const entry: Entry = lie({
      v: 1,
      origin: ORIGIN,
      chain: `eip155:${CHAIN_ID}`,
      registry: REGISTRY,
      index,
      submission: fields.id,
      contributor,
      seq: fields.seq,
      acc: accs[who]!,
      sensor: fields.sensor,
      dataset: fields.dataset,
      schemaSha256: fields.schemaSha256,
      uriSha256: fields.uriSha256,
      payload: { sha256: fields.payloadHash, bytes: fields.payloadBytes },
      payloadSig: { alg: 'ML-DSA-65', keyId: fields.keyId, sha256: fill(0x52, 32) },
      readings: 1,
      submitted: { block: fields.submittedBlock, logIndex: 0 },
      settled: {
        tx: fill(0x53, 32),
        block: 200 + index,
        blockHash: fill(0x54, 32),
        logIndex: 1,
        time: '2025-10-01T23:31:00Z',
      },
      outcome: 'validated',
      verdict: 'accepted',
      reason: null,
      observed: false,
      mirrorSha256: toHex(sha256(mirrorBytes(payload))),
    })
    const bytes = encodeEntry(
      entry,
      entry.readings === null
        ? unreadLines(entry.settled.time)
        : readLines(['air_quality', 'note'], '2025-10-01T23:30:00Z'),
    )
    const digest = keyPossessionDigest({
      chainId: CHAIN_ID,
      registry: REGISTRY,
      account: contributor,
      keyIndex,
    })
    leaves.push({
      entry,
      bytes,
      record,
      item: {
        id: fields.id,
        sensor: fields.sensor,
        dataset: fields.dataset,
        schemaSha256: fields.schemaSha256,
        payloadHash: fields.payloadHash,
        payloadBytes: fields.payloadBytes,
        uriSha256: fields.uriSha256,
        keyId: fields.keyId,
        submittedBlock: fields.submittedBlock,
        index,
        outcome: fields.outcome,
      },
      payload,
      uri,
      publicKey,
      possession: {
        keyIndex,
        signature: light ? new Uint8Array() : provePossession(keySeed(who), digest, mlDsa),
      },
      receiptSig: light ? new Uint8Array() : signEntry(bytes, RECEIPT_SEED, mlDsa),
    })
  }

  leaves.sort((a, b) => a.entry.index - b.entry.index)

  const tiles = new Map<string, Uint8Array>()
  const hashes = leaves.map(({ bytes }) => leafHash(bytes))
  for (const { level, index, hashes: tile } of appendLeaves(emptyState(), hashes).tiles) {
    tiles.set(`${level}/${index}`, tile)
  }
  const readTile: ReadTile = ({ level, index }) => tiles.get(`${level}/${index}`)

  const signersOf = (offset: number) => [
    ed25519Signer(ORIGIN, seedOf(0x61 + offset)),
    mlDsa44Signer(`${ORIGIN}/pq`, seedOf(0x62 + offset), mlDsa),
  ]
  const signers = signersOf(forge ? 0x10 : 0)
  const policy: TrustPolicy = {
    chain: `eip155:${CHAIN_ID}`,
    registry: REGISTRY,
    anchor: ANCHOR,
    codeHashes: { registry: toHex(REGISTRY_CODE), anchor: toHex(ANCHOR_CODE) },
    origin: ORIGIN,
    checkpointVkeys: signersOf(0).map(({ vkey }) => formatVkey(vkey)),
    receiptKeys: [{ pub: toHex(mlDsa.publicKey(65, RECEIPT_SEED)), fromIndex: 0, toIndex: null }],
    layoutVersion: 1,
  }

  const tlogProof: ProofWorld['tlogProof'] = async (index, size, by = signers, root) =>
    formatTlogProof({
      index,
      hashes: await inclusionProof(index, size, readTile),
      checkpoint: signCheckpoint(
        { origin: ORIGIN, size, root: root ?? (await rootAt(size, readTile)), timestamp: 1_759_361_500 },
        by,
      ),
      extra: null,
    })
  const consistency = (from: number, to: number) => consistencyProof(from, to, readTile)

  const block: ProofWorld['block'] = async ({
    anchoredSize = count,
    anchoredRoot,
    anchoredAt = { block: 290, time: 1_759_361_600 },
    ancestors = [],
    historyCode = fromHex(BLOCK_HISTORY.codeHash),
    receiptsRoot,
  } = {}) => {
    const registry = buildStorage([
      ...leaves.map(({ record, entry }): [Uint8Array, bigint] => [
        fromHex(registrySlots.record(entry.submission)),
        BigInt(record),
      ]),
      [fromHex(registrySlots.settledCount()), BigInt(count)],
      ...accAt,
      ...[0, 1].flatMap((who): [Uint8Array, bigint][] => [
        [fromHex(registrySlots.acc(account(who))), BigInt(accs[who]!)],
        // Low to high: seq u64, submitted u64, number of keys u32 (docs/contracts.md).
        [
          fromHex(registrySlots.headCounts(account(who))),
          BigInt(seqs[who]!) | (BigInt(seqs[who]! + pending) << 64n) | (1n << 128n),
        ],
      ]),
    ])
    const head = anchoredRoot ?? (await rootAt(anchoredSize, readTile))
    // Low to high: size u64, seq u64, block u48, time u48 (docs/contracts.md).
    const counts =
      BigInt(anchoredSize) |
      (5n << 64n) |
      (BigInt(anchoredAt.block) << 128n) |
      (BigInt(anchoredAt.time) << 176n)
    const anchor = buildStorage([
      [fromHex(anchorSlots.root()), BigInt(toHex(head))],
      [fromHex(anchorSlots.counts()), counts],
      [fromHex(anchorSlots.chain()), 0xabcdn],
    ])
    const history = buildStorage([
      [new Uint8Array(32).fill(0xff), 1n],
      ...ancestors.map(({ number, hash }): [Uint8Array, bigint] => [
        fromHex(blockHashSlot(number)),
        BigInt(toHex(hash)),
      ]),
    ])
    const stateAccount = (address: Hex, storage: Uint8Array, code: Uint8Array): [Uint8Array, Uint8Array] => [
      keccak_256(fromHex(address)),
      accountRlp(1n, 0n, storage, code),
    ]
    const state = buildTrie([
      stateAccount(REGISTRY, registry.root, REGISTRY_CODE),
      stateAccount(ANCHOR, anchor.root, options.anchorCode ?? ANCHOR_CODE),
      stateAccount(BLOCK_HISTORY.address, history.root, historyCode),
      ...Array.from({ length: 40 }, (_, i) => stateAccount(fill(i + 128, 20), registry.root, REGISTRY_CODE)),
    ])
    const header = buildHeader({
      stateRoot: state.root,
      ...(receiptsRoot && { receiptsRoot }),
      number: 300n,
      timestamp: 1_759_361_700n,
    })
    const storages: Record<Hex, typeof registry> = { [ANCHOR]: anchor, [BLOCK_HISTORY.address]: history }
    return {
      hash: toHex(header.hash),
      header: header.rlp,
      anchoredSize,
      evidence: (address, slots) => ({
        address,
        accountProof: state.prove(keccak_256(fromHex(address))),
        slots: slots.map((slot) => ({
          slot,
          proof: (storages[address] ?? registry).proveSlot(fromHex(slot)),
        })),
      }),
    }
  }

  /** Rows under a checkpoint, joined to the head. */
  const rowsPart = async (at: TestBlock, indices: number[], size: number, full: boolean) => {
    const chosen = indices.map((index) => leaves[index]!)
    const [older, newer] = [at.anchoredSize, size].sort((a, b) => a - b) as [number, number]
    const keys = [
      ...new Map(
        chosen.map(({ publicKey, possession }) => [toHex(publicKey), { publicKey, possession }]),
      ).values(),
    ]
    return {
      rows: {
        checkpoint: signCheckpoint(
          { origin: ORIGIN, size, root: await rootAt(size, readTile), timestamp: 1_759_361_500 },
          signers,
        ),
        indices,
        entries: chosen.map(({ bytes }) => bytes),
        nodes: await multiProof(indices, size, readTile),
        ...(full && {
          payloads: chosen.map(({ payload }) => payload),
          keys,
          receiptSigs: chosen.map(({ receiptSig }) => receiptSig),
        }),
      },
      ...(older !== newer && { consistency: await consistency(older, newer) }),
    }
  }
  const anchorHead = (at: TestBlock) => at.evidence(ANCHOR, [anchorSlots.root(), anchorSlots.counts()])

  return {
    async rows(at, { indices, checkpointSize = at.anchoredSize, full = false }) {
      const slots = indices.map((index) => registrySlots.record(leaves[index]!.entry.submission))
      return {
        ...(await rowsPart(at, indices, checkpointSize, full)),
        evidence: {
          header: at.header,
          accounts: [at.evidence(REGISTRY, slots), anchorHead(at)].map(shareNodes),
        },
      }
    },
    async complete(at, { who = 0, fromSeq = 0, endSeq = seqs[who]!, checkpointSize = at.anchoredSize } = {}) {
      const contributor = account(who)
      const own = leaves.filter(({ item }) => item.index % 2 === who).slice(fromSeq, endSeq)
      const items = own.map(({ item }) => item)
      const indices = items.map(({ index }) => index).filter((index) => index < at.anchoredSize)
      const slots = [
        registrySlots.headCounts(contributor),
        ...(fromSeq > 0 ? [registrySlots.accAt(contributor, fromSeq / ACC_STRIDE)] : []),
        endSeq === seqs[who]
          ? registrySlots.acc(contributor)
          : registrySlots.accAt(contributor, Math.floor(endSeq / ACC_STRIDE)),
      ]
      return {
        ...(indices.length > 0 && (await rowsPart(at, indices, checkpointSize, false))),
        completeness: { contributor, fromSeq, items },
        evidence: {
          header: at.header,
          accounts: [at.evidence(REGISTRY, slots), anchorHead(at)].map(shareNodes),
        },
      }
    },
    leaves,
    policy,
    signers,
    block,
    tlogProof,
    consistency,
    root: (size) => rootAt(size, readTile),
    async bundle(at, { index, checkpointSize = at.anchoredSize, full = false }) {
      const leaf = leaves[index]!
      const { payload, publicKey, possession, receiptSig, uri } = leaf
      const [older, newer] = [at.anchoredSize, checkpointSize].sort((a, b) => a - b) as [number, number]
      return {
        entry: leaf.bytes,
        tlogProof: await tlogProof(index, checkpointSize),
        ...(older !== newer && { consistency: await consistency(older, newer) }),
        ...(full && { payload, publicKey, possession, receiptSig, uri }),
        evidence: {
          header: at.header,
          accounts: [
            at.evidence(REGISTRY, [registrySlots.record(leaf.entry.submission)]),
            at.evidence(ANCHOR, [anchorSlots.root(), anchorSlots.counts()]),
          ],
        },
      }
    },
  }
}
