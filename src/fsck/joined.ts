import { utf8 } from '../core/bytes.ts'
import { verifyPossession } from '../maml/possession.ts'
import { possessionDigest, sha256Hex } from './hash.ts'
import { type LeafContext, REMEMBERED } from './leaf-context.ts'
import { isBefore } from './registrations.ts'
import { bytesOf, hexOf, jsonRows, numberOf, type Row, type Snapshot, textOf } from './rows.ts'
import { attempt, type Joined } from './submission.ts'

/** Reads submissions with all that they refer to. Proofs of possession are verified once each. */
export class JoinedReader {
  readonly #context: LeafContext
  readonly #proved = new Map<string, boolean>()

  constructor(context: LeafContext) {
    this.#context = context
  }

  /** Submissions that satisfy a condition on `u`, by index, with what they refer to. */
  async read(condition: ReturnType<Snapshot>): Promise<Joined[]> {
    const { db } = this.#context
    const rows = jsonRows(
      await db`
      select jsonb_build_object('u', to_jsonb(u), 'dataset', d.name, 'account', c.account,
        'sensor', jsonb_build_object('name', s.name, 'contributor', s.contributor, 'dataset', s.dataset),
        'before', p.acc, 'in_force', v.schema_sha256,
        'attestations', (select jsonb_agg(to_jsonb(a) order by a.block, a.log_index) from attestation a where a.submission = u.id)
      ) as row
      from submission u left join sensor s on s.id = u.sensor left join dataset d on d.id = u.dataset
      left join contributor c on c.id = u.contributor
      left join submission p on p.contributor = u.contributor and p.seq = u.seq - 1
      left join lateral (
        select schema_sha256 from dataset_version v
        where v.dataset = u.dataset and (v.block, v.log_index) < (u.submitted_block, u.submitted_log)
        order by v.block desc, v.log_index desc limit 1) v on true
      where ${condition} order by u.index, u.id`,
    )
    const contributors = [...new Set(rows.map((row) => numberOf((row['u'] as Row)['contributor'])))]
    const keys = new Map<number, Row[]>()
    for (const key of jsonRows(
      await db`
        select to_jsonb(k) || jsonb_build_object('account', c.account) as row
        from contributor_key k join contributor c on c.id = k.contributor
        where k.contributor = any(${contributors}::bigint[]) order by k.key_index`,
    )) {
      const owner = numberOf(key['contributor'])
      keys.set(owner, [...(keys.get(owner) ?? []), key])
    }
    return rows.map((row): Joined => {
      const u = row['u'] as Row
      const submitted = [numberOf(u['submitted_block']), numberOf(u['submitted_log'])] as const
      return {
        u,
        sensor: row['sensor'] as Row,
        dataset: textOf(row['dataset']),
        account: hexOf(row['account']),
        before: row['before'] === null ? null : hexOf(row['before']),
        schemaInForce: row['in_force'] === null ? null : hexOf(row['in_force']),
        attestations: (row['attestations'] ?? []) as unknown as Row[],
        keys: (keys.get(numberOf(u['contributor'])) ?? [])
          .filter((key) => isBefore([numberOf(key['block']), numberOf(key['log_index'])], submitted))
          .map((key) => ({ row: key, publicKey: bytesOf(key['public_key']), proved: this.#isProved(key) })),
      }
    })
  }

  #isProved(key: Row): boolean {
    const { subject, mlDsa } = this.#context
    const id = JSON.stringify([key['account'], key['key_index'], key['public_key'], key['possession']])
    const name = sha256Hex(utf8(id))
    const known = this.#proved.get(name)
    if (known !== undefined) return known
    if (this.#proved.size >= REMEMBERED) this.#proved.clear()
    const digest = attempt(() =>
      possessionDigest(subject.chainId, subject.registry, hexOf(key['account']), numberOf(key['key_index'])),
    )
    const proved =
      digest !== null &&
      verifyPossession(bytesOf(key['public_key']), digest, bytesOf(key['possession']), mlDsa)
    this.#proved.set(name, proved)
    return proved
  }
}
