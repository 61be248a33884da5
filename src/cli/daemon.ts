import { type Common, compose } from '../compose.ts'
import { DunesError } from '../core/error.ts'
import { createLogger } from '../core/logger.ts'
import { createMetrics } from '../core/metrics.ts'
import { migrate } from '../graph/migrate.ts'
import { makeQueryAccess, queryPasswordFile } from '../query-access.ts'
import { writeTrustPolicy } from '../trust-policy-file.ts'
import type { Action, Invocation } from './command.ts'
import { dryRun } from './dry-run.ts'

const common = ({ config, env, clock }: Invocation): Common => ({
  config,
  env,
  clock,
  logger: createLogger(config.logLevel),
  metrics: createMetrics(),
})

/** Runs a composed process until it is asked to stop, or until indexing cannot go on. */
async function daemon(call: Invocation, parts: { index: boolean; serve: boolean }): Promise<undefined> {
  const { databaseUrl } = call.config
  if (parts.index && databaseUrl) await migrate(databaseUrl)
  const running = await compose(common(call), parts)
  try {
    if (parts.index) await writeTrustPolicy(running.service, call.config.dataDir)
    await Promise.race([
      running.pipeline ? running.finished : new Promise<never>(() => {}),
      new Promise<void>((resolve) => {
        if (call.signal.aborted) resolve()
        else call.signal.addEventListener('abort', () => resolve(), { once: true })
      }),
    ])
  } finally {
    await running.stop()
  }
}

export const start: Action = (call) => daemon(call, { index: true, serve: true })
export const index: Action = async (call, args, options) => {
  if (options['dryRun'] === true) return dryRun(call, args, options)
  if (options['from'] !== undefined || options['to'] !== undefined)
    throw new DunesError('USAGE', '--from and --to belong to --dry-run', {
      hint: 'without it the indexer goes on from what is committed',
    })
  return daemon(call, { index: true, serve: false })
}
export const serve: Action = (call) => daemon(call, { index: false, serve: true })

export const migrateDatabase: Action = async (call, _args, options) => {
  const { databaseUrl } = call.config
  if (!databaseUrl) {
    throw new DunesError('DATABASE_URL_MISSING', 'no database is set', {
      hint: 'set DATABASE_URL; `dunes dev` migrates its own',
    })
  }
  const result = await migrate(databaseUrl)
  if (options['queryRole'] === true) {
    await makeQueryAccess(databaseUrl, call.config.dataDir)
    call.note(
      `Queries run as the role dunes_query; its password is in ${queryPasswordFile(call.config.dataDir)}.\n`,
    )
  }
  call.result(result, ({ ran, total }) =>
    ran.length === 0
      ? `up to date: ${total} ${total === 1 ? 'migration' : 'migrations'}\n`
      : `ran ${ran.join(', ')}; ${total} in all\n`,
  )
  return undefined
}
