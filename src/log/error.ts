import { DunesError, type DunesErrorOptions } from '../core/error.ts'

/** What went wrong: a caller's argument, a tile that the store does not hold, or text that its format refuses. */
export type LogErrorCode =
  | 'LOG_ARGUMENT'
  | 'TILE_MISSING'
  | 'ENTRY_BUNDLE_MALFORMED'
  | 'NOTE_MALFORMED'
  | 'VKEY_MALFORMED'
  | 'CHECKPOINT_MALFORMED'
  | 'TLOG_PROOF_MALFORMED'

/** The one error that the log's builders and parsers throw. Its verifiers throw nothing and answer a {@link Check}. */
export class LogError extends DunesError {
  override readonly name = 'LogError'
  declare readonly code: LogErrorCode
  constructor(code: LogErrorCode, message: string, options: DunesErrorOptions = {}) {
    super(code, message, options)
  }
}

/** The answer of a verifier: yes, or no and why in one plain phrase. */
export type Check = { ok: true } | { ok: false; reason: string }
