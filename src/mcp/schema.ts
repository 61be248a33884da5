import type { StandardSchemaWithJSON } from '@modelcontextprotocol/server'
import { z } from 'zod'

/** A zod schema whose JSON Schema was made once: the SDK asks for it with every request. */
export type Hoisted<S extends z.ZodType> = StandardSchemaWithJSON<z.input<S>, z.output<S>>

const toJson = (schema: z.ZodType, io: 'input' | 'output'): Record<string, unknown> =>
  Object.freeze(z.toJSONSchema(schema, { target: 'draft-2020-12', io })) as Record<string, unknown>

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
