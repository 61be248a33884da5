import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import {
  emptyRoot,
  leafHash,
  MAX_TREE_SIZE,
  nodeHash,
  rootFromInclusionProof,
  verifyConsistency,
  verifyInclusion,
} from '../../../src/log/merkle.ts'
import { flip, hex, node, ReferenceTree, someLeaves, unhex } from './reference.ts'

const vectors = JSON.parse(
  readFileSync(new URL('../../vectors/log/rfc6962.json', import.meta.url), 'utf8'),
) as {
  leaves: string[]
  roots: string[]
  inclusion: { index: number; size: number; proof: string[] }[]
  consistency: { size1: number; size2: number; proof: string[] }[]
}
const leaves = vectors.leaves.map((leaf) => leafHash(unhex(leaf)))
const roots = vectors.roots.map(unhex)
const root = (size: number): Uint8Array => roots[size] as Uint8Array

describe('the eight-leaf tree of RFC 6962 implementations', () => {
  test('hashes nothing, leaves and nodes as published', () => {
    expect(hex(emptyRoot())).toBe(vectors.roots[0])
    expect(hex(leafHash(new Uint8Array(0)))).toBe(vectors.roots[1])
    expect(hex(nodeHash(leaves[0] as Uint8Array, leaves[1] as Uint8Array))).toBe(vectors.roots[2])
    const tree = new ReferenceTree(leaves)
    for (const [size, expected] of vectors.roots.entries()) expect(hex(tree.root(size))).toBe(expected)
  })

  test.each(vectors.inclusion)('proves inclusion of leaf $index of $size', ({ index, size, proof }) => {
    const leaf = leaves[index] as Uint8Array
    expect(verifyInclusion(index, size, leaf, proof.map(unhex), root(size))).toEqual({ ok: true })
    expect(rootFromInclusionProof(index, size, leaf, proof.map(unhex))).toEqual({
      ok: true,
      root: root(size),
    })
  })

  test.each(vectors.consistency)('proves consistency from $size1 to $size2', ({ size1, size2, proof }) => {
    expect(verifyConsistency(size1, size2, proof.map(unhex), root(size1), root(size2))).toEqual({ ok: true })
  })
})

const SIZES = 70
const tree = new ReferenceTree(someLeaves(SIZES))
const junk = leafHash(new TextEncoder().encode('junk'))

/** Every way of damaging a proof by one hash: changed, dropped, doubled, swapped with the next, or one added. */
function* damaged(proof: readonly Uint8Array[]): Generator<Uint8Array[]> {
  for (let i = 0; i < proof.length; i++) {
    yield proof.with(i, flip(proof[i] as Uint8Array, i % 32))
    yield proof.toSpliced(i, 1)
    yield proof.toSpliced(i, 0, proof[i] as Uint8Array)
    if (i > 0) yield proof.with(i, proof[i - 1] as Uint8Array).with(i - 1, proof[i] as Uint8Array)
  }
  for (let i = 0; i <= proof.length; i++) yield proof.toSpliced(i, 0, junk)
}

