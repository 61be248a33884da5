import { createClient, encodeFunctionData, http, keccak256, parseGwei, toBytes } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { sendRawTransaction } from 'viem/actions'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { evmAnchorPort } from '../../src/anchor/evm.ts'
import type { AnchorPort } from '../../src/anchor/port.ts'
import { type AnchorSettings, AnchorWriter } from '../../src/anchor/writer.ts'
import { receiptAnchorAbi } from '../../src/chain/abi.ts'
import { devAccount, devPrivateKey } from '../../src/chain/dev-accounts.ts'
import { createRpc } from '../../src/chain/rpc.ts'
import type { Hex } from '../../src/core/bytes.ts'
import type { Clock } from '../../src/core/clock.ts'
import { silentLogger } from '../../src/core/logger.ts'
import { createMetrics } from '../../src/core/metrics.ts'
import { Wake } from '../../src/core/wake.ts'
import { readLatestCheckpoint, readLogHead } from '../../src/graph/log-store.ts'
import { type TestDatabase, testDatabase } from '../support/postgres.ts'
import {
  EAGER,
  type Indexer,
  type Station,
  startIndexer,
  startWorld,
  until,
  type World,
} from '../support/world.ts'

// The anchor writer against a real chain, with every fate that a transaction can meet.

const SETTINGS: AnchorSettings = { everyLeaves: 1, everySeconds: 60, stuckSeconds: 30 }
const ANCHOR_ROLE = keccak256(toBytes('ANCHOR_ROLE'))

let world: World
let database: TestDatabase
let indexer: Indexer
/** Milliseconds that the writer's clock is ahead. */
let ahead = 0
const clock: Clock = { now: () => Date.now() + ahead, sleep: async () => {} }

const portOf = (...urls: string[]) =>
  evmAnchorPort({
    rpc: createRpc({ urls, chainId: 31337 }),
    anchor: world.deployment.anchor,
    privateKey: devPrivateKey(1),
    confirmations: null,
  })

const writer = (settings = SETTINGS, rpcUrl = world.rpcUrl, port: AnchorPort = portOf(rpcUrl)) =>
  new AnchorWriter({
    port,
    sql: database.sql,
    settings,
    clock,
    logger: silentLogger,
    metrics: createMetrics(),
    logged: new Wake(),
  })

/** One turn that does not wait at its end. */
const turn = (of: AnchorWriter) => of.turn(AbortSignal.abort())
const onChain = async () => (await portOf(world.rpcUrl).state()).size

/** Logs one more leaf and answers the log's size, which has a checkpoint then. */
async function grow(): Promise<number> {
  const [station] = world.stations as [Station]
  const before = (await readLogHead(database.sql)).size
  const id = await world.submitReading(station, before)
  await world.attest(id)
  await until(
    'a checkpoint of the next leaf',
    async () => {
      if (((await readLatestCheckpoint(database.sql))?.size ?? 0) > before) return true
      await world.mine(1)
      return undefined
    },
    indexer,
  )
  return before + 1
}

interface Waiting {
  hash: Hex
  nonce: number
  fee: bigint
}

/** The anchoring account's transactions that the node holds and has not mined. */
async function waiting(): Promise<Waiting[]> {
  type Pool = { pending: Record<string, Record<string, { hash: Hex; nonce: Hex; maxFeePerGas: Hex }>> }
  const { pending } = await world.rpc<Pool>('txpool_content')
  const own = Object.entries(pending).find(
    ([account]) => account.toLowerCase() === devAccount(1).toLowerCase(),
  )
  return Object.values(own?.[1] ?? {}).map((tx) => ({
    hash: tx.hash,
    nonce: Number(tx.nonce),
    fee: BigInt(tx.maxFeePerGas),
  }))
}

/** Calls the contract as its admin. */
async function admin(
  functionName: 'pause' | 'unpause' | 'grantRole' | 'revokeRole',
  args: readonly unknown[] = [],
): Promise<void> {
  const data = encodeFunctionData({ abi: receiptAnchorAbi, functionName, args } as never)
  await world.rpc('eth_sendTransaction', [
    {
      from: devAccount(0),
      to: world.deployment.anchor,
      data,
      maxPriorityFeePerGas: '0x174876e800',
      maxFeePerGas: '0x2e90edd000',
    },
  ])
}

/** A transfer of nothing by the anchoring account that takes the next nonce. */
async function foreign(nonce: number, gwei: string): Promise<void> {
  const account = privateKeyToAccount(devPrivateKey(1))
  const fee = parseGwei(gwei)
  const serializedTransaction = await account.signTransaction({
    type: 'eip1559',
    chainId: 31337,
    to: account.address,
    nonce,
    gas: 21_000n,
    maxFeePerGas: fee,
    maxPriorityFeePerGas: fee,
  })
  await sendRawTransaction(createClient({ transport: http(world.rpcUrl) }), { serializedTransaction })
}

