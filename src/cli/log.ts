import { type Hex, isHex, toHex } from '../core/bytes.ts'
import { DunesError } from '../core/error.ts'
import { openAnchorAdmin } from './admin.ts'
import type { Action, Options } from './command.ts'
import { table } from './text.ts'

const NOBODY: Hex = `0x${'00'.repeat(20)}`

/**
 * Where a log was last good: its anchored head, or the size and root that are named. The root of a smaller size is nothing that the
 * contract knows, so both are named together. Throws `USAGE`.
 */
export function lastGoodOf(
  head: { size: number; root: Uint8Array },
  options: Options,
): { size: number; root: Hex } {
  const { size, root } = options
  const wanted = size === undefined ? head.size : Number(size)
  if (!Number.isSafeInteger(wanted) || wanted < 0)
    throw new DunesError('USAGE', '--size takes a number of leaves', { hint: 'for example --size 1000' })
  if (root === undefined && wanted === head.size) return { size: wanted, root: toHex(head.root) }
  if (isHex(root, 32)) return { size: wanted, root }
  throw new DunesError(
    'USAGE',
    `the anchored size is ${head.size}: of size ${wanted} the root must be given`,
    {
      hint: '--root 0x and 64 hex digits: a signed checkpoint of that size has it, in base64',
    },
  )
}

/** Ends a log for good, from its administrator's account. */
export const closeLog: Action = async (call, _args, options) => {
  const admin = openAnchorAdmin(call, options)
  const [head, origin] = await Promise.all([admin.head(), admin.origin()])
  const { size, root } = lastGoodOf(head, options)
  const given = typeof options['successor'] === 'string' ? options['successor'].toLowerCase() : null
  if (given === null && options['successor'] !== false)
    throw new DunesError('USAGE', 'no successor is named', {
      hint: '--successor ADDRESS of the contract that `dunes deploy --successor-of` made, or --no-successor: a log is closed for good',
    })
  if (given !== null && !isHex(given, 20))
    throw new DunesError('ADDRESS_INVALID', '--successor is not an address', {
      hint: 'give 0x and 40 hex digits',
    })
  const tx = await admin.close((given as Hex | null) ?? NOBODY, size, root)
  call.result({ origin, anchor: admin.anchor, size, root, successor: given, tx }, () =>
    table([
      ['closed', origin],
      ['last good', `size ${size}, root ${root}`],
      ['successor', given ?? 'none'],
      ['transaction', tx],
    ]),
  )
  return undefined
}
