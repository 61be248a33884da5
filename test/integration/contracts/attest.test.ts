import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { nextAcc, recordHash } from '../../../src/chain/record.ts'
import { decodeHeadCounts, decodeTotals, decodeWord, registrySlots } from '../../../src/chain/slots.ts'
import type { Outcome } from '../../../src/chain/source.ts'
import type { Hex } from '../../../src/core/bytes.ts'
import {
  bytesHash,
  CHAIN_ID,
  type Chain,
  DEFAULTS,
  possession,
  publicKey,
  type Receipt,
  startChain,
  textHash,
  word,
} from '../../support/contracts.ts'

const SCHEMA: Hex = '0x736368656d61'
const URI = 'https://example.org/a.maml.md'

let chain: Chain
let snapshot: unknown
let role: Hex
let admin: Hex
let v1: Hex
let v2: Hex
let v3: Hex
let owner: Hex
let stranger: Hex

beforeAll(async () => {
  chain = await startChain()
  ;[admin, v1, v2, v3, owner, stranger] = chain.accounts as [Hex, Hex, Hex, Hex, Hex, Hex]
  role = (await read('VALIDATOR_ROLE')) as Hex
  await send(owner, 'registerKey', publicKey(1), possession(1))
  await send(owner, 'registerDataset', 'air', SCHEMA)
  await send(owner, 'registerSensor', 's1', 'air', 5n)
})
afterAll(() => chain?.stop())
beforeEach(async () => {
  snapshot = await chain.snapshot()
})
afterEach(() => chain.revertTo(snapshot))

const send = (from: Hex, name: string, ...args: unknown[]) => chain.send(from, chain.registry, name, args)
const errorOf = async (from: Hex, name: string, ...args: unknown[]): Promise<string | undefined> =>
  (await chain.revertOf(from, chain.registry, name, args))?.name
const read = (name: string, ...args: unknown[]) => chain.read(chain.registry, name, args)
const slot = (key: Hex) => chain.slot(chain.registry, key)

interface Submission {
  id: Hex
  block: number
  hash: Hex
}

async function submit(number: number, from = owner, sensor = 's1'): Promise<Submission> {
  const hash = word(number)
  const { events, block } = await send(from, 'submit', sensor, hash, 500n, URI)
  return { id: events[0]!.args['id'] as Hex, block, hash }
}

/** The record of a submission of `submit`, computed from its fields. */
const expectedRecord = ({ id, block, hash }: Submission, seq: number, index: number, outcome: Outcome): Hex =>
  recordHash({
    chainId: CHAIN_ID,
    registry: chain.registry.address,
    id,
    contributor: owner,
    sensor: 's1',
    dataset: 'air',
    schemaSha256: bytesHash(SCHEMA),
    payloadHash: hash,
    payloadBytes: 500,
    uriSha256: textHash(URI),
    keyId: bytesHash(publicKey(1)),
    submittedBlock: block,
    seq,
    index,
    outcome,
  })

const settledEvent = (receipt: Receipt) => receipt.events.find(({ name }) => name === 'SubmissionSettled')

