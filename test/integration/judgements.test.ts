import { afterEach, beforeEach, expect, test } from 'vitest'
import { type Hex, sha256, toHex, utf8 } from '../../src/core/bytes.ts'
import type { JsonObject } from '../../src/core/json.ts'
import { type Judged, readUnjudged, type Unjudged, writeJudgements } from '../../src/graph/judgements.ts'
import { putPayload, unsettledPayloadBytes } from '../../src/graph/payloads.ts'
import { ensureReadingTable, readingTable } from '../../src/graph/readings.ts'
import { rollback } from '../../src/graph/rollback.ts'
import { parseSchemaFile, type SchemaFile } from '../../src/maml/schema.ts'
import { DEVNET_POLICY, policyHash } from '../../src/receipt/policy.ts'
import { fillGraph, hashOf, SCHEMA } from '../support/graph.ts'
import { type TestDatabase, testDatabase } from '../support/postgres.ts'

// What changes between the finding of a verdict and its writing.

const DATASET = 'helium_sensors'
const TIME = '2025-10-01T23:30:00Z'
let database: TestDatabase
beforeEach(async () => {
  database = await testDatabase()
  await fillGraph(database.sql, { submitted: 3, settled: 3, final: 0, logged: 0, anchored: 0 })
  await database.sql`insert into leaf_policy values (0, ${policyHash(DEVNET_POLICY)}, 1)`
})
afterEach(() => database.stop())

const schemaOf = (properties: Record<string, unknown>): SchemaFile =>
  parseSchemaFile(
    utf8(
      `---\nmaml: 1.0\nschema: s.maml\ndataset: ${DATASET}\n---\n## Schema\n\`\`\`json\n${JSON.stringify({ type: 'object', properties })}\n\`\`\`\n`,
    ),
  )

/** An accepting verdict on a payload of one reading with these values. */
function accepted(due: Unjudged, values: JsonObject, schema: SchemaFile | null): Judged {
  const bytes = utf8(`payload of ${due.index}`)
  const hash: Hex = toHex(sha256(bytes))
  const readings = [{ sensor_id: 'alpha', timestamp: TIME, ...values }]
  return {
    submission: { ...due, payload: { sha256: hash, bytes: bytes.length } },
    judgement: {
      verdict: 'accepted',
      reason: null,
      observed: false,
      detail: null,
      read: {
        payload: { readings } as never,
        readings: 1,
        names: Object.keys(values),
        firstTimestamp: TIME,
        signatureSha256: hash,
        signedBytesSha256: hash,
        mirrorSha256: hash,
      },
    },
    restored: false,
    schema,
    retrieval: { attempts: 1, what: null, detail: null },
    bytes,
  }
}

const stored = async () =>
  (await database.sql`select * from ${database.sql(readingTable(DATASET))} order by submission`).map(
    (row) => ({ ...row }),
  )
const count = async (table: string): Promise<number> =>
  (await database.sql`select count(*)::int as n from ${database.sql(table)}`)[0]?.['n']

test('leaves alone what is no longer settled, but keeps its payload and writes all others once', async () => {
  const file = parseSchemaFile(SCHEMA)
  const due = await readUnjudged(database.sql, 10, [])
  const judged = due.map((one) => accepted(one, {}, file))
  await rollback(database.sql, { number: 1015, hash: hashOf('block 1015'), time: 1_700_001_015 })
  const [before] = await database.sql`select last from feed`
  const written = await writeJudgements(database.sql, judged)
  expect([...written].sort()).toEqual([due[0]?.id, due[1]?.id].sort())
  expect((await stored()).map((row) => row['submission'])).toEqual([due[0]?.id, due[1]?.id])
  expect(await count('payload')).toBe(3)
  expect(await count('retrieval')).toBe(2)
  const [after] = await database.sql`select last from feed`
  expect(after?.['last'] - before?.['last']).toBe(2)
  const verdicts = await database.sql`select verdict from submission order by id`
  expect(verdicts.map((row) => row['verdict'])).toEqual(['accepted', 'accepted', null])
})

