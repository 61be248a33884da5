import { randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { run } from '../../src/cli/run.ts'
import { systemClock } from '../../src/core/clock.ts'
import { ed25519Signer } from '../../src/log/checkpoint.ts'
import { formatVkey } from '../../src/log/vkey.ts'
import { openShell, type Shell } from '../support/cli.ts'

let shell: Shell
const file = (name: string) => join(shell.folder, name)

beforeAll(() => {
  shell = openShell()
  writeFileSync(file('empty'), '')
  writeFileSync(file('binary'), randomBytes(5_000))
  writeFileSync(file('huge'), Buffer.alloc(17 * 1024 * 1024, '{"a":[1,2,3]},\n'))
  writeFileSync(file('deep.json'), '['.repeat(1_000_000))
  writeFileSync(
    file('deep.maml'),
    `## Data_Block\n\`\`\`json\n${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}\n\`\`\`\n`,
  )
  writeFileSync(file('deep.mu'), `---\n${'{"a":'.repeat(1_000)}1${'}'.repeat(1_000)}\n---\n## Receipt\n`)
  writeFileSync(file('key'), `0x${'00'.repeat(1952)}`)
  mkdirSync(file('folder'))
})
afterAll(() => shell?.stop())

/** The whole command line, in this process: what it prints, and its exit code. */
async function dunes(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  let stdout = ''
  let stderr = ''
  const code = await run(args, {
    env: {},
    cwd: shell.folder,
    clock: systemClock,
    signal: new AbortController().signal,
    out: (text) => {
      stdout += text
    },
    note: (text) => {
      stderr += text
    },
    interactive: false,
    stdin: async function* () {},
  })
  return { code, stdout, stderr }
}

/** How a stack trace or a bug looks. */
const TRACE = /^\s+at |node:internal|internal error|TypeError|RangeError|undefined/m
const BAD = ['empty', 'binary', 'deep.json', 'deep.maml', 'deep.mu'] as const
const HASH = `0x${'11'.repeat(32)}`

describe.each<[string, (name: string) => string[], number]>([
  ['maml inspect', (name) => ['maml', 'inspect', name], 1],
  ['maml verify', (name) => ['maml', 'verify', name, '--key', file('key')], 1],
  ['mu show', (name) => ['mu', 'show', name], 1],
  ['mu check', (name) => ['mu', 'check', name, name], 1],
  ['mu repair', (name) => ['mu', 'repair', name, name, '-o', file('out')], 1],
  ['mu repair --receipt', (name) => ['mu', 'repair', name, name, '--receipt', '-o', file('out')], 1],
  ['mu make', (name) => ['mu', 'make', name, name, '-o', file('out')], 1],
])('dunes %s', (_, args, code) => {
  it.each(BAD)('says what is wrong with a file that is %s', async (name) => {
    const ran = await dunes(...args(file(name)))
    expect(ran.code).toBe(code)
    expect(`${ran.stdout}${ran.stderr}`).toMatch(/line \d+, column \d+|:\d+:\d+ /)
    expect(`${ran.stdout}${ran.stderr}`).not.toMatch(TRACE)
    const json = await dunes(...args(file(name)), '--json')
    expect(json.code).toBe(code)
    expect(JSON.parse(json.stdout || json.stderr)).toBeTypeOf('object')
  })

  it('refuses a file that no file of Dunes is as long as, one that is not there, and a folder', async () => {
    for (const [name, message] of [
      ['huge', /more than any file of Dunes/],
      ['absent', /cannot be read/],
      ['folder', /cannot be read/],
    ] as const) {
      const ran = await dunes(...args(file(name)))
      expect(ran).toMatchObject({ code: 2, stdout: '', stderr: expect.stringMatching(message) })
      expect(ran.stderr).not.toMatch(TRACE)
    }
  })
})

describe('dunes verify', () => {
  const policy = JSON.stringify({
    chain: 'eip155:31337',
    registry: `0x${'01'.repeat(20)}`,
    anchor: `0x${'02'.repeat(20)}`,
    codeHashes: { registry: HASH, anchor: HASH },
    origin: 'test.example/dunes',
    checkpointVkeys: [formatVkey(ed25519Signer('test.example/dunes', new Uint8Array(32).fill(1)).vkey)],
    receiptKeys: [],
    layoutVersion: 1,
  })

  it.each(BAD)('needs a trust policy and a block hash that are in order: %s is neither', async (name) => {
    const ran = await dunes('verify', file(name), '--policy', file(name), '--block-hash', HASH)
    expect(ran).toMatchObject({ code: expect.any(Number), stdout: '' })
    expect([1, 2]).toContain(ran.code)
    expect(ran.stderr).toMatch(/trust policy/)
    expect(ran.stderr).not.toMatch(TRACE)
  })

  it.each(BAD)('says no to a bundle that is %s', async (name) => {
    writeFileSync(file('policy.json'), policy)
    const args = ['verify', file(name), '--policy', file('policy.json'), '--block-hash', HASH]
    const ran = await dunes(...args)
    expect(ran).toMatchObject({ code: 1, stdout: '', stderr: expect.stringMatching(/bundle/) })
    expect(ran.stderr).not.toMatch(TRACE)
    const json = await dunes(...args, '--json')
    expect(JSON.parse(json.stderr)).toMatchObject({ error: { code: expect.stringMatching(/^BUNDLE_/) } })
    // The bundle is read before anybody is asked about it.
    const asked = await dunes(...args.slice(0, -2), '--rpc', 'http://127.0.0.1:1')
    expect(asked.code).toBe(1)
  })

  it('exits with 2 without a policy or a hash, and tells which is missing', async () => {
    expect(await dunes('verify', file('empty'))).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/no trust policy/),
    })
    writeFileSync(file('policy.json'), policy)
    const ran = await dunes('verify', file('empty'), '--policy', file('policy.json'))
    expect(ran).toMatchObject({ code: 2, stderr: expect.stringMatching(/no block hash/) })
  })
})

it('ends a real process in the same way, with nothing on standard output', async () => {
  const all = await Promise.all([
    shell.dunes('maml', 'inspect', 'deep.maml'),
    shell.dunes('mu', 'show', 'binary'),
    shell.dunes('verify', 'huge', '--block-hash', HASH),
  ])
  expect(all.map(({ code }) => code)).toEqual([1, 1, 2])
  for (const { stdout, stderr } of all) {
    expect(stdout).toBe('')
    expect(stderr).toMatch(/^dunes: /)
    expect(stderr).not.toMatch(TRACE)
  }
})
