import { privateKeyToAccount } from 'viem/accounts'
import { DEV_CHAIN_ID } from '../chain/dev-accounts.ts'
import { fromHex, type Hex, sha256, toHex } from '../core/bytes.ts'
import { DunesError } from '../core/error.ts'
import { mlDsa } from '../core/ml-dsa-native.ts'
import { connect, type Sql } from '../graph/connect.ts'
import { readDeployment } from '../graph/cursor.ts'
import { type KeyHistory, readHistory } from '../key-history.ts'
import { openKeyRing } from '../key-ring.ts'
import { nextKey, type Rotated, rotateKey } from '../key-rotation.ts'
import { createKeys, keyFolder, keySource, ROLES, type Role, type RoleKeys, readKeys } from '../keys.ts'
import { ed25519Signer, mlDsa44Signer } from '../log/checkpoint.ts'
import { formatVkey } from '../log/vkey.ts'
import { updateTrustPolicy } from '../trust-policy-file.ts'
import { openAnchorAdmin } from './admin.ts'
import type { Action, Invocation, Options } from './command.ts'
import { giveDevnetCurrency } from './identity.ts'
import { table } from './text.ts'

/** Stands where the log's origin goes in a verifier key: keys are listed without asking the chain for it. */
const NAME = 'origin'

/** What may be shown of a key: an address, a key id, or the public part of a verifier key. */
function publicPart(role: Role, key: Uint8Array): string {
  switch (role) {
    case 'anchor':
      return `account ${accountOf(key)}`
    case 'receipt':
      return `ML-DSA-65 key id ${toHex(sha256(mlDsa.publicKey(65, key)))}`
    case 'checkpointEd25519':
      return `Ed25519 ${formatVkey(ed25519Signer(NAME, key).vkey).split('+').at(-1)}`
    case 'checkpointMlDsa44':
      return `ML-DSA-44, SHA-256 of the public key ${toHex(sha256(mlDsa44Signer(NAME, key, mlDsa).vkey.publicKey))}`
  }
}

const accountOf = (key: Uint8Array): Hex => privateKeyToAccount(toHex(key)).address.toLowerCase() as Hex

/** How a role is called on the command line: as its key's file. */
const nameOf = (role: Role): string => ROLES[role].file.replace(/\.key$/, '')

function show(call: Invocation, keys: RoleKeys): void {
  const rows = (Object.keys(ROLES) as Role[]).map((role) => {
    const key = keys[role]
    const { variable, file } = keySource(call.config, role)
    const from = call.env[variable] ? variable : (call.env[`${variable}_FILE`] ?? file)
    return { role, from: key ? from : null, public: key ? publicPart(role, key) : null }
  })
  const replaced = replacedKeys(readHistory(keyFolder(call.config)))
  call.result([...rows, ...replaced], () =>
    [
      ...rows.map((row) =>
        table([
          [nameOf(row.role), row.public ?? 'missing'],
          ['  from', row.from],
        ]),
      ),
      ...replaced.map((row) =>
        table([
          [`${row.role}, replaced`, row.public],
          ['  kept as', row.from],
          ['  valid for', row.valid],
        ]),
      ),
    ].join(''),
  )
}

/** Keys that were replaced, and what they stay valid for. */
function replacedKeys({ receipt, checkpoint, anchor }: KeyHistory) {
  const upTo = (what: string, end: number | null) =>
    end === null ? 'open: a rotation was broken off; run it again' : `${what} up to ${end}`
  return [
    ...receipt.map(({ pub, toIndex, file }) => ({
      role: 'receipt',
      from: file,
      public: `ML-DSA-65 key id ${toHex(sha256(fromHex(pub)))}`,
      valid: upTo('receipts of indices', toIndex),
    })),
    ...checkpoint.map(({ vkeys, toSize, file }) => ({
      role: 'checkpoint',
      from: file,
      public: vkeys.map((vkey) => vkey.split('+').slice(0, 2).join('+')).join(', '),
      valid: upTo('checkpoints of sizes', toSize),
    })),
    ...anchor.map(({ account, file }) => ({
      role: 'anchor',
      from: file,
      public: `account ${account}`,
      valid: 'nothing: what it anchored stays on-chain',
    })),
  ]
}

/** Makes the keys that are missing and shows all of them. */
export const initKeys: Action = async (call) => {
  show(call, createKeys(call.config, call.env))
  return undefined
}

export const listKeys: Action = async (call) => {
  show(call, readKeys(call.config, call.env))
  return undefined
}

