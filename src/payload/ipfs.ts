import { concat, equalBytes, sha256 } from '../core/bytes.ts'
import { Attempt } from './attempt.ts'
import { type Cid, cidText, parseCid } from './cid.ts'
import { decodePath } from './file.ts'
import { type HttpContext, httpGet } from './http.ts'
import { type FetchOutcome, outcomeOfAbort, type Unavailable, unavailable } from './outcome.ts'
import { hostPort } from './settings.ts'
import { parseUnixFs, type UnixFsNode } from './unixfs.ts'
import type { UriParts } from './uri.ts'

/** Blocks asked for in one fetch, at most: 1 MiB in the 256 KiB chunks that IPFS tools cut takes five. */
const MAX_BLOCKS = 128
/** Bytes of a dag-pb block beyond the part of the file in it: types, sizes and links. */
const NODE_OVERHEAD = 65_536
/** Largest folder block in bytes; IPFS tools shard folders beyond 256 KiB. */
const MAX_FOLDER = 1 << 20

/** Ends the walk through the blocks. `final`: the content itself is at fault, so no other gateway can help. */
class WalkEnd extends Error {
  readonly outcome: Unavailable
  readonly final: boolean
  constructor(outcome: Unavailable, final: boolean) {
    super(outcome.detail)
    this.outcome = outcome
    this.final = final
  }
}

const atFault = (what: 'cid' | 'too-long', detail: string) =>
  new WalkEnd(unavailable(what, detail, false), true)

/**
 * Fetches an `ipfs:` URI through the configured gateways, one after the other, block by block, and verifies every block
 * against its CID, so that no gateway is trusted. At most `bytes` bytes of content. Never rejects.
 */
export async function fetchIpfs(
  context: HttpContext,
  uri: UriParts,
  bytes: number,
  attempt: Attempt,
): Promise<FetchOutcome> {
  const { gateways, totalMs } = context.settings
  const root = parseCid(uri.host)
  const path = decodePath(uri.path)?.replace(/^\//, '')
  if (root === null || path === undefined)
    return unavailable('cid', 'The URI names no CID (0, or 1 in base32 or base58btc) with SHA-256.', false)
  if (gateways.length === 0)
    return unavailable('not-allowed', 'ipfs URIs are turned off here: no gateway is set.', false)
  const names = path === '' ? [] : path.split('/')

  // Each gateway gets its share of the time, so that a silent one leaves some for those after it.
  const settings = { ...context.settings, totalMs: Math.ceil(totalMs / gateways.length) }
  const failures: string[] = []
  for (const gateway of gateways) {
    const visit = new Attempt(context.clock, attempt.signal)
    try {
      const source = blockSource({ ...context, settings }, gateway, visit)
      return { kind: 'bytes', bytes: await walk(source, root, names, bytes) }
    } catch (error) {
      if (!(error instanceof WalkEnd)) throw error
      if (error.final) return error.outcome
      failures.push(`${hostPort(gateway)} (${error.outcome.what})`)
    } finally {
      visit.close()
    }
    if (attempt.signal.aborted) return outcomeOfAbort(attempt.signal)
  }
  return unavailable('gateway', `No gateway gave the content: ${failures.join(', ')}.`, true)
}

type BlockSource = (cid: Cid, maxBytes: number) => Promise<Uint8Array>

/** Single blocks from one gateway, as the trustless gateway specification serves them; throws {@link WalkEnd}. */
function blockSource(context: HttpContext, gateway: UriParts, attempt: Attempt): BlockSource {
  let blocks = 0
  return async (cid, maxBytes) => {
    if (++blocks > MAX_BLOCKS) throw atFault('cid', `The content is cut into more than ${MAX_BLOCKS} blocks.`)
    const path = `${gateway.path.replace(/\/+$/, '')}/ipfs/${cidText(cid)}`
    const uri = { ...gateway, path, query: 'format=raw' }
    const want = { maxBytes, exact: false, accept: 'application/vnd.ipld.raw' }
    const outcome = await httpGet(context, uri, want, attempt)
    if (outcome.kind === 'unavailable') throw new WalkEnd(outcome, false)
    if (!equalBytes(sha256(outcome.bytes), cid.digest))
      throw new WalkEnd(unavailable('hash', 'The gateway sent a block that is not the CID.', true), false)
    return outcome.bytes
  }
}

/** The bytes of the file at `names` below `root`, at most `limit`. Throws {@link WalkEnd}. */
async function walk(
  block: BlockSource,
  root: Cid,
  names: readonly string[],
  limit: number,
): Promise<Uint8Array> {
  let cid = root
  for (const name of names) {
    const folder = await nodeOf(block, cid, MAX_FOLDER)
    const link = folder.type === 'folder' ? folder.links.find((each) => each.name === name) : undefined
    if (link === undefined) throw atFault('cid', 'The path leads to nothing, or through a sharded folder.')
    cid = link.cid
  }
  const parts: Uint8Array[] = []
  let length = 0
  const append = (part: Uint8Array) => {
    length += part.length
    if (length > limit) throw atFault('too-long', `The content has more than ${limit} bytes.`)
    parts.push(part)
  }
  const file = async (at: Cid): Promise<void> => {
    if (at.codec === 'raw') {
      append(await block(at, limit - length))
      return
    }
    const node = await nodeOf(block, at, limit - length + NODE_OVERHEAD)
    if (node.type !== 'file') throw atFault('cid', 'The CID names something that is not a file.')
    append(node.data)
    for (const link of node.links) await file(link.cid)
  }
  await file(cid)
  return concat(...parts)
}

async function nodeOf(block: BlockSource, cid: Cid, maxBytes: number): Promise<UnixFsNode> {
  if (cid.codec === 'raw') throw atFault('cid', 'The path goes through something that is not a folder.')
  const node = parseUnixFs(await block(cid, maxBytes))
  if (node === null) throw atFault('cid', 'A block of the content is not a UnixFS node.')
  return node
}