test('judges nothing twice, whoever was faster', async () => {
  const file = parseSchemaFile(SCHEMA)
  const judged = (await readUnjudged(database.sql, 10, [])).map((one) => accepted(one, {}, file))
  await writeJudgements(database.sql, judged.slice(0, 1))
  const written = await writeJudgements(database.sql, judged)
  expect(written.size).toBe(2)
  expect(await stored()).toHaveLength(3)
})

test('stores values in columns that a schema update has added or changed since the last batch', async () => {
  const [first, second, third] = await readUnjudged(database.sql, 10, [])
  const write = (due: Unjudged | undefined, values: JsonObject, schema: SchemaFile) =>
    writeJudgements(database.sql, [accepted(due as Unjudged, values, schema)])
  const extend = async (schema: SchemaFile) => {
    await database.sql.begin((tx) => ensureReadingTable(tx, DATASET, schema))
    return schema
  }
  await write(first, { extra: 1 }, await extend(schemaOf({ extra: { type: 'integer' } })))
  await write(
    second,
    { extra: 2, more: 'a' },
    await extend(schemaOf({ extra: { type: 'integer' }, more: { type: 'string' } })),
  )
  expect((await stored()).map((row) => [row['v_extra'], row['v_more']])).toEqual([
    [1, null],
    [2, 'a'],
  ])
  await write(third, { extra: 'b' }, await extend(schemaOf({ extra: { type: 'string' } })))
  expect((await stored()).map((row) => [row['v_extra'], row['v_more']])).toEqual([
    [1, null],
    [2, 'a'],
    ['b', null],
  ])
})

test('stores nothing in a column that was taken away since the last batch', async () => {
  const schema = schemaOf({ extra: { type: 'integer' } })
  await database.sql.begin((tx) => ensureReadingTable(tx, DATASET, schema))
  const [first, second] = await readUnjudged(database.sql, 10, [])
  await writeJudgements(database.sql, [accepted(first as Unjudged, { extra: 1 }, schema)])
  await database.sql`alter table ${database.sql(readingTable(DATASET))} drop column v_extra cascade`
  await writeJudgements(database.sql, [accepted(second as Unjudged, { extra: 2 }, schema)])
  expect(await stored()).toHaveLength(2)
})

test('keeps verdict and payload where the dataset has no table', async () => {
  const schema = parseSchemaFile(SCHEMA)
  await database.sql`drop table ${database.sql(readingTable(DATASET))} cascade`
  const [due] = await readUnjudged(database.sql, 10, [])
  const written = await writeJudgements(database.sql, [accepted(due as Unjudged, {}, schema)])
  expect(written.size).toBe(1)
  expect(await count('payload')).toBe(1)
})

test('no longer counts a payload against the quota of who sent it, and never one that comes too late', async () => {
  const { sql } = database
  const sender = new Uint8Array(20).fill(7)
  const put = (text: string) => putPayload(sql, sha256(utf8(text)), utf8(text), sender)
  const [first, second] = (await readUnjudged(sql, 10, [])) as [Unjudged, Unjudged]
  const { bytes, ...sent } = accepted(first, {}, null)
  await put(`payload of ${first.index}`)
  await put('nobody speaks of this')
  const nobody = utf8('nobody speaks of this').length
  expect(await unsettledPayloadBytes(sql, sender)).toBe(nobody + (bytes as Uint8Array).length)
  await writeJudgements(sql, [{ ...sent, bytes: null }])
  expect(await unsettledPayloadBytes(sql, sender)).toBe(nobody)
  // Of what is stated to be unavailable nothing was read: bytes that come later are still those of a settled submission.
  await sql`
    update submission set payload_sha256 = ${sha256(utf8('late'))}, verdict = 'rejected', reason = 'PAYLOAD_UNAVAILABLE'
    where id = ${second.id}`
  await put('late')
  expect(await unsettledPayloadBytes(sql, sender)).toBe(nobody)
})

test('says what is wrong where a second look does not help', async () => {
  const [due] = await readUnjudged(database.sql, 10, [])
  await database.sql`alter table retrieval add constraint never check (attempts > 5)`
  const writing = writeJudgements(database.sql, [accepted(due as Unjudged, {}, null)])
  await expect(writing).rejects.toMatchObject({ code: '23514' })
  expect(await count('payload')).toBe(0)
})
