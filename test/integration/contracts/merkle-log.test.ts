import fc from 'fast-check'
import { encodeFunctionData } from 'viem'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { anchorSlots, registrySlots } from '../../../src/chain/slots.ts'
import { fromHex, type Hex, toHex, u256be } from '../../../src/core/bytes.ts'
import { nodeHash, verifyConsistency, verifyInclusion } from '../../../src/log/merkle.ts'
import { type Chain, startChain, textHash, word } from '../../support/contracts.ts'
import { referenceTree } from '../../support/merkle-reference.ts'

let chain: Chain
beforeAll(async () => {
  chain = await startChain()
  await chain.rpc('anvil_setStorageAt', [
    chain.registry.address,
    registrySlots.settledCount(),
    toHex(u256be(1n << 50n)),
  ])
})
afterAll(() => chain?.stop())

interface Consistency {
  size1: number
  root1: Hex
  size2: number
  root2: Hex
  proof: readonly Hex[]
}

/** Answers of a view function for many arguments. One HTTP request for each 200 of them: anvil bounds its bodies. */
async function ask(functionName: string, calls: readonly (readonly unknown[])[]): Promise<boolean[]> {
  const answers: boolean[] = []
  for (let at = 0; at < calls.length; at += 200) {
    answers.push(...(await askTogether(functionName, calls.slice(at, at + 200))))
  }
  return answers
}

async function askTogether(functionName: string, calls: readonly (readonly unknown[])[]): Promise<boolean[]> {
  const { address, abi } = chain.anchor
  const batch = calls.map((args, id) => ({
    jsonrpc: '2.0',
    id,
    method: 'eth_call',
    params: [{ to: address, data: encodeFunctionData({ abi, functionName, args }) }, 'latest'],
  }))
  const response = await fetch(chain.url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(batch),
  })
  const answers = (await response.json()) as { id: number; result?: Hex; error?: unknown }[]
  return answers
    .sort((a, b) => a.id - b.id)
    .map(({ result, error }) => {
      if (result !== word(0) && result !== word(1)) throw new Error(`no answer: ${JSON.stringify(error)}`)
      return result === word(1)
    })
}

const consistent = (items: readonly Consistency[]) =>
  ask(
    'verifyConsistency',
    items.map(({ size1, root1, size2, root2, proof }) => [BigInt(size1), root1, BigInt(size2), root2, proof]),
  )

const ours = ({ size1, root1, size2, root2, proof }: Consistency): boolean =>
  verifyConsistency(
    size1,
    size2,
    proof.map((hash) => fromHex(hash)),
    fromHex(root1),
    fromHex(root2),
  ).ok

type Tree = ReturnType<typeof referenceTree>

const extension = (tree: Tree, size1: number, size2: number): Consistency => ({
  size1,
  root1: tree.root(size1),
  size2,
  root2: tree.root(size2),
  proof: tree.consistency(size1, size2),
})

const flipped = (hash: Hex, bit: number): Hex => {
  const bytes = fromHex(hash)
  bytes[bit >> 3]! ^= 1 << (bit & 7)
  return toHex(bytes)
}

const counting = referenceTree((i) => textHash(`leaf ${i}`))
const uniform = referenceTree(() => textHash('leaf'), true)

/** Small trees of different leaves, and huge ones of equal leaves. */
const honest: fc.Arbitrary<Consistency> = fc.oneof(
  fc.tuple(fc.nat(300), fc.nat(300)).map(([a, b]) => extension(counting, Math.min(a, b), Math.max(a, b))),
  fc
    .tuple(fc.maxSafeNat(), fc.maxSafeNat(), fc.nat(23))
    .map(([a, b, shift]) => [Math.floor(a / 2 ** shift), Math.floor(b / 2 ** shift)] as const)
    .map(([a, b]) => extension(uniform, Math.min(a, b), Math.max(a, b))),
)

it('takes every honest extension of every tree up to 40 leaves', async () => {
  const all: Consistency[] = []
  for (let size2 = 0; size2 <= 40; size2++)
    for (let size1 = 0; size1 <= size2; size1++) all.push(extension(counting, size1, size2))
  expect(await consistent(all)).toEqual(all.map(() => true))
})

it('takes random honest extensions, up to 2^53 - 1 leaves', async () => {
  const many = fc.sample(honest, 400)
  expect(await consistent(many)).toEqual(many.map(() => true))
  expect(many.map(ours)).toEqual(many.map(() => true))
})

