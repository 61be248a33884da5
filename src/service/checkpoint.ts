import { equalBytes } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import { DunesError } from '../core/error.ts'
import type { Sql } from '../graph/connect.ts'
import { readCheckpoint, tileReader, writeCheckpoint } from '../graph/log-store.ts'
import { type CheckpointSigner, signCheckpoint } from '../log/checkpoint.ts'
import { rootAt } from '../log/proof.ts'
import type { ServiceContext } from './context.ts'

/**
 * The `signCheckpoint` of a {@link ServiceContext}: signs an anchored size that nobody has signed yet. It refuses with
 * `LOG_DIVERGED` unless the stored tree has that very root there, so that no two signed checkpoints can contradict each
 * other; `root` is the on-chain one.
 */
export const checkpointSigner =
  (
    sql: Sql,
    origin: string,
    signers: () => readonly CheckpointSigner[],
    clock: Clock,
  ): NonNullable<ServiceContext['signCheckpoint']> =>
  async (size, root) => {
    const own = await rootAt(size, tileReader(sql))
    if (!equalBytes(own, root)) throw diverged(size)
    const timestamp = Math.floor(clock.now() / 1000)
    await writeCheckpoint(sql, size, own, signCheckpoint({ origin, size, root: own, timestamp }, signers()))
    return (await readCheckpoint(sql, size)) as string
  }

/** The stored log and the chain contradict each other: nothing may be signed or proved until somebody has looked. */
export const diverged = (size: number): DunesError =>
  new DunesError('LOG_DIVERGED', `the stored log has another root at size ${size} than the one on-chain`, {
    hint: 'stop the indexer and run `dunes doctor`',
    exitCode: 3,
  })
