import type { Findings } from './findings.ts'
import { contractHash, ZERO } from './hash.ts'
import { hexOf, jsonRows, numberOf, PAGE, type Snapshot } from './rows.ts'
import type { Subject } from './subject.ts'

/** The contract's hash chain over its anchors, and all that must rise from one anchor to the next. */
export async function checkAnchors(db: Snapshot, subject: Subject, findings: Findings): Promise<number> {
  let [seq, size, chain, block, time] = [0, 0, ZERO, 0, 0]
  for (let after = '-9223372036854775808'; ; ) {
    const page = jsonRows(
      await db`
      select to_jsonb(a) || jsonb_build_object('key', a.seq::text) as row from anchor a
      where seq > ${after}::bigint order by seq limit ${PAGE}`,
    )
    for (const anchor of page) {
      after = String(anchor['key'])
      const row = `anchor ${after}`
      const add = (field: string, expected: unknown) =>
        findings.add('anchor', row, field, expected, anchor[field])
      findings.same('anchor', row, 'seq', ++seq, anchor['seq'])
      findings.same('anchor', row, 'previous_size', size, anchor['previous_size'])
      const fields = ['size', 'block', 'time'].map((field) => numberOf(anchor[field]))
      const [newSize, newBlock, newTime] = fields as [number, number, number]
      if (!(newSize > size)) add('size', `more than ${size}`)
      if (!(newBlock >= block)) add('block', `from ${block}`)
      if (!(newTime >= time)) add('time', `from ${time}`)
      if (fields.every((value) => Number.isSafeInteger(value) && value >= 0)) {
        const values = [chain, seq, newSize, hexOf(anchor['root']), newBlock, newTime]
        const next =
          foldable(hexOf(anchor['root'])) && foldable(chain)
            ? contractHash('anchors', [subject.chainId, subject.anchor, ...values])
            : null
        findings.same('anchor', row, 'chain_hash', next, hexOf(anchor['chain_hash']))
      } else add('size', 'integers of a block')
      // Go on from what is stored, so that one wrong row is one finding.
      seq = numberOf(anchor['seq'])
      ;[size, block, time, chain] = [newSize, newBlock, newTime, hexOf(anchor['chain_hash'])]
    }
    if (page.length < PAGE) return seq
  }
}

const foldable = (hex: string): boolean => hex.length === 66
