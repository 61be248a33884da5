import type { ServerContext } from '@modelcontextprotocol/server'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { DunesError } from '../../../src/core/error.ts'
import { silentLogger } from '../../../src/core/logger.ts'
import { clip, refusal, withProgress } from '../../../src/mcp/result.ts'
import { hoist } from '../../../src/mcp/schema.ts'
import { CALLER_AT_ONCE, CALLER_WAITING } from '../../../src/mcp/server.ts'
import { CallerQueues } from '../../../src/service/queue.ts'

const callWith = (token: string | undefined, told: unknown[]): ServerContext =>
  ({
    mcpReq: {
      _meta: token === undefined ? {} : { progressToken: token },
      notify: async (notification: unknown) => void told.push(notification),
    },
  }) as unknown as ServerContext

describe('progress', () => {
  test('is told while the work goes on, to whoever asked for it', async () => {
    const told: { params: { progress: number; total: number; progressToken: string } }[] = []
    let done = () => {}
    const working = withProgress(
      callWith('t', told),
      5_000,
      'working',
      () => new Promise<void>((resolve) => (done = resolve)),
    )
    // Two of them, half a second apart: the second says more than the first.
    while (told.length < 2) await new Promise((resolve) => setTimeout(resolve, 10))
    done()
    await working
    const [first, second] = told.map(({ params }) => params)
    expect(first).toMatchObject({ progressToken: 't', total: 5_000 })
    expect(second?.progress).toBeGreaterThan(first?.progress as number)
  })

  test('is told to nobody else, and not after the end', async () => {
    const told: unknown[] = []
    expect(await withProgress(callWith(undefined, told), 1, 'x', async () => 7)).toBe(7)
    await expect(
      withProgress(callWith('t', told), 1, 'x', () => Promise.reject(new Error('no'))),
    ).rejects.toThrow('no')
    expect(told).toEqual([])
  })
})

test('long strings are cut wherever they are, and nothing else is changed', () => {
  const long = 'x'.repeat(2_000)
  const { value, cut } = clip([{ a: 1, b: [long, 'short', null], c: { d: true } }])
  expect(cut).toBe(true)
  expect(value).toEqual([{ a: 1, b: [`${'x'.repeat(1_000)}…`, 'short', null], c: { d: true } }])
  expect(clip({ a: 'short' })).toEqual({ value: { a: 'short' }, cut: false })
})

test('a refusal says what to do, and a fault of ours says nothing of itself', () => {
  const known = refusal(new DunesError('X', 'it is so', { hint: 'do that', retryable: true }), silentLogger)
  expect(known).toEqual({
    content: [{ type: 'text', text: 'X: it is so\nHint: do that\nThe same call may succeed later.' }],
    isError: true,
  })
  expect(JSON.stringify(refusal(new TypeError('secret of ours'), silentLogger))).not.toContain('secret')
})

describe('schemas', () => {
  const schema = hoist(
    z.strictObject({ a: z.string().nullable(), b: z.record(z.string(), z.unknown()) }),
    'give a and b',
  )

  test('are made once, in the spelling that every client takes', () => {
    const { jsonSchema } = schema['~standard']
    const options = { target: 'draft-2020-12' } as const
    expect(jsonSchema.input(options)).toBe(jsonSchema.input(options))
    const json = JSON.stringify(jsonSchema.output(options))
    expect(json).toContain('"anyOf":[{"type":"string"},{"type":"null"}]')
    expect(json).toContain('"additionalProperties":true')
    expect(json).not.toMatch(/"type":\[/)
  })

  test('complain with a hint', async () => {
    const result = await schema['~standard'].validate({ a: 1 })
    expect(result.issues?.[0]?.message).toContain('Hint: give a and b')
    expect(await schema['~standard'].validate({ a: null, b: {} })).toEqual({ value: { a: null, b: {} } })
  })
})

test('queries of one caller take turns and none is refused; another caller does not wait for them', async () => {
  const queues = new CallerQueues(CALLER_AT_ONCE, CALLER_WAITING)
  let running = 0
  let most = 0
  const go: (() => void)[] = []
  const job = async () => {
    most = Math.max(most, ++running)
    await new Promise<void>((resolve) => go.push(resolve))
    running--
  }
  const all = Array.from({ length: 100 }, () => queues.run('one', job))
  expect(await queues.run('two', async () => 'at once')).toBe('at once')
  let ended = 0
  for (const work of all) void work.then(() => ended++)
  while (ended < 100) {
    go.shift()?.()
    await new Promise((resolve) => setImmediate(resolve))
  }
  expect(most).toBe(8)
})
