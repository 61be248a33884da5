import { bloomBits } from '../../src/chain/bloom.ts'
import { keyPossessionDigest } from '../../src/chain/record.ts'
import { type Hex, sha256, toHex, utf8 } from '../../src/core/bytes.ts'
import type { JsonObject } from '../../src/core/json.ts'
import { mlDsa } from '../../src/core/ml-dsa-native.ts'
import { buildMaml } from '../../src/maml/build.ts'
import { provePossession } from '../../src/maml/possession.ts'
import { signMaml } from '../../src/maml/sign.ts'
import { DEVNET_POLICY, policyHash } from '../../src/receipt/policy.ts'
import {
  type Action,
  CHAIN_ID,
  type ContractState,
  type EmittedLog,
  named,
  REGISTRY,
  TTL,
  type Tx,
} from './contracts.ts'
import type { HostKind, PayloadHosts } from './payload-host.ts'
import type { Random } from './random.ts'

/** What people do on the chain: transactions for each block, of every sort that the contracts know. */

export const CHAIN = `eip155:${CHAIN_ID}`
const POLICY = toHex(policyHash(DEVNET_POLICY))
const account = (fill: number): Hex => toHex(new Uint8Array(20).fill(fill))
const CONTRIBUTORS = [account(0xc1), account(0xc2), account(0xc3)] as const
const VALIDATORS = [account(0xe1), account(0xe2), account(0xe3)] as const
const DATASETS = ['alpha', 'beta'] as const

/** Key number `index` of an account: four seeds, by turns. */
const seedOf = (contributor: Hex, index: number): Uint8Array => sha256(utf8(`${contributor} ${index % 4}`))
const publicKeys = new Map<string, Uint8Array>()
function publicKeyOf(seed: Uint8Array): Uint8Array {
  const name = toHex(seed)
  const known = publicKeys.get(name) ?? mlDsa.publicKey(65, seed)
  publicKeys.set(name, known)
  return known
}
const possessions = new Map<string, Uint8Array>()
function possessionOf(contributor: Hex, index: number): Uint8Array {
  const name = `${contributor} ${index}`
  const known =
    possessions.get(name) ??
    provePossession(
      seedOf(contributor, index),
      keyPossessionDigest({ chainId: CHAIN_ID, registry: REGISTRY, account: contributor, keyIndex: index }),
      mlDsa,
    )
  possessions.set(name, known)
  return known
}

/** Versions of a dataset's schema: a column becomes wider, one comes, one changes its type for good. */
const SCHEMAS: readonly Record<string, string>[] = [
  { air: '"integer"', note: '"string"' },
  { air: '"number"', note: '"string"', warm: '"boolean"' },
  { air: '"number"', note: '["string", "integer"]', extra: '"integer"' },
]
const NO_SCHEMA = utf8('this is no schema file\n')
function schemaFile(dataset: string, types: Record<string, string>): Uint8Array {
  const properties = Object.entries({ sensor_id: '"string"', timestamp: '"string"', ...types })
    .map(([name, type]) => `    "${name}": { "type": ${type} }`)
    .join(',\n')
  return utf8(
    `---\nmaml: 1.0\nschema: ${dataset}.maml\ndataset: ${dataset}\n---\n## Schema\n\`\`\`json\n{\n  "type": "object",\n  "required": ["sensor_id", "timestamp", "air"],\n  "properties": {\n${properties}\n  }\n}\n\`\`\`\n`,
  )
}

/** Topics that set the bits of an address in a bloom, so that the bloom says "maybe" of a contract that logged nothing. */
const decoys = new Map<Hex, EmittedLog>()
function decoyOf(address: Hex): EmittedLog {
  const known = decoys.get(address)
  if (known) return known
  const topics: Hex[] = []
  for (const bit of bloomBits(address)) {
    let n = 0
    let topic = named(`decoy ${n}`)
    while (!bloomBits(topic).includes(bit)) topic = named(`decoy ${++n}`)
    topics.push(topic)
  }
  const log: EmittedLog = { address: `0x${'44'.repeat(20)}`, topics, data: '0x' }
  decoys.set(address, log)
  return log
}

const PAYLOADS = [
  ...Array.from({ length: 12 }, () => 'good' as const),
  'duplicate',
  'duplicate',
  'malformed',
  'unsigned',
  'other signer',
  'earlier key',
  'other sensor',
  'not by the schema',
  'unavailable',
  'unavailable',
  'refused',
  'no text',
] as const

