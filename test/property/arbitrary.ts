import fc from 'fast-check'
import { concat, utf8 } from '../../src/core/bytes.ts'

/** Files put together from fragments of the real thing, which get further into a reader than noise does. */
export const pieces = (fragments: readonly string[]): fc.Arbitrary<Uint8Array> =>
  fc.array(fc.constantFrom(...fragments), { maxLength: 16 }).map((parts) => utf8(parts.join('')))

/** One of `files` with one to three bytes, lines or stretches changed, removed, added, doubled or swapped. */
export function mutated(files: readonly Uint8Array[]): fc.Arbitrary<Uint8Array> {
  const edit = fc.record({
    at: fc.double({ min: 0, max: 1, noNaN: true }),
    length: fc.nat(12),
    kind: fc.constantFrom('flip', 'cut', 'add', 'double', 'line', 'end'),
    bytes: fc.uint8Array({ minLength: 1, maxLength: 6 }),
  })
  return fc
    .tuple(fc.constantFrom(...files), fc.array(edit, { minLength: 1, maxLength: 3 }))
    .map(([file, edits]) => edits.reduce((bytes, change) => apply(bytes, change), file))
}

interface Edit {
  at: number
  length: number
  kind: 'flip' | 'cut' | 'add' | 'double' | 'line' | 'end'
  bytes: Uint8Array
}

function apply(file: Uint8Array, { at, length, kind, bytes }: Edit): Uint8Array {
  const from = Math.floor(at * file.length)
  const to = Math.min(file.length, from + length)
  const [head, middle, tail] = [file.subarray(0, from), file.subarray(from, to), file.subarray(to)]
  if (kind === 'flip')
    return concat(
      head,
      middle.map((byte) => byte ^ (bytes[0] as number)),
      tail,
    )
  if (kind === 'cut') return concat(head, tail)
  if (kind === 'add') return concat(head, bytes, middle, tail)
  if (kind === 'double') return concat(head, middle, middle, tail)
  if (kind === 'end') return file.subarray(0, to)
  const end = file.indexOf(0x0a, from) + 1
  return concat(
    file.subarray(0, end),
    file.subarray(file.lastIndexOf(0x0a, from) + 1, end),
    file.subarray(end),
  )
}