describe('attest', () => {
  it('settles at the quorum, and never before, with record, fold and counts', async () => {
    const submission = await submit(1)
    const first = await send(v1, 'attest', submission.id, true)
    expect(first.events).toEqual([
      { name: 'Attested', args: { id: submission.id, validator: v1, valid: true } },
    ])
    expect(await read('settledCount')).toBe(0n)
    expect(await read('hasAttested', submission.id, v1)).toBe(true)
    expect(await read('hasAttested', submission.id, v2)).toBe(false)

    const second = await send(v2, 'attest', submission.id, true)
    const record = expectedRecord(submission, 0, 0, 'validated')
    const acc = nextAcc(word(0), record)
    expect(second.events).toEqual([
      { name: 'Attested', args: { id: submission.id, validator: v2, valid: true } },
      {
        name: 'SubmissionSettled',
        args: { id: submission.id, contributor: owner, index: 0n, seq: 0n, outcome: 1, record, acc },
      },
    ])
    expect(await read('record', submission.id)).toBe(record)
    expect(await read('head', owner)).toEqual([acc, 1n, 1n])
    expect(await read('settledCount')).toBe(1n)
    expect(await read('pending', submission.id)).toMatchObject({ contributor: `0x${'00'.repeat(20)}` })
  })

  it('is settled by the side that reaches the quorum first', async () => {
    const [a, b] = [await submit(1), await submit(2)]
    await send(v1, 'attest', a.id, true)
    await send(v2, 'attest', a.id, false)
    expect(settledEvent(await send(v3, 'attest', a.id, false))?.args).toMatchObject({
      outcome: 2,
      record: expectedRecord(a, 0, 0, 'rejected'),
    })
    await send(v1, 'attest', b.id, false)
    await send(v2, 'attest', b.id, true)
    expect(settledEvent(await send(v3, 'attest', b.id, true))?.args).toMatchObject({
      outcome: 1,
      record: expectedRecord(b, 1, 1, 'validated'),
    })
  })

  it('refuses unknown and settled submissions, repetition, and who is not in the set', async () => {
    const { id } = await submit(1)
    expect(await chain.revertOf(v1, chain.registry, 'attest', [word(9), true])).toEqual({
      name: 'UnknownSubmission',
      args: [word(9)],
    })
    expect(await chain.revertOf(stranger, chain.registry, 'attest', [id, true])).toEqual({
      name: 'NotValidator',
      args: [expect.stringMatching(new RegExp(stranger, 'i'))],
    })
    expect(await errorOf(admin, 'attest', id, true)).toBe('NotValidator')
    await send(v1, 'attest', id, true)
    expect(await errorOf(v1, 'attest', id, true)).toBe('AlreadyAttested')
    expect(await errorOf(v1, 'attest', id, false)).toBe('AlreadyAttested')
    await send(v2, 'attest', id, true)
    for (const validator of [v1, v3])
      expect(await errorOf(validator, 'attest', id, true)).toBe('AlreadySettled')
  })

  it("refuses a contributor's own submission", async () => {
    await send(admin, 'grantRole', role, owner)
    const { id } = await submit(1)
    expect(await errorOf(owner, 'attest', id, true)).toBe('OwnSubmission')
    expect(await errorOf(owner, 'attest', id, false)).toBe('OwnSubmission')
  })

  it('counts the validator set at the submission, through admissions and removals', async () => {
    const before = await submit(1)
    await send(admin, 'grantRole', role, stranger)
    const member = await submit(2)
    await send(admin, 'revokeRole', role, stranger)
    const between = await submit(3)
    await send(admin, 'grantRole', role, stranger)
    const again = await submit(4)
    await send(stranger, 'renounceRole', role, stranger)
    const after = await submit(5)
    expect(await read('membership')).toBe(7n)
    for (const { id } of [before, between, after])
      expect(await errorOf(stranger, 'attest', id, true)).toBe('NotValidator')
    for (const { id } of [member, again]) await send(stranger, 'attest', id, true)
    const versions = await Promise.all([3, 4, 5, 6, 7].map((v) => read('isMemberAt', stranger, BigInt(v))))
    expect(versions).toEqual([false, true, false, true, false])
    expect(await read('isMemberAt', stranger, 2n ** 32n)).toBe(false)
  })

  it('does not raise the version when a role does not change', async () => {
    await send(admin, 'grantRole', role, v1)
    await send(admin, 'revokeRole', role, stranger)
    await send(admin, 'grantRole', word(5), stranger)
    expect(await read('membership')).toBe(3n)
    expect(await errorOf(v1, 'grantRole', role, stranger)).toBe('AccessControlUnauthorizedAccount')
  })

  it('counts the quorum at the submission', async () => {
    const two = await submit(1)
    await send(admin, 'setQuorum', 1)
    const one = await submit(2)
    await send(admin, 'setQuorum', 3)
    expect(settledEvent(await send(v1, 'attest', two.id, true))).toBeUndefined()
    expect(settledEvent(await send(v1, 'attest', one.id, true))).toBeDefined()
    expect(settledEvent(await send(v2, 'attest', two.id, true))).toBeDefined()
  })

  it('records key, schema and sensor as they were at the submission', async () => {
    const submission = await submit(1)
    await send(owner, 'rotateKey', publicKey(2), possession(2))
    await send(owner, 'revokeKey')
    await send(owner, 'updateDataset', 'air', '0x32')
    await send(v1, 'attest', submission.id, true)
    expect(settledEvent(await send(v2, 'attest', submission.id, true))?.args['record']).toBe(
      expectedRecord(submission, 0, 0, 'validated'),
    )
  })
})

