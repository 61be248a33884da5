import type { Command } from 'commander'
import type { Clock } from '../core/clock.ts'
import { type Config, loadConfig, SETTINGS, type SettingName } from '../core/config.ts'
import { DunesError, describeError } from '../core/error.ts'
import type { Size } from './screen.ts'

/** What a command sees of the process that runs it. */
export interface Terminal {
  env: Readonly<Record<string, string | undefined>>
  cwd: string
  clock: Clock
  /** Aborts on SIGINT and SIGTERM. */
  signal: AbortSignal
  /** Data: what a script reads. */
  out(text: string): void
  /** Everything else: progress, notes, warnings. */
  note(text: string): void
  /** Whether standard error is a terminal that may be drawn on. */
  interactive: boolean
  /** Size of the terminal that standard error, or standard output, is; null, or absent, where it may not be drawn on. */
  size?(of: 'out' | 'note'): Size | null
  /** Bytes of standard input, as they come. */
  stdin(): AsyncIterable<Uint8Array>
}

/** What every action is given: its terminal, the settings in force, and whether its data are wanted as JSON. */
export interface Invocation extends Terminal {
  config: Config
  json: boolean
  /** Prints one result: as one line of JSON with `--json`, else the text that `render` makes of it. */
  result<T>(value: T, render: (value: T) => string): void
}

export type Options = Readonly<Record<string, unknown>>
/** A command's work. It answers its exit code; nothing means 0. */
export type Action = (call: Invocation, args: string[], options: Options) => Promise<number | undefined>

/** Adds flags for these settings to a command; their texts come from the table of settings. */
export function withSettings(command: Command, ...names: SettingName[]): Command {
  for (const name of names) {
    const setting = SETTINGS.find((candidate) => candidate.name === name)
    if (setting) command.option(`${setting.flag} <value>`, `${setting.description} (${setting.env})`)
  }
  return command
}

/** Where an action's exit code ends up. */
export interface Outcome {
  code: number
}

/** The settings by which what cannot be reached was looked for. */
const REACHED_BY: Readonly<Record<string, SettingName>> = {
  DATABASE_UNREACHABLE: 'databaseUrl',
  RPC_UNREACHABLE: 'rpcUrls',
}

/** The same error, but where it is the devnet of this folder that cannot be reached: what helps then is starting it. */
export function explained(error: unknown, { sources }: Config): unknown {
  if (!(error instanceof DunesError)) return error
  const setting = REACHED_BY[error.code]
  if (setting === undefined || sources[setting] !== 'running devnet') return error
  const { code, message, retryable, exitCode, details } = error
  return new DunesError(code, message, {
    hint: 'the devnet of this folder is down: start it with `npm start`',
    retryable,
    exitCode,
    details,
    cause: error,
  })
}

/** Makes `action` the work of `command`. */
export function act(
  command: Command,
  terminal: Terminal,
  outcome: Outcome,
  action: Action,
  devnet = true,
): Command {
  command.option('--json', 'print data as JSON')
  return command.action(async (...given: unknown[]) => {
    const options = command.opts() as Options
    const args = given
      .slice(0, -2)
      .flat()
      .filter((arg): arg is string => typeof arg === 'string')
    const names = new Set<string>(SETTINGS.map((setting) => setting.name))
    const flags = Object.fromEntries(Object.entries(options).filter(([name]) => names.has(name)))
    const json = options['json'] === true
    const call: Invocation = {
      ...terminal,
      config: loadConfig({ flags, env: terminal.env, cwd: terminal.cwd, devnet }),
      json,
      result: (value, render) => terminal.out(json ? `${JSON.stringify(value)}\n` : render(value)),
    }
    try {
      outcome.code = (await action(call, args, options)) ?? 0
    } catch (error) {
      throw explained(error, call.config)
    }
  })
}

/** How a failed command ends: what it prints to standard error, and its exit code. Never a stack trace. */
export function failure(error: unknown, json: boolean): { text: string; code: number } {
  if (error instanceof DunesError) {
    if (json) {
      const { code, message, hint, retryable, details } = error
      return {
        text: `${JSON.stringify({ error: { code, message, hint, retryable, details } })}\n`,
        code: error.exitCode,
      }
    }
    const hint = error.hint ? `\n  ${error.hint}` : ''
    return { text: `dunes: ${error.message}${hint}\n`, code: error.exitCode }
  }
  const text = describeError(error)
  return {
    text: json
      ? `${JSON.stringify({ error: { code: 'INTERNAL', message: text } })}\n`
      : `dunes: internal error: ${text}\n`,
    code: 2,
  }
}
