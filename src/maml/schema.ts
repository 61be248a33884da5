import type { Json, JsonObject } from '../core/json.ts'
import { type Fence, openSource, readContainer, SCHEMA_HEADING } from './container.ts'
import { MAML_LIMITS, type MamlLimits } from './limits.ts'
import type { JsonPath } from './locate.ts'

export const SCHEMA_TYPES = ['null', 'boolean', 'object', 'array', 'number', 'string', 'integer'] as const
export type SchemaType = (typeof SCHEMA_TYPES)[number]

/** JSON Schema 2020-12, cut down to these keywords; where one is absent it constrains nothing. */
export interface Schema {
  readonly type?: readonly SchemaType[]
  readonly properties?: ReadonlyMap<string, Schema | boolean>
  readonly required?: readonly string[]
  readonly additionalProperties?: Schema | boolean
  readonly items?: Schema | boolean
  readonly enum?: readonly Json[]
  /** Those of `enum` that are neither arrays nor objects, so that long lists cost no more than short ones. */
  readonly scalars?: ReadonlySet<Json>
  readonly const?: Json
  readonly minimum?: number
  readonly maximum?: number
  readonly minLength?: number
  readonly maxLength?: number
  readonly description?: string
}

/** A schema file: what each reading of a dataset must look like. */
export interface SchemaFile {
  /** Its `schema:`, the name by which payloads and queries refer to it, such as `iot_data.maml`. */
  readonly name: string
  /** Its `dataset:`. */
  readonly dataset: string
  /** What every reading must satisfy. */
  readonly schema: Schema
}

/**
 * Reads a schema file (docs/formats.md, "Schema file"): MAML with `## Schema` in place of `## Data_Block`, front matter
 * of exactly `maml`, `schema` and `dataset`, and no signature. Throws only `MamlError`.
 */
export function parseSchemaFile(bytes: Uint8Array, limits: MamlLimits = MAML_LIMITS): SchemaFile {
  const source = openSource(bytes, limits.schemaBytes)
  const { frontMatter, fence } = readContainer(source, SCHEMA_HEADING, limits.jsonDepth)
  const rest = source.nextFilled()
  if (rest) source.refuse('nothing may follow the json fence of a schema file', rest.start)
  const { maml, schema, dataset, ...others } = frontMatter
  if (maml === undefined || schema === undefined || dataset === undefined || Object.keys(others).length > 0)
    return source.refuse('the front matter of a schema file is maml, schema and dataset', 0)
  if (!isObject(fence.value)) return fence.refuseAt('a schema must be a JSON object', [])
  return { name: schema, dataset, schema: readObjectSchema(fence.value, [], fence.refuseAt) }
}

/** One way in which a reading departs from its schema. */
export interface SchemaIssue {
  /** Index of the reading in its payload, from 0. */
  readonly reading: number
  /** JSON Pointer (RFC 6901) to the value within the reading; empty for the reading itself. */
  readonly path: string
  readonly sentence: string
}

/** Checks one reading and gives all its departures, none when it conforms. `index` is copied into the issues. */
export function validateReading(file: SchemaFile, reading: JsonObject, index = 0): SchemaIssue[] {
  const issues: SchemaIssue[] = []
  validate(file.schema, reading, '', (path, sentence) => issues.push({ reading: index, path, sentence }))
  return issues
}

type Refuse = Fence['refuseAt']
type Report = (path: string, sentence: string) => void

const isObject = (value: Json | undefined): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
const isScalar = (value: Json): boolean => typeof value !== 'object' || value === null
const isCount = (value: Json): value is number =>
  typeof value === 'number' && Number.isInteger(value) && value >= 0

function readSchema(value: Json, path: JsonPath, refuse: Refuse): Schema | boolean {
  if (typeof value === 'boolean') return value
  if (!isObject(value)) return refuse('a schema must be a JSON object, true or false', path)
  return readObjectSchema(value, path, refuse)
}

function readObjectSchema(value: JsonObject, path: JsonPath, refuse: Refuse): Schema {
  const out: { -readonly [K in keyof Schema]: Schema[K] } = {}
  for (const [key, part] of Object.entries(value)) {
    const here = [...path, key]
    switch (key) {
      case 'type':
        out.type = readTypes(part, here, refuse)
        break
      case 'properties':
        if (!isObject(part)) return refuse('properties must be an object of schemas', here)
        out.properties = new Map(
          Object.entries(part).map(([name, schema]) => [name, readSchema(schema, [...here, name], refuse)]),
        )
        break
      case 'required':
        if (!isUniqueStrings(part)) return refuse('required must be an array of different strings', here)
        out.required = part
        break
      case 'additionalProperties':
      case 'items':
        out[key] = readSchema(part, here, refuse)
        break
      case 'enum':
        if (!Array.isArray(part)) return refuse('enum must be an array', here)
        out.enum = part
        out.scalars = new Set(part.filter(isScalar))
        break
      case 'const':
        out.const = part
        break
      case 'minimum':
      case 'maximum':
        if (typeof part !== 'number') return refuse(`${key} must be a number`, here)
        out[key] = part
        break
      case 'minLength':
      case 'maxLength':
        if (!isCount(part)) return refuse(`${key} must be an integer from 0`, here)
        out[key] = part
        break
      case 'description':
        if (typeof part !== 'string') return refuse('description must be a string', here)
        out.description = part
        break
      default:
        return refuse(
          `the keyword ${JSON.stringify(key.slice(0, 64))} is not among those that schema files may use`,
          here,
        )
    }
  }
  return out
}

