import { printable } from './text.ts'

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
  endpoints?:
    | readonly {
        endpoint: string
        state: string
        why: string | null
        score: number
        latency_ms: number | null
        calls: number
        errors: number
        lies: number
        per_second: number | null
        left: number | null
        in_flight: number
        most_in_flight: number
        head: number | null
      }[]
    | null
  queues?: { searches: number; held_bytes: number } | null
  recheck?: { ranges: number; same: number; refuted: number; unresolved: number; failed: number } | null
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
    ...(status.endpoints ?? []).map(endpointLine),
    ...(status.queues
      ? [
          `  queues    ${count(status.queues.searches)} payloads sought, ${count(status.queues.held_bytes)} bytes held`,
        ]
      : []),
    ...(status.recheck && status.recheck.ranges > 0
      ? [
          `  rechecks  ${count(status.recheck.ranges)}: ${count(status.recheck.same)} the same, ${count(status.recheck.refuted)} refuted, ${count(status.recheck.unresolved)} unresolved, ${count(status.recheck.failed)} not read`,
        ]
      : []),
    status.ready ? '  ready' : `  not ready: ${status.reasons.join('; ')}`,
    '',
  ].join('\n')
}

/** An endpoint in one line: whether it is used, what is left of its budget, and why not. */
function endpointLine(e: NonNullable<StatusView['endpoints']>[number]): string {
  const budget = e.per_second === null ? '' : `, ${e.left} of ${e.per_second} calls left this second`
  const latency = e.latency_ms === null ? '' : `, ${e.latency_ms} ms`
  const head = e.head === null ? '' : `, head ${count(e.head)}`
  const bad = e.errors + e.lies > 0 ? `, ${count(e.errors)} errors, ${count(e.lies)} wrong answers` : ''
  const why = e.why === null ? '' : `: ${printable(e.why)}`
  return `  rpc       ${printable(e.endpoint)}  ${e.state}, score ${e.score}${latency}, ${e.in_flight} of ${e.most_in_flight} in flight${budget}, ${count(e.calls)} calls${bad}${head}${why}`
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
