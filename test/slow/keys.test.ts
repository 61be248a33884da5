import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { privateKeyToAccount } from 'viem/accounts'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { devPrivateKey } from '../../src/chain/dev-accounts.ts'
import { fromBase64, fromHex, type Hex, sha256, toHex } from '../../src/core/bytes.ts'
import { mlDsa } from '../../src/core/ml-dsa-native.ts'
import { parseNote } from '../../src/log/note.ts'
import { parseTlogProof } from '../../src/log/tlog-proof.ts'
import type { TrustPolicy } from '../../src/proof/trust-policy.ts'
import { signEntry } from '../../src/receipt/sign.ts'
import { AnchorAdmin } from '../../src/service/anchor-admin.ts'
import { type TestDatabase, testDatabase } from '../support/postgres.ts'
import { type RunningDunes, runDunes } from '../support/running.ts'
import { startWorld, until, type World } from '../support/world.ts'

let world: World
let database: TestDatabase
let dunes: RunningDunes
let first: Hex
const CLAIMS = ['--require', 'contributorSigned,receiptSigned']

beforeAll(async () => {
  ;[world, database] = await Promise.all([startWorld(1), testDatabase({ migrated: false })])
  dunes = await runDunes(world, database.url)
  await dunes.up()
  first = await dunes.anchored(41)
  await dunes.ask('prove', first, '-o', 'before.json')
}, 180_000)

afterAll(async () => {
  await dunes?.stop()
  await database?.stop()
  await world?.stop()
})

const verify = (bundle: string, ...more: string[]) =>
  dunes.shell.dunes('verify', bundle, '--rpc', world.rpcUrl, ...CLAIMS, ...more)
const policy = (): TrustPolicy =>
  JSON.parse(readFileSync(dunes.file('.dunes/trust-policy.json'), 'utf8')) as TrustPolicy
const key = (name: string) => fromHex(readFileSync(dunes.file(`.dunes/keys/${name}`), 'utf8').trim() as Hex)
const bundle = (name: string) => JSON.parse(readFileSync(dunes.file(name), 'utf8'))
const served = async () => (await fetch(`${dunes.api}/trust-policy.json`)).json()
/** Key ids of the lines of a bundle's checkpoint. */
const lines = (name: string) =>
  parseNote(parseTlogProof(bundle(name).tlogProof).checkpoint).signatures.map(({ keyId }) => keyId)

it('replaces the receipt key while the indexer runs: the old one keeps its indices, the new one signs the rest', async () => {
  const old = key('receipt.key')
  const rotated = await dunes.ask('keys', 'rotate', 'receipt')
  expect(rotated).toMatchObject({ role: 'receipt', upTo: 0, trust_policy: true })
  expect(key('receipt.1.key')).toEqual(old)
  for (const name of ['receipt.key', 'receipt.1.key', 'history.json'])
    expect(statSync(dunes.file(`.dunes/keys/${name}`)).mode & 0o777, name).toBe(0o600)
  expect(policy().receiptKeys.map(({ fromIndex, toIndex }) => [fromIndex, toIndex])).toEqual([
    [0, 0],
    [0, null],
  ])
  expect(await served()).toEqual(policy())
  expect((await verify('before.json')).code).toBe(0)
  const second = await dunes.anchored(42)
  await dunes.ask('prove', second, '-o', 'after.json')
  expect((await verify('after.json')).code).toBe(0)
  const signed = await database.sql`select encode(key_id, 'hex') as id from receipt_signature order by index`
  expect(signed.map(({ id }) => `0x${id}`)).toEqual(
    [old, key('receipt.key')].map((seed) => toHex(sha256(mlDsa.publicKey(65, seed)))),
  )
  // What the old key signs from now on is worth nothing.
  const entry = fromBase64(bundle('after.json').entry)
  const forged = Buffer.from(signEntry(entry, old, mlDsa)).toString('base64')
  writeFileSync(
    dunes.file('forged.json'),
    readFileSync(dunes.file('after.json'), 'utf8').replace(bundle('after.json').receiptSig, forged),
  )
  const no = await verify('forged.json')
  expect([no.code, no.stdout]).toEqual([1, expect.stringMatching(/FAILED\s+receiptSigned/)])
}, 180_000)

