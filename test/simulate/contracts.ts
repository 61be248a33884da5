import { encodeAbiParameters, encodeEventTopics } from 'viem'
import { receiptAnchorAbi, sensorRegistryAbi } from '../../src/chain/abi.ts'
import { VALIDATOR_ROLE } from '../../src/chain/decode.ts'
import { nextAcc, nextAnchorChain, recordHash, submissionId, ZERO_WORD } from '../../src/chain/record.ts'
import type { Outcome } from '../../src/chain/source.ts'
import { fromHex, type Hex, sha256, toHex, utf8 } from '../../src/core/bytes.ts'
import { emptyRoot, verifyConsistency } from '../../src/log/merkle.ts'

/**
 * The two contracts as far as their events go (contracts/*.sol): a state, and what a transaction does to it. One that the contract
 * would revert changes nothing and emits nothing.
 */

export const CHAIN_ID = 31337
export const REGISTRY: Hex = `0x${'11'.repeat(20)}`
export const ANCHOR: Hex = `0x${'22'.repeat(20)}`
export const ADMIN: Hex = `0x${'ad'.repeat(20)}`
/** Blocks in which only a quorum settles. */
export const TTL = 12

/** A log before it has a place. */
export interface EmittedLog {
  address: Hex
  topics: readonly Hex[]
  data: Hex
}

export interface SubmitItem {
  sensor: string
  payloadHash: Hex
  payloadBytes: number
  /** Raw bytes: the chain does not promise UTF-8. */
  uri: Uint8Array
}

export type Action =
  | { kind: 'registerKey'; from: Hex; publicKey: Uint8Array; possession: Uint8Array; keyIndex: number }
  | { kind: 'revokeKey'; from: Hex }
  | { kind: 'setDataset'; name: string; schema: Uint8Array }
  | { kind: 'registerSensor'; from: Hex; name: string; dataset: string; h3: bigint }
  | { kind: 'submit'; from: Hex; items: readonly SubmitItem[] }
  | { kind: 'attest'; from: Hex; items: readonly { id: Hex; valid: boolean }[] }
  | { kind: 'expire'; id: Hex }
  | { kind: 'setQuorum'; quorum: number }
  | { kind: 'setValidator'; account: Hex; member: boolean }
  | { kind: 'addLeafPolicy'; ahead: number; hash: Hex }
  | { kind: 'anchor'; size: number; root: Hex; proof: readonly Hex[]; nonce: number }
  | { kind: 'deploy'; validators: readonly Hex[]; quorum: number; policyHash: Hex }
  /** Logs of contracts that are none of ours. */
  | { kind: 'foreign'; logs: readonly EmittedLog[] }

/** A transaction: its hash stays the same on whichever branch it is mined. */
export interface Tx {
  hash: Hex
  action: Action
}

export interface PendingSubmission {
  id: Hex
  contributor: Hex
  item: SubmitItem
  dataset: string
  schemaSha256: Hex
  keyId: Hex
  quorum: number
  block: number
  validators: ReadonlySet<Hex>
  votes: ReadonlyMap<Hex, boolean>
  settled: { index: number; outcome: Outcome; block: number; time: number } | null
}

export interface ContractState {
  keys: ReadonlyMap<Hex, { count: number; keyId: Hex; revoked: boolean }>
  datasets: ReadonlyMap<string, { version: number; schemaSha256: Hex }>
  sensors: ReadonlyMap<string, { owner: Hex; dataset: string }>
  validators: ReadonlySet<Hex>
  quorum: number
  submissions: ReadonlyMap<Hex, PendingSubmission>
  heads: ReadonlyMap<Hex, { acc: Hex; seq: number; submitted: number }>
  settled: number
  anchor: { seq: number; size: number; root: Hex; chain: Hex; block: number; time: number }
  anchorNonce: number
  lastPolicyIndex: number
}

