import { DunesError, type DunesErrorOptions } from '../core/error.ts'

/**
 * Why a log was not followed:
 * - `CHECKPOINT_REFUSED`: its signatures, origin or form are not what the verifier's own keys ask for.
 * - `CHECKPOINT_FROM_FUTURE`: it was signed later than now.
 * - `LOG_SHRUNK`: it is smaller than the tree that is held. An old copy may have answered. Retryable.
 * - `LOG_FORKED`, `LOG_REWRITTEN`: another root at the size that is held; a larger tree that does not extend it.
 * - `TILE_MISMATCH`, `ENTRY_MISMATCH`: what is served is not what the checkpoint's root commits to.
 * - `RESOURCE_MISSING`, `RESOURCE_TOO_LARGE`, `LOG_UNREACHABLE`: the log does not serve it, or not now (retryable).
 * - `FOLDER_UNUSABLE`: the folder holds another log or something else, or cannot be written.
 */
export type MirrorErrorCode =
  | 'CHECKPOINT_REFUSED'
  | 'CHECKPOINT_FROM_FUTURE'
  | 'LOG_SHRUNK'
  | 'LOG_FORKED'
  | 'LOG_REWRITTEN'
  | 'TILE_MISMATCH'
  | 'ENTRY_MISMATCH'
  | 'RESOURCE_MISSING'
  | 'RESOURCE_TOO_LARGE'
  | 'LOG_UNREACHABLE'
  | 'FOLDER_UNUSABLE'

/** The one error of following a log. Exit code 1 where the log is at fault: that is verification saying no. */
export class MirrorError extends DunesError {
  override readonly name = 'MirrorError'
  declare readonly code: MirrorErrorCode
  constructor(code: MirrorErrorCode, message: string, options: DunesErrorOptions = {}) {
    super(code, message, { exitCode: 1, ...options })
  }
}
