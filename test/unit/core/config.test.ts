import { chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type ConfigInput, DEVNET_FILE, loadConfig, SETTINGS } from '../../../src/core/config.ts'

let cwd: string
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'dunes-config-'))
})
afterEach(() => rmSync(cwd, { recursive: true }))

const load = (input: Partial<ConfigInput> = {}) => loadConfig({ flags: {}, env: {}, cwd, ...input })
const configFile = (value: unknown) =>
  writeFileSync(join(cwd, 'dunes.config.json'), typeof value === 'string' ? value : JSON.stringify(value))
function devnetFile(value: unknown, folder = '.dunes') {
  mkdirSync(join(cwd, folder), { recursive: true })
  writeFileSync(join(cwd, folder, DEVNET_FILE), JSON.stringify(value))
}
const invalid = (message: RegExp) =>
  expect.objectContaining({ code: 'CONFIG_INVALID', exitCode: 2, message: expect.stringMatching(message) })

describe('settings', () => {
  it('come from flags, then the environment, then the file, then the devnet of this folder, then defaults', () => {
    expect(load()).toMatchObject({ port: 8000, host: '127.0.0.1', chainId: 31337, sources: {} })
    devnetFile({ port: 1 })
    expect(load()).toMatchObject({ port: 1, sources: { port: 'running devnet' } })
    configFile({ port: 2 })
    expect(load()).toMatchObject({ port: 2, sources: { port: 'config file' } })
    const env = { PORT: '3' }
    expect(load({ env })).toMatchObject({ port: 3, sources: { port: 'environment' } })
    expect(load({ env, flags: { port: '4' } })).toMatchObject({ port: 4, sources: { port: 'flag' } })
    expect(load({ env, flags: { port: undefined } }).port).toBe(3)
  })

  it('may each come from elsewhere', () => {
    configFile({ pollMs: 20, chainId: 5 })
    const config = load({ env: { DUNES_POLL_MS: '30', DUNES_RPC_URLS: 'http://a, http://b,' } })
    expect(config).toMatchObject({ pollMs: 30, chainId: 5, rpcUrls: ['http://a', 'http://b'] })
    expect(config.sources).toEqual({ pollMs: 'environment', rpcUrls: 'environment', chainId: 'config file' })
  })

  it('leave the devnet alone where it is not asked for', () => {
    devnetFile({ port: 1 })
    expect(load({ devnet: false }).port).toBe(8000)
  })

  it('find the devnet in the data folder that is set', () => {
    devnetFile({ port: 9 }, 'elsewhere')
    expect(load({ flags: { dataDir: 'elsewhere' } })).toMatchObject({
      port: 9,
      dataDir: join(cwd, 'elsewhere'),
    })
    expect(load().dataDir).toBe(join(cwd, '.dunes'))
  })

  it("are found upwards from the working directory, as far as they are one's own", () => {
    const below = join(cwd, 'a', 'b')
    mkdirSync(below, { recursive: true })
    expect(load({ cwd: below }).dataDir).toBe(join(below, '.dunes'))
    devnetFile({ port: 7 })
    configFile({ chainId: 5 })
    expect(load({ cwd: below })).toMatchObject({ port: 7, chainId: 5, dataDir: join(cwd, '.dunes') })
    configFile({ dataDir: 'data' })
    expect(load({ cwd: below }).dataDir).toBe(join(cwd, 'data'))
    // What is typed is relative to where it is typed; what is nearer wins.
    expect(load({ cwd: below, flags: { dataDir: 'mine' } }).dataDir).toBe(join(below, 'mine'))
    mkdirSync(join(cwd, 'a', '.dunes'))
    expect(load({ cwd: below })).toMatchObject({ port: 8000, dataDir: join(cwd, 'a', '.dunes') })
  })

  it.runIf(process.getuid?.() === 0)('are not taken from a stranger above the working directory', () => {
    const below = join(cwd, 'a')
    mkdirSync(below)
    configFile({ port: 7 })
    chownSync(join(cwd, 'dunes.config.json'), 65_534, 65_534)
    expect(load({ cwd: below }).port).toBe(8000)
  })

  it('have three names that every host sets, beside their own', () => {
    const env = { DATABASE_URL: 'postgres://x', HOST: '0.0.0.0', PORT: '80' }
    expect(load({ env })).toMatchObject({ databaseUrl: 'postgres://x', host: '0.0.0.0', port: 80 })
    expect(load({ env: { DUNES_PORT: '81' } }).port).toBe(81)
    expect(load({ env: { PORT: '', DUNES_PORT: '81' } }).port).toBe(81)
    const names = new Map(SETTINGS.map(({ name, env: variable, flag }) => [name, [variable, flag]]))
    expect(names.get('databaseUrl')?.[0]).toBe('DATABASE_URL')
    expect(names.get('anchorEveryLeaves')).toEqual(['DUNES_ANCHOR_EVERY_LEAVES', '--anchor-every-leaves'])
  })

  it('take an address in either case', () => {
    expect(load({ flags: { registry: `0x${'AB'.repeat(20)}` } }).registry).toBe(`0x${'ab'.repeat(20)}`)
  })

  it.each<[string, Partial<ConfigInput>, RegExp]>([
    ['a port that is no number', { env: { PORT: '80a' } }, /port \(environment\)/],
    ['a port in scientific notation', { flags: { port: '8e3' } }, /port \(flag\)/],
    ['a port out of range', { flags: { port: '65536' } }, /port \(flag\)/],
    ['an address that is short', { flags: { anchor: '0x12' } }, /anchor \(flag\)/],
    ['an API URL of another scheme', { flags: { apiUrl: 'ftp://x' } }, /apiUrl \(flag\)/],
    ['a level that there is not', { env: { DUNES_LOG_LEVEL: 'loud' } }, /logLevel \(environment\)/],
    ['no confirmations', { flags: { confirmations: '0' } }, /confirmations \(flag\)/],
  ])('refuse %s by name and source', (_, input, message) => {
    expect(() => load(input)).toThrow(invalid(message))
  })
})

describe('dunes.config.json', () => {
  it.each<[string, unknown, RegExp]>([
    ['a setting that there is not', { prot: 1 }, /prot \(config file\)/],
    ['another type', { pollMs: [1] }, /pollMs \(config file\)/],
    ['a list of other things', { rpcUrls: [1] }, /rpcUrls \(config file\)/],
    ['an array', [], /not a JSON object/],
    ['nothing', '', /cannot be read/],
    ['a comment', '{} // x', /cannot be read/],
    ['a key twice', '{"port":1,"port":2}', /duplicate key/],
    ['depth', '['.repeat(10_000), /nested deeper/],
  ])('is refused for %s', (_, value, message) => {
    configFile(value)
    expect(() => load()).toThrow(invalid(message))
  })

  it('is refused when it is a folder', () => {
    mkdirSync(join(cwd, 'dunes.config.json'))
    expect(() => load()).toThrow(invalid(/cannot be read/))
  })

  it('sets nothing of every object', () => {
    configFile('{"__proto__":{"port":1}}')
    expect(() => load()).toThrow(invalid(/__proto__/))
    expect(({} as { port?: number }).port).toBeUndefined()
  })
})
