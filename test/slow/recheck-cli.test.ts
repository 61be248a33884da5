import { text } from 'node:stream/consumers'
import { encodeEventTopics } from 'viem'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { sensorRegistryAbi } from '../../src/chain/abi.ts'
import { createRpc } from '../../src/chain/rpc.ts'
import type { DryRun } from '../../src/cli/dry-run.ts'
import type { Hex } from '../../src/core/bytes.ts'
import { mlDsa } from '../../src/core/ml-dsa-native.ts'
import { createPayloadFetcher } from '../../src/payload/fetch.ts'
import { type Recheck, recheckSubmission } from '../../src/service/recheck.ts'
import { openShell, type Shell } from '../support/cli.ts'
import { type TestDatabase, testDatabase } from '../support/postgres.ts'
import { startRpcProxy } from '../support/rpc-proxy.ts'
import { reading, type Station, startIndexer, startWorld, until, type World } from '../support/world.ts'

// Each command is a process of its own, which takes seconds to start on a busy machine.
vi.setConfig({ testTimeout: 240_000 })

const [SETTLED] = encodeEventTopics({ abi: sensorRegistryAbi, eventName: 'SubmissionSettled' })

let world: World
let database: TestDatabase
let shell: Shell
let good: Hex
let repeated: Hex
let disputed: Hex
let away: Hex

beforeAll(async () => {
  ;[world, database] = await Promise.all([startWorld(1), testDatabase({ max: 8 })])
  shell = openShell({ DATABASE_URL: database.url })
  const [station] = world.stations as [Station]
  const indexer = startIndexer(world, database.sql)
  const bytes = world.payload(station, [reading(station.sensor, 1)])
  const send = async (payload: Uint8Array, valid = true, uri?: string) => {
    const id = await world.submit(station, payload, uri)
    await world.attest(id, valid)
    return id
  }
  good = await send(bytes)
  repeated = await send(bytes)
  disputed = await send(world.payload(station, [reading(station.sensor, 2)]), false)
  away = await send(world.payload(station, [reading(station.sensor, 3)]), true, `${world.host.url}/nothing`)
  await until(
    'all to be logged',
    async () => {
      await world.mine(5)
      const [row] = await database.sql`select size from log_head`
      return row?.['size'] === 4 ? true : undefined
    },
    indexer,
  )
  await indexer.stop()
}, 90_000)
afterAll(async () => {
  await shell?.stop()
  await database?.stop()
  await world?.stop()
})

const flags = (rpcUrl = world.rpcUrl, { deployment } = world) => [
  '--rpc-urls',
  rpcUrl,
  '--registry',
  deployment.registry,
  '--anchor',
  deployment.anchor,
  '--start-block',
  String(deployment.startBlock),
]
describe('dunes recheck', () => {
  const run = async (id: string, rpcUrl?: string) => {
    const { code, stdout, stderr } = await shell.dunes(
      ...['recheck', id, '--json', '--allowed-private', world.host.url.slice('http://'.length)],
      ...flags(rpcUrl),
    )
    return { code, err: stderr, report: (stdout === '' ? null : JSON.parse(stdout)) as Recheck }
  }
  const different = (report: Recheck) => report.fields.filter(({ same }) => !same).map(({ field }) => field)

  it('finds accepted, repeated, rejected and unobtainable submissions as they are stored', async () => {
    const fetcher = createPayloadFetcher({ allowedPrivate: [world.host.url.slice('http://'.length)] })
    const rpc = createRpc({ urls: [world.rpcUrl], chainId: 31337 }).pin()
    const deps = { sql: database.sql, rpc, deployment: world.deployment, fetcher, mlDsa }
    for (const id of [good, repeated, disputed, away]) {
      const report = await recheckSubmission(deps, id, new AbortController().signal)
      expect(different(report)).toEqual([])
      expect(report).toMatchObject({ submission: id, same: true, whole: true })
      const names = report.fields.map(({ field }) => field)
      expect(names).toEqual(
        expect.arrayContaining([
          'submission, uri',
          'settlement, acc',
          'record in the contract',
          'verdict',
          'receipt, SHA-256 of its entry',
        ]),
      )
      expect(names.filter((name) => name.startsWith('attestation'))).not.toEqual([])
    }
    const { code, report, err } = await run(good)
    expect(err).toBe('')
    expect(code).toBe(0)
    expect(report.fields.map(({ field }) => field)).toContain('payload, signatureSha256')
  })

  it('names each field that differs, with both values', async () => {
    const where = database.sql`submission_id = ${Buffer.from(good.slice(2), 'hex')}`
    await database.sql`update submission set nonce = 9, acc = ${Buffer.alloc(32)}, verdict = 'rejected', reason = 'STALE' where ${where}`
    const { code, report } = await run(good)
    expect(code).toBe(1)
    expect(different(report)).toEqual([
      'submission, nonce',
      'settlement, acc',
      'verdict',
      'reason',
      'receipt, SHA-256 of its entry',
    ])
    expect(report.fields.find(({ field }) => field === 'submission, nonce')).toEqual({
      field: 'submission, nonce',
      now: '0',
      stored: '9',
      same: false,
    })
    const said = await shell.dunes('recheck', good, ...flags())
    expect(said.code).toBe(1)
    expect(said.stdout).toContain('DIFFERS  reason')
    expect(said.stdout).toContain('now nothing, stored STALE')
  })

  it('refuses what it has not got, and a chain that is not there', async () => {
    expect(await run(`0x${'00'.repeat(32)}`)).toMatchObject({ code: 2, report: null })
    expect(await run('7')).toMatchObject({ code: 2 })
    const proxy = await startRpcProxy(world.rpcUrl)
    await proxy.stop()
    expect(await run(good, proxy.url)).toMatchObject({ code: 3 })
  })
})