const isUniqueStrings = (value: Json): value is string[] =>
  Array.isArray(value) &&
  value.every((item) => typeof item === 'string') &&
  new Set(value).size === value.length

function readTypes(value: Json, path: JsonPath, refuse: Refuse): SchemaType[] {
  const names = typeof value === 'string' ? [value] : value
  if (!isUniqueStrings(names) || names.length === 0)
    return refuse('type must be a type name or an array of different type names', path)
  return names.map((name) => {
    const type = SCHEMA_TYPES.find((known) => known === name)
    return type ?? refuse(`type must be one of ${SCHEMA_TYPES.join(', ')}`, path)
  })
}

function validate(schema: Schema | boolean, value: Json, path: string, report: Report): void {
  if (schema === true) return
  if (schema === false) {
    report(path, 'no value is allowed here')
    return
  }
  if (schema.type && !schema.type.some((type) => hasType(value, type)))
    report(path, `must be ${schema.type.join(' or ')}, is ${typeName(value)}`)
  if (
    schema.enum &&
    !(isScalar(value) ? schema.scalars?.has(value) : schema.enum.some((item) => sameJson(item, value)))
  )
    report(path, 'is not one of the listed values')
  if (schema.const !== undefined && !sameJson(schema.const, value))
    report(path, 'is not the one allowed value')
  if (typeof value === 'number') validateNumber(schema, value, path, report)
  else if (typeof value === 'string') validateString(schema, value, path, report)
  else if (Array.isArray(value)) {
    if (schema.items === undefined) return
    for (const [i, item] of value.entries()) validate(schema.items, item, `${path}/${i}`, report)
  } else if (isObject(value)) validateObject(schema, value, path, report)
}

function validateNumber(schema: Schema, value: number, path: string, report: Report): void {
  if (schema.minimum !== undefined && value < schema.minimum)
    report(path, `${value} is less than the minimum ${schema.minimum}`)
  if (schema.maximum !== undefined && value > schema.maximum)
    report(path, `${value} is more than the maximum ${schema.maximum}`)
}

function validateString(schema: Schema, value: string, path: string, report: Report): void {
  if (schema.minLength === undefined && schema.maxLength === undefined) return
  // Characters as RFC 8259 has them: code points, not UTF-16 units.
  let length = 0
  for (const _ of value) length++
  if (schema.minLength !== undefined && length < schema.minLength)
    report(path, `has ${length} characters, at least ${schema.minLength} are needed`)
  if (schema.maxLength !== undefined && length > schema.maxLength)
    report(path, `has ${length} characters, at most ${schema.maxLength} are allowed`)
}

function validateObject(schema: Schema, value: JsonObject, path: string, report: Report): void {
  for (const name of schema.required ?? []) {
    if (!Object.hasOwn(value, name)) report(path, `has no ${quote(name)}`)
  }
  for (const [name, part] of Object.entries(value)) {
    const property = schema.properties?.get(name)
    const here = `${path}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`
    if (property !== undefined) validate(property, part, here, report)
    else if (schema.additionalProperties === false)
      report(here, `${quote(name)} is not a property of the schema`)
    else if (schema.additionalProperties !== undefined)
      validate(schema.additionalProperties, part, here, report)
  }
}

const quote = (name: string): string => JSON.stringify(name.slice(0, 64))

function hasType(value: Json, type: SchemaType): boolean {
  if (type === 'integer') return typeof value === 'number' && Number.isInteger(value)
  if (type === 'number') return typeof value === 'number'
  return typeName(value) === type
}

const typeName = (value: Json): string =>
  value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value

/** Equality of JSON values (JSON Schema core section 4.2.2): numbers by value, objects whatever their keys' order. */
function sameJson(a: Json, b: Json): boolean {
  if (a === b) return true
  if (Array.isArray(a) || Array.isArray(b))
    return (
      Array.isArray(a) &&
      Array.isArray(b) &&
      a.length === b.length &&
      a.every((item, i) => sameJson(item, b[i] as Json))
    )
  if (!isObject(a) || !isObject(b)) return false
  const keys = Object.keys(a)
  return (
    keys.length === Object.keys(b).length &&
    keys.every((key) => Object.hasOwn(b, key) && sameJson(a[key] as Json, b[key] as Json))
  )
}
