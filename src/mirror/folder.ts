import { randomBytes } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { DunesError } from '../core/error.ts'
import { MirrorError } from './error.ts'

/** Ending of files that are being written; no path of a log has it. */
const PART = '.part'

export interface WriteOptions {
  /** Whether to wait until the bytes are on the disk. */
  durable?: boolean
}

/**
 * A log's files as any file server can host them, under the paths of C2SP tlog-tiles. Every file appears whole or not at all.
 * Throws `FOLDER_UNUSABLE` where the file system refuses.
 */
export class LogFolder {
  readonly path: string
  constructor(path: string) {
    this.path = path
  }

  /** Bytes of a file, or null where there is none. */
  async read(path: string): Promise<Uint8Array | null> {
    try {
      return new Uint8Array(await readFile(join(this.path, path)))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
      throw unusable(join(this.path, path), error)
    }
  }

  /** Parts of a file one after another, each at most `chunk` bytes; none where there is no such file. */
  async *stream(path: string, chunk = 1 << 20): AsyncGenerator<Uint8Array> {
    try {
      for await (const part of createReadStream(join(this.path, path), { highWaterMark: chunk }))
        yield new Uint8Array(part as Buffer)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw unusable(join(this.path, path), error)
    }
  }

  async write(path: string, bytes: Uint8Array, options: WriteOptions = {}): Promise<void> {
    await this.writeParts(path, [bytes], options)
  }

  /** Writes a file from parts that need not be held at once. What `parts` throws is thrown, and nothing is written. */
  async writeParts(
    path: string,
    parts: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
    { durable = false }: WriteOptions = {},
  ): Promise<void> {
    const target = join(this.path, path)
    const part = `${target}.${randomBytes(4).toString('hex')}${PART}`
    try {
      await mkdir(dirname(target), { recursive: true })
      const file = await open(part, 'w')
      try {
        for await (const bytes of parts) await file.writeFile(bytes)
        if (durable) await file.sync()
      } finally {
        await file.close()
      }
      await rename(part, target)
    } catch (error) {
      await rm(part, { force: true }).catch(() => {})
      throw error instanceof DunesError ? error : unusable(target, error)
    }
  }

  /** Removes a file or a folder with all that is in it, if it is there. */
  async remove(path: string): Promise<void> {
    try {
      await rm(join(this.path, path), { recursive: true, force: true })
    } catch (error) {
      throw unusable(join(this.path, path), error)
    }
  }

  /** Names in a folder, without what a broken-off write left; none where there is no such folder. */
  async list(path: string): Promise<string[]> {
    try {
      return (await readdir(join(this.path, path))).filter((name) => !name.endsWith(PART))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
      throw unusable(join(this.path, path), error)
    }
  }
}

const unusable = (path: string, cause: unknown): MirrorError =>
  new MirrorError('FOLDER_UNUSABLE', `${path}: ${cause instanceof Error ? cause.message : 'unusable'}`, {
    hint: 'check the folder, its rights and the free space',
    exitCode: 2,
    cause,
  })
