import type { Hex } from '../../src/core/bytes.ts'
import { behaviourNamed } from './behaviours.ts'
import { behaviourOf } from './host.ts'
import type { Pending } from './watch.ts'

/** Attestations of one transaction, at most: far from a block's gas limit, even where each one settles. */
const MAX_ATTESTATIONS = 64
/** Blocks after which those who were not asked first help out. */
const HELP_BLOCKS = 8

/** What a validator looks at: the chain as far as it was read. */
export interface ValidatorView {
  readonly pending: Iterable<Pending>
  /** Number of the last block that was read. */
  readonly seen: number
  readonly ttl: number
  readonly validators: readonly Hex[]
  readonly hostUrl: string
}

/**
 * What `me` attests to next. For each submission as many validators as its quorum needs are asked first, by its id, so that
 * they share the work; the others join when it has waited for a while. Nobody attests to what is their own, nor twice.
 */
export function attestations(view: ValidatorView, me: Hex): { id: Hex; valid: boolean }[] {
  const out: { id: Hex; valid: boolean }[] = []
  for (const item of view.pending) {
    if (item.contributor === me || item.attested.has(me)) continue
    const name = behaviourOf(view.hostUrl, item.uri)
    const kind = name === null ? undefined : behaviourNamed(name)
    if (kind?.validators === 'ignore') continue
    const waited = view.seen - item.block
    const place = inTurn(view, item).indexOf(me)
    if (waited < HELP_BLOCKS && place >= item.quorum) continue
    // The attestation that settles costs several times the others. Only after those can it be estimated.
    if (waited < HELP_BLOCKS && place === item.quorum - 1 && item.attested.size < place) continue
    out.push({ id: item.id, valid: kind?.validators !== 'reject' })
    if (out.length === MAX_ATTESTATIONS) break
  }
  return out
}

/** A submission that nobody settled in time and that is for `me` to expire, or null. */
export function expiration(view: ValidatorView, me: Hex): Hex | null {
  for (const item of view.pending) {
    const late = view.seen - (item.block + view.ttl)
    if (late > 0 && (late > HELP_BLOCKS || inTurn(view, item)[0] === me)) return item.id
  }
  return null
}

/** The validators that may attest to a submission, in the order in which they are asked: another one first for each id. */
function inTurn({ validators }: ValidatorView, { id, contributor }: Pending): Hex[] {
  const first = Number(BigInt(id) % BigInt(validators.length))
  return [...validators.slice(first), ...validators.slice(0, first)].filter((one) => one !== contributor)
}