const automine = (on: boolean) => world.rpc('evm_setAutomine', [on])
const mine = () => world.rpc('evm_mine')

beforeAll(async () => {
  ;[world, database] = await Promise.all([startWorld(1), testDatabase({ max: 8 })])
  indexer = startIndexer(world, database.sql, { anchor: null })
}, 60_000)

afterAll(async () => {
  await indexer?.stop()
  await database?.stop()
  await world?.stop()
})

describe('a transaction', () => {
  let size: number
  beforeEach(async () => {
    size = await grow()
    ahead = 0
  })
  afterEach(async () => {
    await automine(true)
    await mine()
    expect(await onChain()).toBe(size)
    // Whatever became of it, the next turn has nothing to do, and what is final is forgotten.
    await world.mine(5)
    await turn(writer())
    expect(await database.sql`select 1 from anchor_tx`).toHaveLength(0)
  })

  test('is left alone while it waits, and replaced with a higher fee at its nonce when it is stuck', async () => {
    await automine(false)
    const one = writer()
    await turn(one)
    const [first] = (await waiting()) as [Waiting]
    await turn(one)
    expect(await waiting()).toEqual([first])
    ahead = 31_000
    await turn(one)
    const [second, ...others] = (await waiting()) as [Waiting]
    expect(others).toEqual([])
    expect(second.nonce).toBe(first.nonce)
    expect(second.hash).not.toBe(first.hash)
    expect(second.fee).toBeGreaterThan((first.fee * 11n) / 10n)
  })

  test('never offers many times the market price, however long no block is made', async () => {
    await automine(false)
    const one = writer()
    await turn(one)
    const [first] = (await waiting()) as [Waiting]
    for (let i = 1; i < 40; i++) {
      ahead = i * 31_000
      await turn(one)
    }
    const [last] = (await waiting()) as [Waiting]
    expect(last.fee).toBeGreaterThan(first.fee * 4n)
    expect(last.fee).toBeLessThanOrEqual(first.fee * 9n)
  })

  test('is sent again at once when the node has lost it', async () => {
    await automine(false)
    const one = writer()
    await turn(one)
    const [first] = (await waiting()) as [Waiting]
    await world.rpc('anvil_dropTransaction', [first.hash])
    expect(await waiting()).toEqual([])
    await turn(one)
    expect((await waiting()).map(({ nonce }) => nonce)).toEqual([first.nonce])
  })

  test('is sent after a restart between writing it down and sending it', async () => {
    const { nonce } = await portOf(world.rpcUrl).state()
    await database.sql`
      insert into anchor_tx (hash, nonce, size, root, max_fee_per_gas, max_priority_fee_per_gas, sent_at)
      values (${new Uint8Array(32).fill(1)}, ${nonce}, ${size}, ${new Uint8Array(32)}, '1', '1', ${new Date()})`
    await turn(writer())
  })

  test('is not doubled by a restart while it waits', async () => {
    await automine(false)
    await turn(writer())
    const before = await waiting()
    await turn(writer())
    expect(await waiting()).toEqual(before)
    expect(before).toHaveLength(1)
  })

  test('is sent anew when it is reorganised away', async () => {
    const before = await world.rpc('evm_snapshot')
    await turn(writer())
    expect(await onChain()).toBe(size)
    await world.rpc('evm_revert', [before])
    expect(await onChain()).toBe(size - 1)
    await turn(writer())
  })

  test('gives way to a foreign one of the same account that is mined in its place', async () => {
    await automine(false)
    const one = writer()
    await turn(one)
    const [first] = (await waiting()) as [Waiting]
    await foreign(first.nonce, '90')
    await mine()
    expect(await onChain()).toBe(size - 1)
    await turn(one)
    expect((await waiting()).map(({ nonce }) => nonce)).toEqual([first.nonce + 1])
  })

  test('outbids a foreign one of the same account that only waits', async () => {
    await automine(false)
    const one = writer()
    const { nonce } = await portOf(world.rpcUrl).state()
    await foreign(nonce, '3')
    for (let i = 0; i < 20 && (await waiting())[0]?.fee === parseGwei('3'); i++)
      await turn(one).catch((error) =>
        expect(error).toMatchObject({ code: 'ANCHOR_UNDERPRICED', retryable: true }),
      )
    const [own, ...others] = (await waiting()) as [Waiting]
    expect(others).toEqual([])
    expect(own.fee).toBeGreaterThan(parseGwei('3'))
  })

  test('that is mined and reverts is reported, and sent again when the contract takes it', async () => {
    await automine(false)
    const one = writer()
    await turn(one)
    // Pays more, so that it comes first in the block.
    await admin('pause')
    await mine()
    expect(await onChain()).toBe(size - 1)
    await expect(turn(one)).rejects.toMatchObject({ code: 'ANCHOR_REFUSED', retryable: true })
    await automine(true)
    await admin('unpause')
    await turn(one)
  })

  test('is not sent without the role, and the reason is named', async () => {
    await admin('revokeRole', [ANCHOR_ROLE, devAccount(1)])
    await expect(turn(writer())).rejects.toMatchObject({
      code: 'ANCHOR_REFUSED',
      message: expect.stringContaining('AccessControlUnauthorizedAccount'),
    })
    expect(await waiting()).toEqual([])
    await admin('grantRole', [ANCHOR_ROLE, devAccount(1)])
    await turn(writer())
  })
})

