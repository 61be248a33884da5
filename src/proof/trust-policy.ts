import { evmChainId } from '../chain/ids.ts'
import { LAYOUT_VERSION } from '../chain/slots.ts'
import { decodeUtf8, fromHex, type Hex } from '../core/bytes.ts'
import { DunesError } from '../core/error.ts'
import { type Json, parseJson } from '../core/json.ts'
import { ML_DSA_SIZES } from '../core/ml-dsa.ts'
import { isOrigin, type RetiredSigners } from '../log/checkpoint.ts'
import { formatVkey, parseVkey, type Vkey } from '../log/vkey.ts'
import { PolicyError } from './error.ts'
import { fieldReader } from './fields.ts'

/** A key that may sign receipts of the indices from `fromIndex` to `toIndex`, both included; null is an open end. */
export interface ReceiptKey {
  /** ML-DSA-65 public key, 1,952 bytes of lower-case 0x hex. */
  pub: Hex
  fromIndex: number | null
  toIndex: number | null
}

/** Checkpoint keys that were replaced: those that together signed at sizes up to `toSize`, included; null is an open end. */
export interface RetiredCheckpointKeys {
  vkeys: string[]
  toSize: number | null
}

/** Whom and what a verifier trusts: its own file, never part of a bundle (docs/proofs.md, "The trust policy"). */
export interface TrustPolicy {
  /** CAIP-2 id of an EVM chain. */
  chain: string
  /** Address of the SensorRegistry, of the ReceiptAnchor and, once there is one, of the RewardPool. */
  registry: Hex
  anchor: Hex
  pool?: Hex
  /** Keccak-256 of the code at each address. */
  codeHashes: { registry: Hex; anchor: Hex; pool?: Hex }
  /** The log's name. */
  origin: string
  /** C2SP verifier keys, each of which must have signed a checkpoint: at least one, none twice. */
  checkpointVkeys: string[]
  /** Sets of keys that signed before these did; each set stands for the other at the sizes that it signed. Absent where none was replaced. */
  retiredCheckpointVkeys?: RetiredCheckpointKeys[]
  /** May be empty: then no receipt signature is trusted. */
  receiptKeys: ReceiptKey[]
  /** Version of the contracts' storage layout, 1. */
  layoutVersion: number
}

/** Far above what a policy with dozens of keys needs. */
const MAX_BYTES = 1024 * 1024

/** The policy in `bytes`: strict JSON, no field unknown, every value in form. Throws only {@link PolicyError}. */
export function parseTrustPolicy(bytes: Uint8Array): TrustPolicy {
  if (bytes.length > MAX_BYTES) throw new PolicyError(`a trust policy has at most ${MAX_BYTES} bytes`)
  let value: Json
  try {
    value = parseJson(decodeUtf8(bytes), { maxDepth: 4 })
  } catch (cause) {
    const what = cause instanceof DunesError ? cause.message : 'it is not UTF-8'
    throw new PolicyError(`the trust policy is not strict JSON: ${what}`, { cause })
  }
  return readTrustPolicy(value)
}

