import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi'
import type { ServiceContext } from '../service/context.ts'
import { MAX_PAYLOAD_BYTES, storedPayload, storePayload, tooLarge } from '../service/payloads.ts'
import { readWithin } from './body.ts'
import { sendBytes, untrusted } from './conditional.ts'
import { noQuery } from './parameters.ts'
import type { ApiEnv } from './request.ts'
import { answer, bytes, COMMON, problems } from './responses.ts'
import { StorageReceipt } from './schemas.ts'

const params = z.object({
  sha256: z.string().max(200).openapi({ description: 'SHA-256 of the payload, 0x and 64 hex digits' }),
})
const tags = ['Payloads']

const get = createRoute({
  method: 'get',
  path: '/v1/payloads/{sha256}',
  operationId: 'getPayload',
  tags,
  summary: 'A stored payload; its address can serve as the URI of a submission',
  request: { params, query: noQuery },
  responses: bytes('application/octet-stream', 'The payload', 404),
})
const put = createRoute({
  method: 'put',
  path: '/v1/payloads/{sha256}',
  operationId: 'putPayload',
  tags,
  summary: "Stores a payload that carries a registered contributor's valid signature",
  request: {
    params,
    query: noQuery,
    headers: z.object({
      'x-dunes-contributor': z.string().max(200).optional().openapi({
        description: 'CAIP-10 id or bare address of the contributor, where the front matter does not name it',
      }),
    }),
    body: {
      required: true,
      content: { 'application/octet-stream': { schema: z.string().openapi({ format: 'binary' }) } },
    },
  },
  responses: {
    200: answer(StorageReceipt, 'It was stored before; the receipt says when'),
    201: answer(StorageReceipt, 'Stored, with a signed storage receipt'),
    ...COMMON,
    ...problems(413, 422, 429),
  },
})

/** The routes of this file by their operation ids. */
export const PAYLOAD_ROUTES = { getPayload: get, putPayload: put } as const

/** The content-addressed payload store. */
export function payloadRoutes(app: OpenAPIHono<ApiEnv>, ctx: ServiceContext): void {
  app.openapi(get, async (c) => {
    const { sha256, bytes: body } = await storedPayload(ctx, c.req.valid('param').sha256)
    return sendBytes(c, body, {
      type: 'application/octet-stream',
      caching: 'immutable',
      etag: `"${sha256.slice(2)}"`,
      headers: untrusted(`${sha256}.maml.md`),
    })
  })
  app.openapi(put, async (c) => {
    const { created, receipt } = await storePayload(ctx, {
      sha256: c.req.valid('param').sha256,
      bytes: await readBody(c.req.raw),
      contributor: c.req.valid('header')['x-dunes-contributor'],
    })
    return c.json(receipt, created ? 201 : 200)
  })
}

/** The request's body, read only as far as a payload may reach. Throws `PAYLOAD_TOO_LARGE` or `REQUEST_INVALID`. */
async function readBody(request: Request): Promise<Uint8Array> {
  const bytes = await readWithin(request, MAX_PAYLOAD_BYTES)
  if (bytes === null) throw tooLarge()
  return bytes
}
