import type { IncomingMessage, ServerResponse } from 'node:http'
import { describe, expect, test } from 'vitest'
import { concat, sha256, toHex, utf8 } from '../../../src/core/bytes.ts'
import { type Cid, cidFromBytes, cidText, parseCid } from '../../../src/payload/cid.ts'
import { parseUnixFs } from '../../../src/payload/unixfs.ts'
import { fetcherFor, httpServer, PAYLOAD, tcpServer } from './servers.ts'

/** CIDs that the IPFS project's own tools and documents name, with what they are of. */
const EMPTY_RAW = 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku'
const EMPTY_FOLDER = 'QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn'
const EMPTY_FILE = 'QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH'
const HELLO_WORLD = 'QmT78zSuBmuS4z925WZfrqQ1qHaJ56DQaTfyMUF7F8ff5o'

// A little encoder of dag-pb and UnixFS: every length below 128 * 128.
const varint = (value: number): Uint8Array =>
  value < 128 ? Uint8Array.of(value) : concat(Uint8Array.of((value & 127) | 128), varint(value >> 7))
const field = (number: number, bytes: Uint8Array): Uint8Array =>
  concat(Uint8Array.of(number * 8 + 2), varint(bytes.length), bytes)
const unixFs = (type: number, data?: Uint8Array): Uint8Array =>
  field(1, concat(Uint8Array.of(8, type), data === undefined ? new Uint8Array() : field(2, data)))
const cidBytes = ({ codec, digest }: Cid): Uint8Array =>
  concat(Uint8Array.of(1, codec === 'raw' ? 0x55 : 0x70, 0x12, 32), digest)
const link = (cid: Cid, name = ''): Uint8Array =>
  field(2, concat(field(1, cidBytes(cid)), field(2, utf8(name)), Uint8Array.of(0x18, 1)))
const FILE = 2
const FOLDER = 1

/** Blocks, and a gateway that serves them as raw blocks. */
function store() {
  const blocks = new Map<string, Uint8Array>()
  const requests: string[] = []
  return {
    blocks,
    requests,
    put: (codec: Cid['codec'], block: Uint8Array): Cid => {
      const cid: Cid = { codec, digest: sha256(block) }
      blocks.set(cidText(cid), block)
      return cid
    },
    serve: (request: IncomingMessage, response: ServerResponse) => {
      requests.push(`${request.url} ${request.headers.accept}`)
      const block = blocks.get(/^\/ipfs\/(\w+)\?format=raw$/.exec(request.url ?? '')?.[1] ?? '')
      if (block) response.end(block)
      else response.writeHead(404).end()
    },
  }
}

async function gateway(blocks = store()) {
  const port = await httpServer(blocks.serve)
  const fetch = fetcherFor([port], { ipfsGateways: [`http://127.0.0.1:${port}`] })
  return { ...blocks, port, fetch: (uri: string, payload?: Uint8Array) => fetch(`ipfs://${uri}`, payload) }
}

const got = (bytes: Uint8Array) => ({ kind: 'bytes', bytes })
const not = (what: string, detail: string | RegExp, retryable: boolean) => ({
  kind: 'unavailable',
  what,
  detail: typeof detail === 'string' ? detail : expect.stringMatching(detail),
  retryable,
})

describe('CIDs', () => {
  test.each([
    [EMPTY_RAW, 'raw', sha256(new Uint8Array())],
    [EMPTY_FOLDER, 'dag-pb', sha256(Uint8Array.of(0x0a, 2, 8, 1))],
    [EMPTY_FILE, 'dag-pb', sha256(Uint8Array.of(0x0a, 4, 8, 2, 0x18, 0))],
    [
      HELLO_WORLD,
      'dag-pb',
      sha256(Uint8Array.of(0x0a, 18, 8, 2, 18, 12), utf8('hello world\n'), Uint8Array.of(24, 12)),
    ],
  ])('%s', (text, codec, digest) => {
    expect(parseCid(text)).toEqual({ codec, digest })
  })
  test('the same CID in version 0 and in version 1', () => {
    const v0 = parseCid('QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnR')
    const v1 = 'bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi'
    expect(v0).toEqual(parseCid(v1))
    expect(v0 && cidText(v0)).toBe(v1)
  })
  test('base58btc of version 1', () => {
    expect(toHex(parseCid('zb2rhe5P4gXftAwvA4eXQ5HJwsER2owDyS9sKaQRRVQPn93bA')?.digest as Uint8Array)).toBe(
      '0x6e6ff7950a36187a801613426e858dce686cd7d7e3c0fc42ee0330072d245c95',
    )
  })
  test.each([
    '',
    'b',
    'z',
    'Qm',
    'ipfs',
    EMPTY_FOLDER.slice(0, -1),
    `${EMPTY_FOLDER}1`,
    EMPTY_FOLDER.replace('L', 'l'), // no base58 digit
    EMPTY_FOLDER.toLowerCase(),
    `z${EMPTY_FOLDER}`,
    EMPTY_RAW.toUpperCase(),
    EMPTY_RAW.slice(0, -1),
    `${EMPTY_RAW}a`,
    EMPTY_RAW.replace(/u$/, 'v'), // unused bits that are not zero
    `z1${'zb2rhe5P4gXftAwvA4eXQ5HJwsER2owDyS9sKaQRRVQPn93bA'.slice(1)}`,
    'bafkqaaa', // identity hash
    'b'.repeat(1000),
  ])('%.60j is none', (text) => expect(parseCid(text)).toBeNull())
  test('only raw and dag-pb with SHA-256 of 32 bytes, version 1', () => {
    const bytes = cidBytes({ codec: 'raw', digest: sha256(PAYLOAD) })
    expect(cidFromBytes(bytes)).toEqual({ codec: 'raw', digest: sha256(PAYLOAD) })
    for (const at of [0, 1, 2, 3]) {
      const changed = bytes.slice()
      changed[at] = (changed[at] ?? 0) ^ 2
      expect(cidFromBytes(changed)).toBeNull()
    }
  })
})

