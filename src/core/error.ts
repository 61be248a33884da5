/** What every refusal and failure of Dunes carries. */
export interface DunesErrorOptions {
  /** What the reader can do next, as one sentence without a final stop. */
  hint?: string
  /** Whether the same call may succeed later with nothing changed on the caller's side. */
  retryable?: boolean
  /** The exit code of a command that ends with this error: 1 verification says no, 2 usage or config, 3 unreachable. */
  exitCode?: 1 | 2 | 3
  /** Facts for machines: positions, limits, names. Never secrets. */
  details?: Readonly<Record<string, unknown>>
  cause?: unknown
}

/** The one base of our errors: a stable upper-case code, a sentence, and what to do next. */
export class DunesError extends Error {
  override readonly name: string = 'DunesError'
  readonly code: string
  readonly hint: string | undefined
  readonly retryable: boolean
  readonly exitCode: 1 | 2 | 3
  readonly details: Readonly<Record<string, unknown>>

  constructor(code: string, message: string, options: DunesErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.hint = options.hint
    this.retryable = options.retryable ?? false
    this.exitCode = options.exitCode ?? 2
    this.details = options.details ?? {}
  }
}

/** Whether a retry of whatever threw `error` may help. Unknown errors count as not retryable. */
export const isRetryable = (error: unknown): boolean => error instanceof DunesError && error.retryable

/** One line for people: message and hint, or the message of a foreign error. */
export function describeError(error: unknown): string {
  if (error instanceof DunesError) return error.hint ? `${error.message}; ${error.hint}` : error.message
  return error instanceof Error ? error.message : String(error)
}
