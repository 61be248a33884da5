import type { Context } from '../context.ts'

/** The claims that this verifier checks. */
export type ClaimName =
  | 'included'
  | 'onChain'
  | 'anchored'
  | 'appendOnly'
  | 'contributorSigned'
  | 'receiptSigned'
  | 'complete'

export type ClaimStatus = 'proved' | 'failed' | 'not claimed'

/** What a check came to, with the reason in one plain phrase. */
export interface Finding {
  status: ClaimStatus
  reason: string
}

/** One row of the answer. `prerequisite` names the claim that this one needs and that was not proved. */
export interface ClaimResult extends Finding {
  name: ClaimName
  prerequisite?: ClaimName
}

/** One claim: each is a file of this folder, listed in `all.ts`. */
export interface Claim {
  readonly name: ClaimName
  /** What the claim shows when it is proved, as one plain sentence. */
  readonly shows: string
  /** Claims that must be proved before this one says anything, for this bundle; they stand earlier in the list. */
  readonly prerequisites: readonly ClaimName[] | ((context: Context) => readonly ClaimName[])
  /** Why the bundle does not make this claim at all, or null where it does: the fields that it needs are there. */
  missing?(context: Context): string | null
  /** Checks the claim, its prerequisites proved. A `DunesError` that it throws is the reason why the claim has failed. */
  check(context: Context): Finding
}

export const proved = (reason: string): Finding => ({ status: 'proved', reason })
export const notClaimed = (reason: string): Finding => ({ status: 'not claimed', reason })
