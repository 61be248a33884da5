import { createHash } from 'node:crypto'
import { keccak_256 } from '@noble/hashes/sha3.js'
import { ml_dsa65 } from '@noble/post-quantum/ml-dsa.js'
import { describe, expect, it } from 'vitest'
import { keyPossessionDigest, nextAcc, recordHash, submissionId } from '../../../src/chain/record.ts'
import { nobleMlDsa } from '../../../src/core/ml-dsa.ts'
import { leafHash, nodeHash } from '../../../src/log/merkle.ts'
import { buildMaml } from '../../../src/maml/build.ts'
import { parseMaml } from '../../../src/maml/parse.ts'
import { provePossession } from '../../../src/maml/possession.ts'
import { signMaml } from '../../../src/maml/sign.ts'
import { parseEntry } from '../../../src/receipt/entry.ts'
import { judge } from '../../../src/receipt/judge.ts'
import { makeReceiptEntry } from '../../../src/receipt/make.ts'
import { buildMu, parseMu } from '../../../src/receipt/mu.ts'
import { DEVNET_POLICY, policyHash } from '../../../src/receipt/policy.ts'
import { signEntry } from '../../../src/receipt/sign.ts'

/**
 * A second writer of every format, from docs/formats.md, docs/contracts.md and docs/log.md alone: Buffers, string
 * templates and Node's own hashes, nothing of src/. What it writes must be, byte for byte, what we write.
 */

// ---- the second writer

const sha256 = (...parts: Uint8Array[]): Buffer => {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return hash.digest()
}
const hex = (bytes: Uint8Array): `0x${string}` => `0x${Buffer.from(bytes).toString('hex')}`
const bytesOf = (text: string): Buffer => Buffer.from(text.replace(/^0x/, ''), 'hex')
const utf8 = (text: string): Buffer => Buffer.from(text, 'utf8')
const big = (value: number | bigint, width: number): Buffer =>
  bytesOf(
    BigInt(value)
      .toString(16)
      .padStart(2 * width, '0'),
  )

/** Solidity's abi.encode of a tag and values: numbers and byte strings of up to 32 bytes left-padded, strings as tails. */
function abiEncode(tag: string, ...values: (number | bigint | Uint8Array | string)[]): Buffer {
  const all = [keccak_256(utf8(`dunes.${tag}/v1`)), ...values]
  let tail = Buffer.alloc(0)
  const head = all.map((value) => {
    if (typeof value !== 'string')
      return typeof value === 'object' ? big(BigInt(hex(value)), 32) : big(value, 32)
    const offset = big(32 * all.length + tail.length, 32)
    const body = utf8(value)
    tail = Buffer.concat([tail, big(body.length, 32), body, Buffer.alloc((32 - (body.length % 32)) % 32)])
    return offset
  })
  return Buffer.concat([...head, tail])
}
const keccakOf = (...encoded: Parameters<typeof abiEncode>) => hex(keccak_256(abiEncode(...encoded)))

/** The code points of a text from last to first. */
function mirror(text: string): string {
  let out = ''
  for (const point of text) out = point + out
  return out
}
const dilithium = (signature: Uint8Array): string => `## Signature\nCRYSTALS-Dilithium: ${hex(signature)}\n`

const sign = (seed: Uint8Array, message: Uint8Array, context: string): Uint8Array =>
  ml_dsa65.sign(message, ml_dsa65.keygen(seed).secretKey, { context: utf8(context) })
const verifies = (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array, context: string) =>
  ml_dsa65.verify(signature, message, publicKey, { context: utf8(context) })

// ---- one submission, in figures

