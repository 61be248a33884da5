import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { freePort } from '../../anvil/anvil.ts'
import { openShell, type Shell } from '../support/cli.ts'
import { until } from '../support/world.ts'

let shell: Shell
let api: string
let dev: ChildProcess
let said = ''
/** Ports of this devnet, so that it can run beside another. */
let ports: string[]

interface Item {
  id: string
  state: string
  verdict: string
}

const list = async (query: string): Promise<Item[]> => {
  const answer = await fetch(`${api}/v1/submissions?${query}`).catch(() => null)
  return answer?.ok ? ((await answer.json()) as { items: Item[] }).items : []
}

const start = () => {
  said = ''
  dev = shell.start('dev', ...ports, '--log-level', 'error')
  dev.stderr?.on('data', (bytes) => {
    said += String(bytes)
  })
  return dev
}

const stop = async (signal: NodeJS.Signals): Promise<number | null> => {
  const gone = once(dev, 'exit')
  dev.kill(signal)
  return (await gone)[0]
}

/** Like `until`, but gives up at once, with what was said, when the devnet ends. */
const untilDev = <T>(what: string, look: () => Promise<T | undefined>) =>
  until(
    what,
    async () => {
      if (dev.exitCode !== null) throw new Error(`the devnet ended with ${dev.exitCode}: ${said}`)
      return look()
    },
    undefined,
    60_000,
  )

beforeAll(async () => {
  const [port, anvil, fleet] = [await freePort(), await freePort(), await freePort()]
  api = `http://127.0.0.1:${port}`
  ports = ['--port', `${port}`, '--anvil-port', `${anvil}`, '--fleet-port', `${fleet}`]
  shell = openShell()
})

afterAll(() => shell?.stop())

it('brings up a devnet whose fleet reaches an anchored, verifying proof', async () => {
  start()
  const [item] = await untilDev('an anchored submission', async () => {
    const items = await list('state=anchored&verdict=accepted&limit=1')
    return items.length > 0 ? items : undefined
  })
  expect(said).toMatch(/Dunes devnet, up in/)
  expect((await shell.dunes('prove', item?.id as string, '-o', 'bundle.json')).code).toBe(0)
  const rpc = JSON.parse(
    await (await import('node:fs/promises')).readFile(join(shell.folder, '.dunes/devnet.json'), 'utf8'),
  )
  const yes = await shell.dunes('verify', 'bundle.json', '--rpc', rpc.rpcUrls[0])
  expect([yes.code, yes.stdout]).toEqual([0, expect.stringContaining('YES')])
}, 90_000)

it("has the document's own example among the fleet's submissions", async () => {
  const id = await untilDev('the example', async () => {
    const items = await list('sensor=helium_001&state=anchored&limit=200')
    return items.at(-1)?.id
  })
  const receipt = await (await fetch(`${api}/v1/submissions/${id}/receipt`)).text()
  expect(receipt).toContain(
    'Data: atad_ytilauq_ria\nOriginal: air_quality_data\nTimestamp: 2025-10-01T23:30:00Z\n',
  )
}, 90_000)

it('refuses a second copy on the same data, and a busy port, with what to do', async () => {
  const second = await shell.dunes('dev', ...ports)
  expect([second.code, second.stderr]).toEqual([2, expect.stringContaining('a devnet is running')])
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const busy = await shell.dunes('dev', ...ports, '--data-dir', 'other', '--port', String(port))
  server.close()
  expect([busy.code, busy.stderr]).toEqual([2, expect.stringContaining(`port ${port}`)])
}, 60_000)

it('stops on a signal with nothing left running, goes on where it stopped, and begins again when told', async () => {
  const before = ((await (await fetch(`${api}/v1/status`)).json()) as { anchored: number }).anchored
  expect(before).toBeGreaterThan(0)
  expect(await stop('SIGTERM')).toBe(0)
  await expect(fetch(`${api}/health`)).rejects.toThrow()
  start()
  const after = await untilDev('more anchors', async () => {
    const answer = await fetch(`${api}/v1/status`).catch(() => null)
    const now = answer?.ok ? ((await answer.json()) as { anchored: number }).anchored : 0
    return now > before ? now : undefined
  })
  expect(after).toBeGreaterThan(before)
  expect(said).toContain('going on where it stopped')
  expect(await stop('SIGINT')).toBe(0)
  ports.push('--fresh')
  start()
  await untilDev('a fresh devnet', async () =>
    (await fetch(`${api}/health`).catch(() => null))?.ok ? true : undefined,
  )
  const fresh = (await (await fetch(`${api}/v1/status`)).json()) as { anchored: number | null }
  // Null while nothing is indexed yet.
  expect(fresh.anchored ?? 0).toBeLessThan(before)
  expect(await stop('SIGTERM')).toBe(0)
}, 120_000)
