import type { TransactionSql } from 'postgres'
import type { ChainEventType } from '../chain/source.ts'
import type { Hex } from '../core/bytes.ts'
import { inconsistent, type Placed } from './apply-submissions.ts'

/** The events that carry a running number. */
export interface Numbered {
  readonly submitted: readonly Placed<'submitted'>[]
  readonly settled: readonly Placed<'settled'>[]
  readonly keys: readonly Placed<'keyRegistered'>[]
  readonly datasets: readonly Placed<'datasetUpdated'>[]
  readonly anchors: readonly Placed<'anchored'>[]
}

/** Picks the events that carry a running number. */
export function numbered(of: <T extends ChainEventType>(type: T) => readonly Placed<T>[]): Numbered {
  return {
    submitted: of('submitted'),
    settled: of('settled'),
    keys: of('keyRegistered'),
    datasets: of('datasetUpdated'),
    anchors: of('anchored'),
  }
}

/**
 * Makes sure that no event is missing before any of these: the contracts number each contributor's submissions (`nonce`), settlements
 * (`seq`) and keys, each dataset's versions and all anchors without holes, so an answer that left one out is found at the next. (The
 * registry's `index` is held against its rows where they are written.) Call it before the events are applied. Throws `GRAPH_INCONSISTENT`.
 */
export async function requireNoHoles(tx: TransactionSql, events: Numbered): Promise<void> {
  const { submitted, settled, keys, datasets, anchors } = events
  const accounts = new Set([...submitted, ...settled, ...keys].map((event) => event.contributor))
  if (accounts.size > 0) {
    // One look at an index for each number and account: the newest row of an account has its highest numbers.
    const rows = await tx`
      select encode(c.account, 'hex') as account,
             (select nonce from submission u where u.contributor = c.id order by u.id desc limit 1) as nonce,
             (select seq from submission u where u.contributor = c.id and seq is not null order by seq desc limit 1) as seq,
             ${keys.length > 0 ? tx`(select max(key_index) from contributor_key k where k.contributor = c.id)` : tx`null::bigint`} as key
      from contributor c
      where c.account in (select decode(a, 'hex') from unnest(${[...accounts].map((account) => account.slice(2))}::text[]) as a)`
    const last = (column: string) =>
      new Map<Hex, number>(rows.map((row) => [`0x${row['account']}`, row[column] ?? -1]))
    follow('submission', last('nonce'), submitted, (e) => [e.contributor, e.nonce])
    follow('settlement', last('seq'), settled, (e) => [e.contributor, e.seq])
    follow('key', last('key'), keys, (e) => [e.contributor, e.keyIndex])
  }
  if (datasets.length > 0) {
    const rows = await tx`
      select d.name, max(v.version) as version from dataset d join dataset_version v on v.dataset = d.id
      where d.name = any(${datasets.map((e) => e.name)}::text[]) group by d.name`
    const versions = new Map<string, number>(rows.map((row) => [row['name'], row['version']]))
    follow('version', versions, datasets, (e) => [e.name, e.version])
  }
  if (anchors.length > 0) {
    const [newest] = await tx`select seq, size from anchor order by seq desc limit 1`
    let before = newest ? { seq: newest['seq'] as number, size: newest['size'] as number } : null
    for (const { seq, size, previousSize } of anchors) {
      if (before !== null && (seq !== before.seq + 1 || previousSize !== before.size))
        throw inconsistent(`anchor ${seq} does not follow anchor ${before.seq}`)
      before = { seq, size }
    }
  }
}

/** Throws unless each event's number is the one after its owner's last. */
function follow<T, K extends string>(
  what: string,
  last: Map<K, number>,
  events: readonly T[],
  read: (event: T) => readonly [owner: K, number: number],
): void {
  for (const event of events) {
    const [owner, number] = read(event)
    const due = (last.get(owner) ?? -1) + 1
    if (number !== due) throw inconsistent(`${what} ${number} of ${owner} came where number ${due} was due`)
    last.set(owner, number)
  }
}
