import { copyFileSync, mkdirSync, readdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { createRpc } from '../chain/rpc.ts'
import { DunesError } from '../core/error.ts'
import { createLogger } from '../core/logger.ts'
import { createMetrics } from '../core/metrics.ts'
import { mlDsa } from '../core/ml-dsa-native.ts'
import { readDeployment } from '../graph/cursor.ts'
import { openKeyRing } from '../key-ring.ts'
import { keyFolder } from '../keys.ts'
import { backup as writeBackup } from '../service/backup.ts'
import { createServiceContext } from '../service/context.ts'
import type { Action, Invocation } from './command.ts'
import { withDatabase } from './database.ts'
import { stepLines } from './progress.ts'
import { table } from './text.ts'

/** Writes what cannot be made again from the chain into a folder, and the keys only where that is asked for. */
export const backup: Action = async (call, [given = ''], options) => {
  const path = resolve(call.cwd, given)
  const { config, env, clock, signal } = call
  const done = await withDatabase(call, async (sql) => {
    const deployment = await readDeployment(sql)
    if (!deployment)
      throw new DunesError('NOTHING_INDEXED', 'the database is an index of nothing yet', {
        hint: 'start the indexer first, or check DATABASE_URL',
      })
    const keys = openKeyRing(config, env, deployment.origin, mlDsa)()
    const ctx = createServiceContext({
      sql,
      logger: createLogger('silent'),
      metrics: createMetrics(),
      clock,
      mlDsa,
      deployment,
      rpc: createRpc({ urls: config.rpcUrls, chainId: config.chainId }),
      receiptKeys: keys.receiptKeys,
      checkpointVkeys: keys.checkpointVkeys,
      retiredCheckpointVkeys: keys.retiredCheckpointVkeys,
    })
    return writeBackup(ctx, { path, signal, recheck: options['recheck'] === true, progress: stepLines(call) })
  })
  const keys = options['withKeys'] === true ? copyKeys(call, path) : 0
  call.result({ folder: path, ...done, keys }, (value) =>
    table([
      ['folder', value.folder],
      ['log', `${value.size} leaves, root ${value.root}`],
      ['payloads written', value.payloads],
      ['checkpoints', value.checkpoints],
      ['receipt signatures', value.receiptSignatures],
      ['keys', value.keys > 0 ? `${value.keys} files: keep this folder secret` : 'none (--with-keys)'],
      ['SHA-256 of backup.json', value.sha256],
    ]),
  )
  return undefined
}

/** Copies the files of the key folder, readable by the owner alone. Keys in the environment are nowhere to be copied from. */
function copyKeys({ config }: Invocation, path: string): number {
  const from = keyFolder(config)
  const to = join(path, 'keys')
  mkdirSync(to, { recursive: true, mode: 0o700 })
  const names = readdirSync(from).filter((name) => name.endsWith('.key') || name.endsWith('.json'))
  for (const name of names) copyFileSync(join(from, name), join(to, name))
  return names.length
}
