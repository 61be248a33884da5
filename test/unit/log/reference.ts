import { createHash } from 'node:crypto'
import { leafHash } from '../../../src/log/merkle.ts'
import type { TileRange } from '../../../src/log/tile.ts'

/**
 * RFC 6962 section 2.1 written straight from its definitions, over leaf hashes, with Node's own SHA-256. Only remembers
 * what it has hashed; otherwise as slow and as plain as the text.
 */
export class ReferenceTree {
  readonly leaves: readonly Uint8Array[]
  private readonly known = new Map<string, Uint8Array>()

  constructor(leaves: readonly Uint8Array[]) {
    this.leaves = leaves
  }

  /** MTH(D[begin:end]). */
  mth(begin: number, end: number): Uint8Array {
    const n = end - begin
    if (n === 0) return new Uint8Array(createHash('sha256').digest())
    if (n === 1) return this.leaves[begin] as Uint8Array
    const key = `${begin}:${end}`
    let hash = this.known.get(key)
    if (hash === undefined) {
      const k = largestPowerOfTwoBelow(n)
      hash = node(this.mth(begin, begin + k), this.mth(begin + k, end))
      this.known.set(key, hash)
    }
    return hash
  }

  root(size: number): Uint8Array {
    return this.mth(0, size)
  }

  /** PATH(m, D[begin:end]), m relative to begin. */
  path(m: number, begin: number, end: number): Uint8Array[] {
    const n = end - begin
    if (n === 1) return []
    const k = largestPowerOfTwoBelow(n)
    return m < k
      ? [...this.path(m, begin, begin + k), this.mth(begin + k, end)]
      : [...this.path(m - k, begin + k, end), this.mth(begin, begin + k)]
  }

  /** PROOF(m, D[n]) for 0 < m <= n. */
  proof(m: number, n: number): Uint8Array[] {
    return this.subproof(m, 0, n, true)
  }

  private subproof(m: number, begin: number, end: number, complete: boolean): Uint8Array[] {
    const n = end - begin
    if (m === n) return complete ? [] : [this.mth(begin, end)]
    const k = largestPowerOfTwoBelow(n)
    return m <= k
      ? [...this.subproof(m, begin, begin + k, complete), this.mth(begin + k, end)]
      : [...this.subproof(m - k, begin + k, end, false), this.mth(begin, begin + k)]
  }
}

export function largestPowerOfTwoBelow(n: number): number {
  let k = 1
  while (2 * k < n) k *= 2
  return k
}

export const node = (left: Uint8Array, right: Uint8Array): Uint8Array =>
  new Uint8Array(createHash('sha256').update(Uint8Array.of(1)).update(left).update(right).digest())

/** `count` different leaf hashes. */
export const someLeaves = (count: number): Uint8Array[] =>
  Array.from({ length: count }, (_, i) => leafHash(new TextEncoder().encode(`entry ${i}`)))

/** Tiles of a log as a database keeps them: one growing row for each (level, index). */
export class TileStore {
  readonly rows = new Map<string, Uint8Array>()
  /** What was read, as `level/index:width`. */
  readonly reads: string[] = []

  put(tiles: readonly { level: number; index: number; hashes: Uint8Array }[]): void {
    for (const { level, index, hashes } of tiles) this.rows.set(`${level}/${index}`, hashes)
  }

  readonly read = ({ level, index, width }: TileRange): Uint8Array | undefined => {
    this.reads.push(`${level}/${index}:${width}`)
    return this.rows.get(`${level}/${index}`)
  }
}

export const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
export const unhex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'hex'))

/** A copy of `bytes` with one bit of byte `at` turned. */
export function flip(bytes: Uint8Array, at = 0): Uint8Array {
  const out = bytes.slice()
  out[at] = (out[at] as number) ^ 1
  return out
}