it('replaces checkpoint keys: the newest checkpoint is signed again, and old bundles still verify', async () => {
  const before = policy().checkpointVkeys
  expect(await dunes.ask('keys', 'rotate', 'checkpoint-ed25519')).toMatchObject({ upTo: 2 })
  expect(await dunes.ask('keys', 'rotate', 'checkpoint-ml-dsa-44')).toMatchObject({ upTo: 2 })
  const { checkpointVkeys, retiredCheckpointVkeys } = policy()
  expect(checkpointVkeys.filter((vkey) => before.includes(vkey))).toEqual([])
  expect(retiredCheckpointVkeys).toEqual([
    { vkeys: before, toSize: 2 },
    { vkeys: [checkpointVkeys[0], before[1]], toSize: 2 },
  ])
  const ids = checkpointVkeys.map((vkey) => Number.parseInt(vkey.split('+')[1] as string, 16))
  await until('the newest checkpoint to carry the new signatures', async () => {
    const note = await (await fetch(`${dunes.api}/checkpoint`)).text()
    return parseNote(note).signatures.every(({ keyId }) => ids.includes(keyId)) ? true : undefined
  })
  expect(await (await fetch(`${dunes.api}/vkeys`)).text()).toBe(checkpointVkeys.map((v) => `${v}\n`).join(''))
  for (const name of ['before.json', 'after.json']) expect((await verify(name)).code, name).toBe(0)
  await dunes.ask('prove', first, '-o', 'renewed.json')
  expect(lines('renewed.json')).toEqual(ids)
  expect(lines('before.json')).not.toEqual(ids)
  expect((await verify('renewed.json')).code).toBe(0)
  // Without its retired keys, the policy knows nobody who signed the old bundle.
  const { retiredCheckpointVkeys: _, ...bare } = policy()
  writeFileSync(dunes.file('bare.json'), JSON.stringify(bare))
  expect((await verify('before.json', '--policy', 'bare.json')).code).toBe(1)
  expect((await verify('renewed.json', '--policy', 'bare.json')).code).toBe(0)
  expect((await dunes.shell.dunes('fsck')).code).toBe(0)
  expect((await dunes.shell.dunes('mirror', dunes.api, 'copy')).code).toBe(0)
}, 180_000)

it('replaces the anchoring account, through the administrator or after telling what it has to send', async () => {
  const admin = new AnchorAdmin({
    rpcUrl: world.rpcUrl,
    chainId: 31337,
    anchor: world.deployment.anchor,
    privateKey: null,
  })
  const old = privateKeyToAccount(devPrivateKey(1)).address.toLowerCase() as Hex
  // A key that is no administrator's: nothing is replaced, and the transaction to send is told.
  writeFileSync(dunes.file('stranger.key'), `${devPrivateKey(7)}\n`, { mode: 0o600 })
  const told = await dunes.ask('keys', 'rotate', 'anchor', '--admin-key', 'stranger.key')
  expect(told).toMatchObject({ waits: true, to: world.deployment.anchor })
  expect(await admin.mayAnchor(told['account'] as Hex)).toBe(false)
  // On the devnet the administrator's key is known to all.
  const rotated = await dunes.ask('keys', 'rotate', 'anchor')
  expect(rotated['public']).toBe(`account ${told['account']}`)
  expect(await Promise.all([admin.mayAnchor(told['account'] as Hex), admin.mayAnchor(old)])).toEqual([
    true,
    false,
  ])
  expect(statSync(dunes.file('anchor.key')).mode & 0o777).toBe(0o600)
  await dunes.down()
  await dunes.up()
  const third = await dunes.anchored(43)
  const [anchor] = await database.sql`select encode(tx, 'hex') as tx from anchor order by seq desc limit 1`
  expect(await world.rpc('eth_getTransactionByHash', [`0x${anchor?.['tx']}`])).toMatchObject({
    from: told['account'],
  })
  await dunes.ask('prove', third, '-o', 'third.json')
  expect((await verify('third.json')).code).toBe(0)
}, 180_000)

it('lists the keys and those that were replaced, and never shows a private one', async () => {
  const { stdout } = await dunes.shell.dunes('keys', 'list')
  expect(stdout).toMatch(
    /receipt, replaced\s+ML-DSA-65 key id 0x[0-9a-f]{64}\n {2}kept as\s+receipt\.1\.key\n {2}valid for\s+receipts of indices up to 0\n/,
  )
  expect(stdout.match(/checkpoints of sizes up to 2/g)).toHaveLength(2)
  expect(stdout).toContain('anchor.1.key')
  for (const name of ['receipt.key', 'receipt.1.key', 'checkpoint-ed25519.key'])
    expect(stdout).not.toContain(toHex(key(name)).slice(2))
})

it('refuses what it cannot do', async () => {
  const failed = async (env: Record<string, string>, ...args: string[]) => {
    const kept = { ...dunes.shell.env }
    Object.assign(dunes.shell.env, env)
    const ran = await dunes.shell.dunes('keys', 'rotate', ...args)
    for (const name of Object.keys(env)) delete dunes.shell.env[name]
    Object.assign(dunes.shell.env, kept)
    return [ran.code, ran.stderr]
  }
  expect(await failed({}, 'payload')).toEqual([2, expect.stringContaining('there is no such role')])
  expect(await failed({ DUNES_RECEIPT_KEY: devPrivateKey(9) }, 'receipt')).toEqual([
    2,
    expect.stringContaining('DUNES_RECEIPT_KEY_FILE'),
  ])
  expect(await failed({ DATABASE_URL: '' }, 'receipt')).toEqual([
    2,
    expect.stringContaining('no database is set'),
  ])
  writeFileSync(dunes.file('.dunes/keys/history.json'), '{}')
  expect((await dunes.shell.dunes('keys', 'list')).stderr).toContain('history.json cannot be read')
})
