import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { keccak_256 } from '@noble/hashes/sha3.js'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { type AnvilOptions, findAnvil, freePort, startAnvil } from '../../anvil/anvil.ts'
import { fromHex, toHex } from '../../src/core/bytes.ts'
import { isAlive, processStamp } from '../../src/core/process.ts'
import { testAnvil } from '../support/anvil.ts'

const SENDER = '0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266'
// Counts its calls in slot 0: PUSH0 SLOAD PUSH1 1 ADD PUSH0 SSTORE STOP, behind the code that deploys it.
const COUNTER = '0x675f546001015f55005f5260086018f3'
const SLOT = `0x${'0'.repeat(64)}`
const WAIT = { timeout: 30_000, interval: 20 }

interface Block {
  number: string
  hash: string
  stateRoot: string
}
interface Proof {
  accountProof: string[]
  storageProof: { value: string }[]
}

let folder: string
const clean: (() => unknown)[] = []
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'dunes-anvil-test-'))
})
afterEach(async () => {
  for (const stop of clean.splice(0).reverse()) await stop()
  rmSync(folder, { recursive: true, force: true })
})

async function start(options: AnvilOptions = {}) {
  const anvil = await testAnvil(options)
  clean.push(() => anvil.stop())
  return anvil
}

async function rpc<T = string>(url: string, method: string, params: unknown[] = []): Promise<T> {
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })
  const response = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body })
  const reply = (await response.json()) as { result: T; error?: { message: string } }
  if (reply.error) throw new Error(reply.error.message)
  return reply.result
}

async function send(
  url: string,
  transaction: { to?: string; data?: string },
): Promise<{ contractAddress: string }> {
  const hash = await rpc(url, 'eth_sendTransaction', [{ from: SENDER, gas: '0x100000', ...transaction }])
  // Mined at once, but not before the reply.
  return vi.waitFor(async () => {
    const receipt = await rpc<{ contractAddress: string } | null>(url, 'eth_getTransactionReceipt', [hash])
    expect(receipt).not.toBeNull()
    return receipt as { contractAddress: string }
  }, WAIT)
}

const hexBlock = (number: number) => `0x${number.toString(16)}`

/** The counter's value at a block, from a proof whose root is the block's. */
async function provenCount(url: string, contract: string, number: number): Promise<number> {
  const block = await rpc<Block>(url, 'eth_getBlockByNumber', [hexBlock(number), false])
  const proof = await rpc<Proof>(url, 'eth_getProof', [contract, [SLOT], hexBlock(number)])
  expect(toHex(keccak_256(fromHex(proof.accountProof[0] as string)))).toBe(block.stateRoot)
  return Number(proof.storageProof[0]?.value)
}

/** Starts anvil in a process of its own, which can then be killed, and tells both process numbers. */
async function startElsewhere(
  options: AnvilOptions,
): Promise<{ owner: ChildProcess; pid: number; url: string }> {
  const module = new URL('../../anvil/anvil.ts', import.meta.url).href
  const script = `const { startAnvil } = await import(${JSON.stringify(module)})
    const { pid, url } = await startAnvil(${JSON.stringify({ port: 0, ...options })})
    console.log(JSON.stringify({ pid, url }))`
  const owner = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  clean.push(() => owner.kill('SIGKILL'))
  const line = await new Promise<string>((resolve, reject) => {
    owner.stdout?.once('data', (data) => resolve(String(data)))
    owner.once('exit', () => reject(new Error('ended before anvil answered')))
  })
  return { owner, ...(JSON.parse(line) as { pid: number; url: string }) }
}

test('answers on a free port with the devnet chain id, and is gone after stop', async () => {
  const anvil = await start()
  expect(Number(await rpc(anvil.url, 'eth_chainId'))).toBe(31337)
  expect(anvil.url).toBe(`http://127.0.0.1:${anvil.port}`)
  await Promise.all([anvil.stop(), anvil.stop()])
  expect(isAlive(anvil.pid)).toBe(false)
  await expect(rpc(anvil.url, 'eth_chainId')).rejects.toThrow()
})

