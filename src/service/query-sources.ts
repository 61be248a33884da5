import type { Hex } from '../core/bytes.ts'
import { REASONS, type Reason } from '../core/reason.ts'
import type { GuardedQuery } from '../query/guard.ts'
import { MAX_MANY } from './prove-many.ts'
import type { RowMarks } from './query-rows.ts'
import type { QueryTransaction } from './query-sessions.ts'
import type { QuerySource, RowProvenance } from './query-shape.ts'

/** What an answer says of one submission behind its rows. */
interface Submission {
  id: Hex
  final: boolean
  verdict: 'accepted' | 'rejected'
  reason: Reason | null
}

/** The submissions with these leaf indices, as the same snapshot has them that the rows are from. */
export async function readSubmissions(
  { tx }: QueryTransaction,
  leaves: readonly number[],
): Promise<ReadonlyMap<number, Submission>> {
  if (leaves.length === 0) return new Map()
  const rows = await tx`
    select leaf_index, submission, final, verdict, reason from api."dunes:leaf"
    where leaf_index = any(${leaves as number[]}::bigint[])`
  return new Map(
    rows.map((row): [number, Submission] => [
      row['leaf_index'] as number,
      {
        id: `0x${row['submission']}`,
        final: row['final'],
        verdict: row['verdict'],
        reason: row['reason'],
      },
    ]),
  )
}

/** Where one row comes from. */
export function rowProvenance(
  query: GuardedQuery,
  marks: RowMarks,
  submissions: ReadonlyMap<number, Submission>,
  state: { log_size: number; anchored_size: number } | null,
): RowProvenance {
  if (query.kind === 'none') return { kind: 'none' }
  if (query.kind === 'row') {
    const sources = query.sources.flatMap(({ dataset }, i) => {
      const leaf = marks[i]
      const submission = leaf == null ? undefined : submissions.get(leaf)
      return leaf == null || !submission ? [] : [sourceOf(dataset, leaf, submission, state)]
    })
    return { kind: 'row', sources }
  }
  return {
    kind: 'set',
    sources: query.sources.map(({ dataset }, i) => ({
      dataset,
      readings: marks[3 * i] ?? 0,
      first_leaf: marks[3 * i + 1] ?? null,
      last_leaf: marks[3 * i + 2] ?? null,
    })),
  }
}

function sourceOf(
  dataset: string,
  leaf: number,
  { id, final, verdict, reason }: Submission,
  state: { log_size: number; anchored_size: number } | null,
): QuerySource {
  const anchored = leaf < (state?.anchored_size ?? 0)
  const self = `/v1/submissions/${id}`
  return {
    dataset,
    submission: id,
    leaf_index: leaf,
    state: anchored ? 'anchored' : leaf < (state?.log_size ?? 0) ? 'logged' : final ? 'final' : 'settled',
    verdict,
    reason,
    signature: { algorithm: 'ML-DSA-65', status: signatureStatus(reason) },
    links: { submission: self, proof: anchored ? `${self}/proof` : null },
  }
}

/** What is known of a contributor's signature from the reason of a verdict: the first that applies is the one that is given. */
function signatureStatus(reason: Reason | null): QuerySource['signature']['status'] {
  if (reason === 'SIGNATURE_MISSING') return 'missing'
  if (reason === 'SIGNATURE_INVALID' || reason === 'KEY_REVOKED') return 'invalid'
  return reason === null || REASONS.indexOf(reason) > REASONS.indexOf('SIGNATURE_INVALID')
    ? 'valid'
    : 'not_checked'
}

/** Addresses of multi-proofs of these leaves (ascending), as many as a bundle holds in each. */
export function proofLinks(leaves: readonly number[]): { leaves: number; href: string }[] {
  const links: { leaves: number; href: string }[] = []
  for (let from = 0; from < leaves.length; from += MAX_MANY) {
    const part = leaves.slice(from, from + MAX_MANY)
    links.push({ leaves: part.length, href: `/v1/proofs?indices=${formatIndices(part)}` })
  }
  return links
}

/** Ascending indices as ranges: `3-17,20`. */
export function formatIndices(indices: readonly number[]): string {
  const ranges: string[] = []
  for (let i = 0; i < indices.length; ) {
    let end = i
    while (indices[end + 1] === (indices[end] as number) + 1) end++
    ranges.push(end === i ? `${indices[i]}` : `${indices[i]}-${indices[end]}`)
    i = end + 1
  }
  return ranges.join(',')
}

/** What {@link formatIndices} gives, as indices; null for any other text or more than `most`. */
export function parseIndices(text: string, most: number): number[] | null {
  const out: number[] = []
  for (const range of text.split(',')) {
    const [, from, to] = /^(\d{1,15})(?:-(\d{1,15}))?$/.exec(range) ?? []
    if (from === undefined) return null
    const last = Number(to ?? from)
    if (last - Number(from) >= most || last < Number(from)) return null
    for (let index = Number(from); index <= last; index++) out.push(index)
    if (out.length > most) return null
  }
  return out
}
