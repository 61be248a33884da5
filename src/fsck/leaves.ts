import { JoinedReader } from './joined.ts'
import { Rejudge } from './judged.ts'
import type { Leaf, LeafContext } from './leaf-context.ts'
import { MarkCheck } from './marks.ts'
import { numberOf, type Snapshot } from './rows.ts'
import type { Joined } from './submission.ts'
import { hashLeaf, type Tree } from './tree.ts'

/** Indices in one batch. */
export const BATCH = 256
/** Payload bytes that are held at once, but for the last payload: what bounds memory. */
const HELD_BYTES = 16 << 20

/**
 * The pass over all settled submissions in index order: each row, its verdict judged anew from the payload, its readings, its
 * entry, and the tree over the entries with the tiles, checkpoints and anchors on the way.
 */
export class LeafPass {
  readonly #context: LeafContext
  readonly #tree: Tree
  readonly #joined: JoinedReader
  readonly #rejudge: Rejudge
  readonly #marks: MarkCheck

  constructor(context: LeafContext, tree: Tree) {
    this.#context = context
    this.#tree = tree
    this.#joined = new JoinedReader(context)
    this.#rejudge = new Rejudge(context)
    this.#marks = new MarkCheck(context, tree)
  }

  /** Checks the indices from `from` up to but without `to`. */
  async batch(from: number, to: number): Promise<void> {
    const { db, findings, counts } = this.#context
    const joined = new Map(
      (await this.joined(db`u.index >= ${from} and u.index < ${to}`)).map((item) => [
        numberOf(item.u['index']),
        item,
      ]),
    )
    const leaves = new Map(
      (
        await db`select index, submission::text, entry from leaf where index >= ${from} and index < ${to}`
      ).map((row): [number, Leaf] => [
        row['index'],
        { submission: row['submission'], entry: new Uint8Array(row['entry']) },
      ]),
    )
    const marks = await this.#marks.read(from, to)
    const rows = [...joined.values()]
    for (let at = 0; at < rows.length; ) {
      let held = 0
      let end = at
      while (end < rows.length && held < HELD_BYTES)
        held += Math.max(0, numberOf(rows[end++]?.u['payload_bytes']) || 0)
      await this.#rejudge.check(rows.slice(at, end), leaves)
      at = end
    }
    for (let index = from; index < to; index++) {
      const leaf = leaves.get(index)
      if (!joined.has(index)) findings.add('submission', `index ${index}`, 'index', index, 'no submission')
      if (index < this.#context.leafCount && !leaf)
        findings.add('leaf', `index ${index}`, 'index', 'a leaf', 'nothing')
      // The tree stands on the stored entries: a wrong entry is one finding, and a wrong tile another.
      if (leaf && index === this.#tree.size) this.#tree.push(hashLeaf(leaf.entry))
      for (const mark of marks.get(index + 1) ?? []) this.#marks.check(mark, index + 1)
    }
    counts.leaves += leaves.size
    await this.#marks.tiles(this.#tree.takeFull())
    await this.#marks.receiptSignatures(from, to, leaves)
  }

  /** Submissions that satisfy a condition on `u`, with what they refer to. */
  joined(condition: ReturnType<Snapshot>): Promise<Joined[]> {
    return this.#joined.read(condition)
  }

  /** Holds the tiles that did not come to be full against the stored ones. */
  partialTiles(): Promise<void> {
    return this.#marks.tiles(this.#tree.partial())
  }
}
