import { readDeployment } from '../chain/deployment.ts'
import { createRpc } from '../chain/rpc.ts'
import { DunesError } from '../core/error.ts'
import { mlDsa } from '../core/ml-dsa-native.ts'
import { connect } from '../graph/connect.ts'
import { readDeployment as readIndexed } from '../graph/cursor.ts'
import { createPayloadFetcher } from '../payload/fetch.ts'
import { type Recheck, recheckSubmission } from '../service/recheck.ts'
import type { Action, Invocation } from './command.ts'
import { printable, table } from './text.ts'

/** Reads one submission again, from the chain and its host, and compares. Exit code 1 on a difference, 3 where not all could be read. */
export const recheck: Action = async (call, [id = '']) => {
  const { config, clock, signal } = call
  if (!config.databaseUrl)
    throw new DunesError('DATABASE_URL_MISSING', 'no database is set', {
      hint: 'set DATABASE_URL to the database that is compared with the chain',
    })
  const sql = await connect(config.databaseUrl, { max: 2, applicationName: 'dunes recheck' })
  try {
    const deployment = await readIndexed(sql)
    if (!deployment)
      throw new DunesError('DATABASE_EMPTY', 'this database indexes nothing yet', {
        hint: 'check DATABASE_URL',
      })
    const rpc = createRpc({ urls: config.rpcUrls, chainId: config.chainId }, { clock })
    // The endpoint must serve the chain that was indexed.
    const { registry, anchor, startBlock } = deployment
    await readDeployment(rpc, { registry, anchor, startBlock })
    const { allowFile, ipfsGateways } = config
    const fetcher = createPayloadFetcher(
      { allowedPrivate: privateHosts(call), allowFile, ipfsGateways },
      { clock },
    )
    const result = await recheckSubmission({ sql, rpc: rpc.pin(), deployment, fetcher, mlDsa }, id, signal)
    call.result(result, render)
    if (!result.same) return 1
    return result.whole ? 0 : 3
  } finally {
    await sql.end({ timeout: 5 })
  }
}

/** Hosts on this machine that payloads may come from: those in the settings, and a running devnet's. */
function privateHosts({ config }: Invocation): string[] {
  const ours = config.sources['rpcUrls'] === 'running devnet'
  const devnet = ours ? [`127.0.0.1:${config.fleetPort}`, `127.0.0.1:${config.port}`] : []
  return [...new Set([...config.allowedPrivate, ...devnet])]
}

function render({ submission, endpoint, same, whole, fields, notes }: Recheck): string {
  const different = fields.filter((field) => !field.same)
  const lines = [
    `submission  ${submission}`,
    `compared    ${fields.length} fields with ${printable(endpoint)} and the payload's host`,
    ...notes.map((note) => `note        ${printable(note)}`),
    '',
  ]
  if (different.length === 0)
    return `${lines.join('\n')}${whole ? 'Everything is as it is stored.' : 'What could be read is as it is stored.'}\n`
  return `${lines.join('\n')}${table(
    different.map(({ field, now, stored }): [string, string] => [
      `DIFFERS  ${field}`,
      `now ${now ?? 'nothing'}, stored ${stored ?? 'nothing'}`,
    ]),
  )}${same ? '' : 'Run `dunes fsck` to look at everything.\n'}`
}
