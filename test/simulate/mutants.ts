import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { patched } from './patch.ts'
import { startSimPostgres } from './postgres.ts'

/**
 * `npm run simulate:mutants`: puts each bug of `mutants/*.patch` into a copy of the source and counts the seeds that the simulation takes
 * to find it. Exits 1 when one is not found.
 */
const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    /** Seeds after which a bug counts as not found. */
    seeds: { type: 'string', default: '200' },
    /** Seeds that must pass without a bug, first of all; 0 leaves that out. */
    control: { type: 'string', default: '3' },
    /** Only patches whose name contains one of these, parted by commas. */
    only: { type: 'string', default: '' },
    /** Seconds for the engine to come to rest once the faults are over. */
    patience: { type: 'string', default: '40' },
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

interface Result {
  /** The seed that failed, null where none did. */
  seed: number | null
  /** How many were run. */
  runs: number
  problem: string
  seconds: number
}

const postgres = await startSimPostgres()

/** Runs seeds on a copy of the source, changed by `patch` where there is one, until one fails. */
async function runUntilFailed(patch: string | null, runs: number): Promise<Result> {
  const copy = copySource()
  try {
    const changed = patch === null ? [] : patched(patch, (file) => readFileSync(join(copy, file), 'utf8'))
    for (const [file, text] of changed) writeFileSync(join(copy, file), text)
    const { href } = pathToFileURL(join(copy, 'test/simulate/run.ts'))
    const { simulate } = (await import(href)) as typeof import('./run.ts')
    const started = performance.now()
    for (let i = 0; i < runs; i++) {
      const seed = (Number(values.seed) + i) % 2 ** 32
      const patienceMs = Number(values.patience) * 1000
      const { problems } = await simulate(seed, postgres, { calm: false, patienceMs })
      const seconds = Math.round((performance.now() - started) / 1000)
      if (problems[0] !== undefined) return { seed, runs: i + 1, problem: problems[0], seconds }
    }
    const seconds = Math.round((performance.now() - started) / 1000)
    return { seed: null, runs, problem: '', seconds }
  } finally {
    rmSync(copy, { recursive: true, force: true })
  }
}

/** Answers how many of the bugs were not found. */
async function findAll(): Promise<number> {
  const control = Number(values.control)
  if (control > 0) {
    // The copy itself must be sound, or every bug would be "found".
    const { seed, problem, seconds } = await runUntilFailed(null, control)
    if (seed !== null) {
      process.stdout.write(`without a bug seed ${seed} fails: ${problem}\n`)
      return 1
    }
    process.stdout.write(`without a bug: ${control} seeds pass, ${seconds} s\n`)
  }
  const wanted = values.only.split(',')
  const patches = readdirSync(folder)
    .filter((name) => name.endsWith('.patch') && wanted.some((part) => name.includes(part)))
    .sort()
  let missed = 0
  for (const name of patches) {
    const patch = readFileSync(join(folder, name), 'utf8')
    const { seed, runs, problem, seconds } = await runUntilFailed(patch, Number(values.seeds))
    if (seed === null) missed++
    process.stdout.write(
      seed === null
        ? `${name}: NOT FOUND in ${runs} seeds, ${seconds} s\n`
        : `${name}: found by seed ${seed}, number ${runs}, in ${seconds} s\n    ${problem.split('\n')[0]?.slice(0, 200)}\n`,
    )
  }
  process.stdout.write(`${patches.length - missed} of ${patches.length} planted bugs found\n`)
  return missed
}

try {
  process.exitCode = (await findAll()) > 0 ? 1 : 0
} finally {
  await postgres.stop()
}
