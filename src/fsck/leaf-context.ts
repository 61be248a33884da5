import type { MlDsa } from '../core/ml-dsa.ts'
import type { Findings } from './findings.ts'
import type { CheckpointKeySet } from './note.ts'
import type { PolicyList } from './policy.ts'
import type { Snapshot } from './rows.ts'
import type { Subject } from './subject.ts'

/** Things that are remembered of each kind: schema files, verified proofs of possession, columns. */
export const REMEMBERED = 4_096

/** A receipt key and the indices that it holds for, both ends inclusive and null open. */
export interface ReceiptKey {
  readonly publicKey: Uint8Array
  readonly fromIndex: number | null
  readonly toIndex: number | null
}

/** What has been looked at. */
export interface Counts {
  submissions: number
  leaves: number
  accepted: number
  rejected: number
  observed: number
  payloads: number
  readings: number
  tiles: number
  checkpoints: number
  anchoredRoots: number
  receiptSignatures: number
}

/** What the stages of one audit share. */
export interface LeafContext {
  readonly db: Snapshot
  readonly subject: Subject
  readonly mlDsa: MlDsa
  readonly findings: Findings
  readonly counts: Counts
  readonly policies: PolicyList
  readonly checkpointKeys: readonly CheckpointKeySet[]
  readonly receiptKeys: readonly ReceiptKey[]
  /** Rows of the leaf table. */
  readonly leafCount: number
}

/** A stored leaf. */
export interface Leaf {
  readonly submission: string
  readonly entry: Uint8Array
}
