import { type Cid, cidFromBytes } from './cid.ts'

/**
 * One dag-pb block (https://ipld.io/specs/codecs/dag-pb/spec/) that holds a UnixFS node. Pure; reads what files and plain
 * folders need and refuses the rest.
 */
export interface UnixFsNode {
  type: 'file' | 'folder' | 'other'
  /** The part of a file that stands in this block, before what the links hold. */
  data: Uint8Array
  links: { name: string; cid: Cid }[]
}

interface Field {
  number: number
  value: number | Uint8Array
}

/** Types of UnixFS that hold bytes of a file: Raw and File. */
const FILE_TYPES: ReadonlySet<number> = new Set([0, 2])
const FOLDER_TYPE = 1

/** The node in a block, or null where the bytes are not such a node. */
export function parseUnixFs(block: Uint8Array): UnixFsNode | null {
  const fields = protobuf(block)
  if (!fields) return null
  const links: UnixFsNode['links'] = []
  let inner: Uint8Array | null = null
  for (const { number, value } of fields) {
    if (typeof value === 'number') return null
    if (number === 1 && inner === null) inner = value
    else if (number === 2) {
      const link = parseLink(value)
      if (!link) return null
      links.push(link)
    } else return null
  }
  const unixFs = inner && protobuf(inner)
  if (!unixFs) return null
  const type = unixFs.find((field) => field.number === 1)?.value
  const data = unixFs.find((field) => field.number === 2)?.value ?? new Uint8Array()
  if (typeof type !== 'number' || typeof data === 'number') return null
  return { type: FILE_TYPES.has(type) ? 'file' : type === FOLDER_TYPE ? 'folder' : 'other', data, links }
}

function parseLink(bytes: Uint8Array): UnixFsNode['links'][number] | null {
  const fields = protobuf(bytes)
  const hash = fields?.find((field) => field.number === 1)?.value
  const name = fields?.find((field) => field.number === 2)?.value ?? new Uint8Array()
  if (!(hash instanceof Uint8Array) || typeof name === 'number') return null
  const cid = cidFromBytes(hash)
  return cid && { name: new TextDecoder().decode(name), cid }
}

/** The fields of a protobuf message: varints below 2^53 and byte strings; null where malformed or of another kind. */
function protobuf(bytes: Uint8Array): Field[] | null {
  const out: Field[] = []
  let at = 0
  const varint = (): number | null => {
    let value = 0
    for (let scale = 1; scale < 2 ** 49; scale *= 128) {
      const byte = bytes[at++]
      if (byte === undefined) return null
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return value
    }
    return null
  }
  while (at < bytes.length) {
    const key = varint()
    const value = varint()
    if (key === null || value === null) return null
    const number = Math.floor(key / 8)
    if (key % 8 === 0) out.push({ number, value })
    else if (key % 8 === 2 && value <= bytes.length - at) {
      out.push({ number, value: bytes.subarray(at, at + value) })
      at += value
    } else return null
  }
  return out
}