export const EMPTY_STATE: ContractState = {
  keys: new Map(),
  datasets: new Map(),
  sensors: new Map(),
  validators: new Set(),
  quorum: 1,
  submissions: new Map(),
  heads: new Map(),
  settled: 0,
  anchor: { seq: 0, size: 0, root: toHex(emptyRoot()), chain: ZERO_WORD, block: 0, time: 0 },
  anchorNonce: 0,
  lastPolicyIndex: -1,
}

type Abi = typeof sensorRegistryAbi | typeof receiptAnchorAbi
type AbiItem = {
  type: string
  name?: string
  inputs?: readonly { indexed?: boolean; name: string; type: string }[]
}

function emit(address: Hex, abi: Abi, eventName: string, args: Record<string, unknown>): EmittedLog {
  const item = (abi as readonly AbiItem[]).find((one) => one.type === 'event' && one.name === eventName)
  const inputs = item?.inputs ?? []
  const plain = inputs.filter((input) => !input.indexed)
  return {
    address,
    topics: encodeEventTopics({ abi, eventName, args } as never) as Hex[],
    data: encodeAbiParameters(plain as never, plain.map((input) => args[input.name]) as never),
  }
}
const fromRegistry = (name: string, args: Record<string, unknown>) =>
  emit(REGISTRY, sensorRegistryAbi, name, args)
const fromAnchor = (name: string, args: Record<string, unknown>) => emit(ANCHOR, receiptAnchorAbi, name, args)

/** `Submitted` by hand: its URI may be bytes that are no text, which a codec of strings would not write. */
function submittedLog(s: PendingSubmission, nonce: number): EmittedLog {
  const log = fromRegistry('Submitted', {
    id: s.id,
    contributor: s.contributor,
    nonce: BigInt(nonce),
    sensor: s.item.sensor,
    dataset: s.dataset,
    schemaSha256: s.schemaSha256,
    payloadHash: s.item.payloadHash,
    payloadBytes: BigInt(s.item.payloadBytes),
    // As many ASCII characters as there are bytes, to be put right below.
    uri: '\u007f'.repeat(s.item.uri.length),
    keyId: s.keyId,
    quorum: s.quorum,
  })
  const stand = '7f'.repeat(s.item.uri.length)
  const at = log.data.lastIndexOf(stand)
  const data = log.data.slice(0, at) + toHex(s.item.uri).slice(2) + log.data.slice(at + stand.length)
  return { ...log, data: data as Hex }
}

/** Where a transaction is executed. */
export interface BlockContext {
  number: number
  time: number
}