describe('UnixFS nodes', () => {
  test.each([
    ['nothing', []],
    ['a field cut off', [0x0a, 5, 8]],
    ['a length cut off', [0x0a]],
    ['a varint without end', new Array<number>(20).fill(0xff)],
    ['fixed-width fields', [0x09, 0, 0, 0, 0, 0, 0, 0, 0]],
    ['an unknown field', [0x0a, 2, 8, 2, 0x1a, 0]],
    ['two data fields', [0x0a, 2, 8, 2, 0x0a, 2, 8, 2]],
    ['a number for data', [0x08, 2]],
    ['a node without a type', [0x0a, 0]],
    ['a link without a CID', [0x12, 0, 0x0a, 2, 8, 2]],
    ['a link to no CID', [0x12, 3, 0x0a, 1, 7, 0x0a, 2, 8, 2]],
  ])('%s is none', (_, bytes) => expect(parseUnixFs(Uint8Array.from(bytes))).toBeNull())
})

describe('through a gateway', () => {
  test('a raw block; the request is as the gateway specification has it', async () => {
    const ipfs = await gateway()
    const cid = cidText(ipfs.put('raw', PAYLOAD))
    expect(await ipfs.fetch(cid)).toEqual(got(PAYLOAD))
    expect(ipfs.requests).toEqual([`/ipfs/${cid}?format=raw application/vnd.ipld.raw`])
  })
  test('what `ipfs add` makes of a small file', async () => {
    const ipfs = await gateway()
    const hello = utf8('hello world\n')
    ipfs.put('dag-pb', concat(Uint8Array.of(0x0a, 18, 8, 2, 18, 12), hello, Uint8Array.of(24, 12)))
    expect(await ipfs.fetch(HELLO_WORLD, hello)).toEqual(got(hello))
  })
  test('a file in blocks of blocks, below folders', async () => {
    const ipfs = await gateway()
    const leaves = [0, 10, 20, 30].map((at) => PAYLOAD.slice(at, at + 10))
    const [a, b, c, d] = leaves as [Uint8Array, Uint8Array, Uint8Array, Uint8Array]
    const left = ipfs.put('dag-pb', concat(link(ipfs.put('raw', b)), unixFs(FILE, a)))
    const right = ipfs.put('dag-pb', concat(link(ipfs.put('raw', c)), link(ipfs.put('raw', d)), unixFs(FILE)))
    const file = ipfs.put('dag-pb', concat(link(left), link(right), unixFs(FILE)))
    const folder = ipfs.put('dag-pb', concat(link(left, 'x'), link(file, 'a b'), unixFs(FOLDER)))
    const root = ipfs.put('dag-pb', concat(link(folder, 'é'), unixFs(FOLDER)))
    expect(await ipfs.fetch(cidText(file))).toEqual(got(PAYLOAD))
    expect(await ipfs.fetch(`${cidText(root)}/%C3%A9/a%20b`)).toEqual(got(PAYLOAD))
    const nothing = not('cid', 'The path leads to nothing, or through a sharded folder.', false)
    expect(await ipfs.fetch(`${cidText(root)}/none`)).toEqual(nothing)
    expect(await ipfs.fetch(`${cidText(file)}/x`)).toEqual(nothing)
    expect(await ipfs.fetch(cidText(root))).toEqual(
      not('cid', 'The CID names something that is not a file.', false),
    )
    expect(await ipfs.fetch(`${cidText(ipfs.put('raw', PAYLOAD))}/x`)).toEqual(
      not('cid', 'The path goes through something that is not a folder.', false),
    )
  })
  test('a block that is not the CID is not taken, whatever its bytes', async () => {
    const ipfs = await gateway()
    const cid = ipfs.put('raw', utf8('other'))
    ipfs.blocks.set(cidText(cid), PAYLOAD)
    expect(await ipfs.fetch(cidText(cid))).toEqual(not('gateway', /^No gateway .* \(hash\)\.$/, true))
  })
  test('content of the CID that is not the submitted payload never will be', async () => {
    const ipfs = await gateway()
    const of = (bytes: Uint8Array) => ipfs.fetch(cidText(ipfs.put('dag-pb', unixFs(FILE, bytes))))
    expect(await of(PAYLOAD.slice().reverse())).toEqual(
      not('hash', 'The bytes do not have the submitted hash.', false),
    )
    expect(await of(PAYLOAD.slice(1))).toEqual(
      not('too-short', 'The content has fewer than 40 bytes.', false),
    )
    expect(await of(concat(PAYLOAD, utf8('x')))).toEqual(
      not('too-long', 'The content has more than 40 bytes.', false),
    )
    expect(await ipfs.fetch(cidText(ipfs.put('dag-pb', utf8('not protobuf'))))).toEqual(
      not('cid', 'A block of the content is not a UnixFS node.', false),
    )
  })
  test('a file cut into too many blocks, and a tower of them, end', async () => {
    const ipfs = await gateway()
    const tooMany = not('cid', 'The content is cut into more than 128 blocks.', false)
    const leaf = ipfs.put('raw', new Uint8Array())
    const wide = ipfs.put('dag-pb', concat(...new Array(200).fill(link(leaf)), unixFs(FILE)))
    expect(await ipfs.fetch(cidText(wide))).toEqual(tooMany)
    let tower = leaf
    for (let i = 0; i < 200; i++) tower = ipfs.put('dag-pb', concat(link(tower), unixFs(FILE)))
    expect(await ipfs.fetch(cidText(tower))).toEqual(tooMany)
  })
  test('a raw block longer than submitted is not read to its end', async () => {
    const ipfs = await gateway()
    const cid = cidText(ipfs.put('raw', concat(PAYLOAD, utf8('x'))))
    expect(await ipfs.fetch(cid)).toEqual(not('gateway', /\(too-long\)\.$/, true))
  })
})

