/** Where a log is read from: an HTTP address, or a database. Nothing that it answers is believed before it is checked. */
export interface LogSource {
  /** How people know it, for messages. */
  readonly name: string
  /**
   * The bytes at `path` under the log's prefix, without a leading slash, or null where there is nothing. Throws
   * `RESOURCE_TOO_LARGE` beyond `maxBytes`, and `LOG_UNREACHABLE`.
   */
  read(path: string, maxBytes: number): Promise<Uint8Array | null>
}
