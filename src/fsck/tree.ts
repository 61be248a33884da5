import { fromHex, type Hex, toHex } from '../core/bytes.ts'
import { sha256 } from './hash.ts'

const LEAF = Uint8Array.of(0)
const NODE = Uint8Array.of(1)
/** Levels of the binary tree in one level of tiles (C2SP tlog-tiles). */
const TILE_HEIGHT = 8
const TILE_WIDTH = 256

/** Hash of a leaf, RFC 6962 section 2.1. */
export const hashLeaf = (entry: Uint8Array): Uint8Array => sha256(LEAF, entry)
const hashNode = (left: Uint8Array, right: Uint8Array): Uint8Array => sha256(NODE, left, right)

/** A tile and the hashes that belong in it, 32 bytes each. */
export interface Tile {
  readonly level: number
  readonly index: number
  readonly hashes: Uint8Array
}

/** A {@link Tree} as it is kept between two runs. */
export interface TreeState {
  readonly size: number
  readonly edge: readonly (Hex | null)[]
  readonly open: readonly Hex[]
}

/**
 * The log's tree, built leaf by leaf and never held: a binary counter of perfect subtrees (one for each bit of the size) and
 * the tiles that are not full yet, one for each level. Under 100 KiB whatever the size.
 */
export class Tree {
  #size = 0
  /** By height: root of the perfect subtree on the right edge, null where that bit of the size is 0. */
  #edge: (Uint8Array | null)[] = []
  /** By tile level: hashes of the tile that is being filled. */
  #open: Uint8Array[][] = []
  #full: Tile[] = []

  constructor(state?: TreeState) {
    if (!state) return
    this.#size = state.size
    this.#edge = state.edge.map((hash) => (hash === null ? null : fromHex(hash, 32)))
    this.#open = state.open.map((hex) => {
      const bytes = fromHex(hex)
      return Array.from({ length: bytes.length / 32 }, (_, i) => bytes.slice(32 * i, 32 * i + 32))
    })
  }

  get size(): number {
    return this.#size
  }

  /** Adds the leaf whose hash this is. */
  push(leaf: Uint8Array): void {
    let node = leaf
    for (let height = 0; ; height++) {
      if (height % TILE_HEIGHT === 0) this.#place(height / TILE_HEIGHT, node)
      const left = this.#edge[height] ?? null
      if (left === null) {
        this.#edge[height] = node
        break
      }
      this.#edge[height] = null
      node = hashNode(left, node)
    }
    this.#size++
  }

  #place(level: number, node: Uint8Array): void {
    this.#open[level] ??= []
    const hashes = this.#open[level] as Uint8Array[]
    hashes.push(node)
    if (hashes.length < TILE_WIDTH) return
    // Leaf `size` is being added, so this tile is the one that ends with it.
    const index = Math.floor(this.#size / TILE_WIDTH ** (level + 1))
    this.#full.push({ level, index, hashes: Buffer.concat(hashes) })
    this.#open[level] = []
  }

  /** The root of all leaves so far; of none, SHA-256 of nothing. */
  root(): Uint8Array {
    let root: Uint8Array | null = null
    for (const subtree of this.#edge) if (subtree) root = root ? hashNode(subtree, root) : subtree
    return root ?? sha256()
  }

  /** Tiles that became full since the last call. */
  takeFull(): Tile[] {
    return this.#full.splice(0)
  }

  /** The tiles that are not full: at most one a level, none where a level ends evenly. */
  partial(): Tile[] {
    return this.#open.flatMap((hashes, level) =>
      hashes.length === 0
        ? []
        : [
            {
              level,
              index: Math.floor(this.#size / TILE_WIDTH ** (level + 1)),
              hashes: Buffer.concat(hashes),
            },
          ],
    )
  }

  state(): TreeState {
    return {
      size: this.#size,
      edge: Array.from(this.#edge, (hash) => (hash ? toHex(hash) : null)),
      open: this.#open.map((hashes) => toHex(Buffer.concat(hashes))),
    }
  }
}

/** How many rows of tiles a tree of `size` leaves has, the partial ones among them. */
export function tileCount(size: number): number {
  let count = 0
  for (let width = size; width > 0; width = Math.floor(width / TILE_WIDTH))
    count += Math.ceil(width / TILE_WIDTH)
  return count
}
