import type { Row } from 'postgres'
import { registrySlots } from '../chain/slots.ts'
import { decodeUtf8, fromHex, type Hex, sha256, toHex } from '../core/bytes.ts'
import { DunesError } from '../core/error.ts'
import { consistencyProof, inclusionProof } from '../log/proof.ts'
import { formatTlogProof } from '../log/tlog-proof.ts'
import { parseMaml } from '../maml/parse.ts'
import { verifyMaml } from '../maml/sign.ts'
import { accountEvidence, assembleBundle } from '../proof/build.ts'
import type { Bundle } from '../proof/bundle.ts'
import { type EventPart, eventPart, orUnprovable } from './anchored-event.ts'
import { boundsOf, type State, stateOf } from './bounds.ts'
import type { ServiceContext } from './context.ts'
import { notFound, ServiceError } from './error.ts'
import {
  checkpointFor,
  covers,
  GROUND_COLUMNS,
  GROUND_TABLES,
  type Ground,
  groundOf,
  readGround,
  registryProof,
  sharedEvidence,
} from './ground.ts'
import { RETRY_SECONDS, readEntry, receiptSignature, requirePayload } from './receipt.ts'
import { type FoundSubmission, findSubmission, readSubmissionId } from './submissions.ts'
import { tilesOf } from './tiles.ts'

/** What a bundle can carry besides what `included, onChain, anchored` and `appendOnly` need. */
export const INCLUDES = ['payload', 'key', 'receipt', 'uri', 'event'] as const
export type Include = (typeof INCLUDES)[number]

/** A proof bundle and the block under which its evidence stands. */
export interface Proof {
  id: Hex
  bytes: Uint8Array
  block: { number: number; hash: Hex }
}

/**
 * The proof bundle of an anchored submission (docs/proofs.md), over the newest final anchor, with evidence from the last
 * final block. `include` names further parts, each of which must be there; `all` takes those of them that are there and
 * that support their claim, save the event. Payload and key need each other, so either brings both. `event` proves the event of the first
 * anchor that covers the entry, and takes the evidence from that anchor's block where the last final one does not reach it.
 *
 * Throws `BAD_ID`, `NOT_FOUND`, `NOT_ANCHORED`, `PAYLOAD_NOT_HELD`, `NO_SIGNER`, `EVENT_UNPROVABLE`, `CHAIN_UNAVAILABLE`, `BUSY` or
 * `ChainError`.
 */
export async function prove(
  ctx: ServiceContext,
  id: string,
  include: readonly (Include | 'all')[] = [],
): Promise<Proof> {
  const { found, index, ground } = await findProvable(ctx, id)
  const { item } = found
  const account = item.contributor.slice(item.chain.length + 1) as Hex
  const event = include.includes('event') ? await eventPart(ctx, index, ground) : null
  const block = event?.block ?? ground.block
  const [entry, log, evidence] = await Promise.all([
    readEntry(ctx, found),
    event ? eventLogPart(ctx, index, event) : logPart(ctx, index, ground.anchor),
    event ? orUnprovable(evidencePart(ctx, item.id, block), event) : evidencePart(ctx, item.id, block),
  ])
  const extras = include.includes('all')
    ? await everything(ctx, found, account, entry)
    : ((await Promise.all([
        include.includes('payload') || include.includes('key') ? signedPart(ctx, found, account) : {},
        include.includes('receipt') ? receiptPart(ctx, index, entry) : {},
        include.includes('uri') ? uriPart(ctx, found) : {},
      ]).then((parts) => Object.assign({}, ...parts))) as Extras)
  if (event?.history) evidence.accounts.push(event.history)
  return { id: item.id, bytes: assembleBundle({ entry, ...log, ...extras, evidence }), block }
}

/**
 * The inclusion of an anchored submission's entry alone, as a C2SP tlog-proof over the newest final anchor: what verifiers of
 * other logs read. The entry is in the log's entry bundles. Throws as {@link prove} does for the same reasons.
 */
export async function proveInclusion(ctx: ServiceContext, id: string): Promise<{ id: Hex; text: string }> {
  const place = await readPlace(ctx, id)
  const { tlogProof } = await logPart(ctx, place.index, place.ground.anchor)
  return { id: place.id, text: tlogProof }
}

