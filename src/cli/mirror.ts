import { resolve } from 'node:path'
import { compose } from '../compose.ts'
import { decodeUtf8, toHex } from '../core/bytes.ts'
import { DunesError, isRetryable } from '../core/error.ts'
import { createLogger } from '../core/logger.ts'
import { createMetrics } from '../core/metrics.ts'
import { mlDsa } from '../core/ml-dsa-native.ts'
import { parseVkey } from '../log/vkey.ts'
import type { LogTrust } from '../mirror/checkpoint.ts'
import { CLOCK_ALLOWANCE_SECONDS } from '../mirror/checkpoint.ts'
import { LogFolder } from '../mirror/folder.ts'
import { type Followed, followLog } from '../mirror/follow.ts'
import { httpSource } from '../mirror/http.ts'
import { parseTrustPolicy, policyVkeys, retiredSigners } from '../proof/trust-policy.ts'
import { exportLog as writeExport } from '../service/export.ts'
import { type Action, failure, type Invocation, type Options } from './command.ts'
import { readInput } from './files.ts'
import { readPolicy } from './prove.ts'
import { printable, table } from './text.ts'

/** Milliseconds between two lines of progress. */
const PROGRESS_MS = 1_000
/** Seconds between two looks of `--watch` unless told. */
const WATCH_SECONDS = 10

export const exportLog: Action = async (call, [given = ''], options) => {
  const path = resolve(call.cwd, given)
  const { config, env, clock, signal } = call
  const running = await compose(
    // Standard output is for the result.
    { config, env, clock, logger: createLogger('silent'), metrics: createMetrics() },
    { index: false, serve: false },
  )
  try {
    const exported = await writeExport(running.service, {
      path,
      signal,
      recheck: options['recheck'] === true,
      progress: progressLines(call, 'written'),
    })
    call.result(summary(exported, path, { anchors: exported.anchors }), render)
  } finally {
    await running.stop()
  }
  return undefined
}

export const mirror: Action = async (call, [url = '', given = ''], options) => {
  const { clock, signal } = call
  const path = resolve(call.cwd, given)
  const { trust, from } = await readTrust(call, options)
  const source = httpSource(url, { clock, signal })
  const folder = new LogFolder(path)
  const watch = options['watch'] === true
  const everySeconds = seconds(options['every'], '--every', WATCH_SECONDS)
  call.note(`Trusting ${printable(from)} for who signs ${printable(trust.origin)}.\n`)
  for (;;) {
    try {
      const followed = await followLog({
        source,
        folder,
        trust,
        clock,
        signal,
        recheck: options['recheck'] === true,
        progress: progressLines(call, 'verified'),
      })
      if (!watch || followed.size > followed.before || followed.before === 0)
        call.result(summary(followed, path, {}), render)
      if (!watch) return undefined
    } catch (error) {
      if (signal.aborted && watch) return undefined
      // What time may heal is waited for; a log that contradicts itself ends the watch.
      if (!watch || !isRetryable(error)) throw error
      call.note(failure(error, call.json).text)
    }
    await clock.sleep(everySeconds * 1000, signal)
    if (signal.aborted) return undefined
  }
}

/** Whose signatures count: a file of vkeys, or a trust policy, given or of the deployment in this folder. */
async function readTrust(call: Invocation, options: Options): Promise<{ trust: LogTrust; from: string }> {
  const allowanceSeconds = seconds(options['ahead'], '--ahead', CLOCK_ALLOWANCE_SECONDS)
  const { vkeys: file, origin } = options
  if (typeof file === 'string') {
    if (typeof options['policy'] === 'string') {
      throw new DunesError('USAGE', 'both --vkeys and --policy are given', { hint: 'give one of them' })
    }
    const lines = decodeUtf8(await readInput(call, file))
      .split('\n')
      .filter((line) => line !== '')
    const vkeys = lines.map(parseVkey)
    const [first] = vkeys
    if (!first) throw new DunesError('VKEYS_MISSING', `${file} names no key`, { hint: 'one vkey a line' })
    const name = typeof origin === 'string' ? origin : first.name
    return { trust: { origin: name, vkeys, mlDsa, allowanceSeconds }, from: file }
  }
  const { bytes, from } = await readPolicy(call, options)
  const policy = parseTrustPolicy(bytes)
  const vkeys = policyVkeys(policy)
  const retired = retiredSigners(policy)
  return { trust: { origin: policy.origin, vkeys, retired, mlDsa, allowanceSeconds }, from }
}

function seconds(value: unknown, flag: string, otherwise: number): number {
  if (value === undefined) return otherwise
  if (typeof value === 'string' && /^[0-9]{1,7}$/.test(value)) return Number(value)
  throw new DunesError('USAGE', `${flag} takes a number of seconds`, { hint: `for example ${flag} 60` })
}

/** Notes how far it is, at most once a second, and at the end of a longer run. */
function progressLines({ note, clock }: Invocation, done: string): (at: number, total: number) => void {
  let last = clock.now()
  return (at, total) => {
    const now = clock.now()
    if (now - last < PROGRESS_MS) return
    last = now
    note(`${done} ${at} of ${total} new entries (${Math.floor((100 * at) / total)} %)\n`)
  }
}

interface Summary {
  folder: string
  origin: string
  size: number
  root: string
  new_entries: number
  anchors?: number
}

const summary = (
  { checkpoint, before, size }: Followed,
  folder: string,
  more: { anchors?: number },
): Summary => ({
  folder,
  origin: checkpoint.origin,
  size,
  root: toHex(checkpoint.root),
  new_entries: size - before,
  ...more,
})

const render = (value: Summary): string =>
  table(Object.entries(value).map(([name, text]) => [name.replace('_', ' '), text] as const))
