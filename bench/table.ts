import { readFileSync } from 'node:fs'
import type { Environment } from './environment.ts'
import type { Figure } from './measure.ts'

/** What `npm run bench` prints. */
interface Document {
  environment: Environment
  results: Readonly<Record<string, readonly Figure[]>>
}

const number = (value: number): string => value.toLocaleString('en-US', { maximumSignificantDigits: 4 })
const whole = (value: number): string => value.toLocaleString('en-US')

/** Gas and bytes are exact; times and rates have four digits. */
const written = ({ unit, value }: { unit: string; value: number }): string =>
  `${unit === 'gas' || unit === 'bytes' ? whole(value) : number(value)}${unit === '%' ? ' %' : ` ${unit}`}`

function row(figure: Figure): string {
  const beside = (figure.comparedWith ?? []).map((floor) => `${floor.name}: ${written(floor)}`).join('; ')
  const p95 = figure.p95 === undefined ? '' : number(figure.p95)
  const p99 = figure.p99 === undefined ? '' : number(figure.p99)
  return `| \`${figure.name}\` | ${written(figure)} | ${p95} | ${p99} | ${whole(figure.samples)} | ${beside} |`
}

/** Markdown of the bench's documents, which may be of different groups: as docs/benchmarks.md has it. */
function markdown(documents: readonly Document[]): string {
  const parts = documents.flatMap(({ environment: at, results }) => [
    `${at.cpu}, ${at.cores} cores, ${Math.round(at.memoryBytes / 1024 ** 3)} GiB, ${at.os}; Node ${at.node}, OpenSSL ${at.openssl}, ML-DSA ${at.mlDsa}; ` +
      `${at.date.slice(0, 10)}, commit ${at.commit?.slice(0, 12) ?? 'unknown'}; load before: ${number(at.loadBefore)}.`,
    ...Object.entries(results).map(([group, figures]) =>
      [
        `\`npm run --silent bench -- --only ${group}\`\n`,
        '| figure | value | p95 | p99 | samples | beside it, in the same run |',
        '|---|---|---|---|---|---|',
        ...figures.map(row),
      ].join('\n'),
    ),
  ])
  return `${parts.join('\n\n')}\n`
}

const files = process.argv.slice(2)
if (files.length === 0) {
  process.stderr.write('Usage: node bench/table.ts bench.json...\nPrints the tables of docs/benchmarks.md.\n')
  process.exitCode = 2
} else {
  process.stdout.write(markdown(files.map((file) => JSON.parse(readFileSync(file, 'utf8')) as Document)))
}
