import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { patched } from './patch.ts'

/**
 * `npm run simulate:mutants`: puts each bug of `mutants/*.patch` into a copy of the source and counts the seeds that the simulation takes
 * to find it. Exits 1 when one is not found.
 */
const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    /** Seeds after which a bug counts as not found. */
    seeds: { type: 'string', default: '200' },
    /** Seeds that must pass without a bug, first of all. */
    control: { type: 'string', default: '3' },
    /** Only patches whose name contains this. */
    only: { type: 'string', default: '' },
  },
})

const root = fileURLToPath(new URL('../..', import.meta.url))
const folder = fileURLToPath(new URL('./mutants', import.meta.url))
/** What a copy of the source does without. */
const LEFT_OUT = new Set(['node_modules', '.git', '.dunes', 'bench', 'test'])

/** A copy of everything that the simulation reads, with the installed packages linked to. */
function copySource(): string {
  const copy = mkdtempSync(join(tmpdir(), 'dunes-mutant-'))
  for (const part of readdirSync(root))
    if (!LEFT_OUT.has(part)) cpSync(join(root, part), join(copy, part), { recursive: true })
  for (const part of ['simulate', 'support'])
    cpSync(join(root, 'test', part), join(copy, 'test', part), { recursive: true })
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'))
  return copy
}

function runIn(
  copy: string,
  runs: string,
): { stdout: string; stderr: string; status: number | null; seconds: number } {
  const started = performance.now()
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    ['test/simulate/main.ts', '--seed', values.seed, '--runs', runs, '--patience', '40'],
    { cwd: copy, encoding: 'utf8', maxBuffer: 1 << 28 },
  )
  return { stdout, stderr, status, seconds: Math.round((performance.now() - started) / 1000) }
}

// The copy itself must be sound, or every bug would be "found".
const control = copySource()
const sound = runIn(control, values.control)
rmSync(control, { recursive: true, force: true })
if (sound.status !== 0) {
  process.stdout.write(
    `without a bug ${values.control} seeds do not pass:\n${sound.stdout.slice(-4000)}${sound.stderr}`,
  )
  process.exit(1)
}
process.stdout.write(`without a bug: ${values.control} seeds pass, ${sound.seconds} s\n`)

const patches = readdirSync(folder)
  .filter((name) => name.endsWith('.patch') && name.includes(values.only))
  .sort()
let missed = 0
for (const name of patches) {
  const copy = copySource()
  try {
    const patch = readFileSync(join(folder, name), 'utf8')
    const changed = patched(patch, (file) => readFileSync(join(copy, file), 'utf8'))
    for (const [file, text] of changed) writeFileSync(join(copy, file), text)
    const { stdout, stderr, status, seconds } = runIn(copy, values.seeds)
    const failed = /^seed (\d+): FAILED/m.exec(stdout)?.[1]
    if (status === 1 && failed !== undefined) {
      const nth = ((Number(failed) - Number(values.seed) + 2 ** 32) % 2 ** 32) + 1
      const how = /^problem: (.*)$/m.exec(stdout)?.[1]?.slice(0, 200)
      process.stdout.write(`${name}: found by seed ${failed}, number ${nth}, in ${seconds} s\n    ${how}\n`)
    } else {
      missed++
      process.stdout.write(
        `${name}: NOT FOUND in ${values.seeds} seeds, ${seconds} s, status ${status}\n${stderr.slice(0, 500)}\n`,
      )
    }
  } finally {
    rmSync(copy, { recursive: true, force: true })
  }
}
process.stdout.write(`${patches.length - missed} of ${patches.length} planted bugs found\n`)
process.exitCode = missed > 0 ? 1 : 0