const SEED = new Uint8Array(32).fill(61)
const INDEXER = new Uint8Array(32).fill(62)
const PUBLIC_KEY = ml_dsa65.keygen(SEED).publicKey
const CHAIN_ID = 31_337
const REGISTRY = hex(sha256(utf8('registry')).subarray(12))
const CONTRIBUTOR = hex(sha256(utf8('contributor')).subarray(12))
const URI = utf8('https://stations.example/r/1.maml.md')
// Its value names in byte order are a1, a_, ab, air_quality, zeta.
const UNSIGNED = utf8(
  [
    '---',
    'maml: 1.0',
    'schema: iot_data.maml',
    'sensor: helium_001',
    '---',
    'Free text, with 🌫 and é.',
    '',
    '## Data_Block',
    '```json',
    '[{"zeta": "🌫", "air_quality": 85, "a1": 1, "a_": 2, "ab": 3, "sensor_id": "helium_001", "timestamp": "2025-10-01T23:30:00.250Z"},',
    ' {"ab": 3, "a_": 2, "a1": 1, "zeta": "", "air_quality": 86, "timestamp": "2025-10-01T23:31:00Z", "sensor_id": "helium_001"}]',
    '```',
    '',
    '',
  ].join('\n'),
)
const PAYLOAD_SIGNATURE = sign(SEED, UNSIGNED, 'dunes.maml/v1')
const PAYLOAD = Buffer.concat([UNSIGNED, utf8(dilithium(PAYLOAD_SIGNATURE))])
const SCHEMA = utf8(
  '---\nmaml: 1.0\nschema: iot_data.maml\ndataset: helium_sensors\n---\n## Schema\n```json\n{}\n```\n',
)

const ID = keccakOf(
  'submission',
  CHAIN_ID,
  bytesOf(REGISTRY),
  bytesOf(CONTRIBUTOR),
  4,
  'helium_001',
  sha256(PAYLOAD),
  PAYLOAD.length,
  sha256(URI),
)
const RECORD = (outcome: number) =>
  keccakOf(
    'record',
    CHAIN_ID,
    bytesOf(REGISTRY),
    bytesOf(ID),
    bytesOf(CONTRIBUTOR),
    'helium_001',
    'helium_sensors',
    sha256(SCHEMA),
    sha256(PAYLOAD),
    PAYLOAD.length,
    sha256(URI),
    sha256(PUBLIC_KEY),
    11,
    3,
    7,
    outcome,
  )
const ACC_BEFORE = sha256(utf8('acc'))
const ACC = keccakOf('acc', ACC_BEFORE, bytesOf(RECORD(1)))

/** The object of the entry; keys are written in the order of their code units by hand, as RFC 8785 has it. */
const object = (found: {
  alg: string
  mirrorSha256: string
  observed: boolean
  outcome: string
  readings: string
  reason: string
  sigSha256: string
  verdict: string
}) =>
  `{"acc":"${ACC}","chain":"eip155:31337","contributor":"${CONTRIBUTOR}","dataset":"helium_sensors","index":7,` +
  `"mirrorSha256":${found.mirrorSha256},"observed":${found.observed},"origin":"dunes.example/logs/devnet","outcome":"${found.outcome}",` +
  `"payload":{"bytes":${PAYLOAD.length},"sha256":"${hex(sha256(PAYLOAD))}"},` +
  `"payloadSig":{"alg":${found.alg},"keyId":"${hex(sha256(PUBLIC_KEY))}","sha256":${found.sigSha256}},` +
  `"readings":${found.readings},"reason":${found.reason},"registry":"${REGISTRY}","schemaSha256":"${hex(sha256(SCHEMA))}",` +
  `"sensor":"helium_001","seq":3,"settled":{"block":13,"blockHash":"${hex(sha256(utf8('block')))}","logIndex":5,` +
  `"time":"2025-10-01T23:30:04Z","tx":"${hex(sha256(utf8('tx')))}"},"submission":"${ID}","submitted":{"block":11,"logIndex":2},` +
  `"uriSha256":"${hex(sha256(URI))}","v":1,"verdict":"${found.verdict}"}`
