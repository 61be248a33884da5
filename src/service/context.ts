import type { HeadSocketStatus } from '../chain/head-socket.ts'
import type { Rpc } from '../chain/rpc.ts'
import type { SourceStatus } from '../chain/source.ts'
import type { Hex } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import type { Logger } from '../core/logger.ts'
import type { Metrics } from '../core/metrics.ts'
import type { MlDsa } from '../core/ml-dsa.ts'
import type { Sql } from '../graph/connect.ts'
import type { Deployment } from '../graph/cursor.ts'
import type { RecheckStatus } from '../graph/statements.ts'
import type { RetiredCheckpointKeys } from '../proof/trust-policy.ts'
import { ChangeFeed, FOLLOWING, type Following } from './changes.ts'
import type { QuerySessions } from './query-sessions.ts'
import { BoundedQueue } from './queue.ts'

/** A receipt key as the trust policy names it: valid for the indices from `fromIndex` to `toIndex`, both included. */
export interface ReceiptKeyPeriod {
  publicKey: Uint8Array
  fromIndex: number
  /** Null while open. */
  toIndex: number | null
}

/** Bytes that one contributor may keep here before its submissions are settled. */
export const DEFAULT_QUOTA_BYTES = 64 * 1024 * 1024
/** Signatures made at once, and how many requests may wait for theirs. */
export const SIGNING_AT_ONCE = 1
export const SIGNING_WAITING = 64

/** What only a process that indexes knows. */
export interface Indexing {
  readonly queues: { readonly searches: number; readonly held_bytes: number }
  readonly recheck: RecheckStatus | null
  readonly socket: HeadSocketStatus | null
}

/**
 * Everything that the use cases need, passed in once by whoever composes a process. What is about keys may be a getter: keys are
 * replaced while a process runs.
 */
export interface ServiceContext {
  readonly sql: Sql
  readonly logger: Logger
  readonly metrics: Metrics
  readonly clock: Clock
  readonly mlDsa: MlDsa
  readonly deployment: Deployment
  /** Asks the chain for evidence; null in a process without an endpoint. */
  readonly rpc: Rpc | null
  /** Signs receipts and storage receipts: the 32-byte ML-DSA-65 seed and its public key; null where there is none. */
  readonly receiptKey: { readonly seed: Uint8Array; readonly publicKey: Uint8Array } | null
  /** Every receipt key that the deployment has had, for its trust policy. */
  readonly receiptKeys: readonly ReceiptKeyPeriod[]
  /** Verifier keys of everybody who signs this log's checkpoints, as vkey lines. */
  readonly checkpointVkeys: readonly string[]
  /** Sets of them that were replaced, with the largest size that each has signed. */
  readonly retiredCheckpointVkeys: readonly RetiredCheckpointKeys[]
  /** Signs and stores the checkpoint of an anchored size and answers the note; null in a process without the keys. */
  readonly signCheckpoint: ((size: number, root: Uint8Array) => Promise<string>) | null
  /** How the chain source of this process is doing; null in a process that only serves. */
  readonly source: () => SourceStatus | null
  /** What waits in this process, and how its re-checks go; null in a process that only serves. */
  readonly indexing: () => Indexing | null
  /** Why this process is not ready, one sentence each; empty when it is. */
  readonly readiness: () => readonly string[]
  /** Called after a payload was stored, so that the indexer need not wait for its next look. */
  readonly payloadStored: (sha256: Hex) => void
  /** Connections on which strangers' queries run; null in a process without any. */
  readonly queries: QuerySessions | null
  readonly quotaBytes: number
  readonly signing: BoundedQueue
  readonly following: Following
  /** The feed of changes; stop it before the server, or its clients are waited for. */
  readonly changes: ChangeFeed
}

/** What {@link createServiceContext} must be told; the rest has defaults. */
export type ServiceSettings = Pick<
  ServiceContext,
  'sql' | 'logger' | 'metrics' | 'clock' | 'mlDsa' | 'deployment'
> &
  Partial<Omit<ServiceContext, 'signing' | 'changes'>>

/** A context with everything that was not given left out: a process that reads the database and signs nothing. */
export function createServiceContext(settings: ServiceSettings): ServiceContext {
  const defaults: Omit<ServiceContext, keyof ServiceSettings> & Partial<ServiceContext> = {
    rpc: null,
    receiptKey: null,
    receiptKeys: [],
    checkpointVkeys: [],
    retiredCheckpointVkeys: [],
    signCheckpoint: null,
    source: () => null,
    indexing: () => null,
    readiness: () => [],
    payloadStored: () => {},
    queries: null,
    quotaBytes: DEFAULT_QUOTA_BYTES,
    signing: new BoundedQueue(SIGNING_AT_ONCE, SIGNING_WAITING),
    following: FOLLOWING,
    changes: new ChangeFeed({
      sql: settings.sql,
      clock: settings.clock,
      chain: settings.deployment.chain,
      following: settings.following ?? FOLLOWING,
    }),
  }
  // Not spread: that would read getters once and for all.
  return Object.defineProperties(defaults, Object.getOwnPropertyDescriptors(settings)) as ServiceContext
}
