import type { Row } from 'postgres'
import { type AccountProof, getHeader, getProof } from '../chain/blocks.ts'
import { blockHeaderRlp } from '../chain/header.ts'
import type { Rpc } from '../chain/rpc.ts'
import { anchorSlots } from '../chain/slots.ts'
import { ChainError } from '../chain/source.ts'
import { equalBytes, type Hex, toHex } from '../core/bytes.ts'
import { emptyRoot } from '../log/merkle.ts'
import { accountEvidence } from '../proof/build.ts'
import type { AccountEvidence } from '../proof/bundle.ts'
import { diverged } from './checkpoint.ts'
import type { ServiceContext } from './context.ts'
import { ServiceError } from './error.ts'

/** The newest final block, and the newest anchor in a final block: what proofs stand on. */
export interface Ground {
  block: { number: number; hash: Hex }
  /** Size 0 and the empty tree's root before the first anchor; with the signed checkpoint of that size, if there is one. */
  anchor: { size: number; root: Uint8Array; checkpoint: { root: Uint8Array; note: string } | null }
  /** Leaves of the log that is stored here; fewer than `anchor.size` after a restore from an older state. */
  logged: number
}

/** What {@link groundOf} reads, and the joins that it comes from. */
export const GROUND_COLUMNS = `
  c.final_number, c.final_hash, a.size as anchored, a.root, k.root as signed_root, k.note, h.size as logged`
export const GROUND_TABLES = `
  cursor c
  left join lateral (
    select size, root from anchor where block <= c.final_number order by seq desc limit 1) a on true
  left join checkpoint k on k.size = a.size
  left join log_head h on true`
const READ = `select ${GROUND_COLUMNS} from ${GROUND_TABLES}`

/** Reads the ground in one statement, so that its parts belong together; null before any block is final here. */
export async function readGround({ sql }: ServiceContext): Promise<Ground | null> {
  const [row] = await sql.unsafe(READ, [], { prepare: true })
  return row ? groundOf(row) : null
}

/** The ground in a row of {@link GROUND_COLUMNS}. */
export function groundOf(row: Row): Ground {
  const note = row['note'] as string | null
  return {
    block: { number: row['final_number'], hash: toHex(row['final_hash']) },
    anchor:
      row['anchored'] === null
        ? { size: 0, root: emptyRoot(), checkpoint: null }
        : {
            size: row['anchored'],
            root: new Uint8Array(row['root']),
            checkpoint: note === null ? null : { root: new Uint8Array(row['signed_root']), note },
          },
    logged: row['logged'] ?? 0,
  }
}

/**
 * Whether leaf `index` can be proved on the ground. The log here may have been restored from an older state than the chain's: it cannot
 * prove what it does not hold.
 */
export const covers = ({ anchor, logged }: Ground, index: number): boolean =>
  index < anchor.size && anchor.size <= logged

/**
 * A signed checkpoint over leaf `index`: at the anchored size if that is signed or can be, else the largest smaller one.
 * Throws `NO_SIGNER`, or `LOG_DIVERGED` where the one at the anchored size has another root.
 */
export async function checkpointFor(
  { sql, signCheckpoint }: ServiceContext,
  index: number,
  anchor: Ground['anchor'],
): Promise<{ size: number; note: string }> {
  const { size, root, checkpoint } = anchor
  if (checkpoint) {
    if (!equalBytes(checkpoint.root, root)) throw diverged(size)
    return { size, note: checkpoint.note }
  }
  if (signCheckpoint) return { size, note: await signCheckpoint(size, root) }
  const [newest] = await sql`
    select size, note from checkpoint where size < ${size} and size > ${index} order by size desc limit 1`
  if (newest) return newest as unknown as { size: number; note: string }
  throw new ServiceError(
    'NO_SIGNER',
    'no signed checkpoint covers the submission, and this process has no key to sign one',
    {
      hint: 'ask the indexer itself, or wait for its next checkpoint',
      exitCode: 3,
    },
  )
}

/** The endpoint of this process. Throws `CHAIN_UNAVAILABLE` where it has none. */
export function requireRpc({ rpc }: ServiceContext): Rpc {
  if (rpc) return rpc
  throw new ServiceError('CHAIN_UNAVAILABLE', 'this process has no chain endpoint to take evidence from', {
    hint: 'ask the indexer itself, or start this one with --rpc',
    exitCode: 3,
  })
}

/** What every bundle over one final block shares: its header, and the proof of ReceiptAnchor's head. */
export interface SharedEvidence {
  header: Uint8Array
  anchor: AccountEvidence
}
const shared = new WeakMap<ServiceContext, { hash: Hex; parts: Promise<SharedEvidence> }>()

/** The shared evidence of `block`, asked of the chain once. Throws `CHAIN_UNAVAILABLE` or `ChainError`. */
export function sharedEvidence(ctx: ServiceContext, block: Ground['block']): Promise<SharedEvidence> {
  const rpc = requireRpc(ctx)
  const known = shared.get(ctx)
  if (known?.hash === block.hash) return known.parts
  const parts = Promise.all([
    readHeader(rpc, block),
    getProof(rpc, ctx.deployment.anchor, [anchorSlots.root(), anchorSlots.counts()], block.number),
  ]).then(([header, proof]) => ({ header, anchor: accountEvidence(proof) }))
  const fresh = { hash: block.hash, parts }
  shared.set(ctx, fresh)
  parts.catch(() => shared.get(ctx) === fresh && shared.delete(ctx))
  return parts
}

/** RLP of the header of a final block. Throws `ChainError`. */
export async function readHeader(rpc: Rpc, block: Ground['block']): Promise<Uint8Array> {
  const header = await getHeader(rpc, block.number)
  if (header?.hash === block.hash) return blockHeaderRlp(header)
  throw inconsistentEndpoint(block.number)
}

/** The endpoint has not the block `number` that was indexed as final. */
export const inconsistentEndpoint = (number: number): ChainError =>
  new ChainError(
    'RPC_INCONSISTENT',
    `the endpoint has another block ${number} than the one indexed as final`,
    {
      hint: 'the endpoint is behind or on another branch; try again soon',
      retryable: true,
    },
  )

/** Slots asked for at once: endpoints refuse more than 1,024. */
const SLOTS_AT_ONCE = 1_000

/** The registry's proof of any number of slots, one at least, in their order. Throws as {@link sharedEvidence} does. */
export async function registryProof(
  ctx: ServiceContext,
  slots: readonly Hex[],
  block: Ground['block'],
): Promise<AccountProof> {
  const rpc = requireRpc(ctx)
  const { registry } = ctx.deployment
  const first = await getProof(rpc, registry, slots.slice(0, SLOTS_AT_ONCE), block.number)
  const storageProof = [...first.storageProof]
  for (let at = SLOTS_AT_ONCE; at < slots.length; at += SLOTS_AT_ONCE) {
    const next = await getProof(rpc, registry, slots.slice(at, at + SLOTS_AT_ONCE), block.number)
    storageProof.push(...next.storageProof)
  }
  return { ...first, storageProof }
}
