import type { MlDsa } from '../core/ml-dsa.ts'
import { MamlError } from '../maml/error.ts'
import { verifyPossession } from '../maml/possession.ts'
import { parseSchemaFile } from '../maml/schema.ts'
import type { Findings } from './findings.ts'
import { possessionDigest, sha256Hex } from './hash.ts'
import { policyOf } from './policy.ts'
import { bytesOf, hexOf, jsonRows, numberOf, PAGE, type Row, type Snapshot } from './rows.ts'
import type { Subject } from './subject.ts'

/** Rows of a table in pages, in the order of two integer columns that identify a row. */
async function* inOrder(
  query: (after: readonly [number | string, number | string]) => Promise<Row[]>,
  key: readonly [string, string],
): AsyncGenerator<Row> {
  let after: readonly [number | string, number | string] = ['-9223372036854775808', '-9223372036854775808']
  for (;;) {
    const page = await query(after)
    yield* page
    const last = page.at(-1)
    if (!last || page.length < PAGE) return
    after = [numberOf(last[key[0]]), numberOf(last[key[1]])]
  }
}

/** Whether (block, log index) `a` comes before `b`. */
export const isBefore = (a: readonly [number, number], b: readonly [number, number]): boolean =>
  a[0] < b[0] || (a[0] === b[0] && a[1] < b[1])

/** Every key: its id, its number, its order on the chain, and its proof of possession verified anew. */
export async function checkKeys(
  db: Snapshot,
  subject: Subject,
  mlDsa: MlDsa,
  findings: Findings,
): Promise<number> {
  const page = async ([contributor, index]: readonly [number | string, number | string]) =>
    jsonRows(
      await db`
      select to_jsonb(k) || jsonb_build_object('account', c.account) as row
      from contributor_key k left join contributor c on c.id = k.contributor
      where (k.contributor, k.key_index) > (${contributor}::bigint, ${index}::bigint)
      order by k.contributor, k.key_index limit ${PAGE}`,
    )
  let count = 0
  let before: Row | null = null
  for await (const key of inOrder(page, ['contributor', 'key_index'])) {
    count++
    const account = hexOf(key['account'])
    const index = numberOf(key['key_index'])
    const row = `${account} key ${index}`
    const same = (field: string, expected: unknown, found: unknown) =>
      findings.same('contributor_key', row, field, expected, found)
    const earlier: Row | null = before?.['contributor'] === key['contributor'] ? before : null
    const publicKey = bytesOf(key['public_key'])
    same('key_index', earlier ? numberOf(earlier['key_index']) + 1 : 0, index)
    same('key_id', sha256Hex(publicKey), hexOf(key['key_id']))
    // An index that no key can have has been reported already.
    if (Number.isSafeInteger(index) && index >= 0) {
      const digest = possessionDigest(subject.chainId, subject.registry, account, index)
      const valid = verifyPossession(publicKey, digest, bytesOf(key['possession']), mlDsa)
      same('possession_valid', valid, key['possession_valid'])
    }
    const place = [numberOf(key['block']), numberOf(key['log_index'])] as const
    if (earlier && !isBefore([numberOf(earlier['block']), numberOf(earlier['log_index'])], place))
      findings.add('contributor_key', row, 'block', `after key ${index - 1}`, place.join(', log '))
    const revoked = key['revoked_block']
    if (revoked !== null && !(numberOf(revoked) >= place[0]))
      findings.add('contributor_key', row, 'revoked_block', `from ${place[0]}`, revoked)
    if (earlier && earlier['revoked_block'] !== null && !(numberOf(earlier['revoked_block']) <= place[0]))
      findings.add(
        'contributor_key',
        `${account} key ${index - 1}`,
        'revoked_block',
        `at most ${place[0]}`,
        earlier['revoked_block'],
      )
    before = key
  }
  return count
}

/** Every schema version: its hash, its number, its order, and what reading its bytes anew gives. */
export async function checkSchemas(db: Snapshot, findings: Findings): Promise<number> {
  const page = async ([dataset, version]: readonly [number | string, number | string]) =>
    jsonRows(
      await db`
      select to_jsonb(v) || jsonb_build_object('name', d.name, 'since', d.block) as row
      from dataset_version v left join dataset d on d.id = v.dataset
      where (v.dataset, v.version) > (${dataset}::bigint, ${version}::bigint)
      order by v.dataset, v.version limit ${PAGE}`,
    )
  let count = 0
  let before: Row | null = null
  for await (const item of inOrder(page, ['dataset', 'version'])) {
    count++
    const row = `${String(item['name'])} version ${numberOf(item['version'])}`
    const same = (field: string, expected: unknown, found: unknown) =>
      findings.same('dataset_version', row, field, expected, found)
    const earlier: Row | null = before?.['dataset'] === item['dataset'] ? before : null
    same('version', earlier ? numberOf(earlier['version']) + 1 : 0, item['version'])
    const schema = bytesOf(item['schema'])
    same('schema_sha256', sha256Hex(schema), hexOf(item['schema_sha256']))
    let name: string | null = null
    let problem: string | null = null
    try {
      name = parseSchemaFile(schema).name
    } catch (error) {
      if (!(error instanceof MamlError)) throw error
      problem = error.message
    }
    same('schema_name', name, item['schema_name'])
    same('problem', problem, item['problem'])
    const place = [numberOf(item['block']), numberOf(item['log_index'])] as const
    if (!earlier) findings.same('dataset', String(item['name']), 'block', place[0], item['since'])
    else if (!isBefore([numberOf(earlier['block']), numberOf(earlier['log_index'])], place))
      findings.add('dataset_version', row, 'block', 'after the version before', place.join(', log '))
    before = item
  }
  return count
}

/** Contributors appear with their first registration, each dataset has a schema, and the leaf policies are known. */
export async function checkOrigins(db: Snapshot, findings: Findings): Promise<void> {
  const contributors = await db`
    select encode(c.account, 'hex') as account, c.block::text as found, f.block::text as expected
    from contributor c left join (
      select contributor, min(block) as block from (
        select contributor, block from contributor_key union all select contributor, block from sensor
        union all select contributor, since_block from validator) as e group by contributor) f on f.contributor = c.id
    where f.block is distinct from c.block order by c.id`
  for (const { account, expected, found } of contributors)
    findings.add('contributor', `0x${account}`, 'block', expected ?? 'a registration', found)
  const datasets = await db`
    select name from dataset d where not exists (select from dataset_version v where v.dataset = d.id) order by id`
  for (const { name } of datasets) findings.add('dataset', name, 'versions', 'version 0', 'none')
  const policies =
    await db`select first_index::text as first, encode(hash, 'hex') as hash from leaf_policy order by first_index`
  if (policies[0]?.['first'] !== '0')
    findings.add('leaf_policy', 'the first', 'first_index', '0', policies[0]?.['first'])
  for (const { first, hash } of policies)
    if (!policyOf(`0x${hash}`))
      findings.add(
        'leaf_policy',
        `from index ${first}`,
        'hash',
        'a policy that this version knows',
        `0x${hash}`,
      )
}
