import { LogError } from './error.ts'
import { TILE_WIDTH } from './tile.ts'

/** The longest entry that a bundle can carry, by its uint16 length. */
export const MAX_BUNDLED_ENTRY_BYTES = 0xffff

const refuse = (message: string, details: Record<string, unknown>): never => {
  throw new LogError('ENTRY_BUNDLE_MALFORMED', message, {
    hint: 'an entry bundle is 1 to 256 entries, each behind its length as a big-endian uint16',
    details,
  })
}

/**
 * Entry bundle of 1 to 256 entries of at most 65,535 bytes each: every entry behind its length as a big-endian uint16
 * (C2SP tlog-tiles, log entries). Throws `ENTRY_BUNDLE_MALFORMED` beyond those limits.
 */
export function encodeEntryBundle(entries: readonly Uint8Array[]): Uint8Array {
  if (entries.length < 1 || entries.length > TILE_WIDTH)
    refuse('an entry bundle holds 1 to 256 entries', { entries: entries.length })
  let length = 0
  for (const entry of entries) {
    if (entry.length > MAX_BUNDLED_ENTRY_BYTES)
      refuse('an entry is longer than 65,535 bytes', { bytes: entry.length })
    length += 2 + entry.length
  }
  const out = new Uint8Array(length)
  let at = 0
  for (const entry of entries) {
    out[at] = entry.length >> 8
    out[at + 1] = entry.length & 0xff
    out.set(entry, at + 2)
    at += 2 + entry.length
  }
  return out
}

/** The 1 to 256 entries of a bundle, as views into `bundle`. Throws `ENTRY_BUNDLE_MALFORMED` on anything else. */
export function decodeEntryBundle(bundle: Uint8Array): Uint8Array[] {
  const out: Uint8Array[] = []
  let at = 0
  while (at < bundle.length) {
    if (at + 2 > bundle.length) refuse('the bundle ends within a length', { offset: at })
    const end = at + 2 + (((bundle[at] as number) << 8) | (bundle[at + 1] as number))
    if (end > bundle.length) refuse('the bundle ends within an entry', { offset: at })
    out.push(bundle.subarray(at + 2, end))
    at = end
  }
  if (out.length < 1 || out.length > TILE_WIDTH)
    refuse('an entry bundle holds 1 to 256 entries', { entries: out.length })
  return out
}
