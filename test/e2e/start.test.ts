import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { freePort } from '../../anvil/anvil.ts'
import { devPrivateKey } from '../../src/chain/dev-accounts.ts'
import { fromBase64, type Hex, toBase64 } from '../../src/core/bytes.ts'
import { jcs } from '../../src/core/json.ts'
import { openShell, type Ran, type Shell } from '../support/cli.ts'
import { type TestDatabase, testDatabase } from '../support/postgres.ts'
import { startWorld, until, type World } from '../support/world.ts'

let world: World
let database: TestDatabase
let shell: Shell
let api: string
let id: Hex

/** Runs a command that must succeed and answers what it printed as JSON. */
const ask = async (...args: string[]): Promise<Record<string, unknown>> => {
  const ran = await shell.dunes(...args, '--json')
  if (ran.code !== 0) throw new Error(`dunes ${args.join(' ')} ended with ${ran.code}: ${ran.stderr}`)
  return JSON.parse(ran.stdout)
}
const file = (name: string) => join(shell.folder, name)

beforeAll(async () => {
  ;[world, database] = await Promise.all([startWorld(1), testDatabase({ migrated: false })])
  const port = await freePort()
  api = `http://127.0.0.1:${port}`
  shell = openShell({ DATABASE_URL: database.url, DUNES_ANCHOR_KEY: devPrivateKey(1) })
  const { registry, anchor, startBlock } = world.deployment
  const settings = {
    registry,
    anchor,
    startBlock,
    rpcUrls: [world.rpcUrl],
    port,
    pollMs: 20,
    anchorEverySeconds: 1,
  }
  writeFileSync(file('dunes.config.json'), JSON.stringify(settings))
  await ask('keys', 'init')
  shell.start('start', '--log-level', 'silent')
  await until('the API to be ready', async () => {
    const answer = await fetch(`${api}/ready`).catch(() => null)
    return answer?.status === 200 ? true : undefined
  })
}, 60_000)

afterAll(async () => {
  await shell?.stop()
  await database?.stop()
  await world?.stop()
})

it('lets a newcomer join, and says what a transaction would cost before it is sent', async () => {
  await ask('keygen')
  expect((await shell.dunes('keygen')).code).toBe(2)
  const tried = await ask('register', '--dry-run')
  expect(tried).toMatchObject({ dry_run: true, function: 'registerKey' })
  expect(BigInt(tried['cost'] as string)).toBeGreaterThan(0n)
  expect(await ask('register')).toMatchObject({ key_index: 0 })
  expect((await shell.dunes('register')).stderr).toContain('dunes rotate')
  await ask('sensor', 'add', 'roof_1', '--dataset', 'helium_sensors', '--h3', '8928308280fffff')
  const taken = await shell.dunes('sensor', 'add', 'roof_1', '--dataset', 'helium_sensors')
  expect([taken.code, taken.stderr]).toEqual([2, expect.stringContaining('NameTaken')])
})

it('takes a reading to an anchored proof that verifies', async () => {
  writeFileSync(file('reading.json'), '{ "air_quality": 42, "timestamp": "2026-01-01T00:00:00Z" }')
  const sent = await ask('submit', 'reading.json', '--sensor', 'roof_1')
  id = sent['id'] as Hex
  // One validator attests through the command line, the other one makes the quorum.
  writeFileSync(file('validator.key'), devPrivateKey(2), { mode: 0o600 })
  expect(await ask('attest', id, '--account-key', 'validator.key')).toMatchObject({
    attested: 'valid',
    settled: 'not yet',
  })
  const again = await shell.dunes('attest', id, '--account-key', 'validator.key')
  expect([again.code, again.stderr]).toEqual([2, expect.stringContaining('AlreadyAttested')])
  await (await world.validators[1]?.attest(id, true))?.send()
  await until('an anchored submission', async () => {
    await world.mine(1)
    const item = (await (await fetch(`${api}/v1/submissions/${id}`)).json()) as {
      state: string
      verdict: string
    }
    return item.state === 'anchored' ? expect(item.verdict).toBe('accepted') : undefined
  }).catch(async (error) => {
    throw new Error(`${error.message}: ${await (await fetch(`${api}/v1/status`)).text()}`)
  })
  const policy = await fetch(`${api}/trust-policy.json`)
  writeFileSync(file('policy.json'), await policy.text())
  await ask('prove', id, '-o', 'bundle.json')
  const yes = await ask('verify', 'bundle.json', '--policy', 'policy.json', '--rpc', world.rpcUrl)
  expect(yes['ok']).toBe(true)
  const claims = yes['claims'] as unknown as { name: string; status: string }[]
  expect(claims.map(({ name, status }) => `${name} ${status}`)).toEqual([
    'included proved',
    'onChain proved',
    'anchored proved',
    'appendOnly proved',
    'contributorSigned proved',
    'receiptSigned proved',
    'complete not claimed',
  ])
})

