import { decodeUtf8, equalBytes, type Hex, utf8 } from '../core/bytes.ts'
import { type Json, type JsonObject, jcs, parseJson } from '../core/json.ts'
import type { Reason } from '../core/reason.ts'
import { formatSeconds } from '../maml/time.ts'
import { mirrored, type Outcome, type PayloadFacts } from './verdict.ts'

/** What the chain says of a settled submission, and where it said so. Times are seconds since 1970. */
export interface EntryFacts {
  readonly origin: string
  readonly chain: string
  readonly registry: Hex
  readonly index: number
  readonly submission: Hex
  readonly contributor: Hex
  readonly seq: number
  readonly acc: Hex
  readonly sensor: string
  readonly dataset: string
  readonly schemaSha256: Hex
  readonly uriSha256: Hex
  readonly payload: { readonly sha256: Hex; readonly bytes: number }
  readonly keyId: Hex
  readonly submitted: { readonly block: number; readonly logIndex: number }
  readonly settled: {
    readonly tx: Hex
    readonly block: number
    readonly blockHash: Hex
    readonly logIndex: number
    readonly time: number
  }
  readonly outcome: Outcome
}

/** The entry of a settled submission, byte for byte (docs/formats.md, "The entry"). */
export function writeEntry(facts: EntryFacts, reason: Reason | null, read: PayloadFacts | null): Uint8Array {
  const settledAt = formatSeconds(facts.settled.time)
  const { keyId, ...rest } = facts
  const object: Json = {
    ...rest,
    v: 1,
    settled: { ...facts.settled, time: settledAt },
    payloadSig: {
      alg: read?.signatureSha256 ? 'ML-DSA-65' : null,
      keyId,
      sha256: read?.signatureSha256 ?? null,
    },
    readings: read?.readings ?? null,
    verdict: reason === null ? 'accepted' : 'rejected',
    reason,
    observed: reason === 'PAYLOAD_UNAVAILABLE',
    mirrorSha256: read?.mirrorSha256 ?? null,
  }
  const original = read ? `${valueNames(read.names).join('_')}_data` : 'data'
  return utf8(
    [
      '---',
      jcs(object),
      '---',
      '## Receipt',
      `Data: ${mirrored(original)}`,
      `Original: ${original}`,
      `Timestamp: ${read?.firstTimestamp ?? settledAt}`,
      '',
    ].join('\n'),
  )
}

/** Names match `[a-z][a-z0-9_]*`, so that the order of code units is byte order. */
const valueNames = (names: readonly string[]): string[] =>
  names.filter((name) => name !== 'sensor_id' && name !== 'timestamp').sort()

/** An entry taken apart just far enough to tell where it departs from another; null where it is no entry at all. */
export function readEntry(bytes: Uint8Array): { object: JsonObject; lines: readonly string[] } | null {
  try {
    const lines = decodeUtf8(bytes).split('\n')
    const object = parseJson(lines[1] ?? '', { maxDepth: 2 })
    if (lines.length !== 8 || typeof object !== 'object' || object === null || Array.isArray(object))
      return null
    return { object, lines }
  } catch {
    return null
  }
}

/** The fields in which two entries differ, dotted; `bytes` where nothing better can be said. Empty when they are equal. */
export function entryDifferences(
  expected: Uint8Array,
  found: Uint8Array,
): { field: string; expected: unknown; found: unknown }[] {
  if (equalBytes(expected, found)) return []
  const [a, b] = [readEntry(expected), readEntry(found)]
  if (!a || !b) return [{ field: 'bytes', expected: decodeUtf8(expected), found: latin1(found) }]
  const [left, right] = [flat(a.object), flat(b.object)]
  const out = [...new Set([...left.keys(), ...right.keys()])]
    .filter((key) => left.get(key) !== right.get(key))
    .map((field) => ({ field, expected: left.get(field), found: right.get(field) }))
  for (const [i, line] of a.lines.entries())
    if (i !== 1 && line !== b.lines[i])
      out.push({ field: `line ${i + 1}`, expected: line, found: b.lines[i] ?? '' })
  return out.length > 0 ? out : [{ field: 'bytes', expected: a.lines[1] ?? '', found: b.lines[1] ?? '' }]
}

const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1')

function flat(object: JsonObject, prefix = ''): Map<string, Exclude<Json, object>> {
  const out = new Map<string, Exclude<Json, object>>()
  for (const [key, value] of Object.entries(object)) {
    if (typeof value === 'object' && value !== null) {
      for (const [inner, leaf] of flat(value as JsonObject, `${prefix}${key}.`)) out.set(inner, leaf)
    } else out.set(`${prefix}${key}`, value as Exclude<Json, object>)
  }
  return out
}