export type Extras = Pick<Bundle, 'payload' | 'publicKey' | 'possession' | 'receiptSig' | 'uri'>

const notAnchored = ({ id, state }: { id: Hex; state: State }): ServiceError =>
  new ServiceError('NOT_ANCHORED', `the submission is ${state}: no final anchor covers it yet`, {
    hint: `ask again in a while; /v1/submissions/${id}/lineage says what it waits for`,
    retryAfter: RETRY_SECONDS,
  })

/** A submission that can be proved, its place in the log, and the ground to prove it on. */
async function findProvable(
  ctx: ServiceContext,
  id: string,
): Promise<{ found: FoundSubmission; index: number; ground: Ground }> {
  const [found, ground] = await Promise.all([findSubmission(ctx, id), readGround(ctx)])
  const { state, index } = found.item
  // The ground is read beside the state and may be the older of the two.
  if (state !== 'anchored' || index === null || !ground || !covers(ground, index))
    throw notAnchored(found.item)
  return { found, index, ground }
}

const PLACE = `
  select s.index, s.settled_block, ${GROUND_COLUMNS}
  from submission s left join (${GROUND_TABLES}) on true where s.submission_id = $1`

/** What {@link findProvable} finds without the submission itself, in one statement. */
async function readPlace(
  { sql }: ServiceContext,
  text: string,
): Promise<{ id: Hex; index: number; ground: Ground }> {
  const id = readSubmissionId(text)
  const [row] = await sql.unsafe(PLACE, [fromHex(id)], { prepare: true })
  if (!row) throw notFound('submission', id)
  const index = row['index'] as number | null
  const state = stateOf(index, boundsOf(row))
  if (state !== 'anchored' || index === null) throw notAnchored({ id, state })
  const ground = groundOf(row)
  if (!covers(ground, index)) throw notAnchored({ id, state })
  return { id, index, ground }
}

/** Inclusion under a signed checkpoint: at the anchored size if that is signed or can be, else at a smaller one. */
async function logPart(
  ctx: ServiceContext,
  index: number,
  anchor: Ground['anchor'],
): Promise<Pick<Bundle, 'tlogProof' | 'consistency'>> {
  return placed(ctx, index, await checkpointFor(ctx, index, anchor), anchor.size)
}

/** Inclusion under the checkpoint of the event's anchor, which the event is about. */
async function eventLogPart(
  ctx: ServiceContext,
  index: number,
  { anchor, anchoredSize, anchoredEvent }: EventPart,
): Promise<Pick<Bundle, 'tlogProof' | 'consistency' | 'anchoredEvent'>> {
  const checkpoint = await checkpointFor(ctx, index, anchor)
  if (checkpoint.size !== anchor.size) {
    throw new ServiceError(
      'NO_SIGNER',
      `no checkpoint of size ${anchor.size} is signed, which the anchor is of, and this process has no key to sign one`,
      { hint: 'ask the indexer itself, or leave `event` out', exitCode: 3 },
    )
  }
  return { ...(await placed(ctx, index, checkpoint, anchoredSize)), anchoredEvent }
}

async function placed(
  ctx: ServiceContext,
  index: number,
  checkpoint: { size: number; note: string },
  anchoredSize: number,
): Promise<Pick<Bundle, 'tlogProof' | 'consistency'>> {
  const readTile = tilesOf(ctx).read
  const [hashes, consistency] = await Promise.all([
    inclusionProof(index, checkpoint.size, readTile),
    checkpoint.size < anchoredSize ? consistencyProof(checkpoint.size, anchoredSize, readTile) : null,
  ])
  return {
    tlogProof: formatTlogProof({ index, hashes, checkpoint: checkpoint.note, extra: null }),
    ...(consistency && { consistency }),
  }
}

async function evidencePart(
  ctx: ServiceContext,
  id: Hex,
  block: Ground['block'],
): Promise<Bundle['evidence']> {
  const [{ header, anchor }, record] = await Promise.all([
    sharedEvidence(ctx, block),
    registryProof(ctx, [registrySlots.record(id)], block),
  ])
  return { header, accounts: [accountEvidence(record), anchor] }
}

