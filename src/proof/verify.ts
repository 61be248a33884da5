import { fromHex, type Hex, toHex } from '../core/bytes.ts'
import { DunesError } from '../core/error.ts'
import { type MlDsa, nobleMlDsa } from '../core/ml-dsa.ts'
import type { Entry } from '../receipt/entry.ts'
import type { AnchoredEvent } from './anchored-event.ts'
import { decodeAnyBundle } from './bundle.ts'
import { CLAIMS } from './claims/all.ts'
import type { Claim, ClaimName, ClaimResult } from './claims/claim.ts'
import { type Context, openContext } from './context.ts'
import { BundleError, PolicyError } from './error.ts'
import type { Fold } from './fold.ts'
import type { TrustPolicy } from './trust-policy.ts'

export type { ClaimName, ClaimResult } from './claims/claim.ts'

/** The claims that a verification must prove to be a yes, unless the caller asks for more. */
export const DEFAULT_REQUIRED: readonly ClaimName[] = ['included', 'onChain', 'anchored', 'appendOnly']

/**
 * What the bundle says, for display. A part is null where it could not be read or proved. `entry` is as the bundle gives
 * it: which of its fields to believe is what the claims say.
 */
export interface Facts {
  /** Null in a bundle of many rows, too. */
  entry: Entry | null
  /** The entries of a bundle of many rows, as it gives them; only there. */
  rows?: Entry[] | null
  /** The stretch of a contributor's submissions that the bundle shows to be whole; only where it has one. */
  completeness?: CompletenessFacts | null
  /** The trusted block: 32-byte hash, number, time in seconds. */
  block: { hash: Hex; number: number; time: number } | null
  /** The anchored head in that block's state; `time` in seconds. */
  anchor: { size: number; root: Hex; seq: number; block: number; time: number } | null
  /** The anchor that the bundle proves the event of, and the event's block; only where it has one. `time` in seconds. */
  anchoredEvent?: { seq: number; size: number; block: number; time: number } | null
  /** The signed checkpoint that the entry's inclusion proof ends in. */
  checkpoint: { origin: string; size: number; root: Hex } | null
}

/** A stretch of one contributor's settled submissions, in seq order, and the registry's counts. */
export interface CompletenessFacts {
  contributor: Hex
  /** From `fromSeq` up to but without `endSeq`. */
  fromSeq: number
  endSeq: number
  /** Of all of the contributor's submissions in the trusted block. */
  settled: number
  submitted: number
  pending: number
  /** Ids of the stretch's submissions, in the order of their seq. */
  submissions: Hex[]
}

export interface Verification {
  /** One row for every claim that this verifier knows, in a fixed order. */
  claims: ClaimResult[]
  facts: Facts
}

export interface VerifyOptions {
  /** The bundle file's bytes. */
  bundle: Uint8Array
  /** Whom the verifier trusts; the caller's own, from elsewhere than the bundle. */
  policy: TrustPolicy
  /** Hash of a block that the caller trusts, 32 bytes of lower-case 0x hex. */
  trustedBlockHash: Hex
  /** Pure JavaScript unless given. */
  mlDsa?: MlDsa
}

/**
 * Checks every claim that a bundle makes, without any I/O (docs/proofs.md). The answer is a row for each claim and never one
 * boolean. Throws {@link BundleError} on a bundle that cannot be read, that has a field which this verifier does not know,
 * or that carries something which no claim uses; `PolicyError` on a policy with a bad checkpoint key; `BAD_HEX` on a
 * malformed `trustedBlockHash`.
 */
export function verifyBundle(options: VerifyOptions): Verification {
  const { policy, mlDsa = nobleMlDsa } = options
  const trusted = fromHex(options.trustedBlockHash, 32)
  const context = openContext(decodeAnyBundle(options.bundle), policy, trusted, mlDsa)
  const claims: ClaimResult[] = []
  for (const claim of CLAIMS) claims.push(checkClaim(claim, context, claims))
  // Where a claim failed, what it would have asked for next is unknown, and the answer is a no already.
  const [unused] = claims.some(({ status }) => status === 'failed') ? [] : context.unused()
  if (unused !== undefined) {
    throw new BundleError('BUNDLE_FIELD_UNUSED', `the bundle has ${unused}, which no claim uses`, {
      hint: 'a field must come with all that its claim needs, or stay out; docs/proofs.md says what needs what',
      details: { field: unused },
    })
  }
  return { claims, facts: readFacts(context) }
}

function checkClaim(claim: Claim, context: Context, before: readonly ClaimResult[]): ClaimResult {
  const { name } = claim
  const missing = claim.missing?.(context) ?? null
  if (missing !== null) return { name, status: 'not claimed', reason: missing }
  const { prerequisites } = claim
  for (const prerequisite of typeof prerequisites === 'function' ? prerequisites(context) : prerequisites) {
    const status = before.find((result) => result.name === prerequisite)?.status
    if (status !== 'proved') {
      return {
        name,
        status: 'not claimed',
        reason: `it needs ${prerequisite}, which is ${status}`,
        prerequisite,
      }
    }
  }
  try {
    return { name, ...claim.check(context) }
  } catch (error) {
    // A bundle with something in it that must not be there is refused whole; so is a policy that cannot be used.
    if (error instanceof BundleError || error instanceof PolicyError) throw error
    if (!(error instanceof DunesError)) throw error
    return { name, status: 'failed', reason: error.message }
  }
}

function readFacts(context: Context): Facts {
  const orNull = <T>(read: () => T): T | null => {
    try {
      return read()
    } catch (error) {
      if (error instanceof DunesError) return null
      throw error
    }
  }
  return {
    entry: context.rowCount === null ? orNull(() => context.parsedEntries()[0]?.entry ?? null) : null,
    ...(context.rowCount !== null && {
      rows: orNull(() => context.parsedEntries().map(({ entry }) => entry)),
    }),
    ...(context.has('completeness') && { completeness: orNull(() => completenessFacts(context.fold())) }),
    block: orNull(() => {
      const { hash, number, timestamp } = context.block()
      return { hash: toHex(hash), number, time: timestamp }
    }),
    anchor: orNull(() => {
      const { size, root, seq, blockNumber, time } = context.head()
      return { size, root: toHex(root), seq, block: blockNumber, time }
    }),
    ...(context.has('anchoredEvent') && {
      anchoredEvent: orNull(() => {
        const { seq, size, block, time } = context.anchoredEvent() as AnchoredEvent
        return { seq, size, block, time }
      }),
    }),
    checkpoint: orNull(() => {
      const { origin, size, root } = context.checkpoint()
      return { origin, size, root: toHex(root) }
    }),
  }
}

const completenessFacts = (fold: Fold | null): CompletenessFacts | null =>
  fold && {
    contributor: fold.contributor,
    fromSeq: fold.fromSeq,
    endSeq: fold.endSeq,
    settled: fold.settled,
    submitted: fold.submitted,
    pending: fold.submitted - fold.settled,
    submissions: fold.steps.map(({ item }) => item.id),
  }

/**
 * The rows that stand in the way of a yes: each failed claim, and each of `required` that is not proved. None means exit
 * code 0 of `dunes verify`.
 */
export const objections = (
  claims: readonly ClaimResult[],
  required: readonly ClaimName[] = DEFAULT_REQUIRED,
): ClaimResult[] =>
  claims.filter(({ name, status }) => status === 'failed' || (status !== 'proved' && required.includes(name)))
