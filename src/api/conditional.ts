import type { Context } from 'hono'
import { sha256, toHex } from '../core/bytes.ts'

/** How long an answer may be kept. */
export type Caching = 'immutable' | 'revalidate' | 'brief'

const CACHE_CONTROL: Readonly<Record<Caching, string>> = {
  // The same address will never answer other bytes.
  immutable: 'public, max-age=31536000, immutable',
  revalidate: 'public, no-cache',
  brief: 'public, max-age=1',
}

/** A strong ETag for `bytes`, from their SHA-256 unless the caller knows it already. */
export const etagOf = (bytes: Uint8Array): string => `"${toHex(sha256(bytes)).slice(2, 34)}"`

/** Whether `If-None-Match` names `etag` or anything (RFC 9110 section 13.1.2; weak tags compare by their value). */
export function matches(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false
  if (header.trim() === '*') return true
  return header.split(',').some((tag) => tag.trim().replace(/^W\//, '') === etag)
}

export interface Sending {
  type: string
  caching: Caching
  etag?: string
  headers?: Readonly<Record<string, string>>
  /** The request headers that the bytes depend on; told with a 304 too (RFC 9110 section 15.4.5). */
  vary?: string
}

/** Answers bytes or text with an ETag, or 304 to whoever has them. */
export function sendBytes(
  c: Context,
  body: Uint8Array | string,
  { type, caching, etag, headers = {}, vary }: Sending,
): Response {
  const bytes = typeof body === 'string' ? new TextEncoder().encode(body) : body
  const tag = etag ?? etagOf(bytes)
  const common = { ETag: tag, 'Cache-Control': CACHE_CONTROL[caching], ...(vary && { Vary: vary }) }
  if (matches(c.req.header('If-None-Match'), tag)) return c.body(null, 304, common)
  return c.body(bytes as Uint8Array<ArrayBuffer>, 200, {
    ...common,
    'Content-Type': type,
    'Content-Length': String(bytes.length),
    ...headers,
  })
}

/** Headers of bytes that strangers wrote: a browser saves them and runs nothing in them. */
export const untrusted = (fileName: string): Record<string, string> => ({
  'Content-Disposition': `attachment; filename="${fileName}"`,
  'Content-Security-Policy': "sandbox; default-src 'none'",
  'X-Content-Type-Options': 'nosniff',
})
