import { evmChainId } from '../chain/ids.ts'
import { ACC_STRIDE, nextAcc, recordHash, ZERO_WORD } from '../chain/record.ts'
import { decodeHeadCounts, registrySlots } from '../chain/slots.ts'
import { type Hex, toHex } from '../core/bytes.ts'
import { ClaimError } from './error.ts'
import type { Completeness, CompletenessItem } from './rows.ts'
import type { TrustPolicy } from './trust-policy.ts'

/** One settled submission that the contributor's hash chain holds. */
export interface FoldStep {
  readonly item: CompletenessItem
  /** The registry's record of it. */
  readonly record: Hex
  /** The contributor's accumulator after it. */
  readonly acc: Hex
}

/** A stretch of a contributor's settled submissions that the registry's slots show to be whole. */
export interface Fold {
  readonly contributor: Hex
  /** The stretch: seq from `fromSeq` up to but without `endSeq`. */
  readonly fromSeq: number
  readonly endSeq: number
  /** In the order of their seq. */
  readonly steps: readonly FoldStep[]
  /** All that the registry counts of the contributor in the trusted block. */
  readonly settled: number
  readonly submitted: number
}

/**
 * Folds the items from where they begin (zero at seq 0, else the `accAt` slot there) to where they end (the head's `acc` if
 * they reach the contributor's settled count, else the `accAt` slot there), as SensorRegistry does at each settling
 * (docs/contracts.md). `slot` answers a proved word of the registry. Throws {@link ClaimError} where the items are not all of
 * that stretch, in order and unaltered, and what `slot` throws.
 */
export function foldItems(
  { contributor, fromSeq, items }: Completeness,
  policy: Pick<TrustPolicy, 'chain' | 'registry'>,
  slot: (key: Hex) => Uint8Array,
): Fold {
  const { settled, submitted } = readCounts(slot(registrySlots.headCounts(contributor)))
  const endSeq = fromSeq + items.length
  if (fromSeq % ACC_STRIDE !== 0)
    throw new ClaimError(`the items begin at seq ${fromSeq}, where the registry keeps no accumulator`)
  if (endSeq > settled)
    throw new ClaimError(
      `the items end at seq ${endSeq}, the registry has settled ${settled} of this contributor`,
    )
  if (endSeq < settled && endSeq % ACC_STRIDE !== 0)
    throw new ClaimError(
      `the items end at seq ${endSeq}, before the ${settled} that are settled and where no accumulator is kept`,
    )
  // Between a point and itself nothing can be missing, and nothing is said.
  if (items.length === 0 && settled > 0)
    throw new ClaimError('there is no item, though submissions are settled')

  const accAt = (seq: number): Hex => toHex(slot(registrySlots.accAt(contributor, seq / ACC_STRIDE)))
  let acc = fromSeq === 0 ? ZERO_WORD : accAt(fromSeq)
  const chainId = evmChainId(policy.chain)
  const steps = items.map((item, i) => {
    const record = recordHash({ ...item, chainId, registry: policy.registry, contributor, seq: fromSeq + i })
    acc = nextAcc(acc, record)
    return { item, record, acc }
  })
  const end = endSeq === settled ? toHex(slot(registrySlots.acc(contributor))) : accAt(endSeq)
  if (acc !== end)
    throw new ClaimError(
      "the items do not fold to the registry's accumulator: one is missing, added, moved or altered",
    )
  return { contributor, fromSeq, endSeq, steps, settled, submitted }
}

function readCounts(word: Uint8Array): { settled: number; submitted: number } {
  try {
    const { seq, submitted } = decodeHeadCounts(word)
    if (submitted >= seq) return { settled: seq, submitted }
  } catch {
    // Said below.
  }
  throw new ClaimError("the contributor's head holds counts that no contract of the pinned code could reach")
}
