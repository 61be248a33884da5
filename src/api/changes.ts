import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { utf8 } from '../core/bytes.ts'
import {
  CHANGE_KINDS,
  type ChangeItem,
  type ChangeReader,
  DEFAULT_CHANGES,
  listChanges,
  MAX_CHANGES,
} from '../service/changes.ts'
import type { ServiceContext } from '../service/context.ts'
import { count } from './parameters.ts'
import { ApiError } from './problem.ts'
import type { ApiEnv } from './request.ts'
import { COMMON, problems } from './responses.ts'
import { Change, name } from './schemas.ts'

/** Items in one piece of a stream: it is made when the client has taken the one before. */
const PIECE = 200
/** Seconds that a page may wait for something to tell. */
const MAX_WAIT = 25
/** What `EventSource` waits before it comes back, in milliseconds. */
const RETRY_MS = 2_000

const changeQuery = z.strictObject({
  after: z.string().max(64).optional().openapi({
    description:
      'Id of the last change that was seen, or `newest`; the oldest that is kept without it. A `Last-Event-ID` header comes before it.',
  }),
  cursor: z
    .string()
    .max(64)
    .optional()
    .openapi({ description: '`next_cursor` of the page before: the same as `after`' }),
  limit: count(MAX_CHANGES, DEFAULT_CHANGES, 'Items of the page'),
  wait: z
    .string()
    .regex(/^[0-9]{1,2}$/, `must be an integer from 0 to ${MAX_WAIT}`)
    .transform(Number)
    .refine((value) => value <= MAX_WAIT, `must be an integer from 0 to ${MAX_WAIT}`)
    .optional()
    .openapi({
      type: 'integer',
      minimum: 0,
      maximum: MAX_WAIT,
      default: 0,
      description: 'Seconds that the answer waits for something to tell',
    }),
  kind: z
    .string()
    .transform((text) => text.split(','))
    .pipe(z.array(z.enum(CHANGE_KINDS)).min(1))
    .optional()
    .openapi({ type: 'string', description: `Kinds, separated by commas: ${CHANGE_KINDS.join(' ')}` }),
  submission: z.string().max(200).optional().openapi({ description: 'Submission id' }),
  contributor: z.string().max(200).optional().openapi({ description: 'CAIP-10 account id or bare address' }),
  sensor: name.optional(),
  dataset: name.optional(),
  expand: z
    .enum(['true', 'false'])
    .transform((value) => value === 'true')
    .optional()
    .openapi({
      description: 'Tell ranges of indices one submission at a time; so it is with any filter but `kind`',
    }),
})

const changes = createRoute({
  method: 'get',
  path: '/v1/changes',
  operationId: 'followChanges',
  tags: ['Changes'],
  summary:
    'Every change of state, oldest first: as a page, or with `Accept: text/event-stream` as it happens',
  request: {
    query: changeQuery,
    headers: z.object({
      'last-event-id': z
        .string()
        .max(64)
        .optional()
        .openapi({ description: 'What `EventSource` sends when it comes back' }),
    }),
  },
  responses: {
    ...COMMON,
    ...problems(410),
    200: {
      description: 'One page, or the stream',
      content: {
        'application/json': {
          schema: z.object({ items: z.array(Change), next_cursor: z.string(), newest: z.string() }),
        },
        'text/event-stream': { schema: z.string() },
      },
    },
  },
})

/** How the server behind a context ends a connection; there is none in a test without a server. */
type Bindings = { outgoing?: { destroy(): void } } | undefined

/** The routes of this file by their operation ids. */
export const CHANGE_ROUTES = { followChanges: changes } as const

/** The feed of changes. */
export function changeRoutes(app: OpenAPIHono<ApiEnv>, ctx: ServiceContext): void {
  app.openapi(changes, async (c) => {
    const { kind, wait = 0, cursor, after: given, limit, ...filters } = c.req.valid('query')
    if (given !== undefined && cursor !== undefined && given !== cursor)
      throw new ApiError('REQUEST_INVALID', 'query: after and cursor name different ids', {
        hint: 'give one of the two',
      })
    const after = c.req.valid('header')['last-event-id'] || given || cursor
    const query = { ...filters, after, kinds: kind }
    if (!acceptsEvents(c.req.header('Accept'))) {
      const page = await listChanges(ctx, { ...query, limit }, wait * 1000, c.req.raw.signal)
      return c.json(page, 200, { 'Cache-Control': 'no-store', Vary: 'Accept' })
    }
    const reader = await ctx.changes.open(query)
    // Said before the stream begins, while there still is a status to say it with.
    const first = await ctx.changes.page(reader, PIECE)
    const body = c.req.method === 'HEAD' ? null : follow(c, ctx, reader, first.items)
    return new Response(body, {
      headers: {
        'Content-Type': 'text/event-stream; charset=utf-8',
        'Cache-Control': 'no-store',
        // nginx would hold events back.
        'X-Accel-Buffering': 'no',
        Vary: 'Accept',
      },
    }) as never
  })
}

/** Whether an `Accept` header names event streams. */
const acceptsEvents = (header: string | undefined): boolean =>
  (header ?? '').split(',').some((part) => /^\s*text\/event-stream\s*(;|$)/i.test(part))

const event = (item: ChangeItem): string =>
  `event: ${item.kind}\nid: ${item.id}\ndata: ${JSON.stringify(item)}\n\n`

/** The stream: a piece is made when the client has taken the one before, so that a slow one holds up nothing and fills nothing. */
function follow(
  c: Context<ApiEnv>,
  { changes: feed, metrics }: ServiceContext,
  reader: ChangeReader,
  first: readonly ChangeItem[],
): ReadableStream<Uint8Array> {
  const leave = feed.enter()
  metrics.followers.inc()
  const left = new AbortController()
  let slow: NodeJS.Timeout | undefined
  const end = () => {
    clearTimeout(slow)
    if (left.signal.aborted) return
    left.abort()
    leave()
    metrics.followers.dec()
  }
  const outgoing = (c.env as Bindings)?.outgoing
  c.req.raw.signal.addEventListener('abort', end, { once: true })
  let waiting: readonly ChangeItem[] | null = first
  return new ReadableStream<Uint8Array>(
    {
      start: (controller) => controller.enqueue(utf8(`retry: ${RETRY_MS}\n\n`)),
      async pull(controller) {
        clearTimeout(slow)
        try {
          const text = waiting === null ? await next() : waiting.map(event).join('') || beat()
          waiting = null
          if (text === null) {
            end()
            controller.close()
            return
          }
          controller.enqueue(utf8(text))
          slow = setTimeout(() => {
            end()
            controller.close()
            outgoing?.destroy()
          }, feed.following.slowMs)
          slow.unref()
        } catch {
          // What it is the client hears when it comes back with its id: there is no status left to say it with.
          end()
          controller.close()
        }
      },
      cancel: end,
    },
    { highWaterMark: 1 },
  )

  /** An id without data moves the client on and is no event (WHATWG HTML, section 9.2.6). */
  function beat(): string {
    return `id: ${feed.idOf(reader)}\n: still here\n\n`
  }

  /** The next piece; null when the stream is over. */
  async function next(): Promise<string | null> {
    const until = performance.now() + feed.following.heartbeatMs
    for (;;) {
      if (left.signal.aborted || feed.stopping.aborted) return null
      const { items, next_cursor, newest } = await feed.page(reader, PIECE)
      if (items.length > 0) return items.map(event).join('')
      const time = until - performance.now()
      if (time <= 0) return beat()
      if (next_cursor === newest) await feed.wait(reader, time, left.signal)
    }
  }
}
