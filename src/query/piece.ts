/** An expression as SQL, and what is known of its value. */
export interface Piece {
  sql: string
  /** Whether it can stand beside any operator as it is. */
  atom: boolean
  /** See `Column.weight`. */
  weight: number
  json: boolean
  /** Whether it is a value as a dataset has it, or a cast of one. */
  stored: boolean
}

export const piece = (sql: string, atom: boolean, weight = 1, json = false): Piece => ({
  sql,
  atom,
  weight,
  json,
  stored: false,
})
export const most = (pieces: readonly Piece[]): number =>
  pieces.reduce((max, { weight }) => Math.max(max, weight), 1)
export const sum = (pieces: readonly Piece[]): number =>
  Math.max(
    1,
    pieces.reduce((total, { weight }) => total + weight, 0),
  )
export const sqlOf = (pieces: readonly Piece[]): string => pieces.map(({ sql }) => sql).join(', ')
/** As an operand. */
export const operand = ({ sql, atom }: Piece): string => (atom ? sql : `(${sql})`)
