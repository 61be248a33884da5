import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { audit, logged, SETTLED, submitEveryKind } from '../support/fsck.ts'
import { testDatabase } from '../support/postgres.ts'
import { startIndexer, startWorld, type World } from '../support/world.ts'

/** Which bug the indexer below has. */
const planted = vi.hoisted(() => ({ bug: 'none' as 'none' | 'log' | 'receipt' | 'verdict' }))

vi.mock('../../src/log/merkle.ts', async (load) => {
  const real = await load<typeof import('../../src/log/merkle.ts')>()
  return {
    ...real,
    // A second pre-image: left and right may be exchanged.
    nodeHash: (left: Uint8Array, right: Uint8Array) =>
      planted.bug === 'log' ? real.nodeHash(right, left) : real.nodeHash(left, right),
  }
})
vi.mock('../../src/receipt/mirror.ts', async (load) => {
  const real = await load<typeof import('../../src/receipt/mirror.ts')>()
  return {
    ...real,
    // Reverses bytes instead of code points, and drops the last one.
    mirrorBytes: (bytes: Uint8Array) =>
      planted.bug === 'receipt' ? bytes.slice(1).reverse() : real.mirrorBytes(bytes),
  }
})
vi.mock('../../src/receipt/judge.ts', async (load) => {
  const real = await load<typeof import('../../src/receipt/judge.ts')>()
  return {
    ...real,
    *judging(...given: Parameters<typeof real.judging>): ReturnType<typeof real.judging> {
      const judgement = yield* real.judging(...given)
      const wrong = planted.bug === 'verdict' && judgement.reason === 'SCHEMA_INVALID'
      return wrong ? { ...judgement, verdict: 'accepted' as const, reason: null } : judgement
    },
  }
})

let world: World

beforeAll(async () => {
  world = await startWorld(3)
  await submitEveryKind(world)
}, 120_000)

afterAll(() => world?.stop())

it.each([
  ['none', []],
  ['log', ['log_head root']],
  ['receipt', ['leaf mirrorSha256', 'submission judgement.read']],
  ['verdict', ['leaf reason', 'leaf verdict', 'submission reason', 'submission verdict']],
] as const)(
  'finds a bug planted in the indexer: %s',
  async (bug, expected) => {
    const database = await testDatabase({ max: 8 })
    try {
      planted.bug = bug
      const indexer = startIndexer(world, database.sql, { anchor: null })
      await logged(world, database.sql, SETTLED, indexer, false)
      await indexer.stop()
      planted.bug = 'none'
      const { findings } = await database.sql.begin((tx) => audit(tx))
      const found = new Set(findings.first.map(({ table, field }) => `${table} ${field}`))
      expect([...found].sort()).toEqual(expect.arrayContaining([...expected]))
      if (expected.length === 0) expect(findings.first).toEqual([])
    } finally {
      await database.stop()
    }
  },
  60_000,
)
