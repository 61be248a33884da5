import type { StandardSchemaWithJSON } from '@modelcontextprotocol/server'
import { z } from 'zod'

/** A zod schema whose JSON Schema was made once: the SDK asks for it with every request. */
export type Hoisted<S extends z.ZodType> = StandardSchemaWithJSON<z.input<S>, z.output<S>>

const toJson = (schema: z.ZodType, io: 'input' | 'output'): Record<string, unknown> =>
  portable(z.toJSONSchema(schema, { target: 'draft-2020-12', io })) as Record<string, unknown>

/**
 * The same schema in the spelling that every client takes: one type a place, with `anyOf` for what may be null, and `true` for what may
 * be anything.
 */
function portable(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(portable)
  if (typeof schema !== 'object' || schema === null) return schema
  const entries = Object.entries(schema).map(([key, value]): [string, unknown] => [
    key,
    key === 'additionalProperties' && isEmpty(value) ? true : portable(value),
  ])
  const { type, description, ...rest } = Object.fromEntries(entries)
  if (!Array.isArray(type)) return Object.fromEntries(entries)
  return {
    ...(description !== undefined && { description }),
    anyOf: type.map((one) => (one === 'null' ? { type: one } : { ...rest, type: one })),
  }
}

const isEmpty = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && Object.keys(value).length === 0

/** Makes both JSON Schemas of `schema` (draft 2020-12) now; checking stays zod's. `hint` is added to every complaint. */
export function hoist<S extends z.ZodType>(schema: S, hint?: string): Hoisted<S> {
  const input = toJson(schema, 'input')
  const output = toJson(schema, 'output')
  return {
    '~standard': {
      version: 1,
      vendor: 'dunes',
      validate: (value) => {
        const read = schema.safeParse(value)
        if (read.success) return { value: read.data }
        return {
          issues: read.error.issues.map(({ path, message }, i) => ({
            path: path as PropertyKey[],
            message: i === 0 && hint ? `${message}. Hint: ${hint}` : message,
          })),
        }
      },
      jsonSchema: { input: () => input, output: () => output },
    },
  }
}