/** The policy in a parsed JSON value, checked like {@link parseTrustPolicy}'s. Throws only {@link PolicyError}. */
export function readTrustPolicy(value: Json): TrustPolicy {
  const refuse = (path: string, message: string): never => {
    throw new PolicyError(`trust policy: ${path || 'it'} ${message}`, { details: { path } })
  }
  const f = fieldReader(refuse)
  const root = f.object(value, '')
  const { chain, registry, anchor, pool, codeHashes, origin, checkpointVkeys, receiptKeys, layoutVersion } =
    root
  const retired = root['retiredCheckpointVkeys']
  f.only(
    root,
    '',
    [
      'chain',
      'registry',
      'anchor',
      'codeHashes',
      'origin',
      'checkpointVkeys',
      'receiptKeys',
      'layoutVersion',
    ],
    ['pool', 'retiredCheckpointVkeys'],
  )
  const hashes = f.object(codeHashes, 'codeHashes')
  // A pool without its code hash would be trusted whatever it runs; a code hash without a pool is about nothing.
  f.only(hashes, 'codeHashes', pool === undefined ? ['registry', 'anchor'] : ['registry', 'anchor', 'pool'])
  const policy: TrustPolicy = {
    chain: f.text(chain, 'chain'),
    registry: f.hex(registry, 'registry', 20),
    anchor: f.hex(anchor, 'anchor', 20),
    codeHashes: {
      registry: f.hex(hashes['registry'], 'codeHashes.registry', 32),
      anchor: f.hex(hashes['anchor'], 'codeHashes.anchor', 32),
    },
    origin: f.text(origin, 'origin'),
    checkpointVkeys: f
      .array(checkpointVkeys, 'checkpointVkeys')
      .map((v, i) => f.text(v, `checkpointVkeys[${i}]`)),
    receiptKeys: f.array(receiptKeys, 'receiptKeys').map((key, i) => receiptKey(key, `receiptKeys[${i}]`)),
    layoutVersion: f.count(layoutVersion, 'layoutVersion'),
  }
  if (pool !== undefined) {
    policy.pool = f.hex(pool, 'pool', 20)
    policy.codeHashes.pool = f.hex(hashes['pool'], 'codeHashes.pool', 32)
  }
  if (retired !== undefined) {
    policy.retiredCheckpointVkeys = f
      .array(retired, 'retiredCheckpointVkeys')
      .map((set, i) => retiredKeys(set, `retiredCheckpointVkeys[${i}]`))
    if (policy.retiredCheckpointVkeys.length === 0)
      refuse('retiredCheckpointVkeys', 'must name at least one set, or be left out')
  }
  if (policy.layoutVersion !== LAYOUT_VERSION) refuse('layoutVersion', `must be ${LAYOUT_VERSION}`)
  try {
    evmChainId(policy.chain)
  } catch {
    refuse('chain', 'must be the CAIP-2 id of an EVM chain')
  }
  if (!isOrigin(policy.origin))
    refuse('origin', 'must be 1 to 128 printable ASCII characters without space and +')
  if (policy.checkpointVkeys.length === 0) refuse('checkpointVkeys', 'must name at least one key')
  const requireOnce = (vkeys: readonly Vkey[], path: string) => {
    if (new Set(vkeys.map(formatVkey)).size !== vkeys.length) refuse(path, 'names a key twice')
  }
  requireOnce(policyVkeys(policy), 'checkpointVkeys')
  retiredSigners(policy).forEach(({ vkeys }, i) => {
    requireOnce(vkeys, `retiredCheckpointVkeys[${i}].vkeys`)
  })
  return policy

  function retiredKeys(json: Json, path: string): RetiredCheckpointKeys {
    const set = f.object(json, path)
    f.only(set, path, ['vkeys', 'toSize'])
    const vkeys = f.array(set['vkeys'], `${path}.vkeys`).map((v, i) => f.text(v, `${path}.vkeys[${i}]`))
    if (vkeys.length === 0) refuse(`${path}.vkeys`, 'must name at least one key')
    return { vkeys, toSize: set['toSize'] === null ? null : f.count(set['toSize'], `${path}.toSize`) }
  }

  function receiptKey(json: Json, path: string): ReceiptKey {
    const key = f.object(json, path)
    f.only(key, path, ['pub', 'fromIndex', 'toIndex'])
    const bound = (name: 'fromIndex' | 'toIndex') =>
      key[name] === null ? null : f.count(key[name], `${path}.${name}`)
    return {
      pub: f.hex(key['pub'], `${path}.pub`, ML_DSA_SIZES[65].publicKey),
      fromIndex: bound('fromIndex'),
      toIndex: bound('toIndex'),
    }
  }
}

/** The policy's checkpoint keys, parsed. Throws {@link PolicyError} on one whose key id does not match its key. */
export const policyVkeys = ({ checkpointVkeys }: TrustPolicy): Vkey[] =>
  parseVkeys(checkpointVkeys, 'checkpointVkeys')

/** The sets of keys that were replaced, parsed as {@link policyVkeys} does. */
export const retiredSigners = ({ retiredCheckpointVkeys = [] }: TrustPolicy): RetiredSigners[] =>
  retiredCheckpointVkeys.map(({ vkeys, toSize }, i) => ({
    vkeys: parseVkeys(vkeys, `retiredCheckpointVkeys[${i}].vkeys`),
    toSize,
  }))

const parseVkeys = (texts: readonly string[], path: string): Vkey[] =>
  texts.map((text, i) => {
    try {
      return parseVkey(text)
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : 'bad'
      throw new PolicyError(`trust policy: ${path}[${i}]: ${why}`, { cause })
    }
  })

/** The receipt keys that the policy holds valid at `index`; ends are inclusive and null is open. */
export const receiptKeysAt = (policy: TrustPolicy, index: number): Uint8Array[] =>
  policy.receiptKeys
    .filter(
      ({ fromIndex, toIndex }) => (fromIndex ?? 0) <= index && index <= (toIndex ?? Number.MAX_SAFE_INTEGER),
    )
    .map(({ pub }) => fromHex(pub))
