import { CLAIMS } from './claims/all.ts'
import type { ClaimName, ClaimResult } from './claims/claim.ts'

/** The names of all claims that this verifier checks, in order; what `--require` may name. */
export const CLAIM_NAMES: readonly ClaimName[] = CLAIMS.map(({ name }) => name)

/** What a proved claim shows, as one plain sentence. */
export const claimMeaning = (name: ClaimName): string =>
  CLAIMS.find((claim) => claim.name === name)?.shows ?? name

/** A claim's row in plain words: what it shows where it is proved, else what is wrong or what is not there. */
export function explainClaim({ name, status, reason }: ClaimResult): string {
  if (status === 'proved') return `${claimMeaning(name)} (${reason}.)`
  if (status === 'failed') return `This does not hold: ${reason}.`
  return `Nothing is said about this: ${reason}.`
}