export class Script {
  readonly #random: Random
  readonly #hosts: PayloadHosts
  /** Payloads that their host gives, by hash. */
  readonly obtainable = new Map<Hex, Uint8Array>()
  readonly #sent: { contributor: Hex; bytes: Uint8Array }[] = []
  #transactions = 0
  #payloads = 0
  #sensors = 0
  #schemas = 0
  /** Where payloads of the next submissions are kept. */
  host: Exclude<HostKind, 'bad'> = 'steady'
  /** Submissions that need no payload, many in a block: to fill the log. */
  bulk = false

  constructor(random: Random, hosts: PayloadHosts) {
    this.#random = random
    this.#hosts = hosts
  }

  #tx(action: Action): Tx {
    return { hash: named(`transaction ${this.#transactions++}`), action }
  }

  deployment(): Tx[] {
    const { int } = this.#random
    return [
      this.#tx({ kind: 'deploy', validators: [...VALIDATORS], quorum: int(1, 2), policyHash: POLICY }),
      ...DATASETS.map((name) =>
        this.#tx({ kind: 'setDataset', name, schema: schemaFile(name, SCHEMAS[0] as never) }),
      ),
    ]
  }

  /** Keys and sensors for everybody. */
  registrations(): Tx[] {
    return CONTRIBUTORS.flatMap((from, i) => [
      this.#key(from, 0),
      this.#tx({
        kind: 'registerSensor',
        from,
        name: `sensor_${this.#sensors++}`,
        dataset: DATASETS[i % 2] as string,
        h3: 0x8928308280fffffn + BigInt(i) * 0x1000000000000000n,
      }),
    ])
  }

  #key(from: Hex, keyIndex: number): Tx {
    const publicKey = publicKeyOf(seedOf(from, keyIndex))
    // Some prove the possession of another key index, which is no proof.
    const proved = this.#random.chance(0.15) && keyIndex > 0 ? keyIndex + 1 : keyIndex
    return this.#tx({
      kind: 'registerKey',
      from,
      publicKey,
      possession: possessionOf(from, proved),
      keyIndex,
    })
  }

  /** The transactions of a block on top of `state`; its number is `number`. */
  block(state: ContractState, number: number): Tx[] {
    const { chance, int, pick } = this.#random
    const out: Tx[] = []
    if (chance(0.15)) out.push(this.#tx({ kind: 'foreign', logs: [decoyOf(REGISTRY)] }))
    if (this.bulk) {
      for (let i = 0; i < 3; i++) out.push(...this.#bulk(state))
      return out
    }
    for (let n = int(0, 3); n > 0; n--) {
      const what = int(0, 99)
      if (what < 48) out.push(...this.#submit(state))
      else if (what < 55) {
        const from = pick(CONTRIBUTORS)
        const key = state.keys.get(from)
        if (!key || chance(0.7)) out.push(this.#key(from, key?.count ?? 0))
        else out.push(this.#tx({ kind: 'revokeKey', from }))
      } else if (what < 62) {
        const dataset = pick(DATASETS)
        const from = pick(CONTRIBUTORS)
        out.push(
          this.#tx({
            kind: 'registerSensor',
            from,
            name: `sensor_${this.#sensors++}`,
            dataset,
            h3: BigInt(int(0, 1e9)),
          }),
        )
      } else if (what < 68) {
        const dataset = pick(DATASETS)
        const version = (state.datasets.get(dataset)?.version ?? 0) + 1
        out.push(this.#tx({ kind: 'setDataset', name: dataset, schema: this.#schema(dataset, version) }))
      } else if (what < 72) out.push(this.#tx({ kind: 'setQuorum', quorum: int(1, 2) }))
      else if (what < 77) {
        const member = pick(VALIDATORS)
        out.push(this.#tx({ kind: 'setValidator', account: member, member: !state.validators.has(member) }))
      } else if (what < 79) out.push(this.#tx({ kind: 'addLeafPolicy', ahead: int(0, 3), hash: POLICY }))
      else if (what < 84) out.push(...this.#submit(state), ...this.#submit(state))
    }
    out.push(...this.#attestations(state, number))
    return out
  }

  /** Some have a column that no other version has: it stays for ever unless undoing the version takes it away. */
  #schema(dataset: string, version: number): Uint8Array {
    const { chance } = this.#random
    if (chance(0.15)) return NO_SCHEMA
    const own = chance(0.5) ? { [`only_${this.#schemas++}`]: '"integer"' } : {}
    return schemaFile(dataset, { ...SCHEMAS[Math.min(2, version)], ...own })
  }

  #attestations(state: ContractState, number: number): Tx[] {
    const { chance, pick } = this.#random
    const open = [...state.submissions.values()].filter((s) => s.settled === null)
    const out: Tx[] = []
    const validators = [...VALIDATORS].filter(() => chance(0.6))
    for (const from of validators) {
      const items = open.filter(() => chance(0.55)).map(({ id }) => ({ id, valid: chance(0.88) }))
      if (items.length > 0) out.push(this.#tx({ kind: 'attest', from, items }))
    }
    const old = open.filter((s) => number > s.block + TTL)
    if (old.length > 0) out.push(this.#tx({ kind: 'expire', id: pick(old).id }))
    return out
  }

  /** Many submissions that a quorum rejects in the next block, or whose URI is none: nothing to fetch. */
  #bulk(state: ContractState): Tx[] {
    const out: Tx[] = []
    const from = this.#random.pick(CONTRIBUTORS)
    const sensor = [...state.sensors].find(([, s]) => s.owner === from)?.[0]
    if (sensor) {
      const items = Array.from({ length: 12 }, () => {
        const bytes = utf8(`bulk ${this.#payloads++}`)
        return {
          sensor,
          payloadHash: toHex(sha256(bytes)),
          payloadBytes: bytes.length,
          uri: utf8('gopher://x/'),
        }
      })
      out.push(this.#tx({ kind: 'submit', from, items }))
    }
    const open = [...state.submissions.values()].filter((s) => s.settled === null)
    if (open.length > 0)
      for (const validator of VALIDATORS)
        out.push(
          this.#tx({
            kind: 'attest',
            from: validator,
            items: open.map(({ id }, i) => ({ id, valid: i % 2 === 0 })),
          }),
        )
    return out
  }

  #submit(state: ContractState): Tx[] {
    const { pick, int } = this.#random
    const from = pick(CONTRIBUTORS)
    const key = state.keys.get(from)
    const sensors = [...state.sensors].filter(([, s]) => s.owner === from)
    if (!key || key.revoked || sensors.length === 0) return []
    const items = Array.from({ length: int(1, 2) }, () => {
      const [sensor, { dataset }] = pick(sensors)
      const { bytes, uri } = this.#payload(state, from, sensor, dataset, key.count - 1)
      return { sensor, payloadHash: toHex(sha256(bytes)), payloadBytes: bytes.length, uri }
    })
    return [this.#tx({ kind: 'submit', from, items })]
  }

  #payload(
    state: ContractState,
    from: Hex,
    sensor: string,
    dataset: string,
    keyIndex: number,
  ): { bytes: Uint8Array; uri: Uint8Array } {
    const { pick, int, chance } = this.#random
    const kind = pick(PAYLOADS)
    const number = this.#payloads++
    const readings = Array.from({ length: int(1, 3) }, (_, i): JsonObject => {
      const reading: Record<string, JsonObject[string]> = {
        sensor_id: kind === 'other sensor' ? 'somewhere_else' : sensor,
        timestamp: new Date(Date.UTC(2026, 0, 1) + (number * 10 + i) * 1000).toISOString(),
        air: kind === 'not by the schema' ? 'bad' : int(0, 400),
        note: `note ${number}`,
      }
      const version = state.datasets.get(dataset)?.version ?? 0
      if (version > 0 && chance(0.5)) reading['air'] = int(0, 400) + 0.5
      return reading
    })
    // All readings have the same names.
    const whole = readings.map((reading) => ({ ...readings[0], ...reading }))
    const unsigned = buildMaml({
      frontMatter: {
        maml: '1.0',
        schema: `${dataset}.maml`,
        dataset,
        contributor: `${CHAIN}:${from}`,
        ...(chance(0.5) && { sensor }),
      },
      readings: whole,
    })
    const sign = (seed: Uint8Array) => signMaml(unsigned, seed, mlDsa)
    let bytes: Uint8Array
    switch (kind) {
      case 'duplicate': {
        const earlier = this.#sent.filter((sent) => sent.contributor === from)
        bytes = earlier.length > 0 ? pick(earlier).bytes : sign(seedOf(from, keyIndex))
        break
      }
      case 'malformed':
        bytes = utf8(`not a payload, number ${number}\n`)
        break
      case 'unsigned':
        bytes = unsigned
        break
      case 'other signer':
        bytes = sign(sha256(utf8('nobody')))
        break
      case 'earlier key':
        bytes = sign(seedOf(from, Math.max(0, keyIndex - 1)))
        break
      default:
        bytes = sign(seedOf(from, keyIndex))
    }
    const hash = toHex(sha256(bytes))
    if (kind === 'refused') return { bytes, uri: utf8(`ftp://host.example/${number}`) }
    if (kind === 'no text') return { bytes, uri: Uint8Array.of(0x68, 0xff, number & 255) }
    if (kind === 'unavailable') return { bytes, uri: utf8(this.#hosts.keep('bad', hash, bytes)) }
    if (kind === 'good') this.#sent.push({ contributor: from, bytes })
    this.obtainable.set(hash, bytes)
    return { bytes, uri: utf8(this.#hosts.keep(this.host, hash, bytes)) }
  }
}
