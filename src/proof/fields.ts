import { fromBase64, fromHex, type Hex, isHex } from '../core/bytes.ts'
import type { Json, JsonObject } from '../core/json.ts'

/** Says what is wrong where; it throws and never returns. `path` is like `evidence.accounts[0].address`. */
export type Refuse = (path: string, message: string) => never

/** Strict readers of JSON fields, all refusing through one function. */
export interface Fields {
  object(value: Json | undefined, path: string): JsonObject
  array(value: Json | undefined, path: string): Json[]
  text(value: Json | undefined, path: string): string
  /** An integer from 0 to 2^53 - 1. */
  count(value: Json | undefined, path: string): number
  /** Lower-case 0x hex, of `size` bytes if given. */
  hex(value: Json | undefined, path: string, size?: number): Hex
  hexBytes(value: Json | undefined, path: string, size?: number): Uint8Array
  /** Canonical padded base64 (RFC 4648 sections 3.5 and 4). */
  base64(value: Json | undefined, path: string): Uint8Array
  /** Refuses `object` unless it has every one of `required` and nothing beyond these and `optional`. */
  only(object: JsonObject, path: string, required: readonly string[], optional?: readonly string[]): void
}

const at = (path: string, key: string) => (path === '' ? key : `${path}.${key}`)

export function fieldReader(refuse: Refuse): Fields {
  const hex = (value: Json | undefined, path: string, size?: number): Hex =>
    isHex(value, size) ? value : refuse(path, `must be ${size ?? 'some'} bytes of lower-case 0x hex`)
  const text = (value: Json | undefined, path: string): string =>
    typeof value === 'string' ? value : refuse(path, 'must be a string')
  return {
    object: (value, path) =>
      typeof value === 'object' && value !== null && !Array.isArray(value)
        ? value
        : refuse(path, 'must be an object'),
    array: (value, path) => (Array.isArray(value) ? value : refuse(path, 'must be an array')),
    text,
    count: (value, path) =>
      typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
        ? value
        : refuse(path, 'must be an integer from 0 to 2^53 - 1'),
    hex,
    hexBytes: (value, path, size) => fromHex(hex(value, path, size)),
    base64(value, path) {
      const encoded = text(value, path)
      try {
        return fromBase64(encoded)
      } catch {
        return refuse(path, 'must be canonical padded base64')
      }
    },
    only(object, path, required, optional = []) {
      for (const key of required) if (!Object.hasOwn(object, key)) refuse(at(path, key), 'is missing')
      for (const key of Object.keys(object)) {
        if (!required.includes(key) && !optional.includes(key)) refuse(at(path, key), 'is not a known field')
      }
    },
  }
}
