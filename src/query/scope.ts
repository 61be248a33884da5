import { nearest } from './names.ts'

/** A column that a relation of a query has. */
export interface Column {
  name: string
  /** How many values of a dataset its text may be made of, at most: what bounds what nested calls build up. */
  weight: number
  /** Whether it may be of type `json`, which has no order. */
  json: boolean
  /** Whether its values are as a dataset has them. */
  stored: boolean
}

/** A hidden column of a query's result that holds the leaf index of the submission that a row comes from. */
export interface HiddenLeaf {
  dataset: string
  column: string
}

/** Where a row of one SELECT comes from, before it is known whether its result keeps rows apart. */
export interface Carrier {
  dataset: string
  /** The leaf index, as an expression. */
  leaf: string
  /** Name of the hidden column of the relation that has it; null for a dataset's own `leaf_index`. */
  hidden: string | null
  /** Name of the relation. */
  relation: string
  /** The time of the reading, as an expression, where the relation is the dataset itself. */
  time: string | null
}

/** One relation in a FROM under the name by which it is referred to. */
export interface Source {
  name: string
  columns: readonly Column[]
  /** Hidden columns that `*` brings along besides. */
  hidden: number
}

/** A common table expression: written down when something first refers to it. */
export interface Cte {
  name: string
  write: (want: boolean) => { columns: readonly Column[]; carried: readonly HiddenLeaf[]; hidden: number }
}

/** What one SELECT can refer to. */
export class Scope {
  readonly parent: Scope | null
  readonly sources: Source[] = []
  readonly ctes = new Map<string, Cte>()
  /** Names of its output columns, for GROUP BY and ORDER BY. */
  readonly labels = new Set<string>()

  constructor(parent: Scope | null) {
    this.parent = parent
  }

  cte(name: string): Cte | null {
    return this.ctes.get(name) ?? this.parent?.cte(name) ?? null
  }

  /** Every relation of this name here and further out. */
  named(name: string): Source[] {
    const own = this.sources.filter((source) => source.name === name)
    return this.parent ? [...own, ...this.parent.named(name)] : own
  }

  /** Every column of this name here and further out. */
  columns(name: string): Column[] {
    const own = this.sources.flatMap((source) => source.columns.filter((column) => column.name === name))
    return this.parent ? [...own, ...this.parent.columns(name)] : own
  }

  hasLabel(name: string): boolean {
    return this.labels.has(name) || (this.parent?.hasLabel(name) ?? false)
  }

  all(): Source[] {
    return this.parent ? [...this.sources, ...this.parent.all()] : this.sources
  }

  /** The known column that is spelled most like `name`. */
  like(name: string): string | null {
    return nearest(
      name,
      this.all().flatMap(({ columns }) => columns.map((column) => column.name)),
    )
  }
}
