import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Hex } from '../../../src/core/bytes.ts'
import {
  bytesHash,
  bytesOf,
  type Chain,
  possession,
  publicKey,
  type Revert,
  startChain,
  textHash,
  word,
} from '../../support/contracts.ts'

let chain: Chain
let snapshot: unknown
let admin: Hex
let owner: Hex
let other: Hex

beforeAll(async () => {
  chain = await startChain()
  admin = chain.accounts[0]!
  owner = chain.accounts[5]!
  other = chain.accounts[6]!
})
afterAll(() => chain?.stop())
beforeEach(async () => {
  snapshot = await chain.snapshot()
})
afterEach(() => chain.revertTo(snapshot))

const send = (from: Hex, name: string, ...args: unknown[]) => chain.send(from, chain.registry, name, args)
const revertOf = (from: Hex, name: string, ...args: unknown[]): Promise<Revert | null> =>
  chain.revertOf(from, chain.registry, name, args)
const read = (name: string, ...args: unknown[]) => chain.read(chain.registry, name, args)

const SCHEMA: Hex = '0x736368656d61'
const HASH = word(7)
const URI = 'https://example.org/a.maml.md'

async function joined(account: Hex, sensor: string): Promise<void> {
  await send(account, 'registerKey', publicKey(1), possession(1))
  if ((await revertOf(account, 'registerSensor', sensor, 'air', 5n))?.name === 'UnknownDataset')
    await send(account, 'registerDataset', 'air', SCHEMA)
  await send(account, 'registerSensor', sensor, 'air', 5n)
}

describe('keys', () => {
  it('registers the first key once, with the event and the id', async () => {
    const { events } = await send(owner, 'registerKey', publicKey(1), possession(2))
    expect(events).toEqual([
      {
        name: 'KeyRegistered',
        args: {
          contributor: owner,
          keyIndex: 0n,
          keyId: bytesHash(publicKey(1)),
          publicKey: publicKey(1),
          possession: possession(2),
        },
      },
    ])
    expect(await read('key', owner)).toEqual([bytesHash(publicKey(1)), 0n, true])
    expect(await read('key', other)).toEqual([word(0), 0n, false])
    expect(await revertOf(owner, 'registerKey', publicKey(3), possession(3))).toEqual({
      name: 'KeyAlreadyRegistered',
      args: [],
    })
  })

  it.each([
    ['registerKey', 1951, 3309, 'BadPublicKeyLength', 1951n],
    ['registerKey', 1953, 3309, 'BadPublicKeyLength', 1953n],
    ['registerKey', 1952, 3308, 'BadPossessionLength', 3308n],
    ['registerKey', 1952, 3310, 'BadPossessionLength', 3310n],
    ['rotateKey', 0, 3309, 'BadPublicKeyLength', 0n],
    ['rotateKey', 1952, 0, 'BadPossessionLength', 0n],
  ])('%s refuses a key of %i and a proof of %i bytes', async (name, key, proof, error, length) => {
    if (name === 'rotateKey') await send(owner, 'registerKey', publicKey(1), possession(1))
    expect(await revertOf(owner, name, bytesOf(key), bytesOf(proof))).toEqual({ name: error, args: [length] })
  })

  it('rotates with the next index, also after a revocation, and never without a first key', async () => {
    expect((await revertOf(owner, 'rotateKey', publicKey(1), possession(1)))?.name).toBe('NoKey')
    await send(owner, 'registerKey', publicKey(1), possession(1))
    const rotated = await send(owner, 'rotateKey', publicKey(2), possession(2))
    expect(rotated.events[0]).toMatchObject({ name: 'KeyRegistered', args: { keyIndex: 1n } })
    await send(owner, 'revokeKey')
    expect(await read('key', owner)).toEqual([bytesHash(publicKey(2)), 1n, false])
    const again = await send(owner, 'rotateKey', publicKey(3), possession(3))
    expect(again.events[0]).toMatchObject({
      args: { keyIndex: 2n, keyId: bytesHash(publicKey(3)), publicKey: publicKey(3) },
    })
    expect(await read('key', owner)).toEqual([bytesHash(publicKey(3)), 2n, true])
  })

  it('revokes the current key once', async () => {
    expect((await revertOf(owner, 'revokeKey'))?.name).toBe('NoKey')
    await send(owner, 'registerKey', publicKey(1), possession(1))
    await send(owner, 'rotateKey', publicKey(2), possession(2))
    const { events } = await send(owner, 'revokeKey')
    expect(events).toEqual([{ name: 'KeyRevoked', args: { contributor: owner, keyIndex: 1n } }])
    expect((await revertOf(owner, 'revokeKey'))?.name).toBe('NoKey')
    expect((await revertOf(owner, 'registerKey', publicKey(1), possession(1)))?.name).toBe(
      'KeyAlreadyRegistered',
    )
  })
})

