import { type ChildProcess, spawn } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

// A checkout with the real launcher and a target that tells what it was given.
const TARGET = `
const kept: string[] = process.argv.slice(2)
if (kept[0] === 'exit') process.exitCode = Number(kept[1])
if (kept[0] === 'wait' || kept[0] === 'clean') setInterval(() => {}, 1000)
if (kept[0] === 'clean') {
  let signals = 0
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => {
    signals++
    setTimeout(() => { console.log('cleaned ' + signal + ' ' + signals); process.exit(signal === 'SIGINT' ? 130 : 143) }, 300)
  })
}
console.log(JSON.stringify({ args: kept, cwd: process.cwd(), pid: process.pid, flags: process.execArgv }))
if (kept[0] === 'echo') process.stdin.pipe(process.stdout)
`
// Makes a capable Node look like one that cannot run TypeScript, so that the launcher has to find the pinned one.
const OLD = ['--no-strip-types']
const repository = fileURLToPath(new URL('../..', import.meta.url))
let folder: string
let launcher: string

beforeAll(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'dunes-launcher-')))
  launcher = checkout('with-node')
  // The package is a link to the Node that runs the tests, whatever the platform's package is called.
  const names = { darwin: `node-bin-darwin-${process.arch}`, linux: `node-linux-${process.arch}` }
  const name = names[process.platform as keyof typeof names]
  const place = join(folder, 'with-node', 'node_modules', name)
  mkdirSync(join(place, 'bin'), { recursive: true })
  writeFileSync(
    join(place, 'package.json'),
    JSON.stringify({ name, version: '1.0.0', bin: { node: 'bin/node' } }),
  )
  symlinkSync(process.execPath, join(place, 'bin', 'node'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function checkout(name: string): string {
  const root = join(folder, name)
  mkdirSync(join(root, 'bin'), { recursive: true })
  mkdirSync(join(root, 'src', 'cli'), { recursive: true })
  cpSync(join(repository, 'bin', 'dunes.js'), join(root, 'bin', 'dunes.js'))
  writeFileSync(join(root, 'package.json'), '{"type":"module"}')
  writeFileSync(join(root, 'src', 'cli', 'main.ts'), TARGET)
  return join(root, 'bin', 'dunes.js')
}

interface Ended {
  code: number | null
  signal: NodeJS.Signals | null
  out: string
  err: string
}

function start(
  flags: string[],
  script: string,
  args: string[],
  cwd = '/',
): { child: ChildProcess; ended: Promise<Ended> } {
  const child = spawn(process.execPath, [...flags, script, ...args], { cwd, stdio: ['pipe', 'pipe', 'pipe'] })
  const out = text(child.stdout)
  const err = text(child.stderr)
  const ended = new Promise<Ended>((resolve) => {
    child.once('close', async (code, signal) => resolve({ code, signal, out: await out, err: await err }))
  })
  return { child, ended }
}

const run = (flags: string[], script: string, args: string[], cwd?: string) =>
  start(flags, script, args, cwd).ended

/** Resolves with the target's first line, once it runs. */
function running(child: ChildProcess): Promise<{ pid: number }> {
  return new Promise((resolve) =>
    child.stdout?.once('data', (line: Buffer) => resolve(JSON.parse(String(line)))),
  )
}

describe.each([
  ['on this Node', []],
  ['on the pinned Node', OLD],
])('%s', (_name, flags) => {
  test('passes arguments, working directory and exit code through', async () => {
    const ended = await run(flags, launcher, ['exit', '3', '--json', 'a b', ''], folder)
    expect(ended.err).toBe('')
    expect(ended.code).toBe(3)
    expect(JSON.parse(ended.out)).toMatchObject({ args: ['exit', '3', '--json', 'a b', ''], cwd: folder })
  })

  test('gives what indexes a larger young generation, and passes all else through', async () => {
    const ended = await run(flags, launcher, ['start', '--json', 'a b'], folder)
    expect(ended).toMatchObject({ code: 0, err: '' })
    expect(JSON.parse(ended.out)).toMatchObject({
      args: ['start', '--json', 'a b'],
      cwd: folder,
      flags: ['--max-semi-space-size=32'],
    })
    expect(JSON.parse((await run(flags, launcher, ['status'])).out)).toMatchObject({ flags: [] })
  })

  test('works through a link, as npm makes them', async () => {
    const link = join(folder, `dunes-${flags.length}`)
    symlinkSync(launcher, link)
    expect(await run(flags, link, ['exit', '0'])).toMatchObject({ code: 0, err: '' })
  })

  test('passes standard input on', async () => {
    const { child, ended } = start(flags, launcher, ['echo'])
    child.stdin?.end('sensor')
    expect((await ended).out).toMatch(/sensor$/)
  })

  test.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('%s reaches the program once, which ends in its own time', async (signal, code) => {
    const { child, ended } = start(flags, launcher, ['clean'])
    await running(child)
    child.kill(signal)
    expect(await ended).toMatchObject({
      code,
      signal: null,
      out: expect.stringMatching(`cleaned ${signal} 1\n$`),
    })
  })

  test('ends by the signal that ended the program', async () => {
    const { child, ended } = start(flags, launcher, ['wait'])
    const { pid } = await running(child)
    process.kill(pid, 'SIGTERM')
    expect(await ended).toMatchObject({ code: null, signal: 'SIGTERM' })
  })
})

test('the pinned Node is another process, found from the launcher and not from the working directory', async () => {
  const { child, ended } = start(OLD, launcher, ['exit', '0'], folder)
  const { pid } = await running(child)
  expect(pid).not.toBe(child.pid)
  expect((await ended).code).toBe(0)
})

test('without any suitable Node it says what to do and exits 2', async () => {
  const ended = await run(OLD, checkout('without-node'), ['status'], join(folder, 'with-node'))
  expect(ended.code).toBe(2)
  expect(ended.out).toBe('')
  expect(ended.err).toContain('dunes needs Node 24.7 or later')
  expect(ended.err).toContain('npm ci')
})
