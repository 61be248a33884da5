import { keccak_256 } from '@noble/hashes/sha3.js'
import { type Hex, toHex, utf8 } from '../core/bytes.ts'
import { AbiReader, AbiRefusal, word } from './abi-reader.ts'
import { ANCHORED_TOPIC, decodeAnchored } from './anchored.ts'
import { ChainError, type ChainEvent, type EventPlace, type Outcome } from './source.ts'

/** A log as `eth_getLogs` answers it, everything in lower-case 0x hex. */
export interface RawLog {
  readonly address: Hex
  readonly topics: readonly Hex[]
  readonly data: Hex
  readonly blockHash: Hex
  readonly blockNumber: Hex
  readonly transactionHash: Hex
  readonly logIndex: Hex
}

/** The two contracts of a deployment, 20-byte lower-case 0x hex. */
export interface Contracts {
  readonly registry: Hex
  readonly anchor: Hex
}

/** Upper bounds in bytes of what an event may carry; the contracts enforce tighter ones or the same. */
const LIMITS = { publicKey: 8192, possession: 8192, schema: 16_384, uri: 1024 }

/** `VALIDATOR_ROLE` of SensorRegistry: the role whose holders may attest. */
export const VALIDATOR_ROLE = toHex(keccak_256(utf8('VALIDATOR_ROLE')))

const OUTCOMES: readonly (Outcome | undefined)[] = [undefined, 'validated', 'rejected', 'expired']

type Decoder = (at: EventPlace, topics: readonly string[], data: Hex) => ChainEvent | null

interface EventKind {
  /** How many indexed values the event has besides its signature. */
  readonly indexed: number
  readonly decode: Decoder
}

/** Topic 0 of an event: Keccak-256 of its canonical signature. */
const topic = (signature: string): Hex => toHex(keccak_256(utf8(signature)))

/** The 64 digits of the i-th indexed value. */
const indexed = (topics: readonly string[], i: number): string => (topics[i] as string).slice(2)

const role =
  (type: 'validatorAdded' | 'validatorRemoved'): Decoder =>
  (at, topics, data) => {
    new AbiReader(data, 0).end()
    // The other roles (admin) are no business of an indexer.
    if (topics[1] !== VALIDATOR_ROLE) return null
    return { ...at, type, account: word.address(indexed(topics, 2)) }
  }

const REGISTRY: ReadonlyMap<string, EventKind> = new Map<string, EventKind>([
  [
    topic('Submitted(bytes32,address,uint64,string,string,bytes32,bytes32,uint64,string,bytes32,uint32)'),
    {
      indexed: 2,
      decode(at, topics, data) {
        const read = new AbiReader(data, 9)
        const event: ChainEvent = {
          tx: at.tx,
          logIndex: at.logIndex,
          type: 'submitted',
          id: word.bytes32(indexed(topics, 1)),
          contributor: word.address(indexed(topics, 2)),
          nonce: read.safe(),
          sensor: read.name(),
          dataset: read.name(),
          schemaSha256: read.bytes32(),
          payloadHash: read.bytes32(),
          payloadBytes: read.safe(),
          uriBytes: read.bytes(LIMITS.uri),
          keyId: read.bytes32(),
          quorum: read.safe(32),
        }
        read.end()
        return event
      },
    },
  ],
  [
    topic('Attested(bytes32,address,bool)'),
    {
      indexed: 2,
      decode(at, topics, data) {
        const read = new AbiReader(data, 1)
        const event: ChainEvent = {
          tx: at.tx,
          logIndex: at.logIndex,
          type: 'attested',
          id: word.bytes32(indexed(topics, 1)),
          validator: word.address(indexed(topics, 2)),
          valid: read.bool(),
        }
        read.end()
        return event
      },
    },
  ],
  [
    topic('SubmissionSettled(bytes32,address,uint64,uint64,uint8,bytes32,bytes32)'),
    {
      indexed: 2,
      decode(at, topics, data) {
        const read = new AbiReader(data, 5)
        const index = read.safe()
        const seq = read.safe()
        const outcome = OUTCOMES[read.safe(8)]
        if (outcome === undefined) throw new AbiRefusal('the outcome is not 1, 2 or 3')
        const event: ChainEvent = {
          tx: at.tx,
          logIndex: at.logIndex,
          type: 'settled',
          id: word.bytes32(indexed(topics, 1)),
          contributor: word.address(indexed(topics, 2)),
          index,
          seq,
          outcome,
          record: read.bytes32(),
          acc: read.bytes32(),
        }
        read.end()
        return event
      },
    },
  ],
  [
    topic('KeyRegistered(address,uint64,bytes32,bytes,bytes)'),
    {
      indexed: 2,
      decode(at, topics, data) {
        const read = new AbiReader(data, 3)
        const event: ChainEvent = {
          ...at,
          type: 'keyRegistered',
          contributor: word.address(indexed(topics, 1)),
          keyIndex: word.safe(indexed(topics, 2)),
          keyId: read.bytes32(),
          publicKey: read.bytes(LIMITS.publicKey),
          possession: read.bytes(LIMITS.possession),
        }
        read.end()
        return event
      },
    },
  ],
  [
    topic('KeyRevoked(address,uint64)'),
    {
      indexed: 2,
      decode(at, topics, data) {
        new AbiReader(data, 0).end()
        return {
          ...at,
          type: 'keyRevoked',
          contributor: word.address(indexed(topics, 1)),
          keyIndex: word.safe(indexed(topics, 2)),
        }
      },
    },
  ],
  [
    topic('DatasetUpdated(string,uint64,bytes32,bytes)'),
    {
      indexed: 0,
      decode(at, _topics, data) {
        const read = new AbiReader(data, 4)
        const event: ChainEvent = {
          ...at,
          type: 'datasetUpdated',
          name: read.name(),
          version: read.safe(),
          schemaSha256: read.bytes32(),
          schema: read.bytes(LIMITS.schema),
        }
        read.end()
        return event
      },
    },
  ],
  [
    topic('SensorRegistered(address,string,string,uint64)'),
    {
      indexed: 1,
      decode(at, topics, data) {
        const read = new AbiReader(data, 3)
        const event: ChainEvent = {
          ...at,
          type: 'sensorRegistered',
          contributor: word.address(indexed(topics, 1)),
          name: read.name(),
          dataset: read.name(),
          h3Cell: read.u64(),
        }
        read.end()
        return event
      },
    },
  ],
  [topic('RoleGranted(bytes32,address,address)'), { indexed: 3, decode: role('validatorAdded') }],
  [topic('RoleRevoked(bytes32,address,address)'), { indexed: 3, decode: role('validatorRemoved') }],
  [
    topic('QuorumChanged(uint32)'),
    {
      indexed: 0,
      decode(at, _topics, data) {
        const read = new AbiReader(data, 1)
        const event: ChainEvent = { ...at, type: 'quorumChanged', quorum: read.safe(32) }
        read.end()
        return event
      },
    },
  ],
])

