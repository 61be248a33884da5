import { writeFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { devAccount, devPrivateKey } from '../../src/chain/dev-accounts.ts'
import type { Hex } from '../../src/core/bytes.ts'
import { AnchorAdmin, type Closure } from '../../src/service/anchor-admin.ts'
import { type TestDatabase, testDatabase } from '../support/postgres.ts'
import { type RunningDunes, runDunes } from '../support/running.ts'
import { startWorld, until, type World } from '../support/world.ts'

let world: World
let [first, second]: TestDatabase[] = []
let old: RunningDunes
let next: RunningDunes
/** The successor's contract. */
let successor: Hex

const adminOf = (anchor: Hex) =>
  new AnchorAdmin({ rpcUrl: world.rpcUrl, chainId: 31337, anchor, privateKey: null })
const closure = (): Promise<Closure> => adminOf(world.deployment.anchor).closure()
const refused = async (...args: string[]) => {
  const { code, stderr } = await old.shell.dunes(...args)
  return { code, stderr }
}

beforeAll(async () => {
  ;[world, first, second] = await Promise.all([
    startWorld(1),
    testDatabase({ migrated: false }),
    testDatabase({ migrated: false }),
  ])
  old = await runDunes(world, first?.url as string)
  await old.up()
  const id = await old.anchored(41)
  await old.anchored(42)
  await old.ask('prove', id, '-o', 'old.json')
}, 180_000)

afterAll(async () => {
  await next?.stop()
  await old?.stop()
  await first?.stop()
  await second?.stop()
  await world?.stop()
})

it('deploys a successor that commits to the old log, under another name', async () => {
  writeFileSync(old.file('deployer.key'), `${devPrivateKey(0)}\n`, { mode: 0o600 })
  const { anchor, registry } = world.deployment
  const deploy = (...args: string[]) => [
    'deploy',
    '--account-key',
    'deployer.key',
    '--successor-of',
    anchor,
    ...args,
  ]
  expect(await refused(...deploy('--origin', 'test.example/dunes'))).toEqual({
    code: 2,
    stderr: expect.stringContaining('OriginReused'),
  })
  expect(await refused(...deploy('--origin', 'test.example/2', '--size', '1'))).toEqual({
    code: 2,
    stderr: expect.stringContaining('of size 1 the root must be given'),
  })
  const made = await old.ask(...deploy('--origin', 'test.example/2'))
  const head = await adminOf(anchor).head()
  expect(made).toMatchObject({
    registry,
    predecessor: { log: anchor, size: 2, root: `0x${Buffer.from(head.root).toString('hex')}` },
  })
  successor = made['anchor'] as Hex
  expect(await adminOf(successor).origin()).toBe('test.example/2')
})

it('closes the old log only as its administrator, with a successor or without one said', async () => {
  expect(await refused('log', 'close')).toEqual({
    code: 2,
    stderr: expect.stringContaining('no successor is named'),
  })
  writeFileSync(old.file('stranger.key'), `${devPrivateKey(7)}\n`, { mode: 0o600 })
  expect(await refused('log', 'close', '--successor', successor, '--admin-key', 'stranger.key')).toEqual({
    code: 2,
    stderr: expect.stringContaining('AccessControlUnauthorizedAccount'),
  })
  expect(await refused('log', 'close', '--successor', devAccount(7))).toEqual({
    code: 2,
    stderr: expect.stringContaining('anchor contract refuses the call'),
  })
  expect((await closure()).closed).toBe(false)
  const closed = await old.ask('log', 'close', '--successor', successor)
  expect(closed).toMatchObject({ origin: 'test.example/dunes', size: 2, successor })
  expect(await closure()).toMatchObject({ closed: true, successor, lastGoodSize: 2 })
  expect(await refused('log', 'close', '--successor', successor)).toEqual({
    code: 2,
    stderr: expect.stringContaining('LogClosed'),
  })
})

it('stops the indexer of the old log, and says where it goes on', async () => {
  const { code, stderr } = await old.ended()
  const message = `the log was closed on-chain for good at size 2; its successor is ${successor}`
  expect([code, stderr]).toEqual([2, expect.stringContaining(message)])
  expect(stderr).toContain('dunes serve')
  // It does not begin again either.
  expect(await refused('index', '--log-level', 'silent')).toEqual({
    code: 2,
    stderr: expect.stringContaining(message),
  })
  const doctor = await old.shell.dunes('doctor')
  expect(doctor.stdout).toContain(`closed on-chain for good at size 2; its successor is ${successor}`)
})

it('makes every leaf anew under the successor, from the payloads of the old one', async () => {
  await old.ask('backup', 'copy')
  // Not one payload is to be had from its host any more.
  world.host.files.clear()
  next = await runDunes(world, second?.url as string, { anchor: successor })
  const taken = await next.ask('restore', old.file('copy'), '--payloads-only')
  expect(taken).toMatchObject({ payloads: 2 })
  await next.up(() => true)
  await until('the successor to anchor both leaves', async () => {
    await world.mine(1)
    return (await adminOf(successor).head()).size === 2 ? true : undefined
  })
  const rows = await (second as TestDatabase).sql`select verdict from submission order by index`
  expect(rows.map(({ verdict }) => verdict)).toEqual(['accepted', 'accepted'])
  const id = await next.anchored(43)
  await next.ask('prove', id, '-o', 'new.json')
  expect((await next.shell.dunes('verify', 'new.json', '--rpc', world.rpcUrl)).code).toBe(0)
  expect((await next.shell.dunes('fsck')).code).toBe(0)
}, 180_000)

it('leaves what was proved under the old log proved, and to that log alone', async () => {
  expect((await old.shell.dunes('verify', 'old.json', '--rpc', world.rpcUrl)).code).toBe(0)
  const policy = ['--policy', next.file('.dunes/trust-policy.json')]
  expect((await old.shell.dunes('verify', 'old.json', '--rpc', world.rpcUrl, ...policy)).code).toBe(1)
  // The old log is still served, and proofs of it made anew.
  const server = old.shell.start('serve', '--log-level', 'silent')
  let said = ''
  server.stderr?.on('data', (chunk: Buffer) => {
    said += chunk.toString()
  })
  await until('the old log to be served', async () => {
    if (server.exitCode !== null) throw new Error(`dunes serve ended: ${said}`)
    const answer = await fetch(`${old.api}/checkpoint`).catch(() => null)
    return answer?.status === 200 ? true : undefined
  })
  const { items } = (await (await fetch(`${old.api}/v1/submissions?state=anchored`)).json()) as {
    items: { id: Hex }[]
  }
  await old.ask('prove', items[0]?.id as Hex, '-o', 'again.json')
  expect((await old.shell.dunes('verify', 'again.json', '--rpc', world.rpcUrl)).code).toBe(0)
  server.kill('SIGTERM')
}, 180_000)
