import type { TransactionSql } from 'postgres'
import { keyPossessionDigest } from '../chain/record.ts'
import type { ChainBlock, ChainEvent, ChainEventOf } from '../chain/source.ts'
import { fromHex, type Hex, sha256, toHex } from '../core/bytes.ts'
import { DunesError } from '../core/error.ts'
import type { MlDsa } from '../core/ml-dsa.ts'
import { KEY_CONTEXT, verifyPossession } from '../maml/possession.ts'
import { parseSchemaFile, type SchemaFile } from '../maml/schema.ts'
import { EDGE_COLUMNS, inconsistent, type Placed } from './apply-submissions.ts'
import { behindDatasetView } from './dataset-view.ts'
import { type Cell, type Columns, insertRows } from './insert.ts'
import { ensureReadingTable } from './readings.ts'
import { EDGE } from './schema.ts'

/** What applying needs to know besides the blocks. */
export interface ApplyContext {
  chainId: bigint
  registry: Hex
  mlDsa: MlDsa
}

const REGISTRATIONS = {
  keyRegistered: true,
  keyRevoked: true,
  datasetUpdated: true,
  sensorRegistered: true,
  validatorAdded: true,
  validatorRemoved: true,
  leafPolicyAdded: true,
} as const
type Registration = Placed<keyof typeof REGISTRATIONS>

/** Whether {@link applyRegistrations} has anything to do with this event. */
export const isRegistration = (event: ChainEvent): boolean => Object.hasOwn(REGISTRATIONS, event.type)

const KEY: Columns = {
  contributor: 'int8',
  key_index: 'int8',
  key_id: 'hex',
  public_key: 'bytes',
  possession: 'bytes',
  possession_valid: 'bool',
  block: 'int8',
  log_index: 'int4',
}

/**
 * Adds contributors, keys, datasets, sensors, validators and leaf policies of a run of blocks within `tx`, each sort with a statement or
 * two, however many there are: a thousand contributors may come at once. Sorts depend on each other in the order in which they are
 * written here, whatever their order on the chain: a sensor on its dataset, a revocation on its key. Throws `GRAPH_INCONSISTENT` where an
 * event refers to what is not there.
 */
export async function applyRegistrations(
  tx: TransactionSql,
  events: readonly (ChainEvent & { block: ChainBlock })[],
  context: ApplyContext,
): Promise<void> {
  const registrations = events.filter(isRegistration) as unknown as Registration[]
  const of = <T extends Registration['type']>(...types: T[]) =>
    registrations.filter(({ type }) => types.includes(type as T)) as unknown as Placed<T>[]
  const ids = await addContributors(tx, registrations)
  for (const event of of('datasetUpdated')) await updateDataset(tx, event)
  await addKeys(tx, of('keyRegistered'), ids, context)
  await revokeKeys(tx, of('keyRevoked'), ids)
  await addSensors(tx, of('sensorRegistered'), ids)
  for (const event of of('validatorAdded', 'validatorRemoved')) await changeValidator(tx, event, ids)
  for (const { firstIndex, policyHash, block } of of('leafPolicyAdded'))
    await tx`
      insert into leaf_policy (first_index, hash, block) values (${firstIndex}, ${fromHex(policyHash)}, ${block.number})`
}

/** Internal ids of contributors that a run speaks of. */
type Ids = ReadonlyMap<Hex, number>

const idOf = (ids: Ids, account: Hex): number => {
  const id = ids.get(account)
  if (id === undefined) throw new Error(`contributor ${account} was not added`)
  return id
}

/** Adds whoever is not there yet, with the first block that speaks of them. */
async function addContributors(tx: TransactionSql, registrations: readonly Registration[]): Promise<Ids> {
  const first = new Map<Hex, number>()
  for (const event of registrations) {
    const account = 'contributor' in event ? event.contributor : 'account' in event ? event.account : null
    if (account !== null && !first.has(account)) first.set(account, event.block.number)
  }
  if (first.size === 0) return new Map()
  const accounts = [...first.keys()].map((account) => account.slice(2))
  await tx`
    insert into contributor (account, block)
    select decode(a.account, 'hex'), a.block from unnest(${accounts}::text[], ${[...first.values()]}::bigint[]) as a(account, block)
    on conflict do nothing`
  const rows = await tx`
    select c.id, c.account from unnest(${accounts}::text[]) as a(account)
    join contributor c on c.account = decode(a.account, 'hex')`
  return new Map(rows.map((row) => [toHex(row['account']), row['id']]))
}

