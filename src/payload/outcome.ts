/**
 * Why a payload could not be obtained, as a short code. Kept beside the leaf for people (`PAYLOAD_UNAVAILABLE` is all
 * that enters the leaf), so codes may be added. docs/payloads.md explains each.
 */
export type What =
  | 'uri'
  | 'not-allowed'
  | 'refused-address'
  | 'dns'
  | 'connect'
  | 'tls'
  | 'timeout'
  | 'protocol'
  | 'status'
  | 'redirect'
  | 'encoding'
  | 'too-long'
  | 'too-short'
  | 'hash'
  | 'missing'
  | 'cid'
  | 'gateway'
  | 'busy'
  | 'aborted'

export interface Unavailable {
  kind: 'unavailable'
  what: What
  /** One sentence for people. Printable ASCII where a stranger's text goes into it, and bounded. */
  detail: string
  /** Whether asking again may give another answer without anybody changing the chain or our settings. */
  retryable: boolean
}

/** Bytes with exactly the submitted hash and length, or what happened instead. */
export type FetchOutcome = { kind: 'bytes'; bytes: Uint8Array } | Unavailable

export const unavailable = (what: What, detail: string, retryable: boolean): Unavailable => ({
  kind: 'unavailable',
  what,
  detail,
  retryable,
})

/** The form of an abort reason that says what the attempt's outcome is. */
export class Ended {
  readonly outcome: Unavailable
  constructor(outcome: Unavailable) {
    this.outcome = outcome
  }
}

/** The outcome of an attempt whose signal has aborted: the one it was ended with, else that the caller gave up. */
export function outcomeOfAbort(signal: AbortSignal): Unavailable {
  if (signal.reason instanceof Ended) return signal.reason.outcome
  return unavailable('aborted', 'The attempt was given up before it ended.', true)
}
