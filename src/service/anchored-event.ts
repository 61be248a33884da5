import { BLOCK_HISTORY, blockHashSlot } from '../chain/block-history.ts'
import { getBlock, getLogProof, getProof, type LogProof } from '../chain/blocks.ts'
import { lacksState } from '../chain/rpc-failure.ts'
import { type Hex, toHex } from '../core/bytes.ts'
import { accountEvidence } from '../proof/build.ts'
import type { AccountEvidence, AnchoredEventEvidence } from '../proof/bundle.ts'
import type { ServiceContext } from './context.ts'
import { ServiceError } from './error.ts'
import { type Ground, inconsistentEndpoint, readHeader, requireRpc } from './ground.ts'

/** The event of the first anchor that covers a leaf, and what a bundle that shows it stands on. */
export interface EventPart {
  anchoredEvent: AnchoredEventEvidence
  /** The anchor of the event: the bundle's checkpoint must be of this very size. */
  anchor: Ground['anchor']
  /** The block of the evidence, and the size that is anchored in its state. */
  block: Ground['block']
  anchoredSize: number
  /** What ties the event's block to that block, where they are not the same. */
  history: AccountEvidence | null
}

interface AnchorRow {
  block: Ground['block']
  logIndex: number
  anchor: Ground['anchor']
}

/**
 * The event of the first anchor that covers leaf `index`, which the ground's anchor covers. The evidence is that of the ground where the
 * state of its block still knows the hash of the event's block, else that of the event's own block, for which the endpoint needs the
 * state of that time.
 *
 * Throws `EVENT_UNPROVABLE` on a chain whose receipts are not Ethereum's, `CHAIN_UNAVAILABLE` or `ChainError`.
 */
export async function eventPart(ctx: ServiceContext, index: number, ground: Ground): Promise<EventPart> {
  const { block, logIndex, anchor } = await readAnchor(ctx, index, ground)
  const found = await logProof(ctx, block, logIndex)
  const event = { transaction: found.transaction, log: found.log, proof: [...found.proof] }
  if (block.hash !== ground.block.hash) {
    const history = await historyOf(ctx, block, ground.block)
    if (history) {
      const header = await readHeader(requireRpc(ctx), block)
      const { size } = ground.anchor
      return { anchoredEvent: { header, ...event }, anchor, block: ground.block, anchoredSize: size, history }
    }
  }
  // Where a block holds several anchors its state has the last one's size.
  const [last] = await ctx.sql`select max(size) as size from anchor where block <= ${block.number}`
  return { anchoredEvent: event, anchor, block, anchoredSize: last?.['size'], history: null }
}

async function readAnchor({ sql }: ServiceContext, index: number, ground: Ground): Promise<AnchorRow> {
  const [row] = await sql`
    select a.size, a.root, a.block, a.block_hash, a.log_index, k.root as signed_root, k.note
    from anchor a left join checkpoint k on k.size = a.size
    where a.size > ${index} and a.size <= ${ground.anchor.size} order by a.size limit 1`
  if (!row) throw inconsistentEndpoint(ground.block.number)
  const { size, note } = row
  return {
    block: { number: row['block'], hash: toHex(row['block_hash']) },
    logIndex: row['log_index'],
    anchor: {
      size,
      root: new Uint8Array(row['root']),
      checkpoint: note === null ? null : { root: new Uint8Array(row['signed_root']), note },
    },
  }
}

/** The evidence that the state of `at` holds the hash of `block`; null where it does not, or not any more. */
async function historyOf(
  ctx: ServiceContext,
  block: Ground['block'],
  at: Ground['block'],
): Promise<AccountEvidence | null> {
  if (at.number - block.number > BLOCK_HISTORY.window) return null
  const slots = [blockHashSlot(block.number)]
  const proof = await getProof(requireRpc(ctx), BLOCK_HISTORY.address, slots, at.number)
  const [slot] = proof.storageProof
  if (proof.codeHash !== BLOCK_HISTORY.codeHash || BigInt(slot?.value ?? 0) !== BigInt(block.hash))
    return null
  return accountEvidence(proof)
}

/** Proofs kept: a block's receipts may be some megabytes, and neighbours in the log share their anchor. */
const KEPT = 64
const kept = new WeakMap<ServiceContext, Map<string, Promise<LogProof>>>()

/** The proof of a log in a block's receipts, asked of the chain once. */
function logProof(ctx: ServiceContext, block: Ground['block'], logIndex: number): Promise<LogProof> {
  const proofs = kept.get(ctx) ?? new Map<string, Promise<LogProof>>()
  kept.set(ctx, proofs)
  const name = `${block.hash}/${logIndex}`
  const known = proofs.get(name)
  if (known) return known
  const made = readLogProof(ctx, block, logIndex)
  proofs.set(name, made)
  const [oldest] = proofs.keys()
  if (proofs.size > KEPT && oldest !== undefined) proofs.delete(oldest)
  made.catch(() => proofs.delete(name))
  return made
}

/**
 * Waits for evidence under the block of an event. Throws `EVENT_UNPROVABLE` where no endpoint keeps that block's state:
 * most nodes keep the state of the latest blocks alone.
 */
export async function orUnprovable<T>(evidence: Promise<T>, { block, history }: EventPart): Promise<T> {
  try {
    return await evidence
  } catch (error) {
    if (history !== null || !lacksState(error)) throw error
    throw new ServiceError(
      'EVENT_UNPROVABLE',
      `no endpoint here gives out the state of block ${block.number}, in which the anchor was taken`,
      {
        hint: `leave \`event\` out; the last final block knows the hashes of ${BLOCK_HISTORY.window} blocks at most, older anchors need an archive node`,
        cause: error,
      },
    )
  }
}

async function readLogProof(ctx: ServiceContext, block: { hash: Hex; number: number }, logIndex: number) {
  const rpc = requireRpc(ctx)
  const full = await getBlock(rpc, block.hash)
  if (full === null) throw inconsistentEndpoint(block.number)
  const proof = await getLogProof(rpc, full, logIndex)
  if (proof) return proof
  throw new ServiceError(
    'EVENT_UNPROVABLE',
    `block ${block.number} has receipts of another kind than Ethereum's`,
    { hint: 'leave `event` out: no event of this chain can be proved here' },
  )
}