describe('dunes index --dry-run', () => {
  it('says what a range holds and would write, and needs no database', async () => {
    const blind = openShell()
    const { code, stdout, stderr } = await blind.dunes('index', '--dry-run', '--json', ...flags())
    await blind.stop()
    expect(stderr).toBe('')
    expect(code).toBe(0)
    const run = JSON.parse(stdout) as DryRun
    expect(run).toMatchObject({
      from: world.deployment.startBlock,
      by_event: { submitted: 4, settled: 4, attested: 8, keyRegistered: 1, sensorRegistered: 1 },
      rows: { submission: 4, 'submission (settled)': 4, attestation: 8, contributor_key: 1, sensor: 1 },
      indices: { first: 0, last: 3 },
      splits: 0,
    })
    expect(run.rows['edge']).toBe(2 * 4 + 8 + 2)
    expect(run.blocks).toBe(run.to - run.from + 1)
    const part = await shell.dunes(
      ...['index', '--dry-run', '--json', '--from', String(run.to - 2), '--to', String(run.to), ...flags()],
    )
    expect(JSON.parse(part.stdout)).toMatchObject({ blocks: 3, from: run.to - 2 })
    const said = await shell.dunes('index', '--dry-run', ...flags())
    expect(said.stdout).toMatch(/written +nothing/)
    expect(said.stdout).toMatch(/submission \(settled\) +4 rows/)
  })

  it('refuses ranges that are none, and --from without --dry-run', async () => {
    for (const range of [
      ['--from', '5', '--to', '4'],
      ['--from', 'x'],
    ])
      expect((await shell.dunes('index', '--dry-run', ...range, ...flags())).code).toBe(2)
    expect(await shell.dunes('index', '--from', '5', ...flags())).toMatchObject({ code: 2 })
  })

  /** Begins a dry run of an endpoint that leaves logs of the second settlement out of every answer, and tells how many it left out. */
  async function dryRunWithout(isLeftOut: (topics: readonly Hex[]) => boolean) {
    const proxy = await startRpcProxy(world.rpcUrl)
    let left = 0
    const strip = (logs: { topics: Hex[] }[]) => {
      const told = logs.filter(({ topics }) => topics[1] !== repeated || !isLeftOut(topics))
      left += logs.length - told.length
      return told
    }
    proxy.fault = ({ method }, { result }) =>
      method === 'eth_getLogs' ? { result: strip(result as never) } : undefined
    try {
      return { ...(await shell.dunes('index', '--dry-run', '--json', ...flags(proxy.url))), left }
    } finally {
      await proxy.stop()
    }
  }

  it('ends with exit code 3 where an answer leaves something out that the running numbers show', async () => {
    const { code, stderr, left } = await dryRunWithout(([kind]) => kind === SETTLED)
    expect(left).toBeGreaterThan(0)
    expect({ code, stderr }).toMatchObject({ code: 3 })
  })

  it('reads what an answer leaves out of a block as a whole from its receipts', async () => {
    const { code, stdout, left } = await dryRunWithout(() => true)
    expect(left).toBeGreaterThan(0)
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({ by_event: { submitted: 4, settled: 4, attested: 8 } })
  })
})

describe('a reorganisation beyond finality', () => {
  it('stops dunes index with exit code 3, what happened and the way out, and it does not begin again', async () => {
    const fresh = await testDatabase()
    // A chain of its own, on which nothing is anchored: another log's anchor would stop the indexer as well.
    const lonely = await startWorld(1)
    const own = openShell({ DATABASE_URL: fresh.url })
    try {
      expect((await own.dunes('keys', 'init')).code).toBe(0)
      const args = [
        'index',
        '--confirmations',
        '2',
        '--poll-ms',
        '20',
        '--recheck-seconds',
        '0',
        ...flags(lonely.rpcUrl, lonely),
      ]
      const fork = await lonely.rpc('evm_snapshot')
      await lonely.mine(12)
      const final = Number(await lonely.rpc('eth_blockNumber')) - 2
      const running = own.start(...args)
      const said = text(running.stderr as never)
      const ended = new Promise<number | null>((resolve) => running.once('close', resolve))
      await until(
        'the block to be final',
        async () => {
          const [row] = await fresh.sql`select final_number from cursor`
          return row?.['final_number'] === final ? true : undefined
        },
        undefined,
        120_000,
      )
      await lonely.rpc('evm_revert', [fork])
      await lonely.rpc('anvil_setNextBlockBaseFeePerGas', ['0x77359400'])
      await lonely.mine(14)
      expect(await ended).toBe(3)
      expect(await said).toMatch(/block \d+ was final as 0x[0-9a-f]{64} and is 0x[0-9a-f]{64} now/)
      expect(await said).toContain('index anew into an empty database')
      const [row] = await fresh.sql`select final_number from cursor`
      expect(row?.['final_number']).toBe(final)
      // It stays stopped: started again it finds the same, and writes nothing.
      expect((await own.dunes(...args)).code).toBe(3)
      expect((await fresh.sql`select final_number from cursor`)[0]?.['final_number']).toBe(final)
    } finally {
      await own.stop()
      await fresh.stop()
      await lonely.stop()
    }
  })
})
