/** The datasets that the fleet feeds, with the names of their schemas; the files are in anvil/schemas. */
export const FLEET_SCHEMAS = {
  helium_sensors: 'iot_data.maml',
  weather_stations: 'weather_data.maml',
} as const
export type FleetDataset = keyof typeof FLEET_SCHEMAS
export const FLEET_DATASETS = Object.keys(FLEET_SCHEMAS) as FleetDataset[]

/** A place of the fleet: an outdoor station in some city. */
export interface Station {
  /** Unique on-chain. */
  readonly sensor: string
  readonly dataset: FleetDataset
  readonly city: string
  /** H3 cell of resolution 8 (about 0.7 km2) that the city's centre is in. */
  readonly h3Cell: bigint
}

/** What sets a contributor apart from the others. */
export type Role =
  | 'ordinary'
  /** Admitted to attest. */
  | 'validator'
  /** Replaces its key after a while, and at times still signs with the old one. */
  | 'rotator'
  /** Registered its key with a proof of possession that is not valid. */
  | 'unproved'

export interface Site {
  readonly role: Role
  readonly stations: readonly Station[]
}

const CELLS: readonly (readonly [city: string, h3Cell: bigint])[] = [
  ['Lisbon', 0x88393362b3fffffn],
  ['Porto', 0x8839220f03fffffn],
  ['Madrid', 0x88390cb1b1fffffn],
  ['Barcelona', 0x8839446033fffffn],
  ['Marseille', 0x883968152bfffffn],
  ['Lyon', 0x881f902093fffffn],
  ['Paris', 0x881fb46625fffffn],
  ['Brussels', 0x881fa44181fffffn],
  ['Amsterdam', 0x881969c9b3fffffn],
  ['Rotterdam', 0x88196bb567fffffn],
  ['London', 0x88195da49bfffffn],
  ['Manchester', 0x881951b755fffffn],
  ['Dublin', 0x88182c1749fffffn],
  ['Glasgow', 0x881909ac5bfffffn],
  ['Oslo', 0x8809993867fffffn],
  ['Gothenburg', 0x881f25a933fffffn],
  ['Stockholm', 0x8808866189fffffn],
  ['Copenhagen', 0x881f058317fffffn],
  ['Hamburg', 0x881f15ad23fffffn],
  ['Berlin', 0x881f1d4895fffffn],
  ['Munich', 0x881f8d7a49fffffn],
  ['Zurich', 0x881f8ed951fffffn],
  ['Milan', 0x881f99cdd5fffffn],
  ['Turin', 0x881f984031fffffn],
  ['Rome', 0x881e8052a1fffffn],
  ['Naples', 0x881e8329dbfffffn],
  ['Vienna', 0x881e15b713fffffn],
  ['Prague', 0x881e3541abfffffn],
  ['Krakow', 0x881e2e6b15fffffn],
  ['Warsaw', 0x881f53c93bfffffn],
  ['Budapest', 0x881e037853fffffn],
  ['Zagreb', 0x881e130d5bfffffn],
  ['Athens', 0x881eda743bfffffn],
  ['Sofia', 0x881ec46585fffffn],
  ['Bucharest', 0x881eeeb4cbfffffn],
  ['Istanbul', 0x881ec90247fffffn],
  ['Vilnius', 0x881f4030c7fffffn],
  ['Helsinki', 0x881126d339fffffn],
  ['Tallinn', 0x88089b1a21fffffn],
  ['Riga', 0x881f60774dfffffn],
]

const AIR: readonly Station[] = CELLS.map(([city, h3Cell], i) => ({
  sensor: `helium_${String(i + 1).padStart(3, '0')}`,
  dataset: 'helium_sensors',
  city,
  h3Cell,
}))

/** Who has a weather station beside each of the others: contributors by position. */
const WITH_WEATHER: readonly number[] = [6, 7, 8, 9]

/** How many of the stations, in order, each contributor runs, and as what. The first one's is `helium_001`. */
const SITES: readonly (readonly [role: Role, stations: number])[] = [
  ['ordinary', 1],
  ['validator', 1],
  ['validator', 1],
  ['validator', 1],
  ['validator', 1],
  ['validator', 1],
  ['ordinary', 3],
  ['ordinary', 3],
  ['ordinary', 3],
  ['ordinary', 3],
  ['ordinary', 3],
  ['ordinary', 3],
  ['ordinary', 3],
  ['ordinary', 3],
  ['ordinary', 2],
  ['ordinary', 2],
  ['ordinary', 2],
  ['ordinary', 2],
  ['rotator', 1],
  ['unproved', 1],
]

/** What each of the twenty contributors runs. */
export const FLEET_SITES: readonly Site[] = SITES.map(([role, count], i) => {
  const first = SITES.slice(0, i).reduce((sum, [, stations]) => sum + stations, 0)
  const air = AIR.slice(first, first + count)
  const weather = WITH_WEATHER.includes(i)
    ? air.map(
        ({ sensor, city, h3Cell }): Station => ({
          sensor: sensor.replace('helium', 'weather'),
          dataset: 'weather_stations',
          city,
          h3Cell,
        }),
      )
    : []
  return { role, stations: [...air, ...weather] }
})

/** How much each role submits, against an ordinary contributor. */
export const SHARES: Readonly<Record<Role, number>> = {
  ordinary: 1,
  validator: 1,
  rotator: 0.6,
  unproved: 0.2,
}
export const ALL_SHARES = FLEET_SITES.reduce((sum, { role }) => sum + SHARES[role], 0)

/** Where the seed's own example comes from. */
export const EXAMPLE_SENSOR = 'helium_001'
