import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePort } from '../../anvil/anvil.ts'
import { devPrivateKey } from '../../src/chain/dev-accounts.ts'
import type { Hex } from '../../src/core/bytes.ts'
import { openShell, type Shell } from './cli.ts'
import { type Station, until, type World } from './world.ts'

/** A deployment that the real command line runs in a folder of its own, over a world's chain. */
export interface RunningDunes {
  shell: Shell
  /** Address of its API. */
  api: string
  /** Path of a file in its folder. */
  file(name: string): string
  /** Runs a command that must succeed and answers what it printed as JSON. */
  ask(...args: string[]): Promise<Record<string, unknown>>
  /** Starts `dunes start`; resolves when it is ready, or when `is` holds of what it answers at `/ready`. */
  up(is?: (status: number, body: string) => boolean): Promise<void>
  /** Stops what `up` started; answers its exit code and what it wrote to standard error. */
  down(): Promise<{ code: number | null; stderr: string }>
  /** Waits until what `up` started ends by itself. */
  ended(): Promise<{ code: number | null; stderr: string }>
  /** Submits a reading, lets it be validated, and waits until it is anchored here. */
  anchored(air: number): Promise<Hex>
  stop(): Promise<void>
}

/** Writes the settings of `world` into a new folder and makes the keys; the anchoring account is the world's. */
export async function runDunes(
  world: World,
  databaseUrl: string,
  settings: Readonly<Record<string, unknown>> = {},
): Promise<RunningDunes> {
  const port = await freePort()
  const shell = openShell({ DATABASE_URL: databaseUrl })
  const file = (name: string) => join(shell.folder, name)
  const api = `http://127.0.0.1:${port}`
  writeFileSync(file('anchor.key'), `${devPrivateKey(1)}\n`, { mode: 0o600 })
  shell.env['DUNES_ANCHOR_KEY_FILE'] = file('anchor.key')
  const { registry, anchor, startBlock } = world.deployment
  writeFileSync(
    file('dunes.config.json'),
    JSON.stringify({
      registry,
      anchor,
      startBlock,
      rpcUrls: [world.rpcUrl],
      port,
      pollMs: 20,
      anchorEverySeconds: 1,
      allowedPrivate: [world.host.url.slice('http://'.length)],
      ...settings,
    }),
  )
  const ask: RunningDunes['ask'] = async (...args) => {
    const ran = await shell.dunes(...args, '--json')
    if (ran.code !== 0) throw new Error(`dunes ${args.join(' ')} ended with ${ran.code}: ${ran.stderr}`)
    return JSON.parse(ran.stdout)
  }
  await ask('keys', 'init')
  let running: { end: Promise<number | null>; stderr: string; kill: () => void } | null = null
  const ended: RunningDunes['ended'] = async () => {
    if (!running) throw new Error('nothing was started')
    const code = await running.end
    const { stderr } = running
    running = null
    return { code, stderr }
  }
  return {
    shell,
    api,
    file,
    ask,
    ended,
    async up(is = (status) => status === 200) {
      const child = shell.start('start', '--log-level', 'warn')
      const process = {
        end: new Promise<number | null>((resolve) => child.once('close', resolve)),
        stderr: '',
        kill: () => void child.kill('SIGTERM'),
      }
      running = process
      for (const stream of [child.stdout, child.stderr])
        stream?.on('data', (chunk: Buffer) => {
          process.stderr += chunk.toString()
        })
      let over = false
      void process.end.then(() => {
        over = true
      })
      await until('the API to answer as it should', async () => {
        if (over) throw new Error(`dunes start ended: ${process.stderr}`)
        const answer = await fetch(`${api}/ready`).catch(() => null)
        return answer && is(answer.status, await answer.text()) ? true : undefined
      })
    },
    async down() {
      running?.kill()
      return ended()
    },
    async anchored(air) {
      const station = world.stations[0] as Station
      const id = await world.submitReading(station, air)
      await world.attest(id)
      await until(`submission ${id} to be anchored`, async () => {
        await world.mine(1)
        const answer = await fetch(`${api}/v1/submissions/${id}`)
        if (answer.status !== 200) return undefined
        return ((await answer.json()) as { state: string }).state === 'anchored' ? true : undefined
      })
      return id
    },
    async stop() {
      if (running) {
        running.kill()
        await ended()
      }
      await shell.stop()
    },
  }
}
