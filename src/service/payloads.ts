import { evmAccount } from '../chain/ids.ts'
import { fromHex, type Hex, sha256, toBase64, toHex, utf8 } from '../core/bytes.ts'
import { jcsBytes } from '../core/json.ts'
import { getPayload, putPayload, unsettledPayloadBytes } from '../graph/payloads.ts'
import { MamlError } from '../maml/error.ts'
import { MAML_LIMITS } from '../maml/limits.ts'
import { type MamlPayload, parseMaml } from '../maml/parse.ts'
import { verifyMaml } from '../maml/sign.ts'
import type { ServiceContext } from './context.ts'
import { notFound, ServiceError } from './error.ts'
import { requirePayload } from './receipt.ts'
import { findSubmission } from './submissions.ts'

/** Bytes of the largest payload that is taken, the most that the registry lets anybody declare. */
export const MAX_PAYLOAD_BYTES = MAML_LIMITS.payloadBytes

/** ML-DSA-65 context (FIPS 204 section 5.2) of storage receipts. */
export const STORAGE_CONTEXT = utf8('dunes.storage/v1')

/** What the operator signs when it keeps a payload: a later "unavailable" about these bytes is then provably false. */
export interface StorageStatement {
  v: 1
  chain: string
  /** CAIP-10. */
  contributor: string
  /** Origin of the log whose operator this is. */
  origin: string
  sha256: Hex
  bytes: number
  /** When the bytes were stored, `YYYY-MM-DDTHH:MM:SS.mmmZ`. */
  stored_at: string
}

/** A storage receipt: ML-DSA-65 over the canonical JSON (RFC 8785) of `statement`, context `dunes.storage/v1`. */
export interface StorageReceipt {
  statement: StorageStatement
  /** SHA-256 of the receipt key's public key. */
  key_id: Hex
  /** Padded base64. */
  signature: string
}

/** Reads a SHA-256, 64 hex digits of either case with or without 0x. Throws `BAD_ID`. */
export function readSha256(text: string): Hex {
  const digits = /^(?:0x)?([0-9a-fA-F]{64})$/.exec(text)?.[1]
  if (digits !== undefined) return `0x${digits.toLowerCase()}`
  throw new ServiceError('BAD_ID', 'not a SHA-256', { hint: 'write it as 0x and 64 hex digits' })
}

/** A submission's payload. Throws `BAD_ID`, `NOT_FOUND`, or `PAYLOAD_NOT_HELD`. */
export async function submissionPayload(
  ctx: ServiceContext,
  id: string,
): Promise<{ id: Hex; sha256: Hex; bytes: Uint8Array }> {
  const { item } = await findSubmission(ctx, id)
  const bytes = await requirePayload(ctx, item.payload.sha256)
  // Another submission may have declared the right length for the same hash; for this one they are not its bytes.
  if (bytes.length !== item.payload.bytes) {
    throw new ServiceError(
      'PAYLOAD_NOT_HELD',
      `the submission declares ${item.payload.bytes} bytes, those with its hash are ${bytes.length}`,
      {
        hint: 'the declared length on-chain is wrong; submit again',
      },
    )
  }
  return { id: item.id, sha256: item.payload.sha256, bytes }
}

/** The stored bytes with a SHA-256. Throws `BAD_ID` or `NOT_FOUND`. */
export async function storedPayload(
  { sql }: ServiceContext,
  id: string,
): Promise<{ sha256: Hex; bytes: Uint8Array }> {
  const hash = readSha256(id)
  const bytes = await getPayload(sql, fromHex(hash))
  if (!bytes) throw notFound('payload', hash)
  return { sha256: hash, bytes }
}

/** An upload: the hash that the caller names, the bytes, and who sends them where the front matter does not say it. */
export interface PayloadUpload {
  sha256: string
  bytes: Uint8Array
  /** CAIP-10 id or bare address. */
  contributor?: string | undefined
}

/**
 * Keeps a payload that carries a registered contributor's valid signature, and answers a signed storage receipt;
 * `created` is false when the bytes were here already. Nothing is kept for a caller that is refused: `BAD_ID`,
 * `PAYLOAD_TOO_LARGE`, `PAYLOAD_HASH_MISMATCH`, `PAYLOAD_REFUSED`, `CONTRIBUTOR_NOT_REGISTERED`,
 * `CONTRIBUTOR_KEY_REFUSED`, `QUOTA_EXCEEDED`, `NO_SIGNER`. `BUSY` refuses the receipt alone, when the bytes are kept:
 * the same upload again brings it.
 */
export async function storePayload(
  ctx: ServiceContext,
  upload: PayloadUpload,
): Promise<{ created: boolean; receipt: StorageReceipt }> {
  const { bytes } = upload
  const hash = readSha256(upload.sha256)
  if (!ctx.receiptKey) {
    throw new ServiceError(
      'NO_SIGNER',
      'this process has no receipt key, so it cannot answer for what it stores',
      {
        hint: 'send the payload to the operator of the indexer',
        exitCode: 3,
      },
    )
  }
  if (bytes.length > MAX_PAYLOAD_BYTES) throw tooLarge()
  const actual = sha256(bytes)
  if (toHex(actual) !== hash) {
    throw new ServiceError('PAYLOAD_HASH_MISMATCH', `the body has SHA-256 ${toHex(actual)}`, {
      hint: 'send exactly the bytes that the address names',
      details: { expected: hash, actual: toHex(actual) },
    })
  }
  const payload = parse(bytes)
  const account = await senderOf(ctx, payload, upload.contributor)
  await requireSignature(ctx, payload, account)
  const created = await keep(ctx, actual, bytes, account)
  if (created) ctx.payloadStored(hash)
  return { created, receipt: await storageReceipt(ctx, actual, bytes.length, account) }
}

