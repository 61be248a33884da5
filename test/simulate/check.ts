import { concat, fromHex, type Hex, sha256, toHex } from '../../src/core/bytes.ts'
import { jcs } from '../../src/core/json.ts'
import { mlDsa } from '../../src/core/ml-dsa-native.ts'
import type { Sql } from '../../src/graph/connect.ts'
import { openCheckpoint } from '../../src/log/checkpoint.ts'
import { logsOf, type SimBlock, SimChain } from './chain.ts'
import { ANCHOR, CHAIN_ID, REGISTRY } from './contracts.ts'
import { ORIGIN, SIGNERS } from './engine.ts'
import { type Loaded, load, type Row, treeHash } from './loader.ts'
import { CHAIN, type Script } from './script.ts'
import { KNOWN_TABLES, readStored } from './stored.ts'

export const START_BLOCK = 2

/** What the loader makes of the chain up to `tip`. */
export const loadUpTo = (tip: SimBlock, final: number, script: Script): Loaded =>
  load({
    blocks: SimChain.branch(tip).map((block) => ({
      number: block.number,
      hash: block.hash,
      parentHash: block.header.parentHash,
      time: block.time,
      logs: logsOf(block),
    })),
    contracts: { registry: REGISTRY, anchor: ANCHOR },
    chain: CHAIN,
    chainId: CHAIN_ID,
    origin: ORIGIN,
    startBlock: START_BLOCK,
    final,
    payload: (hash) => script.obtainable.get(hash) ?? null,
  })

/** Everything in which the database differs from what the loader makes of the final chain; empty where they agree. */
export async function compareDatabase(sql: Sql, chain: SimChain, script: Script): Promise<string[]> {
  const out: string[] = []
  const expected = loadUpTo(chain.head, chain.finalized.number, script)
  const stored = await readStored(sql)
  // Payloads are never forgotten, also those of submissions that a reorganisation took away.
  for (const row of stored.tables['payload'] as Row[])
    if (row['bytes'] !== `0x${row['sha256']}`) out.push(`payload ${row['sha256']} has other bytes`)
  const wanted = new Set((expected.tables['payload'] as Row[]).map((row) => row['sha256']))
  stored.tables['payload'] = (stored.tables['payload'] as Row[]).filter((row) =>
    wanted.has(row['sha256'] as string),
  )
  for (const table of new Set([...Object.keys(expected.tables), ...Object.keys(stored.tables)]))
    out.push(...differences(table, expected.tables[table], stored.tables[table]))
  if (jcs(expected.columns) !== jcs(stored.columns))
    out.push(`columns of readings are ${jcs(stored.columns)}, not ${jcs(expected.columns)}`)
  const [head] = stored.tables['log_head'] as Row[]
  if (expected.size > 0 && `0x${head?.['root']}` !== expected.root)
    out.push(`the log's root is ${head?.['root']}, not ${expected.root}`)
  out.push(...(await checkCheckpoints(sql, expected)))
  const order = await sql`
    select count(*)::int as n from (select id, lag(id) over (order by submitted_block, submitted_log) as before from submission) s
    where id < before`
  if (order[0]?.['n'] !== 0) out.push('submissions are not listed in the order of the chain')
  const tables = await sql`select tablename as name from pg_tables where schemaname = 'public'`
  for (const { name } of tables)
    if (!KNOWN_TABLES.has(name) && !name.startsWith('reading_') && !name.startsWith('__'))
      out.push(`the simulation does not know the table ${name}`)
  const [strays] = await sql`
    select count(*)::int as n from retrieval r join submission s on s.id = r.submission where s.verdict is null`
  if (strays?.['n'] !== 0) out.push('retrievals are kept of submissions without a verdict')
  return out
}

function differences(table: string, expected: Row[] = [], stored: Row[] = []): string[] {
  const [a, b] = [expected.map((row) => jcs(row)), stored.map((row) => jcs(row))]
  const [inA, inB] = [new Set(a), new Set(b)]
  const short = (row: string) => (row.length > 900 ? `${row.slice(0, 900)}...` : row)
  const out = [
    ...a.filter((row) => !inB.has(row)).map((row) => `${table} lacks ${short(row)}`),
    ...b.filter((row) => !inA.has(row)).map((row) => `${table} has ${short(row)}`),
  ]
  if (out.length === 0 && a.length !== b.length) out.push(`${table} holds a row twice`)
  return out.slice(0, 6)
}

/** Each published checkpoint verifies and has the root of the first leaves as the loader made them. */
async function checkCheckpoints(sql: Sql, expected: Loaded): Promise<string[]> {
  const out: string[] = []
  const leaves = (expected.tables['leaf'] as Row[])
    .toSorted((a, b) => Number(a['index']) - Number(b['index']))
    .map((row) => sha256(concat(Uint8Array.of(0), fromHex(`0x${row['entry']}` as Hex))))
  const rows = await sql`select size, root, note from checkpoint order by size`
  for (const { size, root, note } of rows) {
    if (size > leaves.length) {
      out.push(`a checkpoint of size ${size} was signed, the log has ${leaves.length}`)
      continue
    }
    const ours = toHex(treeHash(leaves.slice(0, size)))
    if (toHex(root) !== ours) out.push(`the checkpoint of size ${size} has another root`)
    const opened = openCheckpoint(note, { origin: ORIGIN, vkeys: SIGNERS.map(({ vkey }) => vkey), mlDsa })
    if (!opened.ok) out.push(`the checkpoint of size ${size} does not open: ${opened.reason}`)
    else if (opened.verified.length !== SIGNERS.length || toHex(opened.checkpoint.root) !== ours)
      out.push(`the signed note of size ${size} has another root, or lacks a signature`)
  }
  return out
}