describe('attestBatch', () => {
  it('skips what is settled, unknown, own, repeated, or from before its admission', async () => {
    await send(stranger, 'registerKey', publicKey(3), possession(3))
    await send(stranger, 'registerSensor', 's2', 'air', 5n)
    const early = await submit(1)
    await send(admin, 'grantRole', role, stranger)
    const own = await submit(2, stranger, 's2')
    const [settled, repeated, fresh] = [await submit(3), await submit(4), await submit(5)]
    await send(v1, 'attest', settled.id, true)
    await send(v2, 'attest', settled.id, true)
    await send(stranger, 'attest', repeated.id, true)
    const items = [early, own, settled, repeated, { id: word(9) }, fresh, fresh]
    const { events } = await send(
      stranger,
      'attestBatch',
      items.map(({ id }, i) => ({ id, valid: i < 6 })),
    )
    expect(events).toEqual([{ name: 'Attested', args: { id: fresh.id, validator: stranger, valid: true } }])
    expect((await send(stranger, 'attestBatch', [])).events).toEqual([])
  })

  it('reverts for who never was a validator, not for one removed', async () => {
    const { id } = await submit(1)
    expect(await errorOf(stranger, 'attestBatch', [{ id, valid: true }])).toBe('NotValidator')
    await send(admin, 'revokeRole', role, v1)
    expect((await send(v1, 'attestBatch', [{ id, valid: true }])).events).toHaveLength(1)
  })

  it('gives the same events and slots as single attestations', async () => {
    const submissions = []
    for (let i = 0; i < 8; i++) submissions.push(await submit(i))
    const judged = submissions.map(({ id }, i) => ({ id, valid: i % 3 !== 0 }))
    await send(v1, 'attestBatch', judged)
    const before = await chain.snapshot()
    const single = []
    for (const { id, valid } of judged) single.push(...(await send(v2, 'attest', id, valid)).events)
    const head = await read('head', owner)
    await chain.revertTo(before)
    expect((await send(v2, 'attestBatch', judged)).events).toEqual(single)
    expect(await read('head', owner)).toEqual(head)
    expect(await read('settledCount')).toBe(8n)
  })

  it('takes at most 256', async () => {
    const item = { id: word(9), valid: true }
    expect(await chain.revertOf(v1, chain.registry, 'attestBatch', [Array(257).fill(item)])).toEqual({
      name: 'BatchTooLarge',
      args: [257n],
    })
    expect(await chain.revertOf(v1, chain.registry, 'attestBatch', [Array(256).fill(item)])).toBeNull()
  })
})

