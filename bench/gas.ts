import { encodeFunctionData } from 'viem'
import { type Hex, toHex, utf8 } from '../src/core/bytes.ts'
import { leafHash } from '../src/log/merkle.ts'
import { anchorGas, anchorPlaces, warmTotals } from '../test/support/anchor-gas.ts'
import { type Chain, possession, publicKey, startChain, type Target } from '../test/support/contracts.ts'
import { referenceTree } from '../test/support/merkle-reference.ts'
import { type Comparison, exact, type Figure, must, rounded } from './measure.ts'
import { type Bench, opened } from './scratch.ts'

const BATCH = 64
/** A payload host's address and a hash: as long as the devnet's URIs. */
const URI = `http://127.0.0.1:9001/0x${'0123456789abcdef'.repeat(4)}`
const ITEM = {
  sensor: 'helium_001',
  payloadHash: toHex(new Uint8Array(32).fill(0xab)),
  payloadBytes: 7_000n,
  uri: URI,
}

const MADE_UP =
  'sizes put into the contracts with anvil_setStorageAt, root and proof of a tree with equal leaves: the contract checks the same number of hashes as in a real log'

/** Gas used, from the receipts of transactions that anvil mined. Gas does not depend on the machine. */
export async function benchGas(bench: Bench): Promise<Figure[]> {
  const chain = await opened(bench, startChain({ quorum: 2 }))
  return [...(await registryGas(chain)), ...(await anchorFigures(chain))]
}

/** Gas of a transaction with the same data that does nothing: what the protocol itself takes. */
async function floor(
  chain: Chain,
  to: Target,
  functionName: string,
  args: readonly unknown[],
): Promise<number> {
  const [from, , , , , , , , , nobody] = chain.accounts as Hex[]
  const data = encodeFunctionData({ abi: to.abi, functionName, args })
  const transaction = { from, to: nobody, data, gas: '0xfffff0' }
  const { gasUsed } = (await chain.rpc('eth_sendTransactionSync', [transaction])) as { gasUsed: Hex }
  return Number(gasUsed)
}

const beside = (gas: number, base: number): Comparison => ({
  name: 'a transaction of the same data that does nothing',
  unit: 'gas',
  value: Math.round(base),
  ratio: rounded(gas / base),
})

async function registryGas(chain: Chain): Promise<Figure[]> {
  const [, first, second, , , owner] = chain.accounts as [Hex, Hex, Hex, Hex, Hex, Hex]
  const out: Figure[] = []
  const call = (from: Hex, name: string, ...args: unknown[]) => chain.send(from, chain.registry, name, args)
  const figure = async (
    name: string,
    gas: number,
    calls: number,
    method: string,
    args: unknown[],
    note?: string,
  ) => {
    const base = await floor(chain, chain.registry, method, args)
    out.push(
      exact(name, 'gas', Math.round(gas / calls), {
        samples: calls,
        comparedWith: [beside(gas / calls, base / calls)],
        ...(note && { note }),
      }),
    )
  }
  const key = [publicKey(1), possession(1)]
  await figure('registerKey', (await call(owner, 'registerKey', ...key)).gas, 1, 'registerKey', key)
  await call(owner, 'registerDataset', 'helium_sensors', '0x00')
  const sensor = [ITEM.sensor, 'helium_sensors', 1n]
  await figure(
    'registerSensor',
    (await call(owner, 'registerSensor', ...sensor)).gas,
    1,
    'registerSensor',
    sensor,
  )

  const item = Object.values(ITEM)
  const uriNote = `URI of ${URI.length} bytes`
  const idOf = (receipt: Awaited<ReturnType<typeof call>>) => receipt.events[0]!.args['id'] as Hex
  const submitted = await call(owner, 'submit', ...item)
  await figure('submit_first', submitted.gas, 1, 'submit', item, `${uriNote}; the contributor's first`)
  const once = [idOf(submitted), true]
  await call(first, 'attest', ...once)
  const settling = await call(second, 'attest', ...once)
  await figure(
    'settle_first',
    settling.gas,
    1,
    'attest',
    once,
    "the attestation that settles the registry's first submission of the epoch",
  )
  const again = await call(owner, 'submit', ...item)
  await figure('submit', again.gas, 1, 'submit', item, `${uriNote}; every later one`)
  const later = [idOf(again), true]
  await figure(
    'attest',
    (await call(first, 'attest', ...later)).gas,
    1,
    'attest',
    later,
    'does not settle yet',
  )
  const settled = await call(second, 'attest', ...later)
  await figure(
    'settle',
    settled.gas,
    1,
    'attest',
    later,
    'the attestation that reaches the quorum of 2 and settles',
  )

  const items = [Array(BATCH).fill(ITEM)]
  const batch = await call(owner, 'submitBatch', ...items)
  await figure(
    'submitBatch_each',
    batch.gas,
    BATCH,
    'submitBatch',
    items,
    `${BATCH} in one transaction, each; ${uriNote}`,
  )
  const votes = [batch.events.map(({ args }) => ({ id: args['id'], valid: true }))]
  await figure(
    'attestBatch_each',
    (await call(first, 'attestBatch', ...votes)).gas,
    BATCH,
    'attestBatch',
    votes,
    `${BATCH} in one transaction, each; none settles yet`,
  )
  await figure(
    'settleBatch_each',
    (await call(second, 'attestBatch', ...votes)).gas,
    BATCH,
    'attestBatch',
    votes,
    `${BATCH} in one transaction, each; all of them settle`,
  )
  return out
}

