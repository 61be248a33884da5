import { readHex, utf8 } from '../core/bytes.ts'
import type { Json, JsonObject } from '../core/json.ts'
import { ML_DSA_SIZES } from '../core/ml-dsa.ts'
import {
  DATA_HEADING,
  type Fence,
  type FrontMatter,
  openSource,
  readContainer,
  SIGNATURE_HEADING,
  type Source,
} from './container.ts'
import { MAML_LIMITS, type MamlLimits, VALUE_NAME } from './limits.ts'
import { parseTimestamp } from './time.ts'

/** What stands before the value on every signature line, of payloads and of receipts. */
export const SIGNATURE_PREFIX = 'CRYSTALS-Dilithium: '

/** `bytes` are 3,309: an ML-DSA-65 signature in form, verified by nobody yet. */
export type MamlSignature =
  | { readonly kind: 'missing' }
  | { readonly kind: 'malformed' }
  | { readonly kind: 'present'; readonly bytes: Uint8Array }

/** A payload that follows the grammar of docs/formats.md; nothing in it is checked against chain, schema or key. */
export interface MamlPayload {
  readonly frontMatter: FrontMatter
  /** 1 to 10,000, all with the same names. */
  readonly readings: readonly JsonObject[]
  /** The readings' value names in byte order, `sensor_id` and `timestamp` among them. */
  readonly names: readonly string[]
  /** A view of all bytes up to and including the LF before `## Signature`; the whole file where that is missing. */
  readonly signedBytes: Uint8Array
  readonly signature: MamlSignature
}

/**
 * Strictly reads a MAML payload (docs/formats.md, "MAML payload") in time linear in its length. Throws only
 * `MamlError`, with line and column, on whatever bytes it is given.
 */
export function parseMaml(bytes: Uint8Array, limits: MamlLimits = MAML_LIMITS): MamlPayload {
  const source = openSource(bytes, limits.payloadBytes)
  const { frontMatter, fence } = readContainer(source, DATA_HEADING, limits.jsonDepth)
  const { start, signature } = readSignature(source)
  const { readings, names } = readReadings(fence, limits)
  // A signature section in form is ASCII: as many bytes as characters.
  const { text } = source
  const sectionBytes = signature.kind === 'present' ? text.length - start : utf8(text.slice(start)).length
  const signedBytes = bytes.subarray(0, bytes.length - sectionBytes)
  return { frontMatter, readings, names, signedBytes, signature }
}

/** Reads from after the fence to the end of the file; `start` is the heading's offset, or the file's end without one. */
function readSignature(source: Source): { start: number; signature: MamlSignature } {
  const { text, refuse } = source
  const heading = source.nextFilled()
  if (!heading) return { start: text.length, signature: { kind: 'missing' } }
  if (heading.text !== SIGNATURE_HEADING)
    refuse(`only ${SIGNATURE_HEADING} may follow the json fence`, heading.start)
  const line = source.nextFilled()
  if (!line?.text.startsWith(SIGNATURE_PREFIX))
    return refuse(`expected the line ${SIGNATURE_PREFIX}0x...`, line?.start ?? text.length)
  const end = line.start + line.text.length + 1
  if (end < text.length) refuse('something stands after the signature line', end)
  const value = line.text.slice(SIGNATURE_PREFIX.length)
  const bytes = readHex(value, ML_DSA_SIZES[65].signature)
  const signature: MamlSignature = bytes ? { kind: 'present', bytes } : { kind: 'malformed' }
  return { start: heading.start, signature }
}

const isObject = (value: Json | undefined): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

function readReadings(fence: Fence, limits: MamlLimits): { readings: JsonObject[]; names: string[] } {
  const { value, refuseAt } = fence
  const many = Array.isArray(value)
  const items = many ? value : [value]
  if (items.length === 0) refuseAt('the array holds no reading', [])
  if (items.length > limits.readings) refuseAt(`more than ${limits.readings} readings`, [limits.readings])
  let names: string[] = []
  const readings = items.map((reading, index): JsonObject => {
    const here = many ? [index] : []
    if (!isObject(reading)) return refuseAt('a reading must be a JSON object', here)
    const keys = Object.keys(reading)
    if (index === 0) {
      const odd = keys.find((key) => !VALUE_NAME.test(key))
      if (odd !== undefined) refuseAt('a value name must match [a-z][a-z0-9_]{0,31}', [...here, odd])
      if (keys.length > limits.names) refuseAt(`more than ${limits.names} value names`, here)
      names = keys.sort()
    } else if (keys.length !== names.length || !names.every((name) => Object.hasOwn(reading, name)))
      refuseAt('the value names differ from those of the first reading', here)
    if (!Object.hasOwn(reading, 'sensor_id')) refuseAt('a reading has no sensor_id', here)
    if (!Object.hasOwn(reading, 'timestamp')) refuseAt('a reading has no timestamp', here)
    const { sensor_id, timestamp } = reading
    if (typeof sensor_id !== 'string') refuseAt('sensor_id must be a string', [...here, 'sensor_id'])
    if (typeof timestamp !== 'string' || !parseTimestamp(timestamp))
      refuseAt('timestamp must be a real date of the form YYYY-MM-DDTHH:MM:SS[.fraction]Z', [
        ...here,
        'timestamp',
      ])
    return reading
  })
  return { readings, names }
}
