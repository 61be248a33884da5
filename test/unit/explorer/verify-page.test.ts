import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { OpenAPIHono } from '@hono/zod-openapi'
import { expect, test } from 'vitest'
import { pageRoutes } from '../../../src/api/pages.ts'
import type { ApiEnv } from '../../../src/api/request.ts'
import { buildVerifyPage, digestLine } from '../../../src/explorer/build.ts'

const read = (name: string): string =>
  readFileSync(new URL(`../../../src/explorer/${name}`, import.meta.url), 'utf8')
const committed = read('verify.html')
const sha256 = (text: string) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`
const inside = (tag: string) =>
  [...committed.matchAll(new RegExp(`<${tag}>([\\s\\S]*?)</${tag}>`, 'g'))].map((match) => match[1] as string)
const policy = /http-equiv="Content-Security-Policy" content="([^"]+)"/.exec(committed)?.[1] as string

test('the committed page is what the sources build, and its hash is beside it', {
  timeout: 120_000,
}, async () => {
  // After a change in what the page is made of: npm run page
  expect((await buildVerifyPage()) === committed, 'run `npm run page` and commit what it writes').toBe(true)
  expect(read('verify.html.sha256')).toBe(digestLine(committed))
})

test('its policy admits its one script and one style by their hashes, and loads nothing', () => {
  const [script, ...scripts] = inside('script')
  const [style, ...styles] = inside('style')
  expect([scripts, styles]).toEqual([[], []])
  expect(policy).toContain(`script-src ${sha256(script as string)};`)
  expect(policy).toContain(`style-src ${sha256(style as string)};`)
  expect(policy).toContain("default-src 'none'")
  expect(policy).not.toContain('unsafe')
  const markup = committed.replace(script as string, '').replace(style as string, '')
  expect(markup).not.toMatch(/\b(src|href|action|srcset|style|on[a-z]+)\s*=/)
  expect(style).not.toMatch(/url\(|@import/)
  expect(script).not.toMatch(/\b(innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval|new Function)\b/)
})

test('nothing that must be trusted is filled in', () => {
  for (const [tag] of committed.matchAll(/<input\b[^>]*>/g)) expect(tag).not.toMatch(/\bvalue=/)
})

test('it is served as it is, under its own policy, and may not be framed', async () => {
  const app = new OpenAPIHono<ApiEnv>()
  pageRoutes(app)
  const response = await app.request('/verify')
  expect(response.headers.get('content-type')).toBe('text/html; charset=utf-8')
  expect(response.headers.get('content-security-policy')).toBe(`${policy}; frame-ancestors 'none'`)
  expect(await response.text()).toBe(committed)
})
