import type { BlockRef } from './source.ts'

/**
 * The blocks that a consumer has and that may still matter: the floor (the last final one, or the one before the start), then
 * those above it up to the tip, by rising number. Gaps are allowed.
 */
export class KnownBlocks {
  #blocks: BlockRef[]
  /** False while the floor is only where we started, so that it may still be reorganised away. */
  #floorIsFinal: boolean

  /** `blocks` holds at least the floor. */
  constructor(blocks: readonly BlockRef[], floorIsFinal: boolean) {
    this.#blocks = [...blocks]
    this.#floorIsFinal = floorIsFinal
  }

  get tip(): BlockRef {
    return this.#blocks.at(-1) as BlockRef
  }
  get floor(): BlockRef {
    return this.#blocks[0] as BlockRef
  }
  /** The last final block, null while there is none. */
  get final(): BlockRef | null {
    return this.#floorIsFinal ? this.floor : null
  }

  /** The block of exactly this number. */
  at(number: number): BlockRef | undefined {
    return this.#blocks.find((block) => block.number === number)
  }
  /** The newest one above the floor whose number is at most `number`. */
  newestUpTo(number: number): BlockRef | undefined {
    const found = this.#blocks.findLast((block) => block.number <= number)
    return found === this.floor ? undefined : found
  }
  /** From the tip down to the floor. */
  *newestFirst(): Generator<BlockRef, void, undefined> {
    for (let i = this.#blocks.length - 1; i >= 0; i--) yield this.#blocks[i] as BlockRef
  }

  append(block: BlockRef): void {
    this.#blocks.push(block)
  }
  /** Forgets what is above `block`, one of these. */
  cutAbove(block: BlockRef): void {
    this.#blocks.length = this.#blocks.indexOf(block) + 1
  }
  /** Begins anew above `floor`, which is not final. */
  restart(floor: BlockRef): void {
    this.#blocks = [floor]
    this.#floorIsFinal = false
  }
  /** Takes `block`, one of these, as final and forgets what is below it. */
  settle(block: BlockRef): void {
    this.#blocks.splice(0, this.#blocks.indexOf(block))
    this.#floorIsFinal = true
  }
}
