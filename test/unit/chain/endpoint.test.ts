import { describe, expect, it } from 'vitest'
import { Budget } from '../../../src/chain/budget.ts'
import { EndpointHealth } from '../../../src/chain/endpoint.ts'
import { ChainError } from '../../../src/chain/source.ts'
import type { Clock } from '../../../src/core/clock.ts'

/** A clock that stands still until somebody sleeps, and then is where the sleeper wanted to be. */
const sleepyClock = (): Clock & { time: number; slept: number[] } => {
  const clock = {
    time: 1_000_000,
    slept: [] as number[],
    now: () => clock.time,
    sleep: async (ms: number) => {
      clock.slept.push(ms)
      clock.time += ms
    },
  }
  return clock
}
const failure = new ChainError('RPC_UNREACHABLE', 'no answer', { retryable: true })

describe('a budget', () => {
  it('lets a second’s calls through at once, and then so many a second', async () => {
    const clock = sleepyClock()
    const budget = new Budget({ perSecond: 10, inFlight: 100 }, clock)
    for (let i = 0; i < 10; i++) await budget.take(1)
    expect(clock.slept).toEqual([])
    for (let i = 0; i < 30; i++) await budget.take(1)
    // 30 more take about three seconds.
    expect(clock.time - 1_000_000).toBeGreaterThanOrEqual(2_900)
    expect(clock.time - 1_000_000).toBeLessThanOrEqual(3_200)
    clock.time += 60_000
    expect(budget.left).toBe(10)
  })

  it('lets a batch go that is longer than what is left, and makes the next one wait for it', async () => {
    const clock = sleepyClock()
    const budget = new Budget({ perSecond: 10, inFlight: 100 }, clock)
    await budget.take(50)
    expect(clock.slept).toEqual([])
    expect(budget.left).toBe(-40)
    await budget.take(1)
    expect(clock.time - 1_000_000).toBeGreaterThanOrEqual(4_000)
  })

  it('keeps to so many requests at once, first come, first served', async () => {
    const budget = new Budget({ perSecond: null, inFlight: 2 }, sleepyClock())
    const order: number[] = []
    const asks = [0, 1, 2, 3].map((i) => budget.take(1).then(() => order.push(i)))
    await Promise.all(asks.slice(0, 2))
    expect(budget.inFlight).toBe(2)
    expect(budget.waiting).toBe(2)
    budget.done()
    await asks[2]
    budget.done()
    await asks[3]
    expect(order).toEqual([0, 1, 2, 3])
    expect(budget.left).toBeNull()
  })

  it('lets go of whoever gives up, and serves who comes after', async () => {
    const budget = new Budget({ perSecond: null, inFlight: 1 }, sleepyClock())
    await budget.take(1)
    const stop = new AbortController()
    const gone = budget.take(1, stop.signal)
    const next = budget.take(1)
    stop.abort(new Error('enough'))
    await expect(gone).rejects.toThrow('enough')
    budget.done()
    await next
    expect(budget).toMatchObject({ inFlight: 1, waiting: 0 })
  })
})

describe('a breaker', () => {
  const make = () => {
    const clock = sleepyClock()
    return { clock, health: new EndpointHealth('host', { perSecond: null, inFlight: 4 }, clock, () => 0) }
  }

  it('opens after three failures in a row, for longer each time, and closes after a trial', () => {
    const { clock, health } = make()
    const failAndWait = () => {
      health.failed(failure, 1, 0)
      const wait = health.until - clock.time
      clock.time = health.until
      return wait
    }
    expect(failAndWait()).toBe(1_000)
    health.succeeded(1, 5)
    expect([failAndWait(), failAndWait()]).toEqual([1_000, 1_000])
    expect(health.state).toBe('closed')
    // Half of what it doubles to, as the jitter is over the upper half.
    expect([failAndWait(), failAndWait(), failAndWait()]).toEqual([500, 1_000, 2_000])
    expect(health.state).toBe('open')
    expect(health.status()).toMatchObject({ why: 'no answer', errors: 6, calls: 7 })
    for (let i = 0; i < 20; i++) failAndWait()
    expect(failAndWait()).toBe(30_000)
    expect(health.due).toBe(true)
    expect(health.usable).toBe(false)
    health.trying()
    expect(health).toMatchObject({ state: 'half-open', due: false })
    health.close()
    expect(health).toMatchObject({ state: 'closed', usable: true })
    expect(health.status()).toMatchObject({ why: null, retryMs: 0 })
    expect(health.score).toBeGreaterThanOrEqual(50)
  })

  it('does not close for an endpoint that only says which chain it serves', () => {
    const { health } = make()
    for (let i = 0; i < 3; i++) {
      health.failed(failure, 1, 0)
      health.succeeded(1, 1, false)
    }
    expect(health.state).toBe('open')
  })

  it('opens at once for a lie, and for longer with each', () => {
    const { clock, health } = make()
    const waits = [1, 2, 3].map(() => {
      health.lied(new ChainError('RPC_INCONSISTENT', 'not so', { retryable: true }))
      const wait = health.until - clock.time
      clock.time = health.until
      health.close()
      return wait
    })
    expect(waits).toEqual([500, 1_000, 2_000])
    expect(health.status()).toMatchObject({ lies: 3 })
    // After ten good minutes that is forgotten.
    clock.time += 600_001
    health.succeeded(1, 1)
    health.lied(new ChainError('RPC_INCONSISTENT', 'not so', { retryable: true }))
    expect(health.until - clock.time).toBe(500)
  })

  it('waits for as long as it was asked to', () => {
    const { clock, health } = make()
    health.failed(failure, 1, 7_000)
    expect(health.until - clock.time).toBe(7_000)
    health.failed(failure, 1, 3_600_000)
    expect(health.until - clock.time).toBe(60_000)
  })

  it('notices lag only when it is seen twice in a row', () => {
    const { health } = make()
    health.compared(true)
    expect(health.lagging).toBe(false)
    health.compared(true)
    expect(health.lagging).toBe(true)
    expect(health.score).toBeLessThan(50)
    health.compared(false)
    expect(health.lagging).toBe(false)
  })
})