test('takes chain id and number of accounts, and mines by the clock when told', async () => {
  const anvil = await start({ chainId: 31338, accounts: 3, blockTime: 1 })
  expect(Number(await rpc(anvil.url, 'eth_chainId'))).toBe(31338)
  expect(await rpc<string[]>(anvil.url, 'eth_accounts')).toHaveLength(3)
  const number = async () => Number(await rpc(anvil.url, 'eth_blockNumber'))
  await vi.waitFor(async () => expect(await number()).toBeGreaterThan(0), WAIT)
})

test('keeps the latest states alone in its file, also when it mines by the clock', async () => {
  const stateFile = join(folder, 'pruned', 'state.json')
  const anvil = await start({ stateFile, historyStates: 8, blockTime: 0.02 })
  await vi.waitFor(
    async () => expect(Number(await rpc(anvil.url, 'eth_blockNumber'))).toBeGreaterThan(30),
    WAIT,
  )
  await anvil.stop()
  const { historical_states: states } = JSON.parse(readFileSync(stateFile, 'utf8')) as {
    historical_states: unknown[]
  }
  expect(states).toHaveLength(8)
})

test('finality is two blocks behind the head, not two epochs of 32', async () => {
  const anvil = await start()
  await rpc(anvil.url, 'anvil_mine', ['0xa'])
  const finalized = await rpc<Block>(anvil.url, 'eth_getBlockByNumber', ['finalized', false])
  expect(Number(finalized.number)).toBe(8)
})

test('a stopped chain goes on with the same blocks, and proves older states under their own headers', async () => {
  const stateFile = join(folder, 'chain', 'state.json')
  const first = await start({ stateFile, historyStates: 64 })
  const { contractAddress } = await send(first.url, { data: COUNTER })
  for (let call = 0; call < 9; call++) await send(first.url, { to: contractAddress })
  const before = await rpc<Block>(first.url, 'eth_getBlockByNumber', ['0x5', false])
  await first.stop()

  const second = await start({ stateFile, historyStates: 64 })
  expect(Number(await rpc(second.url, 'eth_blockNumber'))).toBe(10)
  expect((await rpc<Block>(second.url, 'eth_getBlockByNumber', ['0x5', false])).hash).toBe(before.hash)
  await send(second.url, { to: contractAddress })
  // Block 1 deployed the counter, so block n has seen n - 1 calls.
  for (const number of [1, 2, 5, 10, 11]) {
    expect(await provenCount(second.url, contractAddress, number)).toBe(number - 1)
  }
})

test('keeps the latest states only, but every block and log', async () => {
  const anvil = await start({ stateFile: join(folder, 'state.json'), historyStates: 4 })
  const { contractAddress } = await send(anvil.url, { data: COUNTER })
  for (let call = 0; call < 9; call++) await send(anvil.url, { to: contractAddress })
  expect(await provenCount(anvil.url, contractAddress, 8)).toBe(7)
  await expect(rpc(anvil.url, 'eth_getProof', [contractAddress, [SLOT], '0x3'])).rejects.toThrow(/OutOfRange/)
  expect(
    await rpc<{ transactions: string[] }>(anvil.url, 'eth_getBlockByNumber', ['0x2', false]),
  ).toMatchObject({
    transactions: [expect.stringMatching(/^0x/)],
  })
})

test('a busy port is a typed error, and no process stays behind', async () => {
  const server = createServer()
  const port = await freePort()
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  clean.push(() => server.close())
  const pidFile = join(folder, 'pid')
  await expect(startAnvil({ port, pidFile })).rejects.toMatchObject({
    name: 'AnvilError',
    code: 'PORT_BUSY',
    message: expect.stringContaining(String(port)),
    hint: expect.any(String),
  })
  expect(existsSync(pidFile)).toBe(false)
})

test('arguments that anvil refuses come back with what it said', async () => {
  await expect(startAnvil({ port: 0, args: ['--no-such-option'] })).rejects.toMatchObject({
    code: 'ANVIL_FAILED',
    exitCode: 3,
    message: expect.stringContaining('--no-such-option'),
  })
})

test('a damaged state file is told apart', async () => {
  const stateFile = join(folder, 'state.json')
  await (await start({ stateFile })).stop()
  truncateSync(stateFile, statSync(stateFile).size - 100)
  await expect(startAnvil({ port: 0, stateFile })).rejects.toMatchObject({ code: 'ANVIL_STATE_DAMAGED' })
})