const BAD_NAMES = ['', 'a'.repeat(33), 'Air', 'a-b', 'a b', 'a.b', 'air\0', '\0', 'é', 'a`', 'a{', 'a/', 'a:']

describe('datasets and sensors', () => {
  it('registers a dataset and adds versions by its owner', async () => {
    const first = await send(owner, 'registerDataset', 'air', SCHEMA)
    expect(first.events).toEqual([
      {
        name: 'DatasetUpdated',
        args: { name: 'air', version: 0n, schemaSha256: bytesHash(SCHEMA), schema: SCHEMA },
      },
    ])
    const second = await send(owner, 'updateDataset', 'air', '0x')
    expect(second.events).toEqual([
      {
        name: 'DatasetUpdated',
        args: { name: 'air', version: 1n, schemaSha256: bytesHash('0x'), schema: '0x' },
      },
    ])
    expect(await read('dataset', 'air')).toEqual([owner, 1n, bytesHash('0x')])
    expect((await revertOf(other, 'updateDataset', 'air', SCHEMA))?.name).toBe('NotDatasetOwner')
    expect((await revertOf(other, 'registerDataset', 'air', SCHEMA))?.name).toBe('NameTaken')
    expect((await revertOf(owner, 'registerDataset', 'air', SCHEMA))?.name).toBe('NameTaken')
    expect((await revertOf(owner, 'updateDataset', 'water', SCHEMA))?.name).toBe('UnknownDataset')
    expect(await read('dataset', 'water')).toEqual([`0x${'00'.repeat(20)}`, 0n, word(0)])
  })

  it('takes schemas of up to 16 KiB', async () => {
    await send(owner, 'registerDataset', 'air', bytesOf(16_384))
    expect(await revertOf(owner, 'updateDataset', 'air', bytesOf(16_385))).toEqual({
      name: 'SchemaTooLong',
      args: [16_385n],
    })
    expect((await revertOf(owner, 'registerDataset', 'sea', bytesOf(16_385)))?.name).toBe('SchemaTooLong')
  })

  it.each(BAD_NAMES)('refuses the name %j everywhere', async (name) => {
    await send(owner, 'registerDataset', 'air', SCHEMA)
    for (const call of [
      ['registerDataset', name, SCHEMA],
      ['registerSensor', name, 'air', 5n],
    ] as const) {
      const [fn, ...args] = call
      expect((await revertOf(owner, fn, ...args))?.name).toBe('BadName')
    }
    // A look-up by a name that cannot exist says so or finds nothing; it never finds another name's entry.
    expect(['BadName', 'UnknownDataset']).toContain(
      (await revertOf(owner, 'updateDataset', name, SCHEMA))?.name,
    )
    expect(['BadName', 'UnknownDataset']).toContain(
      (await revertOf(owner, 'registerSensor', 'good', name, 5n))?.name,
    )
    await joined(other, 'air')
    expect(['BadName', 'UnknownSensor']).toContain(
      (await revertOf(other, 'submit', name, HASH, 1n, URI))?.name,
    )
  })

  it.each([
    'a',
    'z',
    '0',
    '9',
    '_',
    'abcdefghijklmnopqrstuvwxyz_01234',
    '56789',
  ])('takes the name %j', async (name) => {
    await send(owner, 'registerDataset', name, SCHEMA)
    const { events } = await send(owner, 'registerSensor', name, name, 0x8f283473fffffffn)
    expect(events).toEqual([
      {
        name: 'SensorRegistered',
        args: { contributor: owner, name, dataset: name, h3Cell: 0x8f283473fffffffn },
      },
    ])
    expect(await read('sensor', name)).toEqual([owner, name, 0x8f283473fffffffn])
  })

  it('keeps sensors unique and in existing datasets', async () => {
    expect((await revertOf(owner, 'registerSensor', 's', 'air', 5n))?.name).toBe('UnknownDataset')
    await send(owner, 'registerDataset', 'air', SCHEMA)
    await send(owner, 'registerSensor', 's', 'air', 5n)
    expect((await revertOf(owner, 'registerSensor', 's', 'air', 5n))?.name).toBe('NameTaken')
    expect((await revertOf(other, 'registerSensor', 's', 'air', 5n))?.name).toBe('NameTaken')
    expect(await read('sensor', 't')).toEqual([`0x${'00'.repeat(20)}`, '', 0n])
  })
})

