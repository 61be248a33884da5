import { describe, expect, it } from 'vitest'
import { testAnvil } from '../support/anvil.ts'
import { recordEvidence } from '../support/evidence.ts'
import { expectEvidence } from '../support/expect-evidence.ts'

describe('header, account and storage proofs of a real anvil', () => {
  it.each(['berlin', 'london', 'shanghai', 'cancun', 'osaka'])('%s', async (hardfork) => {
    const anvil = await testAnvil({ args: ['--hardfork', hardfork] })
    try {
      const evidence = await recordEvidence(anvil.url, hardfork)
      expect(evidence.proofs).toHaveLength(3)
      expectEvidence(evidence)
    } finally {
      await anvil.stop()
    }
  })
})