async function anchorFigures(chain: Chain): Promise<Figure[]> {
  const out: Figure[] = []
  const real = referenceTree((n) => toHex(leafHash(utf8(`leaf ${n}`))))
  const sizes = [1, 2 + BATCH]
  for (const [n, size] of sizes.entries()) {
    const proof = real.consistency(sizes[n - 1] ?? 0, size)
    const args = [BigInt(size), real.root(size), proof]
    const { gas } = await chain.send(chain.accounts[0]!, chain.anchor, 'anchor', args)
    const base = await floor(chain, chain.anchor, 'anchor', args)
    out.push(
      exact(n === 0 ? 'anchor_first' : 'anchor_second', 'gas', gas, {
        comparedWith: [beside(gas, base)],
        note:
          n === 0
            ? 'one leaf, really settled; its slots were empty before'
            : `${size - sizes[0]!} leaves more, all really settled`,
      }),
    )
  }
  await warmTotals(chain)
  for (const { label, size, step } of [
    { label: '2_10', size: 2 ** 10, step: 100 },
    { label: '10_7', size: 10_000_000, step: 10_000 },
    { label: '2_30', size: 2 ** 30, step: 10_000 },
  ]) {
    const { dearest, ordinary } = anchorPlaces(size, step)
    const gasOf = async (places: number[]) => {
      const out: number[] = []
      for (const to of places) out.push(await anchorGas(chain, to - step, to))
      return out
    }
    const usual = await gasOf(ordinary)
    const worst = Math.max(...usual, ...(await gasOf(dearest)))
    const average = Math.round(usual.reduce((sum, gas) => sum + gas, 0) / usual.length)
    must(average > 30_000, 'an anchor cost less than its proof')
    const note = `${step} leaves more, in the last tenth below ${size} leaves; ${MADE_UP}`
    out.push(
      exact(`anchor_at_${label}_average`, 'gas', average, { samples: usual.length, note }),
      exact(`anchor_at_${label}_worst`, 'gas', worst, {
        samples: usual.length + dearest.length,
        note: `the dearest found among 4,000 places; ${note}`,
      }),
      exact(`anchor_at_${label}_average_per_receipt`, 'gas', Math.round((100 * average) / step) / 100, {
        samples: usual.length,
        note: `shared by the ${step} leaves of one anchor`,
      }),
    )
  }
  return out
}