async function updateDataset(
  tx: TransactionSql,
  { name, version, schema, block, logIndex }: Placed<'datasetUpdated'>,
): Promise<void> {
  if (version === 0) await tx`insert into dataset (name, block) values (${name}, ${block.number})`
  const { file, problem } = readSchema(schema)
  await tx`
    insert into dataset_version (dataset, version, schema_sha256, schema, schema_name, problem, block, log_index)
    select id, ${version}, ${sha256(schema)}, ${schema}, ${file?.name ?? null}, ${problem}, ${block.number}, ${logIndex}
    from dataset where name = ${name}`
  if (file) await behindDatasetView(tx, name, () => ensureReadingTable(tx, name, file))
}

/** The schema file, or why the bytes are none. */
function readSchema(bytes: Uint8Array): { file: SchemaFile | null; problem: string | null } {
  try {
    return { file: parseSchemaFile(bytes), problem: null }
  } catch (error) {
    if (error instanceof DunesError) return { file: null, problem: error.message }
    throw error
  }
}

async function addKeys(
  tx: TransactionSql,
  events: readonly Placed<'keyRegistered'>[],
  ids: Ids,
  context: ApplyContext,
): Promise<void> {
  const rows = events.map(
    async (e): Promise<Cell[]> => [
      idOf(ids, e.contributor),
      e.keyIndex,
      e.keyId,
      e.publicKey,
      e.possession,
      await isPossessed(e, context),
      e.block.number,
      e.logIndex,
    ],
  )
  await insertRows(tx, 'contributor_key', KEY, await Promise.all(rows))
}

/** Off this thread where the runtime can. */
function isPossessed(
  { contributor, keyIndex, publicKey, possession }: ChainEventOf<'keyRegistered'>,
  { chainId, registry, mlDsa }: ApplyContext,
): Promise<boolean> | boolean {
  const digest = keyPossessionDigest({ chainId, registry, account: contributor, keyIndex })
  if (!mlDsa.verifyAside) return verifyPossession(publicKey, digest, possession, mlDsa)
  return mlDsa.verifyAside(65, publicKey, digest, possession, KEY_CONTEXT)
}

async function revokeKeys(
  tx: TransactionSql,
  events: readonly Placed<'keyRevoked'>[],
  ids: Ids,
): Promise<void> {
  if (events.length === 0) return
  await tx`
    update contributor_key k set revoked_block = r.block
    from unnest(${events.map((e) => idOf(ids, e.contributor))}::bigint[], ${events.map((e) => e.keyIndex)}::bigint[],
                ${events.map((e) => e.block.number)}::bigint[]) as r(contributor, key_index, block)
    where k.contributor = r.contributor and k.key_index = r.key_index`
}

async function addSensors(
  tx: TransactionSql,
  events: readonly Placed<'sensorRegistered'>[],
  ids: Ids,
): Promise<void> {
  if (events.length === 0) return
  const rows = await tx`
    insert into sensor (name, dataset, contributor, h3, block)
    select s.name, d.id, s.contributor, s.h3, s.block
    from unnest(${events.map((e) => e.name)}::text[], ${events.map((e) => e.dataset)}::text[],
                ${events.map((e) => idOf(ids, e.contributor))}::bigint[],
                ${events.map((e) => BigInt.asIntN(64, e.h3Cell).toString())}::text[]::bigint[],
                ${events.map((e) => e.block.number)}::bigint[])
         with ordinality as s(name, dataset, contributor, h3, block, place)
    join dataset d on d.name = s.dataset
    -- Ids are drawn in this order: lists go by them.
    order by s.place
    returning id, dataset, contributor, block`
  if (rows.length !== events.length) throw inconsistent('a sensor belongs to an unknown dataset')
  const edges = rows.flatMap(({ id, dataset, contributor, block }): Cell[][] => [
    [contributor, EDGE.owns, id, block],
    [id, EDGE.feeds, dataset, block],
  ])
  await insertRows(tx, 'edge', EDGE_COLUMNS, edges)
}

async function changeValidator(
  tx: TransactionSql,
  { type, account, block, logIndex }: Placed<'validatorAdded' | 'validatorRemoved'>,
  ids: Ids,
): Promise<void> {
  const contributor = idOf(ids, account)
  if (type === 'validatorAdded')
    await tx`insert into validator (contributor, since_block, since_log) values (${contributor}, ${block.number}, ${logIndex})`
  else
    await tx`update validator set until_block = ${block.number} where contributor = ${contributor} and until_block is null`
}
