import canonicalize from 'canonicalize'
import { utf8 } from './bytes.ts'
import { DunesError } from './error.ts'

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json }
export type JsonObject = { [key: string]: Json }

export interface JsonLimits {
  /** How many arrays and objects may be open at once, at least 1. */
  maxDepth: number
  /** How many values there may be in all, each array and object counted too; any number unless told. */
  maxValues?: number
}

/** Where and why strict parsing stopped; `offset` counts UTF-16 units from 0. */
export class JsonError extends DunesError {
  override readonly name = 'JsonError'
  readonly offset: number
  constructor(message: string, offset: number) {
    super('JSON_MALFORMED', message, {
      hint: 'write strict RFC 8259 JSON with unique keys',
      details: { offset },
    })
    this.offset = offset
  }
}

const ESCAPES: Readonly<Record<string, string>> = {
  '"': '"',
  '\\': '\\',
  '/': '/',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
}
const NUMBER = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/y
/** ASCII codes that the parser looks for. */
const QUOTE = 0x22
const COMMA = 0x2c
const COLON = 0x3a
const BACKSLASH = 0x5c

/**
 * Strict RFC 8259 JSON. Beyond the RFC it refuses what two parsers could read differently: duplicate keys, integers
 * beyond 2^53 - 1, numbers that overflow to infinity, lone surrogates, and what is beyond `limits`.
 * Throws only {@link JsonError}.
 */
export function parseJson(text: string, limits: JsonLimits): Json {
  let at = 0
  let values = 0

  const refuse = (message: string, offset = at): never => {
    throw new JsonError(message, offset)
  }
  const space = () => {
    for (;;) {
      const c = text.charCodeAt(at)
      if (c !== 0x20 && c !== 0x0a && c !== 0x0d && c !== 0x09) return
      at++
    }
  }
  const string = (): string => {
    const start = at++
    // Runs without an escape are cut out of the text whole; most strings are one such run.
    let out = ''
    let from = at
    let mayBeIllFormed = false
    for (;;) {
      const c = text.charCodeAt(at)
      if (c === QUOTE) {
        const last = text.slice(from, at++)
        out = out === '' ? last : out + last
        if (mayBeIllFormed && !out.isWellFormed()) refuse('a string holds a lone surrogate', start)
        return out
      }
      if (c >= 0x20 && c !== BACKSLASH) {
        if (c >= 0xd800) mayBeIllFormed = true
        at++
        continue
      }
      if (at >= text.length) refuse('a string does not end', start)
      if (c !== BACKSLASH) refuse('a control character stands in a string')
      out += text.slice(from, at)
      const letter = text[at + 1] ?? ''
      if (letter === 'u') {
        const digits = text.slice(at + 2, at + 6)
        if (!/^[0-9a-fA-F]{4}$/.test(digits)) refuse('\\u needs four hex digits')
        out += String.fromCharCode(Number.parseInt(digits, 16))
        mayBeIllFormed = true
        at += 6
      } else {
        const value = Object.hasOwn(ESCAPES, letter) ? ESCAPES[letter] : undefined
        if (value === undefined) refuse('an unknown escape')
        out += value
        at += 2
      }
      from = at
    }
  }
  const number = (): number => {
    NUMBER.lastIndex = at
    const match = NUMBER.exec(text)
    if (!match) return refuse('a value was expected')
    const value = Number(match[0])
    if (!Number.isFinite(value)) refuse('a number is beyond what a double can hold')
    // Judged by value, not by spelling: 1e300 and 9007199254740993.0 lose integer precision just as well.
    if (Number.isInteger(value) && !Number.isSafeInteger(value)) refuse('an integer is beyond 2^53 - 1')
    at += match[0].length
    return value
  }
  const literal = <T extends Json>(word: string, value: T): T => {
    if (!text.startsWith(word, at)) refuse('a value was expected')
    at += word.length
    return value
  }
  const value = (depth: number): Json => {
    if (limits.maxValues !== undefined && ++values > limits.maxValues)
      refuse(`more than ${limits.maxValues} values`)
    space()
    switch (text[at]) {
      case '"':
        return string()
      case '{':
      case '[':
        if (depth >= limits.maxDepth) refuse(`nested deeper than ${limits.maxDepth}`)
        return text[at] === '{' ? object(depth + 1) : array(depth + 1)
      case 't':
        return literal('true', true)
      case 'f':
        return literal('false', false)
      case 'n':
        return literal('null', null)
      default:
        return number()
    }
  }
  const array = (depth: number): Json[] => {
    const out: Json[] = []
    at++
    space()
    if (text[at] === ']') {
      at++
      return out
    }
    for (;;) {
      out.push(value(depth))
      space()
      if (text[at] === ']') {
        at++
        return out
      }
      if (text.charCodeAt(at) !== COMMA) refuse('expected , or ] in an array')
      at++
    }
  }
  const object = (depth: number): JsonObject => {
    const out: JsonObject = {}
    at++
    space()
    if (text[at] === '}') {
      at++
      return out
    }
    for (;;) {
      space()
      if (text.charCodeAt(at) !== QUOTE) refuse('expected a quoted key in an object')
      const keyAt = at
      const key = string()
      if (Object.hasOwn(out, key)) refuse(`duplicate key ${JSON.stringify(key.slice(0, 64))}`, keyAt)
      space()
      if (text.charCodeAt(at) !== COLON) refuse('expected : after a key')
      at++
      const member = value(depth)
      // Assigning to __proto__ would set the prototype; it must become data like any other key.
      if (key === '__proto__')
        Object.defineProperty(out, key, {
          value: member,
          enumerable: true,
          writable: true,
          configurable: true,
        })
      else out[key] = member
      space()
      if (text[at] === '}') {
        at++
        return out
      }
      if (text.charCodeAt(at) !== COMMA) refuse('expected , or } in an object')
      at++
    }
  }

  const out = value(0)
  space()
  if (at < text.length) refuse('text stands after the value')
  return out
}

/**
 * Canonical JSON (RFC 8785) of `value`. Throws `JCS_UNREPRESENTABLE` on what JSON cannot hold: undefined, also as a member,
 * NaN and infinities, lone surrogates, functions, and objects that are neither plain nor arrays. What is hashed must say all
 * that was given, so nothing is left out or converted on the way.
 */
export function jcs(value: unknown): string {
  try {
    const text = isJson(value) ? canonicalize(value) : undefined
    if (text !== undefined) return text
  } catch (cause) {
    // Cycles, and nesting beyond the stack.
    throw new DunesError('JCS_UNREPRESENTABLE', 'the value has no canonical JSON', { cause })
  }
  throw new DunesError('JCS_UNREPRESENTABLE', 'the value has no canonical JSON')
}

function isJson(value: unknown): value is Json {
  if (typeof value === 'string') return value.isWellFormed()
  if (typeof value === 'number') return Number.isFinite(value)
  if (typeof value !== 'object') return typeof value === 'boolean'
  if (value === null) return true
  // A loop by index, as `every` skips the holes of an array.
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) if (!isJson(value[i])) return false
    return true
  }
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) return false
  return Object.entries(value).every(([key, member]) => key.isWellFormed() && isJson(member))
}

/** UTF-8 bytes of {@link jcs}. */
export const jcsBytes = (value: unknown): Uint8Array => utf8(jcs(value))
