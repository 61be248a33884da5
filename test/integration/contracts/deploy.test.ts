import { keccak_256 } from '@noble/hashes/sha3.js'
import { createClient, http } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { afterAll, beforeAll, expect, it } from 'vitest'
import anchorArtifact from '../../../contracts/artifacts/ReceiptAnchor.json' with { type: 'json' }
import registryArtifact from '../../../contracts/artifacts/SensorRegistry.json' with { type: 'json' }
import { DeployError, deployRegistry } from '../../../src/chain/deploy.ts'
import { fromHex, type Hex, toHex } from '../../../src/core/bytes.ts'
import { type Chain, startChain } from '../../support/contracts.ts'

let chain: Chain
beforeAll(async () => {
  chain = await startChain()
})
afterAll(() => chain?.stop())

/** The code with every place that the constructor fills set to zero, as the compiler gives it. */
function withoutImmutables(
  code: Hex,
  references: Readonly<Record<string, readonly { start: number; length: number }[]>>,
) {
  const bytes = fromHex(code)
  for (const places of Object.values(references))
    for (const { start, length } of places) bytes.fill(0, start, start + length)
  return toHex(bytes)
}

it('answers addresses, first block and code hashes of the committed bytecode', async () => {
  const { registry, anchor, block, codeHashes } = chain.deployment
  for (const [address, artifact, hash] of [
    [registry, registryArtifact, codeHashes.registry],
    [anchor, anchorArtifact, codeHashes.anchor],
  ] as const) {
    expect(address).toMatch(/^0x[0-9a-f]{40}$/)
    const code = (await chain.rpc('eth_getCode', [address, 'latest'])) as Hex
    expect(toHex(keccak_256(fromHex(code)))).toBe(hash)
    expect(withoutImmutables(code, artifact.immutableReferences)).toBe(artifact.deployedBytecode)
  }
  const logs = (await chain.rpc('eth_getLogs', [
    { address: [registry, anchor], fromBlock: '0x0', toBlock: 'latest' },
  ])) as { blockNumber: Hex }[]
  expect(Math.min(...logs.map((log) => Number(log.blockNumber)))).toBe(block)
})

it('deploys from a local account too, and gives the error of a constructor a code and a name', async () => {
  const client = createClient({ transport: http(chain.url), pollingInterval: 5 })
  // anvil's last well-known account of the default mnemonic.
  const deployer = privateKeyToAccount('0x2a871d0798f97d79848a013d4936a73bf4cc922c825d33c1cf7073dff6d409c6')
  const options = { client, deployer, admin: chain.accounts[0]!, quorum: 1, ttl: 1, epochSeconds: 1 }
  const { address } = await deployRegistry(options)
  expect(await chain.read({ ...chain.registry, address }, 'defaultAdmin')).toBe(chain.accounts[0])
  const refused = deployRegistry({ ...options, quorum: 70_000 })
  await expect(refused).rejects.toBeInstanceOf(DeployError)
  await expect(refused).rejects.toMatchObject({
    code: 'DEPLOY_REFUSED',
    message: 'SensorRegistry refuses to be deployed: BadQuorum(70000)',
    retryable: false,
  })
})

it('passes on what is not a refusal', async () => {
  const client = createClient({ transport: http('http://127.0.0.1:1', { retryCount: 0 }) })
  const deployer = { address: chain.accounts[0]!, type: 'json-rpc' as const }
  const options = { client, deployer, admin: chain.accounts[0]!, quorum: 1, ttl: 1, epochSeconds: 1 }
  await expect(deployRegistry(options)).rejects.toThrow('HTTP request failed')
})
