import type { MiddlewareHandler } from 'hono'
import { concat } from '../core/bytes.ts'
import { ApiError } from './problem.ts'
import type { ApiEnv } from './request.ts'

/** The request's body, or null where it is longer than `max` bytes; no more than that is read. Throws `REQUEST_INVALID` where it breaks off. */
export async function readWithin(request: Request, max: number): Promise<Uint8Array | null> {
  if (Number(request.headers.get('content-length') ?? 0) > max) return null
  const parts: Uint8Array[] = []
  let length = 0
  try {
    for await (const part of request.body ?? []) {
      length += part.length
      if (length > max) return null
      parts.push(part)
    }
  } catch {
    // The client went away: nobody reads this answer, and nothing here is broken.
    throw new ApiError('REQUEST_INVALID', 'the body ended before its end', { hint: 'send it again' })
  }
  return concat(...parts)
}

/** Reads a POST's body up to `max` bytes, however it is sent, for the handler to take; throws what `refuse` makes of a longer one. */
export const limitBody =
  (max: number, refuse: () => Error): MiddlewareHandler<ApiEnv> =>
  async (c, next) => {
    if (c.req.method === 'POST') {
      const bytes = await readWithin(c.req.raw, max)
      if (bytes === null) throw refuse()
      // hono keeps promises here, whatever its types say.
      c.req.bodyCache.text = Promise.resolve(new TextDecoder().decode(bytes)) as unknown as string
    }
    await next()
  }
