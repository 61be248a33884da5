import { type Hex, sha256, toHex } from '../core/bytes.ts'
import { jcsBytes } from '../core/json.ts'
import { MAML_LIMITS, type MamlLimits } from '../maml/limits.ts'

/** How far the first reading's time may lie from the submission block's, in whole seconds. */
export interface AgeLimit {
  readonly maxAgeSeconds: number
  readonly maxAheadSeconds: number
}

/** Every setting that can change a leaf. ReceiptAnchor holds the hash of each policy and its first index. */
export interface LeafPolicy {
  readonly v: 1
  /** Chain time from the settling block before which a payload may not be declared unavailable. */
  readonly graceSeconds: number
  /** Chain time from the settling block after which a missing anchor is the operator's fault. */
  readonly maxLagSeconds: number
  readonly limits: MamlLimits
  /** By dataset; a dataset without an entry has no age limit. */
  readonly ages: Readonly<Record<string, AgeLimit>>
  /** Versions of what the leaf's bytes follow. */
  readonly formats: { readonly maml: '1.0'; readonly entry: 1; readonly uri: 1; readonly reasons: 1 }
}

/** The devnet's policy: five seconds of grace, no age limits. */
export const DEVNET_POLICY: LeafPolicy = {
  v: 1,
  graceSeconds: 5,
  maxLagSeconds: 600,
  limits: MAML_LIMITS,
  ages: {},
  formats: { maml: '1.0', entry: 1, uri: 1, reasons: 1 },
}

/** Plain SHA-256 of the policy's canonical JSON (RFC 8785); 32 bytes. */
export const policyHash = (policy: LeafPolicy): Uint8Array => sha256(jcsBytes(policy))

const KNOWN: ReadonlyMap<Hex, LeafPolicy> = new Map(
  [DEVNET_POLICY].map((policy) => [toHex(policyHash(policy)), policy]),
)

/** The policy that `hash` (lower-case hex) stands for, or null when this version of Dunes cannot execute it. */
export const knownPolicy = (hash: Hex): LeafPolicy | null => KNOWN.get(hash) ?? null
