import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startApi, type TestApi } from '../support/api.ts'
import { deployment, fillGraph } from '../support/graph.ts'
import { type TestDatabase, testDatabase } from '../support/postgres.ts'
import { fixtureEndpoint } from './endpoint.ts'

/** The official conformance suite against this server as it is, and against the suite's own fixtures in the same app. */

const SUITE = fileURLToPath(
  new URL('../../node_modules/@modelcontextprotocol/conformance/dist/index.js', import.meta.url),
)

let database: TestDatabase
let plain: TestApi
let fixtures: TestApi
let folder: string

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'dunes-conformance-'))
  database = await testDatabase()
  await fillGraph(database.sql, { submitted: 6, settled: 5, final: 4, logged: 3, anchored: 2 })
  plain = await startApi({ sql: database.sql, deployment })
  fixtures = await startApi({ sql: database.sql, deployment }, { mcp: fixtureEndpoint() })
})
afterAll(async () => {
  await plain?.close()
  await fixtures?.close()
  await database?.stop()
  if (folder) rmSync(folder, { recursive: true, force: true })
})

/** Runs the suite's command line; answers its exit code and what it printed, without colours. */
const suite = (...args: string[]): Promise<{ code: number; text: string }> =>
  new Promise((resolve) => {
    execFile(
      process.execPath,
      [SUITE, 'server', ...args],
      { cwd: folder, maxBuffer: 64 * 1024 * 1024 },
      (error, stdout, stderr) =>
        resolve({
          code: error ? Number(error.code ?? 1) : 0,
          // biome-ignore lint/suspicious/noControlCharactersInRegex: the suite colours what it prints
          text: `${stdout}${stderr}`.replace(/\u001b\[[0-9;]*m/g, ''),
        }),
    )
  })

/** The scenarios that a server which is no fixture can pass. */
const PLAIN = {
  '2026-07-28': [
    'tools-list',
    'resources-list',
    'prompts-list',
    'completion-complete',
    'dns-rebinding-protection',
    'caching',
    'sep-2164-resource-not-found',
    'http-header-validation',
    'input-required-result-unsupported-methods',
  ],
  '2025-11-25': [
    'tools-list',
    'resources-list',
    'prompts-list',
    'completion-complete',
    'dns-rebinding-protection',
    'server-initialize',
    'ping',
  ],
}

describe.each(Object.entries(PLAIN))('the server as it is, at %s', (version, scenarios) => {
  test.each(scenarios)('%s', async (scenario) => {
    const { code, text } = await suite(
      '--url',
      `${plain.url}/mcp`,
      '--scenario',
      scenario,
      '--spec-version',
      version,
    )
    expect(text).toMatch(/Passed: ([1-9][0-9]*)\/\1, 0 failed, 0 warnings/)
    expect(code, text).toBe(0)
  })
})

/** How many scenarios each revision requires of servers: none may be skipped unseen. */
describe.each([
  ['2026-07-28', 37],
  ['2025-11-25', 30],
])('the suite’s fixtures through the same app, at %s', (revision, count) => {
  test(`all ${count} required scenarios`, async () => {
    const required = readFileSync(join(SUITE, `../../requirements/${revision}.yaml`), 'utf8')
    const names = [...(/^server:\n((?: {2}- .*\n)+)/m.exec(required)?.[1] ?? '').matchAll(/- (\S+)/g)].map(
      (match) => match[1] as string,
    )
    expect(names).toHaveLength(count)
    const { code, text } = await suite('--url', `${fixtures.url}/mcp`, '--requirements', revision)
    for (const name of names)
      expect(text, name).toMatch(new RegExp(`✓ ${name}: [1-9][0-9]* passed, 0 failed`))
    expect(code, text.slice(-4_000)).toBe(0)
  })
})