it('proves that nothing of a contributor was left out, several submissions at once, and when one was anchored', async () => {
  const { contributor } = (await (await fetch(`${api}/v1/submissions/${id}`)).json()) as {
    contributor: string
  }
  const policy = ['--policy', 'policy.json', '--rpc', world.rpcUrl]
  await ask('prove', '--contributor', contributor, '-o', 'whole.json')
  const whole = await ask('verify', 'whole.json', ...policy, '--require', 'complete')
  expect(whole['facts']).toMatchObject({
    completeness: { settled: 1, submitted: 1, pending: 0, submissions: [id] },
  })
  // What a bundle of one submission does not claim is no yes to who requires it.
  const alone = await shell.dunes('verify', 'bundle.json', ...policy, '--require', 'complete')
  expect([alone.code, alone.stdout]).toEqual([1, expect.stringContaining('NO: complete not claimed')])
  await ask('prove', id, id, '-o', 'rows.json')
  expect((await ask('verify', 'rows.json', ...policy))['facts']).toMatchObject({ rows: [{ submission: id }] })
  await ask('prove', id, '--event', '-o', 'event.json')
  const dated = await ask('verify', 'event.json', ...policy)
  expect(dated).toMatchObject({ ok: true, facts: { anchoredEvent: { seq: expect.any(Number) } } })
  const wrong = [
    ['prove'],
    ['prove', id, id, '--event'],
    ['prove', '--contributor', contributor, '--event'],
    ['prove', id, '--from', '0'],
    ['prove', id, '--contributor', contributor],
    ['prove', '--contributor', contributor, '--from', 'x'],
    ['prove', id, 'nonsense'],
  ]
  for (const args of wrong) expect((await shell.dunes(...args)).code).toBe(2)
})

it('says no to a bundle with one byte flipped, and refuses to verify without anything to trust', async () => {
  const bundle = JSON.parse(readFileSync(file('bundle.json'), 'utf8'))
  const verify = (value: unknown): Promise<Ran> => {
    writeFileSync(file('changed.json'), jcs(value))
    return shell.dunes('verify', 'changed.json', '--policy', 'policy.json', '--rpc', world.rpcUrl)
  }
  const good = await verify(bundle)
  expect([good.code, good.stdout]).toEqual([0, expect.stringContaining('verdict     accepted')])
  const flip = (base64: string, at: number) => {
    const bytes = fromBase64(base64)
    bytes[at] = (bytes[at] as number) ^ 1
    return toBase64(bytes)
  }
  const payload = await verify({ ...bundle, payload: flip(bundle.payload, 30) })
  expect([payload.code, payload.stdout]).toEqual([1, expect.stringMatching(/FAILED\s+contributorSigned/)])
  const entry = await verify({ ...bundle, entry: flip(bundle.entry, 40) })
  expect([entry.code, entry.stdout]).toEqual([1, expect.stringMatching(/FAILED\s+included/)])
  // The deployment that was started in this folder is recorded in it; elsewhere there is nothing to trust.
  expect((await shell.dunes('verify', 'bundle.json', '--rpc', world.rpcUrl)).code).toBe(0)
  expect((await shell.dunes('verify', 'bundle.json', '--rpc', world.rpcUrl, '--data-dir', 'none')).code).toBe(
    2,
  )
  expect((await shell.dunes('verify', 'bundle.json', '--policy', 'policy.json')).code).toBe(2)
  writeFileSync(file('empty.json'), '')
  expect(
    (await shell.dunes('verify', 'empty.json', '--policy', 'policy.json', '--block-hash', id)).code,
  ).toBe(1)
  expect(
    (await shell.dunes('verify', 'bundle.json', '--policy', 'policy.json', '--block-hash', id)).code,
  ).toBe(1)
})

