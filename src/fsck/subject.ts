import type { Hex } from '../core/bytes.ts'

/** The log that is audited. */
export interface Subject {
  /** CAIP-2. */
  readonly chain: string
  readonly chainId: number
  readonly registry: Hex
  readonly anchor: Hex
  readonly origin: string
  readonly startBlock: number
}

/** The number in an `eip155` chain id; NaN in any other. */
export const chainNumber = (chain: string): number => Number(/^eip155:([1-9][0-9]*)$/.exec(chain)?.[1])

/** How far one step of an audit has come. */
export interface Progress {
  readonly step: string
  readonly done: number
  readonly total: number
}
