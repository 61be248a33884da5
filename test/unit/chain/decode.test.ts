import fc from 'fast-check'
import {
  type AbiEvent,
  encodeAbiParameters,
  encodeEventTopics,
  keccak256,
  stringToHex,
  toHex as viemHex,
} from 'viem'
import { describe, expect, it } from 'vitest'
import { receiptAnchorAbi, sensorRegistryAbi } from '../../../src/chain/abi.ts'
import { decodeLog, type RawLog, VALIDATOR_ROLE } from '../../../src/chain/decode.ts'
import { ChainError, type ChainEvent } from '../../../src/chain/source.ts'
import { type Hex, toHex } from '../../../src/core/bytes.ts'

const registry: Hex = `0x${'a1'.repeat(20)}`
const anchor: Hex = `0x${'b2'.repeat(20)}`
const contracts = { registry, anchor }
const tx: Hex = `0x${'77'.repeat(32)}`

const events = [...sensorRegistryAbi, ...receiptAnchorAbi].filter(
  (item) => item.type === 'event',
) as AbiEvent[]

/** A log as a node would give it, encoded by viem from the contracts' compiled ABI. */
function log(address: Hex, eventName: string, args: Readonly<Record<string, unknown>>): RawLog {
  const event = events.find((item) => item.name === eventName) as AbiEvent
  const values = event.inputs.filter((input) => !input.indexed)
  return {
    address,
    topics: encodeEventTopics({ abi: [event], eventName, args } as never) as Hex[],
    data: encodeAbiParameters(
      values,
      values.map((input) => args[input.name as string]),
    ),
    blockHash: `0x${'11'.repeat(32)}`,
    blockNumber: '0x10',
    transactionHash: tx,
    logIndex: '0x1f',
  }
}

const id = fc.uint8Array({ minLength: 32, maxLength: 32 }).map(toHex)
const account = fc.uint8Array({ minLength: 20, maxLength: 20 }).map(toHex)
const safe = fc.maxSafeNat()
const bytes = (maxLength: number) => fc.uint8Array({ maxLength })
const name = fc.stringMatching(/^[a-z0-9_]{1,32}$/)
const place = { tx, logIndex: 31 }

/** Encodes what `arbitrary` makes and expects exactly that back. */
function roundTrip<T extends object>(
  arbitrary: fc.Arbitrary<T>,
  encode: (value: T) => RawLog,
  expected: (value: T) => unknown,
): void {
  fc.assert(
    fc.property(arbitrary, (value) => {
      expect(decodeLog(encode(value), contracts)).toEqual(expected(value))
    }),
    { numRuns: 60 },
  )
}

