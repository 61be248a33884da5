import type postgres from 'postgres'

/**
 * Arrays of the built-in types for the driver. It would ask the server for them right after it connects, in a query that nobody
 * waits for: a connection that is lost at that moment would end the process with an unhandled rejection.
 */

/** Oids of element and array types (src/include/catalog/pg_type.dat); they never change. */
const ARRAYS: readonly (readonly [element: number, array: number])[] = [
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
  [1114, 1115], // timestamp
  [1184, 1185], // timestamptz
  [1700, 1231], // numeric
  [2950, 2951], // uuid
  [3802, 3807], // jsonb
]

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
    parsers[array] = ((text: string) => parseArray(text, parse ?? ((value) => value))) as Codec
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

/** Reads what the server writes; bounds that do not begin at 1 (`[0:1]={...}`) are left out. */
function parseArray(text: string, parse: (text: string) => unknown): unknown[] {
  let at = text.indexOf('{')
  const read = (): unknown[] => {
    const out: unknown[] = []
    at++
    while (text[at] !== '}') {
      if (text[at] === ',') at++
      if (text[at] === '{') out.push(read())
      else if (text[at] === '"') out.push(parse(quoted()))
      else {
        const start = at
        while (at < text.length && text[at] !== ',' && text[at] !== '}') at++
        const plain = text.slice(start, at)
        out.push(plain === 'NULL' ? null : parse(plain))
      }
      if (at >= text.length) throw new RangeError('the server sent half an array')
    }
    at++
    return out
  }
  const quoted = (): string => {
    let value = ''
    for (at++; text[at] !== '"'; at++) {
      if (at >= text.length) throw new RangeError('the server sent half an array')
      if (text[at] === '\\') at++
      value += text[at]
    }
    at++
    return value
  }
  return read()
}
