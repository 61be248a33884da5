import { isValidCell } from 'h3-js'
import { ServiceError } from './error.ts'

/** The finest resolution of H3. */
const FINEST = 15
/** Where an H3 index keeps its resolution, and the bits of one digit (https://h3geo.org/docs/core-library/h3Indexing). */
const RESOLUTION_SHIFT = 52n
const DIGIT_BITS = 3n

/** An H3 cell's own index and those of all cells within it, as closed ranges of 64-bit indices, one a resolution. */
export interface CellRanges {
  /** 15 hex digits. */
  cell: string
  ranges: readonly (readonly [first: bigint, last: bigint])[]
}

/**
 * Reads an H3 cell in hex, with or without 0x and leading zeros, and works out which indices lie within it: digits of finer
 * resolutions stand behind its own, so at each resolution they are one range. Throws `BAD_CELL`.
 */
export function readCell(text: string): CellRanges {
  const digits = text.replace(/^0x/i, '').replace(/^0+/, '').toLowerCase()
  if (!/^[0-9a-f]{15}$/.test(digits) || !isValidCell(digits)) {
    throw new ServiceError('BAD_CELL', 'not an H3 cell', {
      hint: 'give a cell in hex, such as 8928308280fffff',
    })
  }
  const index = BigInt(`0x${digits}`)
  const own = Number((index >> RESOLUTION_SHIFT) & 15n)
  const ranges: [bigint, bigint][] = []
  for (let resolution = own; resolution <= FINEST; resolution++) {
    const raised = (index & ~(15n << RESOLUTION_SHIFT)) | (BigInt(resolution) << RESOLUTION_SHIFT)
    // Digits that a resolution does not use are 7: those between the cell's and this one run from 0 to 6.
    let first = raised
    let last = raised
    for (let digit = own + 1; digit <= resolution; digit++) {
      const shift = BigInt(FINEST - digit) * DIGIT_BITS
      first &= ~(7n << shift)
      last = (last & ~(7n << shift)) | (6n << shift)
    }
    ranges.push([first, last])
  }
  return { cell: digits.padStart(16, '0'), ranges }
}

/** Whether `index` is the cell of `ranges` or lies within it. */
export const withinCell = ({ ranges }: CellRanges, index: bigint): boolean =>
  ranges.some(([first, last]) => first <= index && index <= last)
