import fc from 'fast-check'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { nextAcc, recordHash, submissionId } from '../../../src/chain/record.ts'
import { decodeHeadCounts, decodeTotals, decodeWord, registrySlots } from '../../../src/chain/slots.ts'
import type { Outcome } from '../../../src/chain/source.ts'
import type { Hex } from '../../../src/core/bytes.ts'
import {
  bytesHash,
  bytesOf,
  CHAIN_ID,
  type Chain,
  DEFAULTS,
  possession,
  publicKey,
  type SeenEvent,
  startChain,
  textHash,
  word,
} from '../../support/contracts.ts'

let chain: Chain
beforeAll(async () => {
  chain = await startChain({ validators: [] })
})
afterAll(() => chain?.stop())

/** Accounts 1 to 3 own one sensor each; 2 to 5 may become validators, so that 2 and 3 can meet their own. */
const OWNERS = [1, 2, 3]
const VALIDATORS = [2, 3, 4, 5]

interface Item {
  sensor: number
  payload: number
}

type Step =
  | { do: 'submit'; owner: number; items: Item[]; batch: boolean }
  | { do: 'attest'; validator: number; items: { pick: number; valid: boolean }[]; batch: boolean }
  | { do: 'expire'; pick: number }
  | { do: 'admit'; validator: number }
  | { do: 'remove'; validator: number }
  | { do: 'quorum'; quorum: number }
  | { do: 'rotate'; owner: number }
  | { do: 'revoke'; owner: number }
  | { do: 'schema' }
  | { do: 'mine'; blocks: number }
  | { do: 'wait'; seconds: number }

const owner = fc.constantFrom(...OWNERS)
const validator = fc.constantFrom(...VALIDATORS)
const item = fc.record({ sensor: owner, payload: fc.integer({ min: 1, max: 5 }) })
const judgement = fc.record({ pick: fc.nat(6), valid: fc.boolean() })
const made = <T extends Step['do'], R>(name: T, rest: fc.Arbitrary<R>): fc.Arbitrary<R & { do: T }> =>
  rest.map((fields) => ({ ...fields, do: name }))

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: made(
      'submit',
      owner.chain((o) =>
        fc.record({
          owner: fc.constant(o),
          // Mostly the owner's own sensor; another's is refused, and with it the whole batch.
          items: fc.array(fc.oneof({ weight: 9, arbitrary: item.map((i) => ({ ...i, sensor: o })) }, item), {
            minLength: 1,
            maxLength: 4,
          }),
          batch: fc.boolean(),
        }),
      ),
    ),
  },
  {
    weight: 9,
    arbitrary: made(
      'attest',
      fc.record({
        validator,
        items: fc.array(judgement, { minLength: 1, maxLength: 8 }),
        batch: fc.boolean(),
      }),
    ),
  },
  { weight: 2, arbitrary: made('expire', fc.record({ pick: fc.nat(6) })) },
  { weight: 2, arbitrary: made('admit', fc.record({ validator })) },
  { weight: 1, arbitrary: made('remove', fc.record({ validator })) },
  { weight: 1, arbitrary: made('quorum', fc.record({ quorum: fc.constantFrom(0, 1, 1, 2, 2, 3) })) },
  { weight: 1, arbitrary: made('rotate', fc.record({ owner })) },
  { weight: 1, arbitrary: made('revoke', fc.record({ owner })) },
  { weight: 1, arbitrary: fc.constant<Step>({ do: 'schema' }) },
  { weight: 1, arbitrary: made('mine', fc.record({ blocks: fc.integer({ min: 1, max: 12 }) })) },
  { weight: 1, arbitrary: made('wait', fc.record({ seconds: fc.integer({ min: 1, max: 8_000 }) })) },
)

interface Submission {
  id: Hex
  owner: Hex
  fields: Omit<Parameters<typeof recordHash>[0], 'seq' | 'index' | 'outcome'>
  members: Set<Hex>
  quorum: number
  block: number
  votes: Map<Hex, boolean>
  record: Hex | null
}

/** The registry's rules once more, with sets and maps in place of slots. */
class Model {
  readonly submissions: Submission[] = []
  readonly heads = new Map<Hex, { acc: Hex; seq: number; submitted: number }>()
  readonly keys = new Map<Hex, { fill: number; index: number; revoked: boolean }>()
  readonly epochs = new Map<number, object>()
  readonly counts = { settled: 0, validated: 0, rejected: 0 }
  readonly everMembers = new Set<Hex>()
  members = new Set<Hex>()
  quorum: number = DEFAULTS.quorum
  schema = 0
  private readonly registry: Hex

  constructor(registry: Hex) {
    this.registry = registry
  }

  head(account: Hex) {
    const head = this.heads.get(account) ?? { acc: word(0), seq: 0, submitted: 0 }
    this.heads.set(account, head)
    return head
  }

