/** One thing that is not as it should be. Values are short texts for people: hashes whole, long texts cut. */
export interface Difference {
  /** The table, or the part of the log. */
  readonly table: string
  /** Which row: a submission's id, `index 7`, `size 12`, and the like. */
  readonly row: string
  readonly field: string
  /** What it must be, as rebuilt. */
  readonly expected: string
  /** What is there. */
  readonly found: string
}

/** Differences and warnings that are kept in full; all are counted. */
const KEPT = 100
/** Characters of one value that are shown. */
const SHOWN = 200

/** Findings as they are kept between two runs. */
export interface FindingsState {
  readonly differences: number
  readonly first: readonly Difference[]
  readonly byTable: Readonly<Record<string, number>>
  readonly warnings: number
  readonly firstWarnings: readonly string[]
}

/** Collects what an audit finds: counts everything and keeps the first of it. */
export class Findings {
  #differences = 0
  #warnings = 0
  readonly #first: Difference[] = []
  readonly #firstWarnings: string[] = []
  readonly #byTable: Record<string, number> = {}

  constructor(state?: FindingsState) {
    if (!state) return
    this.#differences = state.differences
    this.#warnings = state.warnings
    this.#first.push(...state.first)
    this.#firstWarnings.push(...state.firstWarnings)
    Object.assign(this.#byTable, state.byTable)
  }

  get differences(): number {
    return this.#differences
  }

  add(table: string, row: string, field: string, expected: unknown, found: unknown): void {
    this.#differences++
    this.#byTable[table] = (this.#byTable[table] ?? 0) + 1
    if (this.#first.length < KEPT)
      this.#first.push({ table, row, field, expected: shown(expected), found: shown(found) })
  }

  /** Adds a difference unless both are equal; answers whether they are. */
  same(table: string, row: string, field: string, expected: unknown, found: unknown): boolean {
    const equal = expected === found
    if (!equal) this.add(table, row, field, expected, found)
    return equal
  }

  warn(text: string): void {
    this.#warnings++
    if (this.#firstWarnings.length < KEPT) this.#firstWarnings.push(text)
  }

  state(): FindingsState {
    return {
      differences: this.#differences,
      first: [...this.#first],
      byTable: { ...this.#byTable },
      warnings: this.#warnings,
      firstWarnings: [...this.#firstWarnings],
    }
  }
}

function shown(value: unknown): string {
  const text = value === undefined ? 'nothing' : typeof value === 'string' ? value : JSON.stringify(value)
  return text.length > SHOWN ? `${text.slice(0, SHOWN)}...` : text
}
