import { equalBytes, type Hex, toHex, utf8 } from '../core/bytes.ts'
import { sha256 } from './hash.ts'
import type { Leaf, LeafContext } from './leaf-context.ts'
import { noteFaultBySets } from './note.ts'
import { hexOf, jsonRows, numberOf, type Row, textOf } from './rows.ts'
import type { Tile, Tree } from './tree.ts'

const RECEIPT_CONTEXT = utf8('dunes.mu/v1')

/** What is stored about the tree beside its leaves: roots of checkpoints and anchors, tiles, receipt signatures. */
export class MarkCheck {
  readonly #context: LeafContext
  readonly #tree: Tree

  constructor(context: LeafContext, tree: Tree) {
    this.#context = context
    this.#tree = tree
  }

  /** Stored roots that are claimed for the sizes after each index of a batch. */
  async read(from: number, to: number): Promise<Map<number, Row[]>> {
    const { db } = this.#context
    const out = new Map<number, Row[]>()
    for (const row of jsonRows(
      await db`
      select to_jsonb(c) as row from checkpoint c where size > ${from} and size <= ${to}
      union all select to_jsonb(a) from anchor a where size > ${from} and size <= ${to}`,
    )) {
      const size = numberOf(row['size'])
      out.set(size, [...(out.get(size) ?? []), row])
    }
    return out
  }

  /** Holds one of them against the tree, which must have that size now. */
  check(mark: Row, size: number): void {
    const { findings, subject, checkpointKeys, mlDsa, counts } = this.#context
    // A root beyond the log is judged elsewhere.
    if (this.#tree.size !== size) return
    const root = this.#tree.root()
    const isCheckpoint = 'note' in mark
    const [table, row] = isCheckpoint
      ? ['checkpoint', `size ${size}`]
      : ['anchor', `anchor ${numberOf(mark['seq'])}`]
    findings.same(table, row, 'root', toHex(root), hexOf(mark['root']))
    if (!isCheckpoint) {
      counts.anchoredRoots++
      return
    }
    counts.checkpoints++
    const fault = noteFaultBySets(
      textOf(mark['note']),
      { origin: subject.origin, size, root },
      checkpointKeys,
      mlDsa,
    )
    if (fault) findings.add('checkpoint', row, `note, ${fault.field}`, fault.expected, fault.found)
  }

  /** Holds stored tiles against those that were built. */
  async tiles(tiles: readonly Tile[]): Promise<void> {
    const { db, findings, counts } = this.#context
    if (tiles.length === 0) return
    const rows = await db`
      select level, index::text, hashes from tile where (level, index) in (
        select * from unnest(${tiles.map((t) => t.level)}::smallint[], ${tiles.map((t) => t.index)}::bigint[]))`
    const stored = new Map(
      rows.map((row) => [`${row['level']}/${row['index']}`, new Uint8Array(row['hashes'])]),
    )
    for (const { level, index, hashes } of tiles) {
      counts.tiles++
      const name = `level ${level}, tile ${index}`
      const found = stored.get(`${level}/${index}`)
      if (!found) findings.add('tile', name, 'hashes', `${hashes.length / 32} hashes`, 'nothing')
      else if (found.length !== hashes.length)
        findings.add('tile', name, 'number of bytes', hashes.length, found.length)
      else if (!equalBytes(found, hashes)) {
        const at = 32 * Math.floor(found.findIndex((byte, i) => byte !== hashes[i]) / 32)
        const hash = (bytes: Uint8Array): Hex => toHex(bytes.subarray(at, at + 32))
        findings.add('tile', name, `hash ${at / 32}`, hash(hashes), hash(found))
      }
    }
  }

  /** Signatures over the entries of a batch, by keys that may sign them. */
  async receiptSignatures(from: number, to: number, leaves: ReadonlyMap<number, Leaf>): Promise<void> {
    const { db, findings, receiptKeys, mlDsa, counts } = this.#context
    const rows = await db`
      select index, key_id, signature from receipt_signature where index >= ${from} and index < ${to} order by index`
    for (const { index, key_id, signature } of rows) {
      counts.receiptSignatures++
      const leaf = leaves.get(index)
      const row = `index ${index}`
      if (!leaf) {
        findings.add('receipt_signature', row, 'index', 'a leaf', 'nothing')
        continue
      }
      if (receiptKeys.length === 0) continue
      const key = receiptKeys.find(({ publicKey }) => equalBytes(sha256(publicKey), key_id))
      const isInForce =
        key && (key.fromIndex ?? 0) <= index && index <= (key.toIndex ?? Number.MAX_SAFE_INTEGER)
      if (!key || !isInForce)
        findings.add('receipt_signature', row, 'key_id', 'a receipt key of the trust policy', toHex(key_id))
      else if (!mlDsa.verify(65, key.publicKey, leaf.entry, signature, RECEIPT_CONTEXT))
        findings.add('receipt_signature', row, 'signature', 'one that verifies', 'one that does not')
    }
  }
}
