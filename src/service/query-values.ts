import { decodeUtf8 } from '../core/bytes.ts'
import type { Json } from '../core/json.ts'
import { ARRAYS, parseArray } from '../graph/array-types.ts'

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

/** Types by OID (pg_type.dat): name, and how it is decoded. */
const TYPES: readonly (readonly [oid: number, name: string, decode: Decode])[] = [
  [16, 'boolean', (text) => text === 't'],
  [20, 'bigint', integer],
  [21, 'smallint', integer],
  [23, 'integer', integer],
  [25, 'text', asText],
  [114, 'json', json],
  [3802, 'jsonb', json],
  [700, 'real', float],
  [701, 'double precision', float],
  [1700, 'numeric', asText],
  [1042, 'character', asText],
  [1043, 'character varying', asText],
  [17, 'bytea', asText],
  [1082, 'date', asText],
  [1083, 'time without time zone', asText],
  [1266, 'time with time zone', asText],
  [1114, 'timestamp without time zone', withT],
  [1184, 'timestamp with time zone', timestamptz],
  [1186, 'interval', asText],
  [2950, 'uuid', asText],
  [2206, 'regtype', asText],
  [4072, 'jsonpath', asText],
  [2249, 'record', asText],
  [3904, 'int4range', asText],
  [3926, 'int8range', asText],
  [3906, 'numrange', asText],
  [3908, 'tsrange', asText],
  [3910, 'tstzrange', asText],
  [3912, 'daterange', asText],
  [4451, 'int4multirange', asText],
  [4536, 'int8multirange', asText],
  [4532, 'nummultirange', asText],
  [4533, 'tsmultirange', asText],
  [4534, 'tstzmultirange', asText],
  [4535, 'datemultirange', asText],
  [705, 'text', asText],
]
const BY_OID = new Map<number, { name: string; decode: Decode }>(
  TYPES.map(([oid, name, decode]) => [oid, { name, decode }]),
)
for (const [oid, name, decode] of TYPES) {
  const array = ARRAYS.get(oid)
  if (array !== undefined)
    BY_OID.set(array, { name: `${name}[]`, decode: (text) => parseArray(text, decode) })
}

/** The name of a type, and how its values become JSON; values of other types stay text. */
export const typeOf = (oid: number): { name: string; decode: (bytes: Uint8Array) => Json } => {
  const { name, decode } = BY_OID.get(oid) ?? { name: `type ${oid}`, decode: asText }
  return { name, decode: (bytes) => decode(decodeUtf8(bytes)) }
}