describe('submissions', () => {
  it('says everything in the event and keeps it pending', async () => {
    await joined(owner, 's1')
    await send(owner, 'updateDataset', 'air', '0x32')
    await send(owner, 'rotateKey', publicKey(2), possession(2))
    const { events, block } = await send(owner, 'submit', 's1', HASH, 1_048_576n, URI)
    expect(events).toEqual([
      {
        name: 'Submitted',
        args: {
          id: expect.stringMatching(/^0x[0-9a-f]{64}$/),
          contributor: owner,
          nonce: 0n,
          sensor: 's1',
          dataset: 'air',
          schemaSha256: bytesHash('0x32'),
          payloadHash: HASH,
          payloadBytes: 1_048_576n,
          uri: URI,
          keyId: bytesHash(publicKey(2)),
          quorum: 2,
        },
      },
    ])
    const id = events[0]!.args['id'] as Hex
    expect(await read('pending', id)).toEqual({
      contributor: owner,
      sensor: 's1',
      dataset: 'air',
      schemaSha256: bytesHash('0x32'),
      payloadHash: HASH,
      payloadBytes: 1_048_576n,
      uriSha256: textHash(URI),
      keyId: bytesHash(publicKey(2)),
      submittedBlock: BigInt(block),
      membership: 3n,
      quorum: 2,
      approvals: 0,
      rejections: 0,
    })
    expect(await read('head', owner)).toEqual([word(0), 0n, 1n])
    expect(await read('record', id)).toBe(word(0))
    const again = await send(owner, 'submit', 's1', HASH, 1_048_576n, URI)
    expect(again.events[0]!.args['nonce']).toBe(1n)
    expect(again.events[0]!.args['id']).not.toBe(id)
  })

  it.each([
    ['s1', 0n, URI, 'BadPayloadLength', [0n]],
    ['s1', 1_048_577n, URI, 'BadPayloadLength', [1_048_577n]],
    ['s1', 1n, '', 'BadUriLength', [0n]],
    ['s1', 1n, 'u'.repeat(1025), 'BadUriLength', [1025n]],
    ['s2', 1n, URI, 'UnknownSensor', []],
    ['foreign', 1n, URI, 'NotSensorOwner', []],
  ] as const)('refuses sensor %s, %s bytes', async (sensor, length, uri, name, args) => {
    await joined(owner, 's1')
    await joined(other, 'foreign')
    expect(await revertOf(owner, 'submit', sensor, HASH, length, uri)).toEqual({ name, args })
    const items = [
      { sensor: 's1', payloadHash: HASH, payloadBytes: 1n, uri: URI },
      { sensor, payloadHash: HASH, payloadBytes: length, uri },
    ]
    expect(await revertOf(owner, 'submitBatch', items)).toEqual({ name, args })
  })

  it('takes URIs of 1 and of 1,024 bytes', async () => {
    await joined(owner, 's1')
    await send(owner, 'submit', 's1', HASH, 1n, 'u')
    await send(owner, 'submit', 's1', HASH, 1n, 'u'.repeat(1024))
    expect(await read('head', owner)).toEqual([word(0), 0n, 2n])
  })

  it('needs a key that is not revoked', async () => {
    await send(owner, 'registerDataset', 'air', SCHEMA)
    await send(owner, 'registerSensor', 's1', 'air', 5n)
    expect((await revertOf(owner, 'submit', 's1', HASH, 1n, URI))?.name).toBe('NoKey')
    await send(owner, 'registerKey', publicKey(1), possession(1))
    expect(await revertOf(owner, 'submit', 's1', HASH, 1n, URI)).toBeNull()
    await send(owner, 'revokeKey')
    expect((await revertOf(owner, 'submit', 's1', HASH, 1n, URI))?.name).toBe('NoKey')
    await send(owner, 'rotateKey', publicKey(2), possession(2))
    expect(await revertOf(owner, 'submit', 's1', HASH, 1n, URI)).toBeNull()
  })

  it('a batch gives the same events and state as its items one by one', async () => {
    await joined(owner, 's1')
    await send(owner, 'registerSensor', 's2', 'air', 5n)
    const items = Array.from({ length: 20 }, (_, i) => ({
      sensor: i % 3 === 0 ? 's2' : 's1',
      payloadHash: word(i),
      payloadBytes: BigInt(i + 1),
      uri: `${URI}?${i}`,
    }))
    const before = await chain.snapshot()
    const single = []
    for (const { sensor, payloadHash, payloadBytes, uri } of items)
      single.push(...(await send(owner, 'submit', sensor, payloadHash, payloadBytes, uri)).events)
    const head = await read('head', owner)
    await chain.revertTo(before)
    const batch = await send(owner, 'submitBatch', items)
    expect(batch.events).toEqual(single)
    expect(await read('head', owner)).toEqual(head)
  })

  it('takes at most 256 in a batch', async () => {
    await joined(owner, 's1')
    const item = { sensor: 's1', payloadHash: HASH, payloadBytes: 1n, uri: 'u' }
    expect(await revertOf(owner, 'submitBatch', Array(257).fill(item))).toEqual({
      name: 'BatchTooLarge',
      args: [257n],
    })
    expect(await revertOf(owner, 'submitBatch', Array(256).fill(item))).toBeNull()
  })
})

