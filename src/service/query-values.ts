import { decodeUtf8 } from '../core/bytes.ts'
import type { Json } from '../core/json.ts'

/** Values of query results: from PostgreSQL's text format to JSON, so that none is rounded. */

type Decode = (text: string) => Json

const asText: Decode = (text) => text
/** An integer as a number where one holds it exactly. */
const integer: Decode = (text) => {
  const value = Number(text)
  return Number.isSafeInteger(value) ? value : text
}
/** `NaN` and the infinities stay text. */
const float: Decode = (text) => {
  const value = Number(text)
  return Number.isFinite(value) ? value : text
}
const withT = (text: string): string => text.replace(/^(\d{4,}-\d\d-\d\d) /, '$1T')
const timestamptz: Decode = (text) => withT(text).replace(/\+00$/, 'Z')
const json: Decode = (text) => {
  try {
    return JSON.parse(text, exact) as Json
  } catch {
    return text
  }
}
/** A number of JSON that no double holds exactly stays the text that it was. */
function exact(_key: string, value: unknown, context?: { source?: string }): unknown {
  if (typeof value !== 'number' || context?.source === undefined) return value
  if (Number.isInteger(value) ? Number.isSafeInteger(value) : Number.isFinite(value)) return value
  return context.source
}

/** Types by OID (pg_type.dat): name, how it is decoded, and the OID of its array. */
const TYPES: readonly (readonly [oid: number, name: string, decode: Decode, array: number])[] = [
  [16, 'boolean', (text) => text === 't', 1000],
  [20, 'bigint', integer, 1016],
  [21, 'smallint', integer, 1005],
  [23, 'integer', integer, 1007],
  [25, 'text', asText, 1009],
  [114, 'json', json, 199],
  [3802, 'jsonb', json, 3807],
  [700, 'real', float, 1021],
  [701, 'double precision', float, 1022],
  [1700, 'numeric', asText, 1231],
  [1042, 'character', asText, 1014],
  [1043, 'character varying', asText, 1015],
  [17, 'bytea', asText, 1001],
  [1082, 'date', asText, 1182],
  [1083, 'time without time zone', asText, 1183],
  [1266, 'time with time zone', asText, 1270],
  [1114, 'timestamp without time zone', withT, 1115],
  [1184, 'timestamp with time zone', timestamptz, 1185],
  [1186, 'interval', asText, 1187],
  [2950, 'uuid', asText, 2951],
  [2206, 'regtype', asText, 2211],
  [4072, 'jsonpath', asText, 4073],
  [2249, 'record', asText, 2287],
  [705, 'text', asText, 1009],
]
const BY_OID = new Map<number, { name: string; decode: Decode }>(
  TYPES.flatMap(([oid, name, decode, array]): [number, { name: string; decode: Decode }][] => [
    [array, { name: `${name}[]`, decode: (text) => parseArray(text, decode) }],
    [oid, { name, decode }],
  ]),
)

/** The name of a type, and how its values become JSON; values of other types stay text. */
export const typeOf = (oid: number): { name: string; decode: (bytes: Uint8Array) => Json } => {
  const { name, decode } = BY_OID.get(oid) ?? { name: `type ${oid}`, decode: asText }
  return { name, decode: (bytes) => decode(decodeUtf8(bytes)) }
}

/** An array literal (PostgreSQL documentation, 8.15.6); bounds before it are left out. */
function parseArray(text: string, decode: Decode): Json {
  let at = text.startsWith('[') ? text.indexOf('=') + 1 : 0
  const element = (): Json => {
    if (text[at] === '{') return items()
    if (text[at] === '"') {
      let value = ''
      for (at++; text[at] !== '"'; at++) {
        if (text[at] === '\\') at++
        value += text[at]
      }
      at++
      return decode(value)
    }
    const begin = at
    while (at < text.length && text[at] !== ',' && text[at] !== '}') at++
    const word = text.slice(begin, at)
    return word === 'NULL' ? null : decode(word)
  }
  const items = (): Json[] => {
    const out: Json[] = []
    at++
    while (text[at] !== '}' && at < text.length) {
      out.push(element())
      if (text[at] === ',') at++
    }
    at++
    return out
  }
  return items()
}
