import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type QueryOptions, runQuery } from '../../../src/service/query.ts'
import { QueryAnswerShape, type QueryRequest } from '../../../src/service/query-shape.ts'
import { type TestDatabase, testDatabase } from '../../support/postgres.ts'
import { PROGRESS, type QueryWorld, READINGS, startQueries } from '../../support/query.ts'

let database: TestDatabase
let world: QueryWorld
beforeAll(async () => {
  database = await testDatabase()
  world = await startQueries(database)
}, 60_000)
afterAll(async () => {
  await world.stop()
  await database.stop()
})

const ask = (query: string, more: Partial<QueryRequest> = {}, options: QueryOptions = {}) =>
  runQuery(
    world.ctx,
    { query, maml_schema: 'iot_data.maml', signature_verification: 'CRYSTALS-Dilithium', ...more },
    options,
  )
const isAccepted = (i: number) => i % 3 !== 2 && i % 10 !== 4
const accepted = Array.from({ length: PROGRESS.settled }, (_, i) => i).filter(isAccepted)

describe('an answer', () => {
  it('to a plain query says where each row comes from and what it was true at', async () => {
    const answer = await ask(
      "SELECT air_quality FROM helium_sensors WHERE timestamp = '2025-10-01T00:31:00Z'",
    )
    expect(answer).toMatchObject({
      columns: [{ name: 'air_quality', type: 'bigint' }],
      rows: [{ air_quality: 6 }],
      row_count: 1,
      truncated: false,
      next_cursor: null,
      covers: [
        {
          dataset: 'helium_sensors',
          schema: 'iot_data.maml',
          verdict: 'accepted',
          leaves_below: PROGRESS.settled,
        },
      ],
      signature: { requested: 'CRYSTALS-Dilithium', algorithm: 'ML-DSA-65' },
      proofs: [{ leaves: 1, href: '/v1/proofs?indices=6' }],
      unproven: 0,
      as_of: { log_size: PROGRESS.logged, anchored_size: PROGRESS.anchored, settled: PROGRESS.settled },
      verdict: 'accepted',
      notes: [],
    })
    const [from] = answer.provenance
    expect(from).toMatchObject({
      kind: 'row',
      sources: [
        {
          dataset: 'helium_sensors',
          leaf_index: 6,
          state: 'anchored',
          verdict: 'accepted',
          reason: null,
          signature: { algorithm: 'ML-DSA-65', status: 'valid' },
        },
      ],
    })
    expect(answer.ran).toContain('FROM api.helium_sensors')
    expect(QueryAnswerShape.safeParse(JSON.parse(JSON.stringify(answer))).error).toBeUndefined()
  })

  it('shows accepted rows unless asked for others, with why those are rejected', async () => {
    const leaves = 'select distinct leaf_index from helium_sensors order by 1'
    const of = async (verdict: NonNullable<QueryRequest['verdict']>) =>
      (await ask(leaves, { verdict })).rows.map((row) => row['leaf_index'] as number)
    expect(await of('accepted')).toEqual(accepted)
    const rejected = await of('rejected')
    expect(rejected).toEqual([4, 24, 34])
    expect(await of('any')).toEqual([...accepted, ...rejected].sort((a, b) => a - b))
    const answer = await ask('select air_quality from helium_sensors limit 1', { verdict: 'rejected' })
    expect(answer.provenance[0]).toMatchObject({
      sources: [{ verdict: 'rejected', reason: 'SIGNATURE_INVALID', signature: { status: 'invalid' } }],
    })
  })

  it('names every source of a join, and leaves out one that has no part in a row', async () => {
    const { provenance, rows } = await ask(
      'select h.leaf_index as h, w.leaf_index as w from helium_sensors h left join weather w using (timestamp, sensor_id) order by timestamp',
    )
    rows.forEach((row, i) => {
      const wanted = [{ dataset: 'helium_sensors', leaf_index: row['h'] }]
      if (row['w'] !== null) wanted.push({ dataset: 'weather', leaf_index: row['w'] })
      expect(provenance[i]).toMatchObject({ kind: 'row', sources: wanted })
      expect(provenance[i]).toHaveProperty('sources.length', wanted.length)
    })
    expect(rows.some((row) => row['w'] === null)).toBe(true)
  })

  it('says of sums which readings went into each, and claims no row proof', async () => {
    const answer = await ask(
      'select sensor_id, count(*) as n from helium_sensors group by sensor_id order by 1',
    )
    const of = (parity: number) => accepted.filter((i) => i % 2 === parity)
    expect(answer.rows).toEqual([
      { sensor_id: 'alpha', n: of(0).length * READINGS },
      { sensor_id: 'beta', n: of(1).length * READINGS },
    ])
    expect(answer.provenance).toEqual(
      [0, 1].map((parity) => ({
        kind: 'set',
        sources: [
          {
            dataset: 'helium_sensors',
            readings: of(parity).length * READINGS,
            first_leaf: of(parity)[0],
            last_leaf: of(parity).at(-1),
          },
        ],
      })),
    )
    expect(answer.proofs).toEqual([])
    expect(answer.notes.join(' ')).toContain('No row proof')
  })

  it('tells settled, final, logged and anchored apart, in the column and in provenance', async () => {
    const answer = await ask(
      'select distinct on (leaf_index) leaf_index, state from helium_sensors order by leaf_index',
      { verdict: 'any' },
    )
    const expected = (i: number) =>
      i < PROGRESS.anchored
        ? 'anchored'
        : i < PROGRESS.logged
          ? 'logged'
          : i < PROGRESS.final
            ? 'final'
            : 'settled'
    for (const row of answer.rows) expect(row['state']).toBe(expected(row['leaf_index'] as number))
    const plain = await ask('select leaf_index, state from helium_sensors', { verdict: 'any' })
    plain.rows.forEach((row, i) => {
      expect(plain.provenance[i]).toMatchObject({ sources: [{ state: row['state'] }] })
    })
    const anchored = new Set(
      plain.rows.map((row) => row['leaf_index'] as number).filter((i) => i < PROGRESS.anchored),
    )
    expect(plain.proofs.reduce((sum, { leaves }) => sum + leaves, 0)).toBe(anchored.size)
    expect(plain.unproven).toBe(new Set(plain.rows.map((row) => row['leaf_index'])).size - anchored.size)
  })

  it('keeps numbers exact', async () => {
    const answer = await ask(
      "select 9223372036854775807 as big, 1::bigint as small, 0.1::numeric as n, 'NaN'::float8 as nan, 1.5::float8 as f, array[1, null]::bigint[] as a, '{\"x\": 12345678901234567890}'::jsonb as j, '{a,\"b c\",NULL}'::text[] as t, null as nothing, '\\x00ff'::bytea as b, interval '1 day 2 hours' as i, timestamp '2025-01-01' as ts, 1 as small",
    )
    expect({ ...answer.rows[0] }).toEqual({
      big: '9223372036854775807',
      small: 1,
      n: '0.1',
      nan: 'NaN',
      f: 1.5,
      a: [1, null],
      j: { x: '12345678901234567890' },
      t: ['a', 'b c', null],
      nothing: null,
      b: '\\x00ff',
      i: 'P1DT2H',
      ts: '2025-01-01T00:00:00',
      small_2: 1,
    })
  })
})

