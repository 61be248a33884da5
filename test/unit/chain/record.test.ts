import fc from 'fast-check'
import {
  concatHex,
  encodeAbiParameters,
  keccak256,
  numberToHex,
  parseAbiParameters,
  sha256,
  stringToHex,
} from 'viem'
import { describe, expect, it } from 'vitest'
import {
  keyPossessionDigest,
  nextAcc,
  nextAnchorChain,
  OUTCOME_NUMBERS,
  recordHash,
  submissionId,
  ZERO_WORD,
} from '../../../src/chain/record.ts'
import { type Hex, toHex } from '../../../src/core/bytes.ts'

const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 }).map(toHex)
const address = fc.uint8Array({ minLength: 20, maxLength: 20 }).map(toHex)
const name = fc.stringMatching(/^[a-z0-9_]{1,32}$/)
const count = fc.oneof(fc.maxSafeNat(), fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }))
const outcome = fc.constantFrom('validated' as const, 'rejected' as const, 'expired' as const)

/** The same hash by viem's general encoder. */
const viemHash = (tag: string, types: string, values: readonly unknown[]): Hex =>
  keccak256(
    encodeAbiParameters(parseAbiParameters(`bytes32, ${types}`), [
      keccak256(stringToHex(`dunes.${tag}/v1`)),
      ...values.map((value) => (typeof value === 'number' ? BigInt(value) : value)),
    ] as never),
  )

const idFields = fc.record({
  chainId: count,
  registry: address,
  contributor: address,
  nonce: count,
  sensor: name,
  payloadHash: bytes32,
  payloadBytes: count,
  uriSha256: bytes32,
})

const recordFields = fc.record({
  chainId: count,
  registry: address,
  id: bytes32,
  contributor: address,
  sensor: name,
  dataset: name,
  schemaSha256: bytes32,
  payloadHash: bytes32,
  payloadBytes: count,
  uriSha256: bytes32,
  keyId: bytes32,
  submittedBlock: count,
  seq: count,
  index: count,
  outcome,
})

const anchorFields = fc.record({
  chainId: count,
  anchor: address,
  seq: count,
  size: count,
  root: bytes32,
  blockNumber: count,
  time: count,
})

describe('hashes of the contracts', () => {
  it("are those of Solidity's abi.encode", () => {
    fc.assert(
      fc.property(idFields, (f) => {
        const types = 'uint256, address, address, uint256, string, bytes32, uint256, bytes32'
        expect(submissionId(f)).toBe(viemHash('submission', types, Object.values(f)))
      }),
    )
    fc.assert(
      fc.property(recordFields, (f) => {
        const types =
          'uint256, address, bytes32, address, string, string, bytes32, bytes32, uint256, bytes32, bytes32, uint256, uint256, uint256, uint256'
        const values = { ...f, outcome: OUTCOME_NUMBERS[f.outcome] }
        expect(recordHash(f)).toBe(viemHash('record', types, Object.values(values)))
      }),
    )
    fc.assert(
      fc.property(bytes32, bytes32, (acc, record) => {
        expect(nextAcc(acc, record)).toBe(viemHash('acc', 'bytes32, bytes32', [acc, record]))
      }),
    )
    fc.assert(
      fc.property(bytes32, anchorFields, (chain, f) => {
        const types = 'uint256, address, bytes32, uint256, uint256, bytes32, uint256, uint256'
        const { chainId, anchor, ...rest } = f
        expect(nextAnchorChain(chain, f)).toBe(
          viemHash('anchors', types, [chainId, anchor, chain, ...Object.values(rest)]),
        )
      }),
    )
  })

  it('change with every field', () => {
    const example = fc.sample(recordFields, { seed: 1, numRuns: 1 })[0]!
    const other = fc.sample(recordFields, { seed: 2, numRuns: 1 })[0]!
    const hashes = Object.keys(example).map((field) =>
      recordHash({
        ...example,
        [field]: { ...other, outcome: example.outcome === 'expired' ? 'validated' : 'expired' }[
          field as 'id'
        ],
      }),
    )
    expect(new Set([recordHash(example), ...hashes]).size).toBe(Object.keys(example).length + 1)
  })

  it('stay what they are', () => {
    const registry: Hex = `0x${'11'.repeat(20)}`
    const contributor: Hex = `0x${'22'.repeat(20)}`
    const hash: Hex = `0x${'33'.repeat(32)}`
    const base = {
      chainId: 31337,
      registry,
      contributor,
      sensor: 'helium_001',
      payloadHash: hash,
      payloadBytes: 500,
      uriSha256: hash,
    }
    const id = submissionId({ ...base, nonce: 7 })
    const record = recordHash({
      ...base,
      id,
      dataset: 'helium_sensors',
      schemaSha256: hash,
      keyId: hash,
      submittedBlock: 12,
      seq: 3,
      index: 9,
      outcome: 'validated',
    })
    expect({
      id,
      record,
      acc: nextAcc(ZERO_WORD, record),
      chain: nextAnchorChain(ZERO_WORD, {
        chainId: 31337,
        anchor: registry,
        seq: 1,
        size: 10,
        root: hash,
        blockNumber: 13,
        time: 1_700_000_000,
      }),
      possession: toHex(keyPossessionDigest({ chainId: 31337, registry, account: contributor, keyIndex: 1 })),
    }).toEqual({
      id: '0xe034cf2ddc8a19cb175d826a52a139854df314160b2f9ff8817884b8c9a37bb0',
      record: '0xef05d156cfe94abd162dc401547ce92bfdfc9f330ed6e76c2264e7fa6d9e16d9',
      acc: '0x99c19920632dba2bda95f20eb7bed4d605d2b3a9963961cdad55db27379d50ec',
      chain: '0x6bce463a57af38a5f32919de8301c82df2e03a3c6cf3630ffb0a361a96a8c59f',
      possession: '0xb3dbe20ac4790ada946b5511ee27b62a12773d5f8401db004d9ccdd47bcf1686',
    })
  })

  it('take checksummed accounts, and refuse malformed ones, hashes and integers', () => {
    const [fields] = fc.sample(idFields, 1) as [Parameters<typeof submissionId>[0]]
    const upper = `0x${fields.registry.slice(2).toUpperCase()}` as Hex
    expect(submissionId({ ...fields, registry: upper })).toBe(submissionId(fields))
    expect(() => submissionId({ ...fields, registry: '0x12' })).toThrow('20 bytes')
    expect(() => submissionId({ ...fields, payloadHash: '0x12' })).toThrow('32 bytes')
    expect(() => submissionId({ ...fields, nonce: -1 })).toThrow(RangeError)
    expect(() => submissionId({ ...fields, nonce: 1.5 })).toThrow(RangeError)
  })
})

describe('the possession digest', () => {
  it('is the SHA-256 of prefix, chain, registry, account and key index', () => {
    fc.assert(
      fc.property(
        fc.record({ chainId: count, registry: address, account: address, keyIndex: count }),
        (fields) => {
          const message = concatHex([
            stringToHex('dunes.key/v1\0'),
            numberToHex(BigInt(fields.chainId), { size: 32 }),
            fields.registry,
            fields.account,
            numberToHex(BigInt(fields.keyIndex), { size: 8 }),
          ])
          expect(toHex(keyPossessionDigest(fields))).toBe(sha256(message))
        },
      ),
    )
  })
})
