import { systemClock } from '../core/clock.ts'
import { run } from './run.ts'

// The first SIGINT or SIGTERM asks for an orderly stop; the second one ends the process at once.
const stopping = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    if (stopping.signal.aborted) process.exit(signal === 'SIGINT' ? 130 : 143)
    stopping.abort(signal)
  })
}
// A reader that went away (`dunes status | head -1`) is no failure of ours.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  // Nobody reads what `--watch` goes on to say.
  stopping.abort('EPIPE')
})

/** Size of a terminal that may be drawn on, else null. */
function sizeOf(stream: NodeJS.WriteStream): { columns: number; rows: number } | null {
  if (!stream.isTTY || process.env['NO_COLOR'] || process.env['TERM'] === 'dumb') return null
  return { columns: stream.columns || 80, rows: stream.rows || 24 }
}

process.exitCode = await run(process.argv.slice(2), {
  env: process.env,
  cwd: process.cwd(),
  clock: systemClock,
  signal: stopping.signal,
  out: (text) => void process.stdout.write(text),
  note: (text) => void process.stderr.write(text),
  interactive: sizeOf(process.stderr) !== null,
  size: (of) => sizeOf(of === 'out' ? process.stdout : process.stderr),
  stdin: () => process.stdin,
})
