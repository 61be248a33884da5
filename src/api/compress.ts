import { promisify } from 'node:util'
import { gzip } from 'node:zlib'

/** Entries are text that repeats itself: the fastest level already takes away most of what any level does. */
const LEVEL = 1
const compress = promisify(gzip)

/** Whether an `Accept-Encoding` header takes gzip (RFC 9110 section 12.5.3): it is named, or all are, with a weight above 0. */
export function acceptsGzip(header: string | undefined): boolean {
  let any = false
  for (const part of (header ?? '').toLowerCase().split(',')) {
    const [coding, ...parameters] = part.split(';').map((text) => text.trim())
    const refused = parameters.some((text) => /^q=0(?:\.0{0,3})?$/.test(text))
    if (coding === 'gzip' || coding === 'x-gzip') return !refused
    if (coding === '*') any = !refused
  }
  return any
}

/** `bytes` in gzip (RFC 1952), made beside the event loop. */
export const gzipped = async (bytes: Uint8Array): Promise<Uint8Array> =>
  new Uint8Array(await compress(bytes, { level: LEVEL }))