describe('deployment', () => {
  it.each([
    [{ quorum: 0 }, 'BadQuorum'],
    [{ quorum: 65_536 }, 'BadQuorum'],
    [{ ttl: 0 }, 'BadTtl'],
    [{ ttl: 2 ** 48 }, 'BadTtl'],
    [{ epochSeconds: 0 }, 'BadEpochSeconds'],
    [{ admin: `0x${'00'.repeat(20)}` }, 'AccessControlInvalidDefaultAdmin'],
  ] as const)('refuses %j', async (options, error) => {
    await expect(chain.deploy(options)).rejects.toThrow(error)
  })

  it('starts with the settings and validators given', async () => {
    expect(await read('quorum')).toBe(2)
    expect(await read('ttl')).toBe(10n)
    expect(await read('EPOCH_SECONDS')).toBe(3_600n)
    expect(await read('membership')).toBe(3n)
    expect(await read('settledCount')).toBe(0n)
    expect(await read('defaultAdminDelay')).toBe(86_400)
    expect(await read('hasRole', await read('VALIDATOR_ROLE'), chain.accounts[1])).toBe(true)
    expect(await read('hasRole', await read('VALIDATOR_ROLE'), admin)).toBe(false)
  })

  it('only the admin sets the quorum, and says so', async () => {
    expect((await revertOf(other, 'setQuorum', 3))?.name).toBe('AccessControlUnauthorizedAccount')
    expect(await revertOf(admin, 'setQuorum', 0)).toEqual({ name: 'BadQuorum', args: [0] })
    expect(await revertOf(admin, 'setQuorum', 65_536)).toEqual({ name: 'BadQuorum', args: [65_536] })
    const { events } = await send(admin, 'setQuorum', 65_535)
    expect(events).toEqual([{ name: 'QuorumChanged', args: { quorum: 65_535 } }])
    expect(await read('quorum')).toBe(65_535)
  })

  it('transfers the admin role only after its delay', async () => {
    await send(admin, 'beginDefaultAdminTransfer', other)
    expect((await revertOf(other, 'acceptDefaultAdminTransfer'))?.name).toBe(
      'AccessControlEnforcedDefaultAdminDelay',
    )
    await chain.rpc('evm_increaseTime', [86_401])
    await chain.mine(1)
    await send(other, 'acceptDefaultAdminTransfer')
    expect((await revertOf(admin, 'setQuorum', 3))?.name).toBe('AccessControlUnauthorizedAccount')
    expect(await revertOf(other, 'setQuorum', 3)).toBeNull()
  })
})
