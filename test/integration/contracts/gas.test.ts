import { afterAll, beforeAll, expect, it } from 'vitest'
import { anchorSlots, registrySlots } from '../../../src/chain/slots.ts'
import { type Hex, toHex, u256be } from '../../../src/core/bytes.ts'
import { type Chain, possession, publicKey, startChain, word } from '../../support/contracts.ts'
import { referenceTree } from '../../support/merkle-reference.ts'

let chain: Chain
let admin: Hex
let validator: Hex
let owner: Hex

beforeAll(async () => {
  chain = await startChain({ quorum: 1 })
  ;[admin, validator, , , , owner] = chain.accounts as [Hex, Hex, Hex, Hex, Hex, Hex]
})
afterAll(() => chain?.stop())

// All leaves equal: a proof's length, and so its gas, depends on the sizes alone.
const tree = referenceTree(() => word(0xabcdef), true)

const setSlot = (address: Hex, slot: Hex, value: Hex) =>
  chain.rpc('anvil_setStorageAt', [address, slot, value])

/** Gas of an anchor between two sizes, after an earlier anchor had filled every slot. */
async function anchorGas(from: number, to: number): Promise<number> {
  const { address } = chain.anchor
  await setSlot(chain.registry.address, registrySlots.settledCount(), word(to))
  await setSlot(address, anchorSlots.root(), tree.root(from))
  await setSlot(
    address,
    anchorSlots.counts(),
    toHex(u256be(BigInt(from) | (5n << 64n) | (5n << 128n) | (5n << 176n))),
  )
  await setSlot(address, anchorSlots.chain(), word(5))
  const proof = tree.consistency(from, to)
  return (await chain.send(admin, chain.anchor, 'anchor', [BigInt(to), tree.root(to), proof])).gas
}

/** How many hashes the verifier makes: left siblings count in both trees (RFC 9162 section 2.1.4.2). */
function hashes(from: number, to: number): number {
  const walked = (from - 1).toString(2).replace(/1+$/, '')
  const first = walked === '' ? 0 : 1
  return tree.consistency(from, to).length - first + walked.split('1').length - 1
}

it.each([
  [10_000_000, 75_000],
  [2 ** 30, 90_000],
])('an anchor of 10,000 leaves at %i costs at most %i gas', async (size, ceiling) => {
  // The dearest of many places in the last tenth, some ordinary ones, and the end itself.
  const places = Array.from(
    { length: 4_000 },
    (_, i) => size - 1 - ((i * 2_654_435_761) % Math.floor(size / 10)),
  )
  const dearest = [...places].sort((a, b) => hashes(b - 10_000, b) - hashes(a - 10_000, a)).slice(0, 5)
  const gas: number[] = []
  for (const to of [...dearest, size, ...places.slice(0, 20)]) gas.push(await anchorGas(to - 10_000, to))
  expect(Math.max(...gas)).toBeLessThanOrEqual(ceiling)
  // Far below would mean that the proof was not checked.
  expect(Math.min(...gas)).toBeGreaterThan(50_000)
})

it('submit, attest and their batches stay below loose ceilings', async () => {
  const send = (from: Hex, name: string, ...args: unknown[]) => chain.send(from, chain.registry, name, args)
  const uri = 'http://127.0.0.1:9001/0x0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef'
  const item = {
    sensor: 'helium_001',
    payloadHash: toHex(new Uint8Array(32).fill(0xab)),
    payloadBytes: 7_000n,
    uri,
  }
  await setSlot(
    chain.registry.address,
    registrySlots.settledCount(),
    toHex(u256be(5n | (1n << 192n) | (3n << 224n))),
  )
  expect((await send(owner, 'registerKey', publicKey(1), possession(1))).gas).toBeLessThan(260_000)
  await send(owner, 'registerDataset', 'helium_sensors', '0x00')
  expect((await send(owner, 'registerSensor', 'helium_001', 'helium_sensors', 1n)).gas).toBeLessThan(150_000)
  const one = async () => {
    const { gas, events } = await send(owner, 'submit', ...Object.values(item))
    const attested = await send(validator, 'attest', events[0]!.args['id'], true)
    return { submit: gas, attest: attested.gas }
  }
  await one()
  const { submit, attest } = await one()
  expect(submit).toBeLessThan(132_000)
  expect(attest).toBeLessThan(125_000)
  const batch = await send(owner, 'submitBatch', Array(100).fill(item))
  expect(batch.gas / 100).toBeLessThan(92_000)
  const judged = batch.events.map(({ args }) => ({ id: args['id'], valid: true }))
  const attested = await send(validator, 'attestBatch', judged)
  expect(attested.gas / 100).toBeLessThan(85_000)
})
