import { sha256, utf8 } from '../../src/core/bytes.ts'

/**
 * A stream of random numbers that its label fixes, so that a run can be repeated: SHA-256 of label and block number, four
 * bytes at a time. Each contributor and sensor has a stream of its own, because which of them comes first is up to the network.
 */
export class Random {
  readonly #label: string
  #block = new Uint8Array(0)
  #blocks = 0
  #at = 0

  constructor(label: string) {
    this.#label = label
  }

  /** Uniform in [0, 1). */
  next(): number {
    if (this.#at >= this.#block.length) {
      this.#block = new Uint8Array(sha256(utf8(`${this.#label}/${this.#blocks++}`)))
      this.#at = 0
    }
    const word = new DataView(this.#block.buffer).getUint32(this.#at)
    this.#at += 4
    return word / 2 ** 32
  }

  /** A whole number from `least` to `most`, both included. */
  int(least: number, most: number): number {
    return least + Math.floor(this.next() * (most - least + 1))
  }

  /** Roughly normal with mean 0 and variance 1, never beyond 6: twelve uniform numbers summed. */
  bell(): number {
    let sum = -6
    for (let i = 0; i < 12; i++) sum += this.next()
    return sum
  }

  /** One of `items` (at least one), each as often as its weight says. */
  weighted<T extends { readonly weight: number }>(items: readonly T[]): T {
    let left = this.next() * items.reduce((sum, item) => sum + item.weight, 0)
    for (const item of items) {
      left -= item.weight
      if (left < 0) return item
    }
    return items.at(-1) as T
  }
}
