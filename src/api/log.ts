import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi'
import type { ServiceContext } from '../service/context.ts'
import { latestCheckpoint, readTilePath, verifierKeys } from '../service/log.ts'
import { acceptsGzip, gzipped } from './compress.ts'
import { etagOf, sendBytes } from './conditional.ts'
import { noQuery } from './parameters.ts'
import type { ApiEnv } from './request.ts'
import { bytes } from './responses.ts'

const tags = ['Log']

const checkpoint = createRoute({
  method: 'get',
  path: '/checkpoint',
  operationId: 'getCheckpoint',
  tags,
  summary: 'The newest published checkpoint (C2SP tlog-checkpoint)',
  request: { query: noQuery },
  responses: bytes('text/plain; charset=utf-8', 'A signed note', 404),
})
const vkeys = createRoute({
  method: 'get',
  path: '/vkeys',
  operationId: 'getVerifierKeys',
  tags,
  summary: 'The verifier keys of those who sign checkpoints, one C2SP vkey a line; compare, do not trust',
  request: { query: noQuery },
  responses: bytes('text/plain; charset=utf-8', 'Verifier keys'),
})
const tile = createRoute({
  method: 'get',
  path: '/tile/{level}/{index}',
  operationId: 'getTile',
  tags,
  summary: 'Hash tiles (C2SP tlog-tiles); `index` is `<N>[.p/<W>]` in groups of three digits',
  request: { params: z.object({ level: z.string(), index: z.string() }) },
  responses: bytes('application/octet-stream', '1 to 256 hashes of 32 bytes', 404),
})
const entries = createRoute({
  method: 'get',
  path: '/tile/entries/{index}',
  operationId: 'getEntryBundle',
  tags,
  summary: 'Entry bundles (C2SP tlog-tiles): each entry behind its length as a big-endian uint16',
  request: { params: z.object({ index: z.string() }) },
  responses: bytes('application/octet-stream', '1 to 256 entries', 404),
})

/** The routes of this file by their operation ids. */
export const LOG_ROUTES = { getCheckpoint: checkpoint, getVerifierKeys: vkeys } as const

/**
 * The log as C2SP tlog-tiles. Tiles never change, so their addresses are cached for good. Entry bundles are compressed for
 * clients that take gzip; hashes would only grow.
 */
export function logRoutes(app: OpenAPIHono<ApiEnv>, ctx: ServiceContext): void {
  app.openapi(checkpoint, async (c) =>
    sendBytes(c, await latestCheckpoint(ctx), { type: 'text/plain; charset=utf-8', caching: 'brief' }),
  )
  app.openapi(vkeys, (c) =>
    sendBytes(c, verifierKeys(ctx), { type: 'text/plain; charset=utf-8', caching: 'revalidate' }),
  )
  // An index has slashes of its own, which no template of OpenAPI can say; hence one route for both.
  app.openAPIRegistry.registerPath(tile)
  app.openAPIRegistry.registerPath(entries)
  app.get('/tile/*', async (c) => {
    const type = 'application/octet-stream'
    const bytes = await readTilePath(ctx, c.req.path.slice(1))
    if (!c.req.path.startsWith('/tile/entries/')) return sendBytes(c, bytes, { type, caching: 'immutable' })
    const encode = acceptsGzip(c.req.header('Accept-Encoding'))
    const tag = etagOf(bytes)
    return sendBytes(c, encode ? await gzipped(bytes) : bytes, {
      type,
      caching: 'immutable',
      // A strong tag names bytes, and the two encodings are different ones.
      etag: encode ? tag.replace(/"$/, '-gzip"') : tag,
      headers: { ...(encode && { 'Content-Encoding': 'gzip' }) },
      vary: 'Accept-Encoding',
    })
  })
}
