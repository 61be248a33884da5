import { type MlDsa, nobleMlDsa } from '../src/core/ml-dsa.ts'
import { mlDsa } from '../src/core/ml-dsa-native.ts'
import { parseMaml } from '../src/maml/parse.ts'
import { parseSchemaFile } from '../src/maml/schema.ts'
import { verifyMaml } from '../src/maml/sign.ts'
import { judge } from '../src/receipt/judge.ts'
import { judgeFacts, PUBLIC_KEY, SCHEMA, SIZES, signedPayload } from './fixture.ts'
import { againstTiming, exact, type Figure, latency, measure, median, must, rounded } from './measure.ts'

/** Believes every signature: the indexer without its cryptography, to find out what that costs. */
export const believing = (by: MlDsa): MlDsa => ({ ...by, verify: () => true, verifyAside: async () => true })

/**
 * The whole verdict on a valid payload, as the indexer's second stage makes it: two hashes of the payload, the strict parse, metadata,
 * signature, schema of every reading, the mirror's hash. Beside it the same without the signature's verification; from the
 * two come the three figures of what security adds.
 */
export async function benchJudge(): Promise<Figure[]> {
  const schema = parseSchemaFile(SCHEMA)
  const tools = (by: MlDsa) => ({
    mlDsa: by,
    schemaFile: () => schema,
  })
  const out: Figure[] = []
  for (const size of SIZES) {
    const bytes = signedPayload(size)
    const facts = judgeFacts(bytes)
    const payload = parseMaml(bytes)
    const using = (by: MlDsa) => {
      const its = tools(by)
      must(judge(facts, its).verdict === 'accepted', 'the payload is not accepted')
      return () => judge(facts, its)
    }
    const { checked, unchecked, bare, noble } = await measure(
      {
        checked: using(mlDsa),
        unchecked: using(believing(mlDsa)),
        bare: () => verifyMaml(payload, PUBLIC_KEY, mlDsa),
        noble: using(nobleMlDsa),
      },
      // Enough calls of the slow ones for a 99th percentile.
      { blockMs: size === 1000 ? 250 : 100 },
    )
    out.push(
      latency(`judge_${size}`, 'us', checked.micros, {
        comparedWith: [againstTiming(checked, `ML-DSA-65 verify alone (${mlDsa.name})`, bare)],
        note: `${bytes.length} bytes; ML-DSA: ${mlDsa.name}`,
      }),
      latency(`judge_${size}_without_signature`, 'us', unchecked.micros, {
        note: 'the same, but every signature is believed',
      }),
      latency(`judge_${size}_noble`, 'us', noble.micros, { note: 'ML-DSA in JavaScript' }),
      exact(
        `security_added_latency_${size}`,
        'us',
        rounded(median(checked.micros) - median(unchecked.micros)),
        {
          samples: checked.micros.length,
          note: 'with signature minus without, at the median',
        },
      ),
      exact(`security_added_cpu_${size}`, '%', rounded(100 * (1 - unchecked.cpuMicros / checked.cpuMicros)), {
        samples: checked.micros.length,
        note: "share of the verdict's CPU time that the signature's verification takes",
      }),
      exact(
        `security_lost_throughput_${size}`,
        '%',
        rounded(100 * (1 - median(checked.rates) / median(unchecked.rates))),
        {
          samples: checked.micros.length,
          note: 'verdicts a second on one thread; the ingest group has the same for the whole indexer',
        },
      ),
    )
  }
  return out
}
