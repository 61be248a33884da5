import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi'
import { QueryError } from '../query/error.ts'
import type { ServiceContext } from '../service/context.ts'
import { ServiceError } from '../service/error.ts'
import { MAX_MANY, proveMany } from '../service/prove-many.ts'
import { runQuery } from '../service/query.ts'
import { QueryAnswerShape, QueryRequestShape } from '../service/query-shape.ts'
import { parseIndices } from '../service/query-sources.ts'
import { limitBody } from './body.ts'
import { noQuery } from './parameters.ts'
import { type ApiEnv, callerOf } from './request.ts'
import { bytes, json } from './responses.ts'

/** Bytes of a request: the longest query, escaped as JSON may escape it, and the rest. */
const MAX_REQUEST_BYTES = 128 * 1024

const EXAMPLE = {
  query: "SELECT air_quality FROM helium_sensors WHERE timestamp = '2025-10-01T23:30:00Z'",
  maml_schema: 'iot_data.maml',
  signature_verification: 'CRYSTALS-Dilithium',
}

const query = createRoute({
  method: 'post',
  path: '/v1/query',
  operationId: 'query',
  tags: ['Queries'],
  summary: 'Answers one SELECT over datasets, with where each row comes from (docs/query.md)',
  request: {
    query: noQuery,
    body: {
      required: true,
      content: {
        // A clone has the methods of this API's descriptions whatever was imported first.
        'application/json': {
          schema: QueryRequestShape.clone().openapi('QueryRequest', { example: EXAMPLE }),
        },
      },
    },
  },
  responses: json(QueryAnswerShape.clone().openapi('QueryAnswer'), 'The answer', 409, 413, 422),
})

const linked = createRoute({
  method: 'get',
  path: '/v1/proofs',
  operationId: 'getProofs',
  tags: ['Proofs'],
  summary: 'One proof bundle for many anchored submissions by leaf index: what answers to queries link to',
  request: {
    query: z.strictObject({
      indices: z
        .string()
        .regex(/^\d{1,15}(-\d{1,15})?(,\d{1,15}(-\d{1,15})?)*$/, 'must be indices and ranges such as 3-17,20')
        .openapi({ description: `Leaf indices, at most ${MAX_MANY}`, example: '3-17,20' }),
    }),
  },
  responses: bytes('application/json', 'The bundle', 404, 409, 413),
})

/** SQL over datasets, and the proofs that its answers link to. */
export function queryRoutes(app: OpenAPIHono<ApiEnv>, ctx: ServiceContext): void {
  app.use(
    query.path,
    limitBody(
      MAX_REQUEST_BYTES,
      () =>
        new QueryError('QUERY_TOO_LONG', `a request has at most ${MAX_REQUEST_BYTES} bytes`, {
          hint: 'ask in several queries',
        }),
    ),
  )
  app.openapi(query, async (c) => {
    const caller = callerOf(c)
    const options = { signal: c.req.raw.signal, ...(caller !== undefined && { caller }) }
    return c.json(await runQuery(ctx, c.req.valid('json'), options), 200, { 'Cache-Control': 'no-store' })
  })
  app.openapi(linked, async (c) => {
    const indices = parseIndices(c.req.valid('query').indices, MAX_MANY)
    if (indices === null)
      throw new ServiceError('PROOF_TOO_LARGE', `a bundle holds at most ${MAX_MANY} submissions`, {
        hint: 'name ascending ranges of fewer in all',
      })
    const { bytes: bundle, block } = await proveMany(ctx, { indices })
    return c.body(bundle as Uint8Array<ArrayBuffer>, 200, {
      'Content-Type': 'application/json',
      'Content-Length': String(bundle.length),
      'Cache-Control': 'no-store',
      'Content-Disposition': 'inline; filename="proofs.json"',
      'Dunes-Proof-Block': `${block.number}; hash=${block.hash}`,
    })
  })
}