test('waits for as long as the settings say, counted from the last anchor', async () => {
  ahead = 0
  const one = writer({ everyLeaves: 100, everySeconds: 60, stuckSeconds: 30 })
  const size = await grow()
  await turn(one)
  expect(await onChain()).toBe(size - 1)
  ahead = 61_000
  await turn(one)
  expect(await onChain()).toBe(size)
  // Another leaf comes before the anchor is seen to be mined: it waits anew.
  await grow()
  await turn(one)
  await turn(one)
  expect(await onChain()).toBe(size)
  ahead = 122_000
  await turn(one)
  expect(await onChain()).toBe(size + 1)
})

test('anchors nothing that is not signed, and nothing but what was signed', async () => {
  const size = await grow()
  // It would sign again.
  await indexer.stop()
  const [row] = await database.sql`select root from checkpoint where size = ${size}`
  await database.sql`update checkpoint set root = ${new Uint8Array(32).fill(1)} where size = ${size}`
  await expect(turn(writer())).rejects.toMatchObject({ code: 'LOG_DIVERGED', retryable: false })
  expect(await onChain()).toBe(size - 1)
  await database.sql`update checkpoint set size = ${size + 1}, root = ${row?.['root']} where size = ${size}`
  await expect(turn(writer())).rejects.toMatchObject({ code: 'LOG_BEHIND' })
  await database.sql`delete from checkpoint where size > ${size}`
  await turn(writer())
  expect(await onChain()).toBe(size - 1)
  indexer = startIndexer(world, database.sql, { anchor: null })
  await until(
    'a checkpoint',
    async () => ((await readLatestCheckpoint(database.sql))?.size === size ? true : undefined),
    indexer,
  )
  await turn(writer())
  expect(await onChain()).toBe(size)
})

test('tells nothing to a chain that does not have what is final here', async () => {
  const size = await grow()
  const before = await onChain()
  const older: AnchorPort = { ...portOf(world.rpcUrl), hasBlock: async () => false }
  await expect(turn(writer(SETTINGS, world.rpcUrl, older))).rejects.toMatchObject({
    code: 'CHAIN_OLDER',
    retryable: true,
  })
  expect(await waiting()).toEqual([])
  expect(await onChain()).toBe(before)
  await turn(writer())
  await world.mine(1)
  expect(await onChain()).toBe(size)
})

test('goes on logging while the contract refuses, says so, and says so no longer when it takes anchors', async () => {
  await admin('pause')
  const second = await testDatabase({ max: 8 })
  const anchoring = startIndexer(world, second.sql, { anchor: EAGER })
  try {
    const size = await grow()
    await until(
      'the reason',
      async () => anchoring.pipeline.readiness().find((reason) => /^anchor: .*LogPaused/.test(reason)),
      anchoring,
    )
    await until(
      'the log',
      async () => ((await readLogHead(second.sql)).size === size ? true : undefined),
      anchoring,
    )
    await admin('unpause')
    await until('an anchor', async () => ((await onChain()) === size ? true : undefined), anchoring)
    await until(
      'readiness',
      async () => (anchoring.pipeline.readiness().length === 0 ? true : undefined),
      anchoring,
    )
  } finally {
    await anchoring.stop()
    await second.stop()
  }
})

test('a database that is behind the chain signs and anchors nothing before it has caught up', async () => {
  const anchored = await onChain()
  expect(anchored).toBeGreaterThan(5)
  const second = await testDatabase({ max: 8 })
  const late = startIndexer(world, second.sql, { anchor: EAGER, rangeBlocks: 3 })
  try {
    await until(
      'a checkpoint',
      async () => ((await readLatestCheckpoint(second.sql)) ? true : undefined),
      late,
    )
    const rows = await second.sql`select size from checkpoint`
    expect(rows.map((row) => row['size'])).toEqual([anchored])
    expect(await second.sql`select 1 from anchor_tx`).toHaveLength(0)
  } finally {
    await late.stop()
    await second.stop()
  }
})

test('a database whose log contradicts the chain signs and anchors nothing, and stops', async () => {
  // Without its host the same chain gives another log.
  world.host.files.clear()
  const second = await testDatabase({ max: 8 })
  const other = startIndexer(world, second.sql, { anchor: EAGER, rangeBlocks: 3 })
  try {
    await expect(other.running).rejects.toMatchObject({ code: 'LOG_DIVERGED' })
    expect(await second.sql`select 1 from checkpoint`).toHaveLength(0)
    expect(await second.sql`select 1 from anchor_tx`).toHaveLength(0)
  } finally {
    await second.stop()
  }
})