describe('inclusion', () => {
  test(`holds for every leaf of every tree up to ${SIZES}, and for no other place or size of the same shape`, () => {
    for (let size = 1; size <= SIZES; size++)
      for (let index = 0; index < size; index++) {
        const proof = tree.path(index, 0, size)
        const leaf = tree.leaves[index] as Uint8Array
        expect(verifyInclusion(index, size, leaf, proof, tree.root(size))).toEqual({ ok: true })
        if (index > 0) expect(verifyInclusion(index - 1, size, leaf, proof, tree.root(size)).ok).toBe(false)
        expect(verifyInclusion(index + 1, size, leaf, proof, tree.root(size)).ok).toBe(false)
      }
  })

  test('fails for each damaged proof, leaf and root', () => {
    let cases = 0
    for (const size of [1, 2, 3, 5, 7, 8, 21, 33, 64, 65, 70])
      for (const index of new Set([0, Math.floor(size / 2), size - 1])) {
        const proof = tree.path(index, 0, size)
        const leaf = tree.leaves[index] as Uint8Array
        const good = tree.root(size)
        for (const bad of damaged(proof)) {
          expect(verifyInclusion(index, size, leaf, bad, good), `${index} of ${size}`).toMatchObject({
            ok: false,
          })
          cases++
        }
        expect(verifyInclusion(index, size, flip(leaf, 31), proof, good)).toMatchObject({ ok: false })
        expect(verifyInclusion(index, size, leaf, proof, flip(good, 7))).toMatchObject({ ok: false })
      }
    expect(cases).toBeGreaterThan(500)
  })

  test('says whether a proof is too long or too short', () => {
    const proof = tree.path(3, 0, 7)
    const leaf = tree.leaves[3] as Uint8Array
    expect(verifyInclusion(3, 7, leaf, [...proof, junk], tree.root(7))).toEqual({
      ok: false,
      reason: 'the inclusion proof is too long',
    })
    expect(verifyInclusion(3, 7, leaf, proof.slice(0, -1), tree.root(7))).toEqual({
      ok: false,
      reason: 'the inclusion proof is too short',
    })
  })

  test('does not take an inner node for a leaf', () => {
    const inner = nodeHash(tree.leaves[0] as Uint8Array, tree.leaves[1] as Uint8Array)
    expect(verifyInclusion(0, 2, inner, [tree.mth(2, 4)], tree.root(4)).ok).toBe(true)
    // With the true size of 4 the same path is one hash short: size and index are part of the statement.
    expect(verifyInclusion(0, 4, inner, [tree.mth(2, 4)], tree.root(4)).ok).toBe(false)
  })

  test('works at the largest size and refuses one beyond it', () => {
    const proof = Array.from({ length: 53 }, (_, i) => leafHash(Uint8Array.of(i)))
    const leaf = leafHash(new Uint8Array(0))
    expect(rootFromInclusionProof(0, MAX_TREE_SIZE, leaf, proof).ok).toBe(true)
    let expected = leaf
    for (const sibling of proof) expected = node(expected, sibling)
    expect(rootFromInclusionProof(0, MAX_TREE_SIZE, leaf, proof)).toEqual({ ok: true, root: expected })
    // The last leaf's path: index 2^53 - 2 = 1...10 in binary is a left child once, then always a right one, and its
    // sibling's place is empty.
    expected = leaf
    for (const sibling of proof.slice(0, 52)) expected = node(sibling, expected)
    expect(rootFromInclusionProof(MAX_TREE_SIZE - 1, MAX_TREE_SIZE, leaf, proof.slice(0, 52))).toEqual({
      ok: true,
      root: expected,
    })
    expect(rootFromInclusionProof(0, MAX_TREE_SIZE + 1, leaf, proof).ok).toBe(false)
  })
})