/** Replaces the key of one role. The trust policy keeps the old one, for what it has signed. */
export const rotateKeys: Action = async (call, [name = ''], options) => {
  const role = roleOf(name)
  const sql = await openDatabase(call)
  try {
    const deployment = await readDeployment(sql)
    if (!deployment)
      throw new DunesError('NOTHING_INDEXED', 'the database is an index of nothing yet', {
        hint: 'start the indexer once: a key that has signed nothing needs no rotation, only another file',
      })
    const { config, env } = call
    const { origin } = deployment
    const done = role === 'anchor' ? await prepareAnchor(call, options) : null
    if (done?.waits) return undefined
    const rotation = { config, env, mlDsa, origin, logged: () => reached(sql) }
    const rotated = await rotateKey(role, rotation)
    if (role === 'anchor') await finishAnchor(call, options, sql, done?.old as Hex)
    const keys = openKeyRing(config, env, origin, mlDsa)()
    const policy = updateTrustPolicy(config.dataDir, origin, keys)
    const text = publicPart(role, readKeys(config, env)[role] as Uint8Array)
    call.result({ ...rotated, public: text, trust_policy: policy }, () =>
      table([
        [role, text],
        ['kept as', rotated.kept],
        ['valid for', validFor(rotated)],
        ['trust policy', policy ? 'updated here; tell those who have their own' : 'tell those who have one'],
      ]),
    )
    call.note(NEXT[role])
    return undefined
  } finally {
    await sql.end({ timeout: 5 })
  }
}

/** What is left to do after a rotation. */
const NEXT: Readonly<Record<Role, string>> = {
  receipt:
    'Running processes that read this file sign with the new key from now on. Others: give them the file, and restart.\n',
  checkpointEd25519:
    'A running indexer that reads this file signs its newest checkpoint again with the new key, within seconds.\n',
  checkpointMlDsa44:
    'A running indexer that reads this file signs its newest checkpoint again with the new key, within seconds.\n',
  anchor: 'Restart the indexer: until then it anchors with the old account, which the contract refuses.\n',
}

function validFor({ role, upTo }: Rotated): string {
  if (role === 'anchor') return 'nothing: what the old account anchored stays on-chain'
  if (upTo === null) return 'nothing: it has signed nothing that is logged'
  return role === 'receipt' ? `receipts of indices up to ${upTo}` : `checkpoints of sizes up to ${upTo}`
}

/** A role by its name, or by the name of its file. */
function roleOf(name: string): Role {
  const roles = Object.keys(ROLES) as Role[]
  const role = roles.find((each) => each === name || ROLES[each].file === `${name}.key`)
  if (role) return role
  throw new DunesError('USAGE', 'there is no such role', {
    hint: `roles are ${roles.map((each) => ROLES[each].file.replace(/\.key$/, '')).join(', ')}`,
  })
}

async function openDatabase({ config }: Invocation): Promise<Sql> {
  if (config.databaseUrl) return connect(config.databaseUrl, { max: 1, applicationName: 'dunes keys' })
  throw new DunesError(
    'DATABASE_URL_MISSING',
    'no database is set, and it says what the old key has signed',
    {
      hint: 'set DATABASE_URL; on a devnet run this while it is up',
    },
  )
}

/** Leaves that may have been signed for: those logged here, and those that are known to be anchored. */
async function reached(sql: Sql): Promise<number> {
  const [row] = await sql`
    select greatest(coalesce((select size from log_head), 0), coalesce((select max(size) from anchor), 0))::bigint as size`
  return row?.['size'] as number
}

/**
 * Makes the account that will anchor and lets the contract know it, where the administrator's key is at hand. Otherwise it says
 * what the administrator has to do, and waits for the next run.
 */
async function prepareAnchor(
  call: Invocation,
  options: Options,
): Promise<{ waits: boolean; old: Hex | null }> {
  const { config, env } = call
  const admin = openAnchorAdmin(call, options)
  const old = readKeys(config, env).anchor
  const next = accountOf(nextKey('anchor', call))
  if (config.chainId === DEV_CHAIN_ID) await giveDevnetCurrency(config.rpcUrls[0] as string, next)
  if (await admin.mayAnchor(next)) return { waits: false, old: old && accountOf(old) }
  if (admin.account !== null && admin.account === (await admin.admin())) {
    await admin.setAnchorer(next, true)
    call.note(`Granted the ANCHOR role to ${next}.\n`)
    return { waits: false, old: old && accountOf(old) }
  }
  const data = await admin.anchorerCall(next, true)
  call.result({ role: 'anchor', waits: true, account: next, to: admin.anchor, data }, () =>
    table([
      ['new account', next],
      ['waits for', 'the administrator, who grants it the ANCHOR role'],
      ['  to', admin.anchor],
      ['  data', data],
    ]),
  )
  call.note(
    'Nothing is replaced yet. Send the account currency, let the administrator send that transaction (or name its key with\n' +
      '--admin-key), and run this again.\n',
  )
  return { waits: true, old: null }
}

/** Takes the role from the old account, and forgets its transactions: the new one counts its own. */
async function finishAnchor(call: Invocation, options: Options, sql: Sql, old: Hex): Promise<void> {
  await sql`delete from anchor_tx`
  const admin = openAnchorAdmin(call, options)
  if (!(await admin.mayAnchor(old))) return
  if (admin.account !== null && admin.account === (await admin.admin())) {
    await admin.setAnchorer(old, false)
    call.note(`Took the ANCHOR role from ${old}.\n`)
    return
  }
  call.note(
    `${old} still has the ANCHOR role. Let the administrator send to ${admin.anchor}:\n  ${await admin.anchorerCall(old, false)}\n`,
  )
}
