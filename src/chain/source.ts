import type { Hex } from '../core/bytes.ts'
import { DunesError } from '../core/error.ts'
import type { EndpointStatus } from './endpoint.ts'

/** A block by number and hash. `time` is its chain time in seconds since 1970-01-01T00:00:00Z. */
export interface BlockRef {
  readonly number: number
  readonly hash: Hex
  readonly time: number
}

/** A block with the contract events in it, in log order. Hashes are 32-byte lower-case 0x hex. */
export interface ChainBlock extends BlockRef {
  readonly parentHash: Hex
  readonly events: readonly ChainEvent[]
}

/** Where an event stands. */
export interface EventPlace {
  /** Hash of the transaction that emitted it. */
  readonly tx: Hex
  /** Its position among all logs of its block, from 0. */
  readonly logIndex: number
}

/** On-chain result of a submission: quorum for, quorum against, or no quorum in time. */
export type Outcome = 'validated' | 'rejected' | 'expired'

/**
 * Everything the two contracts say, decoded. Accounts are 20-byte and ids and hashes 32-byte lower-case 0x hex; integers
 * are at most 2^53 - 1; names match `[a-z0-9_]{1,32}`; other strings stay bytes, as the chain does not promise UTF-8.
 */
export type ChainEvent = EventPlace &
  (
    | {
        /** First key (index 0) or rotation to the next one. `keyId` is as the chain computed it, SHA-256 of `publicKey`. */
        readonly type: 'keyRegistered'
        readonly contributor: Hex
        readonly keyIndex: number
        readonly keyId: Hex
        readonly publicKey: Uint8Array
        readonly possession: Uint8Array
      }
    | { readonly type: 'keyRevoked'; readonly contributor: Hex; readonly keyIndex: number }
    | {
        /** `version` 0 is the dataset's registration. `schema` is the schema file's bytes. */
        readonly type: 'datasetUpdated'
        readonly name: string
        readonly version: number
        readonly schemaSha256: Hex
        readonly schema: Uint8Array
      }
    | {
        readonly type: 'sensorRegistered'
        readonly contributor: Hex
        readonly name: string
        readonly dataset: string
        readonly h3Cell: bigint
      }
    | { readonly type: 'validatorAdded'; readonly account: Hex }
    | { readonly type: 'validatorRemoved'; readonly account: Hex }
    | { readonly type: 'quorumChanged'; readonly quorum: number }
    | {
        readonly type: 'submitted'
        readonly id: Hex
        readonly contributor: Hex
        readonly nonce: number
        readonly sensor: string
        readonly dataset: string
        readonly schemaSha256: Hex
        readonly payloadHash: Hex
        /** Declared payload length in bytes. */
        readonly payloadBytes: number
        /** The URI exactly as on-chain; may be invalid UTF-8. `uriSha256` is over these bytes. */
        readonly uriBytes: Uint8Array
        /** SHA-256 of the contributor's public key in force at the submission. */
        readonly keyId: Hex
        readonly quorum: number
      }
    | { readonly type: 'attested'; readonly id: Hex; readonly validator: Hex; readonly valid: boolean }
    | {
        /** `index` is the leaf index; `seq` counts the contributor's settled ones from 0; `acc` is after this record. */
        readonly type: 'settled'
        readonly id: Hex
        readonly contributor: Hex
        readonly index: number
        readonly seq: number
        readonly outcome: Outcome
        readonly record: Hex
        readonly acc: Hex
      }
    | {
        readonly type: 'anchored'
        readonly seq: number
        readonly size: number
        readonly root: Hex
        readonly previousSize: number
        readonly previousRoot: Hex
        /** The hash chain over all anchors, this one included. */
        readonly chain: Hex
      }
    | { readonly type: 'leafPolicyAdded'; readonly firstIndex: number; readonly policyHash: Hex }
    | {
        readonly type: 'logClosed'
        readonly successor: Hex
        readonly lastGoodSize: number
        readonly lastGoodRoot: Hex
      }
  )

export type ChainEventType = ChainEvent['type']
/** One member of {@link ChainEvent}, by its type. */
export type ChainEventOf<T extends ChainEventType> = Extract<ChainEvent, { type: T }>

/** Stands for what is before block 0. */
export const BEFORE_GENESIS: BlockRef = { number: -1, hash: `0x${'0'.repeat(64)}`, time: 0 }

/**
 * What a consumer knows of the chain when it (re)starts: newest first, strictly falling numbers, the last one the last that
 * was given as final, or {@link BEFORE_GENESIS} when none was. Gaps are allowed; after a reorg the source falls back to
 * the newest block of the list that is still on the chain, and last to the block before the first one of interest.
 */
export type Cursor = readonly [BlockRef, ...BlockRef[]]

/**
 * One thing that happened. Steps come in chain order, and a consumer that applies each of them in one transaction is
 * always in some state that the chain was in.
 * - `append`: a run of blocks that continues what came before: the first one's `parentHash` is the hash of the tip so far.
 *   While final history is read, blocks without events are left out between the first and the last of the run; after
 *   that every block is there and each one's `parentHash` is the hash of the one before. `tip` is the run's last block.
 * - `rollback`: every block above `to.number` is off the chain; forget it. `to` was given before, in a step or in the cursor,
 *   or is the block before the first one that was asked for.
 * - `final`: `upTo`, appended before, and everything under it can no longer be reorganised away. Never falls.
 * - `head`: the newest block that the chain has, to measure the lag by. Not necessarily appended yet.
 */
