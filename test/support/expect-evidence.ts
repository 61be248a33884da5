import { expect } from 'vitest'
import { blockHeaderRlp, type RawHeader } from '../../src/chain/header.ts'
import { fromHex, toHex } from '../../src/core/bytes.ts'
import { readTrustedHeader } from '../../src/proof/header.ts'
import { verifyAccount, verifySlot } from '../../src/proof/trie.ts'
import { nodesOf, RECORDED_SLOTS, type RecordedEvidence } from './evidence.ts'

/** Verifies what `recordEvidence` got, from the block's hash down, and compares it with what was stored. */
export function expectEvidence({ block, proofs }: RecordedEvidence): void {
  const header = readTrustedHeader(blockHeaderRlp(block as unknown as RawHeader), fromHex(block.hash, 32))
  expect(header.number).toBe(Number(block.number))
  expect(header.timestamp).toBe(Number(block.timestamp))
  const [contract, funded, absent] = proofs.map((proof) => ({
    proof,
    account: verifyAccount(header.stateRoot, fromHex(proof.address, 20), nodesOf(proof.accountProof)),
  }))

  expect(toHex(contract!.account!.codeHash)).toBe(contract!.proof.codeHash)
  const stored = new Map(RECORDED_SLOTS.map(([slot, value]) => [slot, value]))
  expect(contract!.proof.storageProof.length).toBeGreaterThan(5)
  for (const { key, proof } of contract!.proof.storageProof) {
    const word = verifySlot(contract!.account!.storageRoot, fromHex(key, 32), nodesOf(proof))
    expect(BigInt(toHex(word))).toBe(stored.get(BigInt(key)) ?? 0n)
  }

  expect(toHex(funded!.account!.storageRoot)).toBe(funded!.proof.storageHash)
  expect(absent!.account).toBeNull()
}
