import {
  cellToChildren,
  cellToLatLng,
  cellToParent,
  getPentagons,
  getRes0Cells,
  getResolution,
  greatCircleDistance,
  latLngToCell,
} from 'h3-js'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type TestDatabase, testDatabase } from '../../support/postgres.ts'

let database: TestDatabase
beforeAll(async () => {
  database = await testDatabase()
}, 60_000)
afterAll(() => database.stop())

/** Every base cell with its children, every pentagon with theirs, and places spread over the globe. */
const CELLS: readonly string[] = [
  ...getRes0Cells().flatMap((cell) => [cell, ...cellToChildren(cell, 1)]),
  ...Array.from({ length: 14 }, (_, resolution) =>
    getPentagons(resolution).flatMap((cell) => [cell, ...cellToChildren(cell, resolution + 2)]),
  ).flat(),
  // A golden spiral: even on the sphere, and the same in every run.
  ...Array.from({ length: 1_600 }, (_, i) =>
    latLngToCell(
      (Math.asin(1 - (2 * i + 1) / 1_600) * 180) / Math.PI,
      ((i * 137.50776405) % 360) - 180,
      i % 16,
    ),
  ),
]

describe('H3 in SQL', () => {
  it("finds centres where H3's own library does", async () => {
    const rows = await database.sql`
      select api.h3_latitude(c) as lat, api.h3_longitude(c) as lng, api.h3_resolution(c) as resolution
      from unnest(${CELLS as string[]}::text[]) with ordinality as t (c, n) order by n`
    rows.forEach((row, i) => {
      const cell = CELLS[i] as string
      expect(greatCircleDistance([row['lat'], row['lng']], cellToLatLng(cell), 'm'), cell).toBeLessThan(0.001)
      expect(row['resolution']).toBe(getResolution(cell))
    })
  }, 60_000)

  it('measures distances and finds parents as it does', async () => {
    const others = [...CELLS.slice(1), CELLS[0] as string]
    const rows = await database.sql`
      select api.h3_distance(a, b) as metres, api.h3_parent(a, least(2, api.h3_resolution(a))) as parent
      from unnest(${CELLS as string[]}::text[], ${others}::text[]) with ordinality as t (a, b, n) order by n`
    rows.forEach((row, i) => {
      const [a, b] = [CELLS[i] as string, others[i] as string]
      const metres = greatCircleDistance(cellToLatLng(a), cellToLatLng(b), 'm')
      expect(Math.abs(row['metres'] - metres), `${a} ${b}`).toBeLessThan(1)
      expect(row['parent']).toBe(cellToParent(a, Math.min(2, getResolution(a))))
    })
  }, 60_000)

  it('gives null for what is no cell', async () => {
    const [row] = await database.sql`
      select api.h3_latitude('zz') as a, api.h3_distance(null, '8839220f03fffff') as b, api.h3_distance('8839220f03fffff', '') as c,
             api.h3_parent('8839220f03fffff', 9) as d, api.h3_resolution('x') as e, api.h3_latitude('8f39220f03fffff') as f,
             api.h3_latitude('08839220f03fffff') = api.h3_latitude('8839220F03FFFFF') as same`
    expect(row).toEqual({ a: null, b: null, c: null, d: null, e: null, f: null, same: true })
  })
})
