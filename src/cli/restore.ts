import { resolve } from 'node:path'
import { DunesError } from '../core/error.ts'
import { mlDsa } from '../core/ml-dsa-native.ts'
import type { LogHead } from '../graph/log-store.ts'
import { LogFolder } from '../mirror/folder.ts'
import { parseTrustPolicy, type TrustPolicy } from '../proof/trust-policy.ts'
import { AnchorAdmin } from '../service/anchor-admin.ts'
import { restore as bringBack, type Restored, restorePayloads } from '../service/restore.ts'
import type { Action, Invocation } from './command.ts'
import { withDatabase } from './database.ts'
import { stepLines } from './progress.ts'
import { readPolicy } from './prove.ts'
import { printable, table } from './text.ts'

/** Brings back what a backup, an export or a mirror of the log holds, after all of it was verified. */
export const restore: Action = async (call, [given = ''], options) => {
  const path = resolve(call.cwd, given)
  if (options['payloadsOnly'] === true) return payloadsOf(call, path)
  const { bytes, from } = await readPolicy(call, options)
  const policy = parseTrustPolicy(bytes)
  call.note(`Trusting ${printable(from)} for whose log it must be and who signs it.\n`)
  const anchored = await anchoredHead(call, policy)
  const lines = stepLines(call)
  const restored = await withDatabase(call, (sql) =>
    bringBack({
      sql,
      folder: new LogFolder(path),
      policy,
      anchored,
      mlDsa,
      clock: call.clock,
      signal: call.signal,
      dryRun: options['dryRun'] === true,
      progress: (done, total) => lines('entries', done, total),
    }),
  )
  call.result({ folder: path, dry_run: options['dryRun'] === true, ...restored }, () => render(restored))
  call.note(next(restored, options['dryRun'] === true))
  return undefined
}

async function payloadsOf(call: Invocation, path: string): Promise<undefined> {
  const lines = stepLines(call)
  const payloads = await withDatabase(call, (sql) =>
    restorePayloads({
      sql,
      folder: new LogFolder(path),
      signal: call.signal,
      progress: (done, total) => lines('files of payloads', done, total),
    }),
  )
  call.result({ folder: path, payloads }, () => table([['payloads', payloads]]))
  return undefined
}

/** What the chain holds now; null, and a note, where it does not answer. */
async function anchoredHead(call: Invocation, { anchor, chain }: TrustPolicy): Promise<LogHead | null> {
  const { rpcUrls, chainId } = call.config
  const [rpcUrl = ''] = rpcUrls
  if (chain !== `eip155:${chainId}`)
    throw new DunesError(
      'CHAIN_MISMATCH',
      `the trust policy is about ${chain}, the settings about eip155:${chainId}`,
      {
        hint: 'pass --chain-id, or another --policy',
      },
    )
  try {
    return await new AnchorAdmin({ rpcUrl, chainId, anchor, privateKey: null }).head()
  } catch (error) {
    if (!(error instanceof DunesError && error.code === 'RPC_UNREACHABLE')) throw error
    call.note(
      'The chain does not answer: the copy is not held against what is anchored. The indexer will do that.\n',
    )
    return null
  }
}

const render = (value: Restored): string =>
  table([
    ['copy', `${value.size} leaves, root ${value.root}`],
    ['database', `${value.before} leaves before`],
    ['on-chain', anchoredText(value)],
    [
      'entries',
      `${value.entries} to come, ${value.observed} of them statements that nobody could make again`,
    ],
    ['payloads', value.payloads],
    ['checkpoints', value.checkpoints],
    ['receipt signatures', value.receiptSignatures],
  ])

function anchoredText({ anchored, size, before }: Restored): string {
  if (anchored === null) return 'not asked'
  if (anchored <= size) return `${anchored} leaves are anchored, and are the copy's own`
  const held = Math.max(size, before)
  return anchored <= held
    ? `${anchored} leaves are anchored, more than the copy has`
    : `${anchored} leaves are anchored, ${anchored - held} more than there are here: they are made again from chain and payloads`
}

function next({ entries }: Restored, isTrial: boolean): string {
  if (isTrial) return 'Everything verifies. Nothing was changed.\n'
  return entries > 0
    ? 'Start the indexer: it reads the chain, makes each of these leaves anew, and holds it against what was restored.\n'
    : 'The database had every entry of the copy already.\n'
}