/** Executes one transaction; answers the state after it and its logs. */
export function execute(
  before: ContractState,
  { action }: Tx,
  block: BlockContext,
): { state: ContractState; logs: EmittedLog[] } {
  const reverted = { state: before, logs: [] }
  const one = (state: ContractState, ...logs: EmittedLog[]) => ({ state, logs })
  const set = <K, V>(map: ReadonlyMap<K, V>, key: K, value: V): Map<K, V> => new Map(map).set(key, value)
  switch (action.kind) {
    case 'deploy': {
      const role = (account: Hex) =>
        fromRegistry('RoleGranted', { role: VALIDATOR_ROLE, account, sender: ADMIN })
      return one(
        { ...before, validators: new Set(action.validators), quorum: action.quorum, lastPolicyIndex: 0 },
        fromRegistry('RoleGranted', { role: ZERO_WORD, account: ADMIN, sender: ADMIN }),
        fromRegistry('QuorumChanged', { quorum: action.quorum }),
        ...action.validators.map(role),
        fromAnchor('LeafPolicyAdded', { firstIndex: 0n, policyHash: action.policyHash }),
      )
    }
    case 'registerKey': {
      const count = before.keys.get(action.from)?.count ?? 0
      // The possession was signed for this index; with another one it would only be invalid, which is a case of its own.
      if (count !== action.keyIndex) return reverted
      const keyId = toHex(sha256(action.publicKey))
      return one(
        { ...before, keys: set(before.keys, action.from, { count: count + 1, keyId, revoked: false }) },
        fromRegistry('KeyRegistered', {
          contributor: action.from,
          keyIndex: BigInt(count),
          keyId,
          publicKey: toHex(action.publicKey),
          possession: toHex(action.possession),
        }),
      )
    }
    case 'revokeKey': {
      const key = before.keys.get(action.from)
      if (!key || key.revoked) return reverted
      return one(
        { ...before, keys: set(before.keys, action.from, { ...key, revoked: true }) },
        fromRegistry('KeyRevoked', { contributor: action.from, keyIndex: BigInt(key.count - 1) }),
      )
    }
    case 'setDataset': {
      const version = (before.datasets.get(action.name)?.version ?? -1) + 1
      const schemaSha256 = toHex(sha256(action.schema))
      return one(
        { ...before, datasets: set(before.datasets, action.name, { version, schemaSha256 }) },
        fromRegistry('DatasetUpdated', {
          name: action.name,
          version: BigInt(version),
          schemaSha256,
          schema: toHex(action.schema),
        }),
      )
    }
    case 'registerSensor': {
      if (before.sensors.has(action.name) || !before.datasets.has(action.dataset)) return reverted
      const sensor = { owner: action.from, dataset: action.dataset }
      return one(
        { ...before, sensors: set(before.sensors, action.name, sensor) },
        fromRegistry('SensorRegistered', {
          contributor: action.from,
          name: action.name,
          dataset: action.dataset,
          h3Cell: action.h3,
        }),
      )
    }
    case 'submit': {
      let state = before
      const logs: EmittedLog[] = []
      for (const item of action.items) {
        const key = state.keys.get(action.from)
        const sensor = state.sensors.get(item.sensor)
        // All or nothing, as submitBatch.
        if (!key || key.revoked || sensor?.owner !== action.from) return reverted
        const head = state.heads.get(action.from) ?? { acc: ZERO_WORD, seq: 0, submitted: 0 }
        const id = submissionId({
          chainId: CHAIN_ID,
          registry: REGISTRY,
          contributor: action.from,
          nonce: head.submitted,
          sensor: item.sensor,
          payloadHash: item.payloadHash,
          payloadBytes: item.payloadBytes,
          uriSha256: toHex(sha256(item.uri)),
        })
        const submission: PendingSubmission = {
          id,
          contributor: action.from,
          item,
          dataset: sensor.dataset,
          schemaSha256: state.datasets.get(sensor.dataset)?.schemaSha256 as Hex,
          keyId: key.keyId,
          quorum: state.quorum,
          block: block.number,
          validators: state.validators,
          votes: new Map(),
          settled: null,
        }
        logs.push(submittedLog(submission, head.submitted))
        state = {
          ...state,
          submissions: set(state.submissions, id, submission),
          heads: set(state.heads, action.from, { ...head, submitted: head.submitted + 1 }),
        }
      }
      return { state, logs }
    }
    case 'attest': {
      let state = before
      const logs: EmittedLog[] = []
      for (const { id, valid } of action.items) {
        const s = state.submissions.get(id)
        // Skipped and not reverted, as attestBatch does.
        if (!s || s.settled || s.contributor === action.from) continue
        if (s.votes.has(action.from) || !s.validators.has(action.from)) continue
        const votes = set(s.votes, action.from, valid)
        state = { ...state, submissions: set(state.submissions, id, { ...s, votes }) }
        logs.push(fromRegistry('Attested', { id, validator: action.from, valid }))
        if ([...votes.values()].filter((vote) => vote === valid).length < s.quorum) continue
        const settled = settle(state, id, valid ? 'validated' : 'rejected', block)
        state = settled.state
        logs.push(settled.log)
      }
      return { state, logs }
    }
    case 'expire': {
      const s = before.submissions.get(action.id)
      if (!s || s.settled || block.number <= s.block + TTL) return reverted
      const settled = settle(before, action.id, 'expired', block)
      return one(settled.state, settled.log)
    }
    case 'setQuorum':
      return one(
        { ...before, quorum: action.quorum },
        fromRegistry('QuorumChanged', { quorum: action.quorum }),
      )
    case 'setValidator': {
      const { account, member } = action
      if (before.validators.has(account) === member) return reverted
      const validators = new Set(before.validators)
      if (member) validators.add(account)
      else validators.delete(account)
      const name = member ? 'RoleGranted' : 'RoleRevoked'
      return one(
        { ...before, validators },
        fromRegistry(name, { role: VALIDATOR_ROLE, account, sender: ADMIN }),
      )
    }
    case 'addLeafPolicy': {
      const firstIndex = Math.max(before.settled, before.lastPolicyIndex + 1) + action.ahead
      return one(
        { ...before, lastPolicyIndex: firstIndex },
        fromAnchor('LeafPolicyAdded', { firstIndex: BigInt(firstIndex), policyHash: action.hash }),
      )
    }
    case 'anchor': {
      if (action.nonce !== before.anchorNonce) return reverted
      const state = { ...before, anchorNonce: before.anchorNonce + 1 }
      if (anchorObstacle(before, action) !== null || action.size === before.anchor.size)
        return { state, logs: [] }
      const { anchor } = before
      const seq = anchor.seq + 1
      const chain = nextAnchorChain(anchor.chain, {
        chainId: CHAIN_ID,
        anchor: ANCHOR,
        seq,
        size: action.size,
        root: action.root,
        blockNumber: block.number,
        time: block.time,
      })
      return one(
        {
          ...state,
          anchor: { seq, size: action.size, root: action.root, chain, block: block.number, time: block.time },
        },
        fromAnchor('Anchored', {
          seq: BigInt(seq),
          size: BigInt(action.size),
          root: action.root,
          previousSize: BigInt(anchor.size),
          previousRoot: anchor.root,
          chain,
        }),
      )
    }
    case 'foreign':
      return one(before, ...action.logs)
  }
}

