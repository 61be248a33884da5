import { constants } from 'node:fs'
import { type FileHandle, open, realpath, stat } from 'node:fs/promises'
import { resolve, sep } from 'node:path'
import { type FetchOutcome, type Unavailable, unavailable } from './outcome.ts'
import type { UriParts } from './uri.ts'

const MISSING = unavailable('missing', 'There is no such file that can be read.', true)
const OUTSIDE = unavailable('not-allowed', 'The file is not below a folder that is allowed.', false)

/**
 * Reads a `file:` URI (RFC 8089, this host only) of exactly `bytes` bytes. The path is followed to where it really leads
 * and must then lie below one of `roots`, so that no symbolic link leads out; only regular files are opened, never in a
 * way that blocks (a pipe would). Never rejects.
 */
export async function readFileUri(
  uri: UriParts,
  roots: readonly string[],
  bytes: number,
): Promise<FetchOutcome> {
  if (roots.length === 0) return unavailable('not-allowed', 'file URIs are turned off here.', false)
  if (uri.host !== '' && uri.host.toLowerCase() !== 'localhost')
    return unavailable('not-allowed', 'The file URI names another host.', false)
  const decoded = decodePath(uri.path)
  if (decoded === null)
    return unavailable('not-allowed', 'The path decodes to something that is no path.', false)

  // Judged before anything is looked at, so that nobody learns what exists elsewhere.
  const path = resolve(decoded)
  const realRoots = await Promise.all(roots.map((root) => realpath(root).catch(() => root)))
  if (![...roots, ...realRoots].some((root) => below(path, root))) return OUTSIDE
  const real = await realpath(path).catch(() => null)
  if (real === null) return MISSING
  if (!realRoots.some((root) => below(real, root))) return OUTSIDE

  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants
  const handle = await open(real, O_RDONLY | O_NOFOLLOW | O_NONBLOCK).catch(() => null)
  if (handle === null) return MISSING
  try {
    return await readHandle(handle, real, bytes)
  } catch {
    return MISSING
  } finally {
    await handle.close().catch(() => {})
  }
}

async function readHandle(handle: FileHandle, real: string, bytes: number): Promise<FetchOutcome> {
  const opened = await handle.stat()
  // A folder on the way may have been swapped for a link since it was looked at: what was opened must be what a path
  // without links still names.
  const named = await stat(real)
  if ((await realpath(real)) !== real || named.dev !== opened.dev || named.ino !== opened.ino) return OUTSIDE
  if (!opened.isFile()) return unavailable('not-allowed', 'The path does not name a regular file.', false)
  const wrong = wrongLength(opened.size, bytes)
  if (wrong) return wrong
  // One more than wanted, to notice a file that grew.
  const buffer = new Uint8Array(bytes + 1)
  let length = 0
  while (length < buffer.length) {
    const { bytesRead } = await handle.read(buffer, length, buffer.length - length, length)
    if (bytesRead === 0) break
    length += bytesRead
  }
  return wrongLength(length, bytes) ?? { kind: 'bytes', bytes: buffer.slice(0, bytes) }
}

function wrongLength(length: number, bytes: number): Unavailable | null {
  if (length > bytes) return unavailable('too-long', `The file has more than ${bytes} bytes.`, true)
  if (length < bytes) return unavailable('too-short', `The file has fewer than ${bytes} bytes.`, true)
  return null
}

const below = (path: string, root: string): boolean =>
  path.startsWith(root.endsWith(sep) ? root : `${root}${sep}`)

/** Percent-decoded path; null where a segment decodes to bytes that are not UTF-8, or holds a slash or NUL. */
export function decodePath(path: string): string | null {
  try {
    const segments = path.split('/').map(decodeURIComponent)
    return segments.some((segment) => segment.includes('/') || segment.includes('\0'))
      ? null
      : segments.join('/')
  } catch {
    return null
  }
}
