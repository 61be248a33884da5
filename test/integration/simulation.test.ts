import { readdirSync, readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Coverage, FAULTS, Faults, isDue } from '../simulate/faults.ts'
import { patched } from '../simulate/patch.ts'
import { type SimPostgres, startSimPostgres } from '../simulate/postgres.ts'
import { randomOf } from '../simulate/random.ts'
import { simulate } from '../simulate/run.ts'

// A short part of `npm run simulate`: a few seeds, whichever faults are due in them.

let postgres: SimPostgres
beforeAll(async () => {
  postgres = await startSimPostgres()
})
afterAll(() => postgres?.stop())

test.each([1, 2])('seed %i', async (seed) => {
  const { problems, coverage } = await simulate(seed, postgres, { calm: false, patienceMs: 60_000 })
  expect(problems).toEqual([])
  expect(coverage.of('API answer checked')).toBeGreaterThan(10)
}, 120_000)

test('any 20 seeds in a row are due for every fault, over the end of the range too', () => {
  for (const first of [0, 1, 12_345, 2 ** 32 - 20, 2 ** 32 - 7, 2 ** 32 - 1]) {
    const seeds = Array.from({ length: 20 }, (_, i) => (first + i) % 2 ** 32)
    for (const kind of FAULTS) expect(seeds.filter((seed) => isDue(kind, seed)).length).toBeGreaterThan(3)
  }
})

test('the same seed plans the same faults at the same occasions', () => {
  const plan = (seed: number) => {
    const faults = new Faults(seed, randomOf(seed, 'faults'), new Coverage())
    return FAULTS.flatMap((kind) => Array.from({ length: 500 }, () => faults.strikes(kind)))
  }
  expect(plan(7)).toEqual(plan(7))
  expect(plan(7)).not.toEqual(plan(8))
})

test('every planted bug fits the source as it is', () => {
  const folder = new URL('../simulate/mutants/', import.meta.url)
  const names = readdirSync(folder)
  expect(names.length).toBeGreaterThan(9)
  const read = (file: string) => readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8')
  for (const name of names) {
    const changed = patched(readFileSync(new URL(name, folder), 'utf8'), read)
    expect(changed.size, name).toBeGreaterThan(0)
    for (const [file, text] of changed) expect(text, name).not.toBe(read(file))
  }
})
