import { describe, expect, it } from 'vitest'
import { decodeUtf8, utf8 } from '../../../src/core/bytes.ts'
import { mirror, mirrorBytes } from '../../../src/receipt/mirror.ts'

describe('mirror', () => {
  it.each([
    ['', ''],
    ['data', 'atad'],
    ['air_quality_data', 'atad_ytilauq_ria'],
    ['a\nb\n', '\nb\na'],
    ['aé€🐪', '🐪€éa'],
    // Code points, not what a reader sees: the accent (U+0301) ends up before its letter.
    ['e\u0301x', 'x\u0301e'],
    ['\ufeffa', 'a\ufeff'],
  ])('%j', (text, expected) => {
    expect(mirror(text)).toBe(expected)
    expect(mirror(expected)).toBe(text)
    expect(decodeUtf8(mirrorBytes(utf8(text)))).toBe(expected)
    expect(mirrorBytes(utf8(text)).length).toBe(utf8(text).length)
  })

  it('moves bytes that are no UTF-8 one by one', () => {
    const bytes = new Uint8Array([0x61, 0xc3, 0xa9, 0xff, 0xe2, 0x82, 0x62])
    expect([...mirrorBytes(bytes)]).toEqual([0x62, 0x82, 0xe2, 0xff, 0xc3, 0xa9, 0x61])
  })
})
