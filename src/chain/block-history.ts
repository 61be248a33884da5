import { type Hex, toHex, u256be } from '../core/bytes.ts'

/**
 * The system contract that keeps the hashes of a block's latest ancestors in its state (EIP-2935, Prague). Its code lets nobody but
 * the protocol write, and its address is that of the one transaction that could deploy it, on every chain.
 */
export const BLOCK_HISTORY = {
  address: '0x0000f90827f1c53a10cb7a02335b175320002935',
  /** Keccak-256 of its code. */
  codeHash: '0x6e49e66782037c0555897870e29fa5e552daf4719552131a0abce779daec0a5d',
  /** How many ancestors it knows: the parent and those before it. */
  window: 8191,
} as const satisfies { address: Hex; codeHash: Hex; window: number }

/** The slot of {@link BLOCK_HISTORY} that holds the hash of block `number`, as long as that is within the window. */
export const blockHashSlot = (number: number): Hex => toHex(u256be(number % BLOCK_HISTORY.window))
