import { readFileSync } from 'node:fs'
import { createRoute, type OpenAPIHono } from '@hono/zod-openapi'
import { sendBytes } from './conditional.ts'
import { noQuery } from './parameters.ts'
import type { ApiEnv } from './request.ts'
import { bytes } from './responses.ts'

const verify = createRoute({
  method: 'get',
  path: '/verify',
  operationId: 'getVerifyPage',
  tags: ['Proofs'],
  summary: 'The verifier as a page: it checks bundles in the browser and asks this server nothing',
  request: { query: noQuery },
  responses: bytes('text/html; charset=utf-8', 'The page, the file that is also published by itself'),
})

const llms = createRoute({
  method: 'get',
  path: '/llms.txt',
  operationId: 'getLlms',
  tags: ['Operation'],
  summary: 'What a language model should know of this server, and where to go on (llmstxt.org)',
  request: { query: noQuery },
  responses: bytes('text/plain; charset=utf-8', 'Markdown'),
})

/** The pages of src/explorer, each one file as it was built and published. */
export function pageRoutes(app: OpenAPIHono<ApiEnv>): void {
  const page = readFileSync(new URL('../explorer/verify.html', import.meta.url), 'utf8')
  // The page carries its policy itself, as it is also opened from a disk; framing can only be forbidden here.
  const policy = /<meta http-equiv="Content-Security-Policy" content="([^"]+)">/.exec(page)?.[1] as string
  const words = readFileSync(new URL('../../llms.txt', import.meta.url), 'utf8')
  app.openapi(llms, (c) => sendBytes(c, words, { type: 'text/plain; charset=utf-8', caching: 'revalidate' }))
  app.openapi(verify, (c) =>
    sendBytes(c, page, {
      type: 'text/html; charset=utf-8',
      caching: 'revalidate',
      headers: { 'Content-Security-Policy': `${policy}; frame-ancestors 'none'` },
    }),
  )
}