  submit(account: Hex, sensor: string, payload: number, block: number): SeenEvent {
    const head = this.head(account)
    const nonce = head.submitted++
    const uri = `u${payload}`
    const key = this.keys.get(account)!
    const base = {
      chainId: CHAIN_ID,
      registry: this.registry,
      contributor: account,
      sensor,
      payloadHash: word(payload),
      payloadBytes: payload,
      uriSha256: textHash(uri),
    }
    const id = submissionId({ ...base, nonce })
    const keyId = bytesHash(publicKey(key.fill))
    const schemaSha256 = bytesHash(bytesOf(this.schema, 7))
    this.submissions.push({
      id,
      owner: account,
      fields: { ...base, id, dataset: 'air', schemaSha256, keyId, submittedBlock: block },
      members: new Set(this.members),
      quorum: this.quorum,
      block,
      votes: new Map(),
      record: null,
    })
    const { payloadHash } = base
    return {
      name: 'Submitted',
      args: {
        id,
        contributor: account,
        nonce: BigInt(nonce),
        sensor,
        dataset: 'air',
        schemaSha256,
        payloadHash,
        payloadBytes: BigInt(payload),
        uri,
        keyId,
        quorum: this.quorum,
      },
    }
  }

  obstacle(account: Hex, submission: Submission | undefined): string | null {
    if (!submission) return 'UnknownSubmission'
    if (submission.record) return 'AlreadySettled'
    if (!submission.members.has(account)) return 'NotValidator'
    if (submission.owner === account) return 'OwnSubmission'
    return submission.votes.has(account) ? 'AlreadyAttested' : null
  }

  attest(account: Hex, submission: Submission, valid: boolean): SeenEvent[] {
    submission.votes.set(account, valid)
    const events = [{ name: 'Attested', args: { id: submission.id, validator: account, valid } }]
    const side = [...submission.votes.values()].filter((vote) => vote === valid).length
    if (side < submission.quorum) return events
    return [...events, this.settle(submission, valid ? 'validated' : 'rejected')]
  }

  settle(submission: Submission, outcome: Outcome): SeenEvent {
    const head = this.head(submission.owner)
    const index = this.counts.settled++
    const seq = head.seq++
    if (outcome !== 'expired') this.counts[outcome] += 1
    submission.record = recordHash({ ...submission.fields, seq, index, outcome })
    head.acc = nextAcc(head.acc, submission.record)
    return {
      name: 'SubmissionSettled',
      args: {
        id: submission.id,
        contributor: submission.owner,
        index: BigInt(index),
        seq: BigInt(seq),
        outcome: { validated: 1, rejected: 2, expired: 3 }[outcome],
        record: submission.record,
        acc: head.acc,
      },
    }
  }
}

