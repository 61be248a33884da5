import type { Hex } from '../core/bytes.ts'

/** What a transaction pays at most, in wei per gas. */
export interface Fees {
  maxFeePerGas: bigint
  maxPriorityFeePerGas: bigint
}

/** A tree to anchor. `root` is 32 bytes, `proof` the RFC 6962 consistency proof from the on-chain head to it. */
export interface AnchorCall {
  size: number
  root: Uint8Array
  proof: readonly Uint8Array[]
}

/** What the chain says, in one block, of the log and of the account that anchors it. */
export interface AnchorState {
  /** Size and root (32 bytes) of the anchored tree. */
  size: number
  root: Uint8Array
  /** What the log's close named, null while it is not closed. `successor` is null where none goes on. */
  closure: { lastGoodSize: number; successor: Hex | null } | null
  /** How many transactions of the account are mined. */
  nonce: number
}

/**
 * The one contract that the anchor writer speaks to, as it needs to see it. Everything throws `ANCHOR_RPC` where the chain does
 * not answer as it should.
 */
export interface AnchorPort {
  /** The newest state; no single one of several endpoints is believed against another. */
  state(): Promise<AnchorState>
  /** How many transactions of the anchoring account are mined in final blocks. */
  finalNonce(): Promise<number>
  /** Whether the chain has this block, by number and hash (32 bytes of 0x hex). */
  hasBlock(number: number, hash: Hex): Promise<boolean>
  fees(): Promise<Fees>
  /** Whether some node has the transaction, mined or waiting. */
  knows(hash: Hex): Promise<boolean>
  /**
   * Signs the call and answers its hash; nothing is sent before `send`. Throws `ANCHOR_REFUSED` where it would revert.
   * `send` throws `ANCHOR_UNDERPRICED` where another transaction with that nonce pays as much.
   */
  prepare(call: AnchorCall, nonce: number, fees: Fees): Promise<{ hash: Hex; send: () => Promise<void> }>
}
