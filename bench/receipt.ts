import { createHash } from 'node:crypto'
import { sha256 } from '../src/core/bytes.ts'
import { mlDsa } from '../src/core/ml-dsa-native.ts'
import { checkMu } from '../src/receipt/check.ts'
import { parseEntry } from '../src/receipt/entry.ts'
import { judge } from '../src/receipt/judge.ts'
import { makeReceiptEntry } from '../src/receipt/make.ts'
import { buildMu } from '../src/receipt/mu.ts'
import { signEntry } from '../src/receipt/sign.ts'
import { judgeFacts, SIZES, settledFacts, signedPayload } from './fixture.ts'
import { againstTiming, type Figure, latency, measure, must } from './measure.ts'

const native = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest()

/** Entries, and whole `.mu` receipts, beside the hashing of the same bytes. */
export async function benchReceipt(): Promise<Figure[]> {
  const seed = new Uint8Array(32).fill(8)
  const out: Figure[] = []
  for (const size of SIZES) {
    const payload = signedPayload(size)
    const facts = settledFacts(payload)
    const judgement = judge(judgeFacts(payload), { mlDsa })
    const entry = makeReceiptEntry(facts, judgement)
    const signature = signEntry(entry, seed, mlDsa)
    const mu = buildMu(entry, payload, signature)
    must(checkMu(payload, mu).length === 0, 'the receipt differs from its payload')
    if (size === 1) {
      const { build, parse, sign, hash } = await measure({
        build: () => makeReceiptEntry(facts, judgement),
        parse: () => parseEntry(entry),
        sign: () => signEntry(entry, seed, mlDsa),
        hash: () => native(entry),
      })
      out.push(
        latency('entry_build', 'us', build.micros, {
          comparedWith: [againstTiming(build, 'SHA-256 of the entry (native)', hash)],
          note: `${entry.length} bytes; does not depend on the number of readings`,
        }),
        latency('entry_parse', 'us', parse.micros, {
          note: 'strict: what does not re-encode to itself is refused',
        }),
        latency('receipt_sign', 'us', sign.micros, {
          note: `ML-DSA-65, ${mlDsa.name}; once per index and on request, never while ingesting`,
        }),
      )
    }
    const { build, check, portable, hash } = await measure({
      build: () => buildMu(entry, payload, signature),
      check: () => checkMu(payload, mu),
      portable: () => sha256(payload),
      hash: () => native(payload),
    })
    const floors = (timing: typeof build) => [
      againstTiming(timing, 'SHA-256 of the payload (JavaScript)', portable),
      againstTiming(timing, 'SHA-256 of the payload (native)', hash),
    ]
    out.push(
      latency(`mu_build_${size}`, 'us', build.micros, {
        comparedWith: floors(build),
        note: `${mu.length} bytes`,
      }),
      latency(`mu_check_${size}`, 'us', check.micros, { comparedWith: floors(check) }),
    )
  }
  return out
}
