import { afterAll, describe, expect, it } from 'vitest'
import type { Anvil } from '../../../anvil/anvil.ts'
import { getBlock, getHeader, getProof } from '../../../src/chain/blocks.ts'
import { blockHeaderRlp, type RawHeader } from '../../../src/chain/header.ts'
import { createRpc, type Rpc } from '../../../src/chain/rpc.ts'
import type { Hex } from '../../../src/core/bytes.ts'
import { testAnvil } from '../../support/anvil.ts'

const RECEIVER: Hex = `0x${'5e'.repeat(20)}`
const running: Anvil[] = []
afterAll(() => Promise.all(running.map((anvil) => anvil.stop())))

async function chain(hardfork: string): Promise<Rpc> {
  const anvil = await testAnvil({ args: ['--hardfork', hardfork] })
  running.push(anvil)
  const rpc = createRpc({ urls: [anvil.url], chainId: 31337 })
  const [from] = (await rpc.call('eth_accounts', [])) as Hex[]
  // Zero, one-byte and long quantities in a header: genesis, an empty block, and one with a transaction.
  await rpc.call('anvil_mine', ['0x1'])
  const hash = await rpc.call('eth_sendTransaction', [{ from, to: RECEIVER, value: '0x1' }])
  // anvil answers before it mines.
  while ((await rpc.call('eth_getTransactionReceipt', [hash])) === null);
  return rpc
}

/** The newest field that each fork's header has. */
const FORKS = [
  ['london', 'baseFeePerGas'],
  ['paris', 'baseFeePerGas'],
  ['shanghai', 'withdrawalsRoot'],
  ['cancun', 'parentBeaconBlockRoot'],
  ['prague', 'requestsHash'],
  ['osaka', 'requestsHash'],
] as const

describe('blockHeaderRlp', () => {
  it.each(FORKS)('hashes to the block hash under %s', async (fork, newest) => {
    const rpc = await chain(fork)
    for (const number of [0, 1, 2]) {
      const header = (await getHeader(rpc, number)) as RawHeader
      expect(header[newest]).toBeDefined()
      expect(blockHeaderRlp(header)[0]).toBe(0xf9)
    }
    expect(await getHeader(rpc, 3)).toBeNull()
  })

  it('refuses a header with any field changed, missing or malformed', async () => {
    const rpc = await chain('prague')
    const header = (await getHeader(rpc, 2)) as RawHeader
    const mismatch = expect.objectContaining({ code: 'HEADER_MISMATCH' })
    const names = Object.keys(blockFields(header)) as (keyof RawHeader)[]
    expect(names).toHaveLength(22)
    for (const name of names) {
      const value = header[name] as Hex
      const flipped = `${value.slice(0, -1)}${value.endsWith('1') ? '2' : '1'}` as Hex
      expect(() => blockHeaderRlp({ ...header, [name]: flipped }), name).toThrow(mismatch)
      const { [name]: _, ...without } = header
      expect(() => blockHeaderRlp(without as RawHeader), name).toThrow(mismatch)
      expect(() => blockHeaderRlp({ ...header, [name]: `${value}zz` }), name).toThrow(mismatch)
      expect(() => blockHeaderRlp({ ...header, [name]: value.toUpperCase() as Hex }), name).toThrow(mismatch)
    }
    // A field of a later fork that this block does not have.
    expect(() => blockHeaderRlp({ ...header, blockAccessListHash: header.hash })).toThrow(mismatch)
  })
})

describe('getBlock and getProof', () => {
  it('find by height, tag and hash, and give a proof under the header', async () => {
    const rpc = await chain('prague')
    const latest = await getBlock(rpc, 'latest')
    expect(latest).toMatchObject({ number: 2 })
    expect(await getBlock(rpc, 2)).toEqual(latest)
    expect(await getBlock(rpc, latest?.hash as Hex)).toEqual(latest)
    expect(await getBlock(rpc, 99)).toBeNull()
    const address = RECEIVER
    const slot: Hex = `0x${'00'.repeat(31)}01`
    const proof = await getProof(rpc, address, [slot], 2)
    expect(proof.accountProof.length).toBeGreaterThan(0)
    expect(proof).toMatchObject({ address, balance: '0x1', storageProof: [{ key: slot, value: '0x0' }] })
  })
})

/** The members of an answer that belong to the header, and its hash. */
const blockFields = (header: RawHeader): Partial<RawHeader> => {
  const others = new Set(['transactions', 'uncles', 'size', 'totalDifficulty', 'withdrawals'])
  return Object.fromEntries(Object.entries(header).filter(([name]) => !others.has(name)))
}