/** What a body beyond {@link MAX_PAYLOAD_BYTES} is answered with. */
export const tooLarge = (): ServiceError =>
  new ServiceError('PAYLOAD_TOO_LARGE', `a payload has at most ${MAX_PAYLOAD_BYTES} bytes`, {
    hint: 'split the readings over several payloads',
    details: { limit: MAX_PAYLOAD_BYTES },
  })

const refuse = (message: string, hint: string, details: Readonly<Record<string, unknown>> = {}): never => {
  throw new ServiceError('PAYLOAD_REFUSED', message, { hint, details })
}

function parse(bytes: Uint8Array): MamlPayload {
  try {
    return parseMaml(bytes)
  } catch (error) {
    if (!(error instanceof MamlError)) throw error
    return refuse(
      `the body is not a MAML payload: ${error.message}`,
      'run `dunes maml inspect` on the file',
      error.details,
    )
  }
}

async function senderOf(
  { deployment }: ServiceContext,
  { frontMatter }: MamlPayload,
  named: string | undefined,
): Promise<Hex> {
  const text = frontMatter.contributor ?? named
  if (text === undefined)
    return refuse(
      'neither the front matter nor the request says whose payload this is',
      'write `contributor: <CAIP-10 id>` into the front matter, or send the header X-Dunes-Contributor',
    )
  let account: Hex
  try {
    account = evmAccount(text, deployment.chain)
  } catch {
    return refuse(
      `${JSON.stringify(text.slice(0, 160))} is not an account of ${deployment.chain}`,
      `write ${deployment.chain}:0x and 40 hex digits`,
    )
  }
  if (
    named !== undefined &&
    frontMatter.contributor !== undefined &&
    sameAccount(named, deployment.chain) !== account
  )
    return refuse('the header and the front matter name different contributors', 'leave the header out')
  return account
}

const sameAccount = (text: string, chain: string): Hex | null => {
  try {
    return evmAccount(text, chain)
  } catch {
    return null
  }
}

async function requireSignature(
  { sql, mlDsa }: ServiceContext,
  payload: MamlPayload,
  account: Hex,
): Promise<void> {
  const [key] = await sql`
    select k.public_key, k.possession_valid, k.revoked_block from contributor_key k
    join contributor c on c.id = k.contributor
    where c.account = ${fromHex(account)} order by k.key_index desc limit 1`
  if (!key) {
    throw new ServiceError('CONTRIBUTOR_NOT_REGISTERED', `${account} has no registered key`, {
      hint: 'register one with `dunes register`, and wait until its block is indexed',
    })
  }
  if (!key['possession_valid'] || key['revoked_block'] !== null) {
    const why = key['revoked_block'] === null ? 'has no valid proof of possession' : 'is revoked'
    throw new ServiceError('CONTRIBUTOR_KEY_REFUSED', `the current key of ${account} ${why}`, {
      hint: 'register a new one with `dunes rotate`',
    })
  }
  if (!verifyMaml(payload, new Uint8Array(key['public_key']), mlDsa))
    refuse(
      `the payload carries no valid signature of the current key of ${account}`,
      'sign it with `dunes maml sign`',
    )
}

/** True when the bytes are new here. */
const keep = (
  { sql, quotaBytes }: ServiceContext,
  hash: Uint8Array,
  bytes: Uint8Array,
  account: Hex,
): Promise<boolean> =>
  sql.begin(async (tx) => {
    const sender = fromHex(account)
    // One upload of a contributor after another: two at once could both pass a quota that holds only one of them.
    await tx`select pg_advisory_xact_lock(hashtextextended(${`dunes payload quota ${account}`}, 0))`
    const [held] = await tx`select 1 from payload where sha256 = ${hash}`
    if (held) return false
    const used = await unsettledPayloadBytes(tx, sender)
    if (used + bytes.length > quotaBytes) {
      throw new ServiceError(
        'QUOTA_EXCEEDED',
        `${used} of ${quotaBytes} bytes of ${account} wait for their settlement`,
        {
          hint: 'submit what is stored here already; settled payloads do not count',
          retryAfter: 60,
          details: { used, quota: quotaBytes },
        },
      )
    }
    await putPayload(tx, hash, bytes, sender)
    return true
  })

async function storageReceipt(
  ctx: ServiceContext,
  hash: Uint8Array,
  bytes: number,
  account: Hex,
): Promise<StorageReceipt> {
  const { sql, deployment, mlDsa } = ctx
  const { seed, publicKey } = ctx.receiptKey as NonNullable<ServiceContext['receiptKey']>
  const [row] = await sql`select stored_at from payload where sha256 = ${hash}`
  const statement: StorageStatement = {
    v: 1,
    chain: deployment.chain,
    contributor: `${deployment.chain}:${account}`,
    origin: deployment.origin,
    sha256: toHex(hash),
    bytes,
    stored_at: (row as { stored_at: Date }).stored_at.toISOString(),
  }
  const signature = await ctx.signing.run(() => mlDsa.sign(65, seed, jcsBytes(statement), STORAGE_CONTEXT))
  return { statement, key_id: toHex(sha256(publicKey)), signature: toBase64(signature) }
}
