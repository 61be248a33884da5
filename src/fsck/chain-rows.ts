import { type Hex, toHex } from '../core/bytes.ts'
import { type AbiResult, type AuditEvent, textOfBytes } from './abi.ts'
import type { RowCheck } from './chain-audit.ts'
import type { Findings } from './findings.ts'
import { sha256Hex } from './hash.ts'
import { hexOf, jsonRows, type Row, type Snapshot } from './rows.ts'

/** A row as the chain says that it must be: its name, and its columns; hashes in hex. */
interface ExpectedRow {
  readonly row: string
  readonly columns: Readonly<Record<string, unknown>>
}

const hex = (value: AbiResult | undefined): Hex => (typeof value === 'string' ? value : '0x')
const bare = (value: AbiResult | undefined): string => hex(value).slice(2)
const bytesHex = (value: AbiResult | undefined): Hex => (value instanceof Uint8Array ? toHex(value) : '0x')

/** `bytea` columns come as text that begins with `\x`. */
const plain = (value: unknown): unknown =>
  typeof value === 'string' && value.startsWith('\\x') ? hexOf(value) : value

/** Compares each event with the row that the database keeps of it, column by column, and counts rows that no event explains. */
export function rowCheck(db: Snapshot, upTo: number, findings: () => Findings): RowCheck {
  const compare = (table: string, expected: readonly ExpectedRow[], found: ReadonlyMap<string, Row>) => {
    for (const { row, columns } of expected) {
      const stored = found.get(row)
      if (!stored) findings().add(table, row, 'row', 'a row', 'nothing')
      else
        for (const [column, value] of Object.entries(columns))
          findings().same(table, row, column, value, plain(stored[column]))
    }
  }
  const byName = (rows: readonly { [column: string]: unknown }[]) =>
    new Map(jsonRows(rows).map((row) => [String(plain(row['name'])), row]))

  return {
    async events(events, timeOf) {
      const of = (name: string): AuditEvent[] => events.filter((event) => event.name === name)
      const submitted = of('Submitted')
      const settled = of('SubmissionSettled')
      const submissions = byName(
        await db`
        select to_jsonb(u) || jsonb_build_object('name', u.submission_id, 'account', c.account, 'sensor_name', s.name, 'dataset_name', d.name) as row
        from submission u join contributor c on c.id = u.contributor join sensor s on s.id = u.sensor join dataset d on d.id = u.dataset
        where u.submission_id in (select decode(i, 'hex') from unnest(${[...submitted, ...settled].map((e) => bare(e.values[0]))}::text[]) as i)`,
      )
      const expected: ExpectedRow[] = []
      for (const { values: v, ...at } of submitted)
        expected.push({
          row: hex(v[0]),
          columns: {
            account: hex(v[1]),
            nonce: v[2],
            sensor_name: textOfBytes(v[3]),
            dataset_name: textOfBytes(v[4]),
            schema_sha256: hex(v[5]),
            payload_sha256: hex(v[6]),
            payload_bytes: v[7],
            uri: bytesHex(v[8]),
            key_id: hex(v[9]),
            quorum: v[10],
            submitted_block: at.block,
            submitted_log: at.logIndex,
            submitted_tx: at.tx,
            submitted_time: await timeOf(at.block),
          },
        })
      for (const { values: v, ...at } of settled)
        expected.push({
          row: hex(v[0]),
          columns: {
            index: v[2],
            seq: v[3],
            outcome: v[4],
            record: hex(v[5]),
            acc: hex(v[6]),
            settled_block: at.block,
            settled_hash: at.blockHash,
            settled_log: at.logIndex,
            settled_tx: at.tx,
            settled_time: await timeOf(at.block),
          },
        })
      compare('submission', expected, submissions)

      const attested = of('Attested')
      const attestations = byName(
        await db`
        select to_jsonb(a) || jsonb_build_object('name', '0x' || e.id || ' by 0x' || e.account) as row
        from unnest(${attested.map((e) => bare(e.values[0]))}::text[], ${attested.map((e) => bare(e.values[1]))}::text[]) as e(id, account)
        join submission u on u.submission_id = decode(e.id, 'hex') join contributor c on c.account = decode(e.account, 'hex')
        join attestation a on a.submission = u.id and a.validator = c.id`,
      )
      compare(
        'attestation',
        attested.map(({ values: v, block, logIndex, tx }) => ({
          row: `${hex(v[0])} by ${hex(v[1])}`,
          columns: { valid: v[2], block, log_index: logIndex, tx },
        })),
        attestations,
      )

      const registered = of('KeyRegistered')
      const keys = byName(
        await db`
        select to_jsonb(k) || jsonb_build_object('name', '0x' || e.account || ' key ' || e.idx) as row
        from unnest(${registered.map((e) => bare(e.values[0]))}::text[], ${registered.map((e) => String(e.values[1]))}::text[]) as e(account, idx)
        join contributor c on c.account = decode(e.account, 'hex')
        join contributor_key k on k.contributor = c.id and k.key_index = e.idx::bigint`,
      )
      compare(
        'contributor_key',
        registered.map(({ values: v, block, logIndex }) => ({
          row: `${hex(v[0])} key ${v[1]}`,
          columns: {
            key_id: hex(v[2]),
            public_key: bytesHex(v[3]),
            possession: bytesHex(v[4]),
            block,
            log_index: logIndex,
          },
        })),
        keys,
      )

      const updated = of('DatasetUpdated')
      const versions = byName(
        await db`
        select to_jsonb(v) || jsonb_build_object('name', e.name || ' version ' || e.version) as row
        from unnest(${updated.map((e) => textOfBytes(e.values[0]))}::text[], ${updated.map((e) => String(e.values[1]))}::text[]) as e(name, version)
        join dataset d on d.name = e.name join dataset_version v on v.dataset = d.id and v.version = e.version::bigint`,
      )
      compare(
        'dataset_version',
        updated.map(({ values: v, block, logIndex }) => ({
          row: `${textOfBytes(v[0])} version ${v[1]}`,
          columns: {
            schema_sha256: sha256Hex(v[3] as Uint8Array),
            schema: bytesHex(v[3]),
            block,
            log_index: logIndex,
          },
        })),
        versions,
      )

      const placed = of('SensorRegistered')
      const sensors = byName(
        await db`
        select to_jsonb(s) || jsonb_build_object('account', c.account, 'dataset_name', d.name, 'h3', s.h3::text) as row
        from sensor s join contributor c on c.id = s.contributor join dataset d on d.id = s.dataset
        where s.name = any(${placed.map((e) => textOfBytes(e.values[1]))}::text[])`,
      )
      compare(
        'sensor',
        placed.map(({ values: v, block }) => ({
          row: textOfBytes(v[1]),
          columns: {
            account: hex(v[0]),
            dataset_name: textOfBytes(v[2]),
            // The column is signed.
            h3: BigInt.asIntN(64, BigInt(v[3] as number | bigint)).toString(),
            block,
          },
        })),
        sensors,
      )

      const anchored = of('Anchored')
      const anchors = byName(
        await db`
        select to_jsonb(a) || jsonb_build_object('name', 'anchor ' || a.seq) as row from anchor a
        where a.seq::text = any(${anchored.map((e) => String(e.values[0]))}::text[])`,
      )
      const anchorRows: ExpectedRow[] = []
      for (const { values: v, ...at } of anchored)
        anchorRows.push({
          row: `anchor ${v[0]}`,
          columns: {
            size: v[1],
            root: hex(v[2]),
            previous_size: v[3],
            chain_hash: hex(v[5]),
            block: at.block,
            block_hash: at.blockHash,
            time: await timeOf(at.block),
            tx: at.tx,
            log_index: at.logIndex,
          },
        })
      compare('anchor', anchorRows, anchors)

      const added = of('LeafPolicyAdded').filter((event) => typeof event.values[0] === 'number')
      const policies = byName(
        await db`
        select to_jsonb(p) || jsonb_build_object('name', 'from index ' || p.first_index) as row from leaf_policy p
        where p.first_index::text = any(${added.map((e) => String(e.values[0]))}::text[])`,
      )
      compare(
        'leaf_policy',
        added.map(({ values: v, block }) => ({
          row: `from index ${v[0]}`,
          columns: { hash: hex(v[1]), block },
        })),
        policies,
      )
    },

    async finish(counts, revokedAt) {
      const [rows] = await db`
        select (select count(*) from submission where submitted_block <= ${upTo})::float8 as submission,
          (select count(*) from submission where settled_block <= ${upTo})::float8 as settled,
          (select count(*) from attestation where block <= ${upTo})::float8 as attestation,
          (select count(*) from contributor_key where block <= ${upTo})::float8 as contributor_key,
          (select count(*) from dataset_version where block <= ${upTo})::float8 as dataset_version,
          (select count(*) from sensor where block <= ${upTo})::float8 as sensor,
          (select count(*) from anchor where block <= ${upTo})::float8 as anchor,
          (select count(*) from leaf_policy where block <= ${upTo})::float8 as leaf_policy`
      for (const [table, count] of Object.entries(rows ?? {}))
        findings().same(table, 'all', 'number of rows', counts[table] ?? 0, count)
      const query = db`
        select encode(c.account, 'hex') as account, k.key_index::float8 as index, 
          case when k.revoked_block <= ${upTo} or k.revoked_block > (select head_number from cursor)
            then k.revoked_block::float8 end as revoked
        from contributor_key k join contributor c on c.id = k.contributor
        where k.block <= ${upTo} order by 1, 2`
      await query.cursor(500, (page) => {
        for (const { account, index, revoked } of page)
          findings().same(
            'contributor_key',
            `0x${account} key ${index}`,
            'revoked_block',
            revokedAt(`0x${account}`, index) ?? null,
            revoked,
          )
      })
    },
  }
}