describe('decodeLog reads what viem encodes', () => {
  it('Submitted, with a URI of any bytes', () => {
    roundTrip(
      fc.record({
        id,
        contributor: account,
        nonce: safe,
        sensor: name,
        dataset: name,
        schemaSha256: id,
        payloadHash: id,
        payloadBytes: safe,
        uri: fc.string({ maxLength: 200, unit: 'binary' }).filter((text) => text.isWellFormed()),
        keyId: id,
        quorum: fc.nat(0xffff_ffff),
      }),
      (value) =>
        log(registry, 'Submitted', {
          ...value,
          nonce: BigInt(value.nonce),
          payloadBytes: BigInt(value.payloadBytes),
        }),
      ({ uri, ...value }) => ({
        ...place,
        type: 'submitted',
        ...value,
        uriBytes: new TextEncoder().encode(uri),
      }),
    )
  })

  it('Submitted, keeping a URI that is not UTF-8 byte for byte', () => {
    const good = log(registry, 'Submitted', {
      id: tx,
      contributor: anchor,
      nonce: 0n,
      sensor: 's',
      dataset: 'd',
      schemaSha256: tx,
      payloadHash: tx,
      payloadBytes: 1n,
      uri: 'http',
      keyId: tx,
      quorum: 1,
    })
    const data = good.data.replace('68747470', 'fffec080') as Hex
    expect(data).not.toBe(good.data)
    expect(decodeLog({ ...good, data }, contracts)).toMatchObject({
      uriBytes: new Uint8Array([0xff, 0xfe, 0xc0, 0x80]),
    })
  })

  it('Attested', () => {
    roundTrip(
      fc.record({ id, validator: account, valid: fc.boolean() }),
      (value) => log(registry, 'Attested', value),
      (value) => ({ ...place, type: 'attested', ...value }),
    )
  })

  it('SubmissionSettled', () => {
    const outcomes = ['validated', 'rejected', 'expired'] as const
    roundTrip(
      fc.record({
        id,
        contributor: account,
        index: safe,
        seq: safe,
        outcome: fc.constantFrom(...outcomes),
        record: id,
        acc: id,
      }),
      (value) =>
        log(registry, 'SubmissionSettled', {
          ...value,
          index: BigInt(value.index),
          seq: BigInt(value.seq),
          outcome: outcomes.indexOf(value.outcome) + 1,
        }),
      (value) => ({ ...place, type: 'settled', ...value }),
    )
  })

  it('KeyRegistered and KeyRevoked', () => {
    roundTrip(
      fc.record({
        contributor: account,
        keyIndex: safe,
        keyId: id,
        publicKey: bytes(2000),
        possession: bytes(3400),
      }),
      (value) =>
        log(registry, 'KeyRegistered', {
          ...value,
          keyIndex: BigInt(value.keyIndex),
          publicKey: toHex(value.publicKey),
          possession: toHex(value.possession),
        }),
      (value) => ({ ...place, type: 'keyRegistered', ...value }),
    )
    roundTrip(
      fc.record({ contributor: account, keyIndex: safe }),
      (value) => log(registry, 'KeyRevoked', { ...value, keyIndex: BigInt(value.keyIndex) }),
      (value) => ({ ...place, type: 'keyRevoked', ...value }),
    )
  })

  it('DatasetUpdated and SensorRegistered', () => {
    roundTrip(
      fc.record({ name, version: safe, schemaSha256: id, schema: bytes(500) }),
      (value) =>
        log(registry, 'DatasetUpdated', {
          ...value,
          version: BigInt(value.version),
          schema: toHex(value.schema),
        }),
      (value) => ({ ...place, type: 'datasetUpdated', ...value }),
    )
    roundTrip(
      fc.record({ contributor: account, name, dataset: name, h3Cell: fc.bigInt(0n, 2n ** 64n - 1n) }),
      (value) => log(registry, 'SensorRegistered', value),
      (value) => ({ ...place, type: 'sensorRegistered', ...value }),
    )
  })

  it('QuorumChanged, and the validators’ role alone among roles', () => {
    roundTrip(
      fc.record({ quorum: fc.nat(0xffff_ffff) }),
      (value) => log(registry, 'QuorumChanged', value),
      (value) => ({ ...place, type: 'quorumChanged', ...value }),
    )
    const role = keccak256(stringToHex('VALIDATOR_ROLE'))
    expect(VALIDATOR_ROLE).toBe(role)
    for (const [eventName, type] of [
      ['RoleGranted', 'validatorAdded'],
      ['RoleRevoked', 'validatorRemoved'],
    ] as const) {
      const args = { role, account: anchor, sender: registry }
      expect(decodeLog(log(registry, eventName, args), contracts)).toEqual({
        ...place,
        type,
        account: anchor,
      })
      expect(
        decodeLog(log(registry, eventName, { ...args, role: viemHex(0, { size: 32 }) }), contracts),
      ).toBeNull()
      // The anchor contract has roles of its own.
      expect(decodeLog(log(anchor, eventName, args), contracts)).toBeNull()
    }
  })

  it('Anchored, LeafPolicyAdded and Closed', () => {
    roundTrip(
      fc.record({ seq: safe, size: safe, root: id, previousSize: safe, previousRoot: id, chain: id }),
      (value) =>
        log(anchor, 'Anchored', {
          ...value,
          seq: BigInt(value.seq),
          size: BigInt(value.size),
          previousSize: BigInt(value.previousSize),
        }),
      (value) => ({ ...place, type: 'anchored', ...value }),
    )
    roundTrip(
      fc.record({ firstIndex: safe, policyHash: id }),
      (value) => log(anchor, 'LeafPolicyAdded', { ...value, firstIndex: BigInt(value.firstIndex) }),
      (value) => ({ ...place, type: 'leafPolicyAdded', ...value }),
    )
    roundTrip(
      fc.record({ successor: account, lastGoodSize: safe, lastGoodRoot: id }),
      (value) => log(anchor, 'Closed', { ...value, lastGoodSize: BigInt(value.lastGoodSize) }),
      (value) => ({ ...place, type: 'logClosed', ...value }),
    )
  })

  it('nothing from a leaf policy that no leaf can ever reach', () => {
    const event = log(anchor, 'LeafPolicyAdded', { firstIndex: 2n ** 53n, policyHash: tx })
    expect(decodeLog(event, contracts)).toBeNull()
  })

  it('nothing from other contracts, other events and anonymous logs', () => {
    const attested = log(registry, 'Attested', { id: tx, validator: anchor, valid: true })
    expect(decodeLog({ ...attested, address: `0x${'cc'.repeat(20)}` }, contracts)).toBeNull()
    expect(decodeLog({ ...attested, address: anchor }, contracts)).toBeNull()
    expect(decodeLog({ ...attested, topics: [tx] }, contracts)).toBeNull()
    expect(decodeLog({ ...attested, topics: [] }, contracts)).toBeNull()
  })
})

