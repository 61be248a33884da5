import { type Hex, isHex, toHex } from '../core/bytes.ts'
import { keccakText } from './hash.ts'

/** A log as JSON-RPC answers it. */
export interface ChainLog {
  readonly address: Hex
  readonly topics: readonly Hex[]
  readonly data: Hex
  readonly blockNumber: Hex
  readonly blockHash: Hex
  readonly transactionHash: Hex
  readonly logIndex: Hex
}

/** A decoded value: integers are safe numbers or, beyond that, bigints; `bytes` and `string` stay bytes. */
export type AbiResult = number | bigint | boolean | Hex | Uint8Array

/** One event: its name and its parameters as the contracts declare them; indexed ones come first. */
interface EventForm {
  readonly name: string
  readonly indexed: readonly string[]
  readonly data: readonly string[]
}

/** `types` in declaration order with `*` on indexed ones, which all stand first in these contracts. */
const form = (name: string, ...types: string[]): [Hex, EventForm] => {
  const indexed = types.filter((type) => type.endsWith('*')).map((type) => type.slice(0, -1))
  const data = types.filter((type) => !type.endsWith('*'))
  return [keccakText(`${name}(${[...indexed, ...data].join(',')})`), { name, indexed, data }]
}

/** The events of docs/contracts.md that an audit reads. */
const EVENTS = new Map<Hex, EventForm>([
  form('KeyRegistered', 'address*', 'uint64*', 'bytes32', 'bytes', 'bytes'),
  form('KeyRevoked', 'address*', 'uint64*'),
  form('DatasetUpdated', 'string', 'uint64', 'bytes32', 'bytes'),
  form('SensorRegistered', 'address*', 'string', 'string', 'uint64'),
  form(
    'Submitted',
    'bytes32*',
    'address*',
    'uint64',
    'string',
    'string',
    'bytes32',
    'bytes32',
    'uint64',
    'string',
    'bytes32',
    'uint32',
  ),
  form('Attested', 'bytes32*', 'address*', 'bool'),
  form('SubmissionSettled', 'bytes32*', 'address*', 'uint64', 'uint64', 'uint8', 'bytes32', 'bytes32'),
  form('Anchored', 'uint64*', 'uint64', 'bytes32', 'uint64', 'bytes32', 'bytes32'),
  form('LeafPolicyAdded', 'uint64', 'bytes32'),
])

/** An event with where it stands. `values` are its parameters, indexed ones first. */
export interface AuditEvent {
  readonly name: string
  readonly values: readonly AbiResult[]
  readonly block: number
  readonly blockHash: Hex
  readonly tx: Hex
  readonly logIndex: number
}

const WORD = 64

/** One value that stands in a word of its own. Throws `RangeError` where it is not in range. */
function readWord(type: string, word: string): AbiResult {
  if (word.length !== WORD) throw new RangeError('the data of an event is cut short')
  if (type === 'bytes32') return `0x${word}`
  if (type === 'address') return `0x${word.slice(24)}`
  const value = BigInt(`0x${word}`)
  if (type === 'bool') return value !== 0n
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value
}

/** The event in a log, or null where it is none that an audit reads. Throws `RangeError` on data that does not decode. */
export function readEvent(log: ChainLog): AuditEvent | null {
  const event = EVENTS.get(log.topics[0] ?? '0x')
  if (!event || log.topics.length !== event.indexed.length + 1) return null
  const data = log.data.slice(2)
  const wordAt = (at: number): string => data.slice(at, at + WORD)
  const values = event.data.map((type, i): AbiResult => {
    if (type !== 'bytes' && type !== 'string') return readWord(type, wordAt(i * WORD))
    const at = 2 * Number(readWord('uint64', wordAt(i * WORD)))
    const length = 2 * Number(readWord('uint64', wordAt(at)))
    const digits = data.slice(at + WORD, at + WORD + length)
    if (digits.length !== length) throw new RangeError('the data of an event is cut short')
    return new Uint8Array(Buffer.from(digits, 'hex'))
  })
  return {
    name: event.name,
    values: [
      ...event.indexed.map((type, i) => readWord(type, (log.topics[i + 1] ?? '').slice(2))),
      ...values,
    ],
    block: Number(log.blockNumber),
    blockHash: log.blockHash,
    tx: log.transactionHash,
    logIndex: Number(log.logIndex),
  }
}

/** First four bytes of a function's hash. */
export const selector = (signature: string): Hex => keccakText(signature).slice(0, 10) as Hex

/** Whether a JSON-RPC answer is a log whose fields have the right form. */
export function isLog(value: unknown): value is ChainLog {
  if (typeof value !== 'object' || value === null) return false
  const { address, topics, data, blockNumber, blockHash, transactionHash, logIndex } = value as Record<
    string,
    unknown
  >
  return (
    isHex(address, 20) &&
    Array.isArray(topics) &&
    topics.every((topic) => isHex(topic, 32)) &&
    isHex(data) &&
    isQuantity(blockNumber) &&
    isHex(blockHash, 32) &&
    isHex(transactionHash, 32) &&
    isQuantity(logIndex)
  )
}

export const isQuantity = (value: unknown): value is Hex =>
  typeof value === 'string' && /^0x[0-9a-f]{1,14}$/.test(value)

export const textOfBytes = (value: AbiResult | undefined): string =>
  value instanceof Uint8Array ? Buffer.from(value).toString('latin1') : ''

/** The text of a JSON value's bytes for reports. */
export const hexOfBytes = (value: AbiResult | undefined): Hex =>
  value instanceof Uint8Array ? toHex(value) : '0x'