/** A change to a proof or a root that leaves it different. */
const mutation = fc.oneof(
  fc.record({ kind: fc.constant('flip' as const), at: fc.nat(), bit: fc.nat(255) }),
  fc.record({
    kind: fc.constantFrom('drop', 'repeat', 'swap', 'insert', 'append', 'cut', 'reverse'),
    at: fc.nat(),
  }),
  fc.record({ kind: fc.constantFrom('root1', 'root2', 'roots', 'exchange'), bit: fc.nat(255) }),
)

function mutate(item: Consistency, change: { kind: string; at?: number; bit?: number }): Consistency {
  const proof = [...item.proof]
  const at = proof.length === 0 ? 0 : (change.at ?? 0) % proof.length
  const bit = change.bit ?? 0
  switch (change.kind) {
    case 'flip':
      if (proof.length > 0) proof[at] = flipped(proof[at]!, bit)
      break
    case 'drop':
      proof.splice(at, 1)
      break
    case 'repeat':
      proof.splice(at, 0, ...proof.slice(at, at + 1))
      break
    case 'swap':
      proof.splice(at, 2, ...proof.slice(at, at + 2).reverse())
      break
    case 'insert':
      proof.splice(at, 0, word(at))
      break
    case 'append':
      proof.push(item.root1)
      break
    case 'cut':
      proof.length = at
      break
    case 'reverse':
      proof.reverse()
      break
    case 'root1':
      return { ...item, root1: flipped(item.root1, bit) }
    case 'root2':
      return { ...item, root2: flipped(item.root2, bit) }
    case 'roots':
      return { ...item, root1: flipped(item.root1, bit), root2: flipped(item.root2, bit) }
    default:
      return { ...item, root1: item.root2, root2: item.root1 }
  }
  return { ...item, proof }
}

it('never takes a mutated proof or root', async () => {
  const mutated = fc
    .sample(fc.tuple(honest, mutation), 1_500)
    .map(([item, change]) => ({ item, changed: mutate(item, change) }))
    // Equal leaves have equal siblings, and an empty proof nothing to change: what is the same is no mutation. The one
    // change of roots that stays true is that of two equal trees.
    .filter(({ item, changed }) => JSON.stringify(item) !== JSON.stringify(changed))
    .filter(
      ({ changed }) =>
        changed.size1 !== changed.size2 || changed.root1 !== changed.root2 || changed.proof.length > 0,
    )
    .map(({ changed }) => changed)
    // Every tree extends the empty one, so any root of the newer tree is fine from there.
    .filter(({ size1, root1, proof }) => size1 > 0 || root1 !== textHash('') || proof.length > 0)
  expect(mutated.length).toBeGreaterThan(800)
  expect(await consistent(mutated)).toEqual(mutated.map(() => false))
})

it('never takes noise, and never reverts on it', async () => {
  const hash = fc.uint8Array({ minLength: 32, maxLength: 32 }).map(toHex)
  const size = fc.oneof(fc.nat(20), fc.maxSafeNat())
  const noise = fc.sample(
    fc.record({
      size1: size,
      root1: hash,
      size2: size,
      root2: hash,
      proof: fc.array(hash, { maxLength: 70 }),
    }),
    500,
  )
  expect(await consistent(noise)).toEqual(noise.map(() => false))
})

it('agrees with src/log on proofs under other sizes', async () => {
  // A root does not commit to its size, so a proof may hold for other sizes of the same shape: then for both.
  const moved = fc
    .sample(fc.tuple(honest, fc.integer({ min: -3, max: 3 }), fc.integer({ min: -3, max: 3 })), 600)
    .map(([item, a, b]) => ({
      ...item,
      size1: Math.max(0, item.size1 + a),
      size2: Math.max(0, item.size2 + b),
    }))
    .filter(({ size1, size2 }) => Number.isSafeInteger(size1) && Number.isSafeInteger(size2))
  expect(await consistent(moved)).toEqual(moved.map(ours))
})

it('handles sizes up to 2^64 - 1', async () => {
  const most = 2n ** 64n - 1n
  const answers = await ask('verifyConsistency', [
    [most, word(1), most, word(1), []],
    [most, word(1), most, word(2), []],
    [most - 1n, word(1), most, word(2), Array(64).fill(word(3))],
    [1n, word(1), most, word(2), Array(64).fill(word(3))],
    [2n ** 63n, word(1), most, word(2), []],
    [most, word(1), 1n, word(1), []],
  ])
  expect(answers).toEqual([true, false, false, false, false, false])
})