describe('pages', () => {
  const walk = async (query: string, limits: QueryOptions['limits'], more: Partial<QueryRequest> = {}) => {
    const rows: unknown[] = []
    let cursor: string | undefined
    let pages = 0
    do {
      const answer = await ask(
        query,
        { ...more, ...(cursor !== undefined && { cursor }) },
        { ...(limits && { limits }) },
      )
      rows.push(...answer.rows)
      expect(answer.truncated).toBe(answer.next_cursor !== null)
      cursor = answer.next_cursor ?? undefined
      pages++
    } while (cursor !== undefined)
    return { rows, pages }
  }
  it.each([
    'select * from helium_sensors',
    'select air_quality from helium_sensors order by sensor_id',
    'select air_quality, w.temperature from helium_sensors h join weather w using (timestamp) order by air_quality desc',
    'select air_quality, count(*) from helium_sensors group by 1',
    'select distinct air_quality from helium_sensors',
    'select air_quality from helium_sensors union all select leaf_index from weather',
    'select air_quality from helium_sensors order by timestamp limit 50 offset 3',
    'with x as (select * from helium_sensors where air_quality > 3) select sensor_id, timestamp from x order by sensor_id',
    'select i from generate_series(1, 40) i',
  ])('hold together every row once: %s', async (query) => {
    // Only logged rows: what comes in pages looks at the log.
    const whole = await ask(query)
    const { rows, pages } = await walk(query, { rows: 7 })
    expect(pages).toBeGreaterThan(1)
    const logged = (await walk(query, { rows: 10_000 })).rows
    expect(whole.rows.length).toBe(logged.length)
    const below = await ask(query, {}, { limits: { rows: 7 } })
    const expected = below.ran.includes('leaf_index <')
      ? (await runPinned(query)).map((row) => JSON.stringify(row))
      : logged.map((row) => JSON.stringify(row))
    expect(rows.map((row) => JSON.stringify(row))).toEqual(expected)
  })

  /** All rows over the log's leaves as one page would show them. */
  async function runPinned(query: string): Promise<unknown[]> {
    const first = await ask(query, {}, { limits: { rows: 1 } })
    const rest = await ask(query, { cursor: first.next_cursor as string })
    return [...first.rows, ...rest.rows]
  }

  it('are not shifted by rows that come meanwhile', async () => {
    const query = 'select leaf_index, timestamp from helium_sensors'
    const first = await ask(query, {}, { limits: { rows: 10 } })
    await database.sql`
      insert into reading_helium_sensors (submission, position, sensor_id, timestamp, v_air_quality)
      select id, 100, 'alpha', timestamptz '2020-01-01', 0 from submission where index = ${PROGRESS.settled - 1}`
    const second = await ask(query, { cursor: first.next_cursor as string }, { limits: { rows: 10 } })
    await database.sql`delete from reading_helium_sensors where position = 100`
    const again = await ask(query, {}, { limits: { rows: 20 } })
    expect([...first.rows, ...second.rows]).toEqual(again.rows)
    expect(second.covers).toEqual(first.covers)
  })

  it('end where bytes run out, and go on from there', async () => {
    const { rows, pages } = await walk('select timestamp, sensor_id from helium_sensors', { bytes: 20_000 })
    expect(pages).toBeGreaterThan(2)
    expect(new Set(rows.map((row) => JSON.stringify(row))).size).toBe(rows.length)
  })

  it('refuses a cursor of another query', async () => {
    const query = 'select * from helium_sensors'
    const { next_cursor } = await ask(query, {}, { limits: { rows: 3 } })
    const cursor = next_cursor as string
    await expect(ask(`${query} `, { cursor })).rejects.toMatchObject({ code: 'BAD_CURSOR' })
    await expect(ask(query, { cursor, verdict: 'any' })).rejects.toMatchObject({ code: 'BAD_CURSOR' })
    await expect(ask(query, { cursor: `${cursor.slice(0, -1)}_` })).rejects.toMatchObject({
      code: 'BAD_CURSOR',
    })
    await expect(ask(query, { cursor: 'x' })).rejects.toMatchObject({ code: 'BAD_CURSOR' })
  })

  it('says so where a join has no order to go on in', async () => {
    const answer = await ask(
      'select h.air_quality from helium_sensors h, weather w',
      {},
      { limits: { rows: 5 } },
    )
    expect(answer).toMatchObject({ truncated: true, next_cursor: null, row_count: 5 })
    expect(answer.notes.join(' ')).toContain('ORDER BY')
  })
})

