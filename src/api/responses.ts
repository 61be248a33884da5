import { z } from '@hono/zod-openapi'
import { EXPORT_TYPES } from './export.ts'
import { PROBLEM_TYPE } from './problem.ts'
import { Problem } from './schemas.ts'

/** What routes say of their answers, so that each names every status that it may give. */

const binary = z.string().openapi({ format: 'binary' })
/** The answer to everything that goes wrong. */
export const failure = { description: 'A problem', content: { [PROBLEM_TYPE]: { schema: Problem } } } as const

/** One JSON answer of a route. */
export const answer = <T extends z.ZodType>(schema: T, description: string) =>
  ({ description, content: { 'application/json': { schema } } }) as const

/** `responses` for problems with these statuses. */
export const problems = <const C extends readonly number[]>(...codes: C): Record<C[number], typeof failure> =>
  Object.fromEntries(codes.map((code) => [code, failure])) as Record<C[number], typeof failure>

/** What every address may answer: a malformed request, a foreign origin, a foreign host, a database that is away. */
export const COMMON = { ...problems(400, 403, 421, 503), default: failure } as const

/** `responses` of a route that answers JSON, and problems with `codes` besides those of every address. */
export const json = <T extends z.ZodType, const C extends readonly number[]>(
  schema: T,
  description: string,
  ...codes: C
) => ({ ...COMMON, ...problems(...codes), 200: answer(schema, description) }) as const

/** `responses` of a list that is also given out as a table. */
export const exportable = <T extends z.ZodType>(schema: T, description: string) =>
  ({
    ...COMMON,
    200: {
      description,
      content: {
        'application/json': { schema },
        [EXPORT_TYPES.csv]: { schema: z.string() },
        [EXPORT_TYPES.jsonl]: { schema: z.string() },
      },
    },
  }) as const

/** `responses` of a route that answers bytes of one type, and problems with `codes` besides those of every address. */
export const bytes = <T extends string, const C extends readonly number[]>(
  type: T,
  description: string,
  ...codes: C
) =>
  ({
    ...COMMON,
    ...problems(...codes),
    200: { description, content: { [type]: { schema: binary } } as Record<T, { schema: typeof binary }> },
    304: { description: 'The caller has it (If-None-Match)' },
  }) as const
