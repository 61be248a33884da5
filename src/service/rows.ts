import { multiProof } from '../log/multi-proof.ts'
import { consistencyProof } from '../log/proof.ts'
import type { RowsBundle } from '../proof/bundle.ts'
import type { Rows } from '../proof/rows.ts'
import type { ServiceContext } from './context.ts'
import { ServiceError } from './error.ts'
import { checkpointFor, type Ground } from './ground.ts'
import { RETRY_SECONDS } from './receipt.ts'
import { tilesOf } from './tiles.ts'

/** A leaf with its entry. */
export interface LeafRow {
  index: number
  entry: Uint8Array
}

/** The part of a bundle that places `leaves` (one at least, ascending, all anchored) under a checkpoint joined to the anchor. */
export async function rowsPart(
  ctx: ServiceContext,
  leaves: readonly LeafRow[],
  anchor: Ground['anchor'],
): Promise<Pick<RowsBundle, 'consistency'> & { rows: Rows }> {
  const indices = leaves.map(({ index }) => index)
  const checkpoint = await checkpointFor(ctx, indices.at(-1) as number, anchor)
  const readTile = tilesOf(ctx).read
  const [nodes, consistency] = await Promise.all([
    multiProof(indices, checkpoint.size, readTile),
    checkpoint.size < anchor.size ? consistencyProof(checkpoint.size, anchor.size, readTile) : null,
  ])
  return {
    rows: { checkpoint: checkpoint.note, indices, entries: leaves.map(({ entry }) => entry), nodes },
    ...(consistency && { consistency }),
  }
}

/** The refusal while there is no ground to prove on, or while the log here is behind the anchor that it would be. */
export const noGround = (): ServiceError =>
  new ServiceError(
    'NOT_ANCHORED',
    'there is no final block and anchor here yet that a proof could stand on',
    {
      hint: 'ask again in a while; /v1/status says how far everything is',
      retryAfter: RETRY_SECONDS,
    },
  )
