import { DunesError, type DunesErrorOptions } from '../core/error.ts'

/**
 * The base of what this folder throws. Its exit code is 1: a proof that cannot be read or does not hold is an answer
 * ("no"), not a mistake in how a command was called.
 */
export class ProofError extends DunesError {
  override readonly name: string = 'ProofError'
  constructor(
    code: string,
    message: string,
    options: Omit<DunesErrorOptions, 'exitCode' | 'retryable'> = {},
  ) {
    super(code, message, { ...options, exitCode: 1 })
  }
}

/** Bytes that are not canonical RLP, or RLP of another shape than the place demands. */
export class RlpError extends ProofError {
  override readonly name = 'RlpError'
  constructor(message: string, details: Readonly<Record<string, unknown>> = {}) {
    super('RLP_MALFORMED', message, { details })
  }
}

/** A trie proof that does not lead from its root to an answer about its key, or that holds more than that path. */
export class TrieError extends ProofError {
  override readonly name = 'TrieError'
  constructor(code: 'TRIE_PROOF_INVALID' | 'TRIE_NODE_UNUSED', message: string) {
    super(code, message)
  }
}

/** A block header that cannot be read, or is not the trusted one. */
export class HeaderError extends ProofError {
  override readonly name = 'HeaderError'
  constructor(code: 'HEADER_MALFORMED' | 'HEADER_NOT_TRUSTED', message: string) {
    super(code, message)
  }
}

/** A bundle that cannot be read at all, or that carries what no claim uses. */
export class BundleError extends ProofError {
  override readonly name = 'BundleError'
  constructor(
    code:
      | 'BUNDLE_TOO_LARGE'
      | 'BUNDLE_MALFORMED'
      | 'BUNDLE_NOT_CANONICAL'
      | 'BUNDLE_FIELD_UNKNOWN'
      | 'BUNDLE_FIELD_UNSUPPORTED'
      | 'BUNDLE_FIELD_UNUSED',
    message: string,
    options: Omit<DunesErrorOptions, 'exitCode' | 'retryable'> = {},
  ) {
    super(code, message, options)
  }
}

/** What a check inside a claim found wrong; it makes the claim fail and its message is the reason. */
export class ClaimError extends ProofError {
  override readonly name = 'ClaimError'
  constructor(message: string) {
    super('CLAIM_FAILED', message)
  }
}

/** A trust policy that cannot be read. It is the verifier's own file, so the exit code is 2. */
export class PolicyError extends DunesError {
  override readonly name = 'PolicyError'
  constructor(
    message: string,
    options: { details?: Readonly<Record<string, unknown>>; cause?: unknown } = {},
  ) {
    super('POLICY_MALFORMED', message, {
      ...options,
      hint: 'docs/proofs.md describes the trust policy',
      exitCode: 2,
    })
  }
}
