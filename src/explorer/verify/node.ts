import { evmChainId } from '../../chain/ids.ts'
import { type Hex, isHex } from '../../core/bytes.ts'
import { DunesError } from '../../core/error.ts'
import { type Json, parseJson } from '../../core/json.ts'

/** Milliseconds that a node may take, and bytes that it may answer: a block names its transactions. */
const TIMEOUT_MS = 15_000
const MAX_BYTES = 4 * 1024 * 1024

const refuse = (message: string): never => {
  throw new DunesError('NODE_REFUSED', message)
}

/**
 * The hash of block `number` as the JSON-RPC node at `url` tells it, after asking whether it serves `chain` (CAIP-2). The
 * only requests that the page ever makes. Throws `NODE_REFUSED`.
 */
export async function askBlockHash(url: string, chain: string, number: number): Promise<Hex> {
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) refuse('give an http or https address')
  const id = await call(url, 'eth_chainId', [])
  if (typeof id !== 'string' || Number(id) !== evmChainId(chain))
    refuse(`the node serves another chain than ${chain}`)
  const block = await call(url, 'eth_getBlockByNumber', [`0x${number.toString(16)}`, false])
  const hash = typeof block === 'object' && block !== null && !Array.isArray(block) ? block['hash'] : null
  return isHex(hash, 32) ? hash : refuse(`the node has no block ${number}`)
}

async function call(url: string, method: string, params: Json[]): Promise<Json> {
  let text = ''
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }),
      credentials: 'omit',
      referrerPolicy: 'no-referrer',
      redirect: 'error',
      cache: 'no-store',
      signal: AbortSignal.timeout(TIMEOUT_MS),
    })
    text = await bounded(response)
  } catch (error) {
    if (error instanceof DunesError) throw error
    refuse('the node does not answer, or does not allow pages to ask it (CORS)')
  }
  const value = parseJson(text, { maxDepth: 32 })
  if (typeof value !== 'object' || value === null || Array.isArray(value) || value['result'] === undefined)
    return refuse(`the node does not answer ${method}`)
  return value['result']
}

async function bounded(response: Response): Promise<string> {
  const decoder = new TextDecoder()
  const reader = response.body?.getReader()
  let text = ''
  let length = 0
  for (;;) {
    const part = await reader?.read()
    if (!part || part.done) return text + decoder.decode()
    length += part.value.length
    if (length > MAX_BYTES) {
      await reader?.cancel()
      refuse('the node answers more than any block has')
    }
    text += decoder.decode(part.value, { stream: true })
  }
}