const entryOf = (json: string, original: string, timestamp: string): Buffer =>
  utf8(
    `---\n${json}\n---\n## Receipt\nData: ${mirror(original)}\nOriginal: ${original}\nTimestamp: ${timestamp}\n`,
  )
const MIRROR = utf8(mirror(PAYLOAD.toString('utf8')))

const READ = {
  alg: '"ML-DSA-65"',
  mirrorSha256: `"${hex(sha256(MIRROR))}"`,
  observed: false,
  outcome: 'validated',
  readings: '2',
  reason: 'null',
  sigSha256: `"${hex(sha256(PAYLOAD_SIGNATURE))}"`,
  verdict: 'accepted',
}
const ACCEPTED = entryOf(object(READ), 'a1_a__ab_air_quality_zeta_data', '2025-10-01T23:30:00.250Z')
const UNREAD = {
  ...READ,
  alg: 'null',
  mirrorSha256: 'null',
  readings: 'null',
  sigSha256: 'null',
  verdict: 'rejected',
}
const unread = (reason: string, outcome: string, observed: boolean) =>
  entryOf(object({ ...UNREAD, reason: `"${reason}"`, outcome, observed }), 'data', '2025-10-01T23:30:04Z')

// ---- the same submission, by the program

const FACTS = {
  outcome: 'validated' as 'validated' | 'rejected' | 'expired',
  chain: 'eip155:31337',
  contributor: CONTRIBUTOR,
  sensor: 'helium_001',
  dataset: 'helium_sensors',
  payload: { sha256: hex(sha256(PAYLOAD)), bytes: PAYLOAD.length },
  uriRefused: false,
  bytes: new Uint8Array(PAYLOAD) as Uint8Array | null,
  key: { publicKey: PUBLIC_KEY, possessionValid: true },
  earlierKeys: [],
  schema: new Uint8Array(SCHEMA),
  submittedTime: 1_759_361_402,
  policy: DEVNET_POLICY,
}
const programEntry = (change: Partial<typeof FACTS> = {}): Uint8Array =>
  makeReceiptEntry(
    {
      origin: 'dunes.example/logs/devnet',
      chain: 'eip155:31337',
      registry: REGISTRY,
      index: 7,
      submission: ID,
      contributor: CONTRIBUTOR,
      seq: 3n,
      acc: ACC,
      sensor: 'helium_001',
      dataset: 'helium_sensors',
      schemaSha256: hex(sha256(SCHEMA)),
      uriSha256: hex(sha256(URI)),
      payload: FACTS.payload,
      keyId: hex(sha256(PUBLIC_KEY)),
      submitted: { block: 11, logIndex: 2 },
      settled: {
        tx: hex(sha256(utf8('tx'))),
        block: 13n,
        blockHash: hex(sha256(utf8('block'))),
        logIndex: 5,
        time: 1_759_361_404,
      },
      outcome: change.outcome ?? 'validated',
    },
    judge({ ...FACTS, ...change }, { mlDsa: nobleMlDsa }),
  )
const same = (ours: Uint8Array, theirs: Uint8Array) =>
  expect(Buffer.from(ours).toString('utf8')).toBe(Buffer.from(theirs).toString('utf8'))

