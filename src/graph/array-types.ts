import type postgres from 'postgres'

/**
 * Arrays of the built-in types for the driver. It would ask the server for them right after it connects, in a query that nobody
 * waits for: a connection that is lost at that moment would end the process with an unhandled rejection.
 */

/** Oids of array types by those of their elements (src/include/catalog/pg_type.dat); they never change. */
export const ARRAYS: ReadonlyMap<number, number> = new Map([
  [16, 1000], // bool
  [17, 1001], // bytea
  [19, 1003], // name
  [20, 1016], // int8
  [21, 1005], // int2
  [23, 1007], // int4
  [25, 1009], // text
  [26, 1028], // oid
  [114, 199], // json
  [700, 1021], // float4
  [701, 1022], // float8
  [1042, 1014], // bpchar
  [1043, 1015], // varchar
  [1082, 1182], // date
  [1083, 1183], // time
  [1114, 1115], // timestamp
  [1184, 1185], // timestamptz
  [1186, 1187], // interval
  [1266, 1270], // timetz
  [1700, 1231], // numeric
  [2206, 2211], // regtype
  [2249, 2287], // record
  [2950, 2951], // uuid
  [3904, 3905], // int4range
  [3906, 3907], // numrange
  [3908, 3909], // tsrange
  [3910, 3911], // tstzrange
  [3912, 3913], // daterange
  [3926, 3927], // int8range
  [3802, 3807], // jsonb
  [4072, 4073], // jsonpath
])

/** An array's elements, which may be arrays again. */
export type ArrayOf<T> = (T | null | ArrayOf<T>)[]

type Codec = (value: never) => unknown
/** What of the driver's options is read and extended here. */
interface Codecs {
  readonly parsers: Record<number, Codec>
  readonly serializers: Record<number, Codec>
  readonly shared: { readonly typeArrayMap: Record<number, number> }
}

/** Lets the client read and write arrays, element by element as it reads and writes single values. */
export function addArrayTypes(sql: postgres.Sql): void {
  const { parsers, serializers, shared } = sql.options as unknown as Codecs
  for (const [element, array] of ARRAYS) {
    const parse = parsers[element] as ((text: string) => unknown) | undefined
    const serialize = serializers[element] as ((value: unknown) => unknown) | undefined
    shared.typeArrayMap[element] = array
    parsers[array] = ((text: string) => parseArray<unknown>(text, parse ?? ((value) => value))) as Codec
    serializers[array] = ((values: unknown) =>
      Array.isArray(values) ? formatArray(values, serialize ?? String) : values) as Codec
  }
}

/** An array's text (PostgreSQL's documentation, "Array Input and Output Syntax"): every element quoted, so that none is misread. */
function formatArray(values: readonly unknown[], serialize: (value: unknown) => unknown): string {
  const items = values.map((value) => {
    if (Array.isArray(value)) return formatArray(value, serialize)
    if (value === null || value === undefined) return 'NULL'
    return `"${String(serialize(value)).replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`
  })
  return `{${items.join(',')}}`
}

/**
 * Reads an array's text as the server writes it: elements by `parse`, NULL as null, arrays within it as arrays. Bounds that do not begin
 * at 1 (`[0:1]={...}`) are left out. Throws `RangeError` where the text is not one whole array.
 */
export function parseArray<T>(text: string, parse: (text: string) => T): ArrayOf<T> {
  let at = text.startsWith('[') ? text.indexOf('=') + 1 : 0
  const broken = (): never => {
    throw new RangeError('the server sent no whole array')
  }
  const items = (): ArrayOf<T> => {
    const out: ArrayOf<T> = []
    if (text[++at] === '}') {
      at++
      return out
    }
    for (;;) {
      out.push(element())
      const after = text[at++]
      if (after === '}') return out
      if (after !== ',') broken()
    }
  }
  const element = (): ArrayOf<T>[number] => {
    if (text[at] === '{') return items()
    if (text[at] === '"') return parse(quoted())
    const start = at
    while (at < text.length && text[at] !== ',' && text[at] !== '}') at++
    const plain = text.slice(start, at)
    // The empty text stands in quotes.
    if (plain === '') broken()
    return plain === 'NULL' ? null : parse(plain)
  }
  const quoted = (): string => {
    let value = ''
    for (at++; text[at] !== '"'; at++) {
      if (text[at] === '\\') at++
      if (at >= text.length) broken()
      value += text[at]
    }
    at++
    return value
  }
  if (text[at] !== '{') broken()
  const read = items()
  return at === text.length ? read : broken()
}
