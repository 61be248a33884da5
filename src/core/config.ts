import { existsSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { z } from 'zod'
import { DunesError, describeError } from './error.ts'
import { type Json, parseJson } from './json.ts'

/** Depth of nesting that a settings file may have. */
const MAX_DEPTH = 8

const list = z.preprocess(
  (value) =>
    typeof value === 'string'
      ? value
          .split(',')
          .map((part) => part.trim())
          .filter(Boolean)
      : value,
  z.array(z.string()),
)
const integer = (min: number, max: number) =>
  z.preprocess(
    (value) => (typeof value === 'string' && /^[0-9]+$/.test(value) ? Number(value) : value),
    z.int().min(min).max(max),
  )
const address = z.preprocess(
  (value) => (typeof value === 'string' ? value.toLowerCase() : value),
  z.string().regex(/^0x[0-9a-f]{40}$/, 'give an address: 0x and 40 hex digits'),
)
const url = z.url({ protocol: /^https?$/ })

/**
 * Every setting, with its default. A setting `anchorEveryLeaves` is the flag `--anchor-every-leaves`, the environment variable
 * `DUNES_ANCHOR_EVERY_LEAVES` and the key of that name in `dunes.config.json`. Secrets are not settings: see key-file.ts.
 */
const Settings = z.strictObject({
  dataDir: z
    .string()
    .min(1)
    .default('.dunes')
    .describe('folder of keys, the private Postgres and the devnet'),
  databaseUrl: z.string().optional().describe('PostgreSQL to use; without it a private one is started'),
  apiDatabaseUrl: z
    .string()
    .optional()
    .describe("the API's own connection to it, as a role with fewer rights"),
  queryDatabaseUrl: z
    .string()
    .optional()
    .describe(
      "the connection for strangers' queries, as the role dunes_query; without it the one that `dunes migrate --query-role` made",
    ),
  host: z.string().min(1).default('127.0.0.1').describe('address that the API listens on'),
  port: integer(0, 65_535).default(8000).describe('port that the API listens on'),
  allowedHosts: list.default([]).describe('further Host names that the API answers to'),
  allowedOrigins: list
    .default([])
    .describe('origins of web pages that may ask the API, such as https://example.org'),
  apiUrl: url.optional().describe('API that commands ask; by default the one of host and port'),
  rpcUrls: list.default(['http://127.0.0.1:8545']).describe('JSON-RPC endpoints of the chain'),
  rpcPerSecond: integer(0, 1_000_000)
    .default(0)
    .describe('calls a second to each endpoint; 0 for no limit. One of its own: https://host/#per-second=25'),
  rpcInFlight: integer(1, 1_000)
    .default(16)
    .describe('requests at once to each endpoint. One of its own: https://host/#in-flight=4'),
  wsUrl: z
    .url({ protocol: /^wss?$/ })
    .optional()
    .describe('WebSocket endpoint that tells of new heads; it only wakes the poller'),
  recheckSeconds: integer(0, 86_400)
    .default(60)
    .describe(
      'seconds between re-checks of a final range, from another endpoint if there is one; 0 for none',
    ),
  chainId: integer(1, Number.MAX_SAFE_INTEGER).default(31337).describe('EIP-155 id of the chain'),
  registry: address.optional().describe('address of SensorRegistry'),
  anchor: address.optional().describe('address of ReceiptAnchor'),
  startBlock: integer(0, Number.MAX_SAFE_INTEGER)
    .default(0)
    .describe('block of the first of the two contracts'),
  confirmations: integer(1, 1_000_000)
    .optional()
    .describe("blocks until one is final; without it the chain's own finalized tag"),
  pollMs: integer(10, 60_000).default(250).describe('milliseconds between looks at the head'),
  anchorEveryLeaves: integer(1, 100_000_000).default(10_000).describe('anchor when so many leaves wait'),
  anchorEverySeconds: integer(1, 604_800).default(60).describe('anchor when a leaf has waited for so long'),
  anchorStuckSeconds: integer(1, 86_400)
    .default(60)
    .describe('replace an anchor transaction that is not mined after so long'),
  allowedPrivate: list.default([]).describe('host:port pairs of payload hosts on private addresses'),
  allowFile: list.default([]).describe('folders below which file: URIs are read'),
  ipfsGateways: list.default([]).describe('base URLs of IPFS gateways'),
  changesKept: integer(1_000, 1_000_000_000_000)
    .default(10_000_000)
    .describe('newest changes that /v1/changes can tell again, counted by submission'),
  anvilPort: integer(1, 65_535).default(8545).describe("port of the devnet's chain"),
  fleetPort: integer(1, 65_535).default(18_080).describe("port of the devnet's payload host"),
  logLevel: z.enum(['silent', 'error', 'warn', 'info', 'debug']).default('info').describe('what is logged'),
})

export type Config = z.infer<typeof Settings> & {
  /** Where each setting that is not a default came from. */
  readonly sources: Readonly<Record<string, 'flag' | 'environment' | 'config file' | 'running devnet'>>
}
export type SettingName = keyof z.infer<typeof Settings>

/** Name and description of every setting, for help texts. */
export const SETTINGS: readonly { name: SettingName; flag: string; env: string; description: string }[] =
  Object.entries(Settings.shape).map(([name, schema]) => ({
    name: name as SettingName,
    flag: `--${name.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)}`,
    env: envName(name),
    description: schema.description ?? '',
  }))

/** These three are known by the names that every host sets. */
function envName(name: string): string {
  if (name === 'databaseUrl') return 'DATABASE_URL'
  if (name === 'host') return 'HOST'
  if (name === 'port') return 'PORT'
  return `DUNES_${name.replace(/[A-Z]/g, (c) => `_${c}`).toUpperCase()}`
}

/** File in the data folder in which a running devnet says where it is. */
export const DEVNET_FILE = 'devnet.json'
const CONFIG_FILE = 'dunes.config.json'
const DATA_FOLDER = '.dunes'

export interface ConfigInput {
  /** Values given on the command line, by setting name; undefined ones are left out. */
  flags: Readonly<Record<string, unknown>>
  env: Readonly<Record<string, string | undefined>>
  /** The working directory: where `dunes.config.json` and the data folder are looked for, and then upwards from it. */
  cwd: string
  /** Whether a devnet that was started here answers for settings that nothing else gives. Off for the devnet itself. */
  devnet?: boolean
}

/**
 * The settings in force: flags, then the environment, then `dunes.config.json`, then what the devnet of this folder wrote down,
 * then defaults. Throws `CONFIG_INVALID`, naming the setting and where it was given.
 */
export function loadConfig({ flags, env, cwd, devnet = true }: ConfigInput): Config {
  const base = baseFolder(cwd)
  const layers: [Config['sources'][string], Record<string, unknown>][] = [
    ['flag', defined(flags)],
    [
      'environment',
      defined(
        Object.fromEntries(
          SETTINGS.map(({ name, env: key }) => [name, env[key] || env[`DUNES_${key}`] || undefined]),
        ),
      ),
    ],
    ['config file', readSettings(join(base, CONFIG_FILE))],
  ]
  // Without a prototype, so that a key called __proto__ is one more setting that there is not.
  const merged: Record<string, unknown> = Object.create(null)
  const sources: Record<string, Config['sources'][string]> = {}
  const add = ([source, values]: (typeof layers)[number]) => {
    for (const [name, value] of Object.entries(values)) {
      if (Object.hasOwn(merged, name)) continue
      merged[name] = value
      sources[name] = source
    }
  }
  for (const layer of layers) add(layer)
  // A folder that a flag or variable names is relative to where it was typed, every other one to where the settings are.
  const from = sources['dataDir'] === 'flag' || sources['dataDir'] === 'environment' ? cwd : base
  const dataDir = resolve(from, typeof merged['dataDir'] === 'string' ? merged['dataDir'] : DATA_FOLDER)
  if (devnet) add(['running devnet', readSettings(join(dataDir, DEVNET_FILE))])
  const parsed = Settings.safeParse(merged)
  if (!parsed.success) {
    const issue = parsed.error.issues[0]
    const name = String(issue?.path[0] ?? (issue && 'keys' in issue ? issue.keys[0] : 'a setting'))
    const source = sources[name] ?? 'config file'
    throw new DunesError(
      'CONFIG_INVALID',
      `the setting ${name} (${source}) is not usable: ${issue?.message}`,
      {
        hint: 'run `dunes settings` for every setting and its form',
      },
    )
  }
  return { ...parsed.data, dataDir, sources }
}

/**
 * The folder that commands run in `cwd` are about: the nearest one, from `cwd` upwards, with a settings file or a data folder, else
 * `cwd` itself. Above `cwd` both count only where they are the user's own: on a shared machine anybody may leave some in `/tmp`.
 */
function baseFolder(cwd: string): string {
  const names = [CONFIG_FILE, DATA_FOLDER]
  if (names.some((name) => existsSync(join(cwd, name)))) return cwd
  const user = process.getuid?.()
  for (let at = cwd, up = dirname(at); up !== at; at = up, up = dirname(at))
    for (const name of names) if (statSync(join(up, name), { throwIfNoEntry: false })?.uid === user) return up
  return cwd
}

const defined = (values: Readonly<Record<string, unknown>>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined))

function readSettings(path: string): Record<string, unknown> {
  if (!existsSync(path)) return {}
  try {
    const value: Json = parseJson(readFileSync(path, 'utf8'), { maxDepth: MAX_DEPTH })
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value
  } catch (cause) {
    throw new DunesError('CONFIG_INVALID', `${path} cannot be read: ${describeError(cause)}`, {
      hint: 'mend the file, or move it away',
      cause,
    })
  }
  throw new DunesError('CONFIG_INVALID', `${path} is not a JSON object`, {
    hint: 'mend the file, or move it away',
  })
}