async function run(steps: readonly Step[]): Promise<void> {
  const { accounts, registry } = chain
  const admin = accounts[0]!
  const role = await chain.read(registry, 'VALIDATOR_ROLE')
  const model = new Model(registry.address)
  const send = (from: Hex, name: string, ...args: unknown[]) => chain.send(from, registry, name, args)
  const nextBlock = async () => Number(await chain.rpc('eth_blockNumber')) + 1
  await send(admin, 'registerDataset', 'air', '0x')
  for (const i of OWNERS) {
    await send(accounts[i]!, 'registerKey', publicKey(i), possession(1))
    await send(accounts[i]!, 'registerSensor', `s${i}`, 'air', 0n)
    model.keys.set(accounts[i]!, { fill: i, index: 0, revoked: false })
  }
  // Counted from the latest, so that the same few submissions are met several times.
  const picked = (pick: number) => model.submissions.at(-1 - pick)
  const idOf = (pick: number): Hex => picked(pick)?.id ?? word(999)
  const refused = async (error: string, from: Hex, name: string, ...args: unknown[]) =>
    await expect(send(from, name, ...args)).rejects.toThrow(`${name} reverted with ${error}`)

  /** Sends what settles, and notes the epoch that it settled in. */
  const settling = async (from: Hex, name: string, ...args: unknown[]) => {
    const before = model.counts.settled
    return async (predict: () => SeenEvent[]) => {
      const receipt = await send(from, name, ...args)
      expect(receipt.events).toEqual(predict())
      if (model.counts.settled > before)
        model.epochs.set(Math.floor(receipt.time / DEFAULTS.epochSeconds), { ...model.counts })
    }
  }

  for (const now of steps) {
    if (now.do === 'submit') {
      const from = accounts[now.owner]!
      const key = model.keys.get(from)!
      const items = now.items.map(({ sensor, payload }) => ({
        sensor: `s${sensor}`,
        payloadHash: word(payload),
        payloadBytes: BigInt(payload),
        uri: `u${payload}`,
      }))
      const errorOf = (sensor: number) =>
        sensor !== now.owner ? 'NotSensorOwner' : key.revoked ? 'NoKey' : null
      if (now.batch) {
        const error = now.items.map(({ sensor }) => errorOf(sensor)).find((found) => found !== null)
        if (error) await refused(error, from, 'submitBatch', items)
        else {
          const block = await nextBlock()
          const { events } = await send(from, 'submitBatch', items)
          expect(events).toEqual(
            items.map((i) => model.submit(from, i.sensor, Number(i.payloadBytes), block)),
          )
        }
      } else {
        for (const [at, i] of items.entries()) {
          const args = [i.sensor, i.payloadHash, i.payloadBytes, i.uri]
          const error = errorOf(now.items[at]!.sensor)
          if (error) await refused(error, from, 'submit', ...args)
          else {
            const block = await nextBlock()
            const { events } = await send(from, 'submit', ...args)
            expect(events).toEqual([model.submit(from, i.sensor, Number(i.payloadBytes), block)])
          }
        }
      }
    } else if (now.do === 'attest') {
      const from = accounts[now.validator]!
      if (now.batch) {
        const items = now.items.map(({ pick, valid }) => ({ id: idOf(pick), valid }))
        if (!model.everMembers.has(from)) await refused('NotValidator', from, 'attestBatch', items)
        else
          await (await settling(from, 'attestBatch', items))(() =>
            now.items.flatMap(({ pick, valid }) => {
              const submission = picked(pick)
              if (!submission || model.obstacle(from, submission)) return []
              return model.attest(from, submission, valid)
            }),
          )
      } else {
        for (const { pick, valid } of now.items) {
          const submission = picked(pick)
          const error = model.obstacle(from, submission)
          if (error || !submission) await refused(error!, from, 'attest', idOf(pick), valid)
          else
            await (await settling(from, 'attest', submission.id, valid))(() =>
              model.attest(from, submission, valid),
            )
        }
      }
    } else if (now.do === 'expire') {
      const submission = picked(now.pick)
      const from = accounts[6]!
      if (!submission) await refused('UnknownSubmission', from, 'expire', idOf(now.pick))
      else if (submission.record) await refused('AlreadySettled', from, 'expire', submission.id)
      else if ((await nextBlock()) <= submission.block + DEFAULTS.ttl)
        await refused('NotExpired', from, 'expire', submission.id)
      else await (await settling(from, 'expire', submission.id))(() => [model.settle(submission, 'expired')])
    } else if (now.do === 'admit' || now.do === 'remove') {
      const account = accounts[now.validator]!
      const admit = now.do === 'admit'
      const { events } = await send(admin, admit ? 'grantRole' : 'revokeRole', role, account)
      expect(events).toHaveLength(model.members.has(account) === admit ? 0 : 1)
      if (admit) model.members.add(account)
      else model.members.delete(account)
      if (admit) model.everMembers.add(account)
    } else if (now.do === 'quorum') {
      if (now.quorum === 0) await refused('BadQuorum', admin, 'setQuorum', 0)
      else {
        await send(admin, 'setQuorum', now.quorum)
        model.quorum = now.quorum
      }
    } else if (now.do === 'rotate') {
      const key = model.keys.get(accounts[now.owner]!)!
      Object.assign(key, { fill: key.fill + 10, index: key.index + 1, revoked: false })
      await send(accounts[now.owner]!, 'rotateKey', publicKey(key.fill), possession(1))
    } else if (now.do === 'revoke') {
      const key = model.keys.get(accounts[now.owner]!)!
      if (key.revoked) await refused('NoKey', accounts[now.owner]!, 'revokeKey')
      else await send(accounts[now.owner]!, 'revokeKey')
      key.revoked = true
    } else if (now.do === 'schema') {
      model.schema += 1
      await send(admin, 'updateDataset', 'air', bytesOf(model.schema, 7))
    } else if (now.do === 'mine') await chain.mine(now.blocks)
    else await chain.rpc('evm_increaseTime', [now.seconds])
  }

  const slot = (key: Hex) => chain.slot(registry, key)
  for (const { id, record } of model.submissions)
    expect(decodeWord(await slot(registrySlots.record(id)))).toBe(record ?? word(0))
  for (const [account, { acc, seq, submitted }] of model.heads) {
    expect(decodeWord(await slot(registrySlots.acc(account)))).toBe(acc)
    expect(decodeHeadCounts(await slot(registrySlots.headCounts(account)))).toEqual({ seq, submitted })
  }
  expect(decodeTotals(await slot(registrySlots.settledCount()))).toEqual(model.counts)
  for (const [epoch, totals] of model.epochs)
    expect(decodeTotals(await slot(registrySlots.epochTotals(epoch)))).toEqual(totals)
  settledInAll += model.counts.settled
}

let settledInAll = 0

it('agrees with the model on every event, every refusal and every published slot', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 45 }), async (steps) => {
      const before = await chain.snapshot()
      try {
        await run([...VALIDATORS.slice(1).map((v) => ({ do: 'admit' as const, validator: v })), ...steps])
      } finally {
        await chain.revertTo(before)
      }
    }),
    { numRuns: 16, endOnFailure: true },
  )
  // The runs would prove little if hardly anything settled in them.
  expect(settledInAll).toBeGreaterThan(10)
})
