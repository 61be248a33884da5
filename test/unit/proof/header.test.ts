import { keccak_256 } from '@noble/hashes/sha3.js'
import { describe, expect, it } from 'vitest'
import { blockHeaderRlp, type RawHeader } from '../../../src/chain/header.ts'
import { fromHex, type Hex, toHex } from '../../../src/core/bytes.ts'
import { ProofError } from '../../../src/proof/error.ts'
import { decodeHeader, readTrustedHeader } from '../../../src/proof/header.ts'
import { verifyAccount, verifySlot } from '../../../src/proof/trie.ts'
import { nodesOf, type RecordedEvidence } from '../../support/evidence.ts'
import { expectEvidence } from '../../support/expect-evidence.ts'
import { buildHeader, minimal, rlp } from '../../support/trie.ts'
import recorded from '../../vectors/proof/anvil-evidence.json' with { type: 'json' }

describe('what anvil said under several hard forks', () => {
  it.each(recorded as unknown as RecordedEvidence[])('$hardfork', (evidence) => {
    expectEvidence(evidence)
  })

  it('proves nothing under the state root of another block', () => {
    const [a, b] = recorded as unknown as [RecordedEvidence, RecordedEvidence]
    const proof = a.proofs[0]!
    const check = (block: { stateRoot: Hex }) => () =>
      verifyAccount(fromHex(block.stateRoot), fromHex(proof.address), nodesOf(proof.accountProof))
    expect(check(a.block)()).not.toBeNull()
    expect(check(b.block)).toThrow(ProofError)
  })

  it("proves no slot by another slot's path", () => {
    const { storageHash, storageProof } = (recorded as unknown as RecordedEvidence[])[0]!.proofs[0]!
    const [first, second] = storageProof
    expect(() => verifySlot(fromHex(storageHash), fromHex(first!.key), nodesOf(second!.proof))).toThrow(
      ProofError,
    )
  })
})

describe('decodeHeader', () => {
  const parts = { stateRoot: new Uint8Array(32).fill(0xcc), number: 12_345n, timestamp: 1_759_361_400n }

  it.each([15, 16, 17, 20, 21])('reads a header of %i fields', (fields) => {
    const header = buildHeader(parts, fields)
    expect(readTrustedHeader(header.rlp, header.hash)).toEqual({
      hash: keccak_256(header.rlp),
      parentHash: new Uint8Array(32).fill(1),
      stateRoot: parts.stateRoot,
      receiptsRoot: new Uint8Array(32).fill(5),
      number: 12_345,
      timestamp: 1_759_361_400,
    })
  })

  it('reads fields that forks to come may append', () => {
    const { block } = (recorded as unknown as RecordedEvidence[])[0]!
    const known = blockHeaderRlp(block as unknown as RawHeader)
    expect(toHex(decodeHeader(known).stateRoot)).toBe(block.stateRoot)
    const header = buildHeader(parts, 21)
    const longer = rlp(
      [...Array(15).keys()]
        .map((i) => ([8, 11].includes(i) ? minimal(i) : new Uint8Array(32)))
        .concat(new Uint8Array(5)),
    )
    expect(decodeHeader(longer)).toMatchObject({ number: 8, timestamp: 11 })
    expect(decodeHeader(header.rlp).number).toBe(12_345)
  })

  it('refuses the header of any other block', () => {
    const header = buildHeader(parts)
    const other = buildHeader({ ...parts, number: 12_346n })
    expect(() => readTrustedHeader(other.rlp, header.hash)).toThrow('not the header of the trusted block')
    expect(() => readTrustedHeader(header.rlp, header.hash.subarray(1))).toThrow(
      'not the header of the trusted block',
    )
  })

  it.each([
    ['14 fields', () => buildHeader(parts, 14).rlp],
    ['65 fields', () => rlp(Array(65).fill(new Uint8Array(32)))],
    ['no list', () => rlp(new Uint8Array(600))],
    ['a number beyond 2^53 - 1', () => buildHeader({ ...parts, number: 2n ** 53n }).rlp],
    ['a time beyond the year 9999', () => buildHeader({ ...parts, timestamp: 253_402_300_800n }).rlp],
    ['a short state root', () => buildHeader({ ...parts, stateRoot: new Uint8Array(31) }).rlp],
  ])('refuses %s even under its own hash', (_, make) => {
    const bytes = make()
    expect(() => readTrustedHeader(bytes, keccak_256(bytes))).toThrow(ProofError)
  })

  it('refuses a long one before it decodes it', () => {
    expect(() => decodeHeader(rlp(Array(65_537).fill(Uint8Array.of(1))))).toThrow('more than 65536 bytes')
  })
})
