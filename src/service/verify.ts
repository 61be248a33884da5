import { getHeader } from '../chain/blocks.ts'
import { type Hex, isHex, utf8 } from '../core/bytes.ts'
import { DunesError } from '../core/error.ts'
import { decodeAnyBundle } from '../proof/bundle.ts'
import { explainClaim } from '../proof/explain.ts'
import { decodeHeader } from '../proof/header.ts'
import { parseTrustPolicy } from '../proof/trust-policy.ts'
import {
  type ClaimName,
  type ClaimResult,
  DEFAULT_REQUIRED,
  type Facts,
  objections,
  verifyBundle,
} from '../proof/verify.ts'
import type { ServiceContext } from './context.ts'
import { ServiceError } from './error.ts'
import { requireRpc } from './ground.ts'
import { prove } from './prove.ts'
import { deploymentTrustPolicy } from './trust-policy.ts'

/** Bytes of a bundle that is verified on request. */
export const MAX_VERIFIED_BYTES = 1024 * 1024

/** What is to be verified: a submission of this server by its id, or a bundle from anywhere. */
export interface VerifyRequest {
  id?: string | undefined
  /** Text of a bundle. */
  bundle?: string | undefined
  /** Text of the caller's own trust policy; this server's own unless given. */
  trustPolicy?: string | undefined
  /** Hash of a block that the caller trusts; that of this server's chain endpoint unless given. */
  blockHash?: string | undefined
  /** Claims that must be proved besides the default ones. */
  require?: readonly ClaimName[] | undefined
}

/** One claim as it was decided, and what that means in a sentence. */
export type ExplainedClaim = ClaimResult & { meaning: string }

/** A verification that this server made for a caller, and whom the caller trusts by taking its word. */
export interface VerifiedRecord {
  /** Whether nothing failed and everything that must be proved is. */
  ok: boolean
  claims: ExplainedClaim[]
  /** Claims that stand in the way of a yes. */
  objections: ClaimName[]
  facts: Facts
  block: { number: number; hash: Hex }
  trusting: {
    /** Always: the verifier ran here. */
    computation: 'this server'
    trust_policy: 'this server' | 'the caller'
    block_hash: "this server's chain endpoint" | 'the caller'
    sentence: string
  }
}

/**
 * Verifies a bundle here, with the same code as `dunes verify`. Throws `BAD_BUNDLE`, `BAD_ID`, what `prove` throws where an id is
 * given, and `CHAIN_UNAVAILABLE` or `ChainError` where the block hash must come from this server's endpoint.
 */
export async function verifyRecord(ctx: ServiceContext, request: VerifyRequest): Promise<VerifiedRecord> {
  const { id, bundle: text, trustPolicy, blockHash, require = [] } = request
  if ((id === undefined) === (text === undefined)) {
    throw new ServiceError('BAD_BUNDLE', 'either id or bundle must be given, and not both', {
      hint: 'give the id of a submission of this server, or the text of a bundle',
    })
  }
  if (blockHash !== undefined && !isHex(blockHash, 32)) {
    throw new ServiceError('BAD_BUNDLE', 'block_hash is not a block hash', {
      hint: 'give 0x and 64 lower-case hex digits',
    })
  }
  const bundle = text === undefined ? (await prove(ctx, id as string, ['all'])).bytes : utf8(text)
  if (bundle.length > MAX_VERIFIED_BYTES) {
    throw new ServiceError(
      'BAD_BUNDLE',
      `a bundle of more than ${MAX_VERIFIED_BYTES} bytes is not verified here`,
      {
        hint: 'verify it yourself with `dunes verify`',
      },
    )
  }
  const header = unreadable(() => decodeHeader(decodeAnyBundle(bundle).evidence.header), 'the bundle')
  const policy =
    trustPolicy === undefined
      ? await deploymentTrustPolicy(ctx)
      : unreadable(() => parseTrustPolicy(utf8(trustPolicy)), 'the trust policy')
  const trustedBlockHash = blockHash ?? (await ownHash(ctx, header.number))
  const { claims, facts } = unreadable(
    () => verifyBundle({ bundle, policy, trustedBlockHash, mlDsa: ctx.mlDsa }),
    'the bundle',
  )
  const against = objections(claims, [...DEFAULT_REQUIRED, ...require])
  return {
    ok: against.length === 0,
    claims: claims.map((claim) => ({ ...claim, meaning: explainClaim(claim) })),
    objections: against.map(({ name }) => name),
    facts,
    block: { number: header.number, hash: trustedBlockHash },
    trusting: {
      computation: 'this server',
      trust_policy: trustPolicy === undefined ? 'this server' : 'the caller',
      block_hash: blockHash === undefined ? "this server's chain endpoint" : 'the caller',
      sentence: whomToTrust(trustPolicy !== undefined, blockHash !== undefined),
    },
  }
}

function whomToTrust(ownPolicy: boolean, ownHash: boolean): string {
  const words = [
    'its computation',
    ...(ownPolicy ? [] : ['its word for which contracts and keys are the right ones']),
    ...(ownHash ? [] : ['its word for the block hash']),
  ]
  const list = words.length > 1 ? `${words.slice(0, -1).join(', ')} and ${words.at(-1)}` : words[0]
  return `Whoever takes this answer trusts this server: ${list}. To trust nobody here, verify the bundle yourself with \`dunes verify\` or on the page /verify, with a trust policy and a block hash from elsewhere.`
}

async function ownHash(ctx: ServiceContext, number: number): Promise<Hex> {
  const header = await getHeader(requireRpc(ctx), number)
  if (header) return header.hash
  throw new ServiceError('BAD_BUNDLE', `the chain has no block ${number} that the bundle is proved under`, {
    hint: 'the bundle is of another chain; give block_hash and trust_policy of that one',
  })
}

/** Runs `read`; what it refuses is the caller's input, not a fault of ours. */
function unreadable<T>(read: () => T, what: string): T {
  try {
    return read()
  } catch (error) {
    if (!(error instanceof DunesError)) throw error
    throw new ServiceError('BAD_BUNDLE', `${what} cannot be used: ${error.message}`, {
      hint: error.hint ?? 'pass it on unchanged, as it was given out',
      cause: error,
    })
  }
}