describe('a writer that shares no code with ours writes the same', () => {
  it('signed bytes and signature of a payload', () => {
    const parsed = parseMaml(new Uint8Array(PAYLOAD))
    same(parsed.signedBytes, UNSIGNED)
    const signed = signMaml(new Uint8Array(UNSIGNED), SEED, nobleMlDsa)
    const [line, end] = Buffer.from(signed.subarray(UNSIGNED.length)).toString().split('\n').slice(1)
    expect(end).toBe('')
    expect(Buffer.from(signed.subarray(0, UNSIGNED.length + 13)).toString()).toBe(
      `${UNSIGNED.toString()}## Signature\n`,
    )
    const signature = bytesOf(String(line).slice('CRYSTALS-Dilithium: '.length))
    expect(verifies(PUBLIC_KEY, UNSIGNED, signature, 'dunes.maml/v1')).toBe(true)
    expect(verifies(PUBLIC_KEY, UNSIGNED, signature, 'dunes.mu/v1')).toBe(false)
    expect(verifies(PUBLIC_KEY, UNSIGNED.subarray(0, -1), signature, 'dunes.maml/v1')).toBe(false)
  })

  it('a payload of one reading with front matter', () => {
    const text =
      '---\nmaml: 1.0\nschema: iot_data.maml\ndataset: d\nsensor: s\ncontributor: eip155:1:0xab\ncreated: 2025-10-01T23:30:00Z\n---\n' +
      '## Data_Block\n```json\n{\n  "sensor_id": "s",\n  "timestamp": "2025-10-01T23:30:00Z"\n}\n```\n'
    const frontMatter = {
      created: '2025-10-01T23:30:00Z',
      contributor: 'eip155:1:0xab',
      sensor: 's',
      dataset: 'd',
      schema: 'iot_data.maml',
      maml: '1.0',
    }
    same(
      buildMaml({ frontMatter, readings: [{ sensor_id: 's', timestamp: '2025-10-01T23:30:00Z' }] }),
      utf8(text),
    )
  })

  it('the entry of an accepted submission', () => same(programEntry(), ACCEPTED))
  it('the entry of an unobtainable payload', () =>
    same(programEntry({ bytes: null }), unread('PAYLOAD_UNAVAILABLE', 'validated', true)))
  it('the entry of a refused URI, even with the bytes at hand', () =>
    same(programEntry({ uriRefused: true }), unread('URI_REFUSED', 'validated', false)))
  it('the entry of a submission that the quorum rejected', () =>
    same(programEntry({ outcome: 'rejected' }), unread('QUORUM_REJECTED', 'rejected', false)))
  it('the entry of an expired submission', () =>
    same(programEntry({ outcome: 'expired' }), unread('EXPIRED', 'expired', false)))
  it('the entry of a payload that was read and rejected', () =>
    same(
      programEntry({ key: { publicKey: PUBLIC_KEY, possessionValid: false } }),
      entryOf(
        object({ ...READ, reason: '"KEY_UNKNOWN"', verdict: 'rejected' }),
        'a1_a__ab_air_quality_zeta_data',
        '2025-10-01T23:30:00.250Z',
      ),
    ))

  it('the whole receipt, unsigned and signed, with a mirror and with an empty one', () => {
    const cases: [Buffer, Buffer][] = [
      [ACCEPTED, MIRROR],
      [unread('PAYLOAD_UNAVAILABLE', 'validated', true), Buffer.alloc(0)],
    ]
    expect(MIRROR.length).toBe(PAYLOAD.length)
    for (const [entry, mirrored] of cases) {
      const bare = Buffer.concat([entry, utf8('## Mirror\n'), mirrored, utf8('\n')])
      same(buildMu(entry, new Uint8Array(PAYLOAD), null), bare)
      const signature = sign(INDEXER, entry, 'dunes.mu/v1')
      const whole = Buffer.concat([bare, utf8(dilithium(signature))])
      same(buildMu(entry, new Uint8Array(PAYLOAD), signature), whole)
      const read = parseMu(new Uint8Array(whole))
      expect(hex(read.mirror)).toBe(hex(mirrored))
      expect(hex(read.signature as Uint8Array)).toBe(hex(signature))
    }
  })

  it('the signature of a receipt', () => {
    const signature = signEntry(new Uint8Array(ACCEPTED), INDEXER, nobleMlDsa)
    const { publicKey } = ml_dsa65.keygen(INDEXER)
    expect(verifies(publicKey, ACCEPTED, signature, 'dunes.mu/v1')).toBe(true)
    expect(verifies(publicKey, ACCEPTED, signature, '')).toBe(false)
  })

  it('what an entry says when it is read back', () => {
    const { entry, data, original, timestamp } = parseEntry(new Uint8Array(ACCEPTED))
    expect(entry).toEqual(JSON.parse(object(READ)))
    expect([data, original, timestamp]).toEqual([
      'atad_atez_ytilauq_ria_ba__a_1a',
      'a1_a__ab_air_quality_zeta_data',
      '2025-10-01T23:30:00.250Z',
    ])
  })

  it("the seed's example", () => {
    const original = 'air_quality_data'
    expect(mirror(original)).toBe('atad_ytilauq_ria')
    const reading = { sensor_id: 'helium_001', air_quality: 85, timestamp: '2025-10-01T23:30:00Z' }
    const bytes = signMaml(buildMaml({ readings: [reading] }), SEED, nobleMlDsa)
    const payload = { sha256: hex(sha256(bytes)), bytes: bytes.length }
    const { read } = judge({ ...FACTS, bytes, payload }, { mlDsa: nobleMlDsa })
    expect(read).toMatchObject({ names: ['air_quality', 'sensor_id', 'timestamp'], readings: 1 })
  })
})