it('no fork of an anchored log is ever anchored', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.nat(60),
      fc.integer({ min: 1, max: 60 }),
      fc.integer({ min: 0, max: 60 }),
      fc.nat(),
      async (shared, own, more, pick) => {
        // Both logs agree on the first `shared` leaves; leaf number `shared` and some later ones differ.
        const fork = referenceTree((i) =>
          textHash(i < shared || (i + pick) % 3 === 0 ? `leaf ${i}` : `other ${i}`),
        )
        const changed = [...Array(own).keys()].some((i) => (shared + i + pick) % 3 !== 0)
        const anchored = shared + own
        const size = anchored + more
        const before = await chain.snapshot()
        const admin = chain.accounts[0]!
        const anchorWith = async (proof: readonly Hex[]) =>
          (await chain.revertOf(admin, chain.anchor, 'anchor', [BigInt(size), fork.root(size), proof]))?.name
        try {
          await chain.send(admin, chain.anchor, 'anchor', [BigInt(anchored), counting.root(anchored), []])
          const proofs = [
            fork.consistency(anchored, size),
            counting.consistency(anchored, size),
            [...counting.consistency(anchored, size).slice(0, -1), fork.root(anchored)],
            [],
          ]
          for (const proof of proofs) {
            const error = await anchorWith(proof)
            if (more === 0) expect(error).toBe(changed ? 'RootConflict' : undefined)
            else if (changed) expect(error).toBe('BadConsistencyProof')
          }
          if (more > 0 && !changed) expect(await anchorWith(fork.consistency(anchored, size))).toBeUndefined()
        } finally {
          await chain.revertTo(before)
        }
      },
    ),
    { numRuns: 60 },
  )
})

async function setHead(size: number, root: Hex): Promise<void> {
  const { address } = chain.anchor
  await chain.rpc('anvil_setStorageAt', [address, anchorSlots.root(), root])
  await chain.rpc('anvil_setStorageAt', [
    address,
    anchorSlots.counts(),
    toHex(u256be(BigInt(size) | (1n << 64n))),
  ])
}

it('verifies inclusion of every leaf, and of nothing else', async () => {
  const before = await chain.snapshot()
  for (const size of [1, 2, 3, 7, 8, 21, 64, 100]) {
    await setHead(size, counting.root(size))
    const calls: [bigint, Hex, Hex[]][] = []
    const expected: boolean[] = []
    const add = (index: number, leaf: Hex, proof: Hex[]) => {
      calls.push([BigInt(index), leaf, proof])
      const bytes = proof.map((hash) => fromHex(hash))
      expected.push(verifyInclusion(index, size, fromHex(leaf), bytes, fromHex(counting.root(size))).ok)
    }
    for (let index = 0; index < size; index++) {
      const leaf = textHash(`leaf ${index}`)
      const proof = counting.inclusion(index, size)
      add(index, leaf, proof)
      expect(expected.at(-1)).toBe(true)
      const refused = expected.length
      add(index, flipped(leaf, index), proof)
      add(index, leaf, [...proof, word(1)])
      if (proof.length > 0) {
        add(index, leaf, proof.slice(1))
        add(index, leaf, proof.slice(0, -1))
        add(index, leaf, proof.with(index % proof.length, word(index)))
        // An inner node passed off as a leaf, with what is left of the path.
        const pair = index % 2 === 0 ? [leaf, proof[0]!] : [proof[0]!, leaf]
        const parent = toHex(nodeHash(fromHex(pair[0]!), fromHex(pair[1]!)))
        add(index >> 1, parent, proof.slice(1))
      }
      add(size, leaf, proof)
      expect(expected.slice(refused)).not.toContain(true)
      // Another index may share the shape of the path, as `index ^ 1` never does.
      add(index ^ 1, leaf, proof)
    }
    expect(await ask('verifyInclusion', calls)).toEqual(expected)
  }
  await chain.revertTo(before)
})

it('verifies inclusion in a log of 2^53 - 1 leaves', async () => {
  const before = await chain.snapshot()
  const size = Number.MAX_SAFE_INTEGER
  await setHead(size, uniform.root(size))
  const indices = [0, 1, 2 ** 52, size - 1, ...fc.sample(fc.nat(size - 1), 50)]
  const calls = indices.map((index) => [BigInt(index), textHash('leaf'), uniform.inclusion(index, size)])
  expect(await ask('verifyInclusion', calls)).toEqual(indices.map(() => true))
  await chain.revertTo(before)
})
