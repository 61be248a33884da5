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

function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    // Replaced characters would make another request of it than the one that was sent.
    throw new ApiError('REQUEST_INVALID', 'the body is not UTF-8', { hint: 'send JSON in UTF-8' })
  }
}

/** Reads a POST's body up to `max` bytes, however it is sent, for the handler to take; throws what `refuse` makes of a longer one. */
export const limitBody =
  (max: number, refuse: () => Error): MiddlewareHandler<ApiEnv> =>
  async (c, next) => {
    if (c.req.method === 'POST') {
      const bytes = await readWithin(c.req.raw, max)
      if (bytes === null) throw refuse()
      const body = decode(bytes)
      // hono keeps promises here, whatever its types say.
      c.req.bodyCache.text = Promise.resolve(body) as unknown as string
    }
    await next()
  }
