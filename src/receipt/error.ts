import { DunesError } from '../core/error.ts'
import type { Place } from '../core/utf8.ts'

/** The only error that reading a receipt throws: which part departs from the format, and where (both count from 1). */
export class MuError extends DunesError {
  override readonly name = 'MuError'
  /** The field at fault: `Data`, `Original`, `Timestamp`, a key of the entry's object, `mirror`, `signature` or `file`. */
  readonly field: string
  readonly line: number
  readonly column: number
  constructor(field: string, message: string, place: Place) {
    super('MU_MALFORMED', `line ${place.line}, column ${place.column}, ${field}: ${message}`, {
      hint: 'compare the receipt with its payload (`dunes mu check`) or fetch it again; docs/formats.md has the format',
      exitCode: 1,
      details: { field, line: place.line, column: place.column },
    })
    this.field = field
    this.line = place.line
    this.column = place.column
  }
}
