import { toHex, utf8 } from '../../src/core/bytes.ts'
import { mlDsa } from '../../src/core/ml-dsa-native.ts'
import { appendLeaves, emptyState, type LogState } from '../../src/log/append.ts'
import {
  type CheckpointSigner,
  ed25519Signer,
  mlDsa44Signer,
  signCheckpoint,
} from '../../src/log/checkpoint.ts'
import { encodeEntryBundle } from '../../src/log/entry-bundle.ts'
import { leafHash } from '../../src/log/merkle.ts'
import { rootAt } from '../../src/log/proof.ts'
import { parseTilePath } from '../../src/log/tile.ts'
import type { LogTrust } from '../../src/mirror/checkpoint.ts'
import type { LogSource } from '../../src/mirror/source.ts'

export const ORIGIN = 'mirror.example/log'
export const SIGNERS = [
  ed25519Signer(ORIGIN, new Uint8Array(32).fill(41)),
  mlDsa44Signer(`${ORIGIN}/pq`, new Uint8Array(32).fill(42), mlDsa),
]
export const TRUST: LogTrust = { origin: ORIGIN, vkeys: SIGNERS.map(({ vkey }) => vkey), mlDsa }
/** POSIX seconds at which checkpoints are signed unless told. */
export const SIGNED_AT = 1_700_000_000

/** A log in memory that serves any path of its size as a real one does, and whatever it is told to serve instead. */
export class MemoryLog implements LogSource {
  readonly name = 'the log'
  readonly entries: Uint8Array[] = []
  /** What was asked for, in order. */
  readonly asked: string[] = []
  /** Answers given instead of the log's own; null is "not found". */
  readonly instead = new Map<string, Uint8Array | null>()
  note = ''
  #state: LogState = emptyState()
  readonly #tiles = new Map<string, Uint8Array>()
  /** Told before each answer. */
  onRead: (path: string) => void = () => {}

  /** Adds entries up to `size`, each made of its index and `salt`, and publishes. */
  grow(
    size: number,
    { salt = '', ...options }: { salt?: string; signers?: CheckpointSigner[]; timestamp?: number } = {},
  ): this {
    const fresh = Array.from({ length: size - this.entries.length }, (_, i) =>
      utf8(`entry ${this.entries.length + i}${salt}\n`),
    )
    this.entries.push(...fresh)
    const { state, tiles } = appendLeaves(this.#state, fresh.map(leafHash))
    this.#state = state
    for (const { level, index, hashes } of tiles) this.#tiles.set(`${level}/${index}`, hashes)
    return this.publish(options)
  }

  publish({
    signers = SIGNERS,
    timestamp = SIGNED_AT,
    root,
  }: {
    signers?: CheckpointSigner[]
    timestamp?: number
    root?: Uint8Array
  } = {}): this {
    const { size } = this.#state
    this.note = signCheckpoint({ origin: ORIGIN, size, root: root ?? this.root(), timestamp }, signers)
    return this
  }

  root(): Uint8Array {
    return appendLeaves(this.#state, []).root
  }

  rootAt = (size: number): Promise<Uint8Array> =>
    rootAt(size, ({ level, index }) => this.#tiles.get(`${level}/${index}`))

  /** What an honest log has at `path`. */
  at(path: string): Uint8Array | null {
    if (path === 'checkpoint') return this.note ? utf8(this.note) : null
    const wanted = parseTilePath(path)
    if (wanted?.kind === 'entries') {
      const from = wanted.index * 256
      const some = this.entries.slice(from, from + wanted.width)
      return some.length === wanted.width ? encodeEntryBundle(some) : null
    }
    const tile = wanted && this.#tiles.get(`${wanted.level}/${wanted.index}`)
    return tile && tile.length >= wanted.width * 32 ? tile.slice(0, wanted.width * 32) : null
  }

  async read(path: string, maxBytes: number): Promise<Uint8Array | null> {
    this.asked.push(path)
    this.onRead(path)
    const bytes = this.instead.has(path) ? (this.instead.get(path) as Uint8Array | null) : this.at(path)
    if (bytes && bytes.length > maxBytes) throw new Error(`${path} ${toHex(bytes).length}`)
    return bytes
  }
}
