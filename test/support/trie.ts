import { keccak_256 } from '@noble/hashes/sha3.js'

/** A Merkle-Patricia trie written straight from the yellow paper's appendices B to D, to make proofs for tests. */

export type Rlp = Uint8Array | Rlp[]

const join = (parts: Uint8Array[]): Uint8Array => {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    out.set(part, at)
    at += part.length
  }
  return out
}

/** Big-endian bytes without leading zeros; zero is empty. */
export const minimal = (value: bigint | number): Uint8Array => {
  const hex = BigInt(value).toString(16)
  if (hex === '0') return new Uint8Array(0)
  return Uint8Array.from(Buffer.from(hex.length % 2 ? `0${hex}` : hex, 'hex'))
}

/** Appendix B. */
export function rlp(item: Rlp): Uint8Array {
  const isList = !(item instanceof Uint8Array)
  const body = isList ? join(item.map(rlp)) : item
  if (!isList && body.length === 1 && (body[0] as number) < 0x80) return body
  const base = isList ? 0xc0 : 0x80
  if (body.length < 56) return join([Uint8Array.of(base + body.length), body])
  const length = minimal(body.length)
  return join([Uint8Array.of(base + 55 + length.length), length, body])
}

/** Appendix C. */
const hexPrefix = (nibbles: number[], leaf: boolean): Uint8Array => {
  const flag = leaf ? 2 : 0
  const all = nibbles.length % 2 ? [flag + 1, ...nibbles] : [flag, 0, ...nibbles]
  return Uint8Array.from({ length: all.length / 2 }, (_, i) => (all[2 * i]! << 4) | all[2 * i + 1]!)
}

const toNibbles = (bytes: Uint8Array): number[] => [...bytes].flatMap((byte) => [byte >> 4, byte & 15])

interface Pair {
  key: number[]
  value: Uint8Array
}

export interface TestTrie {
  root: Uint8Array
  /** The RLP of each node on the key's path that is not embedded in its parent, from the root down. */
  prove(key: Uint8Array): Uint8Array[]
}

/** The trie of `pairs`: keys of any length, values not empty. */
export function buildTrie(pairs: [Uint8Array, Uint8Array][]): TestTrie {
  const all = pairs.map(([key, value]) => ({ key: toNibbles(key), value }))
  // Appendix D, function c: the structural composition of the pairs that agree on their first `i` nibbles. `visit`
  // sees each node on the way to `target`, with whether it stands by hash.
  const compose = (set: Pair[], i: number, target: number[] | null, out: Uint8Array[]): Rlp => {
    if (set.length === 1) {
      const { key, value } = set[0]!
      return [hexPrefix(key.slice(i), true), value]
    }
    let j = i
    while (set.every((p) => p.key.length > j && p.key[j] === set[0]!.key[j])) j++
    if (j > i) {
      const path = set[0]!.key.slice(i, j)
      const follows = target !== null && path.every((nibble, n) => target[i + n] === nibble)
      return [hexPrefix(path, false), reference(set, j, follows ? target : null, out)]
    }
    const branch: Rlp[] = []
    for (let nibble = 0; nibble < 16; nibble++) {
      const below = set.filter((p) => p.key.length > i && p.key[i] === nibble)
      const follows = target !== null && target[i] === nibble
      branch.push(
        below.length === 0 ? new Uint8Array(0) : reference(below, i + 1, follows ? target : null, out),
      )
    }
    branch.push(set.find((p) => p.key.length === i)?.value ?? new Uint8Array(0))
    return branch
  }
  // Appendix D, function n. Children are put before their parents here; prove() turns the list round.
  const reference = (set: Pair[], i: number, target: number[] | null, out: Uint8Array[]): Rlp => {
    const node = compose(set, i, target, out)
    const bytes = rlp(node)
    if (bytes.length < 32) return node
    if (target !== null) out.push(bytes)
    return keccak_256(bytes)
  }
  return {
    root: keccak_256(all.length === 0 ? rlp(new Uint8Array(0)) : rlp(compose(all, 0, null, []))),
    prove(key) {
      if (all.length === 0) return []
      const out: Uint8Array[] = []
      const top = rlp(compose(all, 0, toNibbles(key), out))
      return [top, ...out.reverse()]
    },
  }
}

/** A state trie's account value. */
export const accountRlp = (nonce: bigint, balance: bigint, storageRoot: Uint8Array, codeHash: Uint8Array) =>
  rlp([minimal(nonce), minimal(balance), storageRoot, codeHash])

/** A storage trie: slots (32 bytes) to words; zero words are left out, as the protocol does. */
export const buildStorage = (
  slots: [Uint8Array, bigint][],
): TestTrie & { proveSlot(slot: Uint8Array): Uint8Array[] } => {
  const trie = buildTrie(
    slots.filter(([, word]) => word !== 0n).map(([slot, word]) => [keccak_256(slot), rlp(minimal(word))]),
  )
  return { ...trie, proveSlot: (slot) => trie.prove(keccak_256(slot)) }
}

/** A header with `fields` fields (15 and more), filled with plausible values. */
export function buildHeader(
  parts: { stateRoot: Uint8Array; receiptsRoot?: Uint8Array; number: bigint; timestamp: bigint },
  fields = 21,
): { rlp: Uint8Array; hash: Uint8Array } {
  const word = (fill: number) => new Uint8Array(32).fill(fill)
  const list: Rlp[] = [
    word(1), // parentHash
    word(2), // ommersHash
    new Uint8Array(20).fill(3),
    parts.stateRoot,
    word(4), // transactionsRoot
    parts.receiptsRoot ?? word(5),
    new Uint8Array(256),
    minimal(0),
    minimal(parts.number),
    minimal(30_000_000),
    minimal(21_000),
    minimal(parts.timestamp),
    new Uint8Array(0),
    word(6),
    new Uint8Array(8),
    minimal(7), // baseFeePerGas
    word(8),
    minimal(0),
    minimal(0),
    word(9),
    word(10),
  ]
  const bytes = rlp(list.slice(0, fields))
  return { rlp: bytes, hash: keccak_256(bytes) }
}
