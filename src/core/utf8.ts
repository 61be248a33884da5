/**
 * Length in bytes (1 to 4) of the well-formed UTF-8 sequence that starts at `at`, or 0 where none does: the ranges of
 * the Unicode Standard's table 3-7, so no overlong forms, no surrogates and nothing beyond U+10FFFF.
 */
export function sequenceLength(bytes: Uint8Array, at: number): 0 | 1 | 2 | 3 | 4 {
  const first = bytes[at]
  if (first === undefined) return 0
  if (first < 0x80) return 1
  if (first < 0xc2 || first > 0xf4) return 0
  const second = bytes[at + 1] ?? 0
  if (first < 0xe0) return isContinuation(second) ? 2 : 0
  const low = first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80
  const high = first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf
  if (second < low || second > high || !isContinuation(bytes[at + 2] ?? 0)) return 0
  if (first < 0xf0) return 3
  return isContinuation(bytes[at + 3] ?? 0) ? 4 : 0
}

/** Whether `byte` is a UTF-8 continuation byte, 10xxxxxx. */
const isContinuation = (byte: number): boolean => (byte & 0xc0) === 0x80

/** Offset of the first byte that is no part of a well-formed UTF-8 sequence, or -1 where all of `bytes` is UTF-8. */
export function malformedUtf8At(bytes: Uint8Array): number {
  let at = 0
  while (at < bytes.length) {
    const length = sequenceLength(bytes, at)
    if (length === 0) return at
    at += length
  }
  return -1
}

/** A place in a text file: `line` and `column` count from 1, columns in code points, lines end at 0x0A only. */
export interface Place {
  line: number
  column: number
}

/** The place of byte `offset`; total on any bytes, as it counts every byte but continuation bytes as a column. */
export function placeOf(bytes: Uint8Array, offset: number): Place {
  let line = 1
  let column = 1
  const end = Math.min(offset, bytes.length)
  for (let i = 0; i < end; i++) {
    const byte = bytes[i] as number
    if (byte === 0x0a) {
      line++
      column = 1
    } else if (!isContinuation(byte)) column++
  }
  return { line, column }
}
