import { fromHex, type Hex } from '../../../src/core/bytes.ts'
import type { MlDsa } from '../../../src/core/ml-dsa.ts'
import { type Judgement, judge } from '../../../src/receipt/judge.ts'
import { makeReceiptEntry, type SettledFacts } from '../../../src/receipt/make.ts'
import { DEVNET_POLICY } from '../../../src/receipt/policy.ts'

/** What the `.json` beside a golden receipt says: all that its entry depends on, but payload and schema file. */
export interface Golden {
  judge: {
    uriRefused: boolean
    obtained: boolean
    publicKey: Hex
    possessionValid: boolean
    earlierKeys: Hex[]
    submittedTime: number
  }
  settled: SettledFacts
  indexerKey: Hex
}

export const judgeGolden = (
  { judge: facts, settled }: Golden,
  payload: Uint8Array,
  schema: Uint8Array,
  mlDsa: MlDsa,
): Judgement =>
  judge(
    {
      outcome: settled.outcome,
      chain: settled.chain,
      contributor: settled.contributor,
      sensor: settled.sensor,
      dataset: settled.dataset,
      payload: { sha256: settled.payload.sha256, bytes: Number(settled.payload.bytes) },
      uriRefused: facts.uriRefused,
      bytes: facts.obtained ? payload : null,
      key: { publicKey: fromHex(facts.publicKey), possessionValid: facts.possessionValid },
      earlierKeys: facts.earlierKeys.map((key) => fromHex(key)),
      schema,
      submittedTime: facts.submittedTime,
      policy: DEVNET_POLICY,
    },
    { mlDsa },
  )

export const makeGolden = ({ settled }: Golden, judgement: Judgement): Uint8Array =>
  makeReceiptEntry(settled, judgement)