describe('consistency', () => {
  test(`holds for every pair of sizes up to ${SIZES}`, () => {
    for (let size2 = 1; size2 <= SIZES; size2++)
      for (let size1 = 1; size1 <= size2; size1++)
        expect(
          verifyConsistency(size1, size2, tree.proof(size1, size2), tree.root(size1), tree.root(size2)),
          `${size1} to ${size2}`,
        ).toEqual({ ok: true })
  })

  test('fails for each damaged proof and root, and for neighbouring sizes', () => {
    let cases = 0
    const no = (size1: number, size2: number, proof: Uint8Array[], root1: Uint8Array, root2: Uint8Array) => {
      expect(verifyConsistency(size1, size2, proof, root1, root2), `${size1} to ${size2}`).toMatchObject({
        ok: false,
        reason: expect.any(String),
      })
      cases++
    }
    for (const size2 of [1, 2, 3, 5, 7, 8, 21, 33, 64, 65, 70])
      for (const size1 of new Set([1, 2, 4, 6, 8, 32, 33, 64, size2 - 1, size2])) {
        if (size1 < 1 || size1 > size2) continue
        const proof = tree.proof(size1, size2)
        const [root1, root2] = [tree.root(size1), tree.root(size2)]
        for (const bad of damaged(proof)) no(size1, size2, bad, root1, root2)
        no(size1, size2, proof, flip(root1, 3), root2)
        no(size1, size2, proof, root1, flip(root2, 30))
        if (size1 !== size2) no(size1, size2, proof, root2, root1)
        no(size2 + 1, size2, proof, root1, root2)
      }
    expect(cases).toBeGreaterThan(500)
  })

  test('the sizes are part of the statement, and a proof has just their length', () => {
    const [root4, root8, root16] = [tree.root(4), tree.root(8), tree.root(16)]
    // Hash by hash this leads from root to root; only the size says that something is missing.
    expect(verifyConsistency(4, 16, tree.proof(4, 8), root4, root8)).toEqual({
      ok: false,
      reason: 'the consistency proof is too short',
    })
    expect(verifyConsistency(4, 8, tree.proof(4, 16), root4, root16)).toEqual({
      ok: false,
      reason: 'the consistency proof is too long',
    })
    expect(verifyConsistency(5, 8, tree.proof(4, 8), root4, root8).ok).toBe(false)
  })

  test('does not join a fork to the log', () => {
    const fork = new ReferenceTree(tree.leaves.with(9, junk))
    for (let size = 10; size <= SIZES; size++) {
      expect(verifyConsistency(10, size, fork.proof(10, size), tree.root(10), fork.root(size)).ok).toBe(false)
      expect(verifyConsistency(10, size, tree.proof(10, size), fork.root(10), tree.root(size)).ok).toBe(false)
      expect(verifyConsistency(9, size, fork.proof(9, size), tree.root(9), fork.root(size)).ok).toBe(true)
    }
  })

  test('from size 0 and between equal sizes takes an empty proof and the right roots only', () => {
    const empty = emptyRoot()
    expect(verifyConsistency(0, 0, [], empty, empty)).toEqual({ ok: true })
    expect(verifyConsistency(0, 7, [], empty, tree.root(7))).toEqual({ ok: true })
    expect(verifyConsistency(7, 7, [], tree.root(7), tree.root(7))).toEqual({ ok: true })
    expect(verifyConsistency(0, 0, [], junk, junk).ok).toBe(false)
    expect(verifyConsistency(0, 7, [], junk, tree.root(7)).ok).toBe(false)
    expect(verifyConsistency(0, 7, [junk], empty, tree.root(7)).ok).toBe(false)
    expect(verifyConsistency(7, 7, [], tree.root(7), junk).ok).toBe(false)
    expect(verifyConsistency(7, 7, [junk], tree.root(7), tree.root(7)).ok).toBe(false)
    expect(verifyConsistency(8, 7, [], tree.root(8), tree.root(7)).ok).toBe(false)
    expect(verifyConsistency(6, 7, [], tree.root(6), tree.root(7)).ok).toBe(false)
    // A power of two has its root left out of the proof, but not the rest of it.
    expect(verifyConsistency(4, 7, [], tree.root(4), tree.root(7)).ok).toBe(false)
  })
})

describe('on input of any shape', () => {
  const hash = emptyRoot()
  const shapes: unknown[] = [
    undefined,
    null,
    -1,
    -0.5,
    1.5,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    2 ** 53,
    10n,
    '1',
    {},
    [],
    [hash, undefined],
    new Array(3),
    [new Uint8Array(31)],
    [new Uint8Array(33)],
    new Uint8Array(0),
    new Uint8Array(31),
    new Uint8Array(33),
    hex(hash),
  ]
  test('the verifiers answer no with a reason and never throw', () => {
    const inclusion = [0, 2, hash, [hash], hash]
    const consistency = [1, 2, [hash], hash, hash]
    for (const shape of shapes)
      for (let at = 0; at < 5; at++) {
        const one = inclusion.with(at, shape as never) as Parameters<typeof verifyInclusion>
        expect(verifyInclusion(...one)).toEqual({ ok: false, reason: expect.any(String) })
        const two = consistency.with(at, shape as never) as Parameters<typeof verifyConsistency>
        expect(verifyConsistency(...two)).toEqual({ ok: false, reason: expect.any(String) })
      }
  })
})