describe('hashes that share no code with ours are the same', () => {
  it('leaf and node of the log (RFC 6962 section 2.1)', () => {
    expect(hex(leafHash(new Uint8Array(ACCEPTED)))).toBe(hex(sha256(Buffer.from([0]), ACCEPTED)))
    const [left, right] = [sha256(utf8('l')), sha256(utf8('r'))]
    expect(hex(nodeHash(left, right))).toBe(hex(sha256(Buffer.from([1]), left, right)))
  })

  it('submission id, records of every outcome, and accumulator', () => {
    const chain = { chainId: CHAIN_ID, registry: REGISTRY, contributor: CONTRIBUTOR }
    const said = {
      sensor: 'helium_001',
      payloadHash: hex(sha256(PAYLOAD)),
      payloadBytes: PAYLOAD.length,
      uriSha256: hex(sha256(URI)),
    }
    expect(submissionId({ ...chain, ...said, nonce: 4 })).toBe(ID)
    for (const [i, outcome] of (['validated', 'rejected', 'expired'] as const).entries()) {
      const fields = {
        ...chain,
        ...said,
        id: ID,
        dataset: 'helium_sensors',
        schemaSha256: hex(sha256(SCHEMA)),
        keyId: hex(sha256(PUBLIC_KEY)),
        submittedBlock: 11,
        seq: 3,
        index: 7,
        outcome,
      }
      expect(recordHash(fields)).toBe(RECORD(i + 1))
    }
    expect(nextAcc(hex(ACC_BEFORE), RECORD(1))).toBe(ACC)
  })

  it('digest of a proof of possession, and the proof', () => {
    const digest = sha256(
      utf8('dunes.key/v1\0'),
      big(CHAIN_ID, 32),
      bytesOf(REGISTRY),
      bytesOf(CONTRIBUTOR),
      big(258, 8),
    )
    const ours = keyPossessionDigest({
      chainId: CHAIN_ID,
      registry: REGISTRY,
      account: CONTRIBUTOR,
      keyIndex: 258,
    })
    expect(hex(ours)).toBe(hex(digest))
    expect(verifies(PUBLIC_KEY, digest, provePossession(SEED, ours, nobleMlDsa), 'dunes.key/v1')).toBe(true)
  })

  it("the devnet's leaf policy", () => {
    const text =
      '{"ages":{},"formats":{"entry":1,"maml":"1.0","reasons":1,"uri":1},"graceSeconds":5,"limits":{"jsonDepth":16,"names":32,' +
      '"payloadBytes":1048576,"readings":10000,"schemaBytes":16384},"maxLagSeconds":600,"v":1}'
    expect(hex(policyHash(DEVNET_POLICY))).toBe(hex(sha256(utf8(text))))
  })
})