it('exports its log as files', async () => {
  const exported = await ask('export', file('site'))
  expect(exported).toMatchObject({ folder: file('site'), size: 1, new_entries: 1, anchors: 1 })
  for (const path of ['checkpoint', 'tile/0/000.p/1', 'tile/entries/000.p/1', 'vkeys', 'trust-policy.json'])
    expect(readFileSync(file(`site/${path}`), 'latin1'), path).toBe(
      Buffer.from(await (await fetch(`${api}/${path}`)).arrayBuffer()).toString('latin1'),
    )
  expect(await ask('export', file('site'))).toMatchObject({ size: 1, new_entries: 0 })
})

it('explains, shows, checks and repairs', async () => {
  const told = await shell.dunes('explain', id)
  expect(told.stdout).toContain('Every stage is done')
  expect((await shell.dunes('status')).stdout).toMatch(/anchored\s+1/)
  await ask('mu', 'make', id, '-o', 'a.mu')
  const payload = new Uint8Array(await (await fetch(`${api}/v1/submissions/${id}/payload`)).arrayBuffer())
  writeFileSync(file('a.maml.md'), payload)
  expect((await shell.dunes('mu', 'check', 'a.maml.md', 'a.mu')).code).toBe(0)
  const damaged = Buffer.from(payload).toString('latin1').replace('"air_quality": 42', '"air_quality": 43')
  writeFileSync(file('a.maml.md'), damaged, 'latin1')
  const found = await shell.dunes('mu', 'check', 'a.maml.md', 'a.mu')
  expect([found.code, found.stdout]).toEqual([1, expect.stringContaining('air_quality')])
  expect((await shell.dunes('mu', 'repair', 'a.maml.md', 'a.mu')).code).toBe(0)
  expect(new Uint8Array(readFileSync(file('a.maml.md')))).toEqual(payload)
  expect((await shell.dunes('maml', 'verify', 'a.maml.md')).code).toBe(0)
  const doctor = await shell.dunes('doctor')
  expect([doctor.code, doctor.stdout]).toEqual([0, expect.stringContaining('are its prefix')])
})

it('deploys contracts of its own and says what settings they need', async () => {
  const made = await ask(
    'deploy',
    '--origin',
    'e2e.example/log',
    '--quorum',
    '1',
    '--validators',
    world.stations[0]?.client.account as string,
  )
  const code = await world.rpc<string>('eth_getCode', [made['anchor'], 'latest'])
  expect(code.length).toBeGreaterThan(1_000)
  expect(made['registry']).not.toBe(world.deployment.registry)
  const bad = await shell.dunes('deploy', '--origin', 'no spaces allowed')
  expect([bad.code, bad.stderr]).toEqual([2, expect.stringMatching(/origin/i)])
})

it('answers with the exit codes that it promises', async () => {
  expect((await shell.dunes('explain', '0x12')).code).toBe(2)
  expect((await shell.dunes('explain', `0x${'ab'.repeat(32)}`)).code).toBe(2)
  expect((await shell.dunes('status', '--api-url', 'http://127.0.0.1:9')).code).toBe(3)
  expect((await shell.dunes('nonsense')).code).toBe(2)
  expect((await shell.dunes('--help')).code).toBe(0)
  const refused = await shell.dunes('submit', 'reading.json', '--sensor', 'helium_001', '--json')
  expect(refused.code).toBe(2)
  expect(JSON.parse(refused.stderr.trim().split('\n').at(-1) as string)).toMatchObject({
    error: { code: 'CALL_REFUSED' },
  })
})
