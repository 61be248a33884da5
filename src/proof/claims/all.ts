import { anchored } from './anchored.ts'
import { appendOnly } from './append-only.ts'
import type { Claim } from './claim.ts'
import { complete } from './complete.ts'
import { contributorSigned } from './contributor-signed.ts'
import { included } from './included.ts'
import { onChain } from './on-chain.ts'
import { receiptSigned } from './receipt-signed.ts'

/** Every claim, in the order of checking and of showing: what a claim needs stands before it. */
export const CLAIMS: readonly Claim[] = [
  included,
  onChain,
  anchored,
  appendOnly,
  contributorSigned,
  receiptSigned,
  complete,
]
