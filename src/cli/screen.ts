/** A dash is not zero: nobody knows yet. */
const count = (value: number | null): string => (value === null ? '-' : value.toLocaleString('en-US'))

type Count = number | null
/** What of a status is shown. */
export interface StatusView {
  chain: string
  head: { number: number } | null
  indexed: { number: number } | null
  final: { number: number } | null
  lag: { blocks: number; seconds: number } | null
  pending: Count
  settled: Count
  logged: Count
  anchored: Count
  verdicts: { accepted: Count; rejected: Count; reasons: Partial<Record<string, number>> }
  ready: boolean
  reasons: readonly string[]
}

/** The live counts as lines of text: what `npm start` and `dunes status` show. */
export function renderStatus(status: StatusView): string {
  const { verdicts, lag } = status
  const reasons = Object.entries(verdicts.reasons)
    .map(([reason, n = 0]): [string, number] => [reason, n])
    .sort(([, a], [, b]) => b - a)
    .map(([reason, n]) => `    ${String(reason).padEnd(22)}${count(n).padStart(8)}`)
  const behind = lag ? `${count(lag.blocks)} blocks, ${count(lag.seconds)} s` : 'unknown'
  return [
    `  chain     ${status.chain}  head ${status.head ? count(status.head.number) : '-'}  indexed ${status.indexed ? count(status.indexed.number) : '-'}  final ${status.final ? count(status.final.number) : '-'}  lag ${behind}`,
    `  pending   ${count(status.pending).padStart(8)}`,
    `  settled   ${count(status.settled).padStart(8)}`,
    `  accepted  ${count(verdicts.accepted).padStart(8)}`,
    `  rejected  ${count(verdicts.rejected).padStart(8)}`,
    ...reasons,
    `  logged    ${count(status.logged).padStart(8)}`,
    `  anchored  ${count(status.anchored).padStart(8)}`,
    status.ready ? '  ready' : `  not ready: ${status.reasons.join('; ')}`,
    '',
  ].join('\n')
}

/** Columns and rows of a terminal. */
export interface Size {
  columns: number
  rows: number
}

/** Draws text over the text that it drew before, on a terminal; elsewhere it prints it. */
export class Screen {
  #lines = 0
  readonly #write: (text: string) => void
  readonly #size: () => Size | null

  /** `size` answers null where there is no terminal to draw on. */
  constructor(write: (text: string) => void, size: () => Size | null) {
    this.#write = write
    this.#size = size
  }

  draw(text: string): void {
    const size = this.#size()
    if (!size) {
      this.#write(text)
      return
    }
    // A line that wraps, or that has scrolled away, could not be drawn over.
    const lines = text
      .trimEnd()
      .split('\n')
      .slice(0, Math.max(1, size.rows - 1))
      .map((line) => line.slice(0, Math.max(1, size.columns - 1)))
    const up = this.#lines > 0 ? `\u001b[${this.#lines}A\u001b[0J` : ''
    this.#write(`${up}${lines.join('\n')}\n`)
    this.#lines = lines.length
  }
}
