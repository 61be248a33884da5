import type { Row } from 'postgres'
import { accountId, evmAccount } from '../chain/ids.ts'
import { ACC_STRIDE } from '../chain/record.ts'
import { registrySlots } from '../chain/slots.ts'
import { fromHex, type Hex, sha256, toHex, u256be } from '../core/bytes.ts'
import { DunesError } from '../core/error.ts'
import { OUTCOMES } from '../graph/schema.ts'
import { accountEvidence, assembleBundle, shareNodes } from '../proof/build.ts'
import { foldItems } from '../proof/fold.ts'
import { type Completeness, type CompletenessItem, MAX_ROWS } from '../proof/rows.ts'
import type { Outcome } from '../receipt/entry.ts'
import type { ServiceContext } from './context.ts'
import { notFound, ServiceError } from './error.ts'
import { readGround, registryProof, sharedEvidence } from './ground.ts'
import { noGround, rowsPart } from './rows.ts'

/** The seqs that are asked for, both included; from the first, and to the last settled one, where left out. */
export interface SeqRange {
  from?: number | undefined
  to?: number | undefined
}

/** A bundle that shows a stretch of a contributor's settled submissions to be whole, and what it comes to. */
export interface CompletenessProof {
  /** 20 bytes of hex. */
  account: Hex
  bytes: Uint8Array
  /** The block as of which all this is. */
  block: { number: number; hash: Hex }
  /** The stretch: from `fromSeq` up to but without `endSeq`. It contains what was asked for. */
  fromSeq: number
  endSeq: number
  /** Of the stretch, how many are anchored. */
  anchored: number
  /** Of all the contributor's submissions. */
  settled: number
  submitted: number
}

/**
 * The bundle of a contributor's (CAIP-10 or bare address) settled submissions from seq `from` to `to`, as of the last final
 * block. It begins at the last accumulator that the registry keeps at or below `from`, and ends at the first at or beyond `to`,
 * or at the head: its length is that of the range and at most 510 more. It is folded here first, so that nothing is handed out
 * which does not hold.
 *
 * Throws `BAD_CHAIN_ID`, `NOT_FOUND`, `BAD_RANGE`, `PROOF_TOO_LARGE`, `NOT_ANCHORED`, `NO_SIGNER`, `CHAIN_UNAVAILABLE`, `ChainError`,
 * and `GRAPH_INCONSISTENT` where what is stored here contradicts the chain.
 */
export async function proveCompleteness(
  ctx: ServiceContext,
  id: string,
  range: SeqRange = {},
): Promise<CompletenessProof> {
  const { sql, deployment } = ctx
  const account = evmAccount(id, deployment.chain)
  const [contributor] = await sql`select id from contributor where account = ${fromHex(account)}`
  if (!contributor) throw notFound('contributor', accountId(deployment.chain, account))
  const ground = await readGround(ctx)
  if (!ground || ground.anchor.size > ground.logged) throw noGround()
  const { block, anchor } = ground
  const key = contributor['id'] as number
  const [last] = await sql`
    select seq from submission where contributor = ${key} and seq is not null and settled_block <= ${block.number}
    order by seq desc limit 1`
  const { fromSeq, endSeq } = stretchOf(range, last ? (last['seq'] as number) + 1 : 0)

  const stored = await readItems(ctx, key, fromSeq, endSeq)
  const completeness: Completeness = { contributor: account, fromSeq, items: stored.map(({ item }) => item) }
  const leaves = stored.flatMap(({ item: { index }, entry }) => {
    if (index >= anchor.size) return []
    if (entry === null) throw inconsistent(`leaf ${index} is not stored here`)
    return [{ index, entry }]
  })
  const slots = [
    registrySlots.headCounts(account),
    ...(fromSeq > 0 ? [registrySlots.accAt(account, fromSeq / ACC_STRIDE)] : []),
    last === undefined || endSeq === last['seq'] + 1
      ? registrySlots.acc(account)
      : registrySlots.accAt(account, endSeq / ACC_STRIDE),
  ]
  const [shared, registry, rows] = await Promise.all([
    sharedEvidence(ctx, block),
    registryProof(ctx, slots, block),
    leaves.length > 0 ? rowsPart(ctx, leaves, anchor) : {},
  ])
  const values = new Map(registry.storageProof.map(({ key: slot, value }) => [slot, u256be(BigInt(value))]))
  const { settled, submitted } = checkFold(ctx, completeness, values)
  const evidence = {
    header: shared.header,
    accounts: [accountEvidence(registry), shared.anchor].map(shareNodes),
  }
  const bytes = assembleBundle({ ...rows, completeness, evidence })
  return { account, bytes, block, fromSeq, endSeq, anchored: leaves.length, settled, submitted }
}