/** Why ReceiptAnchor would revert, by the name of its error; null where it would not. */
export function anchorObstacle(
  state: ContractState,
  call: { size: number; root: Hex; proof: readonly Hex[] },
): string | null {
  const { size, root } = state.anchor
  if (call.size < size) return 'SizeShrinks'
  if (call.size === size) return call.root === root ? null : 'RootConflict'
  if (call.size > state.settled) return 'SizeAboveSettled'
  const proof = call.proof.map((hash) => fromHex(hash, 32))
  const consistent =
    size === 0
      ? proof.length === 0
      : verifyConsistency(size, call.size, proof, fromHex(root, 32), fromHex(call.root, 32))
  return consistent ? null : 'BadConsistencyProof'
}

function settle(
  state: ContractState,
  id: Hex,
  outcome: Outcome,
  block: BlockContext,
): { state: ContractState; log: EmittedLog } {
  const s = state.submissions.get(id) as PendingSubmission
  const head = state.heads.get(s.contributor) ?? { acc: ZERO_WORD, seq: 0, submitted: 0 }
  const index = state.settled
  const record = recordHash({
    chainId: CHAIN_ID,
    registry: REGISTRY,
    id,
    contributor: s.contributor,
    sensor: s.item.sensor,
    dataset: s.dataset,
    schemaSha256: s.schemaSha256,
    payloadHash: s.item.payloadHash,
    payloadBytes: s.item.payloadBytes,
    uriSha256: toHex(sha256(s.item.uri)),
    keyId: s.keyId,
    submittedBlock: s.block,
    seq: head.seq,
    index,
    outcome,
  })
  const acc = nextAcc(head.acc, record)
  const settled = { index, outcome, block: block.number, time: block.time }
  return {
    state: {
      ...state,
      settled: index + 1,
      submissions: new Map(state.submissions).set(id, { ...s, settled }),
      heads: new Map(state.heads).set(s.contributor, { ...head, acc, seq: head.seq + 1 }),
    },
    log: fromRegistry('SubmissionSettled', {
      id,
      contributor: s.contributor,
      index: BigInt(index),
      seq: BigInt(head.seq),
      outcome: { validated: 1, rejected: 2, expired: 3 }[outcome],
      record,
      acc,
    }),
  }
}

/** A hash for something that has a name. */
export const named = (text: string): Hex => toHex(sha256(utf8(text)))