const ANCHOR: ReadonlyMap<string, EventKind> = new Map<string, EventKind>([
  [
    ANCHORED_TOPIC,
    {
      indexed: 1,
      decode: (at, topics, data) => ({ ...at, type: 'anchored', ...decodeAnchored(topics, data) }),
    },
  ],
  [
    topic('LeafPolicyAdded(uint64,bytes32)'),
    {
      indexed: 0,
      decode(at, _topics, data) {
        const read = new AbiReader(data, 2)
        const firstIndex = read.u64()
        const policyHash = read.bytes32()
        read.end()
        // The contract's admin may name any index not settled yet. One that no leaf will ever have must stop nobody.
        if (firstIndex > BigInt(Number.MAX_SAFE_INTEGER)) return null
        return { ...at, type: 'leafPolicyAdded', firstIndex: Number(firstIndex), policyHash }
      },
    },
  ],
  [
    topic('Closed(address,uint64,bytes32)'),
    {
      indexed: 0,
      decode(at, _topics, data) {
        const read = new AbiReader(data, 3)
        const event: ChainEvent = {
          ...at,
          type: 'logClosed',
          successor: read.address(),
          lastGoodSize: read.safe(),
          lastGoodRoot: read.bytes32(),
        }
        read.end()
        return event
      },
    },
  ],
])

/**
 * The event that a log of one of the two contracts says, decoded by hand: a general decoder costs many times as much on the
 * three kinds that make up nearly all logs. Null for logs that an indexer has no use for (other contracts, other events,
 * roles other than the validators', a leaf policy from an index beyond 2^53 - 1 on). Throws `EVENT_MALFORMED` where a known
 * event is not the canonical ABI encoding of it, holds an integer beyond 2^53 - 1, or a name or length that the contracts
 * do not allow.
 */
export function decodeLog(log: RawLog, contracts: Contracts): ChainEvent | null {
  const kinds =
    log.address === contracts.registry ? REGISTRY : log.address === contracts.anchor ? ANCHOR : undefined
  const kind = kinds?.get(log.topics[0] ?? '')
  if (!kind) return null
  const place: EventPlace = { tx: log.transactionHash, logIndex: Number.parseInt(log.logIndex, 16) }
  try {
    if (log.topics.length !== kind.indexed + 1)
      throw new AbiRefusal(`it has ${log.topics.length - 1} indexed values, not ${kind.indexed}`)
    return kind.decode(place, log.topics, log.data)
  } catch (error) {
    if (!(error instanceof AbiRefusal)) throw error
    throw new ChainError('EVENT_MALFORMED', `a log of ${log.address} does not decode: ${error.message}`, {
      hint: 'check that the addresses are those of the contracts, and try another endpoint',
      details: { block: log.blockNumber, tx: log.transactionHash, logIndex: place.logIndex },
    })
  }
}
