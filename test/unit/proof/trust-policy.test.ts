import { beforeAll, describe, expect, it } from 'vitest'
import { utf8 } from '../../../src/core/bytes.ts'
import type { Json } from '../../../src/core/json.ts'
import { PolicyError } from '../../../src/proof/error.ts'
import {
  parseTrustPolicy,
  policyVkeys,
  readTrustPolicy,
  receiptKeysAt,
  type TrustPolicy,
} from '../../../src/proof/trust-policy.ts'
import { proofWorld } from '../../support/proof-world.ts'

let policy: TrustPolicy
beforeAll(async () => {
  policy = (await proofWorld({ leaves: 1 })).policy
})
const read = (changes: Record<string, unknown>) => () =>
  readTrustPolicy(JSON.parse(JSON.stringify({ ...policy, ...changes })) as Json)

describe('parseTrustPolicy', () => {
  it('reads a policy, pretty-printed or not', () => {
    expect(parseTrustPolicy(utf8(JSON.stringify(policy)))).toEqual(policy)
    expect(parseTrustPolicy(utf8(`${JSON.stringify(policy, null, 2)}\n`))).toEqual(policy)
    expect(policyVkeys(policy).map(({ name }) => name)).toEqual(['proof.example/log', 'proof.example/log/pq'])
  })

  it('takes a pool with its code hash, and neither without the other', () => {
    const pool = `0x${'33'.repeat(20)}` as const
    const hash = `0x${'44'.repeat(32)}` as const
    const withPool = { pool, codeHashes: { ...policy.codeHashes, pool: hash } }
    expect(read(withPool)()).toEqual({ ...policy, ...withPool })
    expect(read({ pool })).toThrow(PolicyError)
    expect(read({ codeHashes: withPool.codeHashes })).toThrow(PolicyError)
  })

  it.each([
    ['an unknown field', { remark: 1 }],
    ['no chain', { chain: undefined }],
    ['a chain that is not EVM', { chain: 'solana:abc' }],
    ['a chain id with a leading zero', { chain: 'eip155:01' }],
    ['an upper-case address', { registry: `0x${'AA'.repeat(20)}` }],
    ['a short address', { anchor: '0x00' }],
    ['a short code hash', { codeHashes: { registry: '0x00', anchor: `0x${'00'.repeat(32)}` } }],
    ['a missing code hash', { codeHashes: { registry: `0x${'00'.repeat(32)}` } }],
    ['an origin with a space', { origin: 'a b' }],
    ['no checkpoint key', { checkpointVkeys: [] }],
    ['a checkpoint key that is no key', { checkpointVkeys: ['x'] }],
    ['receipt keys that are no list', { receiptKeys: {} }],
    ['a receipt key in base64', { receiptKeys: [{ pub: 'YQ==', fromIndex: 0, toIndex: null }] }],
    ['a receipt key of the wrong length', { receiptKeys: [{ pub: '0x00', fromIndex: 0, toIndex: null }] }],
    ['another layout', { layoutVersion: 2 }],
  ])('refuses %s', (_, changes) => {
    expect(read(changes)).toThrow(PolicyError)
  })

  it('refuses a key id that does not match its key, and a key named twice', () => {
    const [first, second] = policy.checkpointVkeys as [string, string]
    const id = first.split('+')[1]!
    const other = first.replace(id, id.startsWith('0') ? `1${id.slice(1)}` : `0${id.slice(1)}`)
    expect(read({ checkpointVkeys: [other, second] })).toThrow('checkpointVkeys[0]')
    expect(read({ checkpointVkeys: [first, first] })).toThrow('names a key twice')
  })

  it('reads sets of checkpoint keys that were replaced, and refuses those that are none', () => {
    const { checkpointVkeys: vkeys } = policy
    const set = { vkeys, toSize: 5 }
    expect(read({ retiredCheckpointVkeys: [set] })()).toEqual({ ...policy, retiredCheckpointVkeys: [set] })
    for (const bad of [
      [],
      {},
      [vkeys],
      [{ vkeys }],
      [{ vkeys: [], toSize: 5 }],
      [{ vkeys: ['x'], toSize: 5 }],
      [{ vkeys: [vkeys[0], vkeys[0]], toSize: 5 }],
      [{ vkeys, toSize: -1 }],
      [{ ...set, note: '' }],
    ])
      expect(read({ retiredCheckpointVkeys: bad }), JSON.stringify(bad)).toThrow(PolicyError)
  })

  it('refuses a receipt key with an unknown member or a bad range', () => {
    const key = policy.receiptKeys[0]!
    expect(read({ receiptKeys: [{ ...key, note: '' }] })).toThrow(PolicyError)
    expect(read({ receiptKeys: [{ ...key, fromIndex: -1 }] })).toThrow(PolicyError)
    expect(read({ receiptKeys: [{ pub: key.pub, fromIndex: 0 }] })).toThrow(PolicyError)
  })

  it('refuses bytes that are no strict JSON', () => {
    const text = JSON.stringify(policy)
    for (const bad of ['', '[]', text.replace('{', '{"chain":"eip155:1",'), `\ufeff${text}`, '1']) {
      expect(() => parseTrustPolicy(utf8(bad))).toThrow(PolicyError)
    }
    expect(() => parseTrustPolicy(Uint8Array.of(0xff))).toThrow(PolicyError)
    expect(() => parseTrustPolicy(new Uint8Array(1024 * 1024 + 1))).toThrow(PolicyError)
    expect(new PolicyError('x').exitCode).toBe(2)
  })
})

describe('receiptKeysAt', () => {
  it('counts both ends in, and null as open', () => {
    const { pub } = policy.receiptKeys[0]!
    const count = (fromIndex: number | null, toIndex: number | null, index: number) =>
      receiptKeysAt({ ...policy, receiptKeys: [{ pub, fromIndex, toIndex }] }, index).length
    expect([3, 4, 7, 8].map((index) => count(4, 7, index))).toEqual([0, 1, 1, 0])
    expect([0, 4, 5].map((index) => count(null, 4, index))).toEqual([1, 1, 0])
    expect([3, 4, Number.MAX_SAFE_INTEGER].map((index) => count(4, null, index))).toEqual([0, 1, 1])
  })
})
