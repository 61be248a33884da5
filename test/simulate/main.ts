import { parseArgs } from 'node:util'
import { Coverage } from './faults.ts'
import { startSimPostgres } from './postgres.ts'
import { simulate } from './run.ts'

/**
 * `npm run simulate -- --seed S --runs N`: run i has the seed (S + i) mod 2^32. Exits 1 when a run fails, with the seed that repeats it
 * in the last line, and when a set of 20 runs or more has not met everything that can go wrong.
 */
const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    runs: { type: 'string', default: '20' },
    trace: { type: 'boolean', default: false },
    calm: { type: 'boolean', default: false },
    /** Seconds for the engine to come to rest once the faults are over. */
    patience: { type: 'string', default: '60' },
    quiet: { type: 'boolean', default: false },
    'keep-going': { type: 'boolean', default: false },
  },
})
const seed = Number(values.seed)
const runs = Number(values.runs)
if (!Number.isInteger(seed) || seed < 0 || seed >= 2 ** 32 || !Number.isInteger(runs) || runs < 1) {
  process.stderr.write('--seed takes an integer from 0 to 2^32 - 1, --runs one from 1\n')
  process.exit(2)
}

const total = new Coverage()
const started = performance.now()
const postgres = await startSimPostgres()
const failed: number[] = []
let done = 0
try {
  for (let i = 0; i < runs; i++) {
    const result = await simulate((seed + i) % 2 ** 32, postgres, {
      calm: values.calm,
      patienceMs: Number(values.patience) * 1000,
    })
    done++
    total.add(result.coverage)
    const { submissions, leaves, blocks, ms } = result
    if (!values.quiet || result.problems.length > 0)
      process.stdout.write(
        `seed ${result.seed}: ${result.problems.length === 0 ? 'ok' : 'FAILED'}, ${blocks} blocks, ${submissions} submissions, ${leaves} leaves, ${(ms / 1000).toFixed(1)} s\n`,
      )
    if (values.trace || result.problems.length > 0) process.stdout.write(`${result.trace.join('\n')}\n`)
    if (result.problems.length === 0) continue
    failed.push(result.seed)
    for (const problem of result.problems.slice(0, 20)) process.stdout.write(`problem: ${problem}\n`)
    if (!values['keep-going']) break
  }
} finally {
  await postgres.stop()
}

const seconds = (performance.now() - started) / 1000
process.stdout.write('\n')
for (const [kind, count] of total.counts) process.stdout.write(`${String(count).padStart(8)}  ${kind}\n`)
process.stdout.write(
  `\n${done} runs in ${seconds.toFixed(1)} s, ${(seconds / done).toFixed(2)} s a run, ${failed.length} failed\n`,
)
const zeros = runs >= 20 && failed.length === 0 ? total.zeros() : []
for (const kind of zeros) process.stdout.write(`never met: ${kind}\n`)
if (failed.length > 0) process.stdout.write(`repeat with: npm run simulate -- --seed ${failed[0]} --runs 1\n`)
else if (zeros.length > 0)
  process.stdout.write(`repeat with: npm run simulate -- --seed ${seed} --runs ${runs}\n`)
process.exitCode = failed.length > 0 || zeros.length > 0 ? 1 : 0
