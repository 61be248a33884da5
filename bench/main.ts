import { parseArgs } from 'node:util'
import { DunesError, describeError } from '../src/core/error.ts'
import { readEnvironment } from './environment.ts'
import { benchGas } from './gas.ts'
import { benchGrowth } from './growth.ts'
import { benchIngest } from './ingest.ts'
import { benchJudge } from './judge.ts'
import { benchLoad } from './load.ts'
import { benchLog } from './log.ts'
import { benchMaml } from './maml.ts'
import { benchMcp } from './mcp.ts'
import type { Figure } from './measure.ts'
import { benchProof } from './proof.ts'
import { benchGuard, benchQueries } from './query.ts'
import { benchReads } from './reads.ts'
import { benchReceipt } from './receipt.ts'
import { type Bench, openScratch } from './scratch.ts'
import { benchServe } from './serve.ts'
import { benchSignature } from './signature.ts'
import { benchSync } from './sync.ts'

/** The groups of figures, in the order in which they run. */
const GROUPS: Readonly<
  Record<string, { about: string; run: (bench: Bench) => Promise<Figure[]>; onDemand?: boolean }>
> = {
  maml: { about: 'parsing payloads of 1, 64 and 1,000 readings', run: benchMaml },
  signature: { about: 'ML-DSA-65 by itself, native and in JavaScript', run: benchSignature },
  judge: { about: 'the whole verdict on a payload, and what its signature adds', run: benchJudge },
  receipt: { about: 'entries and .mu receipts', run: benchReceipt },
  log: { about: 'a Merkle log of a million leaves, and checkpoints', run: benchLog },
  proof: { about: 'size and offline verification of proof bundles', run: benchProof },
  serve: { about: 'proofs and tiles of ten million leaves, over HTTP', run: benchServe },
  reads: { about: 'one submission over REST, against the driver alone', run: benchReads },
  query: { about: 'the guard of queries', run: benchGuard },
  mcp: { about: 'MCP over HTTP: one client, and a thousand at once', run: benchMcp },
  queries: { about: 'queries over ten million readings', onDemand: true, run: benchQueries },
  gas: { about: 'gas of the contracts, on anvil', run: benchGas },
  backfill: {
    about: '100,000 events of final history into rows',
    run: (bench) =>
      benchSync(bench, { name: 'backfill_100k_dense', events: 100_000, sparse: false, runs: 3, peer: false }),
  },
  ingest: { about: 'the whole indexer, on anvil and PostgreSQL', run: benchIngest },
  peer: {
    about: 'the same history by Ponder 0.17.7, which is installed for it',
    onDemand: true,
    run: (bench) =>
      benchSync(bench, { name: 'backfill_100k_dense', events: 100_000, sparse: false, runs: 2, peer: true }),
  },
  million: {
    about: 'a million events, 130 a block',
    onDemand: true,
    run: (bench) =>
      benchSync(bench, { name: 'backfill_1m_dense', events: 1_000_000, sparse: false, runs: 1, peer: false }),
  },
  growth: {
    about: 'ingest into a database of 10 million submissions; DUNES_BENCH_GROWTH sets another number',
    onDemand: true,
    run: benchGrowth,
  },
  load: { about: 'latency at half of the capacity, 1,000 contributors', onDemand: true, run: benchLoad },
  sparse: {
    about: '100,000 events, one in 20 blocks',
    onDemand: true,
    run: (bench) =>
      benchSync(bench, { name: 'backfill_100k_sparse', events: 100_000, sparse: true, runs: 1, peer: false }),
  },
}

const HELP = `Usage: npm run --silent bench -- [--only GROUP[,GROUP...]]

Measures Dunes on this machine and prints one JSON document; says on stderr how far it is.
It asserts nothing about time. docs/benchmarks.md says what the figures mean.

Groups:
${Object.entries(GROUPS)
  .map(
    ([name, { about, onDemand }]) => `  ${name.padEnd(10)} ${about}${onDemand ? ' (only when named)' : ''}`,
  )
  .join('\n')}
`

function wantedGroups(only: string | undefined): string[] {
  const all = Object.keys(GROUPS)
  if (only === undefined) return all.filter((name) => !GROUPS[name]?.onDemand)
  const names = only.split(',').map((name) => name.trim())
  const unknown = names.find((name) => !all.includes(name))
  if (unknown !== undefined)
    throw new DunesError('USAGE', `there is no group ${JSON.stringify(unknown)}`, {
      hint: `choose from ${all.join(', ')}`,
      exitCode: 2,
    })
  return all.filter((name) => names.includes(name))
}

function readArguments(): { only: string | undefined; help: boolean } {
  try {
    const { values } = parseArgs({
      options: { only: { type: 'string' }, help: { type: 'boolean', short: 'h' } },
    })
    return { only: values.only, help: values.help ?? false }
  } catch (error) {
    throw new DunesError('USAGE', (error as Error).message, { hint: 'see --help', exitCode: 2 })
  }
}

async function main(): Promise<void> {
  const { only, help } = readArguments()
  if (help) return void process.stdout.write(HELP)
  const groups = wantedGroups(only)
  const environment = readEnvironment()
  const scratch = openScratch()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      process.exitCode = 130
      // What was started is ended in its own order, by whoever started it.
      if (scratch.interrupt()) process.exit()
    })
  }
  try {
    const results: Record<string, Figure[]> = {}
    for (const name of groups) {
      const group = GROUPS[name]!
      scratch.progress(`${name}: ${group.about}`)
      const begun = performance.now()
      results[name] = await group.run(scratch)
      scratch.progress(`${name}: done in ${((performance.now() - begun) / 1000).toFixed(1)} s`)
      await scratch.close()
      scratch.check()
    }
    process.stdout.write(`${JSON.stringify({ environment, results }, null, 2)}\n`)
  } finally {
    await scratch.close()
  }
}

try {
  await main()
} catch (error) {
  const known = error instanceof DunesError
  process.stderr.write(`${known || !(error instanceof Error) ? describeError(error) : error.stack}\n`)
  process.exitCode ??= known ? error.exitCode : 1
}
