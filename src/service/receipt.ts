import { fromHex, type Hex, sha256, toHex } from '../core/bytes.ts'
import { getPayload } from '../graph/payloads.ts'
import { parseEntry } from '../receipt/entry.ts'
import { buildMu } from '../receipt/mu.ts'
import { signEntry } from '../receipt/sign.ts'
import type { ServiceContext } from './context.ts'
import { ServiceError } from './error.ts'
import { type FoundSubmission, findSubmission } from './submissions.ts'

/** A whole receipt file. */
export interface ReceiptFile {
  id: Hex
  bytes: Uint8Array
  /** SHA-256 of the signing key's public key; null in an unsigned receipt, and `unsigned` says why it is. */
  signedBy: Hex | null
  unsigned: 'not anchored yet' | 'no receipt key here' | null
}

/** A receipt signature with the key that made it. */
export interface ReceiptSignature {
  keyId: Uint8Array
  signature: Uint8Array
}

/** Seconds after which to ask again for what the next leaves or the next anchor will bring. */
export const RETRY_SECONDS = 5

/**
 * The `.mu` file of a submission: signed once it is anchored, unsigned before. Throws `BAD_ID`, `NOT_FOUND`,
 * `NOT_LOGGED` before there is an entry, `PAYLOAD_NOT_HELD` where the mirror's payload is gone, and `BUSY`.
 */
export async function receiptFile(ctx: ServiceContext, id: string): Promise<ReceiptFile> {
  const found = await findSubmission(ctx, id)
  const entry = await readEntry(ctx, found)
  const { mirrorSha256, payload } = parseEntry(entry).entry
  const bytes = mirrorSha256 === null ? null : await requirePayload(ctx, payload.sha256)
  const index = found.item.index as number
  const anchored = found.item.state === 'anchored'
  const signature = anchored ? await receiptSignature(ctx, index, entry) : null
  return {
    id: found.item.id,
    bytes: buildMu(entry, bytes, signature?.signature ?? null),
    signedBy: signature && toHex(signature.keyId),
    unsigned: signature ? null : anchored ? 'no receipt key here' : 'not anchored yet',
  }
}

/** The entry of a submission that is in the log. Throws `NOT_LOGGED`. */
export async function readEntry(
  { sql }: ServiceContext,
  { key, item }: FoundSubmission,
): Promise<Uint8Array> {
  const [row] = await sql`select entry from leaf where submission = ${key}`
  if (row) return new Uint8Array(row['entry'])
  throw new ServiceError('NOT_LOGGED', `the submission is ${item.state}: it has no receipt yet`, {
    hint: `ask again in a while; ${item.links.lineage} says what it waits for`,
    retryAfter: RETRY_SECONDS,
  })
}

/** The stored bytes with this SHA-256. Throws `PAYLOAD_NOT_HELD`. */
export async function requirePayload({ sql }: ServiceContext, sha256Hex: Hex): Promise<Uint8Array> {
  const bytes = await getPayload(sql, fromHex(sha256Hex))
  if (bytes) return bytes
  throw new ServiceError('PAYLOAD_NOT_HELD', `no bytes with SHA-256 ${sha256Hex} are stored here`, {
    hint: 'ask the contributor, or fetch them from the URI that was submitted',
  })
}

/** The stored signature over a leaf's entry, or null when nobody has asked for one yet. */
export async function storedSignature(
  { sql }: ServiceContext,
  index: number,
): Promise<ReceiptSignature | null> {
  const [row] = await sql`select key_id, signature from receipt_signature where index = ${index}`
  return row ? { keyId: new Uint8Array(row['key_id']), signature: new Uint8Array(row['signature']) } : null
}

/**
 * The receipt signature of an anchored leaf, made when first asked for and the same ever after. Null where it was never
 * made and this process has no receipt key. Throws `BUSY`.
 */
export async function receiptSignature(
  ctx: ServiceContext,
  index: number,
  entry: Uint8Array,
): Promise<ReceiptSignature | null> {
  const stored = await storedSignature(ctx, index)
  const key = ctx.receiptKey
  if (stored || !key) return stored
  return ctx.signing.run(async () => {
    const made = await storedSignature(ctx, index)
    if (made) return made
    const signature = signEntry(entry, key.seed, ctx.mlDsa)
    // ML-DSA signing is randomised: whoever stores first decides, so that every reader gets the same bytes.
    await ctx.sql`
      insert into receipt_signature (index, key_id, signature)
      values (${index}, ${sha256(key.publicKey)}, ${signature}) on conflict do nothing`
    return storedSignature(ctx, index)
  })
}