/** Widens a range to where accumulators are kept. */
function stretchOf({ from = 0, to }: SeqRange, settled: number): { fromSeq: number; endSeq: number } {
  const until = Math.min(to ?? settled - 1, settled - 1)
  const nothing = settled === 0 && from === 0
  if (!nothing && (from > until || (to !== undefined && to < from))) {
    throw new ServiceError(
      'BAD_RANGE',
      `there is no settled submission from seq ${from}${to === undefined ? '' : ` to ${to}`}`,
      {
        hint: `seqs run from 0; ${settled} submissions of this contributor are settled as of the last final block`,
        details: { settled },
      },
    )
  }
  const fromSeq = from - (from % ACC_STRIDE)
  const endSeq = Math.min(settled, (Math.floor(until / ACC_STRIDE) + 1) * ACC_STRIDE)
  if (endSeq - fromSeq > MAX_ROWS) {
    throw new ServiceError(
      'PROOF_TOO_LARGE',
      `a bundle holds at most ${MAX_ROWS} submissions, this is ${endSeq - fromSeq}`,
      {
        hint: `ask for several ranges with ?from= and to=; ranges that begin at a multiple of ${ACC_STRIDE} fit together`,
        details: { settled, most: MAX_ROWS },
      },
    )
  }
  return { fromSeq, endSeq }
}

async function readItems(
  { sql }: ServiceContext,
  contributor: number,
  fromSeq: number,
  endSeq: number,
): Promise<{ item: CompletenessItem; entry: Uint8Array | null }[]> {
  const rows = await sql`
    select s.submission_id, se.name as sensor, d.name as dataset, s.schema_sha256, s.payload_sha256, s.payload_bytes, s.uri,
           s.key_id, s.submitted_block, s.index, s.outcome, l.entry
    from submission s
    join sensor se on se.id = s.sensor
    join dataset d on d.id = s.dataset
    left join leaf l on l.submission = s.id
    where s.contributor = ${contributor} and s.seq >= ${fromSeq} and s.seq < ${endSeq}
    order by s.seq`
  return rows.map((row) => ({ item: itemOf(row), entry: row['entry'] && new Uint8Array(row['entry']) }))
}

const itemOf = (row: Row): CompletenessItem => ({
  id: toHex(row['submission_id']),
  sensor: row['sensor'],
  dataset: row['dataset'],
  schemaSha256: toHex(row['schema_sha256']),
  payloadHash: toHex(row['payload_sha256']),
  payloadBytes: row['payload_bytes'],
  uriSha256: toHex(sha256(row['uri'])),
  keyId: toHex(row['key_id']),
  submittedBlock: row['submitted_block'],
  index: row['index'],
  outcome: OUTCOMES[(row['outcome'] as number) - 1] as Outcome,
})

/** Folds the items over the slots' values as the endpoint gives them. */
function checkFold(
  { deployment }: ServiceContext,
  completeness: Completeness,
  values: ReadonlyMap<Hex, Uint8Array>,
): { settled: number; submitted: number } {
  try {
    return foldItems(completeness, deployment, (slot) => values.get(slot) as Uint8Array)
  } catch (error) {
    if (error instanceof DunesError) throw inconsistent(error.message)
    throw error
  }
}

const inconsistent = (what: string): DunesError =>
  new DunesError('GRAPH_INCONSISTENT', `the submissions stored here are not those of the chain: ${what}`, {
    hint: 'stop the indexer and run `dunes doctor`',
    exitCode: 3,
  })