test('when its starter is killed, anvil writes its state and ends', async () => {
  const stateFile = join(folder, 'state.json')
  const { owner, pid, url } = await startElsewhere({ stateFile, stateInterval: 3600 })
  await rpc(url, 'anvil_mine', ['0x7'])
  owner.kill('SIGKILL')
  await vi.waitFor(() => expect(isAlive(pid)).toBe(false), WAIT)
  const next = await start({ stateFile })
  expect(Number(await rpc(next.url, 'eth_blockNumber'))).toBe(7)
})

test('a start right after a crash takes over the same port and chain', async () => {
  const options = {
    port: await freePort(),
    stateFile: join(folder, 'state.json'),
    pidFile: join(folder, 'pid'),
  }
  const { owner, pid, url } = await startElsewhere({ ...options, stateInterval: 3600 })
  await rpc(url, 'anvil_mine', ['0x7'])
  const died = new Promise((resolve) => owner.once('exit', resolve))
  owner.kill('SIGKILL')
  await died
  const next = await start(options)
  expect(isAlive(pid)).toBe(false)
  expect(Number(await rpc(next.url, 'eth_blockNumber'))).toBe(7)
})

test('a second copy on the same pid file is refused while the first lives', async () => {
  const pidFile = join(folder, 'pid')
  const { owner, pid } = await startElsewhere({ pidFile })
  await expect(startAnvil({ port: 0, pidFile })).rejects.toMatchObject({
    code: 'ANVIL_RUNNING',
    details: { pid, owner: owner.pid },
  })
  expect(isAlive(pid)).toBe(true)
})

test('an orphan named by the pid file is ended, its state kept, before a new one starts', async () => {
  const pidFile = join(folder, 'pid')
  const stateFile = join(folder, 'state.json')
  const port = await freePort()
  // Neither guarded nor ours: what is left when starter and guard are both killed.
  const orphan = spawn(findAnvil(), ['--quiet', '--port', String(port), '--state', stateFile], {
    stdio: 'ignore',
  })
  clean.push(() => orphan.kill('SIGKILL'))
  await vi.waitFor(() => rpc(`http://127.0.0.1:${port}`, 'anvil_mine', ['0x3']), WAIT)
  const pid = orphan.pid as number
  const note = { pid, stamp: processStamp(pid), owner: 2 ** 22 + 1, ownerStamp: 'gone', port }
  writeFileSync(pidFile, JSON.stringify(note))
  const anvil = await start({ port, pidFile, stateFile })
  expect(isAlive(pid)).toBe(false)
  expect(Number(await rpc(anvil.url, 'eth_blockNumber'))).toBe(3)
  expect(JSON.parse(readFileSync(pidFile, 'utf8'))).toMatchObject({ pid: anvil.pid, owner: process.pid })
  await anvil.stop()
  expect(existsSync(pidFile)).toBe(false)
})

test.each([
  ['a stranger that has the number now', (pid: number) => processStamp(pid)],
  ['a later process with the same number', () => 'another start'],
])('a pid file never makes us end %s', async (_name, stamp) => {
  const stranger = spawn('/bin/sleep', ['60'])
  clean.push(() => stranger.kill('SIGKILL'))
  const pid = stranger.pid as number
  const pidFile = join(folder, 'pid')
  writeFileSync(pidFile, JSON.stringify({ pid, stamp: stamp(pid), owner: 1, ownerStamp: 'gone', port: 1 }))
  await start({ pidFile })
  expect(isAlive(pid)).toBe(true)
})

test.each([
  '',
  '{',
  'null',
  '{"pid":"x"}',
  '{"pid":-1,"stamp":null}',
])('a pid file holding %j is no obstacle', async (content) => {
  const pidFile = join(folder, 'pid')
  writeFileSync(pidFile, content)
  await expect(start({ pidFile })).resolves.toMatchObject({ pid: expect.any(Number) })
})

test('an anvil that is named is the one that is taken, or it is an error', () => {
  expect(findAnvil({ DUNES_ANVIL: process.execPath })).toBe(process.execPath)
  expect(() => findAnvil({ DUNES_ANVIL: '/nonexistent' })).toThrow(/DUNES_ANVIL/)
})
