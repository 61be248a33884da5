import { createClient, encodeFunctionData, http } from 'viem'
import type { Anvil } from '../../anvil/anvil.ts'
import { sensorRegistryAbi } from '../../src/chain/abi.ts'
import { type Deployment, deployContracts } from '../../src/chain/deploy.ts'
import { type Hex, sha256, toHex, utf8 } from '../../src/core/bytes.ts'
import { testAnvil } from './anvil.ts'

/** Both contracts on an anvil of their own, with two contributors, whose tests decide what stands in which block. */
export interface TrafficChain extends Deployment {
  readonly anvil: Anvil
  rpc(method: string, params?: readonly unknown[]): Promise<unknown>
  /** Mines one block with `count` submissions by two contributors, all different from any before. */
  submitBlock(count: number): Promise<void>
  /** Mines `count` blocks without our transactions. */
  emptyBlocks(count: number): Promise<void>
  height(): Promise<number>
  snapshot(): Promise<Hex>
  revertTo(snapshot: Hex): Promise<void>
  stop(): Promise<void>
}

/** Starts anvil, deploys, and registers two contributors, a dataset and two sensors in two blocks. */
export async function startTraffic(): Promise<TrafficChain> {
  const anvil = await testAnvil()
  const client = createClient({ transport: http(anvil.url), pollingInterval: 5 })
  const rpc = (method: string, params: readonly unknown[] = []): Promise<unknown> =>
    client.request({ method, params } as never)
  const accounts = (await rpc('eth_accounts')) as Hex[]
  const [admin, first, second] = accounts as [Hex, Hex, Hex]
  const contributors = [first, second] as const
  const deployment = await deployContracts({
    client,
    deployer: { address: admin, type: 'json-rpc' },
    admin,
    anchorer: admin,
    validators: accounts.slice(3, 5),
    origin: 'example.org/log',
    policyHash: `0x${'00'.repeat(32)}`,
    quorum: 1,
    ttl: 10,
    epochSeconds: 3_600,
  })
  const filled = (length: number, fill: number): Hex => toHex(new Uint8Array(length).fill(fill))
  const call = (from: Hex, functionName: string, args: readonly unknown[]) => {
    const data = encodeFunctionData({ abi: sensorRegistryAbi, functionName, args } as never)
    return rpc('eth_sendTransaction', [{ from, to: deployment.registry, gas: '0x200000', data }])
  }
  const mine = async (hashes: readonly unknown[]) => {
    await rpc('evm_mine')
    for (const hash of hashes) {
      const receipt = (await rpc('eth_getTransactionReceipt', [hash])) as { status: Hex } | null
      if (receipt?.status !== '0x1')
        throw new Error('a transaction of the traffic was not mined, or reverted')
    }
  }
  await rpc('evm_setAutomine', [false])
  const hashes = [await call(first, 'registerDataset', ['dataset', filled(100, 1)])]
  for (const [i, from] of contributors.entries())
    hashes.push(await call(from, 'registerKey', [filled(1952, i), filled(3309, i)]))
  await mine(hashes)
  const sensors = contributors.map((from, i) =>
    call(from, 'registerSensor', [`sensor_${i}`, 'dataset', BigInt(i)]),
  )
  await mine(await Promise.all(sensors))

  let salt = 0
  return {
    ...deployment,
    anvil,
    rpc,
    async submitBlock(count) {
      const sent: unknown[] = []
      for (let i = 0; i < count; i++) {
        const payload = utf8(`payload ${salt++}`)
        const args = [
          `sensor_${i % 2}`,
          toHex(sha256(payload)),
          BigInt(payload.length),
          `https://example.org/${salt}`,
        ]
        sent.push(await call(contributors[i % 2] as Hex, 'submit', args))
      }
      await mine(sent)
    },
    async emptyBlocks(count) {
      await rpc('anvil_mine', [`0x${count.toString(16)}`])
    },
    height: async () => Number(await rpc('eth_blockNumber')),
    snapshot: async () => (await rpc('evm_snapshot')) as Hex,
    async revertTo(snapshot) {
      if ((await rpc('evm_revert', [snapshot])) !== true) throw new Error('anvil did not go back')
    },
    stop: () => anvil.stop(),
  }
}