describe('expire', () => {
  it('lets anyone settle it after ttl blocks, not before', async () => {
    const submission = await submit(1)
    await send(v1, 'attest', submission.id, true)
    await chain.mine(DEFAULTS.ttl - 2)
    // This transaction is in the last block of the submission's time.
    await expect(send(stranger, 'expire', submission.id)).rejects.toThrow('expire reverted with NotExpired')
    const { events, block } = await send(stranger, 'expire', submission.id)
    expect(block).toBe(submission.block + DEFAULTS.ttl + 1)
    const record = expectedRecord(submission, 0, 0, 'expired')
    expect(events).toEqual([
      {
        name: 'SubmissionSettled',
        args: {
          id: submission.id,
          contributor: owner,
          index: 0n,
          seq: 0n,
          outcome: 3,
          record,
          acc: nextAcc(word(0), record),
        },
      },
    ])
    expect(await errorOf(stranger, 'expire', submission.id)).toBe('AlreadySettled')
    expect(await errorOf(v2, 'attest', submission.id, true)).toBe('AlreadySettled')
    expect(await errorOf(stranger, 'expire', word(9))).toBe('UnknownSubmission')
  })

  it('names the last block of a submission', async () => {
    const { id, block } = await submit(1)
    expect(await chain.revertOf(stranger, chain.registry, 'expire', [id])).toEqual({
      name: 'NotExpired',
      args: [BigInt(block + DEFAULTS.ttl)],
    })
  })

  it('leaves a submission to a late quorum until someone expires it', async () => {
    const { id } = await submit(1)
    await chain.mine(DEFAULTS.ttl + 5)
    await send(v1, 'attest', id, true)
    expect(settledEvent(await send(v2, 'attest', id, true))?.args['outcome']).toBe(1)
    expect(await errorOf(stranger, 'expire', id)).toBe('AlreadySettled')
  })
})

describe('the fold', () => {
  it('keeps acc at each multiple of 256 of seq, and cumulative counts by epoch', async () => {
    await send(admin, 'setQuorum', 1)
    const item = { sensor: 's1', payloadHash: word(1), payloadBytes: 1n, uri: 'u' }
    let acc = word(0)
    let settled = 0
    const kept = new Map<number, Hex>()
    const epochs = new Map<number, { settled: number; validated: number; rejected: number }>()
    const counts = { validated: 0, rejected: 0 }
    for (let round = 0; round < 9; round++) {
      const { events } = await send(owner, 'submitBatch', Array(60).fill(item))
      const judged = events.map(({ args }, i) => ({ id: args['id'] as Hex, valid: (i + round) % 4 !== 0 }))
      if (round === 5) await chain.rpc('evm_increaseTime', [DEFAULTS.epochSeconds])
      const receipt = await send(v1, 'attestBatch', judged)
      for (const { args } of receipt.events.filter(({ name }) => name === 'SubmissionSettled')) {
        acc = nextAcc(acc, args['record'] as Hex)
        expect(args).toMatchObject({ acc, seq: BigInt(settled), index: BigInt(settled) })
        settled += 1
        if (settled % 256 === 0) kept.set(settled / 256, acc)
        if (args['outcome'] === 1) counts.validated += 1
        else counts.rejected += 1
      }
      epochs.set(Math.floor(receipt.time / DEFAULTS.epochSeconds), { settled, ...counts })
    }
    expect(settled).toBe(540)
    expect([...kept.keys()]).toEqual([1, 2])
    for (let k = 0; k <= 3; k++) {
      const value = kept.get(k) ?? word(0)
      expect(await read('accAt', owner, BigInt(k))).toBe(value)
      expect(decodeWord(await slot(registrySlots.accAt(owner, k)))).toBe(value)
    }
    expect(epochs.size).toBeGreaterThanOrEqual(2)
    for (const [epoch, totals] of epochs) {
      expect(await read('epochTotals', BigInt(epoch))).toEqual(Object.values(totals).map(BigInt))
      expect(decodeTotals(await slot(registrySlots.epochTotals(epoch)))).toEqual(totals)
      expect(decodeTotals(await slot(registrySlots.epochTotals(epoch + 100)))).toEqual({
        settled: 0,
        validated: 0,
        rejected: 0,
      })
    }
    expect(decodeTotals(await slot(registrySlots.settledCount()))).toEqual({ settled, ...counts })
    expect(decodeHeadCounts(await slot(registrySlots.headCounts(owner)))).toEqual({
      seq: 540,
      submitted: 540,
    })
    expect(decodeWord(await slot(registrySlots.acc(owner)))).toBe(acc)
  })
})
