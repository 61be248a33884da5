import { describe, expect, test } from 'vitest'
import type { Clock } from '../../../src/core/clock.ts'
import { outcomeOfAbort } from '../../../src/payload/outcome.ts'
import { createTurns, type Turn, type TurnLimits } from '../../../src/payload/turns.ts'

/** Time that passes only when told to. */
function manualClock() {
  let now = 0
  const sleepers = new Set<{ at: number; wake: () => void }>()
  const clock: Clock = {
    now: () => now,
    sleep: (ms, signal) =>
      new Promise((resolve) => {
        const sleeper = { at: now + ms, wake: resolve }
        sleepers.add(sleeper)
        signal?.addEventListener('abort', () => {
          sleepers.delete(sleeper)
          resolve()
        })
      }),
  }
  const settle = async () => {
    for (let i = 0; i < 20; i++) await Promise.resolve()
  }
  return {
    clock,
    settle,
    sleepers,
    async pass(ms: number) {
      for (const end = now + ms; now < end; ) {
        now++
        for (const sleeper of [...sleepers]) {
          if (sleeper.at > now) continue
          sleepers.delete(sleeper)
          sleeper.wake()
        }
        await settle()
      }
    },
  }
}

function setup(limits: Partial<TurnLimits> = {}) {
  const time = manualClock()
  const turns = createTurns({ total: 4, perHost: 2, patienceMs: 10, ...limits }, time.clock)
  const admitted: string[] = []
  const held = new Map<string, Turn>()
  const never = new AbortController().signal
  /** Asks for a turn; when it comes its name is noted. A turn that is taken back is given back at once. */
  const ask = (host: string, name: string, signal = never) =>
    turns.acquire(host, signal).then((turn) => {
      if (turn === null) return null
      admitted.push(name)
      held.set(name, turn)
      turn.evicted.addEventListener('abort', () => turn.release())
      return turn
    })
  return { time, admitted, held, ask }
}

describe('places', () => {
  test('one host never holds more than its share, and a free place goes to whoever is next', async () => {
    const { time, admitted, held, ask } = setup()
    for (const name of ['a1', 'a2', 'a3', 'a4']) void ask('a', name)
    void ask('b', 'b1')
    await time.settle()
    expect(admitted).toEqual(['a1', 'a2', 'b1'])
    held.get('a2')?.release()
    held.get('a2')?.release()
    await time.settle()
    expect(admitted).toEqual(['a1', 'a2', 'b1', 'a3'])
  })

  test('when all places are taken hosts take turns, however many one of them asks for', async () => {
    const { time, admitted, held, ask } = setup({ total: 1, perHost: 5 })
    void ask('x', 'x1')
    for (let i = 1; i <= 50; i++) void ask('a', `a${i}`)
    void ask('b', 'b1')
    void ask('c', 'c1')
    void ask('b', 'b2')
    for (let i = 0; i < 6; i++) {
      await time.settle()
      held.get(admitted.at(-1) ?? '')?.release()
    }
    expect(admitted.slice(0, 6)).toEqual(['x1', 'a1', 'b1', 'c1', 'a2', 'b2'])
  })

  test('who gives up leaves the queue, before and while waiting', async () => {
    const { time, admitted, held, ask } = setup({ total: 1, perHost: 1 })
    expect(await ask('a', 'early', AbortSignal.abort())).toBeNull()
    const caller = new AbortController()
    void ask('a', 'a1')
    const waiting = ask('a', 'a2', caller.signal)
    void ask('a', 'a3')
    caller.abort()
    expect(await waiting).toBeNull()
    held.get('a1')?.release()
    await time.settle()
    expect(admitted).toEqual(['a1', 'a3'])
  })
})

describe('patience', () => {
  test('nobody is interrupted while nobody waits', async () => {
    const { time, held, ask } = setup()
    void ask('a', 'a1')
    await time.pass(1000)
    expect(held.get('a1')?.evicted.aborted).toBe(false)
  })

  test("a host's silent fetches make room for its others after the patience, the oldest first", async () => {
    const { time, admitted, held, ask } = setup({ total: 100, perHost: 2 })
    void ask('a', 'hang1')
    await time.pass(3)
    void ask('a', 'hang2')
    void ask('a', 'good')
    await time.pass(6)
    expect(admitted).toEqual(['hang1', 'hang2'])
    await time.pass(1)
    expect(admitted).toEqual(['hang1', 'hang2', 'good'])
    expect(outcomeOfAbort(held.get('hang1')?.evicted as AbortSignal)).toMatchObject({
      what: 'busy',
      retryable: true,
    })
    expect(held.get('hang2')?.evicted.aborted).toBe(false)
    await time.pass(100)
    expect(held.get('hang2')?.evicted.aborted).toBe(false)
  })

  test('silent hosts in every place delay one more host by no more than the patience', async () => {
    const { time, admitted, ask } = setup()
    for (let i = 0; i < 4; i++) void ask(`silent${i}`, `silent${i}`)
    void ask('good', 'good')
    await time.pass(9)
    expect(admitted).not.toContain('good')
    await time.pass(1)
    expect(admitted.at(-1)).toBe('good')
  })

  test('a flood of silent hosts passes by in lots, each for at most four times the patience', async () => {
    const { time, admitted, ask } = setup({ total: 4, perHost: 2 })
    for (let i = 0; i < 40; i++) void ask(`silent${i}`, `silent${i}`)
    void ask('good', 'good')
    // The lots wait 10, 20, 40, 40, ... before the eleventh, with the good one in it, gets its places.
    await time.pass(10 + 20 + 8 * 40 - 1)
    expect(admitted).not.toContain('good')
    await time.pass(10)
    expect(admitted.at(-1)).toBe('good')
  })

  test('only as many are interrupted as there are others waiting', async () => {
    const { time, admitted, held, ask } = setup({ total: 4, perHost: 4 })
    for (let i = 0; i < 4; i++) void ask('a', `a${i}`)
    await time.pass(50)
    void ask('b', 'b0')
    await time.settle()
    expect([...held].filter(([, turn]) => turn.evicted.aborted).map(([name]) => name)).toEqual(['a0'])
    expect(admitted).toContain('b0')
  })

  test('hosts that are only slow are waited for in the end: patience grows with each interruption', async () => {
    const { time, ask } = setup({ total: 100, perHost: 1, patienceMs: 10 })
    // Each fetch needs 35 ms, three times the patience, and there are always others waiting.
    let answered = 0
    let interrupted = 0
    const fetch = async (name: string): Promise<void> => {
      const turn = await ask('slow', name)
      if (!turn) return
      await Promise.race([
        time.clock.sleep(35, turn.evicted),
        new Promise((resolve) => turn.evicted.addEventListener('abort', resolve)),
      ])
      if (turn.evicted.aborted) interrupted++
      else answered++
      turn.release(!turn.evicted.aborted)
      return fetch(name)
    }
    for (let i = 0; i < 5; i++) void fetch(`f${i}`)
    await time.pass(2000)
    expect(answered).toBeGreaterThan(40)
    expect(interrupted).toBeLessThan(10)
  })

  test('nothing is left behind: timers end with their turns', async () => {
    const { time, held, ask } = setup()
    void ask('a', 'a1')
    void ask('b', 'b1')
    await time.settle()
    expect(time.sleepers.size).toBe(2)
    for (const turn of held.values()) turn.release()
    await time.settle()
    expect(time.sleepers.size).toBe(0)
  })
})
