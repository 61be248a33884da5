import type { JsonObject } from '../../src/core/json.ts'
import { Random } from './random.ts'
import type { FleetDataset } from './stations.ts'

/** How a quantity moves: pulled towards its usual value, pushed about at random, never beyond its bounds. */
interface Quantity {
  readonly name: string
  readonly usual: readonly [least: number, most: number]
  readonly step: number
  readonly bounds: readonly [least: number, most: number]
  readonly decimals: number
}

const AIR_QUALITY: Quantity = {
  name: 'air_quality',
  usual: [25, 110],
  step: 2.5,
  bounds: [0, 500],
  decimals: 0,
}
const EXTRAS: readonly Quantity[] = [
  { name: 'temperature', usual: [4, 27], step: 0.2, bounds: [-40, 50], decimals: 1 },
  { name: 'humidity', usual: [35, 85], step: 0.8, bounds: [5, 100], decimals: 1 },
  { name: 'pressure', usual: [995, 1028], step: 0.15, bounds: [930, 1060], decimals: 1 },
  { name: 'pm2_5', usual: [4, 40], step: 0.6, bounds: [0, 500], decimals: 1 },
]
/** What weather stations measure, all of them the same; the first comes first in each reading. */
const WEATHER: readonly Quantity[] = [
  { name: 'temperature', usual: [4, 27], step: 0.2, bounds: [-40, 50], decimals: 1 },
  { name: 'humidity', usual: [35, 85], step: 0.8, bounds: [5, 100], decimals: 1 },
  { name: 'pressure', usual: [995, 1028], step: 0.15, bounds: [930, 1060], decimals: 1 },
  { name: 'wind_speed', usual: [1, 7], step: 0.5, bounds: [0, 45], decimals: 1 },
  { name: 'wind_gust', usual: [3, 12], step: 0.8, bounds: [0, 70], decimals: 1 },
  { name: 'wind_direction', usual: [40, 320], step: 9, bounds: [0, 359], decimals: 0 },
  { name: 'precipitation_rate', usual: [0, 0.4], step: 0.15, bounds: [0, 90], decimals: 1 },
  { name: 'solar_irradiance', usual: [60, 620], step: 18, bounds: [0, 1200], decimals: 0 },
  { name: 'uv_index', usual: [0, 6], step: 0.3, bounds: [0, 12], decimals: 0 },
]
/** Share of the way back to the usual value in one step. */
const PULL = 0.02
/** Share of the sensors that have each instrument besides the one for air quality. */
const EQUIPPED = 0.6

/** One sensor's readings: a seeded random walk of each quantity that it measures. */
export class Weather {
  readonly #sensor: string
  readonly #random: Random
  readonly #walks: readonly { quantity: Quantity; usual: number; value: number }[]
  #last = 0

  /** `plain` is a sensor for air quality alone, of `helium_sensors`. The same seed gives the same instruments; `progress` varies the walk. */
  constructor(
    sensor: string,
    seed: number,
    progress: number,
    plain: boolean,
    dataset: FleetDataset = 'helium_sensors',
  ) {
    this.#sensor = sensor
    const place = new Random(`${seed}/place/${sensor}`)
    const usual = ({ usual: [least, most] }: Quantity) => least + place.next() * (most - least)
    const chosen = EXTRAS.filter(() => place.next() < EQUIPPED)
    const measured = dataset === 'helium_sensors' ? [AIR_QUALITY, ...(plain ? [] : chosen)] : WEATHER
    this.#walks = measured.map((quantity) => {
      const centre = usual(quantity)
      return { quantity, usual: centre, value: centre }
    })
    this.#random = new Random(`${seed}/walk/${sensor}/${progress}`)
  }

  /** `count` readings, `spacingMs` apart, the last one taken at `now` (milliseconds since 1970). */
  read(now: number, count: number, spacingMs: number): JsonObject[] {
    // No two payloads of a sensor are ever the same by accident: its times only grow.
    const end = Math.max(now, this.#last + 1)
    this.#last = end
    return Array.from({ length: count }, (_, i) => this.#reading(end - (count - 1 - i) * spacingMs))
  }

  #reading(time: number): JsonObject {
    const out: JsonObject = { sensor_id: this.#sensor }
    for (const walk of this.#walks) {
      const { name, step, bounds, decimals } = walk.quantity
      const moved = walk.value + PULL * (walk.usual - walk.value) + step * this.#random.bell()
      walk.value = Math.min(bounds[1], Math.max(bounds[0], moved))
      out[name] = Number(walk.value.toFixed(decimals))
    }
    out['timestamp'] = new Date(time).toISOString()
    return out
  }
}