describe('decodeLog refuses what Solidity would not write', () => {
  const settled = log(registry, 'SubmissionSettled', {
    id: tx,
    contributor: anchor,
    index: 1n,
    seq: 2n,
    outcome: 1,
    record: tx,
    acc: tx,
  })
  const dataset = log(registry, 'DatasetUpdated', {
    name: 'abc',
    version: 0n,
    schemaSha256: tx,
    schema: '0x010203',
  })
  const refused = (raw: RawLog) => {
    let thrown: unknown
    try {
      decodeLog(raw, contracts)
    } catch (error) {
      thrown = error
    }
    expect(thrown).toBeInstanceOf(ChainError)
    expect(thrown).toMatchObject({ code: 'EVENT_MALFORMED', details: { logIndex: 31 } })
    return (thrown as ChainError).message
  }
  /** `data` with the 64 digits of word `at` replaced. */
  const withWord = (raw: RawLog, at: number, digits: string): RawLog => ({
    ...raw,
    data: `${raw.data.slice(0, 2 + 64 * at)}${digits.padStart(64, '0')}${raw.data.slice(66 + 64 * at)}` as Hex,
  })

  it('a missing or extra topic', () => {
    expect(refused({ ...settled, topics: settled.topics.slice(0, 2) })).toMatch('indexed')
    expect(refused({ ...settled, topics: [...settled.topics, tx] })).toMatch('indexed')
  })
  it('an account with more than 20 bytes', () => {
    expect(refused({ ...settled, topics: [settled.topics[0] as Hex, tx, tx] })).toMatch('20 bytes')
  })
  it('integers beyond their type or 2^53 - 1', () => {
    expect(refused(withWord(settled, 0, '20000000000000'))).toMatch('2^53')
    expect(refused(withWord(settled, 0, '10000000000000000'))).toMatch('64 bits')
    expect(refused(withWord(settled, 2, '100'))).toMatch('8 bits')
  })
  it('an outcome that does not exist', () => {
    expect(refused(withWord(settled, 2, '0'))).toMatch('outcome')
    expect(refused(withWord(settled, 2, '4'))).toMatch('outcome')
  })
  it('a bool other than 0 and 1', () => {
    const attested = log(registry, 'Attested', { id: tx, validator: anchor, valid: true })
    expect(refused(withWord(attested, 0, '2'))).toMatch('bool')
    expect(refused(withWord(attested, 0, `1${'0'.repeat(63)}`))).toMatch('bool')
  })
  it('data that are cut or carry on', () => {
    expect(refused({ ...settled, data: settled.data.slice(0, -2) as Hex })).toMatch('short')
    expect(refused({ ...settled, data: `${settled.data}00` })).toMatch('left over')
    for (let cut = 2; cut < dataset.data.length - 2; cut += 2)
      refused({ ...dataset, data: dataset.data.slice(0, -cut) as Hex })
  })
  it('dynamic values that lie elsewhere, are too long or are padded with anything', () => {
    expect(refused(withWord(dataset, 0, 'c0'))).toMatch('where it belongs')
    expect(refused(withWord(dataset, 0, '1fffffffffffff'))).toMatch('where it belongs')
    expect(refused(withWord(dataset, 4, 'ffffffff'))).toMatch('more than 32')
    expect(refused(withWord(dataset, 6, '4001'))).toMatch('more than 16384')
    expect(refused({ ...dataset, data: `${dataset.data.slice(0, -1)}1` as Hex })).toMatch('padding')
  })
  it('a name outside the contracts’ alphabet', () => {
    expect(refused({ ...dataset, data: dataset.data.replace('616263', '614263') as Hex })).toMatch('a-z')
    expect(refused({ ...dataset, data: dataset.data.replace('616263', '6162ff') as Hex })).toMatch('a-z')
  })
  it('any data at all with nothing but its own error', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...new Set(events.map((event) => event.name))),
        fc.uint8Array({ maxLength: 700 }),
        fc.array(id, { maxLength: 4 }),
        (eventName, data, topics) => {
          const event = events.find((item) => item.name === eventName) as AbiEvent
          const [topic] = encodeEventTopics({ abi: [event], eventName } as never) as Hex[]
          for (const address of [registry, anchor]) {
            const raw = { ...settled, address, topics: [topic as Hex, ...topics], data: toHex(data) }
            let result: ChainEvent | null | ChainError
            try {
              result = decodeLog(raw, contracts)
            } catch (error) {
              expect(error).toBeInstanceOf(ChainError)
              continue
            }
            expect(result === null || typeof result.type === 'string').toBe(true)
          }
        },
      ),
    )
  })
})
