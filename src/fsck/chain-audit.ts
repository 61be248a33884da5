import type { Hex } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import { DunesError } from '../core/error.ts'
import type { MlDsa } from '../core/ml-dsa.ts'
import type { AuditEvent } from './abi.ts'
import type { EntryFacts } from './entry.ts'
import type { Findings, FindingsState } from './findings.ts'
import type { Published } from './published.ts'
import type { AuditBlock, ChainReader } from './rpc.ts'
import type { Store, StoredSubmission } from './store.ts'
import type { Progress, Subject } from './subject.ts'
import type { Tree } from './tree.ts'

/** One attempt to obtain a payload: bytes with exactly this hash and length, or why there are none. */
export type FetchPayload = (request: {
  uri: string
  sha256: Uint8Array
  bytes: number
  signal?: AbortSignal
}) => Promise<
  { kind: 'bytes'; bytes: Uint8Array } | { kind: 'unavailable'; what: string; retryable: boolean }
>

/** Holds stored rows against events, where there is a database. */
export interface RowCheck {
  /** Events of one contract's range, with the time of each block that they are in. */
  events(events: readonly AuditEvent[], timeOf: (block: number) => Promise<number>): Promise<void>
  /** After the last event: what stands in the database beyond what the chain has said. */
  finish(counts: Readonly<Record<string, number>>, revokedAt: Store['revokedAt']): Promise<void>
}

export interface ChainAudit {
  readonly subject: Subject
  readonly chain: ChainReader
  /** The last block to read; everything up to it is taken as final. */
  readonly upTo: number
  readonly fetchPayload: FetchPayload
  readonly published: Published
  readonly store: Store
  readonly rows: RowCheck | null
  readonly mlDsa: MlDsa
  readonly clock: Clock
  readonly progress?: (progress: Progress) => void
  readonly signal?: AbortSignal
}

/** Leaves by what became of them, and what else was counted. */
export interface ChainCounts {
  reproduced: number
  differs: number
  /** The payload is gone; everything that the chain says of the leaf agrees. */
  notCheckable: number
  /** Settled, and not in the log yet. */
  notLogged: number
  /** Reproduced on the strength of an observed statement. */
  observed: number
  /** Of these, payloads that can be had now. */
  obtainable: number
  anchors: number
  events: number
}

export interface ChainReport {
  readonly subject: Subject
  readonly counts: ChainCounts & { pending: number }
  readonly upTo: AuditBlock
  /** Root of the published entries. */
  readonly size: number
  readonly root: Hex
  /** What the anchor contract holds at `upTo`. */
  readonly onChain: { readonly size: number; readonly root: Hex; readonly settled: number }
  readonly resumedFrom: number | null
  readonly findings: FindingsState
}

/** What the stages of one audit share. */
export interface ChainWork {
  readonly audit: ChainAudit
  readonly findings: Findings
  readonly counts: ChainCounts
  /** Rows that each table of a database would have. */
  readonly tables: Record<string, number>
  /** The tree over the published entries. */
  readonly tree: Tree
  /** A block by number, asked for once. Throws `FSCK_CHAIN_UNREACHABLE` where there is none. */
  block(number: number): Promise<AuditBlock>
  timeOf(block: number): Promise<number>
}

/** A settled submission, and what its submission said. */
export interface Settled {
  readonly facts: EntryFacts
  readonly submission: StoredSubmission
}

/** The endpoint is not to be believed. */
export const unsteady = (what: string): DunesError =>
  new DunesError('FSCK_CHAIN_UNREACHABLE', `the chain's endpoint contradicts itself: ${what}`, {
    hint: 'try again, or another endpoint',
    retryable: true,
    exitCode: 3,
  })
