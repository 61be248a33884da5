import { DunesError } from '../core/error.ts'
import type { Place } from '../core/utf8.ts'

/** The only error that reading a MAML file throws: what departs from the grammar, and where (both count from 1). */
export class MamlError extends DunesError {
  override readonly name = 'MamlError'
  readonly line: number
  readonly column: number
  constructor(message: string, place: Place) {
    super('MAML_MALFORMED', `line ${place.line}, column ${place.column}: ${message}`, {
      hint: 'mend the file there; docs/formats.md has the grammar',
      exitCode: 1,
      details: { line: place.line, column: place.column },
    })
    this.line = place.line
    this.column = place.column
  }
}
