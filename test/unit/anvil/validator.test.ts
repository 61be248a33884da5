import { expect, it } from 'vitest'
import { hostedUri } from '../../../anvil/fleet/host.ts'
import { attestations, expiration, type ValidatorView } from '../../../anvil/fleet/validator.ts'
import type { Pending } from '../../../anvil/fleet/watch.ts'
import type { Hex } from '../../../src/core/bytes.ts'

const HOST = 'http://127.0.0.1:18080'
const account = (n: number): Hex => `0x${n.toString(16).padStart(40, '0')}`
const VALIDATORS = [1, 2, 3, 4, 5].map(account)
const idOf = (n: number): Hex => `0x${n.toString(16).padStart(64, '0')}`

const item = (n: number, change: Partial<Pending> = {}): Pending => ({
  id: idOf(n),
  contributor: account(99),
  uri: hostedUri(HOST, 'reading', 'a'.repeat(64)),
  block: 100,
  quorum: 3,
  attested: new Set(),
  ...change,
})
const view = (pending: readonly Pending[], seen = 101): ValidatorView => ({
  pending,
  seen,
  ttl: 60,
  validators: VALIDATORS,
  hostUrl: HOST,
})
const whoAttests = (pending: Pending, seen = 101) =>
  VALIDATORS.filter((me) => attestations(view([pending], seen), me).length > 0)

it('asks all but the last one that a quorum needs first, and that one when the others are on the chain', () => {
  const attested = new Set<Hex>()
  expect(whoAttests(item(0, { attested }))).toEqual([account(1), account(2)])
  attested.add(account(1))
  expect(whoAttests(item(0, { attested }))).toEqual([account(2)])
  attested.add(account(2))
  expect(whoAttests(item(0, { attested }))).toEqual([account(3)])
})

it('spreads the work by id', () => {
  expect(whoAttests(item(3))).toEqual([account(4), account(5)])
  expect(whoAttests(item(4))).toEqual([account(1), account(5)])
})

it('never lets a validator attest to its own, also when help is asked for', () => {
  const own = item(0, { contributor: account(1) })
  expect(whoAttests(own)).toEqual([account(2), account(3)])
  expect(whoAttests(own, 150)).toEqual([2, 3, 4, 5].map(account))
})

it('calls the others to help when a submission has waited for a while', () => {
  expect(whoAttests(item(0), 107)).toEqual([account(1), account(2)])
  expect(whoAttests(item(0), 108)).toEqual(VALIDATORS)
})

it('rejects and ignores what its own URI says, and vouches for strangers', () => {
  const uri = (kind: string) => hostedUri(HOST, kind, 'b'.repeat(64))
  const pending = [
    item(0, { uri: uri('quorum_rejects') }),
    item(5, { uri: uri('nobody_attests') }),
    item(10, { uri: 'http://127.0.0.1:8000/quorum_rejects/x' }),
    item(15, { uri: uri('payload_missing') }),
  ]
  expect(attestations(view(pending), account(1))).toEqual([
    { id: idOf(0), valid: false },
    { id: idOf(10), valid: true },
    { id: idOf(15), valid: true },
  ])
})

it('bounds a batch', () => {
  const many = Array.from({ length: 500 }, (_, i) => item(i * 5))
  expect(attestations(view(many), account(1))).toHaveLength(64)
})

it('expires what nobody settled only after its time to live, one validator first', () => {
  const late = item(0, { uri: hostedUri(HOST, 'nobody_attests', 'a'.repeat(64)) })
  const who = (seen: number) => VALIDATORS.filter((me) => expiration(view([late], seen), me) !== null)
  expect(who(160)).toEqual([])
  expect(who(161)).toEqual([account(1)])
  expect(who(169)).toEqual(VALIDATORS)
})
