import { sequenceLength } from '../core/utf8.ts'

/**
 * The mirror of a text: its Unicode code points in reverse order (not its UTF-16 units, and not what a reader sees as
 * characters). It is its own inverse and keeps the number of bytes in UTF-8.
 */
export const mirror = (text: string): string => [...text].reverse().join('')

/**
 * {@link mirror} on UTF-8 bytes. On bytes that are no UTF-8 it is still total and keeps the length: each byte that is
 * part of no well-formed sequence moves alone, so that damage in a mirror stays where it is.
 */
export function mirrorBytes(bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array(bytes)
  const isPlain = isAscii(out)
  out.reverse()
  for (let at = isPlain ? bytes.length : 0; at < bytes.length; ) {
    if ((bytes[at] as number) < 0x80) {
      at++
      continue
    }
    const length = sequenceLength(bytes, at) || 1
    // The reversal turned this sequence around as well: put its bytes back into their order.
    if (length > 1) out.set(bytes.subarray(at, at + length), bytes.length - at - length)
    at += length
  }
  return out
}

/** Whether no byte of `bytes`, which begin their buffer, has its highest bit set; four at a time, as nearly all payloads are ASCII. */
function isAscii(bytes: Uint8Array): boolean {
  const words = new Uint32Array(bytes.buffer, 0, bytes.length >> 2)
  let seen = 0
  for (let i = 0; i < words.length; i++) seen |= words[i] as number
  for (let i = 4 * words.length; i < bytes.length; i++) seen |= bytes[i] as number
  return (seen & 0x80808080) === 0
}
