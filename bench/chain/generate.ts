import { createHash } from 'node:crypto'
import { closeSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { VALIDATOR_ROLE } from '../../src/chain/decode.ts'
import { keyPossessionDigest, nextAcc, recordHash, submissionId, ZERO_WORD } from '../../src/chain/record.ts'
import { fromHex, type Hex, toHex, utf8 } from '../../src/core/bytes.ts'
import { mlDsa } from '../../src/core/ml-dsa-native.ts'
import { provePossession } from '../../src/maml/possession.ts'
import { DEVNET_POLICY, policyHash } from '../../src/receipt/policy.ts'
import { SCHEMA } from '../fixture.ts'
import { EMPTY_BLOCK, headerJson, quantity, seal, sealEmpty } from './block.ts'
import { abiEncode, type BareLog, eventTopic, text, word } from './codec.ts'
import { signPayloads } from './payloads.ts'

/** What a chain is made from; the same plan gives the same chain, except for payloads, whose signatures are salted. */
export interface ChainPlan {
  seed: number
  submissions: number
  contributors: number
  /** Events in a block that has any. */
  eventsPerBlock: number
  /** One block in so many has events. */
  everyBlocks: number
  /** Readings a payload; 0 for submissions whose payloads exist nowhere. */
  readings: number
  /** Folder for the files. */
  folder: string
  /** Before the payload's number in each URI. */
  uriBase: string
  /** The registry's index of the first settled submission, 0 unless told: more where a database is filled already. */
  firstIndex?: number
}

export const CHAIN_ID = 31_337
export const REGISTRY: Hex = `0x${'5e'.repeat(20)}`
export const ANCHOR: Hex = `0x${'a0'.repeat(20)}`
/** Events of one submission: submitted, two attestations, settled. */
export const EVENTS_EACH = 4
const GENESIS_TIME = 1_700_000_000
const DATASET = 'helium_sensors'
/** Blocks without events at the end: more than any indexer takes to be final. */
export const CALM_BLOCKS = 40
/** Events of the blocks that set things up. */
const SETUP_EVENTS = 64

const TOPIC = {
  roleGranted: eventTopic('RoleGranted(bytes32,address,address)'),
  leafPolicyAdded: eventTopic('LeafPolicyAdded(uint64,bytes32)'),
  datasetUpdated: eventTopic('DatasetUpdated(string,uint64,bytes32,bytes)'),
  keyRegistered: eventTopic('KeyRegistered(address,uint64,bytes32,bytes,bytes)'),
  sensorRegistered: eventTopic('SensorRegistered(address,string,string,uint64)'),
  submitted: eventTopic(
    'Submitted(bytes32,address,uint64,string,string,bytes32,bytes32,uint64,string,bytes32,uint32)',
  ),
  attested: eventTopic('Attested(bytes32,address,bool)'),
  settled: eventTopic('SubmissionSettled(bytes32,address,uint64,uint64,uint8,bytes32,bytes32)'),
}

export interface Contributor {
  account: Hex
  sensor: string
  seed: Uint8Array
  keyId: Hex
  publicKey: Uint8Array
}

/** A finished chain: everything by block number. */
export interface GeneratedChain {
  head: number
  events: number
  /** The first block with submissions; all before it have few events of many kinds. */
  firstSubmissions: number
  /** 32 bytes a block. */
  hashes: Buffer
  timeOf(number: number): number
  /** File of all logs as JSON, a comma after each; block n has bytes `logsAt[n]` up to but without `logsAt[n + 1]`. */
  logs: string
  logsAt: Float64Array
  /** Number of logs before block n. */
  logsBefore: Float64Array
  /** File of the blocks that have events, as JSON without transactions and the last brace, by block number; empty where there is none. */
  blocks: string
  blocksAt: Float64Array
  /** Transactions of a block, 0 to 2. */
  transactions: Uint8Array
  /** Ids of the submissions in settling order, 32 bytes each, and the block that settles each. */
  ids: Buffer
  settledIn: Float64Array
  /** Binary COPY of (sha256, bytes) of all payloads, and where each one's bytes are in it; null without payloads. */
  payloads: { file: string; at: Float64Array; bytes: Float64Array } | null
}

const sha = (input: string | Uint8Array): Buffer => createHash('sha256').update(input).digest()
const hex = (bytes: Uint8Array): Hex => toHex(bytes)

/** Appends to a file in large pieces. */
class Spool {
  readonly #file: number
  #pieces: string[] = []
  #held = 0
  length = 0
  constructor(path: string) {
    this.#file = openSync(path, 'w')
  }
  add(piece: string): void {
    this.#pieces.push(piece)
    this.#held += piece.length
    this.length += piece.length
    if (this.#held > 1 << 22) this.flush()
  }
  flush(): void {
    writeSync(this.#file, this.#pieces.join(''), null, 'latin1')
    this.#pieces = []
    this.#held = 0
  }
  close(): void {
    this.flush()
    closeSync(this.#file)
  }
}

export const transactionHash = (block: number, i: number): Hex =>
  hex(sha(`transaction ${i} of block ${block}`))

function makeContributors(plan: ChainPlan): Contributor[] {
  return Array.from({ length: plan.contributors }, (_, n) => {
    const seed = sha(`seed ${n} of ${plan.seed}`)
    const publicKey = mlDsa.publicKey(65, seed)
    return {
      account: hex(sha(`account ${n} of ${plan.seed}`).subarray(0, 20)),
      sensor: `sensor_${n}`,
      seed,
      publicKey,
      keyId: hex(sha(publicKey)),
    }
  })
}

function setupLogs(contributors: readonly Contributor[], validators: readonly Hex[]): BareLog[] {
  const registry = (topics: Hex[], data: Hex): BareLog => ({ address: REGISTRY, topics, data })
  const padded = (account: Hex): Hex => `0x${word(account)}`
  return [
    ...validators.map((account) =>
      registry([TOPIC.roleGranted, VALIDATOR_ROLE, padded(account), padded(account)], '0x'),
    ),
    {
      address: ANCHOR,
      topics: [TOPIC.leafPolicyAdded],
      data: abiEncode([word(0), word(hex(policyHash(DEVNET_POLICY)))]),
    },
    registry(
      [TOPIC.datasetUpdated],
      abiEncode([text(DATASET), word(0), word(hex(sha(SCHEMA))), { bytes: SCHEMA }]),
    ),
    ...contributors.flatMap(({ account, keyId, publicKey, seed, sensor }) => {
      const digest = keyPossessionDigest({ chainId: CHAIN_ID, registry: REGISTRY, account, keyIndex: 0 })
      const possession = provePossession(seed, digest, mlDsa)
      return [
        registry(
          [TOPIC.keyRegistered, padded(account), padded('0x0')],
          abiEncode([word(keyId), { bytes: publicKey }, { bytes: possession }]),
        ),
        registry(
          [TOPIC.sensorRegistered, padded(account)],
          abiEncode([text(sensor), text(DATASET), word('0x8928308280fffff')]),
        ),
      ]
    }),
  ]
}

/** Makes the chain of a plan and writes it to files. `progress` is told now and then. */
export async function generateChain(
  plan: ChainPlan,
  progress: (line: string) => void,
): Promise<GeneratedChain> {
  const { firstIndex = 0 } = plan
  const contributors = makeContributors(plan)
  const validators = [0, 1].map((n) => hex(sha(`validator ${n} of ${plan.seed}`).subarray(0, 20)))
  const setup = setupLogs(contributors, validators)
  const setupBlocks = Math.ceil(setup.length / SETUP_EVENTS)
  const events = plan.submissions * EVENTS_EACH
  const firstSubmissions = 1 + setupBlocks
  const eventBlocks = Math.ceil(events / plan.eventsPerBlock)
  const lastEvents = firstSubmissions + eventBlocks * plan.everyBlocks - 1
  const head = lastEvents + CALM_BLOCKS

  const hashes = Buffer.alloc(32 * (head + 1))
  const logsAt = new Float64Array(head + 2)
  const logsBefore = new Float64Array(head + 2)
  const blocksAt = new Float64Array(head + 2)
  const transactions = new Uint8Array(head + 1)
  const ids = Buffer.alloc(32 * plan.submissions)
  const settledIn = new Float64Array(plan.submissions)
  const logFile = join(plan.folder, 'logs.json')
  const blockFile = join(plan.folder, 'blocks.json')
  const logs = new Spool(logFile)
  const blocks = new Spool(blockFile)
  const timeOf = (number: number) => GENESIS_TIME + number
  let logCount = 0

  const mine = (number: number, its: readonly BareLog[]) => {
    const half = Math.ceil(its.length / 2)
    const groups = [its.slice(0, half), its.slice(half)].filter(({ length }) => length > 0)
    const parent = number === 0 ? Buffer.alloc(32) : hashes.subarray(32 * number - 32, 32 * number)
    const sealed = seal(number, timeOf(number), parent, groups)
    sealed.hash.copy(hashes, 32 * number)
    transactions[number] = groups.length
    blocks.add(headerJson(number, timeOf(number), parent, sealed, groups.length))
    const tail = `"blockHash":"${hex(sealed.hash)}","blockNumber":"${quantity(number)}","blockTimestamp":"${quantity(timeOf(number))}","removed":false`
    let i = 0
    for (const [g, group] of groups.entries()) {
      const tx = transactionHash(number, g)
      for (const { address, topics, data } of group)
        logs.add(
          `{"address":"${address}","topics":["${topics.join('","')}"],"data":"${data}","transactionHash":"${tx}","transactionIndex":"${quantity(g)}","logIndex":"${quantity(i++)}",${tail}},`,
        )
    }
    logCount += its.length
  }
  const after = (number: number) => {
    logsAt[number + 1] = logs.length
    logsBefore[number + 1] = logCount
    blocksAt[number + 1] = blocks.length
  }

  mine(0, [])
  after(0)
  for (let n = 0; n < setupBlocks; n++) {
    mine(1 + n, setup.slice(n * SETUP_EVENTS, (n + 1) * SETUP_EVENTS))
    after(1 + n)
  }

  const payloads = plan.readings > 0 ? await signPayloads(plan, contributors, progress) : null
  const settledSoFar = contributors.map(() => ({ acc: ZERO_WORD, count: 0 }))
  const schemaSha256 = hex(sha(SCHEMA))
  let waiting: BareLog[] = []
  let begun = 0
  let number = firstSubmissions
  const log = (topics: Hex[], data: Hex): BareLog => ({ address: REGISTRY, topics, data })
  // The record holds the block of the submission: it is known as soon as the events before it are counted.
  const blockOf = (event: number) =>
    firstSubmissions + (Math.floor(event / plan.eventsPerBlock) + 1) * plan.everyBlocks - 1
  while (number <= lastEvents) {
    // Blocks without events come first, so that the last block has some.
    if (plan.everyBlocks > 1) {
      sealEmpty(number, plan.everyBlocks - 1, timeOf, hashes)
      for (let i = 0; i < plan.everyBlocks - 1; i++) after(number++)
    }
    while (waiting.length < plan.eventsPerBlock && begun < plan.submissions) {
      const n = begun++
      const who = n % contributors.length
      const { account, sensor, keyId } = contributors[who]!
      const seq = settledSoFar[who]!
      const payloadHash = payloads ? hex(payloads.sha256(n)) : hex(sha(`payload ${n} of ${plan.seed}`))
      const payloadBytes = payloads ? payloads.length(n) : 4_000
      const uri = `${plan.uriBase}${n}`
      const uriSha256 = hex(sha(utf8(uri)))
      const id = submissionId({
        chainId: CHAIN_ID,
        registry: REGISTRY,
        contributor: account,
        nonce: seq.count,
        sensor,
        payloadHash,
        payloadBytes,
        uriSha256,
      })
      ids.set(fromHex(id), 32 * n)
      const record = recordHash({
        chainId: CHAIN_ID,
        registry: REGISTRY,
        id,
        contributor: account,
        sensor,
        dataset: DATASET,
        schemaSha256,
        payloadHash,
        payloadBytes,
        uriSha256,
        keyId,
        submittedBlock: blockOf(n * EVENTS_EACH),
        seq: seq.count,
        index: firstIndex + n,
        outcome: 'validated',
      })
      const owner: Hex = `0x${word(account)}`
      const nonce = seq.count++
      seq.acc = nextAcc(seq.acc, record)
      settledIn[n] = blockOf(n * EVENTS_EACH + EVENTS_EACH - 1)
      waiting.push(
        log(
          [TOPIC.submitted, id, owner],
          abiEncode([
            word(nonce),
            text(sensor),
            text(DATASET),
            word(schemaSha256),
            word(payloadHash),
            word(payloadBytes),
            text(uri),
            word(keyId),
            word(2),
          ]),
        ),
        ...validators.map((validator) => log([TOPIC.attested, id, `0x${word(validator)}`], `0x${word(1)}`)),
        log(
          [TOPIC.settled, id, owner],
          abiEncode([word(firstIndex + n), word(nonce), word(1), word(record), word(seq.acc)]),
        ),
      )
    }
    mine(number, waiting.slice(0, plan.eventsPerBlock))
    after(number)
    waiting = waiting.slice(plan.eventsPerBlock)
    number++
    if (number % 1000 === 0) progress(`${begun} of ${plan.submissions} submissions are mined`)
  }
  sealEmpty(number, CALM_BLOCKS, timeOf, hashes)
  while (number <= head) after(number++)
  logs.close()
  blocks.close()
  return {
    head,
    events: setup.length + events,
    firstSubmissions,
    hashes,
    timeOf,
    logs: logFile,
    logsAt,
    logsBefore,
    blocks: blockFile,
    blocksAt,
    transactions,
    ids,
    settledIn,
    payloads: payloads?.stored ?? null,
  }
}

export const emptyBlockJson = (chain: GeneratedChain, number: number): string =>
  headerJson(
    number,
    chain.timeOf(number),
    chain.hashes.subarray(32 * number - 32, 32 * number),
    { ...EMPTY_BLOCK, hash: chain.hashes.subarray(32 * number, 32 * number + 32) },
    0,
  )
