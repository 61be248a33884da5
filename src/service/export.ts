import { utf8 } from '../core/bytes.ts'
import { DunesError } from '../core/error.ts'
import { readPosition } from '../graph/cursor.ts'
import { parseVkey } from '../log/vkey.ts'
import { LogFolder } from '../mirror/folder.ts'
import { type Followed, followLog } from '../mirror/follow.ts'
import type { LogSource } from '../mirror/source.ts'
import { presentAnchor } from './anchors.ts'
import type { ServiceContext } from './context.ts'
import { ServiceError } from './error.ts'
import { latestCheckpoint, readTilePath, verifierKeys } from './log.ts'
import { deploymentTrustPolicy } from './trust-policy.ts'

/** Anchors in one file of an export. */
export const ANCHORS_PER_FILE = 1_000

export interface ExportOptions {
  /** The folder; made if it is not there. */
  path: string
  signal: AbortSignal
  recheck?: boolean
  /** False writes no trust policy where the chain does not answer, and goes on. */
  needsChain?: boolean
  /** Told how many of the new entries are written. */
  progress?: (done: number, total: number) => void
}

export interface Exported extends Followed {
  /** Final anchors in the export. */
  anchors: number
}

/**
 * Writes the whole published log as files that any file server can host (docs/log.md, "As files"): checkpoint, tiles, entry
 * bundles, vkeys, trust policy and the list of final anchors. Only what is new is written; each file appears whole, the checkpoint
 * last; nothing is exported that does not verify. A run that breaks off is taken up by the next.
 *
 * Throws `MirrorError`, `NOT_FOUND` before the first checkpoint, `NO_SIGNER` or `CHAIN_UNAVAILABLE` as the trust policy does.
 */
export async function exportLog(
  ctx: ServiceContext,
  { path, signal, recheck, needsChain = true, progress }: ExportOptions,
): Promise<Exported> {
  const folder = new LogFolder(path)
  const vkeys = verifierKeys(ctx)
  const policy = await deploymentTrustPolicy(ctx).catch((error: unknown) => {
    if (needsChain || !(error instanceof DunesError && error.exitCode === 3)) throw error
    return null
  })
  await latestCheckpoint(ctx)
  await folder.write('vkeys', utf8(vkeys))
  if (policy) await folder.write('trust-policy.json', utf8(`${JSON.stringify(policy, null, 2)}\n`))
  const anchors = await writeAnchors(ctx, folder)
  const followed = await followLog({
    source: ownLog(ctx),
    folder,
    trust: {
      origin: ctx.deployment.origin,
      vkeys: ctx.checkpointVkeys.map(parseVkey),
      retired: ctx.retiredCheckpointVkeys.map(({ vkeys, toSize }) => ({
        vkeys: vkeys.map(parseVkey),
        toSize,
      })),
      mlDsa: ctx.mlDsa,
    },
    clock: ctx.clock,
    signal,
    ...(recheck !== undefined && { recheck }),
    ...(progress && { progress }),
  })
  return { ...followed, anchors }
}

/** The log in our own database, under the addresses of its API. */
const ownLog = (ctx: ServiceContext): LogSource => ({
  name: 'the stored log',
  async read(path) {
    try {
      return path === 'checkpoint' ? utf8(await latestCheckpoint(ctx)) : await readTilePath(ctx, path)
    } catch (error) {
      if (error instanceof ServiceError && error.code === 'NOT_FOUND') return null
      throw error
    }
  },
})

/** `anchors/<n>.json` holds the final anchors with `seq` from 1,000 n on, oldest first. Only the last file ever changes. */
async function writeAnchors({ sql }: ServiceContext, folder: LogFolder): Promise<number> {
  const final = (await readPosition(sql))?.final.number ?? -1
  const pages = (await folder.list('anchors')).map((name) => Number(/^(\d+)\.json$/.exec(name)?.[1] ?? 0))
  for (let page = Math.max(0, ...pages); ; page++) {
    const from = page * ANCHORS_PER_FILE
    const rows = await sql`
      select * from anchor where block <= ${final} and seq >= ${from} and seq < ${from + ANCHORS_PER_FILE} order by seq`
    const items = rows.map((row) => presentAnchor(row, final))
    if (items.length > 0 || page === 0)
      await folder.write(`anchors/${page}.json`, utf8(`${JSON.stringify({ items }, null, 1)}\n`))
    const [more] = await sql`
      select seq from anchor where block <= ${final} and seq >= ${from + ANCHORS_PER_FILE} limit 1`
    if (!more) break
  }
  const [row] = await sql`select count(*)::int as n from anchor where block <= ${final}`
  return (row?.['n'] as number | undefined) ?? 0
}