export type ChainStep =
  | {
      readonly kind: 'append'
      readonly blocks: readonly [ChainBlock, ...ChainBlock[]]
      readonly tip: BlockRef
    }
  | { readonly kind: 'rollback'; readonly to: BlockRef }
  | { readonly kind: 'final'; readonly upTo: BlockRef }
  | { readonly kind: 'head'; readonly head: BlockRef }

/** Which chain this is, so that a database filled from another one (or from an older devnet) can be told. */
export interface ChainIdentity {
  /** CAIP-2 id, e.g. `eip155:31337`. */
  readonly chain: string
  /** Hash of block 0. */
  readonly genesisHash: Hex
}

/** How a source is doing. Times are local milliseconds since 1970 (by the source's clock). */
export interface SourceStatus {
  /** `idle` before the first `follow`, `backfill` while final history is read, `live` at the head. */
  readonly phase: 'idle' | 'backfill' | 'live' | 'stopped'
  readonly head: BlockRef | null
  /** The last block appended. */
  readonly tip: BlockRef | null
  readonly final: BlockRef | null
  /** When the chain last answered usefully; null before the first time. A consumer calls a source stalled by its age. */
  readonly lastSuccess: number | null
  /** The last failure that is not yet followed by a success. */
  readonly lastError: { readonly code: string; readonly message: string; readonly at: number } | null
  /** Failures in a row, 0 while all is well. */
  readonly failures: number
  /** The endpoints in their order; `rangeBlocks` is how many blocks of history are asked for at once, null before the first time. */
  readonly endpoints: readonly (EndpointStatus & { readonly rangeBlocks: number | null })[]
}

/**
 * A chain as the rest of Dunes sees it; nothing above this port knows which chain it is.
 *
 * `follow` yields steps for ever: it retries what a retry can help, waits at the head, and ends without an error when
 * `signal` aborts. It is pulled: no step is prepared far ahead of its consumer, so memory stays bounded. It throws
 * {@link ChainError} where going on would be wrong: `REORG_BEYOND_FINALITY`, `CHAIN_MISMATCH`. One `follow` at a time.
 */
export interface ChainSource {
  /** CAIP-2 id. */
  readonly chain: string
  /** Goes on after `from`; null starts with the contracts' first block. */
  follow(from: Cursor | null, signal: AbortSignal): AsyncIterable<ChainStep>
  /** Asks the chain which one it is. Throws `CHAIN_MISMATCH` when it is not {@link ChainSource.chain}. */
  identity(signal?: AbortSignal): Promise<ChainIdentity>
  /** The block of the canonical chain at this height now, null when there is none. */
  blockAt(number: number, signal?: AbortSignal): Promise<BlockRef | null>
  status(): SourceStatus
  /** Told that the last step contradicts what was given before: where it came from is left for a while, if there is another place. */
  distrust(why: string): void
  /** Looks for a new head now instead of at the next poll: for whoever knows that a block was just made. */
  wake(): void
}

/**
 * Codes of {@link ChainError}:
 * - `REORG_BEYOND_FINALITY`: a block given as final is no longer on the chain.
 * - `CHAIN_MISMATCH`: the endpoint serves another chain than the one configured.
 * - `RPC_UNREACHABLE`: no answer, or not JSON-RPC (time-out, connection, HTTP status). Retryable.
 * - `RPC_REFUSED`: the endpoint answered with a JSON-RPC error. Retryable only where the error is a limit or its own fault.
 *   Not retryable with `noState` in its details: no endpoint that was asked has the state of that block.
 * - `RPC_RANGE`: the answer was too big, took too long or was refused for its size: ask for less.
 * - `RPC_INCONSISTENT`: answers contradict each other or the block's own hash or bloom. Retryable.
 * - `EVENT_MALFORMED`: a log of a known event does not decode.
 * - `HEADER_MISMATCH`: a block's fields do not hash to its hash.
 */
export type ChainErrorCode =
  | 'REORG_BEYOND_FINALITY'
  | 'CHAIN_MISMATCH'
  | 'RPC_UNREACHABLE'
  | 'RPC_REFUSED'
  | 'RPC_RANGE'
  | 'RPC_INCONSISTENT'
  | 'EVENT_MALFORMED'
  | 'HEADER_MISMATCH'

export interface ChainErrorOptions {
  hint?: string
  retryable?: boolean
  details?: Readonly<Record<string, unknown>>
  cause?: unknown
}

/** Every failure of this folder. Exit code 3: a dependency does not answer as it should. */
export class ChainError extends DunesError {
  override readonly name = 'ChainError'
  declare readonly code: ChainErrorCode
  constructor(code: ChainErrorCode, message: string, options: ChainErrorOptions = {}) {
    super(code, message, { exitCode: 3, ...options })
  }
}

const UNTRUE: ReadonlySet<ChainErrorCode> = new Set(['RPC_INCONSISTENT', 'HEADER_MISMATCH'])
/** Whether an error says that an answer cannot be true. */
export const isUntrue = (error: unknown): error is ChainError =>
  error instanceof ChainError && UNTRUE.has(error.code)