/** The payload, and the key that the record names with its proof of possession. */
async function signedPart(
  ctx: ServiceContext,
  { item }: FoundSubmission,
  account: Hex,
): Promise<Required<Pick<Extras, 'payload' | 'publicKey' | 'possession'>>> {
  const [payload, key] = await Promise.all([
    requirePayload(ctx, item.payload.sha256),
    readKey(ctx, item.key_id, account),
  ])
  return {
    payload,
    publicKey: new Uint8Array(key['public_key']),
    possession: { keyIndex: key['key_index'], signature: new Uint8Array(key['possession']) },
  }
}

/** The key that a contributor registered under this id; of several, one with a valid proof of possession. */
export async function readKey({ sql }: ServiceContext, keyId: Hex, account: Hex): Promise<Row> {
  // A key may have been registered more than once; any registration that proves possession will do.
  const [key] = await sql`
    select k.key_index, k.public_key, k.possession, k.possession_valid
    from contributor_key k join contributor c on c.id = k.contributor
    where c.account = ${fromHex(account)} and k.key_id = ${fromHex(keyId)}
    order by k.possession_valid desc, k.key_index limit 1`
  if (key) return key
  throw new DunesError('GRAPH_INCONSISTENT', `no registered key has the id ${keyId}`, { exitCode: 3 })
}

async function receiptPart(
  ctx: ServiceContext,
  index: number,
  entry: Uint8Array,
): Promise<Required<Pick<Extras, 'receiptSig'>>> {
  const made = await receiptSignature(ctx, index, entry)
  if (made) return { receiptSig: made.signature }
  throw new ServiceError('NO_SIGNER', 'the receipt is not signed, and this process has no receipt key', {
    hint: 'ask the indexer itself, or leave `receipt` out',
    exitCode: 3,
  })
}

async function uriPart(
  { sql }: ServiceContext,
  { key, item }: FoundSubmission,
): Promise<Required<Pick<Extras, 'uri'>>> {
  const [row] = await sql`select uri from submission where id = ${key}`
  try {
    return { uri: decodeUtf8(row?.['uri']) }
  } catch {
    throw new ServiceError('NOT_FOUND', `the URI of ${item.id} is not UTF-8, which no bundle can carry`, {
      hint: 'leave `uri` out',
    })
  }
}

/** All extras whose claims hold: a rejected submission still has a bundle that a verifier says yes to. */
async function everything(
  ctx: ServiceContext,
  found: FoundSubmission,
  account: Hex,
  entry: Uint8Array,
): Promise<Extras> {
  const optional = <T extends Extras>(part: Promise<T>): Promise<T | Record<string, never>> =>
    part.catch((error) => {
      if (
        error instanceof ServiceError &&
        ['PAYLOAD_NOT_HELD', 'NO_SIGNER', 'NOT_FOUND'].includes(error.code)
      )
        return {}
      throw error
    })
  // Asked of the key and not of the reason: what was rejected for an earlier one may carry an unproved key as well.
  const key = await readKey(ctx, found.item.key_id, account)
  const [signed, receipt, uri] = await Promise.all([
    key['possession_valid'] ? optional(signedPart(ctx, found, account)) : {},
    optional(receiptPart(ctx, found.item.index as number, entry)),
    optional(uriPart(ctx, found)),
  ])
  return { ...(isSigned(ctx, found.item.payload, signed) ? signed : {}), ...receipt, ...uri }
}

/** Whether `payload` is the one that was declared and parses, signed with `publicKey`: whether a verifier would find it signed. */
export function isSigned(
  { mlDsa }: ServiceContext,
  declared: { sha256: Hex; bytes: number },
  { payload, publicKey }: Pick<Extras, 'payload' | 'publicKey'>,
): boolean {
  if (!payload || !publicKey || payload.length !== declared.bytes) return false
  if (toHex(sha256(payload)) !== declared.sha256) return false
  try {
    return verifyMaml(parseMaml(payload), publicKey, mlDsa)
  } catch (error) {
    if (error instanceof DunesError) return false
    throw error
  }
}
