/** Bounds of how many blocks one `eth_getLogs` asks for. */
export interface RangeLimits {
  readonly firstBlocks: number
  readonly mostBlocks: number
  /** Logs that an answer should hold: 3,000 of the longest usual ones stay well below 10 MiB. */
  readonly wantedLogs: number
}

export const RANGE_LIMITS: RangeLimits = { firstBlocks: 2_000, mostBlocks: 10_000, wantedLogs: 3_000 }

/** Successes after which a width that once failed is tried again, a quarter wider. */
const CALM = 16

/**
 * How many blocks to ask for at once: learned from the answers. It aims at `wantedLogs` an answer, halves when a range is refused,
 * remembers what was refused, and feels its way up again after a while.
 */
export class RangeWidth {
  readonly #limits: RangeLimits
  #width: number
  #ceiling: number
  #calm = 0

  constructor(limits: RangeLimits = RANGE_LIMITS) {
    this.#limits = limits
    this.#width = Math.min(limits.firstBlocks, limits.mostBlocks)
    this.#ceiling = limits.mostBlocks
  }

  /** Blocks to ask for now, at least 1. */
  get blocks(): number {
    return this.#width
  }

  /** `blocks` blocks were answered with `logs` logs. */
  answered(blocks: number, logs: number): void {
    if (++this.#calm >= CALM) {
      this.#calm = 0
      this.#ceiling = Math.min(this.#limits.mostBlocks, Math.ceil(this.#ceiling * 1.25) + 1)
    }
    const fitting = logs === 0 ? blocks * 2 : Math.floor((blocks * this.#limits.wantedLogs) / logs)
    // A short range at the end of history says nothing about long ones, so it never narrows the width by itself.
    if (fitting < this.#width) this.#width = logs > this.#limits.wantedLogs / 2 ? fitting : this.#width
    else this.#width = Math.min(fitting, this.#width * 2, this.#ceiling)
    this.#width = Math.max(1, this.#width)
  }

  /** `blocks` blocks were too much. */
  refused(blocks: number): void {
    this.#calm = 0
    this.#ceiling = Math.max(1, Math.min(this.#ceiling, blocks - 1))
    this.#width = Math.max(1, Math.min(this.#width, Math.floor(blocks / 2)))
  }
}
