import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Hex, toHex } from '../../../src/core/bytes.ts'
import { anchorGas, anchorPlaces, warmTotals } from '../../support/anchor-gas.ts'
import { type Chain, possession, publicKey, startChain } from '../../support/contracts.ts'

let chain: Chain
let validator: Hex
let owner: Hex

beforeAll(async () => {
  chain = await startChain({ quorum: 1 })
  ;[, validator, , , , owner] = chain.accounts as [Hex, Hex, Hex, Hex, Hex, Hex]
})
afterAll(() => chain?.stop())

it.each([
  [10_000_000, 75_000],
  [2 ** 30, 90_000],
])('an anchor of 10,000 leaves at %i costs at most %i gas', async (size, ceiling) => {
  const { dearest, ordinary } = anchorPlaces(size, 10_000)
  const gas: number[] = []
  for (const to of [...dearest, ...ordinary]) gas.push(await anchorGas(chain, to - 10_000, to))
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
  await warmTotals(chain)
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
