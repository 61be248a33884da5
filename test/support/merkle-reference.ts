import { concat, fromHex, type Hex, sha256, toHex } from '../../src/core/bytes.ts'

const node = (left: Hex, right: Hex): Hex =>
  toHex(sha256(concat(new Uint8Array([1]), fromHex(left), fromHex(right))))

/** Largest power of two below n. */
const split = (n: number): number => {
  let k = 1
  while (k * 2 < n) k *= 2
  return k
}

/**
 * A tree by the recursive definitions of RFC 6962 section 2.1, independent of src/log, which works on tiles. `leaf(i)` is leaf
 * hash number i. With `uniform`, where all leaves are equal, equal widths share a root, so a tree of 2^30 leaves costs
 * some sixty hashes.
 */
export function referenceTree(leaf: (index: number) => Hex, uniform = false) {
  const memo = new Map<string, Hex>()
  /** Root of leaves [start, end). */
  const root = (start: number, end: number): Hex => {
    if (end === start) return toHex(sha256())
    if (end - start === 1) return leaf(start)
    const name = uniform ? `${end - start}` : `${start}:${end}`
    const known = memo.get(name)
    if (known) return known
    const middle = start + split(end - start)
    const value = node(root(start, middle), root(middle, end))
    memo.set(name, value)
    return value
  }
  /** SUBPROOF(m, D[start:end], whole) of section 2.1.2, m counted from `start`. */
  const subproof = (m: number, start: number, end: number, whole: boolean): Hex[] => {
    const n = end - start
    if (m === n) return whole ? [] : [root(start, end)]
    const k = split(n)
    return m <= k
      ? [...subproof(m, start, start + k, whole), root(start + k, end)]
      : [...subproof(m - k, start + k, end, false), root(start, start + k)]
  }
  /** PATH(m, D[start:end]) of section 2.1.1. */
  const path = (m: number, start: number, end: number): Hex[] => {
    if (end - start === 1) return []
    const k = split(end - start)
    return m < k
      ? [...path(m, start, start + k), root(start + k, end)]
      : [...path(m - k, start + k, end), root(start, start + k)]
  }
  return {
    root: (size: number): Hex => root(0, size),
    /** Empty between equal sizes and from size 0. */
    consistency: (size1: number, size2: number): Hex[] =>
      size1 === 0 || size1 === size2 ? [] : subproof(size1, 0, size2, true),
    inclusion: (index: number, size: number): Hex[] => path(index, 0, size),
  }
}