describe('what a request names', () => {
  it.each([
    'CRYSTALS-Dilithium',
    'ML-DSA-65',
    'ml-dsa-65',
    'Dilithium3',
    'crystals-dilithium',
  ])('takes %s', async (name) => {
    const answer = await ask('select 1', { signature_verification: name })
    expect(answer.signature).toEqual({ requested: name, algorithm: 'ML-DSA-65', standard: 'FIPS 204' })
  })
  it.each(['ECDSA', 'Falcon', '', 'ML-DSA-44', 'none'])('refuses %s', async (name) => {
    await expect(ask('select 1', { signature_verification: name })).rejects.toMatchObject({
      code: 'SIGNATURE_SCHEME',
    })
  })
  it('takes the schema of any dataset that is read, and no other', async () => {
    const join = 'select count(*) from helium_sensors h join weather w using (timestamp)'
    await ask(join)
    await ask(join, { maml_schema: 'weather_data.maml' })
    await ask('select 1', { maml_schema: 'weather_data.maml' })
    await expect(ask('select count(*) from weather')).rejects.toMatchObject({
      code: 'SCHEMA_MISMATCH',
      hint: expect.stringContaining('weather_data.maml'),
    })
    await expect(ask('select 1', { maml_schema: 'iot_dat.maml' })).rejects.toMatchObject({
      code: 'SCHEMA_MISMATCH',
      hint: expect.stringContaining('iot_data.maml'),
    })
  })
  it('refuses what the guard refuses', async () => {
    await expect(ask('select * from submission')).rejects.toMatchObject({ code: 'QUERY_UNKNOWN_NAME' })
    await expect(ask('')).rejects.toMatchObject({ code: 'QUERY_EMPTY' })
  })
})
