import { afterAll, beforeAll, expect, it } from 'vitest'
import type { ChangeItem, ChangePage } from '../../src/service/changes.ts'
import type { Page } from '../../src/service/page.ts'
import type { SubmissionItem } from '../../src/service/submissions.ts'
import { startApi, type TestApi } from '../support/api.ts'
import { foldChanges, readEvents } from '../support/changes.ts'
import { type TestDatabase, testDatabase } from '../support/postgres.ts'
import {
  EAGER,
  reading,
  type Station,
  startIndexer,
  startWorld,
  until,
  type World,
} from '../support/world.ts'

let world: World
let database: TestDatabase
let api: TestApi

/** Blocks until one is final: more than the reorganisation is deep. */
const CONFIRMATIONS = 60

beforeAll(async () => {
  ;[world, database] = await Promise.all([startWorld(2), testDatabase({ max: 8 })])
  api = await startApi({ sql: database.sql, deployment: world.deployment })
}, 60_000)

afterAll(async () => {
  api?.ctx.changes.stop()
  await api?.close()
  await database?.stop()
  await world?.stop()
})

it('tells everything that happens to submissions through a reorganisation, restarts of both sides, finality and anchors', async () => {
  const [first, second] = world.stations as [Station, Station]
  const submit = (station: Station, air: number) => world.submitReading(station, air)
  const options = { anchor: EAGER, confirmations: CONFIRMATIONS }
  let indexer = startIndexer(world, database.sql, options)

  // One who follows live, and is cut off twice on the way.
  const seen: ChangeItem[] = []
  const stopping = new AbortController()
  let cut = new AbortController()
  const following = (async () => {
    while (!stopping.signal.aborted) {
      cut = new AbortController()
      try {
        const response = await fetch(`${api.url}/v1/changes`, {
          headers: { Accept: 'text/event-stream', 'Last-Event-ID': seen.at(-1)?.id ?? '' },
          signal: AbortSignal.any([cut.signal, stopping.signal]),
        })
        for await (const { event, data } of readEvents(response.body as ReadableStream<Uint8Array>))
          if (event !== ':') seen.push(JSON.parse(data))
      } catch (error) {
        if (!cut.signal.aborted && !stopping.signal.aborted) throw error
      }
    }
  })()
  const kinds = (kind: string) => seen.filter((item) => item.kind === kind)
  const count = (kind: string, number: number) =>
    until(`${number} times ${kind}`, async () => (kinds(kind).length >= number ? true : undefined), indexer)

  const settled = await submit(first, 10)
  await world.attest(settled)
  const pending = await submit(first, 11)
  await count('judged', 1)

  const fork = await world.rpc('evm_snapshot')
  await world.attest(pending)
  const lost = await submit(second, 20)
  await world.attest(lost)
  await count('judged', 3)
  cut.abort()

  await world.rpc('evm_revert', [fork])
  await world.mine(2)
  await world.attest(pending, false)
  await world.mine(3)
  await count('rolled_back', 1)
  await count('judged', 4)
  await indexer.stop()
  cut.abort()

  const repeated = world.payload(first, [reading(first.sensor, 10)])
  indexer = startIndexer(world, database.sql, options)
  await world.attest(await world.submit(first, repeated))
  await world.mine(CONFIRMATIONS + 1)
  await until(
    'everything to be anchored',
    async () => {
      // Anchors have to become final themselves.
      await world.mine(5)
      const last = kinds('anchored').at(-1)
      return last?.last_index === 2 ? true : undefined
    },
    indexer,
  )
  stopping.abort()
  await following
  await indexer.stop()

  // What was told one by one is what the pages tell, and what became of it is what the index says.
  const pages: ChangeItem[] = []
  for (let after = ''; ; ) {
    const page = await api.json<ChangePage>(`/v1/changes?limit=3${after}`)
    pages.push(...page.items)
    if (page.next_cursor === page.newest) break
    after = `&after=${page.next_cursor}`
  }
  expect(pages.slice(0, seen.length)).toEqual(seen)
  const folded = foldChanges(pages)
  const { items } = await api.json<Page<SubmissionItem>>('/v1/submissions')
  expect(items).toHaveLength(3)
  expect(Object.fromEntries(folded)).toEqual(
    Object.fromEntries(
      items.map(({ id, state, index, outcome, verdict, reason }) => [
        id,
        { state, index, outcome, verdict, reason },
      ]),
    ),
  )
  // The reorganisation as it was told.
  const at = seen.findIndex((item) => item.kind === 'rolled_back')
  const undone = seen.slice(at + 1).filter((item) => item.kind === 'unsettled' || item.kind === 'removed')
  expect(undone.map((item) => [item.kind, item.submission])).toEqual([
    ['unsettled', lost],
    ['unsettled', pending],
    ['removed', lost],
  ])
  expect(folded.has(lost)).toBe(false)
  expect(folded.get(pending)).toMatchObject({ outcome: 'rejected', reason: 'QUORUM_REJECTED', index: 1 })
  // Two verdicts were told of the repeated one: what the checks said, and that it repeats.
  const verdicts = seen
    .filter((item) => item.kind === 'judged' && item.index === 2)
    .map((item) => item.reason)
  expect(verdicts.at(-1)).toBe('DUPLICATE')
  // Whoever follows one submission hears of its whole life, in order.
  const life = await api.json<ChangePage>(`/v1/changes?submission=${pending}`)
  expect(life.items.map((item) => item.kind)).toEqual([
    'submitted',
    'settled',
    'judged',
    'unsettled',
    'settled',
    'judged',
    'final',
    'logged',
    'anchored',
  ])
})
