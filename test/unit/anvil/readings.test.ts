import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { Random } from '../../../anvil/fleet/random.ts'
import { Weather } from '../../../anvil/fleet/readings.ts'
import { FLEET_SCHEMAS, FLEET_SITES } from '../../../anvil/fleet/stations.ts'
import { parseSchemaFile, validateReading } from '../../../src/maml/schema.ts'

const schemaOf = (name: string) =>
  parseSchemaFile(new Uint8Array(readFileSync(new URL(`../../../anvil/schemas/${name}.md`, import.meta.url))))
const stations = FLEET_SITES.flatMap((site) => site.stations)

it('repeats a random stream by its label, and no other one', () => {
  const draw = (label: string) => {
    const random = new Random(label)
    return Array.from({ length: 40 }, () => random.next())
  }
  expect(draw('a')).toEqual(draw('a'))
  expect(draw('a')).not.toEqual(draw('b'))
  expect(new Set(draw('a')).size).toBe(40)
  expect(draw('a').every((x) => x >= 0 && x < 1)).toBe(true)
})

it('chooses by weight', () => {
  const random = new Random('weights')
  const items = [
    { name: 'often', weight: 9 },
    { name: 'seldom', weight: 1 },
    { name: 'never', weight: 0 },
  ]
  const count: Record<string, number> = {}
  for (let i = 0; i < 5_000; i++) {
    const { name } = random.weighted(items)
    count[name] = (count[name] ?? 0) + 1
  }
  expect(count['never']).toBeUndefined()
  expect((count['often'] as number) / 5_000).toBeCloseTo(0.9, 1)
})

it('draws whole numbers from both ends of a range, and bells around zero', () => {
  const random = new Random('ranges')
  expect(new Set(Array.from({ length: 300 }, () => random.int(2, 5)))).toEqual(new Set([2, 3, 4, 5]))
  const bells = Array.from({ length: 3_000 }, () => random.bell())
  expect(bells.reduce((a, b) => a + b) / bells.length).toBeCloseTo(0, 0)
})

it('gives readings that the schema accepts, whatever the sensor, for a long time', () => {
  for (const { sensor, dataset } of stations) {
    const weather = new Weather(sensor, 7, 0, false, dataset)
    const schema = schemaOf(FLEET_SCHEMAS[dataset])
    expect(schema).toMatchObject({ dataset, name: FLEET_SCHEMAS[dataset] })
    for (const reading of weather.read(1_767_323_045_000, 200, 10_000))
      expect(validateReading(schema, reading, 0)).toEqual([])
  }
})

it('drifts slowly, stays near what is usual, and does not stand still', () => {
  const values = new Weather('helium_009', 3, 0, true)
    .read(1_767_323_045_000, 2_000, 1_000)
    .map((reading) => reading['air_quality'] as number)
  const steps = values.slice(1).map((value, i) => Math.abs(value - (values[i] as number)))
  expect(Math.max(...steps)).toBeLessThan(16)
  expect(new Set(values).size).toBeGreaterThan(10)
  expect(Math.max(...values) - Math.min(...values)).toBeLessThan(120)
})

it('repeats a walk by its seed; a start that goes on walks elsewhere with the same instruments', () => {
  const walk = (seed: number, progress: number) =>
    new Weather('helium_010', seed, progress, false).read(1_767_323_045_000, 20, 1_000)
  expect(walk(1, 0)).toEqual(walk(1, 0))
  expect(walk(1, 5)).not.toEqual(walk(1, 0))
  expect(Object.keys(walk(1, 5)[0] as object)).toEqual(Object.keys(walk(1, 0)[0] as object))
})

it('never gives the same time twice, however fast it is asked', () => {
  const weather = new Weather('helium_011', 1, 0, true)
  const times = Array.from({ length: 5 }, () => weather.read(1_767_323_045_000, 1, 1_000)[0]?.['timestamp'])
  expect(new Set(times).size).toBe(5)
})

it('has twenty contributors, five of them validators, with one to three places of their own', () => {
  expect(FLEET_SITES).toHaveLength(20)
  expect(FLEET_SITES.filter(({ role }) => role === 'validator')).toHaveLength(5)
  for (const site of FLEET_SITES) {
    const places = new Set(site.stations.map(({ h3Cell }) => h3Cell)).size
    expect(places).toBeGreaterThanOrEqual(1)
    expect(places).toBeLessThanOrEqual(3)
  }
  expect(FLEET_SITES[0]?.stations.map(({ sensor }) => sensor)).toEqual(['helium_001'])
  expect(new Set(stations.map(({ sensor }) => sensor)).size).toBe(52)
  expect(stations.filter(({ dataset }) => dataset === 'weather_stations')).toHaveLength(12)
  expect(new Set(stations.map(({ h3Cell }) => h3Cell)).size).toBe(40)
  for (const { h3Cell } of stations) {
    // H3 index layout: reserved bit 0, mode 1 (cell), resolution 8, unused digits all ones.
    expect(h3Cell >> 59n).toBe(1n)
    expect((h3Cell >> 52n) & 15n).toBe(8n)
    expect(h3Cell & ((1n << 21n) - 1n)).toBe((1n << 21n) - 1n)
  }
})
