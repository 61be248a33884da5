import { sha256, utf8 } from '../../src/core/bytes.ts'

/** Choices that a seed makes. Each name gives a stream of its own, so that how often one is asked never shifts another. */
export interface Random {
  /** In [0, 1). */
  next(): number
  /** A whole number from `low` to `high`, both included. */
  int(low: number, high: number): number
  chance(share: number): boolean
  pick<T>(list: readonly T[]): T
  bytes(count: number): Uint8Array
}

/** sfc32 over a seed that is SHA-256 of the run's seed and the stream's name. */
export function randomOf(seed: number, name: string): Random {
  const words = new DataView(sha256(utf8(`${seed}/${name}`)).slice().buffer)
  let [a, b, c, d] = [words.getInt32(0), words.getInt32(4), words.getInt32(8), words.getInt32(12)]
  const next = (): number => {
    const t = (((a + b) | 0) + d) | 0
    d = (d + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = (c << 21) | (c >>> 11)
    c = (c + t) | 0
    return (t >>> 0) / 2 ** 32
  }
  for (let i = 0; i < 12; i++) next()
  const int = (low: number, high: number) => low + Math.floor(next() * (high - low + 1))
  return {
    next,
    int,
    chance: (share) => next() < share,
    pick: (list) => list[int(0, list.length - 1)] as never,
    bytes: (count) => Uint8Array.from({ length: count }, () => int(0, 255)),
  }
}
