import { describe, expect, test } from 'vitest'
import { nobleMlDsa } from '../../../src/core/ml-dsa.ts'
import { appendLeaves, emptyState } from '../../../src/log/append.ts'
import { ed25519Signer, openCheckpoint, signCheckpoint } from '../../../src/log/checkpoint.ts'
import { LogError } from '../../../src/log/error.ts'
import { verifyInclusion } from '../../../src/log/merkle.ts'
import { inclusionProof } from '../../../src/log/proof.ts'
import { formatTlogProof, parseTlogProof, type TlogProof } from '../../../src/log/tlog-proof.ts'
import { someLeaves, TileStore } from './reference.ts'

const origin = 'dunes.example/log'
const signer = ed25519Signer(origin, new Uint8Array(32).fill(1))
const leaves = someLeaves(300)
const { root, tiles } = appendLeaves(emptyState(), leaves)
const store = new TileStore()
store.put(tiles)
const checkpoint = signCheckpoint({ origin, size: 300, root, timestamp: 0 }, [signer])
const made: TlogProof = {
  index: 77,
  hashes: await inclusionProof(77, 300, store.read),
  checkpoint,
  extra: null,
}
const text = formatTlogProof(made)
const lines = text.slice(0, text.indexOf('\n\n')).split('\n')
/** The proof with other lines before the empty one. */
const withLines = (...head: string[]): string => `${head.join('\n')}\n\n${checkpoint}`

test('a proof goes from the log to a stranger as text', () => {
  const read = parseTlogProof(text)
  expect(read).toEqual(made)
  const opened = openCheckpoint(read.checkpoint, { origin, vkeys: [signer.vkey], mlDsa: nobleMlDsa })
  if (!opened.ok) throw new Error(opened.reason)
  const { size, root: signed } = opened.checkpoint
  expect(verifyInclusion(read.index, size, leaves[77] as Uint8Array, read.hashes, signed)).toEqual({
    ok: true,
  })
})

test('the text has the form of C2SP tlog-proof', () => {
  expect(lines[0]).toBe('c2sp.org/tlog-proof@v1')
  expect(lines[1]).toBe('index 77')
  expect(lines).toHaveLength(2 + 9)
  for (const line of lines.slice(2)) expect(line).toMatch(/^[A-Za-z0-9+/]{43}=$/)
  expect(text.endsWith(`\n\n${checkpoint}`)).toBe(true)
})

test('extra data is exposed, and absent is null', () => {
  const extra = new TextEncoder().encode('age-v1')
  const written = formatTlogProof({ ...made, extra })
  expect(written.split('\n')[1]).toBe('extra YWdlLXYx')
  expect(parseTlogProof(written)).toEqual({ ...made, extra })
  expect(parseTlogProof(text).extra).toBeNull()
})

test('a proof in a tree of one leaf has no hashes', () => {
  const alone = { index: 0, hashes: [], checkpoint, extra: null }
  expect(formatTlogProof(alone)).toBe(`c2sp.org/tlog-proof@v1\nindex 0\n\n${checkpoint}`)
  expect(parseTlogProof(formatTlogProof(alone))).toEqual(alone)
})

const [header, index, hash] = lines as [string, string, string]
describe('parseTlogProof refuses', () => {
  test.each([
    ['nothing', ''],
    ['only a header', `${header}\n`],
    ['no checkpoint', `${header}\n${index}\n\n`],
    ['a checkpoint without a signature', withLines(header, index).replace(/\n\n\u2014.*\n$/, '\n\n')],
    ['no empty line', `${header}\n${index}\n${checkpoint}`],
    ['two empty lines', `${header}\n${index}\n\n\n\n${checkpoint.replace('\u2014', '')}`],
    ['another version', withLines('c2sp.org/tlog-proof@v2', index)],
    ['a space after the header', withLines(`${header} `, index)],
    ['carriage returns', text.replaceAll('\n', '\r\n')],
    ['a byte order mark', `\ufeff${text}`],
    ['no index', withLines(header, hash)],
    ['an index with a leading zero', withLines(header, 'index 077', hash)],
    ['a negative index', withLines(header, 'index -1', hash)],
    ['a broken index', withLines(header, 'index 1.5', hash)],
    ['an index with a sign', withLines(header, 'index +1', hash)],
    ['an index in hex', withLines(header, 'index 0x1', hash)],
    ['two spaces before the index', withLines(header, 'index  1', hash)],
    ['a space after the index', withLines(header, 'index 1 ', hash)],
    ['no number', withLines(header, 'index ', hash)],
    ['an index beyond 2^53 - 1', withLines(header, 'index 9007199254740992', hash)],
    ['the index twice', withLines(header, index, index, hash)],
    ['extra data after the index', withLines(header, index, 'extra YWdlLXYx', hash)],
    ['extra data twice', withLines(header, 'extra YWdlLXYx', 'extra YWdlLXYx', index)],
    ['extra data of no bytes', withLines(header, 'extra ', index)],
    ['extra data without the space', withLines(header, 'extra', index)],
    ['extra data that is not base64', withLines(header, 'extra !!!!', index)],
    ['extra data without padding', withLines(header, 'extra YWdlLXY', index)],
    ['a hash of 31 bytes', withLines(header, index, Buffer.alloc(31).toString('base64'))],
    ['a hash of 33 bytes', withLines(header, index, Buffer.alloc(33).toString('base64'))],
    ['a hash without padding', withLines(header, index, hash.slice(0, -1))],
    ['a hash with loose bits', withLines(header, index, `${'A'.repeat(42)}B=`)],
    ['a hash behind a space', withLines(header, index, ` ${hash}`)],
    ['a hash in hex', withLines(header, index, Buffer.alloc(32).toString('hex'))],
    ['54 hashes', withLines(header, index, ...Array<string>(54).fill(hash))],
    ['a megabyte of extra data', withLines(header, `extra ${'A'.repeat(1 << 20)}`, index)],
  ])('%s', (_, bad) => {
    expect(() => parseTlogProof(bad)).toThrow(expect.objectContaining({ code: 'TLOG_PROOF_MALFORMED' }))
  })

  test('but takes 53 hashes and the largest index', () => {
    const largest = withLines(header, 'index 9007199254740991', ...Array<string>(53).fill(hash))
    expect(parseTlogProof(largest)).toMatchObject({ index: 2 ** 53 - 1, extra: null })
    expect(formatTlogProof(parseTlogProof(largest))).toBe(largest)
  })
})

test('formatTlogProof refuses what could not be read back', () => {
  for (const bad of [
    { index: -1 },
    { index: 0.5 },
    { index: 2 ** 53 },
    { hashes: [new Uint8Array(31)] },
    { hashes: Array<Uint8Array>(54).fill(root) },
    { checkpoint: 'junk' },
    { checkpoint: '' },
    { extra: new Uint8Array(0) },
    { extra: new Uint8Array(1 << 20) },
  ])
    expect(() => formatTlogProof({ ...made, ...bad }), JSON.stringify(Object.keys(bad))).toThrow(LogError)
})
