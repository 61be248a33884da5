import { anchorSlots, registrySlots } from '../../src/chain/slots.ts'
import { type Hex, toHex, u256be } from '../../src/core/bytes.ts'
import { type Chain, word } from './contracts.ts'
import { referenceTree } from './merkle-reference.ts'

// All leaves equal: a proof's length, and so its gas, depends on the sizes alone, and a tree of 2^30 costs some sixty hashes.
const tree = referenceTree(() => word(0xabcdef), true)

const setSlot = (chain: Chain, address: Hex, slot: Hex, value: Hex) =>
  chain.rpc('anvil_setStorageAt', [address, slot, value])

/** Puts the registry's totals to what they would be after some settlements, so that no counter rises from zero. */
export const warmTotals = (chain: Chain): Promise<unknown> =>
  setSlot(
    chain,
    chain.registry.address,
    registrySlots.settledCount(),
    toHex(u256be(5n | (1n << 192n) | (3n << 224n))),
  )

/**
 * Gas of an anchor between two sizes, after an earlier anchor had filled every slot. The sizes are put into the contracts'
 * storage, as nobody can settle so many submissions in a test; the contract then checks a real proof of them.
 */
export async function anchorGas(chain: Chain, from: number, to: number): Promise<number> {
  const { address } = chain.anchor
  await setSlot(chain, chain.registry.address, registrySlots.settledCount(), word(to))
  await setSlot(chain, address, anchorSlots.root(), tree.root(from))
  const counts = BigInt(from) | (5n << 64n) | (5n << 128n) | (5n << 176n)
  await setSlot(chain, address, anchorSlots.counts(), toHex(u256be(counts)))
  await setSlot(chain, address, anchorSlots.chain(), word(5))
  const proof = tree.consistency(from, to)
  const { gas } = await chain.send(chain.accounts[0]!, chain.anchor, 'anchor', [
    BigInt(to),
    tree.root(to),
    proof,
  ])
  return gas
}

/** How many hashes the verifier makes: left siblings count in both trees (RFC 9162 section 2.1.4.2). */
function hashes(from: number, to: number): number {
  const walked = (from - 1).toString(2).replace(/1+$/, '')
  const first = walked === '' ? 0 : 1
  return tree.consistency(from, to).length - first + walked.split('1').length - 1
}

/**
 * Sizes in the last tenth below `size` to which a log may be anchored in steps of `step` leaves: the five that take the
 * most hashes of 4,000 spread evenly, and 21 ordinary ones.
 */
export function anchorPlaces(size: number, step: number): { dearest: number[]; ordinary: number[] } {
  const places = Array.from(
    { length: 4_000 },
    (_, i) => size - 1 - ((i * 2_654_435_761) % Math.floor(size / 10)),
  )
  const dearest = [...new Set(places)].sort((a, b) => hashes(b - step, b) - hashes(a - step, a)).slice(0, 5)
  return { dearest, ordinary: [size, ...places.slice(0, 20)] }
}
