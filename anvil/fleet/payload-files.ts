import { mkdirSync, readdirSync, rmSync, statSync } from 'node:fs'
import { readFile, rename, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { sha256, toHex } from '../../src/core/bytes.ts'

/** What is kept, at most; the oldest goes first. Hours of the fleet's own pace, and far more than an indexer lags. */
export const KEPT = { files: 8_000, bytes: 64 << 20 } as const

const SUFFIX = '.maml.md'
const NAME = /^[0-9a-f]{64}$/

/** Payloads as files named by their SHA-256 (64 hex digits), so that a host serves them again after a restart. */
export class PayloadFiles {
  readonly #dir: string
  readonly #kept: { readonly files: number; readonly bytes: number }
  /** Sizes by name, oldest first. */
  readonly #sizes = new Map<string, number>()
  #bytes = 0

  /** Opens the folder `dir`, made where it is missing, and prunes it. */
  constructor(dir: string, kept: { readonly files: number; readonly bytes: number } = KEPT) {
    this.#dir = dir
    this.#kept = kept
    mkdirSync(dir, { recursive: true, mode: 0o700 })
    const found: { name: string; size: number; time: number }[] = []
    for (const file of readdirSync(dir)) {
      const name = file.slice(0, -SUFFIX.length)
      if (!file.endsWith(SUFFIX) || !NAME.test(name)) {
        // What a crash left of a write.
        if (file.endsWith('.new')) rmSync(join(dir, file), { force: true })
        continue
      }
      const { size, mtimeMs } = statSync(join(dir, file))
      found.push({ name, size, time: mtimeMs })
    }
    for (const { name, size } of found.sort((a, b) => a.time - b.time)) this.#add(name, size)
    for (const name of this.#excess()) rmSync(this.#path(name), { force: true })
  }

  /** Writes a payload, whole or not at all, and answers its name. */
  async put(bytes: Uint8Array): Promise<string> {
    const name = toHex(sha256(bytes)).slice(2)
    if (!this.#sizes.has(name)) {
      const path = this.#path(name)
      await writeFile(`${path}.new`, bytes, { mode: 0o600 })
      await rename(`${path}.new`, path)
      this.#add(name, bytes.length)
      for (const old of this.#excess()) await unlink(this.#path(old)).catch(() => {})
    }
    return name
  }

  /** The payload of that name; null where there is none. */
  async get(name: string): Promise<Uint8Array | null> {
    if (!this.#sizes.has(name)) return null
    return readFile(this.#path(name)).then(
      (bytes) => new Uint8Array(bytes),
      () => null,
    )
  }

  get count(): number {
    return this.#sizes.size
  }

  #path(name: string): string {
    return join(this.#dir, `${name}${SUFFIX}`)
  }

  #add(name: string, size: number): void {
    if (this.#sizes.has(name)) return
    this.#sizes.set(name, size)
    this.#bytes += size
  }

  /** Takes the oldest names off the books until the rest is within the bounds. */
  #excess(): string[] {
    const out: string[] = []
    for (const [name, size] of this.#sizes) {
      if (this.#sizes.size <= this.#kept.files && this.#bytes <= this.#kept.bytes) break
      this.#sizes.delete(name)
      this.#bytes -= size
      out.push(name)
    }
    return out
  }
}