describe('gateways', () => {
  test('are asked in turn: one that has it not, one that is silent, one that has it', async () => {
    const blocks = store()
    const cid = cidText(blocks.put('raw', PAYLOAD))
    const empty = await httpServer(store().serve)
    const silent = await tcpServer(() => {})
    const full = await httpServer((request, response) => {
      request.url = request.url?.replace('/base', '')
      blocks.serve(request, response)
    })
    const ports = [empty, silent, full]
    const of = (...ipfsGateways: string[]) =>
      fetcherFor(ports, { ipfsGateways, totalMs: 4_500 })(`ipfs://${cid}`)
    const [a, b, c] = ports.map((port) => `http://127.0.0.1:${port}`) as [string, string, string]
    const began = performance.now()
    expect(await of(a, b, `${c}/base/`)).toEqual(got(PAYLOAD))
    // The silent one had its third of the time, not all of it.
    expect(performance.now() - began).toBeLessThan(4_000)
    expect(await of(a, b)).toEqual(
      not(
        'gateway',
        `No gateway gave the content: 127.0.0.1:${empty} (status), 127.0.0.1:${silent} (timeout).`,
        true,
      ),
    )
  })
  test('none is set by default; one on a private address counts only if it is allowed', async () => {
    expect(await fetcherFor([])(`ipfs://${EMPTY_RAW}`)).toEqual(
      not('not-allowed', 'ipfs URIs are turned off here: no gateway is set.', false),
    )
    const blocks = store()
    const cid = cidText(blocks.put('raw', PAYLOAD))
    const port = await httpServer(blocks.serve)
    const fetch = fetcherFor([], { ipfsGateways: [`http://127.0.0.1:${port}`] })
    expect(await fetch(`ipfs://${cid}`)).toEqual(not('gateway', /\(refused-address\)\.$/, true))
    expect(blocks.requests).toEqual([])
  })
  test('a URI without a CID reaches none', async () => {
    const ipfs = await gateway()
    const none = not('cid', 'The URI names no CID (0, or 1 in base32 or base58btc) with SHA-256.', false)
    for (const uri of ['not-a-cid', `ipfs/${EMPTY_RAW}`, `${EMPTY_RAW}/%2f`, `${EMPTY_RAW}/%ff`])
      expect(await ipfs.fetch(uri)).toEqual(none)
    expect(ipfs.requests).toEqual([])
  })
  test('a caller who gives up ends it', async () => {
    const silent = await tcpServer((socket) => socket.on('data', () => caller.abort()))
    const caller = new AbortController()
    const ipfsGateways = [`http://127.0.0.1:${silent}`, `http://127.0.0.1:${silent}`]
    const fetch = fetcherFor([silent], { ipfsGateways })
    expect(await fetch(`ipfs://${EMPTY_RAW}`, PAYLOAD, caller.signal)).toMatchObject({ what: 'aborted' })
  })
})
